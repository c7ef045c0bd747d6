"""§5.8: gathering from those who end, links that break while a source ends, bad data, and what a wait costs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from awaiting import Awaited, end, is_told, links_told, waits_for
from following import Follow
from peers import Peer, Peers, until
from proxy import Proxy
from waiting import wait_until

from attune_dsl.hub.member import Member
from attune_dsl.model import AgentStatus, ChangeKind, Heartbeat, Reason
from attune_dsl.store import limits, scripts

if TYPE_CHECKING:
    from conftest import Store

Shrink = Callable[[str, int], None]
SHORT = Heartbeat(interval=0.1, ttl=0.6)


@pytest.fixture
def me(peers: Peers) -> Peer:
    """Who waits."""
    return peers.join("me")


@pytest.fixture
def afar(peers: Peers, proxy: Proxy) -> Peer:
    """Who waits, over a link that may break."""
    return peers.join("me", url=proxy.url)


@pytest.fixture
def source(peers: Peers) -> Peer:
    """Who is waited for, over a link of its own."""
    return peers.join("source", url=peers.elsewhere())


# Gathering


@pytest.fixture
def three(peers: Peers) -> list[Peer]:
    return [peers.join(name, url=peers.elsewhere()) for name in ("a", "b", "c")]


def gathers(me: Peer, *sources: str, **how: Any) -> Awaited:
    return Awaited(me.signals.collect, "part", sources=sources, **how)


def test_gathering_goes_on_with_those_that_live(me: Peer, three: list[Peer]) -> None:
    """§5.8: and ends when all that are missing are gone; it names them and keeps what came."""
    a, b, c = three
    gathering = gathers(me, "a", "b", "c", timeout=None)

    a.signals.send("part", "me", 1)
    end(b, AgentStatus.FAILED)
    assert not gathering.is_over
    end(a)  # it has sent its part
    assert not gathering.is_over
    end(c, AgentStatus.ABORTED)

    got = gathering.result()
    assert [signal.payload for signal in got] == [1]
    assert (bool(got), got.missing, got.reason) == (False, ("b", "c"), Reason.PEER_GONE)
    assert got.detail == "agent 'b' failed; agent 'c' was aborted"


def test_gathering_ends_at_once_with_the_last_that_lived(me: Peer, three: list[Peer]) -> None:
    """§5.8: one was gone before; the other has sent: nobody is left who could."""
    a, b, _ = three
    gathering = gathers(me, "a", "b")
    wait_until(lambda: me.hub.sources._told == {"a", "b"})

    end(a, AgentStatus.FAILED)
    wait_until(lambda: me.hub.sources._waits.keys() == {"b"})
    b.signals.send("part", "me", 2)

    got = gathering.result()
    assert ([signal.payload for signal in got], got.missing, got.detail) == ([2], ("a",), "agent 'a' failed")


def test_gathering_from_all_that_live_succeeds_though_they_end(me: Peer, three: list[Peer]) -> None:
    """§5.8: what they had sent comes first."""
    gathering = gathers(me, "a", "b", "c")

    for peer in three:
        peer.signals.send("part", "me", peer.id)
        peer.leave()

    got = gathering.result()
    assert bool(got)
    assert sorted(signal.payload for signal in got) == ["a", "b", "c"]


def test_a_successor_of_one_that_is_gone_counts(me: Peer, peers: Peers, three: list[Peer]) -> None:
    """§5.8: it was started again while the others were waited for; those still are."""
    a, b, c = three
    gathering = gathers(me, "a", "b", "c")
    wait_until(lambda: me.hub.sources._told == {"a", "b", "c"})

    end(a, AgentStatus.FAILED)
    wait_until(lambda: me.hub.sources._waits.keys() == {"b", "c"})
    again = peers.join("a", url=peers.elsewhere())
    again.signals.send("part", "me", "again")
    wait_until(lambda: not me.member.mailbox._by_type)
    end(b)
    assert not gathering.is_over
    c.signals.send("part", "me", "c")

    got = gathering.result()
    assert ([signal.payload for signal in got], got.missing) == (["again", "c"], ("b",))


def test_gathering_by_number_does_not_end_with_anyone(me: Peer, source: Peer, three: list[Peer]) -> None:
    """§5.8: whoever may come."""
    gathering = Awaited(me.signals.collect, "part", count=2)
    for peer in three:
        end(peer)
    for n in range(2):
        source.signals.send("part", "me", n)

    assert len(gathering.result()) == 2


def test_gathering_from_those_that_ended_before_it_began(me: Peer, three: list[Peer]) -> None:
    """§5.8: at once, with what they had sent."""
    three[0].signals.send("part", "me", 0)
    for peer in three:
        end(peer)

    got = gathers(me, "a", "b", "c", timeout=None).result()

    assert ([signal.payload for signal in got], got.missing, got.reason) == ([0], ("b", "c"), Reason.PEER_GONE)


# Links


def test_an_end_while_the_link_was_away_is_learnt_when_it_is_back(
    store: Store, proxy: Proxy, afar: Peer, source: Peer
) -> None:
    """§5.8, §5.11: the new link asks about all that are waited for."""
    waiting = waits_for(store, afar, "source", "done")

    proxy.die()
    end(source, AgentStatus.FAILED)
    proxy.revive()

    assert waiting.gone() == "agent 'source' failed"


def test_the_new_link_is_told_too(store: Store, proxy: Proxy, afar: Peer, source: Peer) -> None:
    """§5.8: of an end after the link broke and came back."""
    waiting = waits_for(store, afar, "source", "done")
    link = afar.hub.commands.link

    proxy.cut()
    wait_until(lambda: afar.hub.commands.link != link and is_told(store, afar, "source"))
    end(source)

    assert waiting.gone() == "agent 'source' completed"


def test_mail_that_came_while_the_link_was_away_comes_before_the_end(
    store: Store, proxy: Proxy, afar: Peer, source: Peer
) -> None:
    """§5.8: both are in the store when the link is back."""
    waiting = waits_for(store, afar, "source", "done")

    proxy.die()
    source.signals.send("done", "me")
    end(source)
    proxy.revive()

    assert waiting.result()


def test_a_store_that_is_away_makes_nobody_gone(
    store: Store, proxy: Proxy, afar: Peer, source: Peer, short_grace: float
) -> None:
    """§5.8, §5.11: who cannot know waits, and then says that it cannot."""
    waiting = waits_for(store, afar, "source", "done")

    proxy.die()
    end(source)

    nothing = waiting.result()
    assert nothing.reason is Reason.UNAVAILABLE
    refused = Awaited(afar.signals.wait, "done", source="source", require_alive=True).result()
    assert refused.reason is Reason.UNAVAILABLE


@pytest.mark.parametrize("collects", [False, True])
def test_a_last_look_that_fails_makes_nobody_gone(  # noqa: PLR0917
    store: Store,
    proxy: Proxy,
    afar: Peer,
    source: Peer,
    short_grace: float,
    monkeypatch: pytest.MonkeyPatch,
    collects: bool,
) -> None:
    """§5.8: there may be mail that was sent before; only the store knows."""
    look = afar.hub.look

    async def look_in_vain(members: list[Member]) -> bool:
        proxy.die()
        return await look(members)

    source.signals.send("other", "me")
    wait_until(lambda: afar.signals.check("other"))
    if collects:
        waiting = Awaited(afar.signals.collect, "done", sources=["source"], timeout=4)
        wait_until(lambda: is_told(store, afar, "source"))
    else:
        waiting = waits_for(store, afar, "source", "done", timeout=4)
    monkeypatch.setattr(afar.hub, "look", look_in_vain)
    end(source)

    assert waiting.result().reason is Reason.UNAVAILABLE


def test_an_inbox_that_ran_over_hides_no_end(store: Store, peers: Peers, source: Peer, shrink: Shrink) -> None:
    """§5.8: a word that all has to be looked at anew stands in its place."""
    shrink("INBOX_COUNT", 3)
    me, source = peers.join("you", url=peers.elsewhere()), peers.join("other", url=peers.elsewhere())
    waiting = waits_for(store, me, "other", "done")
    inbox = f"{store.prefix}inbox:{me.hub.commands.link}"

    while store.redis.xlen(inbox) < 3:  # type: ignore[operator]
        source.signals.send("noise", "you")
    end(source)

    assert waiting.gone() == "agent 'other' completed"
    assert any(b"resync" in fields for _, fields in store.redis.xrange(inbox))  # type: ignore[union-attr]


def test_one_that_was_lost_itself_meanwhile_learns_of_the_end(
    store: Store, peers: Peers, proxy: Proxy, source: Peer, follow: Follow
) -> None:
    """§5.8: it joins again as a new incarnation, but its program waits since before."""
    me = peers.join("me", url=proxy.url, heartbeat=SHORT)
    waiting, epoch, follower = waits_for(store, me, "source", "done", timeout=None), me.member.epoch, follow()
    me.hub.link.patience = lambda: float("inf")  # type: ignore[method-assign]

    proxy.die()
    follower.until(ChangeKind.LOST, "me")
    end(source)
    proxy.revive()

    assert waiting.gone() == "agent 'source' completed"
    assert me.member.epoch > epoch


# Bad data


@pytest.mark.parametrize(
    "fields",
    [
        {"gone": "source"},
        {"gone": "source", "at": "soon", "order": "1", "status": "lost", "stage": "", "error": ""},
        {"gone": "source", "at": "1", "order": "", "status": "lost", "stage": "", "error": ""},
        {"gone": "source", "at": "1", "order": "9" * 5000, "status": "lost", "stage": "", "error": ""},
        {"gone": "source", "at": "1", "order": "1", "stage": "", "error": ""},
        {"gone": "source", "at": "-1", "order": "-1", "status": "lost", "stage": "", "error": ""},
        {"gone": b"\xff", "at": "1", "order": "1", "status": "lost", "stage": "", "error": ""},
    ],
)
def test_a_malformed_notice_is_skipped_alone(store: Store, me: Peer, source: Peer, fields: dict[str, Any]) -> None:
    """§5.12: the wait goes on, and ends with the true one."""
    waiting, read = waits_for(store, me, "source", "done"), me.hub.reader.read_up_to

    store.redis.xadd(f"{store.prefix}inbox:{me.hub.commands.link}", fields)
    wait_until(lambda: me.hub.reader.read_up_to != read)
    assert not waiting.is_over
    assert me.hub.link.outages == 0
    end(source)

    assert waiting.gone() == "agent 'source' completed"


def test_malformed_notices_are_counted(store: Store, me: Peer) -> None:
    """§5.12: as whatever else is skipped."""
    store.redis.xadd(f"{store.prefix}inbox:{me.hub.commands.link}", {"gone": "source"})

    wait_until(lambda: me.hub.entries.skipped == 1)


@pytest.mark.parametrize("field", ["ended_at", "ended_order"])
def test_an_agent_that_ended_in_no_sensible_way_breaks_no_link(
    store: Store, me: Peer, source: Peer, field: str
) -> None:
    """§5.12: what stands in its hash is skipped; other waits end as they should."""
    ghost = {"epoch": "1", "ended_at": "1", "ended_order": "1", "status": "lost", field: "never"}
    store.redis.hset(f"{store.prefix}agent:ghost", mapping=ghost)
    store.redis.expire(f"{store.prefix}agent:ghost", 60)
    waiting = waits_for(store, me, "source", "done")
    haunted = waits_for(store, me, "ghost", "done")

    end(source)

    assert waiting.gone() == "agent 'source' completed"
    assert (haunted.is_over, me.hub.link.outages, me.hub.entries.skipped) == (False, 0, 1)
    store.redis.hset(f"{store.prefix}agent:ghost", mapping=ghost | {field: str(2**60)})
    me.hub.sources.restart()
    assert haunted.gone() == "agent 'ghost' was lost"


def test_what_stands_in_the_place_of_keys_keeps_nobody_from_ending_or_being_told(
    store: Store, peers: Peers, me: Peer, follow: Follow, proxy: Proxy
) -> None:
    """§5.12: no leave, join or loss fails over the set of those who wait, or over the inbox of one of them."""
    follower = follow()
    for key in ("waited:a", "waited:b", "inbox:bad"):
        store.redis.set(f"{store.prefix}{key}", "hostile", ex=60)
    peers.join("a", url=peers.elsewhere()).leave()
    peers.join("b", url=proxy.url, heartbeat=SHORT)
    c = peers.join("c", url=peers.elsewhere())
    waiting = waits_for(store, me, "c", "done")
    store.redis.sadd(f"{store.prefix}waited:c", "bad", "gone.1")
    end(c)
    assert waiting.gone() == "agent 'c' completed"

    store.redis.sadd(f"{store.prefix}waited:d", "bad", me.hub.commands.link)
    store.redis.expire(f"{store.prefix}waited:d", 60)
    peers.join("d", url=peers.elsewhere())
    proxy.die()
    follower.until(ChangeKind.LOST, "b")

    assert follower.kinds("a") == [ChangeKind.JOINED, ChangeKind.ENDED]


# What it costs, and what it leaves


def test_who_is_told_is_forgotten_with_the_end(store: Store, me: Peer, source: Peer) -> None:
    """§5.8: and at the latest a day after somebody last asked; hubs that wait for longer ask each hour."""
    waiting, key = waits_for(store, me, "source", "done"), f"{store.prefix}waited:source"
    assert limits.AGENT_TTL - 60 < store.redis.ttl(key) <= limits.AGENT_TTL  # type: ignore[operator]

    store.redis.delete(key)
    me.hub.keeper._beater._refresh_at = me.hub.keeper._beater.next_beat = 0
    me.hub.keeper.wake()
    wait_until(lambda: links_told(store, "source") == {me.hub.commands.link})
    end(source)

    assert waiting.gone()
    assert not store.redis.exists(key)


def dialogues(store: Store, peers: Peers, proxy: Proxy, rounds: int) -> int:
    """Have that many questions answered, each waited for; return how often the store was asked how the other stands."""
    me, other = peers.join("me", url=proxy.url), peers.join("other", url=peers.elsewhere())

    def answer() -> bool:
        for _ in range(rounds):
            other.signals.wait("ping", timeout=None)
            other.signals.send("pong", "me")
        return True

    answering = Awaited(answer)
    for _ in range(rounds):
        me.signals.send("ping", "other")
        assert me.signals.wait("pong", source="other")
    assert answering.result()
    return proxy.sent.count(scripts._WAIT.sha.encode())


def test_a_dialogue_costs_no_more_for_being_with_somebody(store: Store, peers: Peers, proxy: Proxy) -> None:
    """§5.8: the store is asked once a link, and not by waits that are over by then."""
    assert dialogues(store, peers, proxy, 200) <= 1


def test_a_wait_for_what_is_here_asks_nothing(proxy: Proxy, afar: Peer, source: Peer) -> None:
    """§5.8: nor one that is over before the hub's thread looks."""
    for n in range(50):
        source.signals.send("done", "me", n)
    wait_until(lambda: len(afar.member.mailbox._by_type.get("done", ())) == 50)

    assert [afar.signals.wait("done", source="source").payload for _ in range(50)] == list(range(50))  # type: ignore[union-attr]
    assert scripts._WAIT.sha.encode() not in bytes(proxy.sent).split(b"SCRIPT")[-1]


def test_a_wait_that_is_over_leaves_nothing_in_the_process(store: Store, me: Peer, source: Peer) -> None:
    """§5.8: however it ended."""
    waits_for(store, me, "source", "done", timeout=0.05).result()
    waiting = waits_for(store, me, "source", "done")
    source.signals.send("done", "me")
    assert waiting.result()
    end(source)
    Awaited(me.signals.wait, "done", source="source").gone()

    assert (me.hub.sources._waits, me.member.mailbox._waiters) == ({}, [])


async def test_a_cancelled_wait_leaves_nothing_in_the_process(store: Store, peers: Peers) -> None:
    """§5.8: and what ends afterwards disturbs nobody."""
    me, source = await peers.ajoin("me"), await peers.ajoin("source", url=peers.elsewhere())
    waiting = asyncio.create_task(me.async_signals.wait("done", source="source"))
    await until(lambda: is_told(store, me, "source"))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await source.aleave()

    assert me.hub.sources._waits == {}
    assert await me.async_signals.check("done") is None
    await me.aleave()
