"""Which columns stay, and how wide."""

from __future__ import annotations

from rich.text import Text

from attune_dsl.cli.columns import Column, fit


def row(*cells: str) -> list[Text]:
    return [Text(cell) for cell in cells]


COLUMNS = (Column("name", 0, least=4), Column("state", 1), Column("note", 2, least=6))
ROWS = [row("a-long-name", "running", "something to say")]


def test_everything_fits_at_its_natural_width() -> None:
    assert fit(COLUMNS, ROWS, 80) == {0: 11, 1: 7, 2: 16}


def test_the_widest_is_shortened_first() -> None:
    assert fit(COLUMNS, ROWS, 35) == {0: 11, 1: 7, 2: 13}


def test_the_highest_rank_is_dropped_when_shortening_is_not_enough() -> None:
    assert fit(COLUMNS, ROWS, 20) == {0: 11, 1: 7}
    assert fit(COLUMNS, ROWS, 10) == {0: 10}


def test_a_column_that_may_never_go_is_shortened_as_far_as_it_takes() -> None:
    assert fit(COLUMNS, ROWS, 3) == {0: 3}


def test_an_empty_column_goes_at_once() -> None:
    assert fit(COLUMNS, [row("a", "", "b")], 80) == {0: 4, 2: 4}


def test_wide_characters_count_their_cells() -> None:
    assert fit((Column("", 0),), [row("日本")], 80) == {0: 4}


def test_what_the_more_important_columns_leave_goes_to_the_next_that_fits() -> None:
    columns = (Column("name"), Column("state", 1), Column("note", 2), Column("pid", 3))
    assert fit(columns, [row("ab", "running", "something to say", "7")], 20) == {0: 4, 1: 7, 3: 3}
