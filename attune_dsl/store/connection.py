"""One connection to the store. redis-py connects it (TLS, ACL, database); then we read its socket ourselves.

Only a plain Unix socket, the embedded server's, is connected without it: there is nothing to log in to.

redis-py's own reading is not used because a wait has to be able to read the socket on the thread, or in the event loop,
that waits (each hand-over between threads costs half a round trip), and because its time-outs and retries are made for
commands that may be repeated.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import hiredis

from attune_dsl.exceptions import StoreConfigError, StoreUnavailable
from attune_dsl.store.scripts import Command

CONNECT_TIMEOUT: Final = 2.0
"""Seconds for one attempt to connect, and for each answer while connecting."""
_READ_BYTES: Final = 256 * 1024
_LONGEST_POLL: Final = 24 * 3600.0
"""Seconds; poll() takes no more than 24 days, and a wait may be given any number."""
_NOT_READY: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

Reply = Any
"""What the server answered: bytes, int, None, list, dict or :class:`ReplyError`."""
ReplyError: Final = hiredis.ReplyError


class ConnectionLost(Exception):
    """The connection broke; internal to the package, never raised to users."""


class Connection:
    """A connected socket with its parser. ``write`` and ``read`` never block; ``ask`` does, for use while connecting.

    ``holders`` counts who still polls the socket after it was given up; the last one closes it.
    """

    def __init__(self, url: str, client_name: str) -> None:
        """Connect to ``url``. Raises :class:`StoreUnavailable`, or :class:`StoreConfigError` for a refused login."""
        sock = _connect_plainly(url) if is_plain(url) else _connect(url, client_name)
        sock.setblocking(False)
        self._sock: Final = sock
        self.is_tls: Final = isinstance(sock, ssl.SSLSocket)
        self._parser = hiredis.Reader()
        self._unsent = bytearray()
        self._writing = threading.Lock()
        self._receive = self._receive_tls if self.is_tls else partial(sock.recv, _READ_BYTES)
        self.holders = 0
        self.fd: Final[int] = sock.fileno()
        self._poll = select.poll() if hasattr(select, "poll") else None
        self._polled = {-1}
        if self._poll is not None:
            self._poll.register(self.fd, select.POLLIN)

    def write(self, data: bytes) -> bool:
        """Send as much as the socket takes; keep the rest. Return whether all of it is out."""
        with self._writing:
            if not self._unsent:
                sent = self._send(data)
                if sent == len(data):
                    return True
                data = data[sent:]
            self._unsent += data
            return self._flush()

    def flush(self) -> bool:
        """Send what an earlier write had to keep. Return whether all of it is out."""
        if not self._unsent:
            return True
        with self._writing:
            return self._flush()

    def _flush(self) -> bool:
        while self._unsent and (sent := self._send(self._unsent)):
            del self._unsent[:sent]
        return not self._unsent

    def _send(self, data: bytes | bytearray) -> int:
        try:
            return self._sock.send(data)
        except _NOT_READY:
            return 0
        except OSError as error:
            raise ConnectionLost(str(error)) from error

    def read(self) -> list[Reply]:
        """Return the replies that have arrived, possibly none. Raises :class:`ConnectionLost`."""
        replies: list[Reply] = []
        while True:
            try:
                data = self._receive()
            except _NOT_READY:
                return replies
            except OSError as error:
                raise ConnectionLost(str(error)) from error
            if not data:
                raise ConnectionLost("the server closed the connection")
            self._parse(data, replies)
            if len(data) < _READ_BYTES and not self.is_tls:
                return replies

    def _receive_tls(self) -> bytes:
        # Before Python 3.13 an SSLSocket must not be read and written by two threads at a time.
        with self._writing:
            return self._sock.recv(_READ_BYTES)

    def _parse(self, data: bytes, replies: list[Reply]) -> None:
        self._parser.feed(data)
        try:
            while (reply := self._parser.gets()) is not False:
                if not isinstance(reply, hiredis.PushNotification):
                    replies.append(reply)
        except hiredis.ProtocolError as error:
            raise ConnectionLost(f"not a Redis reply: {error}") from error

    def wait(self, timeout: float | None, also: int = -1) -> bool:
        """Block until the socket or the descriptor ``also`` is readable; meanwhile send what is unsent.

        At most ``timeout`` seconds (``None``: for ever). Returns whether anything has happened. One thread at a time.
        """
        writable = not self.flush()
        if self._poll is None:
            reading = [self.fd] if also < 0 else [self.fd, also]
            return any(select.select(reading, [self.fd] if writable else [], [], timeout))
        if also not in self._polled:
            self._polled.add(also)
            self._poll.register(also, select.POLLIN)
        if writable:
            self._poll.modify(self.fd, select.POLLIN | select.POLLOUT)
        try:
            return bool(self._poll.poll(None if timeout is None else min(timeout, _LONGEST_POLL) * 1000))
        finally:
            if writable:
                self._poll.modify(self.fd, select.POLLIN)

    def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands in one write and block for their replies. Raises :class:`ConnectionLost`."""
        self.write(pack(commands))
        replies: list[Reply] = []
        while len(replies) < len(commands):
            if not self.wait(CONNECT_TIMEOUT):
                raise ConnectionLost(f"no answer for {CONNECT_TIMEOUT:g} s")
            replies += self.read()
        return replies

    def break_off(self) -> None:
        """Wake whoever blocks on the socket; the descriptor stays valid until :meth:`close`."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the server was faster

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


def pack_command(command: Command) -> bytes:
    """Return the wire form of a command."""
    # The stub's tuple type is narrower than what the function takes.
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]
    return packed


def pack(commands: Sequence[Command]) -> bytes:
    """Return the wire form of commands, to be sent in one write."""
    return b"".join([pack_command(command) for command in commands])


class Batch(NamedTuple):
    """Commands in their wire form, and how many they are."""

    data: bytes
    size: int


def batch(commands: Sequence[Command]) -> Batch:
    """Return commands as one batch."""
    return Batch(pack(commands), len(commands))


def batch_of_one_kind(name: str, keys: Sequence[str], arguments: Sequence[str]) -> Batch:
    """Return a batch of the command ``name`` with the same arguments for each key: what they share is packed once."""
    whole = pack_command((name, "", *arguments))
    before, _, after = whole.partition(b"$0\r\n\r\n")
    encoded = [key.encode() for key in keys]
    return Batch(b"".join([b"%b$%d\r\n%b\r\n%b" % (before, len(key), key, after) for key in encoded]), len(keys))


def is_plain(url: str) -> bool:
    """Whether ``url`` is a Unix socket without login, database or options, as the embedded server's is."""
    return re.fullmatch(r"unix:///[^?#@%]+", url) is not None


def _connect_plainly(url: str) -> socket.socket:
    """Connect to a Unix socket that asks for nothing else: importing redis-py would take longer than all the rest."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(CONNECT_TIMEOUT)
        sock.connect(url.removeprefix("unix://"))
    except OSError as error:
        sock.close()
        raise StoreUnavailable(str(error)) from error
    return sock


def _connect(url: str, client_name: str) -> socket.socket:
    """Let redis-py connect and log in, with one attempt and no retries of its own; take its socket over."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    try:
        pool = redis.ConnectionPool.from_url(
            url,
            client_name=client_name,
            socket_timeout=CONNECT_TIMEOUT,
            socket_connect_timeout=CONNECT_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
            **({} if url.startswith("unix") else {"socket_keepalive": True}),
        )
        connection: Any = pool.make_connection()
    except (ValueError, TypeError) as error:
        raise StoreConfigError(f"the store's URL cannot be used: {error}") from error
    try:
        connection.connect()
    except redis.AuthenticationError as error:
        raise StoreConfigError(f"the store refused the login: {error}") from error
    except (redis.RedisError, OSError) as error:
        raise StoreUnavailable(str(error)) from error
    sock: socket.socket = connection._sock
    connection._sock = None  # or redis-py would close it together with its own object
    return sock
