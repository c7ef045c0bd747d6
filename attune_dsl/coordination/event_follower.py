"""Events as they happen, without a gap and without a duplicate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attune_dsl.coordination.asking import unanswered
from attune_dsl.coordination.chronicle import BEGINNING, CHUNK, Chronicle, checked
from attune_dsl.coordination.following import Following
from attune_dsl.coordination.selection import Selection
from attune_dsl.events import Event
from attune_dsl.hub.watch import Watch, is_behind


class EventFollower(Following[Event]):
    """Tells what comes behind an entry of the timeline. It keeps its place, and what was not asked for yet."""

    def __init__(self, chronicle: Chronicle, watch: Watch, after: str, selection: Selection) -> None:
        super().__init__(chronicle.hub, watch)
        self._chronicle = chronicle
        self._selection = selection
        self.last_id = after
        """Up to where everything was taken in."""

    @classmethod
    async def open(cls, chronicle: Chronicle, after: str | None, selection: Selection) -> EventFollower:
        """Follow behind an entry, or from now on. Raises :class:`UsageError` for what is no id."""
        place = checked(after, "after")
        hub = chronicle.hub
        watch = await hub.watches.open(hub.reader.pump)
        follower = cls(chronicle, watch, place or hub.watches.cursor, selection)
        if not follower.last_id:  # nobody has said where the end of the timeline is
            follower.close()
            raise unanswered(hub)
        return follower

    async def _take(self, entries: Sequence[Any]) -> None:
        # Where something was read again, the first ones are known already.
        known = 0
        while known < len(entries) and not is_behind(entries[known][0].decode(), self.last_id):
            known += 1
        if new := entries[known:]:
            self.last_id = new[-1][0].decode()
            self._untold += self._chronicle.events(new, self._selection)

    async def _catch_up(self) -> None:
        extent, entries = await self._chronicle.chunk(self.last_id, CHUNK)
        if extent.last_id and is_behind(self.last_id, extent.last_id):
            why = "the timeline was begun anew"
            self.last_id, self._is_behind = BEGINNING, True
            self._untold.append(self._chronicle.gap(extent, BEGINNING, why=why))
            return
        if extent.has_dropped(self.last_id):
            self._untold.append(self._chronicle.gap(extent, self.last_id))
        self._is_behind = len(entries) == CHUNK
        await self._take(entries)
