"""What mypy --strict accepts and rejects of code that uses the package."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent


@pytest.fixture(scope="module")
def mypy(tmp_path_factory):
    """Return a function that type-checks a folder and returns what is reported in it, as (place, message)."""
    cache = tmp_path_factory.mktemp("mypy")

    def check(folder):
        files = sorted(str(each) for each in (HERE / folder).glob("*.py"))
        options = ["--strict", "--follow-imports=silent", "--explicit-package-bases", "--no-error-summary"]
        command = [
            sys.executable,
            "-m",
            "mypy",
            "--config-file=",
            *options,
            "--cache-dir",
            str(cache),
            *files,
        ]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        lines = re.findall(r"(?m)^.*?([^/]+\.py:\d+): error: (.*)$", done.stdout)
        return [(place, message) for place, message in lines]

    return check


def marked(folder):
    """Return what the lines of a folder are marked with, as (place, fragment)."""
    return [
        (f"{path.name}:{number}", fragment)
        for path in (HERE / folder).glob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if "# E: " in line
        for fragment in line.partition("# E: ")[2].split(", ")
    ]


@pytest.mark.timeout(180)
def test_correct_uses_are_accepted(mypy):
    assert mypy("accepted") == []


@pytest.mark.timeout(180)
def test_wrong_uses_are_rejected_at_their_line_and_for_their_reason(mypy):
    reported, wanted = mypy("rejected"), marked("rejected")
    unexpected = [each for each in reported if not any(matches(each, mark) for mark in wanted)]
    missed = [mark for mark in wanted if not any(matches(each, mark) for each in reported)]
    assert (unexpected, missed) == ([], [])


def matches(report, mark):
    """Whether an error is the marked one: at its line, with its fragment in the message or the code."""
    return report[0] == mark[0] and mark[1] in report[1]
