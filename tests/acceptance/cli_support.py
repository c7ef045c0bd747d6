"""Running the command line as a user does: as a process, in a folder with workflows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from types import TracebackType
from typing import Any, NamedTuple, Self

import pytest

PROJECT = Path(__file__).parents[2]
PATIENCE = 30
"""Seconds for a command to end; far more than any takes."""


class Ended(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The object on the last line of standard output, or all of it where it is spread over lines."""
        try:
            return json.loads(self.out)
        except json.JSONDecodeError:
            return json.loads(self.out.splitlines()[-1])

    @property
    def error(self) -> str:
        """The last line on standard error."""
        return self.err.splitlines()[-1]


class Running:
    """A command under way. It is killed if the test leaves it running."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Whoever runs the tests in the background made this process ignore Ctrl-C, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (no threads here)
        )
        self.pid = self._process.pid
        self.heard: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate(timeout=PATIENCE)

    def says(self, text: str) -> str:
        """Wait for a line with ``text`` on standard output and return it."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.heard.append(line)
            if text in line:
                return line.rstrip("\n")
        raise AssertionError(f"ended without saying {text!r}: {self.end().err}")

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> None:
        self._process.send_signal(number)

    def end(self) -> Ended:
        """Wait for the end."""
        out, err = self._process.communicate(timeout=PATIENCE)
        return Ended(self._process.returncode, out, err)


class Cli:
    """The command line in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"}

    def write(self, name: str, source: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(source))

    def __call__(self, *arguments: str, text: str | None = None) -> Ended:
        """Run a command to its end, with ``text`` on standard input."""
        done = subprocess.run(
            self._command(arguments),
            cwd=self.folder,
            env=os.environ | self.environment,
            input=text or "",
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> Running:
        return Running(self._command(arguments), self.folder, os.environ | self.environment)

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "attune_dsl", *arguments]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """A command line in an empty folder."""
    return Cli(tmp_path)
