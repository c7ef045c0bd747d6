"""Tables that fit: a narrow terminal loses whole columns, the least important first, before it loses the sense."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import click
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from attune_dsl.cli.style import has_unicode

_GAP = 2

_WHOLE = 10_000
"""Cells of a line in a pipe, where nothing has to be left out."""


class Column(NamedTuple):
    """A column of text. ``rank`` 0 is never dropped, the highest rank goes first; ``least`` is the width that a
    column which may be shortened keeps (``None``: never shortened).
    """

    title: str
    rank: int = 0
    least: int | None = None
    justify: Literal["left", "right"] = "left"


def fit(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int) -> dict[int, int]:
    """Return the widths of the columns that stay, by index, so that everything fits into ``width`` cells.

    Empty columns go at once. The others are added by rank as far as they fit at their least, and then have what width
    there is. If even the columns of rank 0 do not fit, they are shortened further.
    """
    natural = {i: max((cell_len(row[i].plain) for row in rows), default=0) for i in range(len(columns))}
    wanted = {i: max(size, cell_len(columns[i].title)) for i, size in natural.items() if size or not columns[i].rank}
    least = {i: min(size, columns[i].least or size) for i, size in wanted.items()}
    kept = {i: least[i] for i in wanted if not columns[i].rank}
    if _total(kept) > width:
        return _shorten({i: wanted[i] for i in kept}, dict.fromkeys(kept, 1), width)
    for i in sorted(wanted.keys() - kept.keys(), key=lambda i: columns[i].rank):
        if _total(kept | {i: least[i]}) <= width:
            kept[i] = least[i]
    return _shorten({i: wanted[i] for i in sorted(kept)}, least, width)


def _total(widths: dict[int, int]) -> int:
    return sum(widths.values()) + _GAP * max(len(widths) - 1, 0)


def _shorten(widths: dict[int, int], least: dict[int, int], width: int) -> dict[int, int]:
    """Take cells from the widest column that may still give some until all fit."""
    widths = dict(widths)
    while _total(widths) > width:
        givers = [i for i in widths if widths[i] > least[i]]
        if not givers:
            break
        widths[max(givers, key=lambda i: widths[i])] -= 1
    return widths


def table(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int, *, header: bool = True) -> Table:
    """Build a borderless table of the columns that fit."""
    widths = fit(columns, rows, width)
    built = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_header=header, header_style="dim")
    for index, size in widths.items():
        column = columns[index]
        built.add_column(column.title, width=size, no_wrap=True, overflow="ellipsis", justify=column.justify)
    for row in rows:
        built.add_row(*(row[index] for index in widths))
    return built


def print_fitting(build: Callable[[int, bool], RenderableType]) -> None:
    """Print what ``build`` makes of a width and of whether there is Unicode: fitted on a terminal, whole in a pipe."""
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(build(console.width, has_unicode(console)))
        return
    wide = Console(width=_WHOLE, highlight=False, color_system=None)
    with wide.capture() as captured:
        wide.print(build(_WHOLE, has_unicode(console)))
    for line in captured.get().splitlines():
        click.echo(line.rstrip())
