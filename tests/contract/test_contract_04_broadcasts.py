"""§5.4: a broadcast is seen exactly once by every agent of the namespace but its sender."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from peers import Peer, Peers
from proxy import Proxy

from attune_dsl.hub import keeper

if TYPE_CHECKING:
    from conftest import Store

WaitUntil = Callable[..., Any]


def payloads(peer: Peer) -> list[Any]:
    """Take everything that is there."""
    got = []
    while signal := peer.signals.check():
        got.append(signal.payload)
    return got


def test_everybody_but_the_sender_sees_it_once(peers: Peers) -> None:
    """§5.4: agents of the same process, and of two others."""
    sender = peers.join("sender")
    listeners = [peers.join(f"l{n}", url=peers.elsewhere() if n % 2 else None) for n in range(4)]

    sender.signals.broadcast("start", {"at": "now"})

    for listener in listeners:
        got = listener.signals.wait("start", source="sender", timeout=5)
        assert got
        assert (got.target, got.source, got.payload) == (None, "sender", {"at": "now"})
        assert payloads(listener) == []
    assert payloads(sender) == []


def test_who_joins_within_its_ttl_sees_it_too(peers: Peers) -> None:
    """§5.4: late joiners, in order with what comes after they joined."""
    sender = peers.join("sender")
    sender.signals.broadcast("all", 1)
    late = peers.join("late", url=peers.elsewhere())
    sender.signals.broadcast("all", 2)

    assert [signal.payload for signal in late.signals.collect("all", count=2, timeout=5)] == [1, 2]


def test_late_false_reaches_only_who_is_there(peers: Peers) -> None:
    """§5.4: whoever joins afterwards does not see it, not even as a new incarnation of who was there."""
    sender, there, leaver = peers.join("sender"), peers.join("there"), peers.join("leaver")
    away = peers.join("away", url=peers.elsewhere())

    sender.signals.broadcast("all", 1, late=False)

    leaver.leave()
    for peer in (peers.join("late"), peers.join("leaver"), peers.join("other", url=peers.elsewhere())):
        assert payloads(peer) == []
    assert [payloads(peer) for peer in (there, away)] == [[1], [1]]


def test_late_false_reaches_who_was_there_and_lost_the_link(peers: Peers, proxy: Proxy, wait_until: WaitUntil) -> None:
    """§5.4: a reconnect is no new incarnation."""
    sender, there = peers.join("sender"), peers.join("there", url=proxy.url)
    proxy.die()
    wait_until(lambda: not there.hub.link.up)

    sender.signals.broadcast("all", 1, late=False)
    proxy.revive()

    got = there.signals.wait("all", timeout=5)
    assert got
    assert got.payload == 1


def test_reading_never_deletes_it_for_others(store: Store, peers: Peers) -> None:
    """§5.4: it stays in the store for whoever joins later, after one has taken, cleared and left."""
    sender, first, second = peers.join("sender"), peers.join("first"), peers.join("second")
    sender.signals.broadcast("all", 1)
    assert payloads(first) == [1]
    assert second.signals.clear() == 1
    first.leave()

    assert store.redis.xlen(f"{store.prefix}broadcast") == 1
    assert payloads(peers.join("third")) == [1]


def test_who_has_taken_it_does_not_see_it_again_as_a_new_incarnation(peers: Peers) -> None:
    """§5.4: exactly once by every agent."""
    sender, first = peers.join("sender"), peers.join("worker")
    for n in range(4):
        sender.signals.broadcast("all", n)
    taken = [first.signals.wait("all", timeout=5) for _ in range(2)]
    assert [signal.payload for signal in taken if signal] == [0, 1]
    first.leave()

    assert payloads(peers.join("worker", url=peers.elsewhere())) == [2, 3]


def test_exactly_once_over_reconnects(
    peers: Peers, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    """§5.4: broadcasts that were taken and not yet marked, and ones sent while the link was down."""
    monkeypatch.setattr(keeper, "TICK", 3600.0)
    sender, receiver = peers.join("sender"), peers.join("receiver", url=proxy.url)
    sender.signals.broadcast("all", 0)
    sender.signals.broadcast("all", 1)
    first = receiver.signals.wait("all", timeout=5)
    proxy.die()
    wait_until(lambda: not receiver.hub.link.up)
    sender.signals.broadcast("all", 2)
    proxy.revive()

    rest = receiver.signals.collect("all", count=2, timeout=5)

    assert first
    assert [first.payload, *(signal.payload for signal in rest)] == [0, 1, 2]
    assert payloads(receiver) == []


def test_the_sender_does_not_see_it_after_a_rejoin_either(peers: Peers, proxy: Proxy, wait_until: WaitUntil) -> None:
    """§5.4: nor does its next incarnation."""
    sender = peers.join("sender", url=proxy.url)
    sender.signals.broadcast("all", 1)
    proxy.cut()
    wait_until(lambda: sender.hub.link.outages == 1 and sender.hub.link.up)
    assert payloads(sender) == []
    sender.leave()

    assert payloads(peers.join("sender")) == []


def test_two_who_broadcast_to_each_other(peers: Peers) -> None:
    """§5.4: while several agents send at once, everybody sees all of the others', in order per sender."""
    crowd = [peers.join(f"p{n}", url=peers.elsewhere() if n else None) for n in range(3)]

    def tell(peer: Peer) -> None:
        for n in range(20):
            peer.signals.broadcast("all", {"from": peer.id, "n": n})

    threads = [threading.Thread(target=tell, args=(peer,)) for peer in crowd]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for peer in crowd:
        got = peer.signals.collect("all", count=40, timeout=10)
        for other in {one.id for one in crowd} - {peer.id}:
            assert [s.payload["n"] for s in got if s.source == other] == list(range(20))
        assert payloads(peer) == []


def test_agents_without_coordination_have_no_mailbox(peers: Peers) -> None:
    """§3: a heartbeat alone takes part in nothing, and disturbs nobody."""
    mute, sender, receiver = peers.join("mute", coordination=None), peers.join("sender"), peers.join("receiver")

    sender.signals.broadcast("all", 1)
    sender.signals.send("job", "mute", 2)

    assert payloads(receiver) == [1]
    assert payloads(mute) == []
    assert mute.signals.send("job", "receiver") == ""
    assert mute.agent.degraded is False
