"""What happens in a namespace, as it happens: entries of the timeline, for those who follow them."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from attune_dsl.hub.drive import Source, Ticket

if TYPE_CHECKING:
    from attune_dsl.hub.hub import Hub

_MOST: Final = 10_000
"""Entries kept for a follower that does not come to read them; then it has to look for itself."""

_JOINED: Final = b"agent.joined"

_DIGITS: Final = 16
"""More than any number of milliseconds has."""


class Entry(NamedTuple):
    """What happened to which incarnation of an agent, and when, in seconds since the epoch by the server's clock."""

    id: str
    kind: str
    agent_id: str
    epoch: str
    at: float
    fields: dict[bytes, bytes]


class Watch:
    """Collects entries for one follower. ``has_gap`` says that some are missing, as after a reconnect."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._entries: deque[Any] = deque()
        self._waiting: Ticket[None] | None = None
        self.has_gap = True

    def deliver(self, entries: Sequence[Any]) -> None:
        """Take in entries as the server told them: pairs of an id and a flat list of fields and values."""
        with self._lock:
            self._entries.extend(entries)
            if len(self._entries) > _MOST:
                self._entries.clear()
                self.has_gap = True
        self.wake()

    def lose(self) -> None:
        """What was read is not all that happened."""
        with self._lock:
            self.has_gap = True
        self.wake()

    def wake(self) -> None:
        """Have the follower look around."""
        waiting = self._waiting
        if waiting is not None:
            waiting.finish(None)

    def pop(self) -> tuple[list[Any], bool]:
        """Return what has come, and whether something is missing before it."""
        with self._lock:
            entries, self._entries = list(self._entries), deque()
            gap, self.has_gap = self.has_gap, False
            return entries, gap

    async def arrival(self, deadline: float | None) -> None:
        """Wait until something has come, or the link is in trouble; at most until then (:func:`clock.monotonic`)."""
        await self._wait(deadline, lambda: bool(self._entries) or self.has_gap)

    async def wakening(self, deadline: float | None) -> None:
        """Wait until there is news of the link; at most until then."""
        await self._wait(deadline, lambda: False)

    async def _wait(self, deadline: float | None, is_over: Callable[[], bool]) -> None:
        waiting: Ticket[None] = Ticket(self._source, deadline)
        self._waiting = waiting
        try:
            if not is_over():
                await waiting
        finally:
            self._waiting = None


class Watches:
    """The followers of this process, and where in the timeline the hub's reading is."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._lock = threading.Lock()
        """Whoever follows may be on any thread: that somebody does, and that the cursor is known, go together."""
        self._watches: list[Watch] = []
        self.cursor = ""
        """The id of the last entry that was read; empty while nobody follows."""

    async def open(self, source: Source) -> Watch:
        """Follow from now on."""
        watch = Watch(source)
        with self._lock:
            self._watches.append(watch)
            is_first = not self.cursor
        try:
            if is_first:
                await self._begin()
        except BaseException:
            self.close(watch)
            raise
        return watch

    def close(self, watch: Watch) -> None:
        """Follow no more."""
        with self._lock:
            self._watches.remove(watch)
            if not self._watches:
                self.cursor = ""

    def reopen(self, newest: str) -> None:
        """The link is new: ids follow the server's clock, so reading starts at its present end."""
        with self._lock:
            if self._watches:
                self.cursor = newest
        for watch in list(self._watches):
            watch.lose()

    def wake(self) -> None:
        """There is news of the link: have the followers look around."""
        for watch in list(self._watches):
            watch.wake()

    def read(self, entries: Sequence[Any]) -> None:
        """Hand on what came."""
        if not entries:
            return
        with self._lock:
            if self.cursor:
                self.cursor = entries[-1][0].decode()
        for entry in parse([entry for entry in entries if _JOINED in entry[1]]):
            if entry.kind == "joined":
                self._hub.keeper.look_for_lapse(_ttl(entry))
        for watch in list(self._watches):
            watch.deliver(entries)

    async def _begin(self) -> None:
        hub = self._hub
        newest = hub.request(lambda _: ("XREVRANGE", hub.keys.timeline, "+", "-", "COUNT", 1))

        def begin(reply: Any) -> None:
            with self._lock:
                if isinstance(reply, list) and self._watches and not self.cursor:
                    self.cursor = reply[0][0].decode() if reply else "0-0"

        newest.then = begin
        await hub.ask([newest])
        # The read that is in flight does not include the timeline; an entry in the inbox ends it. Not before the cursor
        # is known: what ends the read asks for the next one, on another thread.
        await hub.ask(
            [hub.request(lambda _: ("XADD", hub.keys.inbox(hub.commands.link), "NOMKSTREAM", "*", "nudge", "1"))]
        )


def _ttl(entry: Entry) -> float:
    """Return the seconds after which a newcomer could be lost."""
    ttl = entry.fields.get(b"ttl", b"")
    return int(ttl) / 1000 if ttl.isdigit() and len(ttl) < _DIGITS else math.inf


def parse(entries: Sequence[Any]) -> list[Entry]:
    """Return what the server answered as entries, without those that are none of an agent's."""
    return [entry for entry in (_entry(at, raw) for at, raw in entries) if entry is not None]


def is_behind(one: str, other: str) -> bool:
    """Whether an entry was written after another, by their ids."""
    return [int(part) for part in one.split("-")] > [int(part) for part in other.split("-")]


def _entry(at: bytes, raw: Sequence[bytes]) -> Entry | None:
    fields = dict(zip(raw[::2], raw[1::2], strict=False))
    try:
        family, _, kind = fields[b"kind"].decode().partition(".")
        if family != "agent":
            return None
        return Entry(
            id=at.decode(),
            kind=kind,
            agent_id=fields[b"agent"].decode(),
            epoch=str(int(fields[b"epoch"])),
            at=int(fields[b"at"]) / 1000,
            fields=fields,
        )
    except (KeyError, ValueError, OverflowError):
        return None
