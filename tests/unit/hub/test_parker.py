"""Where the hub's thread sleeps, on both kinds of platform."""

from __future__ import annotations

import math
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from attune_dsl.hub.parker import EpollParker, Parker, SelectParker, Waker
from attune_dsl.hub.parker import parker as best_parker

WaitUntil = Callable[..., Any]
KINDS = [
    pytest.param("epoll", marks=pytest.mark.skipif(not hasattr(select, "epoll"), reason="this platform has no epoll")),
    "select",
]


@pytest.fixture(params=KINDS)
def parker(request: pytest.FixtureRequest) -> Iterator[Parker]:
    parker: Parker = EpollParker() if request.param == "epoll" else SelectParker()
    yield parker
    parker.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The second end's writing makes the first one readable."""
    ends = socket.socketpair()
    yield ends
    for end in ends:
        end.close()


Pair = tuple[socket.socket, socket.socket]


class Sleeper:
    """A thread in ``parker.sleep``; ``result`` is what that returned."""

    def __init__(self, parker: Parker) -> None:
        self.result: set[int] | None = None
        self._parker = parker
        self.thread = threading.Thread(target=self._sleep)
        self.thread.start()

    def _sleep(self) -> None:
        self.result = self._parker.sleep(50)

    def wait_until_asleep(self, wait_until: WaitUntil) -> None:
        """As near as one can know it: the thread is in its last call."""
        wait_until(lambda: getattr(self._parker, "_sleeping", True) and self.thread.is_alive())

    def join(self) -> set[int] | None:
        self.thread.join(10)
        return self.result


def test_nothing_happens(parker: Parker) -> None:
    assert parker.sleep(0) == set()
    assert parker.sleep(-5) == set()


def test_a_descriptor_is_reported_once_for_each_arming(parker: Parker, pair: Pair) -> None:
    parker.arm(pair[0].fileno())
    assert parker.sleep(0) == set()
    pair[1].send(b"x")

    assert parker.sleep(50) == {pair[0].fileno()}
    assert parker.sleep(0) == set()
    parker.arm(pair[0].fileno())
    assert parker.sleep(50) == {pair[0].fileno()}
    assert parker.sleep(0) == set()


def test_only_what_is_readable_is_reported(parker: Parker, pair: Pair) -> None:
    other = socket.socketpair()
    parker.arm(pair[0].fileno())
    parker.arm(other[0].fileno())
    other[1].send(b"x")

    assert parker.sleep(50) == {other[0].fileno()}
    pair[1].send(b"x")
    assert parker.sleep(50) == {pair[0].fileno()}
    for end in other:
        parker.forget(end.fileno())
        end.close()


def test_a_descriptor_that_was_disarmed_is_not_reported(parker: Parker, pair: Pair) -> None:
    parker.arm(pair[0].fileno())
    parker.disarm(pair[0].fileno())
    pair[1].send(b"x")

    assert parker.sleep(0) == set()


def test_what_was_never_armed_may_be_disarmed_and_forgotten(parker: Parker, pair: Pair) -> None:
    parker.disarm(pair[0].fileno())
    parker.forget(pair[0].fileno())

    assert parker.sleep(0) == set()


def test_the_next_socket_of_the_same_number_is_armed_anew(parker: Parker) -> None:
    first = socket.socketpair()
    number = first[0].fileno()
    parker.arm(number)
    parker.forget(number)
    for end in first:
        end.close()
    second = socket.socketpair()
    if second[0].fileno() != number:
        os.dup2(second[0].fileno(), number)
    try:
        second[1].send(b"x")
        assert parker.sleep(0) == set()
        parker.arm(number)
        assert parker.sleep(50) == {number}
    finally:
        parker.forget(number)
        if second[0].fileno() != number:
            os.close(number)
        for end in second:
            end.close()


def test_a_descriptor_that_was_closed_keeps_nobody_from_sleeping(parker: Parker) -> None:
    near, far = socket.socketpair()
    parker.arm(near.fileno())
    near.close()
    far.close()

    assert parker.sleep(0) == set()


def test_a_sleeper_is_woken(parker: Parker, wait_until: WaitUntil) -> None:
    sleeper = Sleeper(parker)
    sleeper.wait_until_asleep(wait_until)

    parker.wake()

    assert sleeper.join() == set()


def test_who_was_woken_before_falls_asleep_once_less(parker: Parker) -> None:
    parker.wake()
    parker.wake()

    assert parker.sleep(50) == set()
    assert not is_readable(parker._waker)  # type: ignore[attr-defined]


def test_a_sleeper_hears_of_what_is_armed_meanwhile(parker: Parker, pair: Pair, wait_until: WaitUntil) -> None:
    sleeper = Sleeper(parker)
    sleeper.wait_until_asleep(wait_until)
    pair[1].send(b"x")

    parker.arm(pair[0].fileno())

    # Where the sleeper had to be nudged it comes back for another round.
    assert (sleeper.join() or parker.sleep(50)) == {pair[0].fileno()}


def test_a_sleeper_does_not_report_what_is_disarmed_meanwhile(
    parker: Parker, pair: Pair, wait_until: WaitUntil
) -> None:
    parker.arm(pair[0].fileno())
    sleeper = Sleeper(parker)
    sleeper.wait_until_asleep(wait_until)

    parker.disarm(pair[0].fileno())
    pair[1].send(b"x")
    parker.wake()

    assert sleeper.join() == set()


def test_a_time_longer_than_the_platform_can_sleep(parker: Parker) -> None:
    parker.wake()

    assert parker.sleep(1e12) == set()
    parker.wake()
    assert parker.sleep(math.inf) == set()


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="this platform has no epoll")
def test_linux_sleeps_in_epoll(monkeypatch: pytest.MonkeyPatch) -> None:
    here = best_parker()
    assert isinstance(here, EpollParker)
    here.close()

    monkeypatch.delattr(select, "epoll")
    assert isinstance(best_parker(), SelectParker)


# The waker


@pytest.fixture(params=["eventfd", "socketpair"])
def waker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Waker:
    if request.param == "socketpair":
        monkeypatch.delattr(os, "eventfd", raising=False)
    elif not hasattr(os, "eventfd"):
        pytest.skip("this platform has no eventfd")
    return Waker()


def is_readable(waker: Waker) -> bool:
    return bool(select.select([waker.fd], [], [], 0)[0])


def test_a_waker_is_readable_from_its_waking_to_its_clearing(waker: Waker) -> None:
    assert not is_readable(waker)
    for _ in range(3):
        waker.wake()
    assert is_readable(waker)

    waker.clear()

    assert not is_readable(waker)
    waker.wake()
    assert is_readable(waker)


def test_clearing_what_nobody_woke_does_nothing(waker: Waker) -> None:
    waker.clear()
    waker.wake()
    waker.clear()
    waker.clear()

    assert not is_readable(waker)


def test_a_waker_that_is_full_stays_readable(waker: Waker) -> None:
    for _ in range(100_000):
        waker.wake()

    assert is_readable(waker)


def test_a_clear_beside_a_wake_does_not_leave_it_readable_for_ever(waker: Waker) -> None:
    for _ in range(200):
        threads = [threading.Thread(target=waker.wake), threading.Thread(target=waker.clear)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        waker.clear()
        assert not is_readable(waker)


def test_a_waker_frees_its_descriptors(waker: Waker) -> None:
    numbers = [end.fileno() for end in waker._pair] or [waker.fd]
    waker.__del__()
    waker._pair, waker._event = (), -1

    for number in numbers:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
