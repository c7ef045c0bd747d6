"""§5.8, §5.10 and §5.11 under fire: joining, leaving, beating and watching over a connection that is cut."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from awaiting import Awaited, end, is_told
from blocking import alone, known
from cut_scene import BOTH_WAYS, FACADES, REQUEST_POINTS, XREAD, Facade, Scene, outcome, sha
from cutting import Point
from following import Following, timeline
from peers import Peer
from waiting import wait_until

from attune_dsl import AsyncMonitor, Monitor
from attune_dsl.coordination.monitor import Changes
from attune_dsl.exceptions import StoreUnavailable
from attune_dsl.hub import blocks, link
from attune_dsl.hub.drive import drive
from attune_dsl.model import AgentChange, AgentStatus, ChangeKind, Heartbeat, NoSignal, Reason, Signal
from attune_dsl.store import scripts

OPEN, JOIN, LEAVE, LOOK = (sha(script) for script in (scripts._OPEN, scripts._JOIN, scripts._LEAVE, scripts._LOOK))
BEAT, SWEEP, WAIT, BLOCK = (sha(script) for script in (scripts._BEAT, scripts._SWEEP, scripts._WAIT, scripts._BLOCK))
ZSCAN, HMGET, ZADD = (b"\r\n%b\r\n" % name for name in (b"ZSCAN", b"HMGET", b"ZADD"))

at_each_point = pytest.mark.parametrize("point", Point)


def history(scene: Scene, agent_id: str) -> list[str]:
    """What the timeline says of an agent, without its news."""
    kinds = [kind for kind in ChangeKind if kind is not ChangeKind.UPDATED]
    return [kind for kind, (found, _) in timeline(scene.store, *kinds) if found == agent_id]


def stored_status(scene: Scene, agent_id: str) -> str:
    return (scene.store.redis.hget(f"{scene.store.prefix}agent:{agent_id}", "status") or b"").decode()  # type: ignore[union-attr]


def leases(scene: Scene, agent_id: str) -> int:
    """How many leases an agent has."""
    members: Any = scene.store.redis.zrange(f"{scene.store.prefix}leases", 0, -1)
    return sum(member.decode().rpartition("#")[0] == agent_id for member in members)


def join(scene: Scene, facade: Facade, url: str) -> Peer:
    if facade.name == "blocking":
        return scene.peers.join("newcomer", url=url)
    return asyncio.run(scene.peers.ajoin("newcomer", url=url))


def leave(peer: Peer, facade: Facade) -> bool:
    peer.left = True
    ending = peer.agent.leave(AgentStatus.COMPLETED)
    return drive(ending) if facade.name == "blocking" else asyncio.run(ending)


# Joining and leaving


@BOTH_WAYS
@pytest.mark.parametrize("mark", [b"LOAD", OPEN, JOIN, LOOK, XREAD], ids=["load", "open", "join", "look", "read"])
@pytest.mark.parametrize("fate", ["back", "away"])
def test_a_join_that_is_cut_is_one_join(  # noqa: PLR0917
    scene: Scene, short_grace: float, mark: bytes, point: Point, facade: Facade, fate: str
) -> None:
    """§5.11: the first connection of a process breaks; the agent is there once, and takes part when the store does."""
    if mark == XREAD and point not in REQUEST_POINTS:
        pytest.skip("nothing answers the first read before somebody sends")
    url = scene.peers.elsewhere(scene.proxy.url)

    newcomer = scene.under_cut(lambda: join(scene, facade, url), point, mark, away=fate == "away")

    assert isinstance(newcomer, Peer)
    scene.back()
    wait_until(lambda: newcomer.hub.link.up and newcomer.member.epoch)
    assert history(scene, "newcomer") == ["joined"]
    assert leases(scene, "newcomer") == 1
    assert newcomer.signals.send("job", "friend") != ""
    assert scene.friend.signals.wait("job", source="newcomer", timeout=5)
    assert scene.friend.signals.send("job", "newcomer") != ""
    assert newcomer.signals.wait("job", timeout=5)
    assert newcomer.signals.check("job") is None


@BOTH_WAYS
@pytest.mark.parametrize("mark", [JOIN, LOOK], ids=["join", "look"])
def test_a_join_beside_others_that_is_cut_is_one_join(scene: Scene, mark: bytes, point: Point, facade: Facade) -> None:
    """§5.11: the process has an agent already."""
    scene.quiet()

    newcomer = scene.under_cut(lambda: join(scene, facade, scene.proxy.url), point, mark)

    assert isinstance(newcomer, Peer)
    wait_until(lambda: newcomer.member.epoch)
    assert newcomer.hub is scene.victim.hub
    scene.still_works()
    assert history(scene, "newcomer") == ["joined"]
    assert leases(scene, "newcomer") == 1
    assert scene.friend.signals.send("job", "newcomer") != ""
    assert newcomer.signals.wait("job", timeout=5)


@BOTH_WAYS
def test_a_leave_that_is_cut_ends_the_agent_once(scene: Scene, point: Point, facade: Facade) -> None:
    """§5.10: the store is there again at once: one end, confirmed, that revives nobody and is told once."""
    leaver = scene.peers.join("leaver", url=scene.proxy.url)
    told = alone(scene.friend)
    scene.quiet()

    assert scene.under_cut(lambda: leave(leaver, facade), point, LEAVE) is True

    scene.still_works()
    assert stored_status(scene, "leaver") == "completed"
    assert leases(scene, "leaver") == 0
    assert history(scene, "leaver") == ["joined", "ended"]
    assert leaver.agent.replaced == ""
    assert leaver.member.was_lost is False
    assert told.wait("job", source="leaver", timeout=5).reason is Reason.PEER_GONE  # type: ignore[union-attr]


@at_each_point
def test_a_leave_that_was_not_confirmed_is_not_done_later(scene: Scene, short_grace: float, point: Point) -> None:
    """§5.10 and §5.1: the store stays away; ``True`` only where the answer came, and nothing happens afterwards."""
    leaver = scene.peers.join("leaver", url=scene.proxy.url)
    scene.quiet()

    left = scene.under_cut(lambda: leave(leaver, FACADES[0]), point, LEAVE, away=True)

    assert left is (point is Point.AFTER_REPLY)
    before = history(scene, "leaver")
    assert before == ["joined", "ended"][: 1 if point in {Point.BEFORE, Point.INSIDE_REQUEST} else 2]
    scene.back()
    scene.still_works()
    assert history(scene, "leaver") == before
    assert leases(scene, "leaver") == 2 - len(before)


# Beats


@pytest.mark.parametrize("fate", ["back", "away"])
@at_each_point
@pytest.mark.parametrize("mark", [BEAT, ZADD], ids=["beat", "renewal"])
def test_a_beat_that_is_cut_costs_nobody_its_lease(
    scene: Scene, short_grace: float, mark: bytes, point: Point, fate: str
) -> None:
    """§5.10: the hub is back well before the lease ends: the same incarnation, which nobody was told was lost."""
    beating = scene.peers.join(
        "beating", url=scene.peers.elsewhere(scene.proxy.url), heartbeat=Heartbeat(interval=0.05, ttl=30)
    )
    epoch, lease = beating.member.epoch, f"{scene.store.prefix}leases"

    scene.under_cut(lambda: wait_until(scene.proxy.has_cut.is_set), point, mark, away=fate == "away")

    before = scene.store.redis.zscore(lease, beating.member.lease)
    assert before is not None
    scene.back()
    wait_until(lambda: scene.store.redis.zscore(lease, beating.member.lease) > before)  # type: ignore[operator]
    wait_until(lambda: beating.hub.link.up)
    assert beating.member.epoch == epoch
    assert history(scene, "beating") == ["joined"]
    assert scene.friend.signals.send("job", "beating") != ""
    assert beating.signals.wait("job", timeout=5)


# Watching a source, and cycles


@BOTH_WAYS
@pytest.mark.parametrize("mail", [False, True], ids=["silent", "mail-first"])
@pytest.mark.parametrize("mark", [WAIT, XREAD], ids=["question", "news"])
def test_a_source_that_ends_over_a_cut_ends_the_wait(
    scene: Scene, mark: bytes, mail: bool, point: Point, facade: Facade
) -> None:
    """§5.8: the question about it is cut, or the news of its end; mail that it sent before is delivered first."""
    source = scene.peers.join("source", url=scene.peers.elsewhere())
    scene.quiet()

    def meanwhile() -> None:
        wait_until(lambda: is_told(scene.store, scene.victim, "source"))
        if mark == XREAD and point in REQUEST_POINTS:
            scene.send(0, type_="noise")
            wait_until(scene.proxy.has_cut.is_set)
        if mail:
            assert source.signals.send("job", "victim", "last") != ""
        end(source)

    result = scene.under_cut(
        lambda: facade(scene.victim, "wait", "job", source="source", timeout=10), point, mark, meanwhile=meanwhile
    )

    if mail:
        assert isinstance(result, Signal)
        assert result.payload == "last"
        result = scene.victim.signals.wait("job", source="source", timeout=10)
    assert isinstance(result, NoSignal)
    assert result.reason is Reason.PEER_GONE
    scene.still_works()
    assert scene.rest(scene.victim) == []


@at_each_point
def test_a_watched_source_and_a_store_that_goes(scene: Scene, short_grace: float, point: Point) -> None:
    """§5.11: whether the source has ended only the store knows: unavailable, and no end is made up."""
    scene.peers.join("source", url=scene.peers.elsewhere())
    scene.quiet()

    result = scene.under_cut(
        lambda: scene.victim.signals.wait("job", source="source", timeout=10), point, WAIT, away=True
    )

    assert isinstance(result, NoSignal)
    assert result.reason is Reason.UNAVAILABLE
    scene.back()
    scene.still_works()


@BOTH_WAYS
def test_a_cycle_is_found_though_the_first_wait_was_cut(
    scene: Scene, point: Point, facade: Facade, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.8: what the store is told of a wait is told again over the next link; one of the two learns of the cycle."""
    monkeypatch.setattr(blocks, "SETTLE", 0.05)
    scene.quiet()
    ends: list[Any] = []

    def close() -> None:
        wait_until(scene.proxy.has_cut.is_set)
        if point is not Point.AFTER_REPLY:  # that is noticed only with the next command
            scene.reconnected()
        wait_until(lambda: not scene.victim.hub.blocks._untold and "victim" in known(scene.store))
        ends.append(alone(scene.friend).wait("y", source="victim", timeout=10))
        assert scene.friend.signals.send("x", "victim") != ""

    result = scene.under_cut(
        lambda: facade(scene.victim, "wait", "x", source="friend", timeout=20), point, BLOCK, meanwhile=close
    )

    assert [end.reason for end in ends] == [Reason.DEADLOCK]
    assert isinstance(result, Signal)
    scene.still_works()


@pytest.fixture
def briefly_fresh(shrink: Callable[[str, int], None]) -> None:
    """As the grace time is shorter here, so is the time for which the store believes that a wait goes on."""
    shrink("FRESH", 100)


@pytest.mark.parametrize("point", list(Point))
def test_a_wait_that_the_store_was_told_of_and_that_ended_without_it_closes_no_cycle(
    briefly_fresh: None, scene: Scene, short_grace: float, point: Point
) -> None:
    """§5.8: an agent that gave its wait up while the store was away is not blocked: no false alarm."""
    block = sha(scripts._BLOCK)
    scene.quiet()

    result = scene.under_cut(
        lambda: alone(scene.victim).wait("x", source="friend", timeout=30), point, block, away=True
    )
    nothing = alone(scene.friend).wait("y", source="victim", timeout=0.5)

    assert isinstance(result, NoSignal)
    assert result.reason is Reason.UNAVAILABLE
    assert isinstance(nothing, NoSignal)
    assert nothing.reason is Reason.TIMEOUT
    scene.back()
    scene.still_works()


# Those who look


def look(scene: Scene, facade: Facade, url: str) -> Any:
    """List the agents, over a hub of its own."""
    if facade.name == "blocking":
        with Monitor(url, scene.store.namespace) as monitor:
            return sorted(agent.agent_id for agent in monitor.agents())

    async def listed() -> Any:
        async with AsyncMonitor(url, scene.store.namespace) as monitor:
            return sorted(agent.agent_id for agent in await monitor.agents())

    return asyncio.run(listed())


@BOTH_WAYS
@pytest.mark.parametrize("mark", [SWEEP, ZSCAN, HMGET], ids=["sweep", "leases", "hashes"])
def test_a_listing_that_is_cut_is_complete(scene: Scene, mark: bytes, point: Point, facade: Facade) -> None:
    """§5.10: the store is there again at once; everyone is listed, once."""
    url = scene.peers.elsewhere(scene.proxy.url)

    assert scene.under_cut(lambda: look(scene, facade, url), point, mark) == ["friend", "victim"]


@at_each_point
@pytest.mark.parametrize("mark", [SWEEP, ZSCAN, HMGET], ids=["sweep", "leases", "hashes"])
def test_a_listing_from_a_store_that_goes_says_so(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, mark: bytes, point: Point
) -> None:
    """§5.11: it raises what the monitor documents, and lists nobody instead of some."""
    with Monitor(scene.peers.elsewhere(scene.proxy.url), scene.store.namespace) as monitor:
        assert len(monitor.agents()) == 2
        monkeypatch.setattr(link, "GRACE", 0.6)  # a listing asks four times

        listed = scene.under_cut(monitor.agents, point, mark, away=True)

        assert isinstance(listed, StoreUnavailable) or (point is Point.AFTER_REPLY and len(listed) == 2)
        scene.proxy.revive()
        wait_until(lambda: not isinstance(found := outcome(monitor.agents), Exception) and len(found) == 2)


@at_each_point
@pytest.mark.parametrize("fate", ["back", "away"])
@pytest.mark.parametrize("mark", [XREAD, HMGET], ids=["read", "hashes"])
def test_a_follower_that_is_cut_is_told_everything_once(
    scene: Scene, short_grace: float, mark: bytes, fate: str, point: Point
) -> None:
    """§5.10: what happens around the cut is told, in order and once; where the store stays away, it says so."""
    follower = Following(scene.peers.elsewhere(scene.proxy.url), scene.store.namespace)

    told = scene.under_cut(
        lambda: follower._changes.next(5),
        point,
        mark,
        away=fate == "away",
        meanwhile=lambda: scene.peers.join("newcomer"),
    )

    assert isinstance(told, list | StoreUnavailable)
    follower.seen += told if isinstance(told, list) else []
    scene.proxy.revive()
    follower.until(ChangeKind.JOINED, "newcomer")
    scene.friend.leave()
    follower.until(ChangeKind.ENDED, "friend")
    assert follower.kinds("newcomer") == [ChangeKind.JOINED]
    assert follower.kinds("friend") == [ChangeKind.ENDED]
    assert follower.kinds("victim") == []
    follower.close()


@at_each_point
@pytest.mark.parametrize("fate", ["back", "away"])
def test_to_begin_to_follow_over_a_cut(scene: Scene, short_grace: float, fate: str, point: Point) -> None:
    """§5.10: where that succeeds, all is told from then on; where the store stays away, it says so."""
    with Monitor(scene.peers.elsewhere(scene.proxy.url), scene.store.namespace) as monitor:
        monitor.agents()

        followed = scene.under_cut(monitor.follow, point, b"nudge", away=fate == "away")

        assert isinstance(followed, Changes) or fate == "away"
        scene.proxy.revive()
        while not isinstance(followed, Changes):
            assert isinstance(followed, StoreUnavailable)
            followed = outcome(monitor.follow)
        with followed as changes:
            scene.peers.join("newcomer")
            found = wait_until(lambda: [change for change in told(changes) if change.agent.agent_id == "newcomer"])
    assert [change.kind for change in found] == [ChangeKind.JOINED]


def test_a_follower_that_waits_for_the_store_goes_on_when_it_is_back(scene: Scene, short_grace: float) -> None:
    """§5.11: at once, and not with the next change: what happened while the store was away is waiting for it."""
    follower = Following(scene.peers.elsewhere(scene.proxy.url), scene.store.namespace)
    scene.proxy.die()
    assert isinstance(outcome(lambda: follower._changes.next(5)), StoreUnavailable)
    waiting = Awaited(lambda: follower._changes.next(None))
    scene.peers.join("newcomer", url=scene.peers.elsewhere())

    scene.proxy.revive()

    try:
        assert [(change.kind, change.agent.agent_id) for change in waiting.result()] == [
            (ChangeKind.JOINED, "newcomer")
        ]
    finally:
        scene.friend.leave()  # wakes it in any case
    follower.close()


def told(changes: Changes) -> list[AgentChange]:
    """What has changed; a store that is away may come back."""
    found = outcome(lambda: changes.next(0.2))
    return [] if isinstance(found, StoreUnavailable) else found
