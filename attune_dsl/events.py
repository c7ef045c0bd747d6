"""What the timeline of a namespace tells: frozen records, one for each thing that happened.

An :class:`Event` says what happened (``kind``), to whom, and when; what else there is to say of its kind is in
``data``, which is an instance of the class that :data:`DATA` names for the kind. Durations are seconds, fractions are
from 0 to 1, errors are ``Type: message``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, TypeAlias

from attrs import frozen


class EventKind(StrEnum):
    """What can have happened. A later version may know more: an event of such a kind has :class:`Unknown` data."""

    RUN_STARTED = "run.started"
    RUN_ENDED = "run.ended"
    STAGE_STARTED = "stage.started"
    STAGE_PROGRESSED = "stage.progressed"
    STAGE_RETRIED = "stage.retried"
    STAGE_ENDED = "stage.ended"
    SIGNAL_SENT = "signal.sent"
    SIGNAL_RECEIVED = "signal.received"
    SIGNAL_EXPIRED = "signal.expired"
    WAIT_STARTED = "wait.started"
    WAIT_ENDED = "wait.ended"
    AGENT_JOINED = "agent.joined"
    AGENT_STALLED = "agent.stalled"
    AGENT_RESUMED = "agent.resumed"
    AGENT_ABORTED = "agent.aborted"
    AGENT_LOST = "agent.lost"
    AGENT_FENCED = "agent.fenced"
    AGENT_ENDED = "agent.ended"
    EMIT = "emit"
    GAP = "timeline.gap"


@frozen(kw_only=True)
class RunStart:
    """A run is about to call its workflow. ``plan`` names the stages that are expected, in the order of their ends."""

    plan: tuple[str, ...] = ()


@frozen(kw_only=True)
class RunEnd:
    """A run has ended. ``status`` is a final one of :class:`AgentStatus`; ``cost`` and the tokens are sums."""

    status: str
    duration: float
    error: str | None = None
    cost: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0


@frozen(kw_only=True)
class StageStart:
    """An attempt of a stage began. ``call`` tells calls of one run apart; ``item`` is the index within a ``map``."""

    call: int
    attempt: int = 1
    tier: str | None = None
    item: int | None = None


@frozen(kw_only=True)
class StageProgress:
    """A stage, or the body of a workflow, said how far it is. ``run_progress`` is the run's."""

    fraction: float | None = None
    note: str | None = None
    run_progress: float | None = None


@frozen(kw_only=True)
class StageRetry:
    """An attempt failed, and another one follows after at least ``pause`` seconds."""

    call: int
    attempt: int
    error: str
    pause: float
    item: int | None = None


@frozen(kw_only=True)
class StageEnd:
    """A call of a stage ended. ``status`` is one of :class:`StageStatus`; ``duration`` is over all attempts."""

    call: int
    status: str
    duration: float
    attempts: int = 1
    tier: str | None = None
    item: int | None = None
    error: str | None = None
    run_progress: float | None = None


@frozen(kw_only=True)
class SignalSent:
    """A signal was stored. ``target`` is ``None`` for a broadcast.

    ``payload`` is there if it is short (``has_payload``); ``size`` counts bytes of the whole signal as JSON.
    """

    id: str
    type: str
    target: str | None = None
    size: int = 0
    payload: Any = None
    has_payload: bool = False


@frozen(kw_only=True)
class SignalReceived:
    """An agent took a signal. ``waited`` is for how long it had waited; ``None`` where the signal was there already."""

    id: str
    type: str
    source: str
    target: str | None = None
    waited: float | None = None
    redelivered: bool = False


@frozen(kw_only=True)
class SignalExpired:
    """A signal's time was over before its target took it. The event's agent is the target."""

    id: str
    type: str
    source: str


@frozen(kw_only=True)
class WaitStart:
    """A wait blocks. One that got its signal within some milliseconds is not told; the signal says how long it took.

    ``what`` is ``signal`` or ``barrier``; ``names`` are types of signals (none: any), or the barrier's name.
    """

    what: str
    names: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    timeout: float | None = None


@frozen(kw_only=True)
class WaitEnd:
    """A wait is over. ``outcome`` is ``received``, ``released``, ``interrupted``, or a :class:`Reason`."""

    what: str
    outcome: str
    waited: float
    names: tuple[str, ...] = ()
    detail: str = ""


@frozen(kw_only=True)
class AgentJoin:
    """A new incarnation of an agent joined; ``ttl`` is how long its lease lasts without a beat."""

    epoch: int
    ttl: float | None = None


@frozen(kw_only=True)
class AgentAbort:
    """An agent was asked to stop, by whom and why."""

    epoch: int
    by: str
    reason: str


@frozen(kw_only=True)
class AgentLoss:
    """An agent's lease lapsed. ``beat_at`` is when it last proved to be alive, in seconds since the epoch."""

    epoch: int
    beat_at: float | None = None
    progress: float | None = None


@frozen(kw_only=True)
class AgentEnd:
    """An agent has left with this status."""

    epoch: int
    status: str


@frozen(kw_only=True)
class AgentNews:
    """Nothing more to say than whom it happened to: ``agent.stalled``, ``agent.resumed`` and ``agent.fenced``."""

    epoch: int


@frozen(kw_only=True)
class Emit:
    """What the code of a run handed out with ``ctx.emit``; consecutive texts of kind ``chunk`` come joined."""

    kind: str
    data: Any = None


@frozen(kw_only=True)
class Gap:
    """Here events are missing: ``dropped`` of them, if that is known. ``why`` is for people."""

    why: str
    dropped: int | None = None


@frozen(kw_only=True)
class Unknown:
    """The data of a kind that this version does not know."""

    fields: Mapping[str, Any] = {}


EventData: TypeAlias = (
    RunStart | RunEnd | StageStart | StageProgress | StageRetry | StageEnd
    | SignalSent | SignalReceived | SignalExpired | WaitStart | WaitEnd
    | AgentJoin | AgentAbort | AgentLoss | AgentEnd | AgentNews | Emit | Gap | Unknown
)  # fmt: skip

DATA: Final[Mapping[str, type[EventData]]] = {
    "run.started": RunStart,
    "run.ended": RunEnd,
    "stage.started": StageStart,
    "stage.progressed": StageProgress,
    "stage.retried": StageRetry,
    "stage.ended": StageEnd,
    "signal.sent": SignalSent,
    "signal.received": SignalReceived,
    "signal.expired": SignalExpired,
    "wait.started": WaitStart,
    "wait.ended": WaitEnd,
    "agent.joined": AgentJoin,
    "agent.stalled": AgentNews,
    "agent.resumed": AgentNews,
    "agent.aborted": AgentAbort,
    "agent.lost": AgentLoss,
    "agent.fenced": AgentNews,
    "agent.ended": AgentEnd,
    "emit": Emit,
    "timeline.gap": Gap,
}
"""The class of the data of each kind."""


@frozen(kw_only=True)
class Event:
    """One thing that happened.

    ``id`` orders the events of a namespace: ``<milliseconds>-<number>``, by the server's clock when it was written
    down; ``at`` is when it happened, in seconds since the epoch by the same clock. ``run`` is a run's id, ``workflow``
    its workflow's name, ``stage`` the stage's name within the run; each is ``None`` where there is none.
    """

    id: str
    kind: str
    at: float
    namespace: str
    agent: str | None = None
    run: str | None = None
    workflow: str | None = None
    stage: str | None = None
    data: EventData
