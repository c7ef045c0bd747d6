"""§5.11: without a store nothing raises; when it comes back, the hub rejoins by itself."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from peers import Peer, Peers
from proxy import Proxy

from attune_dsl import clock
from attune_dsl.coordination.agent import AgentInfo, enter
from attune_dsl.coordination.join import join
from attune_dsl.exceptions import StoreUnavailable
from attune_dsl.hub.connector import Connector
from attune_dsl.hub.drive import drive
from attune_dsl.hub.link import GRACE
from attune_dsl.model import AgentStatus, Coordination, Heartbeat, NoSignal, Reason
from attune_dsl.store import launcher
from attune_dsl.store.statedir import StateDir

if TYPE_CHECKING:
    from conftest import Store

WaitUntil = Callable[..., Any]
QUICK = Heartbeat(interval=0.03, ttl=30)


@pytest.fixture
def dead_url() -> Iterator[str]:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"redis://127.0.0.1:{port}"


def in_thread(function: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def lease(store: Store, peer: Peer) -> float:
    score: Any = store.redis.zscore(f"{store.prefix}leases", f"{peer.id}#{peer.member.epoch}")
    return float(score or 0)


def test_without_a_store_every_call_returns_at_once(dead_url: str) -> None:
    """§5.11: nothing raises, nothing waits for its timeout."""
    began = clock.monotonic()
    with join("me", dead_url, "ns") as me:
        signals = me.signals
        assert signals.send("a", "b") == ""
        assert signals.broadcast("a") == ""
        got = signals.wait("a", timeout=60)
        assert isinstance(got, NoSignal)
        assert got.reason is Reason.UNAVAILABLE
        assert dead_url in got.detail
        assert isinstance(signals.wait("a", timeout=None), NoSignal)
        assert signals.check("a") is None
        assert signals.peek() is None
        assert signals.pending() == []
        assert signals.clear() == 0
        missing = signals.collect("a", sources=["x"], timeout=None)
        assert (missing.reason, missing.missing, missing.detail) == (Reason.UNAVAILABLE, ("x",), got.detail)
        assert list(signals.listen(timeout=60)) == []
        assert me.degraded is True

    assert clock.monotonic() - began < 2


async def test_without_a_store_every_awaited_call_returns_at_once(dead_url: str) -> None:
    """§5.11: the same, awaited."""
    began = clock.monotonic()
    async with join("me", dead_url, "ns") as me:
        assert await me.signals.send("a", "b") == ""
        assert isinstance(await me.signals.wait("a", timeout=None), NoSignal)
        assert await me.signals.check("a") is None
        assert [s async for s in me.signals.listen()] == []
        assert me.degraded is True

    assert clock.monotonic() - began < 2


def test_sends_without_a_store_do_not_pile_up(dead_url: str) -> None:
    """§5.12: what is buffered is bounded."""
    with join("me", dead_url, "ns") as me:
        for n in range(300):
            assert me.signals.send("a", "b", n) == ""
        assert len(me._agent._hub.commands._unanswered) < 10  # type: ignore[union-attr]


def test_sends_during_an_outage_do_not_pile_up(
    peers: Peers, proxy: Proxy, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.12: also behind a mark that waits for the store."""
    monkeypatch.setattr("attune_dsl.hub.keeper.TICK", 3600.0)
    me = peers.join("me", url=proxy.url)
    me.signals.send("job", "me")
    assert me.signals.wait("job", timeout=5)
    monkeypatch.setattr("attune_dsl.hub.link.GRACE", 0.02)
    proxy.stall()
    assert me.signals.send("a", "b") == ""  # the mark went ahead of it and is kept
    proxy.die()
    wait_until(lambda: not me.hub.link.up)
    for _ in range(100):
        assert me.signals.send("a", "b") == ""

    assert len(me.hub.commands._unanswered) < 10


def test_required_coordination_refuses_to_start(dead_url: str) -> None:
    """§5.11: ``Coordination(required=True)`` raises instead of running degraded, and leaves nothing behind."""
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        drive(
            enter(
                "me",
                store=dead_url,
                namespace="ns",
                heartbeat=None,
                coordination=Coordination(required=True),
                info=AgentInfo(),
            )
        )


def test_required_coordination_starts_with_a_store(peers: Peers) -> None:
    """§5.11: and is no different then."""
    me = peers.join("me", coordination=Coordination(required=True))

    assert me.signals.send("a", "me") != ""


def test_a_wait_ends_after_the_grace_time_when_the_store_dies(
    peers: Peers, proxy: Proxy, short_grace: float, wait_until: WaitUntil
) -> None:
    """§5.11: the one that reads, one that sleeps, and one without a timeout."""
    me = peers.join("me", url=proxy.url)
    got: list[Any] = []
    threads = [in_thread(lambda t=timeout: got.append(me.signals.wait("a", timeout=t))) for timeout in (60, 60, None)]
    wait_until(lambda: len(me.member.mailbox._waiters) == 3)
    began = clock.monotonic()
    proxy.die()
    for thread in threads:
        thread.join()

    assert short_grace <= clock.monotonic() - began < short_grace + 1
    assert [nothing.reason for nothing in got] == [Reason.UNAVAILABLE] * 3
    assert "cannot be reached" in got[0].detail
    assert me.signals.wait("a", timeout=60) == got[0]
    assert me.agent.degraded is True


async def test_an_awaited_wait_ends_after_the_grace_time_when_the_store_dies(
    peers: Peers, proxy: Proxy, short_grace: float
) -> None:
    """§5.11: the same, awaited."""
    me = await peers.ajoin("me", url=proxy.url)
    await me.async_signals.wait("a", timeout=0)
    proxy.die()
    began = clock.monotonic()

    got = await me.async_signals.wait("a", timeout=None)

    assert clock.monotonic() - began < short_grace + 1
    assert isinstance(got, NoSignal)
    assert got.reason is Reason.UNAVAILABLE
    await me.aleave()


def test_a_wait_goes_on_when_the_link_is_back_within_the_grace_time(
    peers: Peers, proxy: Proxy, wait_until: WaitUntil
) -> None:
    """§5.11: and gets what was sent meanwhile, and what is sent afterwards."""
    me, other = peers.join("me", url=proxy.url), peers.join("other")
    got: list[Any] = []
    threads = [in_thread(lambda t=type_: got.append(me.signals.wait(t, timeout=10))) for type_ in ("a", "b")]
    wait_until(lambda: len(me.member.mailbox._waiters) == 2)
    proxy.die()
    wait_until(lambda: not me.hub.link.up)
    other.signals.send("a", "me")
    proxy.revive()
    wait_until(lambda: me.hub.link.up)
    other.signals.send("b", "me")
    for thread in threads:
        thread.join()

    assert sorted(signal.type for signal in got) == ["a", "b"]
    assert me.agent.degraded is True
    assert other.agent.degraded is False


def test_a_send_goes_on_when_the_link_is_back_within_the_grace_time(
    peers: Peers, proxy: Proxy, wait_until: WaitUntil
) -> None:
    """§5.11: it is confirmed, not given up."""
    me, other = peers.join("me", url=proxy.url), peers.join("other")
    proxy.die()
    wait_until(lambda: not me.hub.link.up)
    sent: list[str] = []
    thread = in_thread(lambda: sent.append(me.signals.send("a", "other")))
    wait_until(lambda: me.hub.commands._unanswered)
    proxy.revive()
    thread.join()

    got = other.signals.wait("a", timeout=5)
    assert got
    assert [got.id] == sent


def test_a_busy_hub_reconnects_at_once(peers: Peers, proxy: Proxy, wait_until: WaitUntil) -> None:
    """§5.11: the hub's thread never waits for the answer to what went down with the link."""
    me, other = peers.join("me", url=proxy.url, heartbeat=QUICK), peers.join("other")
    for n in range(5):
        other.signals.send("a", "me", n)
        assert me.signals.wait("a", timeout=5)
        me.agent.touch(f"stage {n}", n / 5)
        outages = me.hub.link.outages
        began = clock.monotonic()
        proxy.cut()
        wait_until(lambda outages=outages: me.hub.link.outages > outages and me.hub.link.up)

        assert clock.monotonic() - began < GRACE  # as long as it would wait


def test_the_hub_rejoins_and_beats_again(
    store: Store, peers: Peers, proxy: Proxy, short_grace: float, wait_until: WaitUntil
) -> None:
    """§5.11: after a long outage; lease, status, mail, and the same incarnation."""
    me, other = peers.join("me", url=proxy.url, heartbeat=QUICK), peers.join("other")
    epoch = me.member.epoch
    proxy.die()
    wait_until(lambda: me.hub.link.is_given_up)
    assert me.signals.send("x", "other") == ""
    me.agent.touch("second", 0.5)
    other.signals.send("a", "me", 1)
    proxy.revive()
    wait_until(lambda: me.hub.link.up)

    beaten = lease(store, me)
    wait_until(lambda: lease(store, me) > beaten)
    assert me.member.epoch == epoch
    wait_until(lambda: store.redis.hget(f"{store.prefix}agent:me", "stage") == b"second")
    got = me.signals.wait("a", timeout=5)
    assert got
    assert (got.payload, got.redelivered) == (1, False)
    assert me.signals.send("back", "other") != ""
    assert other.signals.wait("back", timeout=5)


def test_an_agent_that_joined_without_a_store_joins_when_it_appears(
    store: Store, peers: Peers, proxy: Proxy, wait_until: WaitUntil
) -> None:
    """§5.11: it works degraded first, and takes part as soon as it can."""
    other = peers.join("other")
    proxy.die()
    me = peers.join("me", url=proxy.url)
    assert me.signals.send("a", "other") == ""
    proxy.revive()
    wait_until(lambda: me.hub.link.up and me.member.epoch)

    assert me.signals.send("b", "other") != ""
    got = other.signals.wait(timeout=5)
    assert got
    assert (got.type, got.source) == ("b", "me")
    assert me.agent.degraded is True


def test_an_id_that_was_taken_during_the_outage_stays_taken(
    store: Store, peers: Peers, proxy: Proxy, wait_until: WaitUntil
) -> None:
    """§5.11 and §5.2: who comes back finds another owner, and is no agent any more."""
    old = peers.join("worker", url=proxy.url)
    proxy.die()
    wait_until(lambda: not old.hub.link.up)
    store.redis.zadd(f"{store.prefix}leases", {f"worker#{old.member.epoch}": 1})
    new = peers.join("worker")
    proxy.revive()
    wait_until(lambda: old.member.gone)

    assert old.signals.send("a", "worker") == ""
    assert old.agent.degraded is True
    assert new.signals.send("a", "worker") != ""
    assert new.signals.wait("a", timeout=5)


def test_what_an_agent_says_after_it_has_left_reaches_nobody(peers: Peers, wait_until: WaitUntil) -> None:
    """§5.11: calls return at once, and a wait in another thread ends."""
    me, other = peers.join("me"), peers.join("other")
    got: list[Any] = []
    waiting = in_thread(lambda: got.append(me.signals.wait("a", timeout=None)))
    wait_until(lambda: me.member.mailbox._waiters)

    me.leave()
    waiting.join()

    assert got == [NoSignal(reason=Reason.UNAVAILABLE, detail="the agent 'me' has left")]
    assert me.signals.send("late", "other") == ""
    assert me.signals.wait("a", timeout=None) == got[0]
    assert me.signals.check() is None
    assert other.signals.pending() == []
    assert me.agent.degraded is False


def test_a_terminal_status_reaches_the_store(store: Store, peers: Peers) -> None:
    """§5.11: the lease goes at once, and the status stays."""
    me = peers.join("me")
    drive(me.agent.leave(AgentStatus.FAILED, "ValueError: no"))
    me.left = True

    fields: Any = store.redis.hgetall(f"{store.prefix}agent:me")
    assert (fields[b"status"], fields[b"error"]) == (b"failed", b"ValueError: no")
    assert lease(store, me) == 0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDir:
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path))
    return StateDir(tmp_path)


def test_a_killed_server_is_started_again_and_mail_is_kept(home: StateDir, wait_until: WaitUntil) -> None:
    """§5.11: by the hubs that need it; agents rejoin, beats resume, nothing is lost and nothing comes twice."""
    with join("me", "embedded://", "ns") as me, join("other", "embedded://", "ns") as other:
        hub = me._agent._hub
        assert hub is not None
        for n in range(4):
            other.signals.send("a", None if n % 2 else "me", n)
        assert [s.payload for s in me.signals.collect("a", count=2, timeout=5)] == [0, 1]
        got: list[Any] = []
        waiting = in_thread(lambda: got.append(me.signals.wait("b", timeout=10)))
        wait_until(lambda: hub.members["me"].mailbox._waiters)

        os.kill(launcher.server_pid(home) or 0, signal.SIGKILL)
        wait_until(lambda: hub.link.outages == 1 and hub.link.up)

        assert other.signals.send("b", "me", "after") != ""
        waiting.join()
        assert got[0].payload == "after"
        assert [s.payload for s in me.signals.collect("a", count=2, timeout=5)] == [2, 3]
        assert me.signals.check() is None
        assert me.degraded is True


def test_a_store_that_lost_everything_is_a_new_start(store: Store, peers: Peers, wait_until: WaitUntil) -> None:
    """§5.11: a server without persistence was restarted: agents join again, with counters that began anew."""
    a = peers.join("a", heartbeat=QUICK)
    b = peers.join("b", url=peers.elsewhere(), heartbeat=QUICK)
    for n in range(10):
        b.signals.send("old", "a", n)
        b.signals.broadcast("old", n)
    assert len(a.signals.collect("old", count=20, timeout=5)) == 20
    store.clear()
    wait_until(lambda: lease(store, a) and lease(store, b) and a.hub.link.up and b.hub.link.up)

    assert wait_until(lambda: b.signals.send("new", "a", 1)) != ""
    assert b.signals.broadcast("new", 2) != ""

    assert sorted(s.payload for s in a.signals.collect("new", count=2, timeout=5)) == [1, 2]


def test_many_agents_start_at_once(peers: Peers) -> None:
    """§5.11: each can send as soon as it has entered."""
    sent: list[str] = []

    def start(n: int) -> None:
        sent.append(peers.join(f"a{n}").signals.send("hello", "somebody"))

    threads = [in_thread(lambda n=n: start(n)) for n in range(12)]
    for thread in threads:
        thread.join()

    assert len([one for one in sent if one]) == 12


def test_an_agent_that_comes_during_the_first_connect_has_joined_when_join_returns(
    peers: Peers, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.11: too late for the others' join, and in the next one."""
    rejoin, join_new = Connector._rejoin, Connector.join_new
    threads, too_early = [], []

    def rejoin_with_another(connector: Connector, *args: Any) -> None:
        threads.append(in_thread(lambda: peers.join("late")))
        wait_until(lambda: "late" in connector._hub.members)
        rejoin(connector, *args)

    def watch_and_join(connector: Connector) -> None:
        members = connector._hub.members.values()
        too_early.extend(member.agent_id for member in members if member.joining.done and not member.epoch)
        join_new(connector)

    monkeypatch.setattr(Connector, "_rejoin", rejoin_with_another)
    monkeypatch.setattr(Connector, "join_new", watch_and_join)
    first = peers.join("first")
    threads[0].join()

    assert first.member.epoch > 0
    assert first.hub.members["late"].epoch > 0
    assert too_early == []
