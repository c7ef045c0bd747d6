"""Events as lines: how they stand under each other, and how they fit."""

from __future__ import annotations

from typing import Any

import pytest

from attune_dsl.cli.event_lines import Lines, after
from attune_dsl.cli.formats import moment
from attune_dsl.events import Emit, Event, RunEnd, StageEnd

AT = 1_763_971_918.25
DATE, TIME = moment(AT).split()
ERROR = "ValueError: the version was refused by the index, because it is there already"


def event(text: str = "hello", at: float = AT, stage: str | None = None, agent: str | None = "release") -> Event:
    return Event(
        id="1-1", kind="emit", at=at, namespace="n", agent=agent, stage=stage, data=Emit(kind="note", data=text)
    )


def ended(error: str = ERROR) -> Event:
    data = StageEnd(call=1, status="failed", duration=1.0, error=error)
    return Event(id="1-1", kind="stage.ended", at=AT, namespace="n", agent="release", stage="build", data=data)


def lines(*told: Event, width: int | None = None, **how: Any) -> list[str]:
    return [line.plain for line in Lines(width, **how).of(told)]


def test_in_a_pipe_each_line_has_its_date_and_nothing_is_left_out() -> None:
    """§5.12: lines in a pipe are whole, so that they can be searched."""
    assert lines(ended(ERROR * 3), event()) == [
        f"{DATE} {TIME}.250  ✗ release  build  failed in 1.0 s: {ERROR * 3}",
        f"{DATE} {TIME}.250  » release         note: hello",
    ]


def test_on_a_terminal_the_date_is_said_when_it_changes() -> None:
    """§3 events tail: the time of day on each line, the date on a line of its own."""
    tomorrow = AT + 86_400
    assert lines(event(), event(), event(at=tomorrow), width=60) == [
        f"── {DATE} ──",
        f"{TIME}  » release  note: hello",
        f"{TIME}  » release  note: hello",
        f"── {moment(tomorrow).split()[0]} ──",
        f"{moment(tomorrow).split()[1]}  » release  note: hello",
    ]


def test_columns_grow_with_what_comes_and_never_shrink() -> None:
    """§3 events tail: lines stand under each other as far as is known."""
    made = Lines(120)
    first = [line.plain for line in made.of([event(stage="a")])][-1]
    wider = [line.plain for line in made.of([event(stage="build", agent="release-12345678")])][-1]
    again = [line.plain for line in made.of([event(stage="a")])][-1]
    assert first == f"{TIME}.250  » release  a  note: hello"
    assert wider == f"{TIME}.250  » release-12345678  build  note: hello"
    assert again == f"{TIME}.250  » release           a      note: hello"


def test_a_narrow_terminal_has_no_column_for_stages_but_names_them() -> None:
    """§3 events tail: what happened to a stage names it, where there is no room for a column."""
    assert lines(ended("E"), width=60)[-1] == f"{TIME}  ✗ release  build failed in 1.0 s: E"
    assert lines(ended("E"), width=80)[-1] == f"{TIME}  ✗ release  build  failed in 1.0 s: E"


def test_a_long_line_goes_on_below_at_its_words_and_is_cut_in_the_last_row() -> None:
    """§3 events tail: words stay whole where that is possible."""
    assert lines(ended(), width=60, rows=2)[1:] == [
        f"{TIME}  ✗ release  build failed in 1.0 s: ValueError: the",
        "                     version was refused by the index, beca…",
    ]
    assert lines(ended(), width=60, rows=9)[1:] == [
        f"{TIME}  ✗ release  build failed in 1.0 s: ValueError: the",
        "                     version was refused by the index,",
        "                     because it is there already",
    ]
    assert lines(ended(), width=60)[1:] == [f"{TIME}  ✗ release  build failed in 1.0 s: ValueError: the…"]


def test_the_last_row_begins_with_a_word_also_where_the_one_above_is_full() -> None:
    """§3 events tail: the space between them belongs to neither."""
    told = ended(f"{'V' * 16} {'x' * 20} {'y' * 20}")
    assert lines(told, width=60, rows=2)[1:] == [
        f"{TIME}  ✗ release  build failed in 1.0 s: {'V' * 16}",
        f"{' ' * 21}{'x' * 20} {'y' * 17}…",
    ]


@pytest.mark.parametrize("rows", [1, 2, 9])
@pytest.mark.parametrize("width", [10, 20, 30, 40, 60, 80, 100, 160])
def test_every_line_fits(width: int, rows: int) -> None:
    """§3 events tail: whatever the width, and whatever the names are."""
    told = [
        ended(),
        event("wörd " * 50, agent="a" * 128, stage="s" * 128),
        event("x" * 500),
        event("語" * 100, agent="語" * 60),
    ]
    fitted = list(Lines(width, rows=rows).of(told))
    assert max(line.cell_len for line in fitted[1:]) <= max(width, 16)
    assert len(fitted) <= 1 + rows * len(told)


def test_times_can_be_counted_from_a_beginning() -> None:
    """§3 events replay: relative times, in hundredths as long as they are of interest."""
    assert lines(event(), event(at=AT + 1.5), event(at=AT + 1000), width=60, since=AT) == [
        "  +0.00s  » release  note: hello",
        "  +1.50s  » release  note: hello",
        "+16m 40s  » release  note: hello",
    ]
    assert after(-1.0) == "+0.00s"


def test_without_unicode_signs_are_letters() -> None:
    """§3 events tail: a terminal that knows ASCII alone is not given anything else of ours."""
    drawn = lines(ended(), event(agent="a" * 100), width=60, unicode=False)
    assert all(line.isascii() for line in drawn)


def test_hostile_names_and_times_are_shown_harmlessly() -> None:
    """§5.12: nothing that others wrote reaches the terminal as a control character, and nothing raises."""
    drawn = lines(event(at=1e18, agent="\x1b[2J", stage="\x9b"), event(at=-1e18), width=120)
    assert all(line.isprintable() for line in drawn)


def test_what_is_bad_is_in_colour_as_a_whole_and_all_else_by_its_first_word() -> None:
    """§3 events tail: colours by the family of the kind."""
    [_, bad, good] = Lines(160).of([ended(), event()])
    end = RunEnd(status="completed", duration=1.0)
    [_, big] = Lines(120).of([Event(id="1-1", kind="run.ended", at=AT, namespace="n", agent="a", data=end)])
    assert [bad.plain[span.start : span.end] for span in bad.spans if span.style == "red"] == [
        "✗",
        f"failed in 1.0 s: {ERROR}",
    ]
    assert "green" not in {span.style for span in good.spans}
    assert [big.plain[span.start : span.end] for span in big.spans if span.style == "green"] == [
        "✓",
        "run completed in 1.0 s",
    ]
