"""The last of what happened, kept for clients that are a little behind: bounded, and encoded once for all of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from attune_dsl.coordination.selection import Selection
from attune_dsl.dashboard.frames import Encoded, Form, Frame
from attune_dsl.events import Event
from attune_dsl.export.event_json import event_json
from attune_dsl.hub.watch import is_behind

BYTES: Final = 8 * 1024 * 1024
"""Encoded events that are kept at most; a single batch may be larger."""
EVENTS: Final = 20_000
"""Events that are kept at most."""
BATCH_BYTES: Final = 256 * 1024
"""A batch is full once it has so many bytes."""

_FRAMES: Final = 16
"""Forms of a batch that are kept; where clients want more different ones, each is assembled anew."""


class Item(Protocol):
    """Something that clients are told."""

    @property
    def size(self) -> int:
        """Bytes of its events."""

    @property
    def count(self) -> int:
        """How many entries of a ring it counts for."""

    def frame(self, form: Form, selection: Selection) -> Frame | None:
        """Return what a client is sent; ``None`` where there is nothing for it."""


class Batch:
    """Some events, encoded once; what clients want of it is assembled once for all that want the same."""

    def __init__(self, events: Sequence[Encoded]) -> None:
        self.events: Final = tuple(events)
        self.last_id: Final = events[-1][0].id
        self.size: Final = sum(len(encoded) for _, encoded in events)
        self.count: Final = len(events)
        self._frames: dict[tuple[str, Selection], Frame | None] = {}

    def frame(self, form: Form, selection: Selection) -> Frame | None:
        """See :class:`Item`."""
        key = form.name, selection
        if key in self._frames:
            return self._frames[key]
        frame = self._assembled(form, [each for each in self.events if selection.wants(each[0])])
        if len(self._frames) < _FRAMES:
            self._frames[key] = frame
        return frame

    def rest(self, form: Form, selection: Selection, told: str) -> Frame | None:
        """Return a frame without what a client was told already, up to an id."""
        return self._assembled(
            form, [each for each in self.events if selection.wants(each[0]) and is_behind(each[0].id, told)]
        )

    def _assembled(self, form: Form, wanted: Sequence[Encoded]) -> Frame | None:
        return form.events(wanted, self.last_id) if wanted else None


class News:
    """Something about the connection: the store is ``away`` or ``back``, or all of it is ``closing``."""

    size = 0
    count = 1

    def __init__(self, name: str, told: str) -> None:
        self.name: Final = name
        self.told: Final = told

    def frame(self, form: Form, selection: Selection) -> Frame:
        """See :class:`Item`."""
        return form.news(self.name, self.told)


class Ring:
    """What was told last, numbered. Clients keep the number of what comes next for them, and nothing else."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._size = self._count = 0
        self._changed = asyncio.Event()
        self.begin = 0
        """The number of the oldest item that is still there."""
        self.last_id = "0"
        """Of the last event that was told, or where the following began."""

    @property
    def end(self) -> int:
        """The number that the next item will have."""
        return self.begin + len(self._items)

    def __getitem__(self, number: int) -> Item:
        return self._items[number - self.begin]

    def append(self, item: Item) -> None:
        """Tell something to everybody; forget what is too old."""
        self._items.append(item)
        self._size += item.size
        self._count += item.count
        if isinstance(item, Batch):
            self.last_id = item.last_id
        while len(self._items) > 1 and (self._size > BYTES or self._count > EVENTS):
            old = self._items.popleft()
            self._size -= old.size
            self._count -= old.count
            self.begin += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def news(self, number: int, timeout: float) -> bool:
        """Wait until there is an item of this number; ``False`` after so many seconds without."""
        try:
            async with asyncio.timeout(timeout):
                while number >= self.end:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True


def encoded(events: Sequence[Event]) -> list[Encoded]:
    """Return events with their JSON."""
    return [(event, event_json(event)) for event in events]


def batches(events: Sequence[Event]) -> list[Batch]:
    """Return events as batches, none much larger than :data:`BATCH_BYTES`."""
    found: list[Batch] = []
    batch: list[Encoded] = []
    size = 0
    for each in encoded(events):
        batch.append(each)
        size += len(each[1])
        if size >= BATCH_BYTES:
            found.append(Batch(batch))
            batch, size = [], 0
    return [*found, Batch(batch)] if batch else found
