"""Replaying a story: its pace, by a clock that tests move, and what stands around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from moved import MovedClock

from attune_dsl.cli import replay
from attune_dsl.cli.event_lines import packed
from attune_dsl.cli.formats import moment
from attune_dsl.coordination.runs import RunSummary
from attune_dsl.events import Emit, Event
from attune_dsl.model import AgentStatus, StageStatus, StageSummary

AT = 1_763_971_918.0


def story(*moments: float) -> list[Event]:
    data = Emit(kind="note", data="x")
    return [Event(id=f"1-{n}", kind="emit", at=AT + at, namespace="n", data=data) for n, at in enumerate(moments)]


def played(monkeypatch: pytest.MonkeyPatch, told: list[Event], cost: float = 0.0, **how: Any) -> list[float]:
    """When each event was written, in seconds from the beginning; writing one takes ``cost`` seconds."""
    clock = MovedClock(monkeypatch)
    begun, written = clock.now, []

    def write(events: Sequence[Event]) -> None:
        written.extend(clock.now - begun for _ in events)
        clock.move(cost)

    replay.play(told, write, wait=clock.move, **how)
    assert len(written) == len(told)
    return written


def test_events_come_at_the_pace_at_which_they_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    """§3 events replay: pauses are those between the events."""
    assert played(monkeypatch, story(0, 0.5, 0.5, 2)) == [0, 0.5, 0.5, 2]


def test_speed_is_a_factor_and_long_pauses_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """§3 events replay: what is left of a pause at that speed is at most the longest one."""
    assert played(monkeypatch, story(0, 5, 105), speed=10.0) == [0, 0.5, 2.5]
    assert played(monkeypatch, story(0, 5, 105), speed=10.0, max_pause=20.0) == [0, 0.5, 10.5]
    assert played(monkeypatch, story(0, 1), speed=0.5, max_pause=9.0) == [0, 2]


def test_at_once_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """§3 events replay: --speed max."""
    assert played(monkeypatch, story(0, 5, 105), speed=replay.AT_ONCE) == [0, 0, 0]


def test_events_that_are_not_in_the_order_of_their_times_make_no_pause_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """§3 events replay: events are ordered by their ids, their times may be a little behind."""
    assert played(monkeypatch, story(0, 1, 0.5, 1, 1.5)) == [0, 1, 1, 1, 1.5]


def test_writing_takes_no_time_from_the_story(monkeypatch: pytest.MonkeyPatch) -> None:
    """§3 events replay: a slow terminal does not make the story longer."""
    assert played(monkeypatch, story(0, 1, 2), cost=0.25) == [0, 1, 2]


def run(**known: Any) -> RunSummary:
    usual: dict[str, Any] = {
        "run_id": "1a2b3c4d5e6f",
        "agent_id": "release-1a2b3c4d",
        "workflow": "release",
        "status": AgentStatus.COMPLETED,
        "started_at": AT,
        "duration": 3.14,
        "last_at": AT,
    }
    return RunSummary(**(usual | known))


def text(facts: Sequence[Any], width: int | None = None) -> list[str]:
    return [line.plain for line in packed(facts, width)]


def test_the_header_says_which_run_this_is_and_how_it_ended() -> None:
    """§3 events replay: workflow, run, agent where that is another name, when, and the end."""
    assert text(replay.header(run())) == [
        f"release   run 1a2b3c4d   agent release-1a2b3c4d   {moment(AT)}   ✓ completed after 3.1 s"
    ]
    assert text(replay.header(run(agent_id="release", workflow=None))) == [
        f"release   run 1a2b3c4d   agent release   {moment(AT)}   ✓ completed after 3.1 s"
    ]
    assert text(replay.header(run(agent_id="release", status=AgentStatus.FAILED)), 60) == [
        f"release   run 1a2b3c4d   {moment(AT)}",
        "✗ failed after 3.1 s",
    ]


def test_the_footer_has_the_sums() -> None:
    """§3 events replay: duration, status, stages, signals, cost."""
    stage = StageSummary(name="a", status=StageStatus.COMPLETED, calls=1, attempts=1, started_at=AT, duration=1.0)
    whole = run(plan=("a", "b"), stages=(stage,), sent=2, waits=1, waited=1.5, cost=0.0123)
    assert text(replay.footer(whole)) == [
        "✓ completed after 3.1 s   stages 1/2   signals 2 sent, 0 received   waited 1.5 s   cost 0.0123"
    ]
    assert text(replay.footer(run(is_whole=False), unicode=False)) == [
        "+ completed after 3.1 s   some of its events are not in the timeline"
    ]


def test_a_run_under_way_is_told_as_far_as_it_got(monkeypatch: pytest.MonkeyPatch) -> None:
    """§3 events replay: of a run that still runs, for how long it does."""
    monkeypatch.setattr("attune_dsl.clock.wall", lambda: AT + 65)
    assert text(replay.footer(run(status=AgentStatus.RUNNING, duration=None))) == ["● running for 1m 05s"]
