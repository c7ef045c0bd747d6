"""§5.10: a store that was away and a clock that was set declare nobody lost who is alive, and hide no loss."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from following import Follow, Following, passed, timeline
from peers import Peer, Peers
from proxy import Proxy
from waiting import wait_until

from attune_dsl import Monitor, clock
from attune_dsl.model import AgentStatus, ChangeKind, Heartbeat

if TYPE_CHECKING:
    from conftest import Servers, Store

SHORT = Heartbeat(interval=0.15, ttl=0.6)
MEDIUM = Heartbeat(interval=0.4, ttl=1.2)
AWAY = 1.8
"""Seconds of an outage: longer than both."""


@pytest.fixture
def grave(store: Store, peers: Peers) -> Iterator[Proxy]:
    """A second proxy, of one who dies while the store is away for all."""
    grave = Proxy(store.address)
    yield grave
    peers.close()
    grave.close()


def crowd(peers: Peers, proxy: Proxy, heartbeat: Heartbeat = SHORT) -> list[Peer]:
    """Three agents, each over a hub of its own behind the proxy."""
    return [
        peers.join(f"a-{n}", url=peers.elsewhere(proxy.url.removesuffix("/0")), heartbeat=heartbeat) for n in range(3)
    ]


def assert_alive(store: Store, crowd: list[Peer], follower: Following, epochs: list[int]) -> None:
    """Nobody of the crowd was lost, and they still beat."""
    assert [peer.member.epoch for peer in crowd] == epochs
    assert [peer.member.was_lost for peer in crowd] == [False] * len(crowd)
    for peer in crowd:
        assert follower.told(ChangeKind.LOST, peer.id) == []
    lost = timeline(store, ChangeKind.LOST)
    assert [one for one in lost if one[1][0].startswith("a-")] == []
    before = leases(store)
    wait_until(lambda: all(leases(store).get(p.member.lease, 0) > before[p.member.lease] for p in crowd))


def leases(store: Store) -> dict[str, float]:
    found = store.redis.zrange(f"{store.prefix}leases", 0, -1, withscores=True)
    return {member.decode(): score for member, score in found}  # type: ignore[union-attr]


def test_an_outage_loses_nobody_but_who_died_in_it(
    store: Store, peers: Peers, proxy: Proxy, grave: Proxy, follow: Follow
) -> None:
    """§5.10: all leases have lapsed when it ends; the dead one is found afterwards, once."""
    agents = crowd(peers, proxy)
    victim = peers.join("victim", url=grave.url, heartbeat=SHORT)
    follower, epochs = follow(peers.elsewhere(proxy.url.removesuffix("/0"))), [p.member.epoch for p in agents]

    proxy.die()
    grave.die()
    wait_until(passed(AWAY))
    proxy.revive()
    follower.until(ChangeKind.LOST, "victim")
    peers.join("after", heartbeat=SHORT)
    follower.until(ChangeKind.JOINED, "after")

    assert follower.kinds("victim") == [ChangeKind.LOST]
    assert timeline(store, ChangeKind.LOST) == [("lost", ("victim", victim.member.epoch))]
    assert_alive(store, agents, follower, epochs)


@pytest.mark.parametrize("heartbeat", [SHORT, MEDIUM], ids=["short", "medium"])
def test_who_looks_first_after_an_outage_declares_nobody_lost(
    store: Store, peers: Peers, proxy: Proxy, follow: Follow, heartbeat: Heartbeat
) -> None:
    """§5.10: a monitor that has just come, and knows nothing of what was before."""
    agents = crowd(peers, proxy, heartbeat)
    epochs = [p.member.epoch for p in agents]
    proxy.die()
    wait_until(passed(AWAY))

    with Monitor(peers.elsewhere(), store.namespace) as monitor:
        monitor.agents()
    follower = follow()
    proxy.revive()
    wait_until(lambda: all(peer.hub.link.up for peer in agents))

    assert_alive(store, agents, follower, epochs)
    assert {a.agent_id for a in follower.monitor.agents(status="starting")} == {p.id for p in agents}


def test_a_patient_agent_that_is_back_first_declares_nobody_lost(
    store: Store, peers: Peers, proxy: Proxy, follow: Follow
) -> None:
    """§5.10: agents of different intervals in one namespace."""
    agents = crowd(peers, proxy)
    epochs = [p.member.epoch for p in agents]
    late = Proxy(store.address)
    try:
        patient = peers.join("patient", url=late.url, heartbeat=Heartbeat(interval=5, ttl=15))
        wait_until(lambda: timeline(store, ChangeKind.JOINED)[-1][1][0] == "patient")
        proxy.die()
        late.die()
        wait_until(passed(AWAY))
        late.revive()
        wait_until(lambda: patient.hub.link.up)
        proxy.revive()
        wait_until(lambda: all(peer.hub.link.up for peer in agents))

        assert_alive(store, agents, follow(), epochs)
    finally:
        late.revive()
        patient.leave()
        late.close()


def test_outages_again_and_again_lose_nobody(store: Store, peers: Peers, proxy: Proxy, follow: Follow) -> None:
    """§5.10: shorter ones than the ttl and longer ones, one soon after the other."""
    agents = crowd(peers, proxy)
    follower, epochs = follow(peers.elsewhere(proxy.url.removesuffix("/0"))), [p.member.epoch for p in agents]

    for seconds in (0.1, 0.9, 0.3, 0.7):
        proxy.die()
        wait_until(passed(seconds))
        proxy.revive()
        wait_until(lambda: all(peer.hub.link.up for peer in agents))
    peers.join("after", heartbeat=SHORT)
    follower.until(ChangeKind.JOINED, "after")

    assert_alive(store, agents, follower, epochs)


@pytest.mark.parametrize("store", ["embedded"], indirect=True)
def test_a_killed_server_loses_nobody_but_who_died_meanwhile(
    store: Store, servers: Servers, peers: Peers, grave: Proxy, follow: Follow
) -> None:
    """§5.10: with its real file and a real restart."""
    agents = [peers.join(f"a-{n}", url=peers.elsewhere(), heartbeat=SHORT) for n in range(3)]
    victim = peers.join("victim", url=grave.url, heartbeat=SHORT)
    follower, epochs = follow(), [p.member.epoch for p in agents]
    pid = store.redis.info("server")["process_id"]  # type: ignore[index]

    os.kill(pid, signal.SIGKILL)
    grave.die()
    wait_until(passed(AWAY))
    servers.store("embedded")
    follower.until(ChangeKind.LOST, "victim")
    wait_until(lambda: all(peer.hub.link.up for peer in agents))
    peers.join("after", url=peers.elsewhere(), heartbeat=SHORT)
    follower.until(ChangeKind.JOINED, "after")

    assert follower.kinds("victim") == [ChangeKind.LOST]
    assert timeline(store, ChangeKind.LOST) == [("lost", ("victim", victim.member.epoch))]
    assert_alive(store, agents, follower, epochs)


# Clocks


@pytest.mark.parametrize("step", [86_400.0, -86_400.0])
def test_the_clients_wall_clock_may_be_set(  # noqa: PLR0917
    store: Store, peers: Peers, proxy: Proxy, follow: Follow, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    """§5.10: by a day, forth and back again, while agents live, join, die and are looked at."""
    agents = crowd(peers, proxy)
    epochs = [p.member.epoch for p in agents]
    server_now = store.redis.time()[0]  # type: ignore[index]
    monkeypatch.setattr(clock, "wall", lambda: time.time() + step)
    grave = Proxy(store.address)
    follower = follow()
    victim = peers.join("victim", url=grave.url, heartbeat=SHORT)
    agents.append(peers.join("a-3", url=peers.elsewhere(), heartbeat=SHORT))
    epochs.append(agents[-1].member.epoch)

    grave.die()
    lost = follower.until(ChangeKind.LOST, "victim")
    monkeypatch.setattr(clock, "wall", time.time)
    wait_until(passed(2 * SHORT.ttl))

    assert abs(lost.at - server_now) < 60
    assert lost.agent.started_at is not None
    assert abs(lost.agent.started_at - server_now) < 60
    assert timeline(store, ChangeKind.LOST) == [("lost", ("victim", victim.member.epoch))]
    assert_alive(store, agents, follower, epochs)
    grave.close()


def test_a_clients_monotonic_clock_may_jump(  # noqa: PLR0917
    store: Store, peers: Peers, proxy: Proxy, grave: Proxy, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.10: an hour passes at once, as where a machine slept; the dead one is found all the same."""
    agents = crowd(peers, proxy)
    epochs = [p.member.epoch for p in agents]
    peers.join("victim", url=grave.url, heartbeat=SHORT)
    follower = follow()

    monkeypatch.setattr(clock, "monotonic", lambda: time.monotonic() + 3600)
    for peer in agents:
        peer.hub.keeper.wake()
    wait_until(passed(2 * SHORT.ttl))
    assert_alive(store, agents, follower, epochs)
    grave.die()
    follower.until(ChangeKind.LOST, "victim")

    assert follower.kinds("victim") == [ChangeKind.LOST]
    assert_alive(store, agents, follower, epochs)


def test_a_client_that_slept_renews_with_the_servers_time(
    store: Store, peers: Peers, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.10: its own clock stood still meanwhile, so it is behind by that; the others were there all the time."""
    sleeper = peers.join("a-sleeper", url=peers.elsewhere(), heartbeat=Heartbeat(interval=0.2, ttl=30))
    follower = follow()
    peers.join("other", url=peers.elsewhere(), heartbeat=SHORT)
    for behind in (20_000, 3_000, 1_200, 600):
        beaten = leases(store)[sleeper.member.lease]
        sleeper.hub._server_offset_ms -= behind
        wait_until(lambda beaten=beaten: leases(store)[sleeper.member.lease] > beaten)  # type: ignore[misc]
        assert_alive(store, [sleeper], follower, [sleeper.member.epoch])


@pytest.mark.parametrize("step", [100.0, -100.0], ids=["back", "forth"])
def test_the_servers_clock_may_be_set(  # noqa: PLR0917
    store: Store, peers: Peers, proxy: Proxy, grave: Proxy, follow: Follow, step: float
) -> None:
    """§5.10: what is stored is then of another time: every lease as if it ended much later, or had long lapsed."""
    agents = crowd(peers, proxy)
    epochs = [p.member.epoch for p in agents]
    peers.join("victim", url=grave.url, heartbeat=SHORT)
    follower = follow()
    move = """
        local ms = tonumber(ARGV[1])
        for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('ZINCRBY', KEYS[1], ms, member) end
        for _, field in ipairs({'at', 'from', 'until'}) do
          if redis.call('HEXISTS', KEYS[2], field) == 1 then redis.call('HINCRBY', KEYS[2], field, ms) end
        end
    """
    grave.die()
    moved_at = time.monotonic()
    for peer in agents:  # they know only the time before
        peer.hub._server_offset_ms += step * 1000
    store.redis.eval(move, 2, f"{store.prefix}leases", f"{store.prefix}pulse", int(step * 1000))
    follower.until(ChangeKind.LOST, "victim")

    assert time.monotonic() - moved_at < 10
    assert follower.record("victim").status is AgentStatus.LOST
    assert_alive(store, agents, follower, epochs)
