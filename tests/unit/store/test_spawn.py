"""Starting what is to outlive us."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

pytest.importorskip("fcntl")

from attune_dsl.store import spawn


def run(tmp_path: Path, script: str) -> tuple[int, str]:
    """Run a shell script; return its exit code and what it wrote."""
    with (tmp_path / "out").open("w+b") as out, (tmp_path / "kept").open("wb") as kept:
        code = spawn.run(["/bin/sh", "-c", script], out.fileno(), kept.fileno())
        return code, (tmp_path / "out").read_text()


@pytest.mark.parametrize(("script", "expected"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", -9)])
def test_it_returns_how_the_program_ended(tmp_path: Path, script: str, expected: int) -> None:
    assert run(tmp_path, script)[0] == expected


def test_output_and_errors_go_to_the_file_and_there_is_nothing_to_read(tmp_path: Path) -> None:
    assert run(tmp_path, "echo out; echo err >&2; cat") == (0, "out\nerr\n")


def test_the_kept_file_is_open_in_the_program(tmp_path: Path) -> None:
    run(tmp_path, "echo written >&3")

    assert (tmp_path / "kept").read_text() == "written\n"


def test_it_leads_a_session_of_its_own(tmp_path: Path) -> None:
    _, out = run(tmp_path, "ps -o sid= -p $$; echo $$")

    session, pid = out.split()
    assert session == pid


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux shows what a process blocks")
def test_no_signal_is_blocked_in_it_whatever_the_thread_blocks(tmp_path: Path) -> None:
    results: list[str] = []

    def starter() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        results.append(run(tmp_path, "grep SigBlk /proc/self/status")[1])

    thread = threading.Thread(target=starter)
    thread.start()
    thread.join()

    assert [result.split() for result in results] == [["SigBlk:", "0" * 16]]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="Linux shows what a process has open")
def test_nothing_else_that_is_open_is_passed_on(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    os.dup2(write_end, 150, inheritable=True)
    try:
        _, out = run(tmp_path, "ls /proc/$$/fd")
    finally:
        for descriptor in (read_end, write_end, 150):
            os.close(descriptor)

    assert out.split() == ["0", "1", "2", "3"]


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out, pytest.raises(FileNotFoundError):
        spawn.run(["/no/such/program"], out.fileno(), out.fileno())
