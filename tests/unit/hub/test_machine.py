"""Whether a process has ended: certain, or not said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from attune_dsl.hub.machine import has_ended, machine

WaitUntil = Callable[..., Any]

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells it")


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits for its end; nobody has reaped it while the test runs."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield child
    child.kill()
    child.communicate()


def test_processes_that_see_the_same_pids_are_on_one_machine() -> None:
    there = subprocess.run(
        [sys.executable, "-c", "from attune_dsl.hub.machine import machine; print(machine())"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )

    assert machine() != ""
    assert there.stdout.strip() == machine()


def test_one_that_runs_has_not_ended(child: subprocess.Popen[bytes]) -> None:
    assert [has_ended(machine(), str(pid)) for pid in (child.pid, os.getpid())] == [False, False]


def test_one_that_was_killed_has_ended_before_anybody_reaps_it(
    child: subprocess.Popen[bytes], wait_until: WaitUntil
) -> None:
    """A zombie answers signals still; its supervisor may be slow, or never wait for it."""
    child.kill()

    wait_until(lambda: has_ended(machine(), str(child.pid)))

    os.kill(child.pid, 0)
    assert child.returncode is None


def test_one_that_was_reaped_has_ended(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()

    assert has_ended(machine(), str(child.pid)) is True


def test_one_that_was_stopped_lives(child: subprocess.Popen[bytes], wait_until: WaitUntil) -> None:
    os.kill(child.pid, signal.SIGSTOP)
    stat = Path(f"/proc/{child.pid}/stat")
    wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")

    assert has_ended(machine(), str(child.pid)) is False


def test_a_name_with_brackets_deceives_nobody(tmp_path: Path) -> None:
    """The state stands behind the name, and a name may be anything."""
    python = tmp_path / "x) Z 1 ("
    python.symlink_to(sys.executable)
    code = "import ctypes; ctypes.CDLL(None).prctl(15, b'x) Z 1 ('); print(flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        assert "x) Z 1 (" in Path(f"/proc/{child.pid}/stat").read_text()
        assert has_ended(machine(), str(child.pid)) is False
    finally:
        child.communicate()


@pytest.mark.parametrize("where", ["", "elsewhere"])
def test_of_another_machine_nothing_is_known(child: subprocess.Popen[bytes], where: str) -> None:
    child.kill()
    child.wait()

    assert has_ended(where, str(child.pid)) is False


@pytest.mark.parametrize("pid", ["", "x", "-1", "1.5", "²", "9" * 30, "9" * 5_000])
def test_of_what_is_no_pid_nothing_is_known(pid: str) -> None:
    """It is what somebody wrote into the store."""
    assert has_ended(machine(), pid) is False


def test_the_process_of_another_user_lives() -> None:
    """It may not be sent a signal, and that it may not says that it is there."""
    assert has_ended(machine(), "1") is False


def test_where_it_cannot_be_known_machines_have_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", refuse)

    assert machine.__wrapped__() == ""
