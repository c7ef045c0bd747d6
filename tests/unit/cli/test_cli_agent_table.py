"""The table of agents at several widths."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console, RenderableType

from attune_dsl.cli import agent_table
from attune_dsl.model import AgentRecord, AgentStatus


def agent(agent_id: str, status: AgentStatus, **fields: Any) -> AgentRecord:
    return AgentRecord(agent_id=agent_id, epoch=1, status=status, **fields)


DEPLOY = agent(
    "deploy",
    AgentStatus.WAITING,
    workflow="deploy",
    stage="artifact_ready",
    progress=0.5,
    beat_age=1.2,
    progress_age=250.0,
    host="build-7.example.org",
    pid=4242,
)
RELEASE = agent(
    "release-0123abcd",
    AgentStatus.FAILED,
    workflow="release",
    stage="announce",
    progress=0.25,
    beat_age=61.0,
    progress_age=61.0,
    ended_at=100.0,
    host="build-7.example.org",
    pid=4243,
    error="ConnectionError: the index refused the upload of the wheel",
)
OPS = agent("ops", AgentStatus.RUNNING, beat_age=0.2, host="desk", pid=7)


def text(renderable: RenderableType, width: int) -> list[str]:
    console = Console(width=width, file=StringIO(), color_system=None)
    with console.capture() as captured:
        console.print(renderable)
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= width
    return [line.rstrip() for line in lines]


def test_a_wide_terminal_shows_everything() -> None:
    assert text(agent_table.agent_table([DEPLOY, RELEASE], 200), 200) == [
        "   agent             workflow  status   stage           progress    beat   moved  host                  pid"
        "  remark",
        "◌  deploy            deploy    waiting  artifact_ready       50%      1s  4m 10s  build-7.example.org  4242",
        "✗  release-0123abcd  release   failed   announce             25%  1m 01s  1m 01s  build-7.example.org  4243"
        "  ConnectionError: the index refused the upload of the wheel",
    ]


def test_eighty_columns_leave_out_the_host_first() -> None:
    assert text(agent_table.agent_table([DEPLOY, RELEASE], 80), 80) == [
        "   agent             workflow  status   stage           progress    beat   moved",
        "◌  deploy            deploy    waiting  artifact_ready       50%      1s  4m 10s",
        "✗  release-0123abcd  release   failed   announce             25%  1m 01s  1m 01s",
    ]


def test_forty_columns_keep_who_and_how() -> None:
    assert text(agent_table.agent_table([DEPLOY, RELEASE], 40), 40) == [
        "   agent             status   progress",
        "◌  deploy            waiting       50%",
        "✗  release-0123abcd  failed        25%",
    ]


def test_columns_without_any_value_are_left_out() -> None:
    assert text(agent_table.agent_table([OPS], 80), 80) == [
        "   agent  status   beat  host  pid",
        "●  ops    running    0s  desk    7",
    ]


def test_the_living_come_first_and_the_latest_end_next() -> None:
    earlier = agent("earlier", AgentStatus.COMPLETED, ended_at=50.0)
    ordered = agent_table.in_order([earlier, RELEASE, OPS, DEPLOY])
    assert [a.agent_id for a in ordered] == ["deploy", "ops", "release-0123abcd", "earlier"]


def test_the_lost_are_not_hidden_below_all_that_ended() -> None:
    lost = agent("lost", AgentStatus.LOST)
    ended = agent("ended", AgentStatus.COMPLETED, ended_at=50.0)
    assert [a.agent_id for a in agent_table.in_order([ended, lost, OPS])] == ["ops", "lost", "ended"]


def test_the_screen_says_what_it_has_no_room_for() -> None:
    many = [agent(f"worker-{n:02d}", AgentStatus.RUNNING) for n in range(30)]
    lines = text(agent_table.screen(many, agent_table.summary(many), 60, 10, unicode=True), 60)
    assert len(lines) == 10
    assert lines[0] == "30 live, 0 ended"
    assert lines[-1] == "23 more"


def test_the_screen_without_agents_says_so() -> None:
    assert text(agent_table.screen([], "0 live, 0 ended", 60, 10, unicode=True), 60) == [
        "0 live, 0 ended",
        "no agents",
    ]


def test_a_change_is_one_line() -> None:
    assert agent_table.change_line(DEPLOY) == "deploy  waiting  artifact_ready  50%"
    assert agent_table.change_line(RELEASE) == (
        "release-0123abcd  failed  announce  25%  ConnectionError: the index refused the upload of the wheel"
    )


def test_a_beat_alone_is_no_change() -> None:
    later = agent(
        "deploy",
        AgentStatus.WAITING,
        workflow="deploy",
        stage="artifact_ready",
        progress=0.5,
        beat_age=0.1,
        progress_age=251.0,
    )
    assert agent_table.state(later) == agent_table.state(DEPLOY)
