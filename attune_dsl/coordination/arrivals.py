"""What is written to streams of the store from now on, read on a connection of its own.

For processes that look at the mailbox of an agent which is not theirs: nobody puts copies into an inbox for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from attune_dsl import clock
from attune_dsl.exceptions import StoreConfigError, StoreUnavailable
from attune_dsl.hub.drive import Ticket
from attune_dsl.hub.hub import Hub
from attune_dsl.hub.link import GRACE, SLEEPING
from attune_dsl.hub.reader import BLOCK, SILENCE
from attune_dsl.hub.watch import is_behind
from attune_dsl.store.connection import Connection, ConnectionLost, Reply, ReplyError, pack

_PAUSE: Final = 0.1
"""Seconds between two attempts to connect again."""


class Arrival(NamedTuple):
    """One entry of a stream: the key of that, its id there, and its fields as the server gave them."""

    stream: str
    at: bytes
    raw: Sequence[bytes]


class Arrivals:
    """Blocks for what comes; not for event loops. Entries that leave a stream before they were read are not seen.

    A read is in flight at all times, so that these are few.
    """

    def __init__(self, hub: Hub, streams: Sequence[str]) -> None:
        """Begin behind what is there. Raises :class:`StoreUnavailable`."""
        self._hub = hub
        self._streams = tuple(streams)
        self._cursors: dict[str, str] = {}
        self._connection: Connection | None = None
        self._heard = 0.0
        try:
            self._connect()
        except (ConnectionLost, OSError) as error:
            self.close()
            raise self._unavailable(error) from error

    def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def next(self, deadline: float | None) -> list[Arrival]:
        """Return what has come, in the order of each stream; nothing if that is only after ``deadline``.

        ``deadline`` is a time of :func:`clock.monotonic`, ``None`` for no limit. Raises :class:`StoreUnavailable` if
        the store is away for longer than the grace time.
        """
        while True:
            try:
                return self._next(deadline)
            except ConnectionLost as error:
                self._connect_again(error)

    def _next(self, deadline: float | None) -> list[Arrival]:
        assert self._connection is not None
        while True:
            now = clock.monotonic()
            if deadline is not None and now >= deadline:
                return []
            silent_at = self._heard + SILENCE
            if now >= silent_at:
                raise ConnectionLost("no answer to a read")
            until = silent_at if deadline is None else min(deadline, silent_at)
            self._connection.wait(until - now)
            arrived = [arrival for reply in self._connection.read() for arrival in self._take_in(reply)]
            if arrived:
                return arrived

    def _take_in(self, reply: Reply) -> list[Arrival]:
        if isinstance(reply, ReplyError):
            raise ConnectionLost(f"the server refused to be read: {reply}")
        streams = reply if isinstance(reply, dict) else dict(reply or ())
        arrived = [Arrival(key.decode(), at, raw) for key, entries in streams.items() for at, raw in entries]
        for arrival in arrived:
            self._cursors[arrival.stream] = arrival.at.decode()
        self._ask()
        return arrived

    def _ask(self) -> None:
        assert self._connection is not None
        self._heard = clock.monotonic()
        cursors = [self._cursors[stream] for stream in self._streams]
        self._connection.write(pack([("XREAD", "BLOCK", int(BLOCK * 1000), "STREAMS", *self._streams, *cursors)]))

    def _connect(self) -> None:
        """Connect and read behind what was read, or what is there; also if ids have become smaller meanwhile."""
        self.close()
        self._connection = connection = Connection(self._hub.server.url, f"attune-{self._hub.id}")
        asked = [("XREVRANGE", stream, "+", "-", "COUNT", 1) for stream in self._streams]
        for stream, entries in zip(self._streams, connection.ask(asked), strict=True):
            if isinstance(entries, ReplyError):
                raise ConnectionLost(f"the server refused to be read: {entries}")
            newest = _newest(entries)
            if stream not in self._cursors or is_behind(self._cursors[stream], newest):
                self._cursors[stream] = newest
        self._ask()

    def _connect_again(self, error: Exception) -> None:
        deadline = clock.monotonic() + GRACE
        while True:
            try:
                self._connect()
            except (ConnectionLost, StoreUnavailable, StoreConfigError, OSError) as failed:
                error = failed
            else:
                return
            now = clock.monotonic()
            if now >= deadline:
                raise self._unavailable(error) from error
            SLEEPING.block(Ticket(SLEEPING, now + _PAUSE))

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(f"the store {self._hub.server.label} cannot be reached: {error}")


def _newest(entries: Sequence[Any]) -> str:
    return entries[0][0].decode() if entries else "0-0"
