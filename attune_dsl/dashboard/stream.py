"""What one client is sent: first what it has missed, then what happens, without a gap and without a duplicate."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from attune_dsl.clock import monotonic
from attune_dsl.coordination.selection import Selection
from attune_dsl.dashboard.feed import Feed
from attune_dsl.dashboard.frames import Form, Frame
from attune_dsl.dashboard.ring import Batch, News, Ring, batches
from attune_dsl.exceptions import StoreUnavailable
from attune_dsl.hub.watch import is_behind

CHUNK: Final = 500
"""Events of the past that are read, and sent, at a time."""
QUIET: Final = 15.0
"""Seconds after which a client to whom nothing was sent is told how far that holds."""

GOING_AWAY, TRY_AGAIN_LATER = 1001, 1013
"""Codes with which a WebSocket is closed."""


class Over(Exception):
    """The client is to be let go: ``code`` for a WebSocket, ``reason`` for people, in at most 123 bytes."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Stream:
    """One client's way through the timeline. It keeps its place and no events."""

    def __init__(self, feed: Feed, form: Form, selection: Selection, after: str | None) -> None:
        self._feed = feed
        self._ring: Ring = feed.ring
        self._form = form
        self._selection = selection
        self._after = after
        self._is_joining = after is not None
        self._place = 0
        self.last_id = after or "0"
        """How far what was yielded last reaches."""
        self._sent_id = after

    async def frames(self) -> AsyncIterator[Frame]:
        """Yield what to send, for ever; what was yielded counts as sent once the next is asked for.

        Raises :class:`Over`.
        """
        async for frame in self._frames():
            yield frame
            self._sent_id = self.last_id

    async def _frames(self) -> AsyncIterator[Frame]:
        try:
            await self._feed.begun()
        except StoreUnavailable:
            raise self._away() from None
        if self._feed.is_away:
            yield self._form.news("store", "away")
        if self._after is None:
            self._place, self.last_id = self._ring.end, self._ring.last_id
        else:
            async for frame in self._past():
                yield frame
        yield self._form.live(self.last_id)
        spoken_at = monotonic()
        while True:
            told = self._next() if await self._ring.news(self._place, QUIET) else None
            if told is None and monotonic() < spoken_at + QUIET:
                continue
            yield self._form.mark(self.last_id) if told is None else told
            spoken_at = monotonic()

    async def _past(self) -> AsyncIterator[Frame]:
        """Yield what has happened, up to a place that is in the ring."""
        while True:
            # Taken before the read: what that does not see any more comes at this place or behind it.
            place, head = self._ring.end, self._ring.last_id
            try:
                events = await self._feed.read(self.last_id, CHUNK, **self._selection.arguments())
            except StoreUnavailable:
                raise self._away() from None
            for batch in batches(events):
                self.last_id = batch.last_id
                yield self._form.events(batch.events, batch.last_id)
            if len(events) < CHUNK and place >= self._ring.begin:
                self._place = place
                if is_behind(head, self.last_id):
                    self.last_id = head
                return

    def _next(self) -> Frame | None:
        """Return what comes next in the ring, if it is for this client."""
        if self._place < self._ring.begin:
            raise Over(TRY_AGAIN_LATER, self._resume("too slow"))
        item = self._ring[self._place]
        self._place += 1
        if isinstance(item, News) and item.name == "closing":
            raise Over(GOING_AWAY, self._resume(item.told))
        if not isinstance(item, Batch):
            return item.frame(self._form, self._selection)
        return self._joined(item) if self._is_joining else self._told(item, item.frame(self._form, self._selection))

    def _joined(self, batch: Batch) -> Frame | None:
        """Leave out what was read as history; from the first event behind that on, nothing needs to be left out."""
        if not is_behind(batch.last_id, self.last_id):
            return None
        self._is_joining = False
        return self._told(batch, batch.rest(self._form, self._selection, self.last_id))

    def _told(self, batch: Batch, frame: Frame | None) -> Frame | None:
        self.last_id = batch.last_id
        return frame

    def _away(self) -> Over:
        return Over(TRY_AGAIN_LATER, self._resume("the store is away"))

    def stalled(self) -> Over:
        """Return how a client ends that does not read what it is sent."""
        return Over(TRY_AGAIN_LATER, self._resume("too slow"))

    def _resume(self, why: str) -> str:
        return why if self._sent_id is None else f"{why}; resume with after={self._sent_id}"
