"""What a run tells its observer: frozen records, in the order in which things happen on one thread.

``at`` is seconds since the epoch by this machine's clock. A run without an observer builds none of them.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from attrs import frozen

from attune_dsl.model import AgentStatus, StageRecord


@frozen(kw_only=True)
class RunStarted:
    """A run joined under its agent id and is about to call the workflow.

    ``plan`` names the stages that are expected, in the order in which they complete. ``store_label`` and
    ``namespace`` are ``None`` where the run touches no store.
    """

    run_id: str
    agent_id: str
    workflow: str
    plan: tuple[str, ...]
    store_label: str | None
    namespace: str | None
    at: float


@frozen(kw_only=True)
class StageStarted:
    """An attempt of a stage began. ``item`` is the index within a ``map`` of ``total`` items."""

    run_id: str
    stage: str
    item: int | None
    attempt: int
    tier: str | None
    at: float
    total: int | None = None


@frozen(kw_only=True)
class StageRetried:
    """An attempt failed and another one follows after at least ``pause`` seconds. ``error`` is ``Type: message``."""

    run_id: str
    stage: str
    item: int | None
    attempt: int
    error: str
    pause: float
    at: float


@frozen(kw_only=True)
class StageProgressed:
    """A stage said how far it is. ``fraction`` is the stage's own, from 0 to 1, or ``None`` where only a note came."""

    run_id: str
    stage: str | None
    fraction: float | None
    note: str | None
    at: float


@frozen(kw_only=True)
class StageEmitted:
    """A stage handed out ``data`` with ``ctx.emit``."""

    run_id: str
    stage: str | None
    data: Any
    at: float
    kind: str = "note"


@frozen(kw_only=True)
class StageEnded:
    """A call of a stage ended. ``progress`` is the run's, from 0 to 0.99."""

    run_id: str
    record: StageRecord
    progress: float
    at: float


@frozen(kw_only=True)
class RunEnded:
    """The run ended and left its agent id. ``error`` is ``Type: message``; ``progress`` is 1 if it completed."""

    run_id: str
    status: AgentStatus
    error: str | None
    progress: float
    at: float


RunEvent: TypeAlias = RunStarted | StageStarted | StageRetried | StageProgressed | StageEmitted | StageEnded | RunEnded
