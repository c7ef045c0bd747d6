"""Tables that fit: a narrow terminal loses whole columns, the least important first, before it loses the sense."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

_GAP = 2


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

    Empty columns go at once. Then columns are shortened as far as they may; what still does not fit is dropped by
    rank. If even the columns of rank 0 do not fit, they are shortened further.
    """
    natural = {i: max((cell_len(row[i].plain) for row in rows), default=0) for i in range(len(columns))}
    kept = {i: max(size, cell_len(columns[i].title)) for i, size in natural.items() if size or not columns[i].rank}
    while True:
        least = {i: min(size, columns[i].least or size) for i, size in kept.items()}
        if _total(least) <= width:
            return _shorten(kept, least, width)
        droppable = [i for i in kept if columns[i].rank]
        if not droppable:
            return _shorten(kept, dict.fromkeys(kept, 1), width)
        del kept[max(droppable, key=lambda i: columns[i].rank)]


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
