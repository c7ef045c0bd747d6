"""What an outage means for those who wait, by a clock that is moved."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from moved import MovedClock

from attune_dsl.hub.drive import drive
from attune_dsl.hub.link import GRACE, LinkState

LOST = ConnectionError("lost")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    return MovedClock(monkeypatch)


@pytest.fixture
def link(clock: MovedClock) -> LinkState:
    return LinkState()


def test_the_grace_time_is_the_contracts() -> None:
    assert GRACE == 2.0


def test_nobody_gives_up_before_the_first_attempt(link: LinkState, clock: MovedClock) -> None:
    clock.move(60)

    assert (link.up, link.is_given_up, link.outages) == (False, False, 0)
    assert link.patience() == clock.now


def test_a_store_that_was_never_there_is_not_waited_for(link: LinkState, clock: MovedClock) -> None:
    link.went_down(LOST)

    assert (link.is_given_up, link.outages, link.error) == (True, 1, LOST)
    assert link.patience() == clock.now


def test_while_it_is_up_every_call_has_the_grace_time(link: LinkState, clock: MovedClock) -> None:
    link.came_up()
    clock.move(60)

    assert (link.up, link.is_given_up, link.outages) == (True, False, 0)
    assert link.patience() == clock.now + GRACE


def test_after_a_break_the_grace_time_is_what_remains_of_it(link: LinkState, clock: MovedClock) -> None:
    link.came_up()
    link.went_down(LOST)
    until = clock.now + GRACE

    clock.move(GRACE - 0.5)
    assert (link.patience(), link.is_given_up) == (until, False)
    clock.move(0.5)
    assert (link.patience(), link.is_given_up) == (until, True)
    clock.move(10)
    assert (link.patience(), link.is_given_up) == (clock.now, True)


def test_failed_attempts_do_not_prolong_the_grace_time(link: LinkState, clock: MovedClock) -> None:
    link.came_up()
    link.went_down(LOST)
    until = clock.now + GRACE
    for _ in range(3):
        clock.move(0.5)
        link.went_down(ConnectionError("refused"))

    assert (link.patience(), link.outages, str(link.error)) == (until, 1, "refused")


def test_every_break_has_its_own_grace_time_and_counts(link: LinkState, clock: MovedClock) -> None:
    for outages in (1, 2):
        link.came_up()
        assert link.error is None
        clock.move(60)
        link.went_down(LOST)
        assert (link.patience(), link.outages) == (clock.now + GRACE, outages)
        clock.move(60)


def test_a_hub_that_closes_its_link_has_no_outage(link: LinkState) -> None:
    link.came_up()
    link.went_down(LOST, expected=True)

    assert (link.up, link.outages) == (False, 0)


@pytest.mark.parametrize("outcome", [lambda link: link.came_up(), lambda link: link.went_down(LOST)])
def test_who_wants_to_know_hears_of_the_first_attempt(
    outcome: Callable[[LinkState], None], wait_until: Callable[..., Any]
) -> None:
    link = LinkState()
    threads = [threading.Thread(target=lambda: drive(link.settle(50))) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(link._curious) == 2 and all(ticket.wake for ticket in link._curious))

    outcome(link)
    for thread in threads:
        thread.join(10)

    assert [thread.is_alive() for thread in threads] == [False, False]
    drive(link.settle(50))  # known already


def test_who_wants_to_know_waits_only_so_long(link: LinkState) -> None:
    drive(link.settle(0))

    assert not link.was_tried
