"""Which agents are meant by the filters of the ``agents`` command."""

from __future__ import annotations

from typing import Any

import pytest

from attune_dsl.cli.agent_select import STATES, Selection, is_trouble
from attune_dsl.model import AgentRecord, AgentStatus


def agent(status: AgentStatus, **fields: Any) -> AgentRecord:
    return AgentRecord(agent_id="a", epoch=1, status=status, **fields)


RUNNING = agent(AgentStatus.RUNNING, workflow="release", progress_age=30.0)
STALLED = agent(AgentStatus.RUNNING, workflow="release", progress_age=90.0, stalled_at=1.0)
LOST = agent(AgentStatus.LOST, progress_age=90.0)


def test_the_states_are_the_statuses_and_stalled() -> None:
    """They are written out where they are used, because importing the model would slow ``--help`` down."""
    assert set(STATES) == {status.value for status in AgentStatus} | {"stalled"}
    assert len(STATES) == len(set(STATES))


@pytest.mark.parametrize(
    ("selection", "fitting"),
    [
        (Selection(), [RUNNING, STALLED, LOST]),
        (Selection(("running",)), [RUNNING]),
        (Selection(("stalled", "lost")), [STALLED, LOST]),
        (Selection(workflow="release"), [RUNNING, STALLED]),
        (Selection(workflow="rel"), []),
        (Selection(stale=60), [STALLED]),
        (Selection(stale=30), [RUNNING, STALLED]),
        (Selection(("running",), "release", 60), []),
    ],
)
def test_all_filters_have_to_fit(selection: Selection, fitting: list[AgentRecord]) -> None:
    assert [a for a in (RUNNING, STALLED, LOST) if selection.matches(a)] == fitting


def test_time_that_passed_since_the_reading_counts() -> None:
    assert not Selection(stale=60).matches(RUNNING, elapsed=29)
    assert Selection(stale=60).matches(RUNNING, elapsed=30)


def test_filters_are_shown_as_they_were_written() -> None:
    assert Selection(("lost", "stalled"), "release", 60).as_options() == (
        "--status lost --status stalled --workflow release --stale 60"
    )
    assert Selection(workflow="two words").as_options() == "--workflow 'two words'"
    assert Selection(workflow="").as_options() == "--workflow ''"
    assert Selection().as_options() == ""


def test_trouble_is_what_is_lost_or_stalled_and_what_is_stale_where_asked() -> None:
    assert [a for a in (RUNNING, STALLED, LOST) if is_trouble(a)] == [STALLED, LOST]
    assert is_trouble(RUNNING, stale=30)
    assert not is_trouble(RUNNING, stale=31)
    assert not is_trouble(agent(AgentStatus.FAILED, progress_age=90.0), stale=30)
