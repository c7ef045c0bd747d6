"""§5.10, the second clock: alive without progress is stalled, and everybody hears of it once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from following import Follow, passed
from peers import CALM, Peer, Peers
from proxy import Proxy
from waiting import wait_until

from attune_dsl.model import AgentStatus, ChangeKind, Heartbeat

if TYPE_CHECKING:
    from conftest import Store

STALL = 0.3
STALLING = Heartbeat(interval=0.2, ttl=30, stall_after=STALL)
PROGRESS: dict[str, Callable[[Peer], object]] = {
    "a stage": lambda peer: peer.agent.touch("next", 0.5),
    "progress": lambda peer: peer.agent.advance(0.5, "on"),
    "usage": lambda peer: peer.agent.spent(0.5),
    "a send": lambda peer: peer.signals.send("a", "other"),
    "a look": lambda peer: peer.signals.check("a"),
    "a wait": lambda peer: peer.signals.wait("a", timeout=0.01),
}


def test_a_stalled_agent_says_since_when_and_what_it_last_did(store: Store, peers: Peers, follow: Follow) -> None:
    """§2: alive, without progress for longer than it may be: stage, activity, since when; in every view."""
    follower = follow()
    peer = peers.join("me", heartbeat=STALLING)
    peer.agent.touch("build", 0.4, 2, None, "half of it")

    stalled = follower.until(ChangeKind.STALLED, "me")
    while stalled.agent.stage is None:  # a busy machine took as long for the first stage to begin
        stalled = follower.until(ChangeKind.STALLED, "me", count=len(follower.told(ChangeKind.STALLED, "me")) + 1)

    record = stalled.agent
    assert (record.state, record.status) == ("stalled", AgentStatus.RUNNING)
    assert (record.stage, record.activity, record.stall_after) == ("build", "said: half of it", STALL)
    assert record.stalled_at is not None
    # About: what the agent's process knows of the server's clock is as exact as its last answer was quick.
    assert STALL / 2 <= stalled.at - record.stalled_at <= STALL + 2
    (listed,) = follower.monitor.agents(status="stalled")
    assert (listed.agent_id, listed.stalled_at) == ("me", record.stalled_at)
    assert listed.progress_age is not None
    wait_until(lambda: [a.agent_id for a in follower.monitor.stale(STALL)] == ["me"])
    assert follower.monitor.stale(1000) == []
    assert follower.monitor.counts()["stalled"] == 1
    assert follower.monitor.counts()["running"] == 0


@pytest.mark.parametrize("what", PROGRESS)
def test_progress_of_any_kind_resumes(store: Store, peers: Peers, follow: Follow, what: str) -> None:
    """§2: and both changes are told once."""
    peers.join("other", heartbeat=CALM)
    follower = follow()
    peer = peers.join("me", heartbeat=STALLING)
    peer.agent.touch("build", 0.4)
    follower.until(ChangeKind.STALLED, "me")

    PROGRESS[what](peer)
    resumed = follower.until(ChangeKind.RESUMED, "me").agent
    follower.until(ChangeKind.STALLED, "me", count=2)
    peer.leave()
    follower.until(ChangeKind.ENDED, "me")

    assert (resumed.state, resumed.stalled_at) == ("running", None)
    told = [ChangeKind.JOINED, ChangeKind.STALLED, ChangeKind.RESUMED, ChangeKind.STALLED, ChangeKind.ENDED]
    assert follower.kinds("me") == told
    assert follower.record("me").state == "completed"


def test_what_is_told_of_a_stall_reaches_each_follower_once(store: Store, peers: Peers, follow: Follow) -> None:
    """§2: ten followers at once."""
    followers = [follow() for _ in range(10)]
    peer = peers.join("me", heartbeat=STALLING)
    peer.agent.touch("build", 0.4)
    for follower in followers:
        follower.until(ChangeKind.STALLED, "me")
    peer.agent.touch("build", 0.5)
    peer.leave()
    for follower in followers:
        follower.until(ChangeKind.ENDED, "me")

    for follower in followers:
        kinds = follower.kinds("me")
        assert kinds.count(ChangeKind.STALLED) == 1
        assert kinds.count(ChangeKind.RESUMED) <= 1  # it may end before that was told


def test_a_wait_is_no_stall(store: Store, peers: Peers, follow: Follow) -> None:
    """§2: a wait has a limit of its own; once it has ended, the time without progress counts anew."""
    boss, follower = peers.join("boss", url=peers.elsewhere(), heartbeat=CALM), follow()
    peer = peers.join("me", heartbeat=STALLING)
    peer.agent.touch("build", 0.4)
    got: list[object] = []
    waiting = threading.Thread(target=lambda: got.append(peer.signals.wait("go", timeout=20)))
    waiting.start()
    wait_until(lambda: follower.monitor.agent("me").status is AgentStatus.WAITING)  # type: ignore[union-attr]

    wait_until(passed(3 * STALL))
    (record,) = (a for a in follower.monitor.agents() if a.agent_id == "me")
    assert (record.state, record.stalled_at) == ("waiting", None)
    boss.signals.send("go", "me")
    waiting.join()
    follower.until(ChangeKind.STALLED, "me")

    assert bool(got[0]) is True
    assert follower.kinds("me") == [ChangeKind.JOINED, ChangeKind.STALLED]
    assert follower.record("me").activity == "took go from boss"


def test_a_stages_own_limit_holds_while_it_runs(store: Store, peers: Peers, follow: Follow) -> None:
    """§2: longer or shorter than its workflow's, which holds again afterwards."""
    follower = follow()
    peers.join("none", heartbeat=CALM).agent.touch("build", 0.1)
    short = peers.join("short", heartbeat=CALM)
    short.agent.touch("quick", 0.1, stall_after=STALL)
    long = peers.join("long", heartbeat=STALLING)
    long.agent.touch("slow", 0.1, stall_after=600)

    follower.until(ChangeKind.STALLED, "short")
    wait_until(passed(2 * STALL))
    states = {a.agent_id: a.state for a in follower.monitor.agents()}
    assert states == {"none": "running", "short": "stalled", "long": "running"}
    long.agent.touch("slow", 0.2)
    short.agent.touch("other", 0.2)
    follower.until(ChangeKind.STALLED, "long")
    follower.until(ChangeKind.RESUMED, "short")
    wait_until(passed(2 * STALL))

    states = {a.agent_id: a.state for a in follower.monitor.agents()}
    assert states == {"none": "running", "short": "running", "long": "stalled"}


def test_steady_progress_never_stalls(store: Store, peers: Peers, follow: Follow) -> None:
    """§2: however often it was about to."""
    follower = follow()
    peer = peers.join("me", heartbeat=Heartbeat(interval=0.2, ttl=30, stall_after=1.0))
    done = passed(1.6)
    while not done():
        peer.agent.touch("build", 0.4)
        wait_until(passed(0.05))
    peer.leave()
    follower.until(ChangeKind.ENDED, "me")

    assert follower.kinds("me") == [ChangeKind.JOINED, ChangeKind.ENDED]


def test_signals_of_one_agent_count_though_another_publishes(store: Store, peers: Peers, follow: Follow) -> None:
    """§2: what an agent last did is published with the next beat, also where others of its process are busy."""
    follower = follow()
    talker = peers.join("talker", heartbeat=Heartbeat(interval=0.3, ttl=30))
    busy = peers.join("busy", heartbeat=STALLING)
    talker.agent.touch("talk", 0.1)
    busy.agent.touch("work", 0.1)
    wait_until(lambda: follower.monitor.agent("talker").stage == "talk")  # type: ignore[union-attr]

    talker.signals.send("news", "busy")
    for n in range(20):
        busy.agent.touch("work", n / 20)
        wait_until(lambda: not busy.member.doing.is_changed)

    wait_until(
        lambda: follower.monitor.agent("talker").activity == "sent news to busy",  # type: ignore[union-attr]
        timeout=3,
    )


def test_a_lost_agent_is_no_longer_stalled(store: Store, peers: Peers, proxy: Proxy, follow: Follow) -> None:
    """§5.10: it is lost, with what it last did."""
    follower = follow()
    peers.join("other", heartbeat=STALLING)
    peer = peers.join("me", url=proxy.url, heartbeat=Heartbeat(interval=0.1, ttl=0.6, stall_after=STALL))
    peer.agent.touch("build", 0.4)
    follower.until(ChangeKind.STALLED, "me")

    proxy.die()
    lost = follower.until(ChangeKind.LOST, "me").agent

    assert (lost.state, lost.stage, lost.activity) == ("lost", "build", "began stage build")
    assert follower.monitor.counts()["lost"] == 1


@pytest.mark.parametrize("moves", [False, True])
def test_one_that_comes_back_from_a_loss_is_stalled_as_before(
    store: Store, peers: Peers, proxy: Proxy, follow: Follow, moves: bool
) -> None:
    """§5.10, §2: the new incarnation is told to be stalled as well, and resumes; unless it had moved meanwhile."""
    follower = follow()
    peers.join("other", url=peers.elsewhere(), heartbeat=Heartbeat(interval=0.1, ttl=30))
    peer = peers.join("me", url=proxy.url, heartbeat=Heartbeat(interval=0.1, ttl=0.6, stall_after=STALL))
    peer.agent.touch("build", 0.4)
    follower.until(ChangeKind.STALLED, "me")
    proxy.die()
    follower.until(ChangeKind.LOST, "me")
    if moves:
        peer.agent.touch("pack", 0.5)
        peer.member.doing._limit = peer.member.doing._own_limit = 30.0

    proxy.revive()
    follower.until(ChangeKind.JOINED, "me", count=2)
    if moves:
        wait_until(lambda: not peer.member.doing.is_changed)
    else:
        follower.until(ChangeKind.STALLED, "me", count=2)
        peer.agent.touch("pack", 0.5)
        follower.until(ChangeKind.RESUMED, "me")

    resumed = [] if moves else [ChangeKind.STALLED, ChangeKind.RESUMED]
    first = [ChangeKind.JOINED, ChangeKind.STALLED, ChangeKind.LOST]
    assert follower.kinds("me") == [*first, ChangeKind.JOINED, *resumed]
    wait_until(lambda: follower.monitor.agent("me").stage == "pack")  # type: ignore[union-attr]
    assert follower.monitor.agent("me").state == "running"  # type: ignore[union-attr]


def test_what_a_broken_link_swallowed_is_told_over_the_next(
    store: Store, peers: Peers, proxy: Proxy, follow: Follow
) -> None:
    """§5.10, §2: others follow over links of their own, and hear of a stage or a stall that was under way."""
    follower = follow()
    peer = peers.join("me", url=proxy.url, heartbeat=Heartbeat(interval=60, ttl=120, stall_after=STALL))
    peer.agent.touch("build", 0.4)
    wait_until(lambda: follower.monitor.agent("me").stage == "build")  # type: ignore[union-attr]

    proxy.stall()
    wait_until(lambda: peer.member.doing._was_stalled)
    proxy.revive()
    proxy.cut()

    stalled = follower.until(ChangeKind.STALLED, "me").agent
    assert (stalled.state, stalled.stage) == ("stalled", "build")


@pytest.mark.parametrize("published", [True, False])
def test_only_agents_that_publish_can_stall(store: Store, peers: Peers, published: bool) -> None:
    """§3: without a heartbeat nothing is said of progress."""
    peer = peers.join("me", heartbeat=STALLING if published else None)
    peer.agent.touch("build", 0.4)

    assert (peer.member.doing.stall_due < float("inf")) is published
