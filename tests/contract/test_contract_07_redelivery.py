"""§5.7: what was taken leaves the mailbox; what may have been taken in vain comes again, and says so."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from awaiting import Awaited
from peers import Peer, Peers
from proxy import Proxy
from waiting import wait_until

from attune_dsl.model import AgentStatus, Heartbeat, Signal
from attune_dsl.store import limits, scripts

if TYPE_CHECKING:
    from conftest import Store

    from attune_dsl.store.keys import Keys
    from attune_dsl.store.scripts import Command

PROGRAM = """
import os, signal, sys
from attune_dsl.hub import keeper
keeper.TICK = 3600.0                            # a mark travels with the next command, never by itself
from attune_dsl.coordination.join import join
with join("worker", sys.argv[1], sys.argv[2]) as me:
    for _ in range(2):
        assert me.signals.wait("job", timeout=10)
    {then}
    os.kill(os.getpid(), signal.SIGKILL)
"""


def run_and_kill(store: Store, then: str = "") -> None:
    """Let another process take two jobs as ``worker``, do ``then`` and be killed; free its lease."""
    program = PROGRAM.format(then=then)
    done = subprocess.run([sys.executable, "-c", program, store.address, store.namespace], check=False, timeout=30)
    assert done.returncode == -signal.SIGKILL
    (lease,) = store.redis.zrangebylex(f"{store.prefix}leases", "-", "+") or [b""]  # type: ignore[misc]
    assert lease.startswith(b"worker#")
    now = server_ms(store)
    store.redis.zadd(f"{store.prefix}leases", {lease: now})
    wait_until(lambda: server_ms(store) > now)


def server_ms(store: Store) -> int:
    seconds, microseconds = store.redis.time()  # type: ignore[misc]
    return int(seconds * 1000 + microseconds // 1000)


def give_jobs(peers: Peers, *payloads: Any) -> None:
    boss = peers.join("boss")
    for n, payload in enumerate(payloads):
        boss.signals.send("job", None if n % 2 else "worker", payload)
    boss.leave()


def found(peer: Peer) -> list[tuple[Any, bool]]:
    return [(signal.payload, signal.redelivered) for signal in peer.signals.pending()]


def marked(store: Store) -> tuple[int, int]:
    """How much the store still holds for ``worker``, and how many broadcasts it has marked as taken."""
    return store.redis.xlen(f"{store.prefix}mail:worker"), store.redis.zcard(f"{store.prefix}seen:worker")


def test_a_killed_process_leaves_what_it_took(store: Store, peers: Peers) -> None:
    """§5.7: nothing it did afterwards was visible, so the next incarnation gets it, marked as redelivered."""
    give_jobs(peers, 1, 2, 3)

    run_and_kill(store)
    peers.join("boss").signals.send("job", "worker", 4)

    assert found(peers.join("worker")) == [(1, True), (2, True), (3, True), (4, False)]


def test_what_a_visible_deed_followed_is_not_redelivered(store: Store, peers: Peers) -> None:
    """§5.7: the mark travels ahead of the agent's next command in the same write."""
    give_jobs(peers, 1, 2, 3)

    run_and_kill(store, then='me.signals.send("done", "boss", ttl=60)')

    assert found(peers.join("worker")) == [(3, True)]
    assert peers.join("boss").signals.check("done")


def test_a_clean_end_leaves_nothing_to_be_redelivered(store: Store, peers: Peers) -> None:
    """§5.7: what was taken is gone, what was not taken waits as new; the same after a failure."""
    for status in (AgentStatus.COMPLETED, AgentStatus.FAILED):
        give_jobs(peers, 1, 2, 3, 4)
        first = peers.join("worker")
        assert len(first.signals.collect("job", count=2, timeout=5)) == 2
        first.leave(status)

        second = peers.join("worker")
        assert found(second) == [(3, False), (4, False)]
        assert second.signals.clear() == 2
        second.leave()


def test_an_idle_agents_marks_are_sent_soon(store: Store, peers: Peers) -> None:
    """§5.7: without any further command."""
    give_jobs(peers, 1, 2)
    worker = peers.join("worker")

    assert len(worker.signals.collect("job", count=2, timeout=5)) == 2

    wait_until(lambda: marked(store) == (0, 1))


def test_no_send_overtakes_a_mark_over_a_new_link(
    store: Store, peers: Peers, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.7: what was taken while the store was away is told to it before what was sent then."""
    a, b = peers.join("a", url=proxy.url), peers.join("b", url=peers.elsewhere())
    b.signals.send("x", "a")
    wait_until(lambda: a.signals.peek("x"))
    written: list[str] = []

    def note(name: str, original: Callable[..., Command]) -> None:
        def noted(keys: Keys, agent_id: str, *args: Any, **how: Any) -> Command:
            written.extend([name] * (agent_id == "a"))
            return original(keys, agent_id, *args, **how)

        monkeypatch.setattr(scripts, name, noted)

    note("record", scripts.record)
    note("send", scripts.send)

    proxy.die()
    wait_until(lambda: not a.hub.link.up)
    assert a.signals.check("x")
    sending = Awaited(a.signals.send, "y", "b")
    wait_until(lambda: a.hub.commands._unanswered)
    proxy.revive()

    assert sending.result()
    assert written[:2] == ["record", "send"]


def test_a_takeover_redelivers(store: Store, peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    """§5.7: the old owner was alive until now, and may have taken anything."""
    monkeypatch.setattr("attune_dsl.hub.keeper.TICK", 3600.0)
    give_jobs(peers, 1)
    old = peers.join("worker")
    assert old.signals.wait("job", timeout=5)

    new = peers.join("worker", url=peers.elsewhere(), takeover=True)

    assert found(new) == [(1, True)]


def test_a_lease_that_lapsed_long_ago_does_not_mark_later_mail(store: Store, peers: Peers) -> None:
    """§5.7: what was sent after the last proof of life cannot have been taken."""
    worker = peers.join("worker", heartbeat=Heartbeat(interval=60, ttl=60))
    store.redis.zadd(f"{store.prefix}leases", {f"worker#{worker.member.epoch}": 1})
    give_jobs(peers, 1)

    assert found(peers.join("worker", url=peers.elsewhere())) == [(1, False)]


def test_what_a_failed_attempt_took_is_given_to_the_next(store: Store, peers: Peers) -> None:
    """§5.7: in its order, before what came later, marked as redelivered."""
    give_jobs(peers, 1, 2, 3, 4)
    worker = peers.join("worker")
    taken: list[Signal] = []
    signals = worker.taking(taken)
    assert [signals.wait("job", timeout=5), signals.check("job")].count(None) == 0
    assert len(signals.collect("job", count=1, timeout=5)) == 1

    worker.agent.give_back(taken)

    again: list[Signal] = []
    got = worker.taking(again).collect("job", count=4, timeout=5)
    assert [(s.payload, s.redelivered) for s in got] == [(1, True), (2, True), (3, True), (4, False)]
    assert [s.payload for s in taken] == [1, 2, 3]
    assert again == list(got)
    assert worker.signals.pending() == []


def test_giving_back_wakes_who_waits(peers: Peers) -> None:
    """§5.7: another thread of the agent may want it."""
    give_jobs(peers, 1)
    worker = peers.join("worker")
    taken: list[Signal] = []
    assert worker.taking(taken).wait("job", timeout=5)

    worker.agent.give_back(taken)

    again = worker.signals.wait("job", timeout=5)
    assert again
    assert again.redelivered is True


def test_what_was_given_back_before_its_mark_was_sent_survives_a_kill(
    store: Store, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.7: the mark is withdrawn: the store still has it."""
    monkeypatch.setattr("attune_dsl.hub.keeper.TICK", 3600.0)
    give_jobs(peers, 1, 2)
    worker = peers.join("worker")
    taken: list[Signal] = []
    assert len(worker.taking(taken).collect("job", count=2, timeout=5)) == 2

    worker.agent.give_back(taken)
    worker.signals.send("progress", "boss")

    assert marked(store) == (1, 0)
    assert found(worker) == [(1, True), (2, True)]
    assert len(worker.signals.collect("job", count=2, timeout=5)) == 2
    worker.leave()
    assert marked(store) == (0, 1)


def test_what_was_given_back_is_delivered_once_over_a_reconnect(peers: Peers, proxy: Proxy) -> None:
    """§5.7 and §5.2: the store has it or has it not any more; the agent has it once."""
    give_jobs(peers, 1, 2)
    worker = peers.join("worker", url=proxy.url)
    taken: list[Signal] = []
    assert len(worker.taking(taken).collect("job", count=2, timeout=5)) == 2
    wait_until(lambda: marked(peers.store) == (0, 1))
    worker.agent.give_back(taken[:1])
    worker.agent.give_back(taken[1:])

    proxy.cut()
    wait_until(lambda: worker.hub.link.outages == 1 and worker.hub.link.up)

    assert found(worker) == [(1, True), (2, True)]


def test_bytes_of_the_mailbox_are_counted_down(store: Store, peers: Peers) -> None:
    """§5.12: what was taken makes room."""
    boss, worker = peers.join("boss"), peers.join("worker")
    for n in range(3):
        boss.signals.send("job", "worker", "x" * (limits.INLINE_BYTES * n))

    assert len(worker.signals.collect("job", count=3, timeout=5)) == 3

    wait_until(lambda: store.redis.hget(f"{store.prefix}mail-info:worker", "bytes") == b"0")
