"""§5.8, §5.11: barriers over links that break, lost replies, full inboxes, hostile data, and without a store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from awaiting import Awaited
from meeting import broken, knows, meet, standing, stands
from peers import Peer, Peers, until
from proxy import Proxy
from waiting import wait_until

from attune_dsl.hub.barriers import Barriers
from attune_dsl.model import Reason, Released

if TYPE_CHECKING:
    from conftest import Store

Shrink = Callable[[str, int], None]
PATIENT = float("inf")


@pytest.fixture
def far(peers: Peers, proxy: Proxy) -> Peer:
    """One whose link may break."""
    far = peers.join("far", url=proxy.url)
    far.hub.link.patience = lambda: PATIENT  # type: ignore[method-assign]
    return far


@pytest.fixture
def near(peers: Peers) -> Peer:
    """One whose link does not."""
    return peers.join("near", url=peers.elsewhere())


# Links that break


@pytest.mark.parametrize("how", ["released", "broken", "still there"])
def test_what_happened_while_the_link_was_away_is_learnt(proxy: Proxy, far: Peer, near: Peer, how: str) -> None:
    """§5.8: as soon as it is back, though nobody tells it again; and nothing is learnt that did not happen."""
    waiting, link = stands(far), far.hub.commands.link

    proxy.die()
    wait_until(lambda: not far.hub.link.up)
    if how == "released":
        released = near.signals.barrier("gate", 2)
    elif how == "broken":
        assert near.signals.barrier("gate", 2)
        assert not near.signals.barrier("gate", 2, timeout=0)
        released = Released(generation=1, agents=("far", "near"))
    proxy.revive()
    wait_until(lambda: far.hub.link.up and far.hub.commands.link != link)
    if how == "still there":
        wait_until(lambda: not far.hub.commands._unanswered)
        assert not waiting.is_over
        released = near.signals.barrier("gate", 2)

    assert waiting.result() == released


def test_the_others_may_have_run_far_ahead(proxy: Proxy, far: Peer, near: Peer, peers: Peers) -> None:
    """§5.8: an agent learns of the generation in which it stood, and not of the last one."""
    other = peers.join("other", url=peers.elsewhere())
    waiting = stands(far)

    proxy.die()
    first = near.signals.barrier("gate", 2)
    for _ in range(5):
        meet(near, other)
    broken(near.signals.barrier("gate", 2, timeout=0), Reason.TIMEOUT, "near")
    proxy.revive()

    assert waiting.result() == first == Released(generation=1, agents=("far", "near"))


@pytest.mark.parametrize("how", ["released", "broken", "waiting"])
def test_an_arrival_whose_reply_is_lost_counts_once(proxy: Proxy, far: Peer, near: Peer, how: str) -> None:
    """§5.8: it is sent again over the next link; whatever came of it meanwhile is what it learns."""
    proxy.swallow(b"gate")
    proxy._dead = True
    waiting = Awaited(far.signals.barrier, "gate", 2, timeout=None)
    wait_until(lambda: proxy.swallowed)

    if how == "released":
        found = near.signals.barrier("gate", 2)
    elif how == "broken":
        with pytest.raises(Exception, match="wait for 2 parties, not for 3"):
            near.signals.barrier("gate", 3)
        near.signals.abort("enough", "far")
    proxy.revive()
    if how == "waiting":
        wait_until(lambda: knows(far))
        found = near.signals.barrier("gate", 2)

    if how == "broken":
        broken(waiting, Reason.ABORTED, "far")
    else:
        assert waiting.result() == found == Released(generation=1, agents=("far", "near"))


def test_a_departure_whose_reply_is_lost_breaks_once(proxy: Proxy, far: Peer, near: Peer, peers: Peers) -> None:
    """§5.8: it is sent again; the next generation is not touched."""
    other = peers.join("other", url=peers.elsewhere())
    waiting = stands(near, 3)
    task = Awaited(far.signals.barrier, "gate", 3, timeout=0.5)
    wait_until(lambda: knows(far))
    proxy.swallow(b"waited 0.5 s")
    proxy._dead = True
    wait_until(lambda: proxy.swallowed)

    broken(waiting, Reason.TIMEOUT, "far")
    waiting = stands(near, 2)
    proxy.revive()

    broken(task, Reason.TIMEOUT, "far")
    wait_until(lambda: not far.hub.commands._unanswered)
    assert not waiting.is_over
    broken(other.signals.barrier("gate", 2), Reason.TIMEOUT, "far")
    assert other.signals.barrier("gate", 2) == waiting.result()


def test_a_link_that_is_away_for_longer_than_the_grace_time(
    store: Store, peers: Peers, proxy: Proxy, near: Peer, short_grace: float
) -> None:
    """§5.8, §5.11: it waits no longer, and says why; the others learn by whom it broke as soon as they can be told."""
    far = peers.join("far", url=proxy.url)
    assert meet(near, far) == 1
    waiting, own = stands(near, 3), stands(far, 3)

    proxy.die()
    assert "cannot be reached" in broken(own, Reason.UNAVAILABLE, None)
    assert not waiting.is_over
    proxy.revive()

    detail = broken(waiting, Reason.UNAVAILABLE, "far")
    assert detail == "agent 'far' does not wait any more: its link to the store broke"
    wait_until(lambda: far.hub.link.up)
    assert meet(far, near) == 3
    assert standing(store) == set()


def test_one_that_could_not_arrive_is_not_waited_for(
    peers: Peers, proxy: Proxy, near: Peer, short_grace: float
) -> None:
    """§5.8: its arrival was stored and never confirmed, so it goes on as unavailable, and the others learn."""
    far = peers.join("far", url=proxy.url)
    proxy.swallow(b"gate")
    proxy._dead = True

    assert "cannot be reached" in broken(far.signals.barrier("gate", 3), Reason.UNAVAILABLE, None)
    waiting = stands(near, 3)
    proxy.revive()

    detail = broken(waiting, Reason.UNAVAILABLE, "far")
    why = {"the store did not confirm its arrival", "its link to the store broke"}  # whichever it notices first
    assert detail in {f"agent 'far' does not wait any more: {each}" for each in why}


def test_without_a_store_it_breaks_at_once(peers: Peers, proxy: Proxy, short_grace: float) -> None:
    """§5.11: nothing raises, and nobody waits."""
    proxy.die()
    lone = peers.join("lone", url=proxy.url)

    for parties in (1, 2, ["lone", "near"]):
        found = Awaited(lone.signals.barrier, "gate", parties, timeout=None)
        assert "cannot be reached" in broken(found, Reason.UNAVAILABLE, None)
    proxy.revive()
    wait_until(lambda: lone.hub.link.up and lone.member.epoch)
    assert meet(lone) == 1


def test_nothing_piles_up_while_the_store_is_away(peers: Peers, proxy: Proxy, near: Peer, short_grace: float) -> None:
    """§5.11, §5.12: however often an agent comes; the others are told once."""
    far = peers.join("far", url=proxy.url)
    waits = [stands(near, 3), stands(far, 3)]
    proxy.die()
    broken(waits[1], Reason.UNAVAILABLE, None)

    for _ in range(50):
        broken(far.signals.barrier("gate", 3), Reason.UNAVAILABLE, None)

    assert len(far.hub.commands._unanswered) <= 10
    proxy.revive()
    detail = broken(waits[0], Reason.UNAVAILABLE, "far")
    assert detail == "agent 'far' does not wait any more: its link to the store broke"
    wait_until(lambda: far.hub.link.up)
    assert meet(far, near) == 2


def test_one_that_comes_again_before_its_departure_is_confirmed(proxy: Proxy, far: Peer, near: Peer) -> None:
    """§5.8: it is not told, as a latecomer, of the break that it was itself, also if another link breaks meanwhile."""
    waiting = stands(far)
    proxy.die()
    wait_until(lambda: not far.hub.link.up)
    far.hub.end_waits()
    broken(waiting, Reason.UNAVAILABLE, None)
    again = Awaited(far.signals.barrier, "gate", 2, timeout=None)
    (departure,) = far.hub.barriers._departures.values()
    wait_until(lambda: departure.wake is not None)

    far.hub.commands.drop_fleeting()

    proxy.revive()
    wait_until(lambda: knows(far))

    broken(near.signals.barrier("gate", 2), Reason.UNAVAILABLE, "far")
    assert near.signals.barrier("gate", 2) == again.result() == Released(generation=2, agents=("far", "near"))


async def test_a_task_whose_link_broke_learns_too(peers: Peers, proxy: Proxy) -> None:
    """§5.8: the loop reads the new socket."""
    far, near = await peers.ajoin("far", url=proxy.url), await peers.ajoin("near", url=peers.elsewhere())
    far.hub.link.patience = lambda: PATIENT  # type: ignore[method-assign]
    task = asyncio.create_task(far.async_signals.barrier("gate", 2, timeout=None))
    await until(lambda: knows(far))

    proxy.die()
    released = await near.async_signals.barrier("gate", 2)
    proxy.revive()

    async with asyncio.timeout(5):
        assert await task == released
    await near.aleave()
    await far.aleave()


# What is told in another order, or not at all


def test_a_release_that_is_told_before_the_arrival_is_confirmed_counts(
    store: Store, far: Peer, near: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.8: they come over two connections, which two threads may read."""
    told, learn = threading.Event(), Barriers._learn
    tell = Barriers.told

    def slow(self: Barriers, member: Any, stand: Any, reply: Any) -> None:
        if member.agent_id == "far":  # on whichever thread that is: the inbox may have no other to read it
            wait_until(lambda: far.hub.reader.pump.pump() or told.is_set())
        learn(self, member, stand, reply)

    def fast(self: Barriers, fields: dict[bytes, bytes]) -> None:
        tell(self, fields)
        if fields[b"of"] == b"far":
            told.set()

    monkeypatch.setattr(Barriers, "_learn", slow)
    monkeypatch.setattr(Barriers, "told", fast)
    waiting = Awaited(far.signals.barrier, "gate", 2, timeout=None)
    wait_until(lambda: standing(store) == {"far"})

    released = Awaited(near.signals.barrier, "gate", 2, timeout=None)

    assert waiting.result() == released.result()


def test_one_that_was_asked_to_stop_and_released_all_the_same_has_not_heeded(
    far: Peer, near: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.8, §5.9: the last one came just before it could say that it leaves; no wait of it has ended by the abort."""
    departure = Barriers.departure

    def late(self: Barriers, *args: Any, **how: Any) -> Any:
        assert near.signals.barrier("gate", 2)
        return departure(self, *args, **how)

    waiting = stands(far)
    monkeypatch.setattr(Barriers, "departure", late)
    near.signals.abort("enough", "far")

    assert waiting.result() == Released(generation=1, agents=("far", "near"))
    assert (far.agent.aborted, far.agent.has_heeded) == ("enough (asked by near)", False)


def test_an_inbox_that_ran_over_hides_nothing(store: Store, peers: Peers, shrink: Shrink) -> None:
    """§5.8: a word that all has to be looked at anew stands in the place of what was told."""
    shrink("INBOX_COUNT", 3)
    me, other = peers.join("me", url=peers.elsewhere()), peers.join("other", url=peers.elsewhere())
    waiting = stands(me)
    inbox = f"{store.prefix}inbox:{me.hub.commands.link}"

    while store.redis.xlen(inbox) < 3:  # type: ignore[operator]
        other.signals.send("noise", "me")

    assert other.signals.barrier("gate", 2) == waiting.result()
    assert any(b"resync" in fields for _, fields in store.redis.xrange(inbox))  # type: ignore[union-attr]


# Hostile data


@pytest.mark.parametrize(
    "fields",
    [
        {"outcome": "open"},
        {"outcome": "broken\nboredom\nnear\n"},
        {"outcome": b"\xff"},
        {"order": "9" * 5000},
        {"generation": "one"},
        {"generation": ""},
    ],
)
def test_a_malformed_notice_is_skipped_alone(store: Store, far: Peer, near: Peer, fields: dict[str, Any]) -> None:
    """§5.12: counted; the wait goes on, and ends with the true one."""
    waiting = stands(far)
    entry = {"barrier": "gate", "of": "far", "generation": 1, "order": 1}
    inbox = f"{store.prefix}inbox:{far.hub.commands.link}"

    store.redis.xadd(inbox, {**entry, "outcome": "released\nfar", **fields})
    store.redis.xadd(inbox, {"barrier": "gate"})

    wait_until(lambda: far.hub.entries.skipped == 2)
    assert (waiting.is_over, far.hub.link.outages) == (False, 0)
    assert near.signals.barrier("gate", 2) == waiting.result()


def test_what_is_meant_for_others_ends_no_wait(store: Store, far: Peer, near: Peer) -> None:
    """§5.12: of another generation, barrier or agent."""
    waiting = stands(far)
    entry = {"barrier": "gate", "of": "far", "generation": 1, "order": 1}
    inbox = f"{store.prefix}inbox:{far.hub.commands.link}"

    for fields in ({"generation": 2}, {"generation": 0}, {"barrier": "door"}, {"of": "near"}, {"of": "nobody"}):
        store.redis.xadd(inbox, {**entry, "outcome": "released\nfar", **fields})
    last = store.redis.xadd(inbox, {"nudge": "1"})

    wait_until(lambda: far.hub.reader.read_up_to == last.decode())
    assert not waiting.is_over
    assert near.signals.barrier("gate", 2) == waiting.result()


def test_what_stands_in_the_place_of_a_barrier_breaks_no_link(store: Store, far: Peer, near: Peer) -> None:
    """§5.12: that barrier is of no use to anybody, and says so at once; others are."""
    store.redis.set(f"{store.prefix}barrier:gate", "hostile", ex=60)

    for peer in (far, near):
        assert not peer.signals.barrier("gate", 2, timeout=None)
        assert peer.hub.link.outages == 0

    assert meet(far, near, name="door") == 1


def test_who_is_stopped_by_its_own_process_while_the_store_is_away_goes_on_at_once(
    proxy: Proxy, far: Peer, near: Peer
) -> None:
    """§5.9, §5.11: the others learn of it when the store can be told."""
    waits = [stands(near, 3), stands(far, 3)]
    proxy.die()
    wait_until(lambda: not far.hub.link.up)

    far.agent.halt("enough", is_abort=True)

    assert waits[1].result().reason is Reason.ABORTED
    proxy.revive()
    how = waits[0].result(20)
    assert (how.reason, how.by, how.detail) == (Reason.ABORTED, "far", "enough")


def test_who_is_stopped_before_its_arrival_is_confirmed_goes_on_at_once(proxy: Proxy, far: Peer, near: Peer) -> None:
    """§5.9, §5.11: as aborted, which the others learn when the store can be told."""
    proxy.swallow(b"gate")
    proxy._dead = True
    coming = Awaited(far.signals.barrier, "gate", 3, timeout=None)
    wait_until(lambda: proxy.swallowed and not far.hub.link.up)
    waiting = stands(near, 3)

    far.agent.halt("enough", is_abort=True)

    assert coming.result().reason is Reason.ABORTED
    assert far.agent.has_heeded
    proxy.revive()
    how = waiting.result(20)
    assert (how.reason, how.by, how.detail) == (Reason.ABORTED, "far", "enough")


def test_a_store_that_refuses_is_not_said_to_be_away(store: Store, far: Peer) -> None:
    """§5.11: it was reached, and did not confirm."""
    store.redis.set(f"{store.prefix}barrier:gate", "hostile", ex=60)

    detail = broken(far.signals.barrier("gate", 2), Reason.UNAVAILABLE, None)

    assert detail == f"the store {far.hub.server.label} did not confirm it"
