"""Collecting what happens for those who follow: nothing is lost in silence."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from attune_dsl.hub import watch as module
from attune_dsl.hub.drive import drive
from attune_dsl.hub.link import SLEEPING
from attune_dsl.hub.watch import Watch, Watches, is_behind, parse


def raw(number: int, kind: str = "updated", **more: bytes) -> list[Any]:
    fields = {"kind": b"agent." + kind.encode(), "agent": b"a", "epoch": b"1", "at": b"1500", **more}
    return [f"{number}-0".encode(), [part for name, value in fields.items() for part in (name.encode(), value)]]


def entries(*numbers: int) -> list[Any]:
    return [raw(number) for number in numbers]


def ids(found: list[Any]) -> list[str]:
    return [entry[0].decode() for entry in found]


class Hub:
    """A hub that notes when it shall look for a lapse."""

    def __init__(self) -> None:
        self.keeper = self
        self.lapses: list[float] = []

    def look_for_lapse(self, within: float) -> None:
        self.lapses.append(within)


@pytest.fixture
def watch() -> Watch:
    """One that has looked around already."""
    watch = Watch(SLEEPING)
    watch.pop()
    return watch


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def watches(hub: Hub, watch: Watch) -> Watches:
    """One follows, from 1-0 on."""
    watches = Watches(hub)  # type: ignore[arg-type]
    watches._watches.append(watch)
    watches.cursor = "1-0"
    return watches


def test_who_begins_has_to_look_for_itself() -> None:
    assert Watch(SLEEPING).pop() == ([], True)


def test_what_came_is_handed_over_once_and_in_order(watch: Watch) -> None:
    watch.deliver(entries(1, 2))
    watch.deliver(entries(3))

    assert [(ids(found), gap) for found, gap in (watch.pop(), watch.pop())] == [
        (["1-0", "2-0", "3-0"], False),
        ([], False),
    ]


def test_too_much_for_one_that_does_not_come_is_a_gap(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 3)
    watch.deliver(entries(1, 2, 3))
    assert watch.has_gap is False

    watch.deliver(entries(4))
    watch.deliver(entries(5))
    found, gap = watch.pop()

    assert (ids(found), gap) == (["5-0"], True)
    assert watch.pop() == ([], False)


@pytest.mark.parametrize("come", [lambda w: w.deliver(entries(1)), lambda w: w.lose(), lambda w: w.wake()])
def test_a_wait_ends_when_something_comes(watch: Watch, come: Any) -> None:
    waits = watch.arrival(None)
    ticket = waits.send(None)
    assert ticket.done is False

    come(watch)

    assert ticket.done is True
    with pytest.raises(StopIteration):
        waits.send(None)
    assert watch._waiting is None


@pytest.mark.parametrize("come", [lambda w: w.deliver(entries(1)), lambda w: w.lose()])
def test_what_came_before_is_not_waited_for(watch: Watch, come: Any) -> None:
    come(watch)

    drive(watch.arrival(None))


def test_a_wait_ends_at_its_deadline(watch: Watch) -> None:
    drive(watch.arrival(0.0))

    assert watch.pop() == ([], False)


def test_a_new_link_is_read_from_its_end_and_leaves_a_gap(watches: Watches, watch: Watch) -> None:
    watches.reopen("9-0")

    assert (watches.cursor, watch.pop()) == ("9-0", ([], True))


def test_a_new_link_that_nobody_follows_over_is_not_read(hub: Hub) -> None:
    watches = Watches(hub)  # type: ignore[arg-type]

    watches.reopen("9-0")

    assert watches.cursor == ""


def test_the_cursor_follows_what_was_read_also_what_is_no_entry(watches: Watches, watch: Watch) -> None:
    watches.read([raw(2), [b"3-0", [b"something", b"else"]]])
    watches.read([])

    assert (watches.cursor, ids(watch.pop()[0])) == ("3-0", ["2-0", "3-0"])


def test_all_who_follow_are_handed_the_same(watches: Watches, watch: Watch) -> None:
    other = Watch(SLEEPING)
    watches._watches.append(other)

    watches.read([raw(2)])

    assert [ids(each.pop()[0]) for each in (watch, other)] == [["2-0"]] * 2


def test_with_the_last_one_the_reading_ends(watches: Watches, watch: Watch) -> None:
    other = Watch(SLEEPING)
    watches._watches.append(other)
    watches.close(other)
    assert watches.cursor == "1-0"

    watches.close(watch)
    watches.read([raw(2)])  # the read was in flight

    assert (watches.cursor, watch.pop()) == ("", ([], False))


class Asked(list[Watch]):
    """Followers; while somebody asks for the first time whether there are any, somebody else begins to follow."""

    def __init__(self, watches: list[Watch], other: threading.Thread) -> None:
        super().__init__(watches)
        self._other = other

    def __bool__(self) -> bool:
        there_are = len(self) > 0
        if self._other.ident is None:
            self._other.start()
            self._other.join(timeout=0.1)  # it may have to wait for the one that asks
        return there_are


def test_one_that_comes_while_the_last_one_goes_is_read_for(
    watches: Watches, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.6: it would be told nothing until the link is made anew."""

    async def begin(watches: Watches) -> None:
        watches.cursor = "7-0"

    monkeypatch.setattr(Watches, "_begin", begin)
    other = threading.Thread(target=lambda: drive(watches.open(SLEEPING)))
    watches._watches = Asked([watch], other)
    watches.close(watch)
    other.join()
    assert (len(watches._watches), watches.cursor) == (1, "7-0")


def test_one_that_gives_up_while_it_begins_follows_no_more(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that is cancelled, say: it would be kept entries for, and the timeline be read, for nobody."""

    async def begin(watches: Watches) -> None:
        watches.cursor = "7-0"
        raise KeyboardInterrupt

    monkeypatch.setattr(Watches, "_begin", begin)
    watches = Watches(hub)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        drive(watches.open(SLEEPING))
    assert (watches._watches, watches.cursor) == ([], "")


@pytest.mark.parametrize(
    ("ttl", "lapses"),
    [
        ({"ttl": b"1500"}, [1.5]),
        ({}, [float("inf")]),
        ({"ttl": b"soon"}, [float("inf")]),
        ({"ttl": b"9" * 5_000}, [float("inf")]),
    ],
)
def test_a_newcomer_may_lapse_before_the_next_beat(
    watches: Watches, hub: Hub, ttl: dict[str, bytes], lapses: list[float]
) -> None:
    """Who observes with long intervals sees short-lived ones die in time."""
    watches.read([raw(2, "updated", **ttl), raw(3, "joined", **ttl)])

    assert lapses == hub.lapses


@pytest.mark.parametrize(
    "more",
    [
        {"epoch": b"x"},
        {"epoch": "²".encode()},
        {"at": b""},
        {"at": b"9" * 400},
        {"kind": b"agent.\xff"},
        {"agent": b"\xff"},
    ],
)
def test_what_is_no_entry_is_skipped_alone(more: dict[str, bytes]) -> None:
    """§5.12."""
    bad = dict(zip(("kind", "agent", "epoch", "at"), (b"agent.lost", b"a", b"1", b"5"), strict=True)) | more
    parts = [part for name, value in bad.items() for part in (name.encode(), value)]

    assert [entry.id for entry in parse([[b"1-0", parts], raw(2), [b"3-0", [b"kind"]]])] == ["2-0"]


def test_ids_are_compared_as_numbers() -> None:
    assert [is_behind(*pair) for pair in (("10-0", "9-9"), ("9-10", "9-9"), ("9-9", "9-9"), ("9-9", "10-0"))] == [
        True,
        True,
        False,
        False,
    ]
