"""Runs, as the timeline tells of them: events folded into one record for each run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from attrs import frozen

from attune_dsl import events
from attune_dsl.events import Event
from attune_dsl.hub.endings import Abort
from attune_dsl.model import AgentStatus, StageStatus, StageSummary

SHORTEST: Final = 4
"""Characters of a run's id that are enough to name it, if no other one begins with them."""


@frozen(kw_only=True)
class RunSummary:
    """One run, as far as the timeline tells of it. All that ends in ``_at`` is seconds since the epoch.

    ``status`` is ``running`` or a final one: what the run said at its end, else how its agent ended; a run whose agent
    id was taken over counts as aborted. ``started_at`` is when it began, or when the timeline first tells of it;
    ``duration`` is seconds. ``abort`` is why it was asked to stop, and by whom. ``progress`` is a fraction from 0 to 1.

    ``stages`` have begun, in that order; one with calls under way is ``running``, also where the run ended without
    them. ``plan`` are those that were expected at the start. ``sent`` and ``received`` count signals, ``waits`` those
    that are over or blocked long enough to be told, ``waited`` is their sum in seconds, ``emits`` counts what was
    handed out. ``cost`` and the tokens are known at the end.

    ``is_whole`` says that no event of the run is known to be missing; ``last_at`` is when the last one happened.
    """

    run_id: str
    agent_id: str | None
    workflow: str | None
    status: AgentStatus
    started_at: float
    ended_at: float | None = None
    duration: float | None = None
    error: str | None = None
    abort: str | None = None
    progress: float | None = None
    plan: tuple[str, ...] = ()
    stages: tuple[StageSummary, ...] = ()
    sent: int = 0
    received: int = 0
    waits: int = 0
    waited: float = 0.0
    emits: int = 0
    cost: float | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    last_at: float
    is_whole: bool = True

    @property
    def done(self) -> int:
        """How many stages have completed."""
        return sum(stage.status == StageStatus.COMPLETED for stage in self.stages)

    @property
    def total(self) -> int:
        """How many stages there are, those that are planned and have not begun included."""
        return len({*self.plan, *(stage.name for stage in self.stages)})


def summaries(told: Iterable[Event]) -> list[RunSummary]:
    """Return the runs that events tell of, in the order of their beginnings.

    ``told`` are events of a namespace, oldest first. Agents that are no runs, such as scripts, do not count.
    """
    runs: dict[str, _Run] = {}
    of_agent: dict[str, _Run] = {}
    for event in told:
        run = runs.get(event.run) if event.run else of_agent.get(event.agent or "")
        if run is None:
            if not event.run:
                continue
            run = runs[event.run] = _Run(event.run, event.at)
        if event.run and event.agent:
            of_agent[event.agent] = run
        run.add(event)
    return [run.summary() for run in runs.values()]


def matching(name: str, runs: Sequence[RunSummary]) -> list[RunSummary]:
    """Return the runs that ``name`` can mean: none, the one that is meant, or several.

    A name is a run's id, an agent id, which means its latest run, or at least :data:`SHORTEST` characters with which
    a run's id begins. ``runs`` are in the order of their beginnings.
    """
    exact = [run for run in runs if run.run_id == name] or [run for run in runs if run.agent_id == name]
    if exact:
        return exact[-1:]
    return [run for run in runs if len(name) >= SHORTEST and run.run_id.startswith(name)]


class _Stage:
    """What has happened of one stage so far."""

    def __init__(self, name: str, began_at: float) -> None:
        self._name = name
        self._began_at = began_at
        self._status = StageStatus.RUNNING
        self._under_way: dict[int, int] = {}
        self._calls = self._failures = self._attempts = 0
        self._duration = 0.0
        self._tier: str | None = None
        self._error: str | None = None

    def started(self, data: events.StageStart) -> None:
        self._tier = data.tier
        self._under_way[data.call] = data.attempt

    def retried(self, data: events.StageRetry) -> None:
        self._error = data.error

    def ended(self, data: events.StageEnd) -> None:
        self._under_way.pop(data.call, None)
        try:
            self._status = StageStatus(data.status)
        except ValueError:
            return  # written by somebody else
        self._calls += 1
        self._failures += self._status is StageStatus.FAILED
        self._attempts += data.attempts
        self._duration += data.duration
        self._tier = data.tier or self._tier
        self._error = data.error or self._error

    def summary(self) -> StageSummary:
        return StageSummary(
            name=self._name,
            status=StageStatus.RUNNING if self._under_way else self._status,
            calls=self._calls + len(self._under_way),
            failures=self._failures,
            attempts=self._attempts + sum(self._under_way.values()),
            tier=self._tier,
            started_at=self._began_at,
            duration=self._duration,
            error=self._error,
        )


class _Run:
    """What has happened of one run so far."""

    def __init__(self, run_id: str, began_at: float) -> None:
        self._run_id = run_id
        self._agent: str | None = None
        self._workflow: str | None = None
        self._began_at = self._last_at = began_at
        self._start: events.RunStart | None = None
        self._has_joined = False
        self._end: events.RunEnd | None = None
        self._left: tuple[AgentStatus, float, str | None] | None = None
        self._abort: str | None = None
        self._progress: float | None = None
        self._stages: dict[str, _Stage] = {}
        self._sent = self._received = self._emits = 0
        self._waits_begun = self._waits_ended = 0
        self._waited = 0.0
        self._has_gaps = False

    def add(self, event: Event) -> None:
        """Take in the next event."""
        self._last_at = event.at
        self._agent = event.agent or self._agent
        self._workflow = event.workflow or self._workflow
        match event.data:
            case events.StageStart() | events.StageRetry() | events.StageEnd() as data if event.stage:
                self._stage_told(event.stage, event.at, data)
            case events.StageProgress(run_progress=float() as fraction):
                self._progress = fraction
            case events.SignalSent():
                self._sent += 1
            case events.SignalReceived():
                self._received += 1
            case events.WaitStart():
                self._waits_begun += 1
            case events.WaitEnd(waited=waited):
                self._waits_ended += 1
                self._waited += waited
            case events.Emit():
                self._emits += 1
            case events.Gap():
                self._has_gaps = True
            case events.RunStart() as start:
                self._start, self._began_at = start, event.at
            case events.RunEnd() as end:
                self._ended(end, event.at)
            case _:
                self._agent_told(event)

    def _stage_told(self, name: str, at: float, data: events.StageStart | events.StageRetry | events.StageEnd) -> None:
        stage = self._stages.get(name)
        if stage is None:
            began_at = at - data.duration if isinstance(data, events.StageEnd) else at
            stage = self._stages[name] = _Stage(name, began_at)
        match data:
            case events.StageStart():
                stage.started(data)
            case events.StageRetry():
                stage.retried(data)
            case events.StageEnd():
                stage.ended(data)
                if data.run_progress is not None:
                    self._progress = data.run_progress

    def _ended(self, end: events.RunEnd, at: float) -> None:
        status = _final(end.status)
        if status is not None:
            self._end, self._left = end, (status, at, end.error)
            if status is AgentStatus.COMPLETED:
                self._progress = 1.0

    def _agent_told(self, event: Event) -> None:
        """What happens to the agent decides only where the run itself did not say how it ended."""
        match event.kind, event.data:
            case "agent.joined", _:
                self._has_joined = True
                if self._end is None:
                    self._left = None
            case "agent.aborted", events.AgentAbort(by=by, reason=reason):
                self._abort = self._abort or str(Abort(reason, by))
            case "agent.lost", _ if self._end is None:
                self._left = AgentStatus.LOST, event.at, None
            case "agent.fenced", _ if self._end is None:
                self._left = AgentStatus.ABORTED, event.at, "its agent id was taken over"
            case "agent.ended", events.AgentEnd(status=status) if self._left is None:
                ended = _final(status)
                self._left = None if ended is None else (ended, event.at, None)

    def summary(self) -> RunSummary:
        """Return how it stands."""
        status, ended_at, error = self._left or (AgentStatus.RUNNING, None, None)
        end = self._end
        duration = None if ended_at is None else max(ended_at - self._began_at, 0.0)
        return RunSummary(
            run_id=self._run_id,
            agent_id=self._agent,
            workflow=self._workflow,
            status=status,
            started_at=self._began_at,
            ended_at=ended_at,
            duration=duration if end is None else end.duration,
            error=error,
            abort=self._abort,
            progress=self._progress,
            plan=() if self._start is None else self._start.plan,
            stages=tuple(stage.summary() for stage in self._stages.values()),
            sent=self._sent,
            received=self._received,
            waits=max(self._waits_begun, self._waits_ended),
            waited=self._waited,
            emits=self._emits,
            cost=None if end is None else end.cost,
            tokens_in=0 if end is None else end.tokens_in,
            tokens_out=0 if end is None else end.tokens_out,
            last_at=self._last_at,
            is_whole=not self._has_gaps and (self._has_joined or self._start is not None),
        )


def _final(status: str) -> AgentStatus | None:
    """Return a final status; ``None`` for what somebody else wrote."""
    try:
        known = AgentStatus(status)
    except ValueError:
        return None
    return known if known.is_final else None
