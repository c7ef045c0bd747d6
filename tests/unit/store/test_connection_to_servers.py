"""One connection: it never blocks where it must not, and every break is a ConnectionLost."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from attune_dsl.exceptions import StoreConfigError, StoreUnavailable
from attune_dsl.store import connection as module
from attune_dsl.store.connection import Connection, ConnectionLost, ReplyError, pack

if TYPE_CHECKING:
    from conftest import Store


@pytest.fixture
def link(store: Store) -> Iterator[Connection]:
    connection = Connection(store.address, "test")
    yield connection
    connection.close()


class Scripted:
    """A server that answers every command with ``replies``, in turn, then closes."""

    def __init__(self, *replies: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        self._replies = replies
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client:
            for reply in self._replies:
                client.recv(65536)
                client.sendall(reply)
        self._listener.close()

    def join(self) -> None:
        self.thread.join()


def test_ask_returns_all_replies_in_order(link: Connection, store: Store) -> None:
    """Errors are replies too, and do not stop the others."""
    key = f"{store.prefix}x"
    replies = link.ask([("SET", key, "1", "EX", 60), ("HGET", key, "f"), ("INCR", key), ("GET", key)])

    assert replies[0] in (b"OK", "OK")
    assert isinstance(replies[1], ReplyError)
    assert replies[2:] == [2, b"2"]


def test_a_large_write_goes_out_while_replies_come_in(link: Connection, store: Store) -> None:
    """More than the socket's buffers hold in both directions at a time."""
    value = b"x" * 400_000
    commands = [("SET", f"{store.prefix}x", value, "EX", 60), ("GET", f"{store.prefix}x")] * 10

    replies = link.ask(commands)

    assert [len(reply) for reply in replies[1::2]] == [len(value)] * 10


class Full:
    """A socket that takes only so many bytes."""

    def __init__(self, real: socket.socket, room: int) -> None:
        self._real = real
        self.room = room

    def send(self, data: bytes) -> int:
        if not self.room:
            raise BlockingIOError
        sent = self._real.send(data[: min(self.room, len(data))])
        self.room -= sent
        return sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def test_write_keeps_what_the_socket_does_not_take(link: Connection, store: Store) -> None:
    """It never blocks; waiting for the answer sends the rest, in order."""
    link._sock = full = Full(link._sock, room=100_000)  # type: ignore[assignment]
    value, key = b"x" * 1_000_000, f"{store.prefix}x"
    assert link.write(pack([("SET", key, value, "EX", 60)])) is False
    assert link.write(pack([("STRLEN", key)])) is False
    assert link.flush() is False

    full.room = 2 * len(value)
    replies: list[Any] = []
    while len(replies) < 2:
        assert link.wait(5)
        replies += link.read()

    assert replies[1] == len(value)
    assert link.flush() is True


def test_read_without_data_returns_nothing(link: Connection) -> None:
    assert link.read() == []


def test_wait_ends_at_its_timeout_and_with_another_descriptor(link: Connection) -> None:
    """The descriptor is how other threads wake who waits."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert link.wait(0.01, ours.fileno()) is False
        theirs.send(b".")
        assert link.wait(None, ours.fileno()) is True


def test_wait_takes_any_timeout(link: Connection, store: Store) -> None:
    """§5.5: a wait may be given any number of seconds."""
    link.write(pack([("PING",)]))

    assert link.wait(1e12) is True
    assert link.read() in ([b"PONG"], ["PONG"])


def test_select_does_where_there_is_no_poll(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has no poll()."""
    monkeypatch.setattr(module, "select", SimpleNamespace(select=select.select))
    connection, key = Connection(store.address, "test"), f"{store.prefix}x"
    try:
        assert connection.wait(0.0) is False
        assert connection.ask([("SET", key, b"x" * 3_000_000, "EX", 60), ("STRLEN", key)])[1] == 3_000_000
    finally:
        connection.close()


@pytest.mark.parametrize("call", [lambda link: link.read(), lambda link: link.write(pack([("PING",)] * 5000))])
def test_a_broken_connection_says_so(link: Connection, call: Callable[[Connection], Any]) -> None:
    """One kind of error for all."""
    link.break_off()

    with pytest.raises(ConnectionLost):
        call(link)
    link.break_off()  # twice is fine


def test_nobody_listens(store: Store) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    with pytest.raises(StoreUnavailable, match="refused"):
        Connection(f"redis://127.0.0.1:{port}", "test")
    with pytest.raises(StoreUnavailable, match="No such file"):
        Connection("unix:///nowhere/at/all", "test")


def test_a_wrong_password_is_a_matter_of_configuration(servers: Any) -> None:
    """Trying again would not help."""
    address = servers.store("memory").address
    wrong = f"redis://:wrong@{address.partition('@')[2]}"

    with pytest.raises(StoreConfigError, match="refused the login") as caught:
        Connection(wrong, "test")
    assert "wrong" not in str(caught.value).replace("WRONGPASS", "")


def test_a_server_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """What answers in another language is no store."""
    server = Scripted(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    try:
        with pytest.raises(StoreUnavailable):
            Connection(server.url, "test")
    finally:
        server.join()


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    """Connecting has a bound."""
    monkeypatch.setattr(module, "CONNECT_TIMEOUT", 0.05)
    connection = Connection(store.address, "test")
    try:
        with pytest.raises(ConnectionLost, match=r"no answer for 0\.05 s"):
            connection.ask([("XREAD", "BLOCK", 5000, "STREAMS", f"{store.prefix}none", "$")])
    finally:
        connection.close()


def test_garbage_after_the_login_is_a_lost_connection(link: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy's error page, say."""
    monkeypatch.setattr(link, "_receive", lambda: b"HTTP/1.1 502 Bad Gateway\r\n")

    with pytest.raises(ConnectionLost, match="not a Redis reply"):
        link.read()
