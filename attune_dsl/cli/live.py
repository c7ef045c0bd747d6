"""The live view of a run on a terminal: one row a stage, redrawn in place."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from attune_dsl import clock
from attune_dsl.cli import formats, style
from attune_dsl.cli.board import PENDING, RETRYING, Board, Header, Row
from attune_dsl.cli.columns import Column, table
from attune_dsl.runner.events import RunEvent

NARROW = 60
"""Below this many cells the table keeps to the stage, its time and its progress."""

_FRAMES_PER_SECOND = 10
_GAP = 3
_COLUMNS = (
    Column("", 0),
    Column("stage", 0, least=12),
    Column("state", 4),
    Column("try", 3, justify="right"),
    Column("tier", 5),
    Column("time", 0, justify="right"),
    Column("progress", 1, least=10),
)
_NARROW_COLUMNS = tuple(column._replace(title="") if column.title != "stage" else column for column in _COLUMNS)
_WIDE_ONLY = {"state", "tier"}


class LiveView:
    """Draws the board on standard error from the begin of the run on; an observer of its events."""

    def __init__(self, console: Console | None = None) -> None:
        self._board = Board()
        self._console = console or Console(stderr=True, highlight=False)
        # With standard output on the same terminal, what the workflow prints goes above the table. Redirected
        # output is the user's and stays where it is.
        self._live = Live(
            console=self._console,
            get_renderable=self._draw,
            refresh_per_second=_FRAMES_PER_SECOND,
            redirect_stdout=sys.stdout.isatty(),
            vertical_overflow="crop",
        )

    def __call__(self, event: RunEvent) -> None:
        """Fold one event into the board; the next frame shows it."""
        self._board.apply(event)
        if self._board.header is not None and not self._live.is_started:
            self._live.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Draw the last frame and leave it on the terminal."""
        self._live.stop()

    def _draw(self) -> RenderableType:
        size = self._console.size
        height = size.height if self._board.status is None else None
        return draw(self._board, size.width, height, unicode=style.has_unicode(self._console))


def draw(board: Board, width: int, height: int | None = None, *, unicode: bool = True) -> RenderableType:
    """Return one frame of at most ``height`` lines (``None``: as many as it takes) for ``width`` cells."""
    with board.lock:
        header = _header(board.header, width) if board.header else []
        rows = list(board.rows.values())
        footer = _footer(board, width, unicode=unicode)
        taken = len(header) + 3  # the table's header, the footer, and the line where the cursor rests
        shown, above, below = _window(rows, None if height is None else max(height - taken, 1))
        parts: list[RenderableType] = [*header]
        if above:
            parts.append(Text(f"  {above:,} more above", style="dim"))
        if shown:
            parts.append(_table(shown, width, unicode=unicode))
        if below:
            parts.append(Text(f"  {below:,} more below", style="dim"))
        return Group(*parts, footer)


def _header(header: Header, width: int) -> list[Text]:
    """Return who runs and where, in as many lines as it takes; a fact is not broken unless it is too long itself."""
    facts = [f"agent {header.agent_id}"]
    if header.store is None:
        facts.append("no store")
    else:
        facts += [f"namespace {header.namespace}", f"store {header.store}"]
    lines = [Text(header.workflow, style="bold", overflow="ellipsis", no_wrap=True)]
    for fact in facts:
        if lines[-1].cell_len + _GAP + cell_len(fact) > width:
            lines.append(Text(overflow="ellipsis", no_wrap=True))
        lines[-1].append(f"{' ' * _GAP if lines[-1] else ''}{fact}", style="dim not bold")
    return lines


def _window(rows: Sequence[Row], room: int | None) -> tuple[Sequence[Row], int, int]:
    """Return the rows to show, and how many are left out above and below: those around the work stay."""
    if room is None or len(rows) <= room:
        return rows, 0, 0
    room = max(room - 2, 1)  # two lines say what is left out
    busy = [i for i, row in enumerate(rows) if row.is_active] or [
        i for i, row in enumerate(rows) if row.state != PENDING
    ][-1:]
    start = min(max((busy[0] if busy else 0) - 1, 0), len(rows) - room)
    return rows[start : start + room], start, len(rows) - start - room


def _table(rows: Sequence[Row], width: int, *, unicode: bool) -> RenderableType:
    now = clock.monotonic()
    narrow = width < NARROW
    cells = [_cells(row, now, narrow=narrow, unicode=unicode) for row in rows]
    columns = _NARROW_COLUMNS if narrow else _COLUMNS
    kept = [i for i, column in enumerate(_COLUMNS) if not (narrow and column.title in _WIDE_ONLY)]
    return table([columns[i] for i in kept], [[row[i] for i in kept] for row in cells], width, header=not narrow)


def _cells(row: Row, now: float, *, narrow: bool, unicode: bool) -> list[Text]:
    colour = style.colour(row.state)
    attempt = "" if not row.attempt else f"try {row.attempt}" if narrow else str(row.attempt)
    if narrow and row.attempt == 1:
        attempt = ""
    return [
        Text(style.sign(row.state, unicode=unicode), style=colour),
        Text(row.name, style="dim" if row.state in (PENDING, "skipped") else ""),
        Text(f"{row.state:<9}", style=colour),
        Text(attempt, style="yellow" if row.attempt > 1 else ""),
        Text(row.tier or "", style="dim"),
        Text(f"{formats.duration(row.elapsed(now)) if row.calls else '':>6}"),
        _progress(row, narrow=narrow, unicode=unicode),
    ]


def _progress(row: Row, *, narrow: bool, unicode: bool) -> Text:
    text = Text()
    fraction = row.done / row.total if row.total else row.fraction
    if fraction is not None and not narrow and row.is_active:
        full, empty = style.bar(fraction, 10, unicode=unicode)
        text.append(full, style="cyan")
        text.append(f"{empty} ", style="dim")
    words = []
    if row.total:
        words.append(f"{row.done}/{row.total}")
        if row.failed:
            words.append(f"{row.failed} failed")
    elif fraction is not None:
        words.append(formats.percent(fraction))
    elif row.calls > 1:
        words.append(f"{row.calls:,} calls")
    text.append(", ".join(words))
    remark = row.note if row.note and row.is_active else row.error or row.note
    if remark:
        shown = formats.one_line(remark)
        text.append(f"{' ' if text else ''}{shown}", style=_remark_style(row, remark))
    return text


def _remark_style(row: Row, remark: str) -> str:
    if remark != row.error:
        return "dim"
    return "yellow" if row.state == RETRYING or row.is_active else "red"


def _footer(board: Board, width: int, *, unicode: bool) -> Text:
    took = formats.duration(board.elapsed())
    if board.status is not None:
        sign = style.sign(board.status, unicode=unicode)
        return Text(f"{sign} {board.status} in {took}", style=f"bold {style.colour(board.status)}")
    words = f" {formats.percent(board.progress):>4}  {took}"
    full, empty = style.bar(board.progress, max(min(width - len(words) - 1, 40), 4), unicode=unicode)
    text = Text()
    text.append(full, style="cyan")
    text.append(empty, style="dim")
    text.append(words)
    return text
