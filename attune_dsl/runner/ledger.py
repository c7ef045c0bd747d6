"""What a run wrote down: one entry for each call of a stage, and what the stages said that they used."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias

from attune_dsl import clock
from attune_dsl.model import StageRecord, StageStatus
from attune_dsl.runner.result import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from attune_dsl.dsl.plan import PlannedStage
    from attune_dsl.runner.calls import StageUse

Detail: TypeAlias = tuple[StageStatus, int, int | None, str | None]
"""Status, attempts, item and error of a call."""

Call: TypeAlias = "tuple[StageUse, float, float, Detail]"
"""A call with its start and end by the monotonic clock. A tuple, because a trivial stage may cost 1 us in all."""

COMPLETED_AT_ONCE: Detail = (StageStatus.COMPLETED, 1, None, None)


class Ledger:
    """Everything that is known of a run's stages, kept cheaply and read as records later. Safe on any thread.

    ``offset`` turns a time of the monotonic clock into seconds since the epoch.
    """

    __slots__ = ("_lock", "_usage", "calls", "offset", "started", "started_at")

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.started = clock.monotonic()
        self.started_at = clock.wall()
        self.offset = self.started_at - self.started
        self._usage = Usage()
        self._lock = Lock()

    @property
    def usage(self) -> Usage:
        """The sums so far."""
        return self._usage

    def use(self, tokens_in: int, tokens_out: int, cost: float) -> None:
        """Add to what was used."""
        with self._lock:
            so_far = self._usage
            self._usage = Usage(
                tokens_in=so_far.tokens_in + tokens_in,
                tokens_out=so_far.tokens_out + tokens_out,
                cost=so_far.cost + cost,
            )

    def record(self, call: Call) -> StageRecord:
        """Return ``call`` as people and programs read it."""
        return _record(self.offset, call)

    def reader(self, planned: Iterable[PlannedStage]) -> Callable[[], tuple[StageRecord, ...]]:
        """Return a function that makes the records of all calls so far, and of the ``planned`` stages that had none."""
        return partial(_records, self.offset, tuple(self.calls), tuple(planned))


def _record(offset: float, call: Call) -> StageRecord:
    use, started, ended, (status, attempts, item, error) = call
    return StageRecord(
        name=use.name,
        status=status,
        attempts=attempts,
        tier=use.tier,
        started_at=offset + started,
        duration=ended - started,
        item=item,
        error=error,
    )


def _records(offset: float, calls: tuple[Call, ...], planned: tuple[PlannedStage, ...]) -> tuple[StageRecord, ...]:
    began = sorted(calls, key=lambda call: call[1])
    called = {call[0].name for call in calls}
    return (
        *(_record(offset, call) for call in began),
        *(
            StageRecord(name=stage.name, status=StageStatus.SKIPPED, attempts=0, tier=stage.tier)
            for stage in planned
            if stage.name not in called
        ),
    )
