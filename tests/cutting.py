"""A proxy that cuts a connection at a named point of one command, and one that is slow."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

from proxy import Proxy, _Pair


class Point(StrEnum):
    """Where a connection is cut on the way of one command and its reply."""

    BEFORE = "before the request"
    INSIDE_REQUEST = "in the middle of the request"
    UNREAD = "right after the request"
    BEFORE_REPLY = "before the reply"
    INSIDE_REPLY = "in the middle of the reply"
    AFTER_REPLY = "right after the reply"


def messages(buffer: bytearray) -> Iterator[bytes]:
    """Take the complete messages (RESP 2 or 3) off the front of ``buffer``."""
    while (end := _end(buffer, 0)) >= 0:
        message = bytes(buffer[:end])
        del buffer[:end]
        yield message


def _end(data: bytearray, start: int) -> int:
    """Return where the message at ``start`` ends, -1 if it is not all there."""
    line_end = data.find(b"\r\n", start)
    if line_end < 0:
        return -1
    kind, after = data[start : start + 1], line_end + 2
    if kind not in b"$=!*~>%":
        return after
    size = int(data[start + 1 : line_end])
    if size < 0:
        return after
    if kind in b"$=!":
        return after + size + 2 if len(data) >= after + size + 2 else -1
    for _ in range(size * (2 if kind == b"%" else 1)):
        after = _end(data, after)
        if after < 0:
            return -1
    return after


@dataclass
class _Traffic:
    """What is on its way over one connection: parts of messages, and requests that are not answered."""

    requests: bytearray = field(default_factory=bytearray)
    replies: bytearray = field(default_factory=bytearray)
    unanswered: deque[bytes] = field(default_factory=deque)


class CuttingProxy(Proxy):
    """Passes whole messages on, so that a cut hits one request or reply and nothing beside it."""

    def __init__(self, address: str) -> None:
        self.has_cut = threading.Event()
        self._traffic: dict[_Pair, _Traffic] = {}
        self._plan: tuple[Point, tuple[bytes, ...]] | None = None
        self._away = False
        super().__init__(address)

    def cut_at(self, point: Point, *marks: bytes, away: bool = False) -> None:
        """Cut a connection, once, at a ``point`` of the next command that contains one of ``marks``.

        A point of the reply may be one of a command that is already on its way. With ``away`` nothing is connected any
        more from then on, until :meth:`revive`.
        """
        with self._lock:
            self.has_cut.clear()
            self._plan, self._away = (point, marks), away

    def _forward(self, pair: _Pair, source: socket.socket, data: bytes) -> None:
        traffic = self._traffic.setdefault(pair, _Traffic())
        if source is pair.client:
            traffic.requests += data
            for request in messages(traffic.requests):
                self.sent += request
                if self._is_cut(pair, pair.server, request, request, Point.BEFORE, Point.INSIDE_REQUEST, Point.UNREAD):
                    return
                traffic.unanswered.append(request)
        else:
            traffic.replies += data
            for reply in messages(traffic.replies):
                request = traffic.unanswered.popleft()
                if self._is_cut(
                    pair, pair.client, request, reply, Point.BEFORE_REPLY, Point.INSIDE_REPLY, Point.AFTER_REPLY
                ):
                    return

    def _is_cut(  # noqa: PLR0917 (what goes where, and what to do before, inside and after)
        self,
        pair: _Pair,
        to: socket.socket,
        request: bytes,
        message: bytes,
        before: Point,
        inside: Point,
        after: Point,
    ) -> bool:
        """Pass a message on, as much of it as is planned; return whether the connection was cut."""
        point, marks = self._plan or (None, ())
        if point not in {before, inside, after} or not any(mark in request for mark in marks):
            to.sendall(message)
            return False
        self._plan = None
        if point is not before:
            to.sendall(message[: len(message) // 2] if point is inside else message)
        self._dead = self._away
        self._drop(pair)
        self.has_cut.set()
        return True

    def _drop(self, pair: _Pair) -> None:
        self._traffic.pop(pair, None)
        super()._drop(pair)


class SlowProxy(Proxy):
    """Passes every reply on ``delay`` seconds late, in order; requests go on at once. Not slow at first."""

    def __init__(self, address: str) -> None:
        self.delay = 0.0
        self._late: queue.SimpleQueue[tuple[float, _Pair, bytes] | None] = queue.SimpleQueue()
        self._bringer = threading.Thread(target=self._bring, name="slow-proxy", daemon=True)
        self._bringer.start()
        super().__init__(address)

    def close(self) -> None:
        """End the proxy; what is still on its way is dropped."""
        self._late.put(None)
        self._bringer.join()
        super().close()

    def _forward(self, pair: _Pair, source: socket.socket, data: bytes) -> None:
        if source is pair.client:
            super()._forward(pair, source, data)
        else:
            self._late.put((time.monotonic() + self.delay, pair, data))

    def _bring(self) -> None:
        while (late := self._late.get()) is not None:
            due, pair, data = late
            time.sleep(max(0.0, due - time.monotonic()))
            with self._lock:
                if pair in self._pairs:
                    with suppress(OSError):
                        pair.client.sendall(data)
