"""Something that happens at most once, and those who want to know of it."""

from __future__ import annotations

import threading

from attune_dsl.hub.notice import Notice


def test_those_who_asked_are_told_in_their_order() -> None:
    notice: Notice[str] = Notice()
    told: list[tuple[int, str]] = []
    for n in range(3):
        notice.on(lambda value, n=n: told.append((n, value)))  # type: ignore[misc]

    assert notice.value is None
    assert notice.happen("fire")
    assert notice.value == "fire"
    assert told == [(0, "fire"), (1, "fire"), (2, "fire")]


def test_who_asks_later_is_told_at_once() -> None:
    notice: Notice[str] = Notice()
    told: list[str] = []
    notice.happen("fire")

    notice.on(told.append)

    assert told == ["fire"]


def test_it_happens_once() -> None:
    notice: Notice[str] = Notice()
    told: list[str] = []
    notice.on(told.append)

    assert notice.happen("first")
    assert not notice.happen("second")

    assert (notice.value, told) == ("first", ["first"])
    notice.on(told.append)
    assert told == ["first", "first"]


def test_who_is_told_may_ask_and_tell() -> None:
    """A run that is told to stop halts its agent, which tells the same notice."""
    notice: Notice[str] = Notice()
    told: list[object] = []
    notice.on(lambda value: told.append(notice.happen("again")))
    notice.on(lambda value: notice.on(told.append))

    assert notice.happen("fire")

    assert told == [False, "fire"]


def test_of_many_threads_one_makes_it_happen_and_everybody_is_told_once() -> None:
    notice: Notice[int] = Notice()
    told: list[int] = []
    news: list[bool] = []
    gate = threading.Barrier(16)

    def tell(number: int) -> None:
        gate.wait(10)
        news.append(notice.happen(number))

    def ask() -> None:
        gate.wait(10)
        notice.on(told.append)

    threads = [threading.Thread(target=tell, args=(n,)) for n in range(8)]
    threads += [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert news.count(True) == 1
    assert told == [notice.value] * 8
