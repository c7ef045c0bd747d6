"""What a run leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Generic, TypeVar

from attrs import field, frozen

from attune_dsl.model import AgentStatus, StageRecord

R = TypeVar("R")


@frozen(kw_only=True)
class Usage:
    """What a run's stages said that they used, failed attempts included. ``cost`` is in the unit they reported."""

    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0


@frozen(kw_only=True, eq=False)
class RunResult(Generic[R]):
    """How a run ended; reading it never raises for what the user's code did.

    ``value`` is ``None`` unless the run completed, ``error`` the exception that ended it. ``started_at`` is in seconds
    since the epoch, ``duration`` in seconds. ``degraded`` says that others may not have seen
    all of it: the store was out of reach at some time, or took the agent for lost, or its id was taken over.
    """

    run_id: str
    agent_id: str
    workflow: str
    status: AgentStatus
    value: R | None
    error: BaseException | None
    started_at: float
    duration: float
    usage: Usage = Usage()
    degraded: bool = False
    _build_stages: Callable[[], tuple[StageRecord, ...]] = field(default=tuple, repr=False)

    @property
    def success(self) -> bool:
        """Whether the workflow returned."""
        return self.status is AgentStatus.COMPLETED

    @cached_property
    def stages(self) -> tuple[StageRecord, ...]:
        """One record for each call of a stage, in the order in which they began, then what was not needed."""
        return self._build_stages()

    @property
    def cost(self) -> float:
        """What the stages said that they cost, in the unit that they reported."""
        return self.usage.cost

    def unwrap(self) -> R:
        """Return the workflow's value, or raise the exception that ended the run."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # a run without an error has its value
