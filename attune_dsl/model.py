"""The records that travel between the layers: frozen, keyword-only, without behaviour beyond reading themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from attrs import field, frozen

T = TypeVar("T")
if TYPE_CHECKING:  # type checkers bring typing_extensions along; at run time the default means nothing
    from typing_extensions import TypeVar as _TypeVar

    PayloadT_co = _TypeVar("PayloadT_co", covariant=True, default=Any)
else:
    PayloadT_co = TypeVar("PayloadT_co", covariant=True)


class Tier(StrEnum):
    """What a stage's model may cost; a tier names a model and its price."""

    CHEAP = "cheap"
    CAPABLE = "capable"
    PREMIUM = "premium"


class AgentStatus(StrEnum):
    """Where an agent stands. The last five are final: no later beat revives an ended agent."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    ABORTED = "aborted"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def is_final(self) -> bool:
        """Whether an agent in this status has ended."""
        return self._value_ not in _LIVE


_LIVE = frozenset({"starting", "running", "waiting"})


class StageStatus(StrEnum):
    """How one call of a stage stands or ended; ``skipped`` is a planned stage that was not needed."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    ABORTED = "aborted"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class Reason(StrEnum):
    """Why a wait ended without a signal."""

    TIMEOUT = "timeout"
    PEER_GONE = "peer_gone"
    DEADLOCK = "deadlock"
    ABORTED = "aborted"
    UNAVAILABLE = "unavailable"


@frozen(kw_only=True)
class Heartbeat:
    """How an agent proves that it lives.

    ``interval`` is the time between two beats and ``ttl`` the time after which an agent that did not beat is lost;
    ``stall_after`` is the time without progress after which a living agent counts as stalled (``None``: never), where
    its stage names no other; ``keep`` is how long it stays listed once it has ended. All in seconds.
    """

    interval: float = 5.0
    ttl: float = 15.0
    stall_after: float | None = None
    keep: float = 3600.0


@frozen(kw_only=True)
class Coordination:
    """How an agent takes part in signalling.

    ``ttl`` is how long a signal that it sends waits for its receiver, in seconds, where the send names no other;
    ``required`` refuses to start without a store instead of running degraded.
    """

    ttl: float = 60.0
    required: bool = False


@frozen(kw_only=True)
class Signal(Generic[PayloadT_co]):
    """A named message that was received. True in a condition; what a wait returns instead is a :class:`NoSignal`.

    ``payload`` is JSON, or what the :class:`SignalType` declares that its receiver named: ``Signal`` alone is
    ``Signal[Any]``.

    ``target`` is ``None`` for a broadcast. ``sent_at`` and ``expires_at`` are seconds since the epoch by the server's
    clock. ``order`` is the namespace's counter: it orders signals and broadcasts of all senders. ``redelivered`` says
    that an earlier attempt, or an earlier incarnation of this agent that died, may have taken it already.
    ``traceparent`` is the sender's trace context as the W3C writes it, if its process is traced.
    """

    id: str
    type: str
    source: str
    target: str | None
    payload: PayloadT_co
    sent_at: float
    expires_at: float
    order: int
    redelivered: bool = False
    traceparent: str | None = field(default=None, repr=False)

    def __bool__(self) -> Literal[True]:
        return True


@frozen(kw_only=True)
class NoSignal:
    """Why a wait returned no signal. False in a condition."""

    reason: Reason
    detail: str

    def __bool__(self) -> Literal[False]:
        return False


@frozen(kw_only=True)
class Collected(Generic[PayloadT_co]):
    """What ``collect`` gathered: the signals in the order in which they were taken, and who is missing.

    True in a condition when nobody is missing. ``missing`` names the sources that were asked for and did not send;
    ``reason`` and ``detail`` say why it ended early, and are ``None`` and empty when it did not.
    """

    signals: tuple[Signal[PayloadT_co], ...]
    wanted: int
    missing: tuple[str, ...] = ()
    reason: Reason | None = None
    detail: str = ""

    def __bool__(self) -> bool:
        return self.reason is None

    def __iter__(self) -> Iterator[Signal[PayloadT_co]]:
        return iter(self.signals)

    def __len__(self) -> int:
        return len(self.signals)


@frozen(kw_only=True)
class Released:
    """All parties have come to a barrier. True in a condition; what comes of a broken one is :class:`Broken`.

    ``agents`` are those that were released together, in the order in which they came; ``generation`` counts the times
    that the barrier was used, from 1.
    """

    generation: int
    agents: tuple[str, ...]

    def __bool__(self) -> Literal[True]:
        return True


@frozen(kw_only=True)
class Broken:
    """A barrier that released nobody. False in a condition.

    ``by`` is the agent because of which it broke: one that ended (``peer_gone``), whose time was over (``timeout``),
    or that was asked to stop (``aborted``); ``None`` where there is no store (``unavailable``).
    """

    reason: Reason
    by: str | None
    detail: str

    def __bool__(self) -> Literal[False]:
        return False


@frozen(kw_only=True)
class Outcome(Generic[T]):
    """How one item of a ``map`` with ``on_error="collect"`` ended: with a ``value``, or with an ``error``."""

    index: int
    item: Any
    value: T | None = None
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        """Whether the item's call returned."""
        return self.error is None


@frozen(kw_only=True)
class StageRecord:
    """One call of a stage within a run.

    ``name`` is the stage's name within the run (``child/stage`` in a nested workflow). ``attempts`` counts the tries,
    ``started_at`` is in seconds since the epoch, ``duration`` in seconds over all attempts and the pauses between
    them. ``item`` is the index within a ``map``. ``error`` is the last error as ``Type: message``.
    """

    name: str
    status: StageStatus
    attempts: int = 1
    tier: str | None = None
    started_at: float | None = None
    duration: float = 0.0
    item: int | None = None
    error: str | None = None


@frozen(kw_only=True)
class AgentRecord:
    """What the store knows of one agent: the row of the ``agents`` command.

    ``progress`` is a fraction from 0 to 1. ``beat_age`` and ``progress_age`` are seconds by the server's clock since
    the last proof of life and the last proof of work; all that ends in ``_at`` is seconds since the epoch by that
    clock. ``activity`` is what the agent last did. ``stalled_at`` is when it made its last progress, if that is longer
    ago than ``stall_after`` seconds; it is ``None`` for one that is not stalled. ``cost`` is what its run reported so
    far, ``exit_code`` that of a command that ran as this agent. ``abort`` is why it was asked to stop, and by whom.
    ``kept_until`` is when an ended one leaves the listing.
    """

    agent_id: str
    epoch: int
    status: AgentStatus
    display_name: str | None = None
    workflow: str | None = None
    run_id: str | None = None
    stage: str | None = None
    attempt: int | None = None
    tier: str | None = None
    progress: float | None = None
    note: str | None = None
    activity: str | None = None
    cost: float | None = None
    error: str | None = None
    exit_code: int | None = None
    abort: str | None = None
    stage_started_at: float | None = None
    stalled_at: float | None = None
    stall_after: float | None = None
    beat_age: float | None = None
    progress_age: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    kept_until: float | None = None
    host: str | None = None
    pid: int | None = None
    stages: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = {}

    @property
    def is_stalled(self) -> bool:
        """Whether it lives and has made no progress for longer than it was allowed to."""
        return self.stalled_at is not None and not self.status.is_final

    @property
    def state(self) -> str:
        """Its status, or ``stalled``, which is derived: what people are shown."""
        return "stalled" if self.is_stalled else self.status.value


@frozen(kw_only=True)
class StageSummary:
    """All calls of one stage within a run, as others see them.

    ``status`` is that of the last call that ended; ``calls`` and ``failures`` count calls, ``attempts`` their tries.
    ``started_at`` is when the first call began, in seconds since the epoch; ``duration`` is the sum over the calls in
    seconds. ``error`` is the last one as ``Type: message``.
    """

    name: str
    status: StageStatus
    calls: int
    failures: int = 0
    attempts: int
    tier: str | None = None
    started_at: float
    duration: float
    error: str | None = None


class ChangeKind(StrEnum):
    """What happened to an agent. ``joined`` is a new incarnation, ``updated`` news of its stage or progress."""

    JOINED = "joined"
    UPDATED = "updated"
    STALLED = "stalled"
    RESUMED = "resumed"
    LOST = "lost"
    FENCED = "fenced"
    ENDED = "ended"


@frozen(kw_only=True)
class AgentChange:
    """One change of one agent: what happened, when (seconds since the epoch, the server's clock), and how it stands."""

    kind: ChangeKind
    at: float
    agent: AgentRecord
