"""What waits to be taken, who waits for what, and how copies and looks are merged; by a clock that is moved."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attune_dsl.hub import mailbox as module
from attune_dsl.hub.link import SLEEPING
from attune_dsl.hub.mailbox import Entry, Mailbox, Waiter
from attune_dsl.model import Signal


class Server:
    """The server's clock, in milliseconds."""

    ms = 1_000.0


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def mailbox(server: Server) -> Mailbox:
    """A mailbox that has been looked at once and was empty."""
    return opened(server)


def opened(server: Server) -> Mailbox:
    mailbox = Mailbox(lambda: server.ms)
    mailbox.merge([], mailbox.hold())
    return mailbox


def entry(order: int, type_: str = "go", source: str = "ann", *, expires_ms: int = 60_000, mail: bool = True) -> Entry:
    signal = Signal(
        id=f"s{order}",
        type=type_,
        source=source,
        target="bob" if mail else None,
        payload=None,
        sent_at=0.0,
        expires_at=expires_ms / 1000,
        order=order,
    )
    return Entry(signal, f"{order}-0" if mail else None, 10, expires_ms)


def news(order: int, **how: Any) -> Entry:
    return entry(order, mail=False, **how)


def waiter(*types: str, sources: tuple[str, ...] = ()) -> Waiter:
    return Waiter(SLEEPING, None, frozenset(types), frozenset(sources))


def orders(entries: list[Entry]) -> list[int]:
    return [entry.signal.order for entry in entries]


def everything(mailbox: Mailbox) -> list[int]:
    return orders(mailbox.find(waiter()))


def taken(mailbox: Mailbox, *types: str, sources: tuple[str, ...] = ()) -> int | None:
    entry = mailbox.take(waiter(*types, sources=sources))
    return None if entry is None else entry.signal.order


# Taking


def test_the_oldest_comes_first_over_all_types(mailbox: Mailbox) -> None:
    for order, type_ in enumerate("baabc", 1):
        mailbox.deliver(entry(order, type_))

    assert everything(mailbox) == [1, 2, 3, 4, 5]
    assert [taken(mailbox, "a", "b"), taken(mailbox, "a"), taken(mailbox), taken(mailbox)] == [1, 2, 3, 4]
    assert [taken(mailbox, "a", "b"), taken(mailbox), taken(mailbox)] == [None, 5, None]


def test_mail_and_broadcasts_are_in_one_order(mailbox: Mailbox) -> None:
    for each in (entry(1), news(2), entry(3), news(4)):
        mailbox.deliver(each)

    assert [taken(mailbox) for _ in range(5)] == [1, 2, 3, 4, None]


def test_only_the_senders_that_were_asked_for(mailbox: Mailbox) -> None:
    for order, source in enumerate(("ann", "bob", "cid", "bob"), 1):
        mailbox.deliver(entry(order, source=source))

    assert orders(mailbox.find(waiter("go", sources=("bob", "cid")))) == [2, 3, 4]
    assert [taken(mailbox, sources=("bob",)) for _ in range(3)] == [2, 4, None]
    assert everything(mailbox) == [1, 3]


def test_what_has_expired_is_gone(mailbox: Mailbox, server: Server) -> None:
    for order, expires_ms in enumerate((5_000, 3_000, 4_000), 1):
        mailbox.deliver(entry(order, expires_ms=expires_ms))

    server.ms = 3_999
    assert everything(mailbox) == [1, 3]
    server.ms = 4_000
    assert [taken(mailbox), taken(mailbox)] == [1, None]


def test_what_expires_and_is_never_asked_for_is_swept_out(
    mailbox: Mailbox, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for order in range(1, module._SWEEP):
        mailbox.deliver(entry(order, f"t{order % 7}", expires_ms=2_000 if order % 2 else 90_000))
    server.ms = 2_000

    mailbox.deliver(entry(module._SWEEP, expires_ms=90_000))

    left = [each for shelf in mailbox._by_type.values() for each in shelf.values()]
    assert len(left) == module._SWEEP // 2
    assert all(each.expires_ms == 90_000 for each in left)


# Waiting


def test_who_waits_gets_what_is_there(mailbox: Mailbox) -> None:
    mailbox.deliver(entry(1))
    mailbox.deliver(entry(2))
    first = waiter("go")

    mailbox.wait(first)

    assert first.value == entry(1)
    assert everything(mailbox) == [2]


def test_what_comes_goes_to_the_first_who_waits_for_it(mailbox: Mailbox) -> None:
    other, first, second = waiter("stop"), waiter("go"), waiter("go")
    for each in (other, first, second):
        mailbox.wait(each)

    mailbox.deliver(entry(1))
    assert [each.done for each in (other, first, second)] == [False, True, False]
    mailbox.deliver(entry(2))
    mailbox.deliver(entry(3))

    assert [first.value, second.value] == [entry(1), entry(2)]
    assert everything(mailbox) == [3]


def test_who_waits_for_a_sender_does_not_get_another(mailbox: Mailbox) -> None:
    picky = waiter(sources=("bob",))
    mailbox.wait(picky)

    mailbox.deliver(entry(1))
    mailbox.deliver(entry(2, source="bob"))

    assert picky.value == entry(2, source="bob")
    assert everything(mailbox) == [1]


def test_who_has_withdrawn_gets_nothing(mailbox: Mailbox) -> None:
    gone = waiter()
    mailbox.wait(gone)
    mailbox.withdraw(gone)
    mailbox.withdraw(gone)

    mailbox.deliver(entry(1))

    assert (gone.done, everything(mailbox)) == (False, [1])


def test_who_waits_does_not_get_what_has_expired_on_the_way(mailbox: Mailbox, server: Server) -> None:
    waiting = waiter()
    mailbox.wait(waiting)
    server.ms = 3_000

    mailbox.deliver(entry(1, expires_ms=3_000))

    assert (waiting.done, everything(mailbox)) == (False, [])


def test_when_there_is_no_sense_in_waiting_all_are_woken_with_nothing(mailbox: Mailbox) -> None:
    waiting = [waiter(), waiter("go")]
    for each in waiting:
        mailbox.wait(each)

    mailbox.end_waits()

    assert [(each.done, each.value) for each in waiting] == [(True, None)] * 2
    mailbox.deliver(entry(1))
    assert everything(mailbox) == [1]


# Copies and looks


def test_a_copy_that_comes_twice_is_one(mailbox: Mailbox) -> None:
    mailbox.deliver(entry(1))
    mailbox.deliver(entry(1))
    mailbox.deliver(news(2))
    mailbox.deliver(news(2))

    assert everything(mailbox) == [1, 2]


def test_a_late_copy_of_what_was_taken_is_nothing_new(mailbox: Mailbox) -> None:
    mailbox.deliver(entry(1))
    mailbox.deliver(entry(2))
    assert taken(mailbox) == 1

    mailbox.deliver(entry(1))

    assert everything(mailbox) == [2]


def test_mail_and_broadcasts_are_known_apart(mailbox: Mailbox) -> None:
    mailbox.deliver(news(5))
    mailbox.deliver(entry(4))

    assert everything(mailbox) == [4, 5]
    assert (mailbox.mail_order, mailbox.broadcast_order) == (4, 5)


def test_a_new_mailbox_gives_out_nothing_before_it_was_looked_at(server: Server) -> None:
    mailbox = Mailbox(lambda: server.ms)
    waiting = waiter()
    mailbox.wait(waiting)
    mailbox.deliver(entry(2))
    assert (mailbox.is_held, waiting.done) == (True, False)

    mailbox.merge([entry(1)], mailbox.hold())

    assert (mailbox.is_held, waiting.value, everything(mailbox)) == (False, entry(1), [2])


def test_copies_that_come_during_a_look_keep_their_place_behind_it(mailbox: Mailbox) -> None:
    mailbox.deliver(entry(1))
    horizon = mailbox.hold()
    assert (horizon.mail, horizon.broadcast) == (1, 0)
    mailbox.deliver(entry(4))
    mailbox.deliver(news(3))
    assert everything(mailbox) == [1]

    mailbox.merge([entry(2), entry(4)], horizon)

    assert everything(mailbox) == [1, 2, 3, 4]


def test_a_look_tells_mail_before_broadcasts_and_the_older_comes_first_all_the_same(mailbox: Mailbox) -> None:
    waiting = waiter()
    mailbox.wait(waiting)

    mailbox.merge([entry(2), entry(4), news(1), news(3)], mailbox.hold())

    assert waiting.value == news(1)
    assert [taken(mailbox, "go") for _ in range(3)] == [2, 3, 4]


def test_a_look_that_finds_what_is_known_brings_nothing_twice(mailbox: Mailbox) -> None:
    first, second = mailbox.hold(), mailbox.hold()
    mailbox.merge([entry(1), news(2)], first)
    assert taken(mailbox) == 1

    mailbox.merge([entry(1), news(2), entry(3)], second)

    assert everything(mailbox) == [2, 3]


def test_after_a_gap_only_a_look_that_began_later_lets_copies_in(mailbox: Mailbox) -> None:
    early = mailbox.hold()
    mailbox.lack()
    mailbox.deliver(entry(3))

    mailbox.merge([entry(1)], early)
    assert (everything(mailbox), mailbox.is_held) == ([1], True)

    late = mailbox.hold()
    mailbox.merge([entry(2)], late)
    assert (everything(mailbox), mailbox.is_held) == ([1, 2, 3], False)


def test_a_gap_alone_keeps_copies_aside(mailbox: Mailbox) -> None:
    mailbox.lack()
    mailbox.deliver(entry(2))

    assert (everything(mailbox), mailbox.is_held) == ([], True)
    mailbox.merge([entry(1)], mailbox.hold())
    assert everything(mailbox) == [1, 2]


def test_over_a_new_link_the_mailbox_is_read_from_its_beginning(mailbox: Mailbox) -> None:
    for order in (1, 2, 3):
        mailbox.deliver(entry(order))
    mailbox.deliver(news(4))
    assert taken(mailbox) == 1
    old = mailbox.hold()

    mailbox.restart()
    mailbox.deliver(entry(6))
    mailbox.merge([entry(5)], old)
    assert (everything(mailbox), mailbox.is_held) == ([2, 3, 4], True)

    new = mailbox.hold()
    assert (new.mail, new.broadcast) == (0, 0)
    mailbox.merge([entry(1), entry(2), entry(3), news(4), entry(5)], new)
    assert everything(mailbox) == [2, 3, 4, 5, 6]


def test_what_the_store_was_told_of_may_come_again_only_if_it_says_so(mailbox: Mailbox) -> None:
    """Until the store has answered, a look over a new link may still find what was taken."""
    mailbox.deliver(entry(1))
    first = mailbox.take(waiter())
    assert first is not None
    mailbox.mark(first)
    marks = mailbox.pop_marks()
    assert marks == [first]

    mailbox.restart()
    mailbox.merge([entry(1)], mailbox.hold())
    assert everything(mailbox) == []

    mailbox.confirm(marks)
    mailbox.restart()
    mailbox.merge([entry(1)], mailbox.hold())
    assert everything(mailbox) == [1]


@given(st.data())
def test_nothing_is_lost_doubled_or_swapped_however_copies_and_looks_interleave(data: st.DataObject) -> None:
    """A store of numbered signals, copies that come late but in order, gaps, looks in flight, and new links."""
    mailbox = opened(Server())
    stored: list[Entry] = []
    copies: list[Entry] = []
    looks: list[tuple[Any, list[Entry]]] = []
    got: list[int] = []
    for _ in range(data.draw(st.integers(1, 40), label="steps")):
        step = data.draw(st.sampled_from(["send", "send", "copy", "lose", "look", "merge", "take", "relink"]))
        if step == "send":
            make = data.draw(st.sampled_from([entry, news]))
            stored.append(make(len(stored) + 1))
            copies.append(stored[-1])
        elif step == "copy" and copies:
            mailbox.deliver(copies.pop(0))
        elif step == "lose" and copies:
            copies.clear()
            mailbox.lack()
        elif step == "look":
            looks.append(begin_look(mailbox, stored))
        elif step == "merge" and looks:
            horizon, found = looks.pop(0)
            mailbox.merge(found, horizon)
        elif step == "take" and (order := taken(mailbox)) is not None:
            got.append(order)
        elif step == "relink":
            copies.clear()
            mailbox.restart()
            looks = [begin_look(mailbox, stored)]
    for horizon, found in [*looks, begin_look(mailbox, stored)]:
        mailbox.merge(found, horizon)
    while (order := taken(mailbox)) is not None:
        got.append(order)

    assert got == list(range(1, len(stored) + 1))


def begin_look(mailbox: Mailbox, stored: list[Entry]) -> tuple[Any, list[Entry]]:
    """What a look that is sent now will find; nothing is marked in this store."""
    horizon = mailbox.hold()
    known = {True: horizon.broadcast, False: horizon.mail}
    return horizon, [each for each in stored if each.signal.order > known[each.at is None]]


# Putting back


def test_what_did_not_reach_the_user_is_there_again_in_its_place(mailbox: Mailbox) -> None:
    for order in (1, 2, 3):
        mailbox.deliver(entry(order))
    first = mailbox.take(waiter())
    assert first is not None

    mailbox.put_back(first)

    assert everything(mailbox) == [1, 2, 3]
    assert taken(mailbox, "go") == 1
    assert mailbox.pop_marks() == []


def test_what_is_put_back_goes_to_who_waits(mailbox: Mailbox) -> None:
    mailbox.deliver(entry(1))
    first, waiting = mailbox.take(waiter()), waiter()
    assert first is not None
    mailbox.wait(waiting)

    mailbox.put_back(first)

    assert waiting.value == first


def test_what_a_user_took_in_vain_is_redelivered_and_its_mark_withdrawn(mailbox: Mailbox) -> None:
    for order in (1, 2, 3):
        mailbox.deliver(entry(order))
    one, two = (mailbox.take(waiter()) for _ in range(2))
    assert one is not None
    assert two is not None
    for each in (one, two):
        mailbox.mark(each)

    mailbox.give_back([two.signal])

    assert orders(mailbox.pop_marks()) == [1]
    again = mailbox.take(waiter())
    assert again is not None
    assert (again.signal.order, again.signal.redelivered, again.at, again.size) == (2, True, two.at, two.size)
    mailbox.mark(again)
    assert orders(mailbox.pop_marks()) == [2]


def test_what_has_left_the_store_is_given_back_without_a_mark(mailbox: Mailbox, server: Server) -> None:
    mailbox.deliver(entry(1, expires_ms=5_000))
    first = mailbox.take(waiter())
    assert first is not None
    mailbox.mark(first)
    mailbox.confirm(mailbox.pop_marks())

    mailbox.give_back([first.signal])

    again = mailbox.take(waiter())
    assert again is not None
    assert (again.signal.redelivered, again.at) == (True, "")
    mailbox.mark(again)
    assert mailbox.pop_marks() == []
    mailbox.give_back([again.signal])
    server.ms = 5_000
    assert everything(mailbox) == []


def test_what_is_given_back_keeps_the_order(mailbox: Mailbox) -> None:
    for order, type_ in enumerate("abab", 1):
        mailbox.deliver(entry(order, type_))
    signals = [each.signal for each in (mailbox.take(waiter()) for _ in range(3)) if each is not None]

    mailbox.give_back(reversed(signals))

    assert [taken(mailbox, "a"), taken(mailbox), taken(mailbox), taken(mailbox)] == [1, 2, 3, 4]
