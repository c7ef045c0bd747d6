"""Following the agents of a namespace: each change is told once, whatever happens to the link in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from peers import CALM, Peer, Peers
from proxy import Proxy
from waiting import wait_until

from attune_dsl import clock
from attune_dsl.coordination.listing import Listing
from attune_dsl.coordination.monitor import AsyncMonitor, Changes, Monitor
from attune_dsl.exceptions import StoreUnavailable
from attune_dsl.hub import link, watch
from attune_dsl.hub.hub import Hub
from attune_dsl.model import AgentChange, AgentStatus, ChangeKind, Heartbeat
from attune_dsl.store.keys import Keys

if TYPE_CHECKING:
    from conftest import Store

RESTLESS = Heartbeat(interval=60, ttl=120, stall_after=0.3)


@pytest.fixture
def proxy(store: Store) -> Iterator[Proxy]:
    proxy = Proxy(store.address)
    yield proxy
    proxy.close()


@pytest.fixture
def monitor(store: Store) -> Iterator[Monitor]:
    with Monitor(store.url, store.namespace) as monitor:
        yield monitor


@pytest.fixture
def changes(monitor: Monitor) -> Iterator[Changes]:
    with monitor.follow() as changes:
        yield changes


@pytest.fixture
def keys(store: Store) -> Keys:
    return Keys(store.namespace)


def now_ms(store: Store) -> int:
    seconds, microseconds = store.redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def lapse(store: Store, peer: Peer) -> None:
    """Let a lease lapse, once the first beat of its hub cannot renew it any more."""
    wait_until(lambda: peer.hub.keeper._beater._own_at)
    store.redis.zadd(Keys(store.namespace).leases, {peer.member.lease: now_ms(store) - 100})


def write(store: Store, **fields: Any) -> None:
    """Write an entry as any process may."""
    timeline = Keys(store.namespace).timeline
    if "kind" in fields:
        fields["kind"] = f"agent.{fields['kind']}"
    store.redis.xadd(timeline, {"at": now_ms(store), **fields})
    store.redis.expire(timeline, 60)


def raw_timeline(store: Store) -> list[Any]:
    """The timeline as a hub reads it."""
    entries = store.redis.xrange(Keys(store.namespace).timeline)
    return [(at, [part for pair in fields.items() for part in pair]) for at, fields in entries]


def short(changes: list[AgentChange]) -> list[str]:
    return [f"{change.kind} {change.agent.agent_id}#{change.agent.epoch}" for change in changes]


def until(changes: Changes, last: str) -> list[AgentChange]:
    """Follow until that has happened; without news of stages and progress.

    Not for 10 seconds: then a read of the hub ends anyway, and what should have been told at once would be found.
    """
    seen: list[AgentChange] = []
    while last not in short(seen):
        some = changes.next(5)
        assert some, f"{last} did not come: {short(seen)}"
        seen += some
    return [change for change in seen if change.kind is not ChangeKind.UPDATED or short([change]) == [last]]


def hub_of(monitor: Monitor) -> Hub:
    assert monitor._hub is not None
    return monitor._hub


# As it happens


def test_every_kind_of_change_is_told_once_and_in_order(
    store: Store, peers: Peers, monitor: Monitor, changes: Changes
) -> None:
    first = peers.join("ann", url=peers.elsewhere(), heartbeat=RESTLESS)
    seen = until(changes, "stalled ann#1")
    first.agent.touch("build", 0.5, 1, None, None, 60.0)
    seen += until(changes, "resumed ann#1")
    first.agent.touch("test", 0.6, 1, None, None, 60.0)
    seen += until(changes, "updated ann#1")
    second = peers.join("ann", url=peers.elsewhere(), takeover=True)
    second.leave(AgentStatus.FAILED)
    lapse(store, peers.join("bob", url=peers.elsewhere()))
    monitor.agents()
    seen += until(changes, "lost bob#3")

    told = [line for line in short(seen) if line not in {"updated ann#1", "stalled ann#1", "resumed ann#1"}]
    assert told == ["joined ann#1", "fenced ann#1", "joined ann#2", "ended ann#2", "joined bob#3", "lost bob#3"]
    assert changes.next(0) == []
    statuses = {key: agent.status for key, agent in changes.agents.items()}
    assert statuses == {("ann", 2): AgentStatus.FAILED, ("bob", 3): AgentStatus.LOST}
    assert all(abs(change.at - now_ms(store) / 1000) < 60 for change in seen)


def test_a_record_says_how_the_agent_stood_then(peers: Peers, changes: Changes) -> None:
    ann = peers.join("ann", url=peers.elsewhere())
    ann.agent.touch("build", 0.5)
    ann.leave()

    joined, *_, ended = until(changes, "ended ann#1")

    assert (joined.agent.status, joined.agent.ended_at) == (AgentStatus.STARTING, None)
    assert (ended.agent.status, ended.agent.progress, ended.agent.ended_at) == (AgentStatus.COMPLETED, 1.0, ended.at)
    assert changes.agents["ann", 1] == ended.agent


async def test_async_code_is_told_the_same(store: Store, peers: Peers) -> None:
    """The loop reads: no thread stands between."""
    async with AsyncMonitor(store.url, store.namespace) as monitor, await monitor.follow(timeout=10) as changes:
        ann = await peers.ajoin("ann", url=peers.elsewhere())
        bob = await peers.ajoin("bob", url=peers.elsewhere())
        await ann.aleave()
        lapse(store, bob)
        await monitor.agents()
        told = []
        async for change in changes:
            told += short([change])
            if change.kind is ChangeKind.LOST:
                break
        for peer in peers._peers:
            await peer.aleave()

        assert told == ["joined ann#1", "joined bob#2", "ended ann#1", "lost bob#2"]
        assert await changes.next(0) == []


def test_who_was_there_before_is_known_and_no_news(peers: Peers, monitor: Monitor) -> None:
    peers.join("ann")
    peers.join("bob").leave()

    with monitor.follow() as changes:
        assert {key: agent.status.is_final for key, agent in changes.agents.items()} == {
            ("ann", 1): False,
            ("bob", 2): True,
        }
        assert changes.next(0) == []


def test_iterating_ends_after_a_time_without_a_change(peers: Peers, monitor: Monitor) -> None:
    with monitor.follow(timeout=0.05) as changes:
        peers.join("ann")

        assert "joined ann#1" in short(list(changes))


def test_all_followers_of_a_process_are_told_and_each_loss_once(store: Store, peers: Peers, monitor: Monitor) -> None:
    ann = peers.join("ann", url=peers.elsewhere())
    followers = [monitor.follow() for _ in range(10)]
    lapse(store, ann)
    monitor.agents()

    told = [short(until(follower, "lost ann#1")) for follower in followers]
    more = [follower.next(0) for follower in followers]
    for follower in followers:
        follower.close()

    assert told == [["lost ann#1"]] * 10
    assert more == [[]] * 10


def test_who_follows_no_more_is_told_nothing_and_the_next_begins_anew(peers: Peers, monitor: Monitor) -> None:
    monitor.follow().close()
    assert hub_of(monitor).watches.cursor == ""
    peers.join("ann")

    with monitor.follow() as changes:
        peers.join("bob")

        assert short(until(changes, "joined bob#2")) == ["joined bob#2"]
        assert changes.agents.keys() == {("ann", 1), ("bob", 2)}


def test_closing_twice_is_closing_once(monitor: Monitor) -> None:
    with monitor.follow() as others:
        changes = monitor.follow()
        changes.close()
        changes.close()

        assert others.next(0) == []


# When the follower comes late to what has happened


def test_lives_that_are_over_before_anybody_looks_are_told_as_they_were(
    store: Store, peers: Peers, monitor: Monitor, changes: Changes
) -> None:
    """The store has only the last incarnation of an id; the timeline has them all."""
    for url in (peers.elsewhere(), peers.elsewhere()):
        lapse(store, peers.join("ann", url=url))
    monitor.agents()
    peers.join("ann", url=peers.elsewhere()).leave()
    peers.join("ann", url=peers.elsewhere())

    seen = until(changes, "joined ann#4")

    assert short(seen) == [
        "joined ann#1",
        "lost ann#1",
        "joined ann#2",
        "lost ann#2",
        "joined ann#3",
        "ended ann#3",
        "joined ann#4",
    ]
    assert [change.agent.status for change in seen if change.agent.ended_at is not None] == [
        AgentStatus.LOST,
        AgentStatus.LOST,
        AgentStatus.COMPLETED,
    ]
    assert [key for key, agent in changes.agents.items() if agent.ended_at is None] == [("ann", 4)]


def test_an_end_without_a_history_is_told(peers: Peers, changes: Changes) -> None:
    """``keep=0``: nothing of it is left when it is read."""
    peers.join("ann", heartbeat=Heartbeat(interval=60, ttl=120, keep=0)).leave(AgentStatus.CANCELLED)

    *_, ended = until(changes, "ended ann#1")

    assert (ended.agent.status, ended.agent.ended_at) == (AgentStatus.CANCELLED, ended.at)
    assert changes.agents["ann", 1].status is AgentStatus.CANCELLED


def test_a_stall_that_is_over_before_anybody_looks_is_told(store: Store, peers: Peers, changes: Changes) -> None:
    peers.join("ann")
    for kind in ("stalled", "resumed", "resumed", "stalled", "stalled"):
        write(store, kind=kind, agent="ann", epoch=1)

    assert short(until(changes, "resumed ann#1") + until_quiet(changes)) == [
        "joined ann#1",
        "stalled ann#1",
        "resumed ann#1",
        "stalled ann#1",
    ]
    assert changes.agents["ann", 1].state == "stalled"


def until_quiet(changes: Changes) -> list[AgentChange]:
    seen: list[AgentChange] = []
    while some := changes.next(0.1):
        seen += some
    return seen


# What somebody else wrote


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "dancing", "agent": "ann", "epoch": 1},
        {"kind": "lost"},
        {"kind": "lost", "agent": "ann"},
        {"kind": "lost", "agent": "ann", "epoch": "first"},
        {"kind": "lost", "agent": "ann", "epoch": "9" * 5_000},
        {"kind": "lost", "agent": "ann", "epoch": 1, "at": "soon"},
        {"kind": "lost", "agent": "ann", "epoch": 1, "at": "9" * 400},
        {"kind": b"\xff", "agent": "ann", "epoch": 1},
        {"kind": "lost", "agent": b"\xff", "epoch": 1},
        {"kind": "lost", "agent": "ann", "epoch": 1},
        {"kind": "ended", "agent": "ann", "epoch": 1, "status": "completed"},
        {"kind": "agent.joined", "agent": "ann", "epoch": 1, "ttl": "9" * 5_000},
        {"something": "else"},
    ],
)
def test_what_is_no_entry_is_skipped_and_a_living_agent_lives(
    store: Store, peers: Peers, monitor: Monitor, fields: dict[str, Any]
) -> None:
    """§5.12; and the store itself knows who has ended."""
    peers.join("ann")
    with monitor.follow() as changes:
        write(store, **fields)
        peers.join("bob")

        assert short(until(changes, "joined bob#2")) == ["joined bob#2"]
        assert changes.agents["ann", 1].ended_at is None


# Over a link that breaks


def outage(proxy: Proxy, hub: Hub, then: Callable[[], object]) -> None:
    """Do something while the follower's link is down."""
    proxy.die()
    wait_until(lambda: not hub.link.up)
    then()
    proxy.revive()


@pytest.fixture
def far(store: Store, proxy: Proxy) -> Iterator[Monitor]:
    """A monitor whose link may break."""
    with Monitor(proxy.url, store.namespace) as monitor:
        yield monitor


def test_what_happened_while_the_link_was_down_is_told_afterwards_each_once(
    store: Store, peers: Peers, *, proxy: Proxy, far: Monitor, monitor: Monitor
) -> None:
    ann, bob = (peers.join(name, url=peers.elsewhere()) for name in ("ann", "bob"))
    peers.join("cid", url=peers.elsewhere())
    changes = far.follow()

    def meanwhile() -> None:
        bob.leave(AgentStatus.FAILED)
        lapse(store, ann)
        monitor.agents()
        peers.join("ann", url=peers.elsewhere())
        peers.join("brief", url=peers.elsewhere()).leave()

    outage(proxy, hub_of(far), meanwhile)
    seen = until(changes, "ended brief#5")
    more = until_quiet(changes)
    changes.close()

    assert short(seen) == ["ended bob#2", "lost ann#1", "joined ann#4", "joined brief#5", "ended brief#5"]
    assert [line for line in short(more) if not line.startswith("updated")] == []
    assert [key for key, agent in changes.agents.items() if agent.ended_at is None] == [("cid", 3), ("ann", 4)]
    assert ann.left is False


def test_where_the_timeline_is_gone_a_listing_tells_what_has_changed(
    store: Store, peers: Peers, keys: Keys, *, proxy: Proxy, far: Monitor
) -> None:
    """All kinds that can be seen from outside; one of which nothing is left must have been lost."""
    names = ("ends", "goes", "stalls", "works", "asked", "same")
    crowd = {name: peers.join(name, url=peers.elsewhere()) for name in names}
    changes = far.follow()

    def meanwhile() -> None:
        crowd["ends"].leave()
        store.redis.zrem(keys.leases, "goes#2")
        store.redis.hset(keys.agent("stalls"), "stalled_at", now_ms(store))
        store.redis.hset(keys.agent("works"), "stage", "build")
        store.redis.hset(keys.agent("asked"), "abort_reason", "too late")
        peers.join("new", url=peers.elsewhere())
        store.redis.delete(keys.timeline)

    outage(proxy, hub_of(far), meanwhile)
    seen = short(changes.next(10))
    more = changes.next(0)
    changes.close()

    assert sorted(seen) == [
        *("ended ends#1", "joined new#7", "lost goes#2", "stalled stalls#3", "updated asked#5", "updated works#4")
    ]
    assert more == []


def test_after_the_clock_was_set_back_a_new_timeline_is_followed(
    store: Store, peers: Peers, keys: Keys, *, proxy: Proxy, far: Monitor
) -> None:
    """Its ids are smaller than what was read last."""
    changes = far.follow()
    write(store, kind="dancing", agent="ann", epoch=1)
    until_quiet(changes)

    def meanwhile() -> None:
        store.redis.delete(keys.timeline)
        store.redis.xadd(keys.timeline, {"kind": "updated"}, id="5-1")
        store.redis.expire(keys.timeline, 60)

    outage(proxy, hub_of(far), meanwhile)
    assert short(changes.next(0)) == []
    wait_until(lambda: hub_of(far).link.up and hub_of(far).watches.cursor == "5-1")
    changes.next(0)
    store.redis.xadd(keys.timeline, {"kind": "agent.joined", "agent": "ann", "epoch": 1, "at": 5}, id="6-1")

    assert short(until(changes, "joined ann#1")) == ["joined ann#1"]
    changes.close()


def test_a_store_that_stays_away_is_told_and_what_was_missed_when_it_is_back(
    store: Store, peers: Peers, *, proxy: Proxy, far: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann: Peer = peers.join("ann", url=peers.elsewhere(), heartbeat=CALM)
    changes = far.follow()
    proxy.die()
    wait_until(lambda: not hub_of(far).link.up)

    with monkeypatch.context() as impatient:
        impatient.setattr(link, "GRACE", 0.05)
        for patience in (10, 0.05, 0):  # at once, and then when the time is over: nobody has to pause in between
            with pytest.raises(StoreUnavailable):
                changes.next(patience)
        asked_at = clock.monotonic()
        with pytest.raises(StoreUnavailable):
            changes.next(0.2)
        assert clock.monotonic() - asked_at >= 0.2
    ann.leave()
    proxy.revive()

    assert short(until(changes, "ended ann#1")) == ["ended ann#1"]
    assert changes.next(0) == []
    changes.close()


def test_more_than_a_follower_keeps_is_told_all_the_same(
    store: Store, peers: Peers, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was elsewhere for long: then it reads for itself what it has missed."""
    monkeypatch.setattr(watch, "_MOST", 3)
    changes = monitor.follow()
    crowd = [peers.join(f"a{number}", url=peers.elsewhere()) for number in range(4)]
    for peer in crowd:
        peer.leave()
    newest = store.redis.xrevrange(Keys(store.namespace).timeline, count=1)[0][0].decode()
    wait_until(lambda: hub_of(monitor).watches.cursor == newest)

    assert short(until(changes, "ended a3#4")) == [
        *(f"joined a{number}#{number + 1}" for number in range(4)),
        *(f"ended a{number}#{number + 1}" for number in range(4)),
    ]
    assert changes.next(0) == []
    changes.close()


def test_what_was_read_twice_is_told_once(store: Store, peers: Peers, changes: Changes) -> None:
    """Over a new link the reading begins before it is known what was missed."""
    peers.join("ann", url=peers.elsewhere())
    peers.join("ann", url=peers.elsewhere(), takeover=True)
    assert short(until(changes, "joined ann#2")) == ["joined ann#1", "fenced ann#1", "joined ann#2"]

    changes._follower._watch.deliver(raw_timeline(store))

    assert changes.next(0) == []
    assert changes.agents.keys() == {("ann", 2)}


def test_an_end_that_the_timeline_is_about_to_tell_is_not_told_before(
    store: Store, peers: Peers, keys: Keys, *, proxy: Proxy, far: Monitor
) -> None:
    """A listing that is made while somebody joins again may have neither of its incarnations."""
    ann = peers.join("ann", url=peers.elsewhere())
    peers.join("bob", url=peers.elsewhere())
    wait_until(lambda: ann.hub.keeper._beater._own_at)
    changes = far.follow()
    lease = store.redis.zscore(keys.leases, "ann#1")

    outage(proxy, hub_of(far), lambda: (store.redis.zrem(keys.leases, "ann#1"), peers.join("cid")))
    assert short(until(changes, "joined cid#3")) == ["joined cid#3"]
    assert changes.agents["ann", 1].ended_at is None

    store.redis.zadd(keys.leases, {"ann#1": lease})
    lapse(store, ann)
    far.agents()
    assert short(until(changes, "lost ann#1")) == ["lost ann#1"]
    changes.close()


def test_what_could_not_be_looked_up_is_told_the_next_time(
    peers: Peers, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = Listing.records

    async def fail(*_: object) -> None:
        monkeypatch.setattr(Listing, "records", records)
        raise StoreUnavailable("too late")

    monkeypatch.setattr(Listing, "records", fail)
    peers.join("ann", url=peers.elsewhere())

    with pytest.raises(StoreUnavailable, match="too late"):
        changes.next(5)

    assert short(until(changes, "joined ann#1")) == ["joined ann#1"]
