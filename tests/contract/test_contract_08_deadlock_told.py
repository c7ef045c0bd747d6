"""§5.8: which wait of a circle ends: the one that would be over first; and only while all are known to wait still."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from awaiting import Awaited
from blocking import alone, blocked, closing, deadlock_of, flush, known, people, record
from following import passed
from peers import Peers
from proxy import Proxy
from waiting import wait_until

from attune_dsl.model import Reason

if TYPE_CHECKING:
    from conftest import Store


@pytest.mark.parametrize(
    ("first", "second", "learns"),
    [
        (None, None, "second"),
        (None, 60, "second"),
        (60, None, "first"),
        (60, 60, "first"),
        (60, 90, "first"),
        (90, 60, "second"),
    ],
)
def test_who_would_give_up_first_learns_of_it(
    store: Store, peers: Peers, first: float | None, second: float | None, learns: str
) -> None:
    """§5.8: its wait is in vain; the others learn nothing and wait on."""
    a, b = people(peers, "a", "b")
    waiting = blocked(store, a, "b", "x", timeout=first)
    if learns == "second":
        assert closing(b, "a", "y", timeout=second)
        assert not waiting.is_over
        assert known(store) == {"a"}
        return
    other = Awaited(alone(b).wait, "y", source="a", timeout=second)
    assert deadlock_of(waiting.result()) == 'a waits for b: "x" → b waits for a: "y"'
    wait_until(lambda: known(store) == {"b"})
    assert not other.is_over
    a.signals.send("y", "b")
    assert other.result()


def test_who_learns_of_it_is_told_the_cycle_from_its_own_place(store: Store, peers: Peers) -> None:
    """§5.8: three agents of three processes; the one in the middle would give up first."""
    a, b, c = people(peers, "a", "b", "c")
    waits = [blocked(store, a, "b", "x", timeout=90), blocked(store, b, "c", "y", timeout=60)]
    waits.append(Awaited(alone(c).wait, "z", source="a", timeout=75))

    assert deadlock_of(waits[1].result()) == 'b waits for c: "y" → c waits for a: "z" → a waits for b: "x"'
    wait_until(lambda: known(store) == {"a", "c"})
    assert [wait.is_over for wait in waits] == [False, True, False]


@pytest.mark.parametrize("learns", ["first", "second"])
def test_who_told_of_its_wait_long_ago_is_asked_again(
    store: Store, peers: Peers, shrink: Callable[[str, int], None], learns: str
) -> None:
    """§5.8: its link may have broken since; who learns of the cycle is the same as without."""
    shrink("FRESH", 300)
    a, b = people(peers, "a", "b")
    waiting = blocked(store, a, "b", "x", timeout=60 if learns == "first" else None)
    wait_until(passed(0.4))

    other = Awaited(alone(b).wait, "y", source="a", timeout=None)

    told = waiting if learns == "first" else other
    assert deadlock_of(told.result()).startswith("a waits" if learns == "first" else "b waits")
    assert [waiting.is_over, other.is_over].count(True) == 1


@pytest.mark.parametrize("word", ["cycle", "confirm"])
def test_an_inbox_that_ran_over_hides_no_cycle(
    store: Store, peers: Peers, shrink: Callable[[str, int], None], word: str
) -> None:
    """§5.8, §5.12: a word that all has to be looked at anew stands in the place of what was told."""
    shrink("INBOX_COUNT", 3)
    if word == "confirm":
        shrink("FRESH", 300)
    a, b, other = people(peers, "a", "b", "other")
    waiting = blocked(store, a, "b", "x", timeout=60)
    if word == "confirm":
        wait_until(passed(0.4))
    inbox = f"{store.prefix}inbox:{a.hub.commands.link}"
    while store.redis.xlen(inbox) < 3:  # type: ignore[operator]
        other.signals.send("noise", "a")

    closing = Awaited(alone(b).wait, "y", source="a", timeout=None)

    assert deadlock_of(waiting.result()) == 'a waits for b: "x" → b waits for a: "y"'
    assert not closing.is_over


def test_who_does_not_answer_closes_no_cycle(
    store: Store, peers: Peers, proxy: Proxy, shrink: Callable[[str, int], None]
) -> None:
    """§5.8: it may have given up; the store does not know before it is back."""
    shrink("FRESH", 100)
    a, b = peers.join("a", url=proxy.url), peers.join("b", url=peers.elsewhere())
    waiting = blocked(store, a, "b", "x")
    proxy.die()
    assert waiting.result(10).reason is Reason.UNAVAILABLE
    blocked(store, b, "a", "y")
    flush(store, b)
    assert known(store) == {"a", "b"}
    inbox = f"{store.prefix}inbox:{a.member.owner.partition('@')[2]}"
    assert any(b"confirm" in fields for _, fields in store.redis.xrange(inbox))  # type: ignore[union-attr]
    proxy.revive()
    wait_until(lambda: known(store) == {"b"})


def test_what_is_about_to_end_does_not_count_as_blocked(store: Store, peers: Peers) -> None:
    """§5.8: its agent may know that its time is over earlier than the store."""
    a, b = people(peers, "a", "b")
    waiting = Awaited(alone(a).wait, "x", source="b", timeout=0.09)
    assert Awaited(alone(b).wait, "y", source="a", timeout=0.09).result().reason is Reason.TIMEOUT
    assert waiting.result().reason is Reason.TIMEOUT


@pytest.mark.parametrize(
    "change", [{"epoch": "0"}, {"wait": "0"}, {"cycle": "nobody"}, {"path": "{"}, {"path": '["a"]'}, {"epoch": "x"}]
)
def test_a_word_that_is_not_about_this_wait_ends_none(store: Store, peers: Peers, change: dict[str, str]) -> None:
    """§5.8, §5.12: it is late, or forged."""
    (a,) = people(peers, "a")
    waiting = blocked(store, a, "b", "x")
    held = record(store, "a")
    assert held is not None
    path = json.dumps(["a", "b", '["x"]', "b", "a", '["y"]'])
    word = {"cycle": "a", "epoch": held["epoch"], "wait": str(held["wait"]), "path": path}
    inbox = f"{store.prefix}inbox:{a.hub.commands.link}"
    store.redis.xadd(inbox, {**word, **change})  # type: ignore[arg-type]
    peers.join("ops", url=peers.elsewhere()).signals.send("other", "a")
    wait_until(lambda: a.member.mailbox.mail_order)
    assert not waiting.is_over
    store.redis.xadd(inbox, word)  # type: ignore[arg-type]
    assert deadlock_of(waiting.result()) == 'a waits for b: "x" → b waits for a: "y"'
