"""Times and sizes as people read them."""

from __future__ import annotations

import re

import pytest

from attune_dsl.cli import formats


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-1, "0 ms"),
        (0, "0 ms"),
        (0.0004, "0 ms"),
        (0.012, "12 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (3.14, "3.1 s"),
        (59.94, "59.9 s"),
        (59.96, "1m 00s"),
        (125, "2m 05s"),
        (3599.6, "1h 00m"),
        (3780, "1h 03m"),
        (180_000, "2d 02h"),
    ],
)
def test_duration(seconds: float, expected: str) -> None:
    assert formats.duration(seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(None, ""), (-0.5, "0s"), (0.4, "0s"), (59.9, "59s"), (61, "1m 01s"), (7260, "2h 01m")]
)
def test_age(seconds: float | None, expected: str) -> None:
    assert formats.age(seconds) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1_048_550, "1.0 MiB"),
        (5 * 1024**3, "5.0 GiB"),
        (3 * 1024**4, "3.0 TiB"),
    ],
)
def test_size(count: int, expected: str) -> None:
    assert formats.size(count) == expected


@pytest.mark.parametrize(
    ("fraction", "expected"), [(None, ""), (0, "0%"), (0.29, "29%"), (0.999, "99%"), (0.99, "99%"), (1.0, "100%")]
)
def test_percent_is_complete_only_at_the_end(fraction: float | None, expected: str) -> None:
    assert formats.percent(fraction) == expected


def test_one_line_is_one_line() -> None:
    assert formats.one_line(" a\n  b\tc ") == "a b c"
    assert formats.one_line("x" * 300, 10) == "xxxxxxxxx…"
    assert formats.one_line("a\x1b[2Jb\x00") == "a�[2Jb�"


def test_about_is_the_largest_unit_alone() -> None:
    assert [formats.about(age) for age in (None, 5.9, 725.0, 4000.0, 200_000.0)] == ["", "5s", "12m", "1h", "2d"]


def test_a_moment_is_a_date_and_a_time_of_day() -> None:
    assert re.fullmatch(r"2023-11-1[345] \d\d:\d\d:20", formats.moment(1_700_000_000.0))


@pytest.mark.parametrize(
    ("amount", "expected"),
    [(None, ""), (0.0, "0.00"), (0.4213, "0.4213"), (0.99996, "1.00"), (12.5, "12.50"), (1234.5, "1,234.50")],
)
def test_cost(amount: float | None, expected: str) -> None:
    assert formats.cost(amount) == expected
