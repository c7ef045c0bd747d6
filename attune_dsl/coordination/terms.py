"""What is said of a wait: for whom and what, and until when."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Final

from attune_dsl import clock
from attune_dsl.exceptions import UsageError
from attune_dsl.hub.mailbox import Waiter
from attune_dsl.store import limits
from attune_dsl.store.names import check_name


def wanted(waiter: Waiter) -> tuple[str, ...]:
    """Return what is waited for as a reader would say it."""
    senders = ("from", " or ".join(sorted(waiter.watched))) if waiter.watched else ()
    return (" or ".join(sorted(waiter.types)) or "any signal", *senders)


ANYBODY: Final[frozenset[str]] = frozenset()


@lru_cache(1024)
def _names(what: str, *names: str) -> frozenset[str]:
    """Return names as a set, once for all who wait for the same. Raises :class:`InvalidName`."""
    return frozenset(check_name(what, name) for name in names)


def checked(what: str, *names: str) -> frozenset[str]:
    """Return names as a set. Raises :class:`InvalidName`."""
    try:
        return _names(what, *names)
    except TypeError:  # something that is no name, and cannot even be remembered
        return frozenset(check_name(what, name) for name in names)


def deadline_of(timeout: float | None) -> float | None:
    """Return when a wait of ``timeout`` seconds ends, by :func:`clock.monotonic`. Raises ``ValueError``."""
    if timeout is None:
        return None
    try:
        if timeout >= 0:
            return clock.monotonic() + timeout
    except TypeError:
        pass  # no number at all
    raise ValueError(f"timeout is {timeout!r}; it must be a number of seconds from 0 up, or None to wait for ever")


def check_ttl(ttl: float) -> None:
    """Raise ``ValueError`` for a time, in seconds, that no signal can live."""
    try:
        if 0 < ttl <= limits.SIGNAL_TTL:
            return
    except TypeError:
        pass  # no number at all
    raise ValueError(f"ttl is {ttl!r}; it must be a positive number of seconds, {limits.SIGNAL_TTL:,} at most")


def how_many(count: int | None, sources: Sequence[str] | None) -> tuple[int, list[str]]:
    """Return how many signals are to be collected, and from whom each (empty: from anyone).

    Raises :class:`UsageError`, and ``ValueError`` for a ``count`` below 0.
    """
    if (count is None) == (sources is None):
        raise UsageError("collect() takes either count= (how many) or sources= (one from each of them)")
    if count is not None:
        if isinstance(count, bool) or not isinstance(count, int):
            raise UsageError(f"collect(count=) takes a whole number, not {count!r}")
        if count < 0:
            raise ValueError(f"count is {count}; it must be a whole number from 0 up")
        return count, []
    if isinstance(sources, str) or not isinstance(sources, Iterable):
        raise UsageError(f"collect(sources=) takes a list of agent ids, not {sources!r}")
    names = list(dict.fromkeys(sources))
    return len(names), names


def parties_of(parties: int | Sequence[str]) -> int | frozenset[str]:
    """Return how many parties meet at a barrier, or their names.

    Raises :class:`UsageError`, :class:`InvalidName`, and ``ValueError`` for too few or too many.
    """
    if isinstance(parties, bool | str) or not isinstance(parties, int | Collection):
        raise UsageError(f"barrier(parties=) takes a number, or the agent ids of all parties, not {parties!r}")
    count = parties if isinstance(parties, int) else len(parties)
    if not 1 <= count <= limits.PARTIES:
        raise ValueError(f"there are {count:,} parties; it must be from 1 to {limits.PARTIES:,}")
    if isinstance(parties, int):
        return parties
    names = frozenset(check_name("party", party) for party in parties)
    if len(names) < count:
        twice = next(name for name in names if list(parties).count(name) > 1)
        raise UsageError(f"the parties {list(parties)} name {twice!r} more than once")
    return names
