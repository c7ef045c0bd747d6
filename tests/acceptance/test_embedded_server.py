"""The embedded server between real processes: shared, crash-safe, ended by the last one out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

pytest.importorskip("fcntl")

from attune_dsl.exceptions import StoreUnavailable, UsageError
from attune_dsl.store import embedded, flock, launcher, settings
from attune_dsl.store.embedded import EmbeddedServer
from attune_dsl.store.statedir import StateDir

USER = """
import sys
from attune_dsl.exceptions import AttuneError
from attune_dsl.store.server import open_server

server = open_server(None)
for line in sys.stdin:
    try:
        getattr(server, line.strip())()
        print("ok", server.url, flush=True)
    except AttuneError as error:
        print(type(error).__name__, error, flush=True)
"""


class User:
    """A process that uses the embedded server as it is told."""

    def __init__(self, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", USER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | environment,
        )
        self.pid = self._process.pid

    def tell(self, method: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{method}\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def does(self, method: str) -> str:
        self.tell(method)
        return self.hear()

    def end(self, number: signal.Signals | None = None) -> None:
        """Kill the process with a signal, or let it end without leaving the server."""
        if number is not None:
            self._process.send_signal(number)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        finally:
            self._process.kill()
            self._process.stdout.close()


@pytest.fixture
def user() -> Iterator[Callable[..., User]]:
    """Start processes that end with the test."""
    users: list[User] = []

    def start(**environment: str) -> User:
        users.append(User(**environment))
        return users[-1]

    yield start
    for one in users:
        one.end()


@pytest.fixture
def directory() -> Iterator[StateDir]:
    """The state folder; whatever server a failing test leaves in it is ended by its socket."""
    directory = StateDir(settings.home())
    yield directory
    if flock.is_held(directory.alive):
        launcher.shut_down(directory, 10)


def kill_server(wait_until: Callable[..., Any], directory: StateDir) -> int:
    pid = embedded.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not flock.is_held(directory.alive))
    return pid


def starts(directory: StateDir) -> int:
    """How many servers have come up here, by their log."""
    return directory.log.read_text().count("Ready to accept connections")


def test_two_processes_share_one_server_and_the_last_one_out_ends_it(
    user: Callable[..., User], directory: StateDir
) -> None:
    first, second = user(), user()
    assert first.does("start") == second.does("start") == f"ok unix://{directory.root}/sock"
    assert embedded.status().users == tuple(sorted([first.pid, second.pid]))

    first.does("close")
    assert embedded.status().running is True

    second.does("close")
    assert embedded.status().running is False
    assert starts(directory) == 1
    assert not Path(directory.new_socket()).exists()
    assert list(directory.users.iterdir()) == []


def test_eight_processes_that_start_at_once_get_one_server(user: Callable[..., User], directory: StateDir) -> None:
    users = [user() for _ in range(8)]
    for one in users:
        one.tell("start")
    answers = {one.hear() for one in users}

    assert answers == {f"ok unix://{directory.root}/sock"}
    assert starts(directory) == 1
    assert len(embedded.status().users) == 8
    for one in users:
        one.tell("close")
    assert {one.hear() for one in users} == answers
    assert embedded.status().running is False


@pytest.mark.parametrize("number", [signal.SIGKILL, None], ids=["killed", "ended without closing"])
def test_a_user_that_vanished_does_not_keep_the_server_up(
    user: Callable[..., User], directory: StateDir, number: signal.Signals | None
) -> None:
    vanishing, staying = user(), user()
    vanishing.does("start")
    staying.does("start")

    vanishing.end(number)
    assert embedded.status().users == (staying.pid,)
    assert embedded.status().running is True

    staying.does("close")
    assert embedded.status().running is False
    assert list(directory.users.iterdir()) == []


def test_the_server_of_a_lone_killed_user_is_taken_over(user: Callable[..., User], directory: StateDir) -> None:
    killed = user()
    killed.does("start")
    pid = embedded.status().pid
    killed.end(signal.SIGKILL)

    successor = user()
    successor.does("start")
    assert embedded.status().pid == pid

    successor.does("close")
    assert embedded.status().running is False


def test_a_killed_server_is_restarted_with_all_acknowledged_writes(
    user: Callable[..., User], directory: StateDir, wait_until: Callable[..., Any]
) -> None:
    """Contract §5.1: what was acknowledged survives any killed process, the server included."""
    one, other = user(), user()
    one.does("start")
    other.does("start")
    with redis.Redis.from_url(embedded.status().url) as client:
        for number in range(500):
            client.rpush("written", number)
    killed = kill_server(wait_until, directory)

    assert one.does("start") == other.does("start") == f"ok unix://{directory.root}/sock"

    assert embedded.status().pid != killed
    assert starts(directory) == 2
    with redis.Redis.from_url(embedded.status().url) as client:
        assert client.llen("written") == 500
    one.does("close")
    other.does("close")
    assert embedded.status().running is False


def test_what_the_last_one_left_is_there_for_the_next(directory: StateDir) -> None:
    first = EmbeddedServer()
    first.start()
    with redis.Redis.from_url(first.url) as client:
        client.set("mail", "waits")
    first.close()

    second = EmbeddedServer()
    second.start()
    with redis.Redis.from_url(second.url) as client:
        assert client.get("mail") == b"waits"
    second.close()


def test_leftovers_of_a_crash_do_not_matter(
    user: Callable[..., User], directory: StateDir, wait_until: Callable[..., Any]
) -> None:
    """A socket without a server, a pid file that names a process of today, a user file of a process of today."""
    crashed = user()
    crashed.does("start")
    crashed.end(signal.SIGKILL)
    kill_server(wait_until, directory)
    assert Path(directory.new_socket()).exists()
    directory.pidfile.write_text(f"{os.getpid()}\n")
    (directory.users / f"{os.getpid()}-leftover").write_text("")
    assert (embedded.status().running, embedded.status().pid, embedded.status().users) == (False, None, ())

    server = EmbeddedServer()
    server.start()
    assert embedded.status().pid != os.getpid()
    server.close()
    assert embedded.status().running is False


def test_ctrl_c_in_the_starters_terminal_does_not_reach_the_server(
    user: Callable[..., User], directory: StateDir
) -> None:
    starter, other = user(), user()
    starter.does("start")
    other.does("start")
    pid = embedded.status().pid
    assert pid is not None

    assert os.getsid(pid) not in (os.getsid(starter.pid), os.getsid(0))
    os.killpg(starter.pid, signal.SIGINT)
    starter.end()

    assert embedded.status().pid == pid
    other.does("close")


def test_a_started_server_is_kept_without_users_until_it_is_stopped(directory: StateDir) -> None:
    assert embedded.start(keep=True).kept is True
    visitor = EmbeddedServer()
    visitor.start()
    visitor.close()
    assert embedded.status().running is True

    stopped = embedded.stop()

    assert (stopped.running, stopped.kept) == (False, False)


def test_a_starter_that_is_read_through_a_pipe_does_not_pass_the_pipe_on(directory: StateDir) -> None:
    """A server that inherited the pipe would keep whoever reads it waiting for the end."""
    script = "from attune_dsl.store import embedded; print(embedded.start().running)"
    read_end, write_end = os.pipe()

    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=20, pass_fds=[write_end]
    )
    os.close(write_end)

    assert (done.stdout.strip(), done.stderr) == ("True", "")
    assert os.read(read_end, 1) == b""
    os.close(read_end)
    embedded.stop()


def test_stop_refuses_while_others_use_the_server(user: Callable[..., User], directory: StateDir) -> None:
    busy = user()
    busy.does("start")

    with pytest.raises(UsageError, match=rf"used by pid {busy.pid}.*--force"):
        embedded.stop()

    assert embedded.status().running is True
    busy.does("close")


def test_a_deliberate_stop_is_respected_until_somebody_opens_the_store_anew(
    user: Callable[..., User], directory: StateDir
) -> None:
    running = user()
    running.does("start")
    assert embedded.stop(force=True).running is False

    assert running.does("start").startswith("StoreUnavailable the embedded store was stopped")
    assert embedded.status().running is False

    newcomer = user()
    assert newcomer.does("start").startswith("ok")
    assert running.does("start").startswith("ok")
    assert len(embedded.status().users) == 2
    newcomer.does("close")
    running.does("close")
    assert embedded.status().running is False


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_uses_the_server_on_its_own_account(directory: StateDir) -> None:
    server = EmbeddedServer()
    server.start()
    pid = os.fork()
    if pid == 0:
        server.close()
        server.start()
        alone = embedded.status().users
        server.close()
        os._exit(0 if len(alone) == 2 else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert embedded.status().users == (os.getpid(),)
    server.close()
    assert embedded.status().running is False


def test_a_server_that_answers_late_is_joined(
    user: Callable[..., User], directory: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it loads a large file, say."""
    first = user()
    first.does("start")
    really_answers = launcher.answers
    late = iter([False, False, False])
    monkeypatch.setattr(launcher, "answers", lambda path: next(late, None) is not False and really_answers(path))
    server = EmbeddedServer()

    server.start()

    assert starts(directory) == 1
    assert len(embedded.status().users) == 2
    server.close()
    first.does("close")


def test_a_server_that_hangs_is_not_joined_by_a_second_one(
    user: Callable[..., User], directory: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two servers on one append-only file would destroy it."""
    monkeypatch.setattr(launcher, "START_DEADLINE", 0.1)
    first = user()
    first.does("start")
    pid = embedded.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable, match=rf"does not answer.*pid {pid}"):
            EmbeddedServer().start()
    finally:
        os.kill(pid, signal.SIGCONT)

    assert starts(directory) == 1
    first.does("close")
    assert embedded.status().running is False
