"""§5.3: a signal waits for a receiver that does not exist yet, until its TTL ends; an expired one is not delivered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from peers import Peers
from proxy import Proxy

from attune_dsl.model import Coordination

if TYPE_CHECKING:
    from conftest import Store

WaitUntil = Callable[..., Any]


@pytest.fixture
def until_expired(store: Store, wait_until: WaitUntil) -> Callable[[float], None]:
    """Wait until the server's clock has passed a time (seconds since the epoch)."""

    def wait(expires_at: float) -> None:
        def passed() -> bool:
            seconds, microseconds = store.redis.time()  # type: ignore[misc]
            return seconds + microseconds / 1e6 > expires_at

        wait_until(passed)

    return wait


def server_time(store: Store) -> float:
    seconds, microseconds = store.redis.time()  # type: ignore[misc]
    return float(seconds + microseconds / 1e6)


def test_a_signal_waits_for_a_receiver_that_does_not_exist_yet(store: Store, peers: Peers) -> None:
    """§5.3: sent first, received by an agent that joins later, with everything that was sent."""
    before = server_time(store)
    sent = peers.join("sender").signals.send("job", "worker", {"a": [1, None, "ä"]}, ttl=30)

    got = peers.join("worker", url=peers.elsewhere()).signals.wait("job", timeout=5)

    assert got
    assert (got.id, got.type, got.source, got.target) == (sent, "job", "sender", "worker")
    assert got.payload == {"a": [1, None, "ä"]}
    assert before - 0.01 <= got.sent_at <= server_time(store)
    assert got.expires_at - got.sent_at == pytest.approx(30)
    assert got.redelivered is False


def test_a_signal_waits_when_its_sender_has_ended(peers: Peers) -> None:
    """§5.3: what was sent stays sent."""
    sender = peers.join("sender")
    sender.signals.send("job", "worker")
    sender.leave()

    assert peers.join("worker").signals.check("job")


def test_a_signal_waits_through_its_receivers_absence(peers: Peers) -> None:
    """§5.3: sent between two incarnations, received by the second one, as new."""
    sender, first = peers.join("sender"), peers.join("worker")
    first.leave()
    sender.signals.send("job", "worker")

    got = peers.join("worker").signals.check("job")

    assert got
    assert got.redelivered is False


def test_the_policy_names_the_ttl_where_the_send_does_not(peers: Peers) -> None:
    """§5.3, §3: ``Coordination(ttl=...)`` is the default of every send."""
    sender, receiver = peers.join("sender", coordination=Coordination(ttl=7)), peers.join("receiver")
    sender.signals.send("job", "receiver")
    sender.signals.broadcast("all")

    got = receiver.signals.collect(count=2, timeout=5)

    assert [round(signal.expires_at - signal.sent_at, 3) for signal in got] == [7, 7]


@pytest.mark.parametrize("target", ["late", None])
def test_an_expired_signal_does_not_reach_a_late_joiner(
    peers: Peers, until_expired: Callable[[float], None], store: Store, target: str | None
) -> None:
    """§5.3: it may still lie in the store, where nobody has purged it."""
    sender = peers.join("sender")
    sender.signals.send("old", target, ttl=0.03)
    sender.signals.send("new", target, ttl=30)
    until_expired(server_time(store) + 0.03)

    late = peers.join("late")

    assert [signal.type for signal in late.signals.pending()] == ["new"]
    assert late.signals.check("old") is None
    assert not late.signals.wait("old", timeout=0)


@pytest.mark.parametrize("target", ["receiver", None])
def test_an_expired_signal_is_not_taken_from_the_process_own_copy(
    peers: Peers, until_expired: Callable[[float], None], wait_until: WaitUntil, target: str | None
) -> None:
    """§5.3: received in time, not asked for in time."""
    sender, receiver = peers.join("sender"), peers.join("receiver")
    sender.signals.send("old", target, ttl=0.2)
    got = wait_until(lambda: receiver.signals.peek("old"))
    until_expired(got.expires_at)

    assert receiver.signals.check("old") is None
    assert receiver.signals.pending() == []
    assert receiver.signals.clear() == 0


@pytest.mark.parametrize("target", ["receiver", None])
def test_an_expired_signal_is_not_given_to_who_waits_while_the_link_is_mended(
    peers: Peers, proxy: Proxy, until_expired: Callable[[float], None], wait_until: WaitUntil, target: str | None
) -> None:
    """§5.3: sent and expired during an outage; the wait that went on gets the next one."""
    sender, receiver = peers.join("sender"), peers.join("receiver", url=proxy.url)
    proxy.die()
    wait_until(lambda: not receiver.hub.link.up)
    sender.signals.send("job", target, "old", ttl=0.03)
    sender.signals.send("job", target, "new", ttl=30)
    until_expired(server_time(peers.store) + 0.03)
    proxy.revive()

    got = receiver.signals.wait("job", timeout=5)

    assert got
    assert got.payload == "new"


def test_expired_signals_make_room_and_others_stay(
    store: Store, peers: Peers, until_expired: Callable[[float], None]
) -> None:
    """§5.3: the purge removes what has expired, wherever it lies in the mailbox, and nothing else."""
    sender = peers.join("sender")
    for n in range(7):
        sender.signals.send("job", "worker", {"n": n}, ttl=0.03 if n in (2, 4) else 30)
    until_expired(server_time(store) + 0.03)

    sender.signals.send("job", "worker", {"n": 7})

    assert store.redis.xlen(f"{store.prefix}mail:worker") == 6
    got = peers.join("worker").signals.pending("job")
    assert [signal.payload["n"] for signal in got] == [0, 1, 3, 5, 6, 7]


def test_what_nobody_asks_for_does_not_pile_up_in_the_process(
    peers: Peers, until_expired: Callable[[float], None], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.12: expired signals of a type that the agent never takes are forgotten."""
    monkeypatch.setattr("attune_dsl.hub.mailbox._SWEEP", 10)
    sender, receiver = peers.join("sender"), peers.join("receiver")
    for n in range(12):
        sender.signals.broadcast("noise", n, ttl=0.02)
        if n == 8:
            until_expired(server_time(store) + 0.02)
    receiver.signals.check("other")

    held = [entry for shelf in receiver.member.mailbox._by_type.values() for entry in shelf]
    assert len(held) <= 3
