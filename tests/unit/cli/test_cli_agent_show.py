"""Everything about one agent: the facts, and the history of its stages."""

from __future__ import annotations

from io import StringIO

import pytest
from attrs import evolve
from rich.console import Console

from attune_dsl import clock
from attune_dsl.cli import agent_show
from attune_dsl.cli.formats import moment
from attune_dsl.model import AgentRecord, AgentStatus, StageStatus, StageSummary

NOW = 1_700_000_000.0
INDEXER = AgentRecord(
    agent_id="indexer",
    epoch=7,
    status=AgentStatus.RUNNING,
    display_name="Search index",
    workflow="index",
    run_id="0123456789abcdef",
    stage="crawl",
    attempt=2,
    tier="capable",
    progress=0.25,
    note="page 12",
    activity="said: page 12",
    cost=0.4213,
    stage_started_at=NOW - 70,
    stalled_at=NOW - 65,
    stall_after=60.0,
    beat_age=1.2,
    progress_age=65.0,
    started_at=NOW - 100,
    host="build-7",
    pid=99,
    stages=("plan", "crawl", "publish"),
    metadata={"team": "search", "labels": ["a", "[red]b[/red]"]},
)
PLAN = StageSummary(
    name="plan", status=StageStatus.COMPLETED, calls=1, attempts=1, started_at=NOW - 90, duration=12.5, tier="cheap"
)
ROBOTS = StageSummary(
    name="robots",
    status=StageStatus.FAILED,
    calls=12,
    failures=2,
    attempts=15,
    started_at=NOW - 80,
    duration=1.5,
    error="HTTPError: 404",
)


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "wall", lambda: NOW)


def lines(agent: AgentRecord, *ran: StageSummary, width: int = 150) -> list[str]:
    console = Console(width=width, file=StringIO(), color_system=None)
    with console.capture() as captured:
        console.print(agent_show.page(agent, ran, width))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_everything_that_is_known_is_shown() -> None:
    assert lines(INDEXER, PLAN, ROBOTS) == [
        "agent     indexer",
        "name      Search index",
        f"status    ! stalled since {moment(NOW - 65)}",
        "stage     crawl (try 2)",
        "progress  25%",
        "last did  said: page 12",
        "beat      1s ago",
        "moved     1m 05s ago (stalls after 1m 00s)",
        f"started   {moment(NOW - 100)}",
        "workflow  index",
        "planned   plan, crawl, publish",
        "run id    0123456789abcdef",
        "epoch     7",
        "tier      capable",
        "cost      0.4213",
        "host      build-7, pid 99",
        'metadata  team: "search"',
        '          labels: ["a","[red]b[/red]"]',
        "",
        "   stage    status     calls  failed  tries  tier     started                took  error",
        f"✓  plan     completed      1              1  cheap    {moment(NOW - 90)}  12.5 s",
        f"✗  robots   failed        12       2     15           {moment(NOW - 80)}   1.5 s  HTTPError: 404",
        f"!  crawl    stalled                       2  capable  {moment(NOW - 70)}  1m 10s",
        "○  publish  pending",
    ]


def test_what_is_not_known_has_no_line() -> None:
    bare = AgentRecord(agent_id="ops", epoch=3, status=AgentStatus.RUNNING)
    assert lines(bare) == ["agent   ops", "status  ● running", "epoch   3"]


def test_an_abort_that_was_asked_for_is_shown() -> None:
    """§5.9: why and by whom, on lines of its own, whatever the text contains."""
    asked = AgentRecord(
        agent_id="ops", epoch=3, status=AgentStatus.RUNNING, abort="no\nroom\x1b[2J (asked by [red]ann)"
    )
    assert lines(asked) == [
        "agent        ops",
        "status       ● running",
        "abort asked  no",
        "             room�[2J (asked by [red]ann)",
        "epoch        3",
    ]


def test_a_command_that_ended_shows_its_exit_code_and_error() -> None:
    ended = AgentRecord(
        agent_id="job", epoch=1, status=AgentStatus.FAILED, exit_code=0, error="exit code 3", ended_at=NOW
    )
    assert "exit code  0" in lines(ended)
    assert "error      exit code 3" in lines(ended)
    assert f"ended      {moment(NOW)}" in lines(ended)


def test_a_note_that_is_not_what_it_last_did_is_shown_too() -> None:
    shown = lines(evolve(INDEXER, activity="sent done deploy"))
    assert "last did  sent done deploy" in shown
    assert "note      page 12" in shown


def test_a_lost_one_shows_since_when_by_its_last_beat() -> None:
    lost = evolve(INDEXER, status=AgentStatus.LOST, stalled_at=None, beat_age=20.0)
    assert f"status    ⊗ lost since {moment(NOW - 20)}" in lines(lost)
    assert "moved     1m 05s ago" in lines(lost)


@pytest.mark.parametrize("width", [40, 60])
def test_narrow_terminals_get_all_facts_and_the_heart_of_the_history(width: int) -> None:
    shown = lines(INDEXER, PLAN, ROBOTS, width=width)
    assert max(map(len, shown)) <= width
    assert "!  crawl    stalled" in "\n".join(shown)
    assert "0123456789abcdef" in "\n".join(shown)


def states(agent: AgentRecord, *ran: StageSummary) -> dict[str, str]:
    return {row.name: row.state for row in agent_show.history(agent, ran)}


def test_the_current_stage_runs_and_planned_ones_are_pending() -> None:
    running = evolve(INDEXER, stalled_at=None)
    assert states(running, PLAN) == {"plan": "completed", "crawl": "running", "publish": "pending"}


def test_after_the_end_nothing_is_pending_and_the_last_stage_shows_how_it_ended() -> None:
    lost = evolve(INDEXER, status=AgentStatus.LOST)
    assert states(lost, PLAN) == {"plan": "completed", "crawl": "lost", "publish": "not run"}


def test_a_stage_that_has_a_row_shows_what_the_row_says() -> None:
    done = evolve(PLAN, name="crawl")
    assert states(INDEXER, done)["crawl"] == "completed"
    assert states(evolve(INDEXER, stalled_at=None), evolve(done, status=StageStatus.RUNNING))["crawl"] == "running"
    assert states(INDEXER, evolve(done, status=StageStatus.RUNNING))["crawl"] == "stalled"


def test_an_agent_without_stages_has_no_history() -> None:
    assert agent_show.history(AgentRecord(agent_id="ops", epoch=1, status=AgentStatus.RUNNING), []) == []
