"""The line of ``agents --check`` for each agent in trouble."""

from __future__ import annotations

from typing import Any

import pytest

from attune_dsl import clock
from attune_dsl.cli.agent_check import trouble_line
from attune_dsl.cli.formats import moment
from attune_dsl.model import AgentRecord, AgentStatus

NOW = 1_700_000_000.0


def line(status: AgentStatus, **fields: Any) -> str:
    return trouble_line(AgentRecord(agent_id="indexer", epoch=1, status=status, **fields))


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "wall", lambda: NOW)


def test_a_stalled_one_since_its_last_progress_by_the_servers_clock() -> None:
    told = line(
        AgentStatus.RUNNING,
        display_name="Search index",
        stage="crawl",
        activity="said: page 12",
        beat_age=1.0,
        progress_age=65.0,
        stalled_at=NOW - 4000,
    )
    assert told == (
        f"indexer (Search index): stalled since {moment(NOW - 4000)} (1m 05s ago), on stage crawl; last said: page 12"
    )


def test_a_lost_one_since_its_last_beat() -> None:
    told = line(AgentStatus.LOST, stage="crawl", note="page 12", beat_age=20.0, progress_age=65.0)
    assert told == f"indexer: lost since {moment(NOW - 20)} (20s ago), on stage crawl; last said: page 12"


def test_one_that_only_moved_too_long_ago_says_so() -> None:
    assert line(AgentStatus.WAITING, beat_age=1.0, progress_age=65.0) == (
        f"indexer: waiting without progress since {moment(NOW - 65)} (1m 05s ago)"
    )


def test_what_is_not_known_is_left_out() -> None:
    assert line(AgentStatus.LOST) == "indexer: lost"


def test_it_stays_one_line() -> None:
    assert line(AgentStatus.LOST, activity="said: a\nb\x1b[2J") == "indexer: lost; last said: a b�[2J"
