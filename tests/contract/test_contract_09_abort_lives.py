"""§5.9: aborts over links that break and without a store, restarts, scripts that joined, and bad data."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from aborting import WHY, aborted, field, is_told, waits
from awaiting import Awaited, end
from peers import Peer, Peers, until
from proxy import Proxy
from waiting import wait_until

from attune_dsl import Heartbeat, join
from attune_dsl.coordination.agent import AgentInfo, enter
from attune_dsl.hub import link
from attune_dsl.hub.connector import Connector
from attune_dsl.hub.drive import drive
from attune_dsl.hub.member import Member
from attune_dsl.model import AgentStatus, Reason
from attune_dsl.store import limits

if TYPE_CHECKING:
    from conftest import Store

SHORT = Heartbeat(interval=0.1, ttl=0.6)


@pytest.fixture
def me(peers: Peers) -> Peer:
    """Who is asked."""
    return peers.join("me")


@pytest.fixture
def afar(peers: Peers, proxy: Proxy) -> Peer:
    """Who is asked, over a link that may break."""
    return peers.join("me", url=proxy.url)


# Links and stores


def test_it_is_learnt_over_the_next_link(store: Store, proxy: Proxy, ops: Peer, afar: Peer) -> None:
    """§5.9: the store keeps it while the link is away; the wait goes on through that."""
    waiting = waits(afar, "x")

    proxy.die()
    wait_until(lambda: not afar.hub.link.up)
    assert ops.signals.abort("enough", "me") == ["me"]
    assert not waiting.is_over
    proxy.revive()

    assert aborted(waiting.result(10)) == WHY


def test_one_that_was_on_its_way_when_the_link_broke_is_not_missed(proxy: Proxy, ops: Peer, afar: Peer) -> None:
    """§5.9: its entry went into the inbox of the old link."""
    waiting = waits(afar, "x")
    proxy.swallow(b"never")
    link = afar.hub.commands.link

    ops.signals.abort("enough", "me")
    proxy.cut()

    assert aborted(waiting.result(10)) == WHY
    wait_until(lambda: afar.hub.link.up and afar.hub.commands.link != link)
    assert aborted(afar.signals.wait("x")) == WHY


def test_a_full_inbox_loses_none(store: Store, ops: Peer, me: Peer) -> None:
    """§5.9: its hub is told to ask, and does."""
    waiting = waits(me, "x")
    with me.hub.reader._asking:  # nobody reads meanwhile
        inbox = me.hub.reader._inbox
        store.redis.xadd(inbox, {"nudge": "1"})
        wait_until(lambda: me.hub.reader._owed, what="the read is answered")
        with store.redis.pipeline() as pipeline:
            for _ in range(limits.INBOX_COUNT):
                pipeline.xadd(inbox, {"nudge": "1"})
            pipeline.execute()
        ops.signals.abort("enough", "me")
        assert [fields for _, fields in store.redis.xrange(inbox)] == [{b"resync": b"1"}]

    assert aborted(waiting.result(10)) == WHY


def test_without_a_store_nobody_is_asked_and_nothing_raises(
    store: Store, proxy: Proxy, afar: Peer, ops: Peer, short_grace: float
) -> None:
    """§5.11: not confirmed, with and without a target."""
    proxy.die()
    wait_until(lambda: not afar.hub.link.up)

    assert afar.signals.abort("enough", "ops") == []
    assert afar.signals.abort("enough") == []
    assert ops.agent.aborted == ""


def test_the_process_s_own_abort_needs_no_store(proxy: Proxy, afar: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """§5.9, §5.11: waits end at once though the link is away, and not only when it is given up."""
    monkeypatch.setattr(link, "GRACE", 600)
    waiting = waits(afar, "x")
    proxy.die()
    wait_until(lambda: not afar.hub.link.up)

    afar.agent.halt("enough", is_abort=True)

    assert aborted(waiting.result(10)) == "enough"


def test_the_store_is_told_of_the_process_s_own_abort_when_it_is_back(store: Store, proxy: Proxy, afar: Peer) -> None:
    """§5.9: for others and for a successor."""
    proxy.die()
    wait_until(lambda: not afar.hub.link.up)
    afar.agent.halt("enough", is_abort=True)
    proxy.revive()
    wait_until(lambda: field(store, "me", "abort_reason") == "enough")


def test_a_word_to_the_store_that_a_broken_link_swallowed_is_said_again(
    store: Store, proxy: Proxy, afar: Peer, ops: Peer
) -> None:
    """§5.9: the process's own abort is not lost between two links."""
    proxy.stall()  # what is written now arrives nowhere
    afar.agent.halt("enough", is_abort=True)
    wait_until(lambda: not afar.hub.aborts._unsaid)
    proxy._stalled = False
    proxy.cut()
    wait_until(lambda: field(store, "me", "abort_reason") == "enough")


def test_a_caller_s_cancellation_is_no_abort_to_others(store: Store, me: Peer) -> None:
    """§5.9: its waits end, and no successor is asked to stop."""
    waiting = waits(me, "x")
    me.agent.halt("SIGTERM", is_abort=False)
    assert me.hub.aborts._unsaid == []
    assert aborted(waiting.result()) == "SIGTERM"
    me.signals.send("flush", "me")
    assert field(store, "me", "abort_reason") is None


# Incarnations


def crash(store: Store, peer: Peer) -> None:
    """The agent's process is gone, as after a kill: nobody says so, and its lease lapses."""
    peer.hub._forget(peer.member)
    store.redis.zadd(f"{store.prefix}leases", {peer.member.lease: 1})


@pytest.mark.parametrize("takeover", [False, True])
def test_the_next_incarnation_of_one_that_died_is_asked_too(
    store: Store, ops: Peer, peers: Peers, takeover: bool
) -> None:
    """§5.9: it survives a restart, until an end consumes it."""
    first = peers.join("me", url=peers.elsewhere())
    ops.signals.abort("enough", "me")
    crash(store, first)

    second = peers.join("me", url=peers.elsewhere(), takeover=takeover)
    assert second.agent.aborted == WHY
    assert aborted(second.signals.wait("x")) == WHY
    end(second, AgentStatus.ABORTED)

    third = peers.join("me", url=peers.elsewhere())
    assert third.agent.aborted == ""


def test_mail_for_the_next_incarnation_comes_first(store: Store, ops: Peer, peers: Peers) -> None:
    """§5.9, §5.7: also what its predecessor had not taken."""
    first = peers.join("me", url=peers.elsewhere())
    ops.signals.send("x", "me", 1)
    ops.signals.abort("enough", "me")
    crash(store, first)

    second = peers.join("me", url=peers.elsewhere())
    assert second.signals.wait("x", timeout=None)
    assert aborted(second.signals.wait("x", timeout=None)) == WHY


@pytest.mark.usefixtures("short_grace")
@pytest.mark.parametrize("by_itself", [False, True])
def test_a_next_run_of_the_process_whose_end_was_not_confirmed_is_not_asked(
    store: Store, ops: Peer, proxy: Proxy, peers: Peers, by_itself: bool
) -> None:
    """§5.9: the one that was asked has ended; the store could not be told, and its process lives on."""
    other, first = peers.join("other", url=proxy.url), peers.join("me", url=proxy.url)
    assert first.hub is other.hub
    if not by_itself:
        ops.signals.abort("enough", "me")
        wait_until(is_told(first))
    proxy.die()
    wait_until(lambda: not first.hub.link.up)
    if by_itself:
        first.agent.halt("enough", is_abort=True)
    first.leave(AgentStatus.ABORTED)

    second = peers.join("me", url=proxy.url)
    proxy.revive()
    wait_until(lambda: second.hub.link.up and second.member.epoch)

    assert second.member.epoch > first.member.epoch
    assert second.signals.wait("x", timeout=0).reason is Reason.TIMEOUT
    assert second.agent.aborted == ""
    assert field(store, "me", "abort_reason") is None


def test_who_takes_the_id_of_a_living_owner_is_not_asked(ops: Peer, me: Peer, peers: Peers) -> None:
    """§5.9: another was meant."""
    ops.signals.abort("enough", "me")
    new = peers.join("me", url=peers.elsewhere(), takeover=True)
    assert new.agent.aborted == ""
    assert new.signals.wait("x", timeout=0).reason is Reason.TIMEOUT


def test_one_that_was_lost_and_came_back_is_still_asked(store: Store, ops: Peer, peers: Peers) -> None:
    """§5.9: it knows it itself, and so does the store."""
    me = peers.join("me", heartbeat=SHORT)
    ops.signals.abort("enough", "me")
    wait_until(is_told(me))
    epoch = me.member.epoch
    store.redis.hset(f"{store.prefix}agent:me", mapping={"status": "lost", "ended_at": "1", "owner": str(epoch)})
    store.redis.zrem(f"{store.prefix}leases", me.member.lease)

    wait_until(lambda: me.member.epoch > epoch)
    assert aborted(me.signals.wait("x")) == WHY
    assert field(store, "me", "abort_reason") == "enough"


def test_one_that_comes_while_its_agent_joins_is_not_missed(
    ops: Peer, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.9: the word is read before the answer to the join, which was given before it."""
    other = peers.join("other")
    waits(other, "x", timeout=30)  # it reads for its hub
    wait_until(lambda: not other.hub.aborts._is_unsure)
    told: list[Any] = []
    original, tell = Connector._own, other.hub.aborts.told
    monkeypatch.setattr(other.hub.aborts, "told", lambda fields: (tell(fields), told.append(fields)))

    def own_late(connector: Connector, member: Member, reply: Any) -> None:
        if member.agent_id == "me" and not told:
            assert Awaited(ops.signals.abort, "enough", "me").result() == ["me"]
            wait_until(lambda: told)
        original(connector, member, reply)

    monkeypatch.setattr(Connector, "_own", own_late)
    me = peers.join("me")

    assert aborted(Awaited(me.signals.wait, "y", timeout=600).result()) == WHY
    assert other.agent.aborted == ""
    assert ops.signals.send("x", "other")


# Scripts that joined


def test_a_script_knows_and_ends_as_aborted(store: Store, ops: Peer) -> None:
    """§5.9: whatever it does then, if it does not fail by an interruption."""
    with join("me", store=store.url, namespace=store.namespace) as me:
        assert me.aborted == ""
        assert ops.signals.abort("enough", "me") == ["me"]
        assert aborted(me.signals.wait("x", timeout=None)) == WHY
        assert me.aborted == WHY

    assert (field(store, "me", "status"), field(store, "me", "error")) == ("aborted", WHY)


def test_a_script_that_raises_after_it_was_asked_ends_as_aborted(store: Store, ops: Peer) -> None:
    """§5.9: its error is kept."""
    with suppress(RuntimeError), join("me", store=store.url, namespace=store.namespace) as me:
        ops.signals.abort("enough", "me")
        assert not me.signals.wait("x", timeout=None)
        raise RuntimeError("no x")
    assert (field(store, "me", "status"), field(store, "me", "error")) == ("aborted", "RuntimeError: no x")


def test_an_interrupted_script_is_cancelled_all_the_same(store: Store, ops: Peer) -> None:
    """§5.9: aborted is what a participant asked for, cancelled what the user did."""
    with suppress(KeyboardInterrupt), join("me", store=store.url, namespace=store.namespace) as me:
        ops.signals.abort("enough", "me")
        wait_until(lambda: me.aborted)
        raise KeyboardInterrupt
    assert field(store, "me", "status") == "cancelled"


async def test_an_async_script_knows_too(store: Store, peers: Peers) -> None:
    """§5.9: and asks others."""
    other = await peers.ajoin("other")
    async with join("me", store=store.url, namespace=store.namespace) as me:
        assert await me.signals.abort("enough", "other") == ["other"]
        await until(is_told(other))
        assert await other.async_signals.abort("you too", "me") == ["me"]
        assert aborted(await me.signals.wait("x", timeout=None)) == "you too (asked by other)"
    assert await asyncio.to_thread(field, store, "me", "status") == "aborted"
    await other.aleave()


# Bad data


HOSTILE: list[dict[str, str]] = [
    {"abort": "me"},
    {"abort": "me", "epoch": "x", "reason": "no", "by": "mallory"},
    {"abort": "me", "epoch": "999999", "reason": "no", "by": "mallory"},
    {"abort": "nobody", "epoch": "1", "reason": "no", "by": "mallory"},
    {"abort": "me", "epoch": "own", "by": "mallory"},
    {"abort": "me", "epoch": "own", "reason": "", "by": "mallory"},
    {"abort": "", "epoch": "own", "reason": "no"},
    {"abort": "\udcff", "epoch": "own", "reason": "\udcff"},
]


@pytest.mark.parametrize("entry", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_entries_are_skipped_alone(store: Store, ops: Peer, me: Peer, entry: dict[str, str]) -> None:
    """§5.12: they abort nobody, and what follows is heard."""
    own = str(me.member.epoch)
    fields = {k: (own if v == "own" else v).encode(errors="surrogateescape") for k, v in entry.items()}
    waiting = waits(me, "x", "y")

    store.redis.xadd(me.hub.reader._inbox, fields)
    ops.signals.send("x", "me")
    assert waiting.result()
    assert me.agent.aborted == ""

    ops.signals.abort("enough", "me")
    assert aborted(me.signals.wait("y", timeout=None)) == WHY


def test_nonsense_among_the_leases_stops_nobody(store: Store, ops: Peer, me: Peer) -> None:
    """§5.12: the others are asked."""
    later = 2**53
    store.redis.zadd(f"{store.prefix}leases", {"#": later, "x": later, "a#b": later, b"\xff#1": later, "bad#1": later})
    store.redis.set(f"{store.prefix}agent:bad", "x", ex=60)
    assert ops.signals.abort("enough") == ["me"]
    wait_until(is_told(me))
    store.redis.zrem(f"{store.prefix}leases", "#", "x", "a#b", b"\xff#1", "bad#1")


def test_a_foreign_type_in_the_agent_s_place_aborts_nobody(
    store: Store, me: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    """§5.12: asked anew, the answer is an error, and the agent goes on."""
    key = f"{store.prefix}agent:me"
    held = store.redis.hgetall(key)
    store.redis.delete(key)
    store.redis.set(key, "x", ex=60)
    me.hub.ask_again()
    wait_until(lambda: not me.hub.aborts._is_unsure and not me.hub.commands._unanswered)
    store.redis.delete(key)
    store.redis.hset(key, mapping=held)
    store.redis.expire(key, 60)

    assert me.agent.aborted == ""
    assert me.hub.link.up


def test_an_agent_without_a_store_is_asked_by_its_own_process_only() -> None:
    """§5.11: nothing is kept and nothing raises."""
    agent = drive(enter("me", heartbeat=None, coordination=None, info=AgentInfo()))
    agent.halt("enough", is_abort=True)
    assert (agent.aborted, agent.has_heeded) == ("", False)
    assert agent.signals().abort("enough") == []
