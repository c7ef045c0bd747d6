"""Turning events into a scene: starts and ends become bars, sent and received signals arrows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import define, evolve, field

from attune_dsl.events import (
    AgentEnd,
    AgentLoss,
    Emit,
    Event,
    EventData,
    RunEnd,
    RunStart,
    SignalSent,
    StageEnd,
    StageProgress,
    StageRetry,
    StageStart,
    WaitEnd,
    WaitStart,
)
from attune_dsl.export.moments import moments
from attune_dsl.export.scene import Bar, RunFacts, Scene, What
from attune_dsl.export.signals import arrows

_IN_A_RUN = RunStart | RunEnd | StageStart | StageProgress | StageRetry | StageEnd | WaitStart | WaitEnd | Emit
"""What only a run can tell; where its start is missing, it began with the first of these."""

_RANK = {"run": 0, "stage": 1, "attempt": 2, "wait": 3}


def fold(events: Sequence[Event]) -> Scene:
    """Return the scene that events tell, given oldest first. What has no start or no end has that of what it is in."""
    origin, times = moments(events)
    folding = _Folding(times)
    for index in sorted(range(len(events)), key=times.__getitem__):
        folding.add(index, events[index])
    folding.close()
    bars = _linked(folding.bars)
    return Scene(
        events=tuple(events),
        times=tuple(times),
        origin=origin,
        end=max([*times, *(bar.end for bar in bars)], default=0.0),
        agents=tuple(_agents(events, bars)),
        bars=tuple(bars),
        arrows=tuple(arrows(events)),
        runs=tuple(_facts(bar, events, origin) for bar in bars if bar.what == "run"),
    )


def _agents(events: Iterable[Event], bars: Iterable[Bar]) -> list[str]:
    """The agents whose runs are told, then all others in the order in which they come."""
    named: dict[str, None] = {bar.agent: None for bar in bars if bar.what == "run"}
    for event in events:
        if event.agent is not None:
            named.setdefault(event.agent)
        if isinstance(event.data, SignalSent) and event.data.target is not None:
            named.setdefault(event.data.target)
        elif (source := getattr(event.data, "source", None)) is not None:
            named.setdefault(source)
    return list(named)


def _linked(bars: list[Bar]) -> list[Bar]:
    """Return the bars by their starts, each with the one that it is part of, and within its time."""
    ordered = sorted(bars, key=lambda bar: (bar.start, _RANK[bar.what], -bar.end))
    runs = {(bar.agent, bar.run): place for place, bar in enumerate(ordered) if bar.what == "run"}
    calls: dict[tuple[str, str | None, int | None], int] = {}
    stages: defaultdict[tuple[str, str | None, str], list[int]] = defaultdict(list)
    linked: list[Bar] = []
    for place, bar in enumerate(ordered):
        owner = (bar.agent, bar.run)
        parent = runs.get(owner) if bar.what != "run" else None
        if bar.what == "stage":
            calls[(*owner, bar.call)] = place
            stages[(*owner, bar.name)].append(place)
        elif bar.what == "attempt":
            parent = calls.get((*owner, bar.call), parent)
        elif bar.what == "wait":
            around = [one for one in stages[(*owner, _stage_of(bar))] if linked[one].end > bar.start]
            parent = around[-1] if around else parent
        linked.append(_within(bar, parent, linked))
    return linked


def _stage_of(wait: Bar) -> str:
    return wait.name.partition("\0")[0]


def _within(bar: Bar, parent: int | None, linked: list[Bar]) -> Bar:
    name = bar.name.partition("\0")[2] if bar.what == "wait" else bar.name
    if parent is None or parent >= len(linked) or bar.start > linked[parent].end:
        return evolve(bar, name=name)
    return evolve(bar, name=name, part_of=parent, end=max(bar.start, min(bar.end, linked[parent].end)))


@define
class _Open:
    """A bar whose end has not been seen."""

    what: What
    name: str
    agent: str
    run: str | None
    start: float
    events: list[int]
    call: int | None = None
    attempt: int | None = None
    item: int | None = None

    def ended(self, at: float, status: str, *events: int) -> Bar:
        return Bar(
            what=self.what,
            name=self.name,
            agent=self.agent,
            run=self.run,
            start=self.start,
            end=max(self.start, at),
            status=status,
            events=(*self.events, *events),
            call=self.call,
            attempt=self.attempt,
            item=self.item,
        )


@define
class _Folding:
    """Reads events one by one; ``bars`` are those that have ended."""

    times: Sequence[float]
    bars: list[Bar] = field(factory=list)
    open: dict[tuple[Any, ...], list[_Open]] = field(factory=dict)
    last: dict[str, float] = field(factory=dict)
    runs: set[tuple[str | None, str | None]] = field(factory=set)

    def add(self, index: int, event: Event) -> None:
        agent = event.agent
        if agent is None:
            return
        self.last[agent] = self.times[index]
        if event.run is not None and (agent, event.run) not in self.runs and isinstance(event.data, _IN_A_RUN):
            self._run_began(index, event)
        match event.data:
            case RunEnd(status=status):
                self._run_ended(index, event, status)
            case StageStart() | StageRetry() | StageEnd():
                self._stage(index, event, event.data)
            case WaitStart() | WaitEnd():
                self._wait(index, event, event.data)
            case AgentLoss():
                self._agent_gone(agent, index, "lost")
            case AgentEnd(status=status):
                self._agent_gone(agent, index, status)

    def _begin(self, key: tuple[Any, ...], index: int, event: Event, name: str, **more: Any) -> None:
        opened = _Open(
            what=key[0],
            name=name,
            agent=event.agent or "",
            run=event.run,
            start=self.times[index],
            events=[index],
            **more,
        )
        self.open.setdefault(key, []).append(opened)

    def _end(self, key: tuple[Any, ...], index: int, status: str) -> bool:
        """Close the oldest bar of a key, if there is one."""
        waiting = self.open.get(key)
        if not waiting:
            return False
        self.bars.append(waiting.pop(0).ended(self.times[index], status, index))
        if not waiting:
            del self.open[key]
        return True

    def _lasted(self, key: tuple[Any, ...], index: int, event: Event, name: str, duration: float, **more: Any) -> None:
        """Begin a bar of which only the end is told."""
        self._begin(key, index, event, name, **more)
        opened = self.open[key][-1]
        opened.start = max(0.0, opened.start - duration) if 0 <= duration < float("inf") else opened.start
        opened.events.clear()

    def _run_began(self, index: int, event: Event) -> None:
        """A run is there, whose start may be missing."""
        self.runs.add((event.agent, event.run))
        key = ("run", event.agent, event.run)
        if isinstance(event.data, RunEnd):
            self._lasted(key, index, event, event.workflow or "run", event.data.duration)
            return
        self._begin(key, index, event, event.workflow or "run")
        if not isinstance(event.data, RunStart):
            self.open[key][0].events.clear()

    def _run_ended(self, index: int, event: Event, status: str) -> None:
        key = ("run", event.agent, event.run)
        self._end_inside(event.agent or "", index, status, of_run=event.run)
        self._end(key, index, status)

    def _stage(self, index: int, event: Event, data: StageStart | StageRetry | StageEnd) -> None:
        of_call = (event.agent, event.run, data.call)
        call, attempt = ("stage", *of_call), ("attempt", *of_call)
        name = event.stage or "stage"
        if isinstance(data, StageStart):
            if call not in self.open:
                self._begin(call, index, event, name, call=data.call, item=data.item)
            self._begin(attempt, index, event, f"attempt {data.attempt}", call=data.call, attempt=data.attempt)
        elif isinstance(data, StageRetry):
            self._end(attempt, index, "failed")
        else:
            if call not in self.open:
                self._lasted(call, index, event, name, data.duration, call=data.call, item=data.item)
            self._last_attempt(attempt, index, data.status)
            self._end(call, index, data.status)

    def _last_attempt(self, key: tuple[Any, ...], index: int, status: str) -> None:
        """An only attempt is the call itself, and no bar of its own."""
        if (opened := self.open.get(key)) and opened[0].attempt == 1:
            del self.open[key]
        else:
            self._end(key, index, status)

    def _wait(self, index: int, event: Event, data: WaitStart | WaitEnd) -> None:
        key = ("wait", event.agent, event.run, event.stage, data.what, data.names)
        if isinstance(data, WaitStart):
            self._begin(key, index, event, _wait_name(event, data.what, data.names))
            return
        if key not in self.open:
            self._lasted(key, index, event, _wait_name(event, data.what, data.names), data.waited)
        self._end(key, index, data.outcome)

    def _agent_gone(self, agent: str, index: int, status: str) -> None:
        self._end_inside(agent, index, status)
        for key in [key for key in self.open if key[:2] == ("run", agent)]:
            self._end(key, index, status)

    def _end_inside(self, agent: str, index: int, status: str, of_run: str | None = None) -> None:
        """What goes on in a run, or in an agent, ends with it at the latest."""
        for key in [key for key in self.open if key[1] == agent and key[0] != "run" and of_run in (None, key[2])]:
            if key[0] == "attempt":
                self._last_attempt(key, index, status)
            while self._end(key, index, status):
                pass

    def close(self) -> None:
        """Nothing more is told: what is open goes on until the last that is known of its agent."""
        for key, opened in self.open.items():
            single = key[0] == "attempt" and opened[0].attempt == 1
            for one in [] if single else opened:
                self.bars.append(one.ended(self.last[one.agent], "waiting" if one.what == "wait" else "running"))
        self.open.clear()


def _wait_name(event: Event, what: str, names: tuple[str, ...]) -> str:
    """The stage, for finding what the wait is in, and what the wait is called."""
    waited_for = ", ".join(names) or ("any signal" if what == "signal" else what)
    return f"{event.stage or ''}\0{waited_for}"


def _facts(bar: Bar, events: Sequence[Event], origin: float) -> RunFacts:
    data: list[EventData] = [events[index].data for index in bar.events]
    end = next((one for one in data if isinstance(one, RunEnd)), None)
    first = events[bar.events[0]] if bar.events else None
    ended = bar.status != "running"
    return RunFacts(
        run=bar.run or "",
        agent=bar.agent,
        workflow=first.workflow if first else None,
        status=bar.status,
        started_at=origin + bar.start,
        ended_at=origin + bar.end if ended else None,
        duration=end.duration if end else (bar.end - bar.start if ended else None),
        cost=end.cost if end else 0.0,
        tokens_in=end.tokens_in if end else 0,
        tokens_out=end.tokens_out if end else 0,
        error=end.error if end else None,
    )
