"""The timeline of a namespace: reading and trimming it. Once for both facades, as neutral coroutines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from attrs import frozen

from attune_dsl import log
from attune_dsl.coordination.asking import ask, post, settled
from attune_dsl.coordination.selection import ALL, Selection
from attune_dsl.events import Event, EventKind, Gap
from attune_dsl.exceptions import UsageError
from attune_dsl.hub.commands import Request
from attune_dsl.hub.hub import Hub
from attune_dsl.hub.watch import is_behind
from attune_dsl.store import event_codec
from attune_dsl.store.connection import ReplyError, batch
from attune_dsl.store.limits import TIMELINE_COUNT, TIMELINE_LEAST, TIMELINE_MOST
from attune_dsl.store.names import is_event_id
from attune_dsl.store.scripts import Command

CHUNK: Final = 1_000
"""Entries that are read in one question, so that the server serves others in between."""
_FEW: Final = 100
BEGINNING: Final = "0-0"

_LAST_NUMBER: Final = 2**64 - 1


@frozen(kw_only=True)
class TimelineStats:
    """How much a timeline holds. What does not tell of anything that happened counts as well: it takes place, too.

    ``count`` entries are there, ``cap`` are kept, about; ``dropped`` of the oldest are gone, because there were more,
    or because somebody trimmed it. ``first_id`` and ``last_id`` are those of the oldest and of the newest entry, the
    latter also if that is gone; ``None`` where there never was one. ``size_bytes`` is what it takes of the store's
    memory, about; ``None`` where the store does not say.
    """

    count: int
    cap: int
    dropped: int
    first_id: str | None
    last_id: str | None
    size_bytes: int | None


class Extent(NamedTuple):
    """From where to where a stream reaches. The ids are empty where there are none."""

    length: int
    dropped: int
    first_id: str
    last_id: str

    def has_dropped(self, behind: str) -> bool:
        """Whether entries may have been dropped behind this one; none has been where that is still there itself.

        A stream that has expired begins anew and has dropped nothing, but then that one is not there any more.
        """
        if behind == BEGINNING and not self.dropped:
            return False
        return is_behind(_before(self.first_id), behind) if self.first_id else is_behind(self.last_id or "0", behind)


class Chronicle:
    """Reads the timeline of a namespace, once or again and again."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._key = hub.keys.timeline

    async def read(
        self, after: str | None, before: str | None, selection: Selection, limit: int | None = None
    ) -> list[Event]:
        """See :meth:`attune_dsl.coordination.timeline.Timeline.read`."""
        cursor, end = checked(after, "after") or BEGINNING, checked(before, "before")
        _check_number(limit or 0, "limit")
        if limit == 0:
            return []
        count = min(CHUNK, limit) if limit is not None and selection.is_all else CHUNK
        found: list[Event] = []
        asked = self._post_chunk(cursor, end, count)
        while limit is None or len(found) < limit:
            extent, entries = _chunk(await settled(self.hub, asked))
            goes_on, place = len(entries) == count, cursor
            cursor = entries[-1][0].decode() if goes_on else cursor
            if goes_on and limit is None:  # the server is at work while events are made of these
                asked = self._post_chunk(cursor, end, count)
            if extent.has_dropped(place):
                found.append(self.gap(extent, place, end))
            found += self.events(entries, selection)
            if not goes_on:
                break
            if limit is not None and len(found) < limit:
                asked = self._post_chunk(cursor, end, count)
        return found if limit is None else found[:limit]

    async def latest(self, count: int, selection: Selection) -> list[Event]:
        """See :meth:`attune_dsl.coordination.timeline.Timeline.latest`."""
        _check_number(count, "count")
        found: list[Event] = []
        begin, size = "+", min(CHUNK, max(count, _FEW)) if selection.is_all else CHUNK
        while len(found) < count:
            asked = self._post_with_extent(("XREVRANGE", self._key, begin, "-", "COUNT", size))
            extent, entries = _chunk(await settled(self.hub, asked))
            found += self.events(entries[::-1], selection)[::-1]
            if len(entries) < size:
                if extent.dropped and len(found) < count:
                    found.append(self.gap(extent, BEGINNING))
                break
            begin = f"({entries[-1][0].decode()}"
        return found[:count][::-1]

    async def stats(self) -> TimelineStats:
        """See :meth:`attune_dsl.coordination.timeline.Timeline.stats`."""
        info, cap, size = await ask(
            self.hub,
            [("XINFO", "STREAM", self._key), ("GET", self.hub.keys.timeline_cap), ("MEMORY", "USAGE", self._key)],
        )
        extent = _extent(info)
        return TimelineStats(
            count=extent.length,
            cap=int(cap) if isinstance(cap, bytes) and cap.isdigit() else TIMELINE_COUNT,
            dropped=extent.dropped,
            first_id=extent.first_id or None,
            last_id=extent.last_id or None,
            size_bytes=size if isinstance(size, int) else None,
        )

    async def trim(self, keep: int) -> int:
        """See :meth:`attune_dsl.coordination.timeline.Timeline.trim`."""
        _check_number(keep, "keep")
        (dropped,) = await ask(self.hub, [("XTRIM", self._key, "MAXLEN", "=", keep)])
        return dropped if isinstance(dropped, int) else 0

    async def set_cap(self, cap: int) -> None:
        """See :meth:`attune_dsl.coordination.timeline.Timeline.set_cap`."""
        if not TIMELINE_LEAST <= cap <= TIMELINE_MOST:
            raise UsageError(f"cap is {cap:,}; it must be a number from {TIMELINE_LEAST:,} to {TIMELINE_MOST:,}")
        await ask(self.hub, [("SET", self.hub.keys.timeline_cap, cap), ("XTRIM", self._key, "MAXLEN", "=", cap)])

    async def chunk(self, after: str, count: int) -> tuple[Extent, list[Any]]:
        """Return how far the timeline reaches, and the first entries behind one, as the server tells them."""
        return _chunk(await settled(self.hub, self._post_chunk(after, None, count)))

    def _post_chunk(self, after: str, before: str | None, count: int) -> Request:
        end = f"({before}" if before else "+"
        return self._post_with_extent(("XRANGE", self._key, f"({after}", end, "COUNT", count))

    def _post_with_extent(self, command: Command) -> Request:
        # The extent is asked for behind the entries: what was dropped in between is taken for a gap, never overlooked.
        return post(self.hub, batch([command, ("XINFO", "STREAM", self._key)]))

    def events(self, entries: Sequence[Any], selection: Selection = ALL) -> list[Event]:
        """Return the events that are selected. What cannot be read is skipped alone, counted and logged (§5.12)."""
        found, skipped = [], 0
        for at, raw in entries:
            try:
                event = event_codec.decode(at.decode(), raw, self.hub.namespace)
            except ValueError:
                skipped += 1
                continue
            if event is not None and selection.wants(event):
                found.append(event)
        if skipped:
            log.warning("timeline.entries_skipped", namespace=self.hub.namespace, count=skipped)
        return found

    def gap(self, extent: Extent, behind: str, before: str | None = None, why: str | None = None) -> Event:
        """Return the event that says that entries have been dropped behind one; it is placed ahead of those left."""
        place = _before(extent.first_id) if extent.first_id else extent.last_id
        if before and is_behind(place, _before(before)):
            place = _before(before)
        if why is None:
            is_all = behind == BEGINNING and not before
            why = f"the oldest {extent.dropped:,} were dropped" if is_all else "older ones may have been dropped"
        return Event(
            id=place,
            kind=EventKind.GAP.value,
            at=int(place.partition("-")[0]) / 1000,
            namespace=self.hub.namespace,
            data=Gap(why=why),
        )


def checked(event_id: str | None, name: str) -> str | None:
    """Return an event's id in full; ``None`` if there is none. Raises :class:`UsageError` for what is none."""
    if event_id is None:
        return None
    if not is_event_id(event_id):
        raise UsageError(f"{name} is {event_id!r}; it must be the id of an event, such as 1763971918123-0")
    return event_id if "-" in event_id else f"{event_id}-0"


def _check_number(number: int, name: str) -> None:
    if number < 0:
        raise UsageError(f"{name} is {number}; it must be a number of events from 0 up")


def _before(event_id: str) -> str:
    """Return the id that directly precedes another."""
    milliseconds, number = (int(part) for part in event_id.split("-"))
    if number:
        return f"{milliseconds}-{number - 1}"
    return f"{milliseconds - 1}-{_LAST_NUMBER}" if milliseconds else BEGINNING


def _chunk(replies: Sequence[Any]) -> tuple[Extent, list[Any]]:
    entries, info = replies
    return _extent(info), entries if isinstance(entries, list) else []


def _extent(info: Any) -> Extent:
    """Return what ``XINFO STREAM`` says; where there is no stream that is an error."""
    if isinstance(info, ReplyError) or not isinstance(info, list):
        return Extent(0, 0, "", "")
    told = dict(zip(info[::2], info[1::2], strict=False))
    length, first = told[b"length"], told.get(b"first-entry")
    first_id, last_id = first[0].decode() if first else "", told[b"last-generated-id"].decode()
    return Extent(length, told[b"entries-added"] - length, first_id, last_id)
