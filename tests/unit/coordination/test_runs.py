"""Events folded into runs, and what a name on the command line can mean."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from attune_dsl.coordination.runs import RunSummary, matching, summaries
from attune_dsl.events import (
    DATA,
    AgentAbort,
    AgentEnd,
    AgentJoin,
    AgentLoss,
    AgentNews,
    Emit,
    Event,
    EventData,
    Gap,
    RunEnd,
    RunStart,
    SignalExpired,
    SignalReceived,
    SignalSent,
    StageEnd,
    StageProgress,
    StageRetry,
    StageStart,
    Unknown,
    WaitEnd,
    WaitStart,
)
from attune_dsl.model import AgentStatus, StageStatus, StageSummary

_numbers = count(1)


def told(data: EventData, at: float = 100.0, kind: str | None = None, **of_whom: Any) -> Event:
    """An event of the run ``r1`` of the agent ``release``, unless it says otherwise."""
    usual = {"agent": "release", "run": "r1", "workflow": "release"}
    known = kind or next(name for name, one in DATA.items() if one is type(data))
    return Event(id=f"1-{next(_numbers)}", kind=known, at=at, namespace="n", data=data, **(usual | of_whom))


def one(*events: Event) -> RunSummary:
    [run] = summaries(events)
    return run


JOINED = told(AgentJoin(epoch=7))
STARTED = told(RunStart(plan=("build", "announce")), 101.0)


def test_a_whole_run() -> None:
    """§3 runs: what events tell of a run is added up into one record."""
    assert one(
        JOINED,
        STARTED,
        told(StageStart(call=1, tier="cheap"), 101.5, stage="build"),
        told(StageRetry(call=1, attempt=1, error="OSError: away", pause=0.5), 102.0, stage="build"),
        told(StageStart(call=1, attempt=2, tier="cheap"), 102.5, stage="build"),
        told(StageEnd(call=1, status="completed", duration=1.25, attempts=2, run_progress=0.5), 102.75, stage="build"),
        told(StageStart(call=2), 102.75, stage="announce"),
        told(SignalSent(id="s1", type="go"), 102.8, stage="announce"),
        told(WaitStart(what="signal"), 102.8, stage="announce"),
        told(WaitEnd(what="signal", outcome="received", waited=0.25), 103.0, stage="announce"),
        told(SignalReceived(id="s2", type="ok", source="ops"), 103.0, stage="announce"),
        told(Emit(kind="note", data="hello"), 103.0, stage="announce"),
        told(StageEnd(call=2, status="completed", duration=0.5), 103.25, stage="announce"),
        told(RunEnd(status="completed", duration=2.5, cost=0.25, tokens_in=10, tokens_out=5), 103.5),
        told(AgentEnd(epoch=7, status="completed"), 103.75),
    ) == RunSummary(
        run_id="r1",
        agent_id="release",
        workflow="release",
        status=AgentStatus.COMPLETED,
        started_at=101.0,
        ended_at=103.5,
        duration=2.5,
        progress=1.0,
        plan=("build", "announce"),
        stages=(
            StageSummary(
                name="build",
                status=StageStatus.COMPLETED,
                calls=1,
                attempts=2,
                tier="cheap",
                started_at=101.5,
                duration=1.25,
                error="OSError: away",
            ),
            StageSummary(
                name="announce",
                status=StageStatus.COMPLETED,
                calls=1,
                attempts=1,
                started_at=102.75,
                duration=0.5,
            ),
        ),
        sent=1,
        received=1,
        waits=1,
        waited=0.25,
        emits=1,
        cost=0.25,
        tokens_in=10,
        tokens_out=5,
        last_at=103.75,
    )


def test_a_run_under_way() -> None:
    """§3 runs: what is not known yet is not made up."""
    run = one(
        JOINED,
        STARTED,
        told(StageStart(call=1), 102.0, stage="build"),
        told(StageProgress(fraction=0.5, run_progress=0.25), 103.0, stage="build"),
        told(WaitStart(what="signal"), 104.0, stage="build"),
    )
    assert (run.status, run.ended_at, run.duration, run.cost) == (AgentStatus.RUNNING, None, None, None)
    assert (run.progress, run.waits, run.waited, run.last_at) == (0.25, 1, 0.0, 104.0)
    assert [(stage.status, stage.calls, stage.attempts) for stage in run.stages] == [(StageStatus.RUNNING, 1, 1)]
    assert (run.done, run.total) == (0, 2)


@pytest.mark.parametrize(
    ("events", "status", "ended_at"),
    [
        ([told(AgentLoss(epoch=7), 120.0)], AgentStatus.LOST, 120.0),
        ([told(AgentNews(epoch=7), 120.0, "agent.fenced")], AgentStatus.ABORTED, 120.0),
        ([told(AgentEnd(epoch=7, status="cancelled"), 120.0)], AgentStatus.CANCELLED, 120.0),
        ([told(AgentLoss(epoch=7), 120.0), told(AgentJoin(epoch=8), 130.0)], AgentStatus.RUNNING, None),
        ([told(AgentNews(epoch=7), 120.0, "agent.stalled")], AgentStatus.RUNNING, None),
        ([told(AgentAbort(epoch=7, by="ops", reason="enough"), 120.0)], AgentStatus.RUNNING, None),
        (
            [told(RunEnd(status="failed", duration=1.0), 120.0), told(AgentLoss(epoch=7), 130.0)],
            AgentStatus.FAILED,
            120.0,
        ),
        (
            [told(AgentLoss(epoch=7), 120.0), told(RunEnd(status="completed", duration=1.0), 130.0)],
            AgentStatus.COMPLETED,
            130.0,
        ),
        ([told(RunEnd(status="gone to lunch", duration=1.0), 120.0)], AgentStatus.RUNNING, None),
        ([told(AgentEnd(epoch=7, status="waiting"), 120.0)], AgentStatus.RUNNING, None),
    ],
)
def test_how_a_run_ended(events: list[Event], status: AgentStatus, ended_at: float | None) -> None:
    """§5.10: the run's own word counts, else what happened to its agent; malformed words do not (§5.12)."""
    run = one(JOINED, STARTED, *events)
    assert (run.status, run.ended_at) == (status, ended_at)


def test_a_loss_has_a_duration_and_a_takeover_a_reason() -> None:
    """§5.10: runs that could not say how they ended still last from their beginning to that moment."""
    assert one(JOINED, STARTED, told(AgentLoss(epoch=7), 120.0)).duration == 19.0
    fenced = one(JOINED, STARTED, told(AgentNews(epoch=7), 120.0, "agent.fenced"))
    assert fenced.error == "its agent id was taken over"


def test_an_abort_is_kept_with_who_asked_first() -> None:
    """§5.9: the first reason of an abort counts."""
    run = one(
        JOINED,
        told(AgentAbort(epoch=7, by="ops", reason="enough")),
        told(AgentAbort(epoch=7, by="", reason="again")),
    )
    assert run.abort == "enough (asked by ops)"


def test_a_takeover_does_not_touch_the_run_that_follows() -> None:
    """§5.10: an agent id may have had several runs; each has its own end."""
    old, new = summaries(
        [
            JOINED,
            told(AgentNews(epoch=7), kind="agent.fenced"),
            told(AgentJoin(epoch=8), run="r2"),
            told(AgentLoss(epoch=8), run=None),
        ]
    )
    assert (old.run_id, old.status) == ("r1", AgentStatus.ABORTED)
    assert (new.run_id, new.status) == ("r2", AgentStatus.LOST)


def test_what_belongs_to_no_run_is_left_out() -> None:
    """§3 runs: scripts that joined, and news of a later kind, make no run."""
    assert (
        summaries([told(AgentJoin(epoch=1), agent="ops", run=None), told(Gap(why="old"), agent=None, run=None)]) == []
    )
    run = one(
        JOINED, told(Unknown(fields={"x": 1}), kind="approval.asked"), told(SignalExpired(id="1", type="a", source="b"))
    )
    assert run.status is AgentStatus.RUNNING


@pytest.mark.parametrize(
    ("events", "is_whole"),
    [
        ([JOINED], True),
        ([STARTED], True),
        ([told(StageStart(call=1), stage="build")], False),
        ([JOINED, told(Gap(why="too many", dropped=3))], False),
    ],
)
def test_a_run_that_is_told_in_part_says_so(events: list[Event], is_whole: bool) -> None:
    """§5.12: what was dropped is never silently missing."""
    assert one(*events).is_whole is is_whole


def test_a_stage_whose_beginning_was_dropped_began_when_its_duration_says() -> None:
    """§5.12: events that are there count, whatever is missing before them."""
    run = one(told(StageEnd(call=1, status="failed", duration=2.0, error="E: no"), 110.0, stage="build"))
    assert [(stage.started_at, stage.failures, stage.calls) for stage in run.stages] == [(108.0, 1, 1)]


def test_calls_side_by_side_are_running_until_the_last_has_ended() -> None:
    """§3 map: the calls of one stage make one row."""
    items = [told(StageStart(call=n, item=n), stage="fetch") for n in range(3)]
    ended = [told(StageEnd(call=n, status="completed", duration=1.0, item=n), stage="fetch") for n in range(3)]
    running = one(JOINED, *items, *ended[:2])
    assert [(stage.status, stage.calls) for stage in running.stages] == [(StageStatus.RUNNING, 3)]
    assert running.done == 0
    done = one(JOINED, *items, *ended)
    assert [(stage.status, stage.calls, stage.duration) for stage in done.stages] == [(StageStatus.COMPLETED, 3, 3.0)]
    assert (done.done, done.total) == (1, 1)


def test_a_malformed_stage_status_is_left_out_alone() -> None:
    """§5.12: what somebody else wrote does not count as a call."""
    run = one(JOINED, told(StageEnd(call=1, status="?", duration=1.0), stage="build"))
    assert [(stage.status, stage.calls) for stage in run.stages] == [(StageStatus.RUNNING, 0)]


def runs(*ids_and_agents: tuple[str, str]) -> list[RunSummary]:
    return summaries(told(AgentJoin(epoch=1), run=run_id, agent=agent) for run_id, agent in ids_and_agents)


KNOWN = runs(("abcd1111", "a"), ("abcd2222", "b"), ("ef012345", "a"), ("cafe0000", "abcd"))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("abcd1111", ["abcd1111"]),
        ("abcd1", ["abcd1111"]),
        ("abcd", ["cafe0000"]),
        ("a", ["ef012345"]),
        ("b", ["abcd2222"]),
        ("ef0", []),
        ("ef01", ["ef012345"]),
        ("release", []),
        ("", []),
    ],
)
def test_what_a_name_means(name: str, meant: list[str]) -> None:
    """§3 runs: a run's id, else an agent's latest run, else at least four characters of an id."""
    assert [run.run_id for run in matching(name, KNOWN)] == meant


def test_a_beginning_of_several_means_all_of_them() -> None:
    """§3 runs: what is ambiguous is not guessed."""
    assert [run.run_id for run in matching("abcd", KNOWN[:3])] == ["abcd1111", "abcd2222"]
