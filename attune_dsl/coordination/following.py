"""Following the timeline: what comes is taken in as it happens, and what was missed is read again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from attune_dsl import clock
from attune_dsl.exceptions import StoreUnavailable
from attune_dsl.hub.drive import drive
from attune_dsl.hub.hub import Hub
from attune_dsl.hub.watch import Watch

T = TypeVar("T")


class Following(ABC, Generic[T]):
    """Turns entries of the timeline into news of type ``T``. Its methods are neutral coroutines."""

    def __init__(self, hub: Hub, watch: Watch) -> None:
        self._hub = hub
        self._watch = watch
        self._untold: list[T] = []
        self._is_behind = False
        """Whether more is to be read again than one :meth:`_catch_up` has read."""
        self._is_away = False

    @abstractmethod
    async def _take(self, entries: Sequence[Any]) -> None:
        """Take in entries as the server told them, which follow each other; what is news goes to ``_untold``."""

    @abstractmethod
    async def _catch_up(self) -> None:
        """Read again from where it was: entries are missing. Raises :class:`StoreUnavailable`."""

    def close(self) -> None:
        """Follow no more."""
        self._hub.watches.close(self._watch)

    async def next(self, timeout: float | None) -> list[T]:
        """Return what is new, as soon as something is; nothing after ``timeout`` seconds (``None``: wait for ever).

        Raises :class:`StoreUnavailable` once the store has been away for longer than the grace time; from then on it
        waits for the store first, and raises after ``timeout`` seconds.
        """
        deadline = None if timeout is None else clock.monotonic() + timeout
        await self._store(deadline)
        while True:
            await self._look()
            if self._untold:
                news, self._untold = self._untold, []
                return news
            if self._is_behind:
                continue
            if deadline is not None and clock.monotonic() >= deadline:
                return []
            await self._watch.arrival(deadline)
            if self._hub.link.is_given_up:
                self._watch.has_gap = self._is_away = True
                raise self._unavailable()

    async def _look(self) -> None:
        """Take in what has come, or the next part of what was missed."""
        entries, has_gap = ([], True) if self._is_behind else self._watch.pop()
        try:
            if has_gap:
                await self._catch_up()
            else:
                await self._take(entries)
        except StoreUnavailable:
            self._watch.has_gap = True
            raise

    async def _store(self, deadline: float | None) -> None:
        """Once it was told that the store is away, wait for it."""
        while self._is_away and self._hub.link.is_given_up:
            if deadline is not None and clock.monotonic() >= deadline:
                raise self._unavailable()
            await self._watch.wakening(deadline)
        self._is_away = False

    def _unavailable(self) -> StoreUnavailable:
        return StoreUnavailable(f"the store {self._hub.server.label} cannot be reached: {self._hub.link.error}")


class _Followed(Generic[T]):
    """What both colours share for those who follow."""

    def __init__(self, following: Following[T], timeout: float | None) -> None:
        self._following = following
        self._timeout = timeout
        self._at: T | None = None
        """What iterating has handed out last, where there is more to hand out."""
        self._closed = False

    def close(self) -> None:
        """Follow no more."""
        if not self._closed:
            self._closed = True
            self._following.close()


class Followed(_Followed[T]):
    """What happens, as it happens: iterate, or ask for the ``next`` ones. Close it, or use ``with``."""

    def next(self, timeout: float | None) -> list[T]:
        """Return what is new, as soon as something is; an empty list after ``timeout`` seconds."""
        return drive(self._following.next(timeout))

    def __iter__(self) -> Iterator[T]:
        while news := self.next(self._timeout):
            for each in news:
                self._at = each
                yield each
            self._at = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncFollowed(_Followed[T]):
    """:class:`Followed` for async code: iterate with ``async for``, or await ``next``."""

    async def next(self, timeout: float | None) -> list[T]:
        """See :meth:`Followed.next`."""
        return await self._following.next(timeout)

    async def __aiter__(self) -> AsyncIterator[T]:
        while news := await self.next(self._timeout):
            for each in news:
                self._at = each
                yield each
            self._at = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
