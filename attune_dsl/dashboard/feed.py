"""One follower of the timeline for all clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from attune_dsl.clock import monotonic
from attune_dsl.dashboard.ring import News, Ring, batches
from attune_dsl.exceptions import StoreUnavailable
from attune_dsl.log import logger

if TYPE_CHECKING:
    from attune_dsl.coordination.timeline import AsyncEvents, AsyncTimeline
    from attune_dsl.events import Event

WINDOW: Final = 0.05
"""Seconds between two batches at least; what comes alone is told at once."""
CLIENTS: Final = 500
"""Sockets and streams at a time."""

_RETRY: Final = 1.0
"""Seconds after which a store that is away is looked for again."""
_READERS: Final = 4
"""Clients whose history is read at the same time."""


class TooManyClients(Exception):
    """There are :data:`CLIENTS` already."""


class Feed:
    """Follows the timeline from the first client on, and keeps what comes in a :class:`Ring`.

    While the store is away it goes on trying, and resumes behind the last event: no client has to notice more than a
    pause, and the message that says so.
    """

    def __init__(self, timeline: AsyncTimeline) -> None:
        self.timeline: Final = timeline
        self.ring: Final = Ring()
        self.is_away = False
        self.clients = 0
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._task: asyncio.Task[None] | None = None
        self._has_begun = False
        self._has_tried = asyncio.Event()
        self._readers = asyncio.Semaphore(_READERS)
        self._closing: str | None = None
        self._told_at = 0.0

    @asynccontextmanager
    async def client(self) -> AsyncIterator[None]:
        """Count a client in. Raises :class:`TooManyClients`."""
        if self.clients >= CLIENTS:
            raise TooManyClients
        self.clients += 1
        self._nobody.clear()
        try:
            yield
        finally:
            self.clients -= 1
            if not self.clients:
                self._nobody.set()

    async def emptied(self) -> None:
        """Return once there is no client."""
        await self._nobody.wait()

    async def begun(self) -> None:
        """Return once it follows, or was closed; the ring begins at a known place then.

        Raises :class:`StoreUnavailable` if it could not begin yet.
        """
        if self._task is None and self._closing is None:
            self._task = asyncio.get_running_loop().create_task(self._follow())
        await self._has_tried.wait()
        if not self._has_begun:
            raise StoreUnavailable("the store is away")

    async def read(self, after: str, limit: int, **wanted: Any) -> list[Event]:
        """Read history, a few clients at a time."""
        async with self._readers:
            return await self.timeline.read(after=after, limit=limit, **wanted)

    async def close(self, reason: str) -> None:
        """Tell all clients that it is over, and why."""
        if self._closing is not None:
            return
        self._closing = reason
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self.ring.append(News("closing", reason))
        self._has_begun = True
        self._has_tried.set()

    async def _follow(self) -> None:
        """Follow for ever, whatever happens."""
        while True:
            try:
                await self._follow_on()
            except StoreUnavailable as error:
                self._store_is(away=True, error=str(error))
            except Exception:
                logger().exception("dashboard.feed_failed")
            self._has_tried.set()
            await asyncio.sleep(_RETRY)

    async def _follow_on(self) -> None:
        """Follow until something goes wrong."""
        events = await self.timeline.follow(after=self.ring.last_id if self._has_begun else None)
        try:
            self._store_is(away=False)
            if not self._has_begun:
                self.ring.last_id = events.last_id
                self._has_begun = True
                self._has_tried.set()
            while True:
                await self._take(events)
        finally:
            events.close()

    async def _take(self, events: AsyncEvents) -> None:
        """Tell what comes next; while much comes, once in a :data:`WINDOW`."""
        try:
            told = await events.next(_RETRY if self.is_away else None)
        except StoreUnavailable as error:
            self._store_is(away=True, error=str(error))
            return
        self._store_is(away=False)
        try:
            pause = self._told_at + WINDOW - monotonic()
            if told and pause > 0:
                await asyncio.sleep(pause)
                told += await events.next(0)
        finally:
            for batch in batches(told):
                self.ring.append(batch)
            self._told_at = monotonic()

    def _store_is(self, *, away: bool, error: str = "") -> None:
        if away == self.is_away:
            return
        self.is_away = away
        if away:
            logger().info("dashboard.store_away", error=error)  # of which the link has warned already
        else:
            logger().info("dashboard.store_back")
        self.ring.append(News("store", "away" if away else "back"))
