"""The table of agents at several widths, and the lines that say what changed."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from attrs import evolve
from rich.console import Console, RenderableType
from rich.text import Text

from attune_dsl.cli import agent_table, formats
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
    progress_age=61.0,
    ended_at=100.0,
    host="build-7.example.org",
    pid=4243,
    error="ConnectionError: the index refused the upload of the wheel",
)
OPS = agent("ops", AgentStatus.RUNNING, beat_age=0.2, host="desk", pid=7)
INDEXER = agent(
    "indexer",
    AgentStatus.RUNNING,
    display_name="Search index",
    workflow="index",
    stage="crawl",
    attempt=2,
    progress=0.03,
    note="page 12",
    activity="said: page 12",
    cost=12.5,
    beat_age=2.0,
    progress_age=725.0,
    stalled_at=1_000.0,
)
TRAINER = agent(
    "trainer",
    AgentStatus.LOST,
    stage="epoch",
    progress=0.7,
    activity="began stage epoch",
    beat_age=4000.0,
    progress_age=4100.0,
    ended_at=500.0,
)


def text(renderable: RenderableType, width: int) -> list[str]:
    console = Console(width=width, file=StringIO(), color_system=None)
    with console.capture() as captured:
        console.print(renderable)
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= width
    return [line.rstrip() for line in lines]


def colours(renderable: RenderableType, word: str) -> str:
    """The colour in which ``word`` is drawn."""
    console = Console(width=200, file=StringIO(), force_terminal=True, color_system="standard")
    segments = [segment for segment in console.render(renderable) if segment.text.strip() == word]
    return str(segments[0].style)


def test_a_wide_terminal_shows_everything() -> None:
    assert text(agent_table.agent_table([INDEXER, RELEASE, DEPLOY], 240), 240) == [
        "   agent             name          workflow  status       stage           progress  beat    moved   cost"
        "  host                  pid  remark",
        "!  indexer           Search index  index     stalled 12m  crawl                 3%    2s  12m 05s  12.50"
        "                             said: page 12",
        "✗  release-0123abcd                release   failed       announce             25%         1m 01s"
        "         build-7.example.org  4243  ConnectionError: the index refused the upload of the wheel",
        "◌  deploy                          deploy    waiting      artifact_ready       50%    1s   4m 10s"
        "         build-7.example.org  4242",
    ]


def test_eighty_columns_leave_out_the_host_first() -> None:
    assert text(agent_table.agent_table([DEPLOY, RELEASE], 80), 80) == [
        "   agent             workflow  status   stage           progress  beat   moved",
        "◌  deploy            deploy    waiting  artifact_ready       50%    1s  4m 10s",
        "✗  release-0123abcd  release   failed   announce             25%        1m 01s",
    ]


def test_sixty_columns_keep_stage_and_progress() -> None:
    assert text(agent_table.agent_table([TRAINER, INDEXER, RELEASE], 60), 60) == [
        "   agent             status       stage     progress    beat",
        "⊗  trainer           lost 1h      epoch          70%  1h 06m",
        "!  indexer           stalled 12m  crawl           3%      2s",
        "✗  release-0123abcd  failed       announce       25%",
    ]


def test_forty_columns_keep_who_and_how() -> None:
    assert text(agent_table.agent_table([DEPLOY, RELEASE], 40), 40) == [
        "   agent             status   progress",
        "◌  deploy            waiting       50%",
        "✗  release-0123abcd  failed        25%",
    ]


STOPPING = evolve(DEPLOY, agent_id="stop", abort="the disk is full (asked by ops)", note="page 12")


def test_a_wide_window_shows_who_should_have_stopped_and_why() -> None:
    """§5.9: one that was asked to stop and lives still says so in words; of one that has ended its error is shown."""
    gone = evolve(RELEASE, abort="the disk is full (asked by ops)")
    assert text(agent_table.agent_table([STOPPING, gone], 200), 200) == [
        "   agent             workflow  status                stage           progress  beat   moved"
        "  host                  pid  remark",
        "◌  stop              deploy    waiting, abort asked  artifact_ready       50%    1s  4m 10s"
        "  build-7.example.org  4242  abort: the disk is full (asked by ops)",
        "✗  release-0123abcd  release   failed                announce             25%        1m 01s"
        "  build-7.example.org  4243  ConnectionError: the index refused the upload of the wheel",
    ]


@pytest.mark.parametrize(
    ("width", "row"),
    [
        (100, "◌  stop   waiting, abort asked  artifact_ready       50%    1s  4m 10s  abort: the disk is full (as…"),
        (99, "◌  stop   waiting, abort  artifact_ready       50%    1s  4m 10s  abort: the disk is full (asked b…"),
        (60, "◌  stop   waiting, abort  artifact_ready       50%  4m 10s"),
        (40, "◌  stop   waiting, abort       50%    1s"),
    ],
)
def test_a_narrow_window_says_it_in_short(width: int, row: str) -> None:
    """§5.9: on a narrow terminal one word is left of an abort, and the table still fits."""
    assert text(agent_table.agent_table([STOPPING], width), width)[1] == row


def test_even_twenty_columns_say_who_is_in_trouble() -> None:
    long = agent("a-worker-with-a-name-of-some-length", AgentStatus.LOST, beat_age=90.0)
    assert text(agent_table.agent_table([long], 20), 20)[1].endswith("  lost 1m")


def test_columns_without_any_value_are_left_out() -> None:
    assert text(agent_table.agent_table([OPS], 80), 80) == [
        "   agent  status   beat  host  pid",
        "●  ops    running    0s  desk    7",
    ]


@pytest.mark.parametrize(
    ("record", "word", "colour"),
    [(INDEXER, "stalled 12m", "yellow"), (TRAINER, "lost 1h", "red"), (DEPLOY, "waiting", "blue")],
)
def test_states_have_their_colours(record: AgentRecord, word: str, colour: str) -> None:
    assert colour in colours(agent_table.agent_table([record], 200), word)


def test_trouble_comes_first_then_the_living_by_name_then_the_rest_the_latest_first() -> None:
    ended = [
        agent("completed-early", AgentStatus.COMPLETED, ended_at=50.0),
        agent("completed-late", AgentStatus.COMPLETED, ended_at=60.0),
        agent("cancelled", AgentStatus.CANCELLED, ended_at=10.0),
        agent("aborted", AgentStatus.ABORTED, ended_at=5.0),
        agent("failed-early", AgentStatus.FAILED, ended_at=1.0),
    ]
    longer = agent("longer", AgentStatus.WAITING, stalled_at=900.0)
    ordered = agent_table.in_order([*ended, RELEASE, OPS, INDEXER, longer, DEPLOY, TRAINER])
    assert [a.agent_id for a in ordered] == [
        "trainer",
        "longer",
        "indexer",
        "release-0123abcd",
        "failed-early",
        "deploy",
        "ops",
        "aborted",
        "cancelled",
        "completed-late",
        "completed-early",
    ]


@pytest.mark.parametrize(
    ("record", "remark"),
    [
        (RELEASE, "ConnectionError: the index refused the upload of the wheel"),
        (agent("a", AgentStatus.RUNNING, note="page 1", activity="sent done b"), "page 1"),
        (INDEXER, "said: page 12"),
        (TRAINER, "began stage epoch"),
        (agent("a", AgentStatus.WAITING, note="page 1", activity="sent done b"), "sent done b"),
        (agent("a", AgentStatus.COMPLETED, note="page 9", activity="sent done b"), "page 9"),
    ],
)
def test_the_remark_is_what_helps_in_that_state(record: AgentRecord, remark: str) -> None:
    """An error; what it last did where it stands still or is gone; the note of one that works."""
    assert agent_table.remark(record) == remark


def test_the_summary_names_trouble_only_where_there_is_some() -> None:
    assert agent_table.summary([OPS, DEPLOY]) == "2 live, 0 ended"
    assert agent_table.summary([OPS, TRAINER, INDEXER, RELEASE, agent("a", AgentStatus.ABORTED)]) == (
        "1 lost, 1 stalled, 1 failed, 1 live, 1 ended"
    )


def test_the_screen_says_what_it_has_no_room_for() -> None:
    many = [agent(f"worker-{n:02d}", AgentStatus.RUNNING) for n in range(30)]
    lines = text(agent_table.screen(many, Text("title"), 60, 10, unicode=True), 60)
    assert len(lines) == 10
    assert lines[0] == "title"
    assert lines[-1] == "23 more"


def test_the_screen_without_agents_says_so() -> None:
    assert text(agent_table.screen([], Text("title"), 60, 10, unicode=True), 60) == ["title", "no agents"]


def test_a_change_is_one_line() -> None:
    at = formats.moment(1_700_000_000.0)
    assert agent_table.change_line(1_700_000_000.0, "updated", DEPLOY) == (
        f"{at}  updated  deploy  waiting  artifact_ready  50%"
    )
    assert agent_table.change_line(1_700_000_000.0, "stalled", INDEXER) == (
        f"{at}  stalled  indexer  stalled  crawl  try 2  3%  said: page 12"
    )
    assert agent_table.change_line(1_700_000_000.0, "lost", TRAINER) == (
        f"{at}  lost     trainer  lost  epoch  70%  began stage epoch"
    )


def test_what_others_wrote_cannot_move_the_cursor_or_style_anything() -> None:
    evil = agent("a", AgentStatus.RUNNING, note="\x1b[2J[red]gone[/red]\nnext", stage="\x1b]0;title\x07")
    (row,) = text(agent_table.agent_table([evil], 120), 120)[1:]
    assert row.endswith("�[2J[red]gone[/red] next")
    assert "\x1b" not in row + agent_table.change_line(0.0, "updated", evil)
