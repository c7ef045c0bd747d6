"""When the hub's thread is told that something is due."""

from __future__ import annotations

import math

import pytest
from moved import MovedClock

from attune_dsl.hub.keeper import STATUS_LINGER, TICK, Due


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    return MovedClock(monkeypatch)


def test_marks_and_statuses_are_as_late_as_promised() -> None:
    assert (TICK, STATUS_LINGER) == (0.005, 0.05)


@pytest.mark.parametrize("lingers", [True, False])
def test_nothing_is_due_that_nobody_asked_for(clock: MovedClock, lingers: bool) -> None:
    told: list[float] = []
    due = Due(0.5, told.append, lingers=lingers)

    assert (due.at, due.is_due(clock.now), told) == (math.inf, False, [])


@pytest.mark.parametrize("lingers", [True, False])
def test_what_was_asked_for_is_due_in_time_and_told_once(clock: MovedClock, lingers: bool) -> None:
    told: list[float] = []
    due = Due(0.5, told.append, lingers=lingers)

    due.soon()
    clock.move(0.25)
    due.soon()

    assert (due.at, told) == (1000.5, [1000.5])
    assert not due.is_due(1000.25)
    assert due.is_due(1000.5)


def test_once_done_it_starts_over(clock: MovedClock) -> None:
    told: list[float] = []
    due = Due(0.5, told.append, lingers=False)
    due.soon()
    due.is_due(1000.5)

    assert (due.at, due.is_due(2000.0)) == (math.inf, False)
    clock.move(10)
    due.soon()
    assert told == [1000.5, 1010.5]


def test_what_lingers_stays_on_without_being_told_until_nobody_asks(clock: MovedClock) -> None:
    told: list[float] = []
    due = Due(0.5, told.append, lingers=True)
    due.soon()

    assert due.is_due(1000.5)
    assert due.at == 1001.0  # asked for in the last round: one more
    due.soon()
    assert due.is_due(1001.0)
    assert due.at == 1001.5
    assert due.is_due(1001.5)  # nobody asked in that one
    assert (due.at, told) == (math.inf, [1000.5])
