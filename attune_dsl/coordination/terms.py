"""What is said of a wait: for whom and what, and until when."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from attune_dsl import clock
from attune_dsl.hub.mailbox import Waiter
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
    """Return when a wait of ``timeout`` seconds ends, by :func:`clock.monotonic`."""
    if timeout is None:
        return None
    if not timeout >= 0:
        raise ValueError(f"timeout is {timeout!r}; it must be a number of seconds from 0 up, or None to wait for ever")
    return clock.monotonic() + timeout
