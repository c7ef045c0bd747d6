"""What happened in a namespace, in order: ``Timeline`` for blocking code, ``AsyncTimeline`` for async code."""

from __future__ import annotations

from collections.abc import Collection
from typing import final

from attune_dsl.coordination.chronicle import Chronicle, TimelineStats
from attune_dsl.coordination.event_follower import EventFollower
from attune_dsl.coordination.following import AsyncFollowed, Followed
from attune_dsl.coordination.looking import AsyncLooking, BlockingLooking, Looking
from attune_dsl.coordination.selection import Selection
from attune_dsl.events import Event
from attune_dsl.hub.drive import drive

__all__ = ["AsyncEvents", "AsyncTimeline", "Events", "Timeline", "TimelineStats"]


class _Telling(Looking):
    """What both colours share."""

    async def _chronicle(self) -> Chronicle:
        return Chronicle(await self._open())

    async def _follow(self, after: str | None, selection: Selection) -> EventFollower:
        return await EventFollower.open(await self._chronicle(), after, selection)


@final
class Timeline(_Telling, BlockingLooking):
    """What happened, oldest first. Blocking; safe to use by one thread at a time.

    Use it in a ``with`` block, or call :meth:`close`. Its methods raise :class:`StoreUnavailable` if the store cannot
    be reached, :class:`StoreConfigError` and :class:`InvalidName` at the first call.

    Wherever events are chosen, ``kinds`` is one or several kinds, such as ``"signal.sent"``, or families of them, such
    as ``"stage"``; ``agent`` is an agent id, ``run`` a run's id. All that is given has to fit. An event of the kind
    ``timeline.gap`` says that something is missing where it stands, and is told whatever was chosen. A kind that does
    not exist is a :class:`UsageError`.

    >>> with Timeline() as timeline:                                      # doctest: +SKIP
    ...     for event in timeline.read(kinds="stage", agent="release"):
    ...         print(event.at, event.stage, event.data)
    """

    def read(
        self,
        *,
        after: str | None = None,
        before: str | None = None,
        kinds: str | Collection[str] | None = None,
        agent: str | None = None,
        run: str | None = None,
        limit: int | None = None,
    ) -> list[Event]:
        """Return what happened behind one event and before another, by their ids; the first ``limit`` of it.

        Raises :class:`UsageError` for what is no id, and a limit below 0.
        """
        return drive(self._here().read(after, before, Selection.of(kinds, agent, run), limit))

    def latest(
        self,
        count: int,
        *,
        kinds: str | Collection[str] | None = None,
        agent: str | None = None,
        run: str | None = None,
    ) -> list[Event]:
        """Return the last ``count`` events, oldest first. Raises :class:`UsageError` for a number below 0."""
        return drive(self._here().latest(count, Selection.of(kinds, agent, run)))

    def follow(
        self,
        after: str | None = None,
        *,
        kinds: str | Collection[str] | None = None,
        agent: str | None = None,
        run: str | None = None,
        timeout: float | None = None,
    ) -> Events:
        """Follow what happens behind an event, by its id, or from now on.

        Iterating ends after ``timeout`` seconds without an event (``None``: never). Nothing is left out or told twice,
        also where the store was away; what it has dropped before it could be read is told as a gap. Raises while
        iterating as the other methods do; going on afterwards tells what happened meanwhile.
        """
        return Events(drive(self._follow(after, Selection.of(kinds, agent, run))), timeout)

    def stats(self) -> TimelineStats:
        """Return how much there is, and how far it reaches back."""
        return drive(self._here().stats())

    def trim(self, *, keep: int) -> int:
        """Drop the oldest entries until ``keep`` are left; return how many that were."""
        return drive(self._here().trim(keep))

    def set_cap(self, cap: int) -> None:
        """Keep about ``cap`` entries of this namespace from now on, 1,000 to 10,000,000; 100,000 is the default.

        An entry takes about 250 bytes of the store's memory, more where much is told. Raises :class:`UsageError`.
        """
        drive(self._here().set_cap(cap))

    def _here(self) -> Chronicle:
        return drive(self._chronicle())


@final
class AsyncTimeline(_Telling, AsyncLooking):
    """:class:`Timeline` for async code: use it with ``async with``; every method is awaited."""

    async def read(
        self,
        *,
        after: str | None = None,
        before: str | None = None,
        kinds: str | Collection[str] | None = None,
        agent: str | None = None,
        run: str | None = None,
        limit: int | None = None,
    ) -> list[Event]:
        """See :meth:`Timeline.read`."""
        return await (await self._chronicle()).read(after, before, Selection.of(kinds, agent, run), limit)

    async def latest(
        self,
        count: int,
        *,
        kinds: str | Collection[str] | None = None,
        agent: str | None = None,
        run: str | None = None,
    ) -> list[Event]:
        """See :meth:`Timeline.latest`."""
        return await (await self._chronicle()).latest(count, Selection.of(kinds, agent, run))

    async def follow(
        self,
        after: str | None = None,
        *,
        kinds: str | Collection[str] | None = None,
        agent: str | None = None,
        run: str | None = None,
        timeout: float | None = None,
    ) -> AsyncEvents:
        """See :meth:`Timeline.follow`; iterate over what this returns with ``async for``."""
        return AsyncEvents(await self._follow(after, Selection.of(kinds, agent, run)), timeout)

    async def stats(self) -> TimelineStats:
        """See :meth:`Timeline.stats`."""
        return await (await self._chronicle()).stats()

    async def trim(self, *, keep: int) -> int:
        """See :meth:`Timeline.trim`."""
        return await (await self._chronicle()).trim(keep)

    async def set_cap(self, cap: int) -> None:
        """See :meth:`Timeline.set_cap`."""
        await (await self._chronicle()).set_cap(cap)


@final
class Events(Followed[Event]):
    """Events as they happen: iterate, or ask for the ``next`` ones. Close it, or use ``with``."""

    def __init__(self, follower: EventFollower, timeout: float | None) -> None:
        super().__init__(follower, timeout)
        self._follower = follower

    @property
    def last_id(self) -> str:
        """Up to where everything was returned: whoever follows ``after`` it goes on from there."""
        return self._follower.last_id if self._at is None else self._at.id


@final
class AsyncEvents(AsyncFollowed[Event]):
    """:class:`Events` for async code: iterate with ``async for``, or await ``next``."""

    def __init__(self, follower: EventFollower, timeout: float | None) -> None:
        super().__init__(follower, timeout)
        self._follower = follower

    @property
    def last_id(self) -> str:
        """See :attr:`Events.last_id`."""
        return self._follower.last_id if self._at is None else self._at.id
