"""The live view at several widths, as the text that stands on the terminal."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console

from attune_dsl import clock
from attune_dsl.cli.board import Board
from attune_dsl.cli.live import LiveView, draw
from attune_dsl.model import AgentStatus, StageRecord, StageStatus
from attune_dsl.runner import events

RUN = "0123456789abcdef"


class Story:
    """Feeds a board with events; ``now`` is the clock."""

    def __init__(self, tell: Callable[[events.RunEvent], object]) -> None:
        self.tell = tell
        self.now = 0.0

    def started(self, *plan: str, store: str | None = "embedded") -> None:
        self.tell(
            events.RunStarted(
                run_id=RUN,
                agent_id="release",
                workflow="release",
                plan=plan,
                store_label=store,
                namespace=store and "default",
                at=0,
            )
        )

    def start(
        self, stage: str, attempt: int = 1, tier: str | None = None, item: int | None = None, of: int = 0
    ) -> None:
        self.tell(
            events.StageStarted(run_id=RUN, stage=stage, item=item, attempt=attempt, tier=tier, at=0, total=of or None)
        )

    def retry(self, stage: str, attempt: int, error: str) -> None:
        self.tell(
            events.StageRetried(run_id=RUN, stage=stage, item=None, attempt=attempt, error=error, pause=0.1, at=0)
        )

    def progress(self, stage: str | None, fraction: float | None, note: str | None = None) -> None:
        self.tell(events.StageProgressed(run_id=RUN, stage=stage, fraction=fraction, note=note, at=0))

    def end(
        self,
        stage: str,
        progress: float,
        status: StageStatus = StageStatus.COMPLETED,
        *,
        attempts: int = 1,
        item: int | None = None,
        error: str | None = None,
    ) -> None:
        record = StageRecord(name=stage, status=status, attempts=attempts, item=item, error=error)
        self.tell(events.StageEnded(run_id=RUN, record=record, progress=progress, at=0))

    def ended(self, status: AgentStatus, error: str | None = None) -> None:
        progress = 1.0 if status is AgentStatus.COMPLETED else 0.5
        self.tell(events.RunEnded(run_id=RUN, status=status, error=error, progress=progress, at=0))


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    return Board()


@pytest.fixture
def story(board: Board, monkeypatch: pytest.MonkeyPatch) -> Story:
    story = Story(board.apply)
    monkeypatch.setattr(clock, "monotonic", lambda: story.now)
    board.started = 0.0
    return story


def text(board: Board, width: int, height: int | None = None, *, unicode: bool = True) -> list[str]:
    console = Console(width=width, file=StringIO(), color_system=None)
    with console.capture() as captured:
        console.print(draw(board, width, height, unicode=unicode))
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= width
    return [line.rstrip() for line in lines]


def in_the_middle(story: Story) -> None:
    """A run whose second stage is at its second attempt and whose third is a map that began."""
    story.started("build", "announce", "review", "publish")
    story.start("build", tier="cheap")
    story.now = 0.012
    story.end("build", 0.25)
    story.start("announce", tier="capable")
    story.retry("announce", 1, "ConnectionError: refused")
    story.start("announce", 2, tier="capable")
    story.progress("announce", 0.4, "uploading to the index of packages")
    story.start("review", item=0, of=12)
    story.start("review", item=1, of=12)
    story.end("review", 0.3, item=0)
    story.now = 3.112


def test_a_wide_terminal_shows_every_column(board: Board, story: Story) -> None:
    in_the_middle(story)
    assert text(board, 80) == [
        "release   agent release   namespace default   store embedded",
        "   stage     state      try  tier       time  progress",
        "✓  build     completed    1  cheap     12 ms",
        "●  announce  running      2  capable   3.1 s  ━━━━────── 40% uploading to the i…",
        "●  review    running      1            3.1 s  ━───────── 1/12",
        "○  publish   pending",
        "━━━━━━━━━━━━────────────────────────────  30%  3.1 s",
    ]


def test_a_very_wide_terminal_shows_whole_remarks(board: Board, story: Story) -> None:
    in_the_middle(story)
    assert "━━━━────── 40% uploading to the index of packages" in "\n".join(text(board, 200))


def test_a_narrow_terminal_keeps_stage_time_and_progress(board: Board, story: Story) -> None:
    in_the_middle(story)
    assert text(board, 40) == [
        "release   agent release",
        "namespace default   store embedded",
        "✓  build             12 ms",
        "●  announce  try 2   3.1 s  40% uploadi…",
        "●  review            3.1 s  1/12",
        "○  publish",
        "━━━━━━━━───────────────────  30%  3.1 s",
    ]


def test_a_tiny_terminal_still_shows_the_stages(board: Board, story: Story) -> None:
    in_the_middle(story)
    lines = text(board, 20)
    assert "●  announce   3.1 s" in lines


def test_without_unicode_plain_letters_are_used(board: Board, story: Story) -> None:
    in_the_middle(story)
    assert "x" not in "".join(text(board, 80, unicode=False)[2:3])
    assert all(line.replace("…", ".").isascii() for line in text(board, 80, unicode=False))


def test_a_retry_is_shown_while_it_is_waited_for(board: Board, story: Story) -> None:
    story.started("announce")
    story.start("announce")
    story.retry("announce", 1, "ConnectionError: refused")
    assert text(board, 80)[2].split() == ["↻", "announce", "retrying", "1", "0", "ms", "ConnectionError:", "refused"]


def test_a_stage_that_recovered_shows_no_error_any_more(board: Board, story: Story) -> None:
    story.started("announce")
    story.start("announce")
    story.retry("announce", 1, "ConnectionError: refused")
    story.start("announce", 2)
    story.end("announce", 0.99, attempts=2)
    assert text(board, 80)[2].split() == ["✓", "announce", "completed", "2", "0", "ms"]


def test_a_completed_run_says_how_long_it_took(board: Board, story: Story) -> None:
    story.started("build", "extra")
    story.start("build")
    story.end("build", 0.5)
    story.end("extra", 0.5, StageStatus.SKIPPED)
    story.now = 65
    story.ended(AgentStatus.COMPLETED)
    lines = text(board, 80)
    assert lines[-1] == "✓ completed in 1m 05s"
    assert lines[-2].split()[1:] == ["extra", "skipped"]


def test_a_failed_run_shows_where(board: Board, story: Story) -> None:
    story.started("build")
    story.start("build")
    story.end("build", 0.0, StageStatus.FAILED, error="ValueError: no version")
    story.ended(AgentStatus.FAILED, "ValueError: no version")
    lines = text(board, 80)
    assert lines[2].split() == ["✗", "build", "failed", "1", "0", "ms", "ValueError:", "no", "version"]
    assert lines[-1] == "✗ failed in 0 ms"


def test_a_map_counts_its_failures_and_starts_anew(board: Board, story: Story) -> None:
    story.started("review")
    for item in (0, 1):
        story.start("review", item=item, of=2)
    story.end("review", 0.5, item=0)
    story.end("review", 0.99, StageStatus.FAILED, item=1, error="ValueError: odd")
    assert "2/2, 1 failed ValueError: odd" in text(board, 80)[2]
    story.start("review", item=0, of=5)
    assert "0/5" in text(board, 80)[2]


def test_a_map_whose_items_never_overlap_counts_all_of_them(board: Board, story: Story) -> None:
    story.started("review")
    for item in range(3):
        story.start("review", item=item, of=3)
        story.end("review", 0.3 * item, item=item)
    assert "3/3" in text(board, 80)[2]


def test_a_stage_that_is_called_often_counts_its_calls(board: Board, story: Story) -> None:
    story.started("step")
    for _ in range(1200):
        story.start("step")
        story.now += 0.001
        story.end("step", 0.99)
    assert text(board, 80)[2].split() == ["✓", "step", "completed", "1", "1.2", "s", "1,200", "calls"]


def test_a_run_without_a_store_says_so(board: Board, story: Story) -> None:
    story.started("build", store=None)
    assert text(board, 80)[0] == "release   agent release   no store"


def test_a_stage_that_was_not_planned_joins_the_table(board: Board, story: Story) -> None:
    story.started("build")
    story.start("child/stage")
    assert [line.split()[1] for line in text(board, 80)[2:4]] == ["build", "child/stage"]


def test_a_low_terminal_keeps_the_rows_around_the_work(board: Board, story: Story) -> None:
    names = [f"step_{number:02d}" for number in range(40)]
    story.started(*names)
    for name in names[:20]:
        story.start(name)
        story.end(name, 0.5)
    story.start("step_20")
    lines = text(board, 80, 12)
    assert len(lines) <= 12
    assert any("step_20" in line for line in lines)
    assert "  19 more above" in lines
    assert "  15 more below" in lines


def test_progress_of_the_workflow_itself_adds_no_row(board: Board, story: Story) -> None:
    story.started("build")
    story.progress(None, 0.5, "thinking")
    assert list(board.rows) == ["build"]


def test_a_note_alone_leaves_the_fraction(board: Board, story: Story) -> None:
    story.started("build")
    story.start("build")
    story.progress("build", 0.5, "half")
    story.progress("build", None, "still half")
    assert "50% still half" in text(board, 80)[2]


def test_the_last_frame_stays_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "monotonic", lambda: 0.0)
    file = StringIO()
    console = Console(file=file, force_terminal=True, width=60, height=20, color_system=None)
    with LiveView(console) as view:
        story = Story(view)
        story.started("build")
        story.start("build")
        story.end("build", 0.99)
        story.ended(AgentStatus.COMPLETED)
    assert file.getvalue().rstrip("\x1b[?25h\n").endswith("completed in 0 ms")
