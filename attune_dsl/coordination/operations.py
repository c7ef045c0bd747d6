"""What can be done with signals, once, for both facades.

Implementations are written as neutral coroutines (:mod:`attune_dsl.hub.drive`): ``Signals`` drives them on the calling
thread, ``AsyncSignals`` awaits them. The contract's numbers are those of ``docs/architecture.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from attune_dsl.coordination.signal_type import Named
from attune_dsl.model import Broken, Collected, NoSignal, Released, Signal


class Operations(Protocol):
    """One agent's signal operations. See :class:`attune_dsl.coordination.signals.Signals` for what each means."""

    async def send(self, type_: Named, target: str | None, payload: Any, *, ttl: float | None, key: str | None) -> str:
        """Store a signal for one agent (``None``: for all)."""

    async def broadcast(self, type_: Named, payload: Any, *, ttl: float | None, late: bool, key: str | None) -> str:
        """Store a signal for all agents."""

    async def wait(
        self,
        types: Sequence[Named],
        *,
        source: str | None,
        timeout: float | None,
        require_alive: bool = False,
        deadlock: bool = True,
    ) -> Signal | NoSignal:
        """Take the oldest signal that fits, now or when it comes."""

    async def check(self, types: Sequence[Named], *, source: str | None) -> Signal | None:
        """Take the oldest signal that fits, if there is one."""

    async def peek(self, types: Sequence[Named], *, source: str | None) -> Signal | None:
        """Return the oldest signal that fits without taking it."""

    async def pending(self, types: Sequence[Named], *, source: str | None) -> list[Signal]:
        """Return all signals that fit without taking them."""

    async def clear(self, types: Sequence[Named], *, source: str | None) -> int:
        """Take all signals that fit and forget them."""

    async def collect(
        self,
        types: Sequence[Named],
        *,
        count: int | None,
        sources: Sequence[str] | None,
        timeout: float | None,
    ) -> Collected:
        """Take many signals."""

    async def barrier(self, name: str, *, parties: int | Sequence[str], timeout: float | None) -> Released | Broken:
        """Wait until all parties have come."""

    async def abort(self, reason: str, target: str | None) -> list[str]:
        """Ask one agent to stop (``None``: all others)."""


Check = Callable[[str], object]
"""Called with the name of an operation before it begins: raises where there shall be none."""


class _Guarded:
    """Looks up an operation by name, once ``check`` has allowed it: the list of operations is not repeated here."""

    __slots__ = ("_check", "_operations")

    def __init__(self, operations: Operations, check: Check) -> None:
        self._operations = operations
        self._check = check

    def __getattr__(self, name: str) -> Any:
        self._check(name)
        return getattr(self._operations, name)


def guarded(operations: Operations, check: Check) -> Operations:
    """Return the operations, each of which calls ``check`` with its name first and raises what that raises."""
    return cast("Operations", _Guarded(operations, check))
