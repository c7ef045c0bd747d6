"""Signals of an agent that has coordination off: nothing is sent, nothing comes, and one warning says so (§3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attune_dsl import log
from attune_dsl.coordination.signal_type import Named
from attune_dsl.model import Broken, Collected, NoSignal, Reason, Released, Signal


class InertOperations:
    """Answers at once: ``""``, ``unavailable`` or nothing."""

    def __init__(self, whose: str) -> None:
        """``whose`` names the workflow in the warning and in what waits return."""
        self._whose = whose
        self._detail = f"coordination is off for {whose}"
        self._warned = False

    def _nothing(self) -> NoSignal:
        if not self._warned:
            self._warned = True
            log.warning("signals.inert", detail=self._detail, advice="declare it with @workflow(coordination=True)")
        return NoSignal(reason=Reason.UNAVAILABLE, detail=self._detail)

    async def send(self, type_: Named, target: str | None, payload: Any, **_: object) -> str:
        """Send nothing."""
        self._nothing()
        return ""

    async def broadcast(self, type_: Named, payload: Any, **_: object) -> str:
        """Send nothing."""
        self._nothing()
        return ""

    async def wait(self, types: Sequence[Named], **_: object) -> Signal | NoSignal:
        """Return at once: there is nothing to wait for."""
        return self._nothing()

    async def check(self, types: Sequence[Named], **_: object) -> Signal | None:
        """Find nothing."""
        self._nothing()
        return None

    async def peek(self, types: Sequence[Named], **_: object) -> Signal | None:
        """Find nothing."""
        self._nothing()
        return None

    async def pending(self, types: Sequence[Named], **_: object) -> list[Signal]:
        """Find nothing."""
        self._nothing()
        return []

    async def clear(self, types: Sequence[Named], **_: object) -> int:
        """Find nothing."""
        self._nothing()
        return 0

    async def barrier(self, name: str, **_: object) -> Released | Broken:
        """Return at once: nobody comes."""
        nothing = self._nothing()
        return Broken(reason=nothing.reason, by=None, detail=nothing.detail)

    async def abort(self, reason: str, target: str | None) -> list[str]:
        """Ask nobody."""
        self._nothing()
        return []

    async def collect(
        self, types: Sequence[Named], *, count: int | None, sources: Sequence[str] | None, **_: object
    ) -> Collected:
        """Gather nothing."""
        nothing = self._nothing()
        missing = tuple(sources or ())
        return Collected(
            signals=(),
            wanted=count or len(missing),
            missing=missing,
            reason=nothing.reason,
            detail=nothing.detail,
        )
