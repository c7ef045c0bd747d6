"""One socket: how it is connected, written, read, and how it ends."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from wire import Wire

from attune_dsl.exceptions import StoreConfigError, StoreUnavailable
from attune_dsl.store import connection as module
from attune_dsl.store.connection import (
    Connection,
    ConnectionLost,
    ReplyError,
    batch,
    batch_of_one_kind,
    is_plain,
    pack,
)

if TYPE_CHECKING:
    from conftest import Store

LARGE = b"x" * 8_000_000


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    wire = Wire(tmp_path)
    yield wire
    wire.close()


# Connecting


@pytest.mark.parametrize("url", ["unix:///run/valkey.sock", "unix:///a b/ä.sock"])
def test_a_socket_that_asks_for_nothing_is_connected_without_redis(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = socket.socketpair()
    monkeypatch.setattr(module, "_connect_plainly", lambda asked: near if asked == url else None)
    connection = Connection(url, "me")

    assert is_plain(url)
    assert near.fileno() == connection.fd
    connection.close()
    far.close()


@pytest.mark.parametrize(
    "url",
    [
        "unix:///run/valkey.sock?db=1",
        "unix://user:pass@/run/valkey.sock",
        "unix:///run/a%20b.sock",
        "unix:///run/a.sock#b",
        "unix://relative.sock",
        "redis://localhost",
        "rediss://localhost",
    ],
)
def test_everything_else_is_connected_by_redis(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = socket.socketpair()
    monkeypatch.setattr(module, "_connect", lambda asked, name: near if (asked, name) == (url, "me") else None)
    connection = Connection(url, "me")

    assert not is_plain(url)
    assert near.fileno() == connection.fd
    connection.close()
    far.close()


def test_redis_logs_in_and_hands_its_socket_over(store: Store) -> None:
    url = f"{store.address}?db=3" if store.kind == "embedded" else store.address.replace("/0", "/3")
    connection = Connection(url, "attune-me")
    try:
        connection.ask([("SET", store.prefix + "x", "3", "EX", 60)])
        assert connection.ask([("GET", store.prefix + "x")]) == [b"3"]
        assert not store.redis.exists(store.prefix + "x")
        if store.kind == "embedded":  # fakeredis forgets names
            assert connection.ask([("CLIENT", "GETNAME")]) == [b"attune-me"]
        connection.ask([("DEL", store.prefix + "x")])
    finally:
        connection.close()


def test_an_answer_in_several_parts_and_several_answers_at_once(store: Store) -> None:
    connection = Connection(store.address, "me")
    try:
        key = store.prefix + "large"
        replies = connection.ask(
            [("SET", key, b"x" * 1_000_000, "EX", 60), ("GET", key), ("NO-SUCH-COMMAND",), ("STRLEN", key)]
        )
        assert (replies[0], replies[1], replies[3]) == (b"OK", b"x" * 1_000_000, 1_000_000)
        assert isinstance(replies[2], ReplyError)
    finally:
        connection.close()


def test_where_nobody_listens_the_store_is_away(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    for url in (f"unix://{tmp_path}/no.sock", f"unix://{tmp_path}/no.sock?db=1", f"redis://127.0.0.1:{port}/0"):
        with pytest.raises(StoreUnavailable):
            Connection(url, "me")


def test_who_accepts_and_says_nothing_is_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT_TIMEOUT", 0.05)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(StoreUnavailable),
    ):
        Connection(f"redis://127.0.0.1:{server.getsockname()[1]}/0", "me")


def test_a_wrong_password_is_a_mistake_of_the_configuration(servers: Any) -> None:
    store = servers.store("memory")
    url = re.sub(r"://:[^@]+@", "://:s3cret@", store.address)

    with pytest.raises(StoreConfigError, match="refused the login") as caught:
        Connection(url, "me")

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://localhost:port", "redis://localhost/0?nonsense=1"])
def test_a_url_that_redis_does_not_understand(url: str) -> None:
    with pytest.raises(StoreConfigError, match="cannot be used"):
        Connection(url, "me")


# Writing


def test_commands_are_packed_in_order() -> None:
    assert pack([("GET", "a"), ("TIME",)]) == b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nTIME\r\n"
    assert pack([("x", 7, "ä")]) == b"*3\r\n$1\r\nx\r\n$1\r\n7\r\n$2\r\n\xc3\xa4\r\n"
    assert pack([]) == b""


def read_all(wire: Wire, size: int, into: bytearray) -> None:
    while len(into) < size:
        into += wire.far.recv(1 << 20)


def test_what_the_socket_does_not_take_is_kept_and_sent_in_order(wire: Wire) -> None:
    assert wire.connection.write(b"first")
    assert not wire.connection.write(LARGE)
    received = bytearray(wire.far.recv(1 << 20))  # there is room again, but it is not the last one's turn
    assert not wire.connection.write(b"last")
    reader = threading.Thread(target=read_all, args=(wire, len(LARGE) + 9, received))

    reader.start()
    while not wire.connection.flush():
        wire.connection.wait(10)
    reader.join()

    assert bytes(received) == b"first" + LARGE + b"last"


def test_who_waits_for_an_answer_sends_what_was_kept(wire: Wire) -> None:
    wire.connection.write(LARGE)
    received = bytearray()

    def serve() -> None:
        read_all(wire, len(LARGE), received)
        wire.answer("+OK")

    server = threading.Thread(target=serve)
    server.start()
    replies: list[object] = []
    while not replies:
        wire.connection.wait(10)
        replies = wire.connection.read()
    server.join()

    assert (b"OK", len(LARGE)) == (*replies, len(received))


def test_writing_to_who_has_gone_loses_the_connection(wire: Wire) -> None:
    wire.far.close()

    with pytest.raises(ConnectionLost):
        wire.connection.write(b"x")


# Reading


def test_nothing_has_arrived(wire: Wire) -> None:
    assert wire.connection.read() == []
    assert not wire.connection.wait(0)


def test_half_an_answer_is_none_yet(wire: Wire) -> None:
    wire.far.sendall(b"$5\r\nhel")
    wire.connection.wait(10)
    assert wire.connection.read() == []

    wire.far.sendall(b"lo\r\n:1\r\n*2\r\n$-1")
    wire.connection.wait(10)
    assert wire.connection.read() == [b"hello", 1]


def test_what_a_server_says_unasked_is_no_answer(wire: Wire) -> None:
    wire.far.sendall(b">2\r\n+invalidate\r\n*0\r\n+OK\r\n")
    wire.connection.wait(10)

    assert wire.connection.read() == [b"OK"]


def test_a_server_that_closes_loses_the_connection(wire: Wire) -> None:
    wire.far.close()

    assert wire.connection.wait(10)
    with pytest.raises(ConnectionLost, match="the server closed the connection"):
        wire.connection.read()


def test_what_is_no_answer_loses_the_connection(wire: Wire) -> None:
    wire.far.sendall(b"HTTP/1.1 400 Bad Request\r\n")
    wire.connection.wait(10)

    with pytest.raises(ConnectionLost, match="not a Redis reply"):
        wire.connection.read()


def test_asking_who_does_not_answer(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT_TIMEOUT", 0.01)
    wire.answer("+one")

    with pytest.raises(ConnectionLost, match=r"no answer for 0\.01 s"):
        wire.connection.ask([("A",), ("B",)])
    assert wire.commands(2) == [[b"A"], [b"B"]]


@pytest.mark.parametrize("has_poll", [True, False])
def test_a_wait_ends_with_another_descriptor_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_poll: bool
) -> None:
    if not has_poll:
        monkeypatch.delattr("select.poll")
    wire = Wire(tmp_path)
    read_end, write_end = os.pipe()
    try:
        assert not wire.connection.wait(0, read_end)
        os.write(write_end, b"x")
        assert wire.connection.wait(None, read_end)
        os.read(read_end, 1)
        assert not wire.connection.wait(0, read_end)
        wire.answer("+OK")
        assert wire.connection.wait(1e300 if has_poll else 10, read_end)
    finally:
        os.close(read_end)
        os.close(write_end)
        wire.close()


def test_breaking_off_wakes_who_waits_and_closing_comes_later(wire: Wire) -> None:
    ended: list[object] = []

    def wait() -> None:
        wire.connection.wait(None)
        with pytest.raises(ConnectionLost):
            wire.connection.read()
        ended.append(os.fstat(wire.connection.fd))

    waiting = threading.Thread(target=wait)
    waiting.start()
    wire.connection.break_off()
    waiting.join()

    assert len(ended) == 1
    assert not wire.is_closed
    wire.connection.close()
    assert wire.is_closed
    wire.connection.break_off()


def test_a_batch_of_one_kind_is_what_its_commands_would_be() -> None:
    commands = [("HMGET", key, "a", "$0", "") for key in ("k", "", "ä", "x" * 300)]

    assert batch_of_one_kind("HMGET", [key for _, key, *_ in commands], ("a", "$0", "")) == batch(commands)
    assert batch(commands) == (pack(commands), 4)
