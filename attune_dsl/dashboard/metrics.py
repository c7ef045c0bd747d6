"""The figures of a namespace in the text format of Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Final, Self

from attrs import frozen
from prometheus_client import Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from attune_dsl.coordination.monitor import AsyncMonitor
from attune_dsl.coordination.timeline import AsyncTimeline, TimelineStats
from attune_dsl.dashboard.tally import Tally
from attune_dsl.exceptions import StoreUnavailable
from attune_dsl.log import logger

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""What :meth:`Metrics.render` returns, for the header of that name."""
MOMENT: Final = 1.0
"""Seconds that an answer waits for the store, at most: a scraper waits for ten, unless it is told otherwise."""

_RETRY: Final = 1.0
"""Seconds after which a store that is away is looked for again."""


class Metrics:
    """Counts what the timeline tells from its beginning on, and looks at the agents whenever it is asked.

    Belongs to one event loop. Use it with ``async with``, or call :meth:`start` and :meth:`stop`.
    """

    def __init__(
        self,
        store: str | None = None,
        namespace: str | None = None,
        *,
        timeline: AsyncTimeline | None = None,
        monitor: AsyncMonitor | None = None,
    ) -> None:
        """Nothing is contacted yet. A ``timeline`` and a ``monitor`` that are given are used and not closed."""
        self._timeline = timeline or AsyncTimeline(store, namespace)
        self._monitor = monitor or AsyncMonitor(store, namespace)
        self._own = [one for one, given in ((self._timeline, timeline), (self._monitor, monitor)) if given is None]
        self._tally = Tally()
        self._last_id = "0"
        self._is_complete = asyncio.Event()
        self._counting: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[_Look | None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Begin to count, if that has not begun yet. Neither waits for the store nor minds one that is away."""
        if self._counting is None:
            self._counting = asyncio.create_task(self._count())

    async def stop(self) -> None:
        """Count no more, and disconnect."""
        tasks = [task for task in (self._counting, self._looking) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._counting = self._looking = None
        for one in self._own:
            await one.close()

    async def render(self) -> bytes:
        """Return the figures as they are now, as :data:`CONTENT_TYPE`; begins to count if that has not begun yet.

        While the store is away, ``attune_store_up`` is 0 and what only the store knows is left out. So are the
        counters until all that has happened before is counted: a counter that is too low at first would look like
        one that has gone up since.
        """
        await self.start()
        look, is_complete = await asyncio.gather(self._look(), self._completion())
        # On a thread: as text, hundreds of stages take longer than others on this loop should wait.
        return await asyncio.to_thread(generate_latest, _Scrape(look, self._tally if is_complete else None))

    # What is counted

    async def _count(self) -> None:
        """Count for ever, whatever happens."""
        while True:
            try:
                await self._count_on()
            except StoreUnavailable:
                pass  # each answer says so
            except Exception:
                logger().exception("metrics.counting_failed")
            await asyncio.sleep(_RETRY)

    async def _count_on(self) -> None:
        events = await self._timeline.follow(after=self._last_id)
        try:
            while True:
                told = await events.next(None if self._is_complete.is_set() else 0)
                for event in told:
                    self._last_id = event.id  # before it is counted: one that cannot be is left out
                    self._tally.take(event)
                if not told:
                    self._is_complete.set()
                await asyncio.sleep(0)  # much may be there at once, and others have their turn
        finally:
            events.close()

    async def _completion(self) -> bool:
        try:
            async with asyncio.timeout(MOMENT):
                return await self._is_complete.wait()
        except TimeoutError:
            return False

    # What is looked at

    async def _look(self) -> _Look | None:
        """Return what the store says now; ``None`` if it does not say it soon. Who asks at the same time shares it."""
        looking = self._looking
        if looking is None or looking.done():
            looking = self._looking = asyncio.create_task(self._ask())
        await asyncio.wait([looking], timeout=MOMENT)
        return looking.result() if looking.done() else None

    async def _ask(self) -> _Look | None:
        try:
            return _Look(await self._monitor.counts(), await self._timeline.stats())
        except StoreUnavailable:
            return None


@frozen
class _Look:
    """What the store says of itself: agents in each status, and how much of the timeline there is."""

    agents: Mapping[str, int]
    timeline: TimelineStats


class _Scrape(Collector):
    """One answer."""

    def __init__(self, look: _Look | None, tally: Tally | None) -> None:
        self._look = look
        self._tally = tally

    def collect(self) -> Iterable[Metric]:
        """Return all metrics of the answer."""
        look = self._look
        yield GaugeMetricFamily("attune_store_up", "Whether the store has answered.", float(look is not None))
        if look is not None:
            yield from _of_look(look)
        if self._tally is not None:
            yield from self._tally.collect()


def _of_look(look: _Look) -> Iterable[Metric]:
    agents = GaugeMetricFamily("attune_agents", "Agents that live or ended lately.", labels=["status"])
    for status, count in look.agents.items():
        agents.add_metric([status], count)
    yield agents
    timeline = look.timeline
    yield GaugeMetricFamily("attune_timeline_events", "Entries that the timeline has.", timeline.count)
    yield GaugeMetricFamily("attune_timeline_cap", "Entries that it keeps, about.", timeline.cap)
    yield CounterMetricFamily(
        "attune_timeline_events_dropped", "Entries that were dropped because there were more.", timeline.dropped
    )
