"""§5.8: a wait for one that has ended since the waiter joined ends at once; what it sent before comes first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from awaiting import Awaited, end, is_told, links_told, waits_for
from following import Follow
from peers import Peer, Peers, until
from proxy import Proxy
from waiting import wait_until

from attune_dsl import Runner, UsageError, stage, workflow
from attune_dsl.model import AgentStatus, ChangeKind, Heartbeat, NoSignal, Reason
from attune_dsl.store import scripts

if TYPE_CHECKING:
    from conftest import Store

SHORT = Heartbeat(interval=0.1, ttl=0.6)
"""Of agents that shall be found dead soon."""


@pytest.fixture
def me(peers: Peers) -> Peer:
    """Who waits."""
    return peers.join("me")


@pytest.fixture
def source(peers: Peers) -> Peer:
    """Who is waited for, over a link of its own, on a stage."""
    source = peers.join("source", url=peers.elsewhere())
    source.agent.touch("build", 0.5)
    return source


# How it ends


@pytest.mark.parametrize(
    ("status", "error", "detail"),
    [
        (AgentStatus.COMPLETED, None, "agent 'source' completed"),
        (AgentStatus.FAILED, "ValueError: no", "agent 'source' failed on stage 'build' (ValueError: no)"),
        (AgentStatus.ABORTED, "RunAborted: enough", "agent 'source' was aborted on stage 'build' (RunAborted: enough)"),
        (AgentStatus.CANCELLED, None, "agent 'source' was cancelled on stage 'build'"),
    ],
)
@pytest.mark.parametrize("same_process", [True, False])
def test_a_wait_ends_with_its_source(  # noqa: PLR0917
    store: Store, peers: Peers, me: Peer, status: AgentStatus, error: str | None, detail: str, same_process: bool
) -> None:
    """§5.8: whatever its status, and the detail says which, on which stage and why."""
    source = peers.join("source", url=None if same_process else peers.elsewhere())
    source.agent.touch("build", 0.5)
    waiting = waits_for(store, me, "source", "done")

    end(source, status, error)

    assert waiting.gone() == detail


def test_a_wait_ends_when_its_source_is_lost(store: Store, peers: Peers, me: Peer, proxy: Proxy) -> None:
    """§5.8: as soon as its lease has lapsed, whoever notices, with the stage where it stopped."""
    source = peers.join("source", url=proxy.url, heartbeat=SHORT)
    source.agent.touch("build", 0.5)
    waiting = waits_for(store, me, "source", "done")
    wait_until(lambda: store.redis.hget(f"{store.prefix}agent:source", "stage") == b"build")

    proxy.die()

    assert waiting.gone() == "agent 'source' was lost on stage 'build'"


@stage
def break_down() -> None:
    raise ValueError("no disk")


@workflow(heartbeat=True, coordination=True)
def breaking() -> None:
    break_down()


@workflow(heartbeat=True, coordination=True)
def well() -> str:
    return "well"


def test_a_wait_ends_with_the_run_that_is_its_source(store: Store, me: Peer) -> None:
    """§5.8: what a run says of itself when it ends is what the one who waits is told."""
    with Runner(store=store.url, namespace=store.namespace) as runner:
        for flow, detail in (
            (breaking, "agent 'breaking' failed on stage 'break_down' (ValueError: no disk)"),
            (well, "agent 'well' completed"),
        ):
            waiting = waits_for(store, me, detail.split("'")[1], "done")
            runner.start(flow).wait()
            assert waiting.gone() == detail


def test_a_wait_without_a_limit_ends_too(store: Store, me: Peer, source: Peer) -> None:
    """§5.8: it is the one that would never end."""
    waiting = waits_for(store, me, "source", "done", timeout=None)

    end(source)

    assert waiting.gone() == "agent 'source' completed"


async def test_an_awaited_wait_ends_too(store: Store, peers: Peers) -> None:
    """§5.8: the same for async code, whose loop reads the socket."""
    me, source = await peers.ajoin("me"), await peers.ajoin("source", url=peers.elsewhere())
    waiting = asyncio.create_task(me.async_signals.wait("done", source="source"))
    await until(lambda: is_told(store, me, "source"))

    await source.aleave(AgentStatus.FAILED)

    async with asyncio.timeout(5):
        assert await waiting == NoSignal(reason=Reason.PEER_GONE, detail="agent 'source' failed")
    await me.aleave()


def test_one_that_ended_before_the_wait_began_is_gone_at_once(me: Peer, source: Peer) -> None:
    """§5.8: what counts is when the waiter joined; also again and again, and for a wait without a limit."""
    end(source, AgentStatus.FAILED)

    for timeout in (30, None, 30):
        waiting = Awaited(me.signals.wait, "done", source="source", timeout=timeout)
        assert waiting.gone() == "agent 'source' failed on stage 'build'"


def test_two_waits_of_one_agent_end_each_with_its_own_source(store: Store, peers: Peers, me: Peer) -> None:
    """§5.8: and a wait for anyone goes on."""
    first, second = (peers.join(name, url=peers.elsewhere()) for name in ("first", "second"))
    waits = [waits_for(store, me, name, "done") for name in ("first", "second", "first")]
    anyone = Awaited(me.signals.wait, "done")

    end(first)
    assert [waits[n].gone() for n in (0, 2)] == ["agent 'first' completed"] * 2
    assert not waits[1].is_over
    end(second)
    assert waits[1].gone() == "agent 'second' completed"
    assert not anyone.is_over
    peers.join("third").signals.send("done", "me")
    assert anyone.result()


async def test_all_who_wait_in_a_process_are_told_by_one_notice(store: Store, peers: Peers, source: Peer) -> None:
    """§5.8: sixty agents of one hub, and one of another."""
    crowd = [await peers.ajoin(f"a{n}") for n in range(60)]
    crowd.append(await peers.ajoin("far", url=peers.elsewhere()))
    waits = [asyncio.create_task(peer.async_signals.wait("done", source="source", timeout=None)) for peer in crowd]
    await until(lambda: is_told(store, crowd[0], "source") and is_told(store, crowd[-1], "source"))
    assert links_told(store, "source") == {crowd[0].hub.commands.link, crowd[-1].hub.commands.link}

    await source.aleave(AgentStatus.ABORTED)

    async with asyncio.timeout(10):
        ended = await asyncio.gather(*waits)
    assert {(nothing.reason, nothing.detail) for nothing in ended if isinstance(nothing, NoSignal)} == {
        (Reason.PEER_GONE, "agent 'source' was aborted on stage 'build'")
    }
    inbox = store.redis.xrange(f"{store.prefix}inbox:{crowd[0].hub.commands.link}")
    assert [b"gone" in fields for _, fields in inbox].count(True) == 1  # type: ignore[union-attr]
    for peer in crowd:
        await peer.aleave()


def test_listening_to_one_ends_with_it(me: Peer, source: Peer) -> None:
    """§5.8: after what it said."""
    heard: list[Any] = []

    def listen() -> bool:
        heard.extend(signal.payload for signal in me.signals.listen("news", source="source"))
        return True

    listening = Awaited(listen)
    for n in range(3):
        source.signals.send("news", "me", n)
    end(source)

    assert listening.result()
    assert heard == [0, 1, 2]


# What it sent before


def send_and_leave(store: Store, source: Peer, *, broadcast: bool = False) -> None:
    """Send and leave in one transaction, so that whoever reads gets both at once, if over one stream."""
    keys, owner = source.hub.keys, source.member.owner
    signal = b'{"type":"done","source":"source"}' if broadcast else b'{"type":"done","source":"source","target":"me"}'
    common = {"owner": owner, "lane": "x", "seq": 1, "signal_id": "x.1", "ttl_ms": 60_000, "signal": signal}
    with store.redis.pipeline() as write:
        if broadcast:
            write.execute_command(*scripts.broadcast(keys, "source", late=True, key=None, **common))
        else:
            write.execute_command(*scripts.send(keys, "source", "me", key=None, **common))
        epoch = str(source.member.epoch)
        write.execute_command(
            *scripts.leave(keys, "source", owner, epoch, status="completed", fields=("error", ""), stages={})
        )  # type: ignore[no-untyped-call]
        assert write.execute()[-1] == b"left"


@pytest.mark.parametrize("broadcast", [False, True])
def test_what_came_with_the_end_in_one_write_comes_first(store: Store, me: Peer, source: Peer, broadcast: bool) -> None:
    """§5.8: as a signal to the agent, and as a broadcast, which comes over another stream."""
    waiting = waits_for(store, me, "source", "done")

    send_and_leave(store, source, broadcast=broadcast)

    assert waiting.result()
    assert Awaited(me.signals.wait, "done", source="source").gone() == "agent 'source' completed"


@pytest.mark.parametrize("same_process", [True, False])
def test_what_was_sent_just_before_the_end_comes_first(
    store: Store, peers: Peers, me: Peer, same_process: bool
) -> None:
    """§5.8: again and again, since it is a race of two messages."""
    for n in range(20):
        source = peers.join(f"source-{n}", url=None if same_process else peers.elsewhere())
        waiting = waits_for(store, me, source.id, "done")
        source.signals.send("done", "me", n)
        source.leave()
        assert waiting.result().payload == n


def test_what_a_lost_one_had_sent_comes_first(
    store: Store, peers: Peers, me: Peer, proxy: Proxy, follow: Follow
) -> None:
    """§5.8: mail of the dead is in the mailbox; then the wait for more ends."""
    source = peers.join("source", url=proxy.url, heartbeat=SHORT)
    follower = follow()
    for n in range(3):
        source.signals.send("done", "me", n)
    proxy.die()
    follower.until(ChangeKind.LOST, "source")

    taken = [me.signals.wait("done", source="source") for _ in range(3)]

    assert [signal.payload for signal in taken if signal] == [0, 1, 2]
    assert Awaited(me.signals.wait, "done", source="source").gone() == "agent 'source' was lost"


def test_a_large_signal_that_came_just_before_comes_first(store: Store, me: Peer, source: Peer) -> None:
    """§5.8: of one that is not copied into the inbox only a pointer comes ahead of the end."""
    waiting = waits_for(store, me, "source", "done")

    source.signals.send("done", "me", "x" * 100_000)
    source.leave()

    assert len(waiting.result().payload) == 100_000


def test_mail_of_another_kind_does_not_keep_the_wait(store: Store, me: Peer, source: Peer) -> None:
    """§5.8: it stays where it is."""
    waiting = waits_for(store, me, "source", "done")

    source.signals.send("other", "me")
    source.leave()

    assert waiting.gone() == "agent 'source' completed"
    assert me.signals.check("other")


# Who has not started yet


def test_one_that_ended_before_the_waiter_joined_is_waited_for(store: Store, peers: Peers, source: Peer) -> None:
    """§5.8: it counts as not started: its next incarnation's signal arrives, and its end ends the next wait."""
    end(source)
    me = peers.join("me")
    waiting = waits_for(store, me, "source", "done")

    again = peers.join("source", url=peers.elsewhere())
    again.signals.send("done", "me", "again")

    assert waiting.result().payload == "again"
    waiting = waits_for(store, me, "source", "done")
    end(again, AgentStatus.FAILED)
    assert waiting.gone() == "agent 'source' failed"


def test_who_ended_first_is_known_within_a_millisecond(peers: Peers) -> None:
    """§5.8: by the order of the store, not by times."""
    source = peers.join("source")
    for _ in range(20):
        before, source = source, peers.join("source", takeover=True)
        before.leave()
        source.leave()
        late = peers.join("late")
        nothing = late.signals.wait("done", source="source", timeout=0.02)
        assert nothing.reason is Reason.TIMEOUT  # type: ignore[union-attr]
        late.leave()


def test_one_that_never_lived_is_waited_for(store: Store, peers: Peers, me: Peer) -> None:
    """§5.8, §5.3: and its end counts from its first incarnation on."""
    waits = [waits_for(store, me, "newcomer", kind) for kind in ("done", "more")]

    newcomer = peers.join("newcomer", url=peers.elsewhere())
    newcomer.signals.send("done", "me")
    assert waits[0].result()
    assert not waits[1].is_over
    newcomer.leave()

    assert waits[1].gone() == "agent 'newcomer' completed"


def test_those_who_joined_later_wait_on_when_another_is_told(store: Store, peers: Peers, me: Peer) -> None:
    """§5.8: two agents of one process; only one of them has missed the end."""
    source = peers.join("source", url=peers.elsewhere())
    end(source)
    late = peers.join("late")
    waiting = waits_for(store, late, "source", "done")

    assert Awaited(me.signals.wait, "done", source="source").gone() == "agent 'source' completed"
    again = peers.join("source", url=peers.elsewhere())
    again.signals.send("done", "late")

    assert waiting.result()


# Who lives


def test_a_source_that_was_started_again_is_waited_for(store: Store, peers: Peers, me: Peer, source: Peer) -> None:
    """§5.8: whoever has ended before: a live incarnation may send."""
    end(source, AgentStatus.FAILED)
    again = peers.join("source", url=peers.elsewhere())
    waiting = waits_for(store, me, "source", "done")

    again.signals.send("done", "me")

    assert waiting.result()


def test_a_late_notice_of_an_end_does_not_end_a_wait_for_the_successor(
    store: Store, peers: Peers, me: Peer, source: Peer
) -> None:
    """§5.8: the wait began after that end, when the next incarnation lived already."""
    waiting = waits_for(store, me, "source", "done")
    order = store.redis.get(f"{store.prefix}order")
    notice = {"gone": "source", "epoch": 1, "at": 1000, "order": order, "status": "failed", "stage": "", "error": ""}
    read = me.hub.reader.read_up_to

    store.redis.xadd(f"{store.prefix}inbox:{me.hub.commands.link}", notice)  # type: ignore[arg-type]
    wait_until(lambda: me.hub.reader.read_up_to != read)
    source.signals.send("done", "me")

    assert waiting.result()
    waiting = waits_for(store, me, "source", "done")
    end(source)
    assert waiting.gone() == "agent 'source' completed"


def test_a_takeover_of_the_source_does_not_end_the_wait(store: Store, peers: Peers, me: Peer, source: Peer) -> None:
    """§5.8: somebody is there; when that one ends, the wait does."""
    waits = [waits_for(store, me, "source", kind) for kind in ("done", "more")]

    new = peers.join("source", url=peers.elsewhere(), takeover=True)
    wait_until(lambda: source.member.gone)
    source.leave()
    new.signals.send("done", "me")

    assert waits[0].result()
    assert not waits[1].is_over
    new.leave()
    assert waits[1].gone() == "agent 'source' completed"


def test_a_source_that_was_cut_off_for_a_moment_is_waited_for(
    store: Store, peers: Peers, me: Peer, proxy: Proxy
) -> None:
    """§5.8: it joins again as the same incarnation."""
    source = peers.join("source", url=proxy.url)
    waiting = waits_for(store, me, "source", "done")
    owner = source.member.owner

    proxy.cut()
    wait_until(lambda: source.member.owner != owner)
    source.signals.send("done", "me")

    assert waiting.result()


# require_alive


def test_require_alive_refuses_one_that_has_not_started(me: Peer) -> None:
    """§5.8: without it, such a one is waited for."""
    nothing = Awaited(me.signals.wait, "done", source="nobody", require_alive=True)

    assert nothing.gone() == "no agent 'nobody' is alive"


def test_require_alive_refuses_one_that_ended_before_the_waiter_joined(peers: Peers, source: Peer) -> None:
    """§5.8: and hands out what it had sent, first."""
    source.signals.send("done", "me", 1)
    source.leave()
    me = peers.join("me")

    first, second = (Awaited(me.signals.wait, "done", source="source", require_alive=True) for _ in range(2))

    found = [one.result() for one in (first, second)]
    assert sorted(str(one.payload if one else one.reason) for one in found) == ["1", "peer_gone"]


def test_require_alive_refuses_one_whose_lease_has_lapsed(store: Store, peers: Peers, me: Peer) -> None:
    """§5.8: also if nobody has declared it lost yet."""
    source = peers.join("source", url=peers.elsewhere())
    store.redis.zadd(f"{store.prefix}leases", {source.member.lease: 1000})

    nothing = Awaited(me.signals.wait, "done", source="source", require_alive=True)

    assert nothing.gone() == "no agent 'source' is alive"


def test_require_alive_waits_for_one_that_lives(store: Store, me: Peer, source: Peer) -> None:
    """§5.8: until it sends, or ends."""
    waits = [Awaited(me.signals.wait, kind, source="source", require_alive=True) for kind in ("done", "more")]
    wait_until(lambda: len(me.member.mailbox._waiters) == 2 and is_told(store, me, "source"))

    source.signals.send("done", "me")
    assert waits[0].result()
    end(source)

    assert waits[1].gone() == "agent 'source' completed"


def test_require_alive_blames_nobody_for_what_the_waiter_lacks(peers: Peers, me: Peer) -> None:
    """§5.8: who is no agent any more cannot wait, whoever lives."""
    peers.join("other")  # keeps the process's link up
    me.leave()

    nothing = me.signals.wait("done", source="nobody", require_alive=True)

    assert nothing.reason is Reason.UNAVAILABLE  # type: ignore[union-attr]


def test_require_alive_has_to_name_who(me: Peer) -> None:
    """§5.8: somebody is always alive: the one who asks."""
    with pytest.raises(UsageError, match="has to name a source"):
        me.signals.wait("done", require_alive=True)
