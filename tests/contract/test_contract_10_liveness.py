"""§5.10: each loss is reported once for the whole namespace, and what has ended stays ended."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from following import Follow, passed, server_ms, timeline
from peers import CALM, Peer, Peers
from proxy import Proxy
from waiting import wait_until

from attune_dsl import AsyncMonitor, Monitor
from attune_dsl.exceptions import AgentIdTaken
from attune_dsl.model import AgentStatus, ChangeKind, Heartbeat
from attune_dsl.store import scripts

if TYPE_CHECKING:
    from conftest import Store

SHORT = Heartbeat(interval=0.1, ttl=0.6)
"""Of agents that shall be found dead soon."""
WATCHFUL = Heartbeat(interval=0.1, ttl=10)
"""Of those who notice: they must not be lost themselves where the machine is busy."""


def live(store: Store) -> set[str]:
    """The incarnations that have a lease."""
    return {member.decode() for member in store.redis.zrange(f"{store.prefix}leases", 0, -1)}  # type: ignore[union-attr]


def ask(store: Store, command: scripts.Command) -> Any:
    """Send what an old process would send."""
    return store.redis.execute_command(*command)


def beat_late(store: Store, old: Peer, lease: str) -> Any:
    """Renew a lease as an old process would, and look; return what the renewal found."""
    keys, now = old.hub.keys, server_ms(store)
    renewed = ask(store, scripts.renew(keys, [(now + 60_000, lease)]))
    witness = scripts.Witness(interval=100, own_at=now, down_at=0, asked_at=now)
    ask(store, scripts.beat(keys, "gone.1", witness=witness, hub_ttl_ms=60_000, read_up_to="0-0"))
    return renewed


# Loss


def test_ten_followers_see_a_loss_once_each(store: Store, peers: Peers, proxy: Proxy, follow: Follow) -> None:
    """§5.10: whoever notices it, all are told, once; with agents of three other processes beating."""
    for n in range(3):
        peers.join(f"other-{n}", url=peers.elsewhere(), heartbeat=WATCHFUL)
    victim = peers.join("victim", url=proxy.url, heartbeat=SHORT)
    followers = [follow() for _ in range(10)]

    proxy.die()
    for follower in followers:
        follower.until(ChangeKind.LOST, "victim")
    peers.join("after", heartbeat=WATCHFUL)
    for follower in followers:
        follower.until(ChangeKind.JOINED, "after")

    assert [follower.kinds("victim") for follower in followers] == [[ChangeKind.LOST]] * 10
    assert [c.agent.agent_id for f in followers for c in f.told(ChangeKind.LOST)] == ["victim"] * 10
    assert timeline(store, ChangeKind.LOST) == [("lost", ("victim", victim.member.epoch))]
    assert {lease.partition("#")[0] for lease in live(store)} == {"other-0", "other-1", "other-2", "after"}


async def test_ten_followers_on_one_loop_see_a_loss_once_each(store: Store, peers: Peers, proxy: Proxy) -> None:
    """§5.10: the same where they share one process's hub, in async code."""
    victim = await peers.ajoin("victim", url=proxy.url, heartbeat=SHORT)
    url = peers.elsewhere()

    async def watch(ready: asyncio.Event, seen: list[tuple[str, str]]) -> None:
        async with AsyncMonitor(url, store.namespace) as monitor, await monitor.follow() as changes:
            ready.set()
            async for change in changes:
                seen.append((change.kind.value, change.agent.agent_id))
                if change.agent.agent_id == "after":
                    return

    ready, seen = [asyncio.Event() for _ in range(10)], [[] for _ in range(10)]  # type: ignore[var-annotated]
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for pair in zip(ready, seen, strict=True):
            group.create_task(watch(*pair))
        for event in ready:
            await event.wait()
        proxy.die()
        async with AsyncMonitor(url, store.namespace) as monitor, await monitor.follow() as changes:
            async for change in changes:
                if change.kind is ChangeKind.LOST:
                    break
        await peers.ajoin("after")

    assert [[entry for entry in one if entry[1] == "victim"] for one in seen] == [[("lost", "victim")]] * 10
    assert timeline(store, ChangeKind.LOST) == [("lost", ("victim", victim.member.epoch))]


def test_all_agents_of_a_dead_process_are_lost_once_each(
    store: Store, peers: Peers, proxy: Proxy, follow: Follow
) -> None:
    """§5.10: also where they are more than one call of a script deals with."""
    crowd = [peers.join(f"a-{n}", url=proxy.url, heartbeat=SHORT, coordination=None) for n in range(250)]
    incarnations = [(peer.id, peer.member.epoch) for peer in crowd]
    peers.join("other", url=peers.elsewhere(), heartbeat=WATCHFUL)
    follower = follow()

    proxy.die()
    follower.until_all(ChangeKind.LOST, incarnations, timeout=20)

    lost = [(c.agent.agent_id, c.agent.epoch) for c in follower.told(ChangeKind.LOST)]
    assert sorted(lost) == sorted(incarnations)
    assert sorted(timeline(store, ChangeKind.LOST)) == sorted(("lost", one) for one in incarnations)
    with Monitor(peers.elsewhere(), store.namespace) as monitor:
        assert monitor.counts() == dict.fromkeys(monitor.counts(), 0) | {"lost": 250, "starting": 1}


def test_many_who_look_at_once_report_one_loss(store: Store, peers: Peers, proxy: Proxy) -> None:
    """§5.10: listings look for lapsed leases, too."""
    victim = peers.join("victim", url=proxy.url, heartbeat=SHORT)
    urls = [peers.elsewhere() for _ in range(6)]
    found: list[AgentStatus] = []

    def look(url: str) -> None:
        with Monitor(url, store.namespace) as monitor:
            record = wait_until(lambda: next((a for a in monitor.agents() if a.status.is_final), None))
            found.append(record.status)

    proxy.die()
    threads = [threading.Thread(target=look, args=(url,)) for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [AgentStatus.LOST] * 6
    assert timeline(store, ChangeKind.LOST) == [("lost", ("victim", victim.member.epoch))]


def test_a_loss_is_noticed_within_ttl_and_interval(store: Store, peers: Peers, proxy: Proxy, follow: Follow) -> None:
    """§5.10: counted from its last beat, whatever the interval of those who notice it."""
    beat = Heartbeat(interval=0.5, ttl=1.0)
    peers.join("victim", url=proxy.url, heartbeat=beat)
    peers.join("other", url=peers.elsewhere(), heartbeat=CALM)
    follower = follow()

    proxy.die()
    lost = follower.until(ChangeKind.LOST, "victim")

    assert lost.agent.beat_age is not None
    assert 1.0 <= lost.agent.beat_age <= beat.ttl + beat.interval + 0.5


def test_the_loss_of_one_that_came_after_the_last_look_is_noticed(
    store: Store, peers: Peers, proxy: Proxy, follow: Follow
) -> None:
    """§5.10: those who watch had nothing to look for when they last beat."""
    follower = follow()
    beat = Heartbeat(interval=0.5, ttl=1.0)
    peers.join("victim", url=proxy.url, heartbeat=beat)

    proxy.die()
    lost = follower.until(ChangeKind.LOST, "victim")

    assert lost.agent.beat_age is not None
    assert lost.agent.beat_age <= beat.ttl + beat.interval + 0.5


def test_what_a_lost_agent_last_said_is_kept(store: Store, peers: Peers, proxy: Proxy, follow: Follow) -> None:
    """§5.10: stage, progress, cost, activity and the age of its last beat; in the change, the listing, the timeline."""
    victim = peers.join("victim", url=proxy.url, heartbeat=SHORT)
    follower = follow()
    victim.agent.touch("build", 0.4, 2, "cheap", "half of it")
    victim.agent.spent(0.25)
    wait_until(lambda: store.redis.hget(f"{store.prefix}agent:victim", "cost") == b"0.25")

    proxy.die()
    lost = follower.until(ChangeKind.LOST, "victim").agent
    (listed,) = follower.monitor.agents(status="lost")

    for record in (lost, listed):
        assert (record.status, record.stage, record.progress, record.attempt) == (AgentStatus.LOST, "build", 0.4, 2)
        assert (record.tier, record.note, record.cost) == ("cheap", "half of it", 0.25)
        assert record.activity == "used 0.25 in all"
    assert lost.beat_age is not None
    assert listed.beat_age is not None
    assert listed.beat_age >= lost.beat_age >= SHORT.ttl
    entry = next(
        fields
        for _, fields in store.redis.xrange(f"{store.prefix}timeline")  # type: ignore[union-attr]
        if fields[b"kind"] == b"agent.lost"
    )
    assert (entry[b"stage"], entry[b"progress"]) == (b"build", b"0.4")


def test_what_has_ended_stays_listed_as_long_as_it_asked_for(store: Store, peers: Peers, proxy: Proxy) -> None:
    """§5.10: the same for a loss and an orderly end; then it is gone, with its keys."""
    keep = Heartbeat(interval=0.1, ttl=0.3, keep=1.5)
    peers.join("victim", url=proxy.url, heartbeat=keep)

    with Monitor(peers.elsewhere(), store.namespace) as monitor:
        proxy.die()
        wait_until(lambda: [a.agent_id for a in monitor.agents(status="lost")] == ["victim"])
        peers.join("done", heartbeat=keep).leave()  # not before: how long the loss takes is not known
        wait_until(lambda: [a.agent_id for a in monitor.agents(status="completed")] == ["done"])
        wait_until(lambda: monitor.agents() == [])
        assert monitor.agent("victim") is None
    wait_until(lambda: not [key for key in store.keys() if key.startswith(("agent:", "stages:"))])  # noqa: SIM118 (no dict)


# What has ended


@pytest.mark.parametrize("status", [status for status in AgentStatus if status.is_final])
def test_nothing_late_revives_what_has_ended(
    store: Store, peers: Peers, proxy: Proxy, follow: Follow, status: AgentStatus
) -> None:
    """§5.10: neither a beat, nor an update, nor an end that were under way over the link that it had."""
    peer = peers.join("me", url=proxy.url, heartbeat=SHORT)
    follower = follow()
    keys, owner, lease = peer.hub.keys, peer.member.owner, peer.member.lease
    if status is AgentStatus.LOST:
        proxy.die()
        follower.until(ChangeKind.LOST, "me")
    else:
        peer.leave(status)
        follower.until(ChangeKind.ENDED, "me")
    before = store.redis.hgetall(f"{store.prefix}agent:me")

    news = {"kind": "updated", "fields": ("status", "running", "progress", "0.9"), "stages": {"late": b"{}"}}
    late = [
        beat_late(store, peer, lease),
        ask(store, scripts.update(keys, "me", owner, **news)),  # type: ignore[arg-type]
        ask(
            store,
            scripts.leave(
                keys, "me", owner, str(peer.member.epoch), status="completed", fields=("error", ""), stages={}
            ),
        ),
    ]

    same = status is AgentStatus.COMPLETED  # its answer may have been lost
    assert late == [0, b"fenced", b"left" if same else b"fenced"]
    assert store.redis.hgetall(f"{store.prefix}agent:me") == before
    assert live(store) == set()
    (listed,) = follower.monitor.agents()
    assert listed.status == status
    kind = ChangeKind.LOST if status is AgentStatus.LOST else ChangeKind.ENDED
    assert [entry for entry in timeline(store) if entry[0] not in {"joined", "updated"}] == [(kind, listed_key(peer))]


def listed_key(peer: Peer) -> tuple[str, int]:
    return peer.id, peer.member.epoch


def test_a_late_beat_does_not_keep_the_successors_lease_or_its_own(store: Store, peers: Peers) -> None:
    """§5.10: it names the incarnation that it is for."""
    old = peers.join("me", heartbeat=CALM)
    lease = old.member.lease
    old.leave(AgentStatus.FAILED)
    new = peers.join("me", url=peers.elsewhere(), heartbeat=CALM)
    before = store.redis.zrange(f"{store.prefix}leases", 0, -1, withscores=True)

    assert beat_late(store, new, lease) == 0

    assert store.redis.zrange(f"{store.prefix}leases", 0, -1, withscores=True) == before
    assert live(store) == {new.member.lease}


# Coming back


def test_one_that_was_lost_and_lives_joins_again(store: Store, peers: Peers, proxy: Proxy, follow: Follow) -> None:
    """§5.10: the loss is final for that incarnation; nobody took its id, so it is a new one, and knows of it."""
    peer = peers.join("me", url=proxy.url, heartbeat=SHORT)
    peers.join("other", url=peers.elsewhere(), heartbeat=WATCHFUL)
    follower, first = follow(), peer.member.epoch
    peer.agent.touch("build", 0.4)

    proxy.die()
    follower.until(ChangeKind.LOST, "me")
    proxy.revive()
    back = follower.until(ChangeKind.JOINED, "me").agent

    assert follower.kinds("me") == [ChangeKind.LOST, ChangeKind.JOINED]
    assert back.epoch > first
    wait_until(lambda: peer.member.epoch == back.epoch)  # its process reads the answer when others know already
    wait_until(lambda: follower.monitor.agent("me").stage == "build")  # type: ignore[union-attr]
    assert peer.agent.degraded is True
    assert peer.signals.send("hello", "other") != ""
    peer.leave()
    follower.until(ChangeKind.ENDED, "me")
    assert timeline(store, ChangeKind.LOST) == [("lost", ("me", first))]


def test_one_that_was_lost_and_finds_its_id_taken_is_no_agent_any_more(
    store: Store, peers: Peers, proxy: Proxy, follow: Follow
) -> None:
    """§5.10: it is told who took it, and nothing of what it writes is stored."""
    old, why = peers.join("me", url=proxy.url, heartbeat=SHORT), list[str]()
    old.agent.on_gone(why.append)
    sink, follower = peers.join("sink", url=peers.elsewhere()), follow()
    proxy.die()
    lost = follower.until(ChangeKind.LOST, "me").agent
    new = peers.join("me", url=peers.elsewhere(), heartbeat=SHORT)

    proxy.revive()
    wait_until(lambda: why)

    host, pid = new.member.profile.fields["host"], new.member.profile.fields["pid"]
    assert why == [f"the agent id 'me' was taken over by pid {pid} on {host}"]
    assert old.signals.send("a", "sink") == ""
    assert old.signals.check("a") is None
    assert sink.signals.pending() == []
    old.leave(AgentStatus.COMPLETED)
    record = follower.monitor.agent("me")
    assert record is not None
    assert (record.epoch, record.status) == (new.member.epoch, AgentStatus.STARTING)
    assert timeline(store, ChangeKind.LOST, ChangeKind.ENDED, ChangeKind.FENCED) == [("lost", ("me", lost.epoch))]


def test_a_takeover_is_told_at_once(store: Store, peers: Peers, follow: Follow) -> None:
    """§5.10: the old owner hears of it without beating; others see it fenced, once, and not lost."""
    old, told = peers.join("me", heartbeat=CALM), threading.Event()
    why: list[str] = []
    old.agent.on_gone(lambda text: (why.append(text), told.set()))
    follower, first = follow(), old.member.epoch
    with pytest.raises(AgentIdTaken) as refused:
        peers.join("me", url=peers.elsewhere())
    new = peers.join("me", url=peers.elsewhere(), heartbeat=CALM, takeover=True)

    assert told.wait(5)
    host, pid = old.member.profile.fields["host"], old.member.profile.fields["pid"]
    assert (refused.value.agent_id, refused.value.host, refused.value.pid) == ("me", host, pid)
    assert why == [f"the agent id 'me' was taken over by pid {pid} on {host}"]
    assert old.signals.send("a", "me") == ""
    assert old.agent.degraded is True
    follower.until(ChangeKind.JOINED, "me")
    new.leave()
    follower.until(ChangeKind.ENDED, "me")
    assert follower.kinds("me") == [ChangeKind.FENCED, ChangeKind.JOINED, ChangeKind.ENDED]
    assert timeline(store, ChangeKind.FENCED) == [("fenced", ("me", first))]


def test_a_follower_that_missed_a_loss_is_told_of_it(store: Store, peers: Peers, proxy: Proxy, follow: Follow) -> None:
    """§5.10: its link was down when one was lost, one ended, and one was lost and started again under its id."""
    cut_off = Proxy(store.address)
    try:
        follower = follow(cut_off.url)
        peers.join("stays-lost", url=proxy.url, heartbeat=SHORT)
        again = peers.join("again", url=proxy.url, heartbeat=SHORT)
        done = peers.join("done", heartbeat=CALM)
        for name in ("stays-lost", "again", "done"):
            follower.until(ChangeKind.JOINED, name)
        first = again.member.epoch
        cut_off.die()
        proxy.die()
        wait_until(passed(SHORT.ttl))
        with Monitor(peers.elsewhere(), store.namespace) as monitor:
            wait_until(lambda: len(monitor.agents(status="lost")) == 2)
        peers.join("again", url=peers.elsewhere(), heartbeat=SHORT)
        done.leave()
        cut_off.revive()
        follower.until(ChangeKind.JOINED, "again", count=2)
        peers.join("after", heartbeat=CALM)
        follower.until(ChangeKind.JOINED, "after")
    finally:
        cut_off.revive()

    assert follower.kinds("stays-lost") == [ChangeKind.JOINED, ChangeKind.LOST]
    assert follower.kinds("done") == [ChangeKind.JOINED, ChangeKind.ENDED]
    assert sorted(follower.kinds("again")) == sorted([ChangeKind.JOINED, ChangeKind.LOST, ChangeKind.JOINED])
    assert [c.agent.epoch for c in follower.told(ChangeKind.LOST, "again")] == [first]
    follower.close()
    cut_off.close()
