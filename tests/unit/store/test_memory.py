"""``memory://``: a server of this process, over a real socket."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from attune_dsl.exceptions import StoreUnavailable
from attune_dsl.store.fake import FakeServer
from attune_dsl.store.memory import MemoryServer


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    server = FakeServer("pass")
    yield server
    server.close()


@pytest.fixture
def client(fake: FakeServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(fake.url) as client:
        yield client


def test_all_users_of_a_name_share_a_server_and_other_names_do_not() -> None:
    one, same, other = MemoryServer(""), MemoryServer(""), MemoryServer("apart")
    for server in (one, same, other):
        server.start()

    with redis.Redis.from_url(one.url) as client:
        client.set("key", "value")
        one.close()
        with redis.Redis.from_url(same.url) as sharing, redis.Redis.from_url(other.url) as stranger:
            assert sharing.get("key") == b"value"
            assert stranger.get("key") is None
        client.delete("key")


def test_url_before_the_start_says_so() -> None:
    with pytest.raises(StoreUnavailable, match="memory://unstarted has not been started"):
        _ = MemoryServer("unstarted").url


def test_the_label_shows_no_password() -> None:
    assert MemoryServer("").label == "memory://"
    assert MemoryServer("name").label == "memory://name"


@pytest.mark.parametrize("protocol", [2, 3])
def test_lua_runs(fake: FakeServer, protocol: int) -> None:
    with redis.Redis.from_url(fake.url, protocol=protocol) as client:
        script = "redis.call('set', KEYS[1], ARGV[1]) return {redis.call('get', KEYS[1]), 7}"

        assert client.eval(script, 1, "key", "value") == [b"value", 7]


def test_an_error_reply_leaves_the_connection_usable(client: redis.Redis) -> None:
    pipeline = client.pipeline(transaction=False)
    pipeline.evalsha("0" * 40, 0)
    pipeline.set("key", "value")

    error, done = pipeline.execute(raise_on_error=False)

    assert isinstance(error, redis.exceptions.NoScriptError)
    assert done is True


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("password", ["", ":wrong@"])
def test_nobody_gets_in_without_the_password(fake: FakeServer, password: str, protocol: int) -> None:
    """Lua in fakeredis can run any Python, so another user of this machine must not reach it."""
    address = urlsplit(fake.url)
    url = f"redis://{password}{address.hostname}:{address.port}"

    with redis.Redis.from_url(url, protocol=protocol) as client, pytest.raises(redis.AuthenticationError):
        client.eval("return 1", 0)


@pytest.mark.parametrize("first", [b"PING\r\n", b"*1\r\n$4\r\nQUIT\r\n", b"*0\r\n", b"\r\n"])
def test_a_stranger_is_told_to_log_in(fake: FakeServer, first: bytes) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(fake.url).port or 0)) as link:
        link.sendall(first)

        assert link.recv(100).startswith(b"-NOAUTH")


@pytest.mark.parametrize("first", [b"*x\r\n", b"*1\r\nPING\r\n", b"*1\r\n$9\r\nPI"])
def test_what_is_no_command_ends_its_own_connection_alone(fake: FakeServer, client: redis.Redis, first: bytes) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(fake.url).port or 0)) as link:
        link.sendall(first)
        link.shutdown(socket.SHUT_WR)

        assert link.recv(100) == b""
    assert client.ping() is True


def _evil() -> bytes:
    import hashlib

    class Evil:
        def __reduce__(self) -> Any:
            return os._exit, (66,)

    value = pickle.dumps(Evil())
    return hashlib.sha1(value).digest() + value


def test_restore_never_unpickles(client: redis.Redis) -> None:
    """HUB.md: fakeredis' RESTORE unpickles what a client sends. This payload would end the process."""
    with pytest.raises(redis.ResponseError):
        client.execute_command("RESTORE", "key", "0", _evil())
    with pytest.raises(redis.ResponseError):
        client.execute_command("restore", "key", "0", _evil())
    with pytest.raises(redis.ResponseError):
        client.eval("return redis.call('restore', KEYS[1], 0, ARGV[1])", 1, "key", _evil())
    transaction = client.pipeline(transaction=True)
    transaction.execute_command("RESTORE", "key", "0", _evil())
    with pytest.raises(redis.ResponseError):
        transaction.execute()


def test_a_blocking_read_wakes_on_a_write_from_another_connection(fake: FakeServer) -> None:
    got: list[Any] = []

    def read() -> None:
        with redis.Redis.from_url(fake.url, socket_timeout=None) as reader:
            got.append(reader.xread({"stream": "0"}, block=30_000))

    thread = threading.Thread(target=read)
    thread.start()
    with redis.Redis.from_url(fake.url) as writer:
        writer.xadd("stream", {"field": b"binary\r\n\x00"})
    thread.join(10)

    assert not thread.is_alive()
    assert b"binary\r\n\x00" in repr(got).encode().decode("unicode_escape").encode("latin-1")


def test_closing_cuts_the_connections_and_stops_listening(wait_until: Callable[..., Any]) -> None:
    server = FakeServer("pass")
    port = urlsplit(server.url).port or 0
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(b"PING\r\n")
        assert link.recv(100).startswith(b"-NOAUTH")

        server.close()

        assert link.recv(100) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


FORKED = """
import os, redis
from attune_dsl.store.memory import MemoryServer

server = MemoryServer("")
server.start()
parent_url = server.url
pid = os.fork()
if pid == 0:
    server.start()
    with redis.Redis.from_url(server.url) as client:
        client.set("who", "child")
    os._exit(0 if server.url != parent_url else 1)
print(os.waitpid(pid, 0)[1])
with redis.Redis.from_url(server.url) as client:
    print(client.get("who"))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_gets_a_server_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], check=False, capture_output=True, text=True)

    assert (done.stdout.split(), done.stderr) == (["0", "None"], "")
