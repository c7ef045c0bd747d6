"""Every example runs as it is written, on the embedded default and in memory, and does what its docstring says."""

from __future__ import annotations

import signal
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from documents import PATIENCE, PROJECT, Command, Terminal, environment

from attune_dsl import Monitor, join

EXAMPLES = PROJECT / "examples"
BACKUP = EXAMPLES / "backup.sh"
EXEC = ("-m", "attune_dsl", "exec", "--agent-id")
STORES = ["", "memory://"]


def run(folder: Path, *arguments: str, store: str = "", code: int = 0) -> tuple[list[str], list[str]]:
    """Run Python in ``folder`` as a reader would; return the lines on standard output and standard error."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment() | ({"ATTUNE_STORE_URL": store} if store else {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout.splitlines(), done.stderr.splitlines()


@pytest.fixture(params=STORES, ids=["embedded", "memory"])
def store(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with code that deserves every kind of remark, and some that deserves none."""
    source = tmp_path / "project"
    source.mkdir()
    (source / "good.py").write_text('def fine() -> None:\n    """Say nothing."""\n')
    (source / "bare.py").write_text("class Bare:\n    def method(self): pass\n    def _private(self): pass\n")
    (source / "long.py").write_text('def long_one():\n    """Go on."""\n' + "    x = 1\n" * 70)
    (source / "tangled.py").write_text(
        'def tangled(x):\n    """Branch."""\n'
        + "    if x and not x: pass\n" * 6
        + "def _nested():\n    def f(): pass\n"
    )
    (source / "huge.py").write_text("x = 1\n" * 401)
    (source / "broken.py").write_text("x = 1\ndef broken(:\n")
    (source / "binary.py").write_bytes(b"x = '\xff'\n")
    (source / "deep.py").write_text("def deep():\n    '''Add.'''\n    return " + "+".join(["1"] * 900) + "\n")
    (source / ".venv").mkdir()
    (source / ".venv" / "hidden.py").write_text("def hidden(): pass\n")
    return source


FINDINGS = [
    "## Complex functions",
    "- `tangled.py:1` `tangled` has 13 paths",
    "## Long files",
    "- `huge.py:1` has 401 lines",
    "## Long functions",
    "- `long.py:1` `long_one` has 72 lines",
    "## Missing docstrings",
    "- `bare.py:1` `Bare` has no docstring",
    "- `bare.py:2` `method` has no docstring",
    "## Unreadable files",
    "- `binary.py:1` does not parse: (unicode error) 'utf-8' codec can't decode byte 0xff",
    "- `broken.py:2` does not parse: invalid syntax",
]


def check_report(report: Path) -> None:
    """The report names what the project deserves, and nothing else."""
    lines = [line for line in report.read_text().splitlines() if line.startswith(("## ", "- `"))]
    assert len(lines) == len(FINDINGS)
    assert all(line.startswith(wanted) for line, wanted in zip(lines, FINDINGS, strict=True)), lines


def test_every_example_is_tested_here() -> None:
    known = {"hello.py", "release.py", "coordinated_workflow_demo.py", "code_review.py", "watcher.py", "backup.sh"}
    known |= {"barrier_and_abort.py", "night_shift.py"}
    elsewhere = {"approval.sh"}  # test_example_approval.py
    assert {path.name for path in EXAMPLES.glob("*.*")} == known | elsewhere


def test_hello_greets(tmp_path: Path, store: str) -> None:
    out, _ = run(tmp_path, "-m", "attune_dsl", "run", str(EXAMPLES / "hello.py"), "name=Ada", store=store)
    assert out == ["Hello, Ada!", "==========="]


def test_release_and_deploy_meet_in_one_process(tmp_path: Path, store: str) -> None:
    assert run(tmp_path, str(EXAMPLES / "release.py"), store=store) == (["deployed app-1.2.whl"], [])


def test_a_release_waits_for_a_deploy_that_comes_later(tmp_path: Path) -> None:
    release = run(tmp_path, "-m", "attune_dsl", "run", f"{EXAMPLES / 'release.py'}:release", "version=7", "--quiet")
    deploy = run(tmp_path, "-m", "attune_dsl", "run", f"{EXAMPLES / 'release.py'}:deploy", "--quiet")
    assert (release, deploy) == ((["app-7.whl"], []), (["app-7.whl"], []))


def test_the_demonstration_tells_what_happened(tmp_path: Path, store: str) -> None:
    out, err = run(tmp_path, str(EXAMPLES / "coordinated_workflow_demo.py"), store=store)
    why = "orders is broken: invalid literal for int() with base 10: 'four' (asked by coordinator)"
    assert [" ".join(line.split()) for line in out] == [
        "A producer and a consumer",
        "consumer completed consumed APPLE, PEAR, PLUM",
        "producer completed delivered 3 items",
        "",
        "An orchestrator, three workers and their checkpoints",
        "orchestrator completed all checkpoints reached, the sum is 434",
        "worker-1 completed reached its checkpoint with 121",
        "worker-2 completed reached its checkpoint with 144",
        "worker-3 completed reached its checkpoint with 169",
        "",
        "An import that fails and aborts the others",
        f"customers aborted {why}",
        f"invoices aborted {why}",
        "orders failed invalid literal for int() with base 10: 'four'",
        "",
    ]
    assert err == []


def test_three_that_meet_and_one_that_stops_the_others(tmp_path: Path, store: str) -> None:
    out, err = run(tmp_path, str(EXAMPLES / "barrier_and_abort.py"), store=store)
    assert [" ".join(line.split()) for line in out] == [
        "day 1 is complete: berlin, lisbon, oslo",
        "berlin aborted day 2 is off by 1 (asked by lisbon)",
        "lisbon failed day 2 is off by 1",
        "oslo aborted day 2 is off by 1 (asked by lisbon)",
    ]
    assert err == []


def test_the_story_of_a_night_is_told_in_the_order_of_causes(tmp_path: Path, store: str) -> None:
    assert run(tmp_path, str(EXAMPLES / "night_shift.py"), store=store) == (
        [
            "harvest tried fetch again: ConnectionError: no answer",
            "harvest said count: {'texts': 3}",
            "translate got harvested from harvest",
            "translate wrote: good morning",
            "translate wrote: good day",
            "translate failed in render: KeyError: 'huomenta'",
            "publish waits no more: agent 'translate' failed on stage 'render' (KeyError: 'huomenta')",
            "",
            "harvest    completed  0.00",
            "publish    completed  0.00",
            "translate  failed     0.04",
        ],
        [],
    )


def test_a_code_review_as_one_script(tmp_path: Path, project: Path, store: str) -> None:
    out, err = run(tmp_path, str(EXAMPLES / "code_review.py"), "project", "review.md", store=store)
    assert (out, err) == (["7 findings, see review.md"], [])
    check_report(tmp_path / "review.md")


def test_a_code_review_in_two_processes(tmp_path: Path, project: Path) -> None:
    """The last of several scans counts."""
    target = f"{EXAMPLES / 'code_review.py'}"
    run(tmp_path, "-m", "attune_dsl", "run", f"{target}:scan", f"folder={EXAMPLES}", "--quiet")
    run(tmp_path, "-m", "attune_dsl", "run", f"{target}:scan", f"folder={project}", "--quiet")
    out, _ = run(tmp_path, "-m", "attune_dsl", "run", f"{target}:report", "output=review.md", "--quiet")
    assert out == ["7 findings, see review.md"]
    check_report(tmp_path / "review.md")


def test_a_code_review_of_this_package_by_default(tmp_path: Path) -> None:
    run(tmp_path, "-m", "attune_dsl", "run", f"{EXAMPLES / 'code_review.py'}:scan", "--json")
    run(tmp_path, "-m", "attune_dsl", "run", f"{EXAMPLES / 'code_review.py'}:report", "--quiet")
    report = (tmp_path / "code_review.md").read_text()
    assert report.startswith(f"# Code review of {PROJECT / 'attune_dsl'}")


@pytest.mark.parametrize(
    ("folder", "message"),
    [("nowhere", "there is no folder 'nowhere'"), ("empty", "there are no Python files in 'empty'")],
)
def test_a_code_review_of_nothing_says_so(tmp_path: Path, folder: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    assert run(tmp_path, str(EXAMPLES / "code_review.py"), folder, code=1) == ([], [f"error: {message}"])
    _, err = run(tmp_path, "-m", "attune_dsl", "run", f"{EXAMPLES / 'code_review.py'}:scan", f"folder={folder}", code=1)
    assert err[-1].startswith("error: scan failed in stage find_files: ")
    assert err[-1].endswith(message)


def archives(folder: Path) -> dict[str, bytes]:
    """Return what stands in the files of the archives of a folder, by the names of the archives."""
    found = {}
    for path in folder.iterdir():
        with tarfile.open(path) as archive:
            (member,) = archive.getmembers()
            content = archive.extractfile(member)
            assert content is not None
            found[path.name] = content.read()
    return found


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """A folder with three files, of which one has a name that a careless script would stumble over."""
    folder = tmp_path / "letters"
    folder.mkdir()
    for name in ("a", "b", "c d"):
        (folder / name).write_text(name * 3)
    return folder


PACKED = {"a.tar.gz": b"aaa", "b.tar.gz": b"bbb", "c d.tar.gz": b"c dc dc d"}


def test_a_backup_is_a_plain_script(tmp_path: Path, letters: Path) -> None:
    subprocess.run(["sh", str(BACKUP), "letters", "archives"], cwd=tmp_path, check=True, timeout=PATIENCE)
    assert archives(tmp_path / "archives") == PACKED


def test_a_backup_under_exec_says_how_far_it_is_and_tells_when_it_is_done(tmp_path: Path, letters: Path) -> None:
    with join("ops") as ops, Monitor() as monitor:
        assert run(tmp_path, *EXEC, "nightly", "--", "sh", str(BACKUP), "letters", "archives") == ([], [])
        done = ops.signals.check("backup_done", source="nightly")
        record = monitor.agent("nightly")
    assert archives(tmp_path / "archives") == PACKED
    assert done is not None
    assert done.payload == {"archives": 3}
    assert record is not None
    assert (record.state, record.exit_code, record.note) == ("completed", 0, "packed c d, 3 of 3")


def test_a_backup_that_fails_ends_as_failed(tmp_path: Path) -> None:
    run(tmp_path, *EXEC, "nightly", "--", "sh", str(BACKUP), code=2)
    with Monitor() as monitor:
        record = monitor.agent("nightly")
    assert record is not None
    assert (record.state, record.error) == ("failed", "exit code 2")


def test_the_watcher_tells_of_trouble_as_it_happens_until_ctrl_c(tmp_path: Path) -> None:
    run(tmp_path, *EXEC, "early", "--", "false", code=1)
    expected = [
        "watching namespace default",
        "early failed: exit code 1",
        "Slow has made no progress for … s, last said: half",
        "Slow works again",
        "dead is lost",
        "watched until here",
    ]
    watcher = Terminal(Command(f"exec {sys.executable} {EXAMPLES / 'watcher.py'}", expected), tmp_path)
    try:
        watcher.wait_for("early failed")
        say, wait = f"{sys.executable} -m attune_dsl progress", "do sleep 0.05; done"
        slow = f"{say} half; until [ -e go ]; {wait}; {say} more; until [ -e on ]; {wait}"
        stalling = ["slow", "--display-name", "Slow", "--stall-after", "1", "--", "sh", "-c", slow]
        with ThreadPoolExecutor(1) as executor:
            running = executor.submit(run, tmp_path, *EXEC, *stalling)
            watcher.wait_for("last said: half")
            (tmp_path / "go").touch()
            watcher.wait_for("works again")
            (tmp_path / "on").touch()
            running.result(PATIENCE)
        killed = ["dead", "--ttl", "0.9", "--interval", "0.3", "--", "sh", "-c", "kill -9 $PPID"]
        run(tmp_path, *EXEC, *killed, code=-signal.SIGKILL)
        watcher.wait_for("dead is lost")
        watcher.interrupt()
        watcher.end()
    finally:
        watcher.close()
