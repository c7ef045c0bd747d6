"""What was declared: the frozen options of a stage and of a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from attune_dsl.dsl.stage import Stage
    from attune_dsl.dsl.workflow import Workflow
    from attune_dsl.model import Coordination, Heartbeat

TierName = Literal["cheap", "capable", "premium"]


class StageSpec(NamedTuple):
    """The options of a stage.

    ``retries`` counts the attempts after the first, ``backoff`` is the first pause between two attempts
    and ``timeout`` the time that one attempt may take, both in seconds. ``limit`` is how many items of a
    ``map`` run at the same time (``None``: the runner's choice), ``on_error`` what a ``map`` does with
    items that failed. ``stall_after`` is how long the stage may run without progress before its agent
    counts as stalled, in seconds (``None``: as long as the workflow's :class:`Heartbeat` says).
    """

    name: str
    tier: str | None = None
    retries: int = 0
    backoff: float = 0.1
    retry_on: tuple[type[Exception], ...] = (Exception,)
    timeout: float | None = None
    limit: int | None = None
    on_error: Literal["raise", "collect"] = "raise"
    stall_after: float | None = None


class WorkflowSpec(NamedTuple):
    """The options of a workflow.

    ``timeout`` is the time that a whole run may take, in seconds. ``display_name`` and ``metadata`` are what
    its agent shows of itself to people and programs; the metadata is a copy of what was written.
    """

    name: str
    heartbeat: bool | Heartbeat = False
    coordination: bool | Coordination = False
    stages: tuple[Stage[..., Any] | Workflow[..., Any], ...] | None = None
    agent_id: str | None = None
    timeout: float | None = None
    store: str | None = None
    namespace: str | None = None
    takeover: bool = False
    display_name: str | None = None
    metadata: Mapping[str, Any] | None = None


class StageOptions(TypedDict, total=False):
    """What ``@stage(...)`` takes."""

    name: str
    tier: TierName | None
    retries: int
    backoff: float
    retry_on: type[Exception] | Sequence[type[Exception]]
    timeout: float | None
    stall_after: float | None


class StageCallOptions(StageOptions, total=False):
    """What ``stage.options(...)`` takes, apart from ``on_error``."""

    limit: int | None


class WorkflowOptions(TypedDict, total=False):
    """What ``@workflow(...)`` takes."""

    name: str
    heartbeat: bool | Heartbeat
    coordination: bool | Coordination
    stages: Sequence[Stage[..., Any] | Workflow[..., Any]] | None
    agent_id: str | None
    timeout: float | None
    display_name: str | None
    metadata: Mapping[str, Any] | None


class WorkflowRunOptions(WorkflowOptions, total=False):
    """What ``workflow.options(...)`` takes."""

    store: str | None
    namespace: str | None
    takeover: bool
