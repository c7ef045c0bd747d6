"""§5.5: what wait, check, peek, pending, clear, collect and listen take, and what they leave."""

from __future__ import annotations

import asyncio
import math
import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from peers import Peer, Peers, until

from attune_dsl import clock
from attune_dsl.exceptions import BlockingCallInLoop, UsageError
from attune_dsl.model import NoSignal, Reason

if TYPE_CHECKING:
    from conftest import Store

WaitUntil = Callable[..., Any]


@pytest.fixture
def receiver(peers: Peers) -> Peer:
    """An agent with mail: a1 from x, b2 from y, a3 from y, c4 from x (a broadcast), a5 from x."""
    receiver, x, y = peers.join("receiver"), peers.join("x"), peers.join("y", url=peers.elsewhere())
    x.signals.send("a", "receiver", 1)
    y.signals.send("b", "receiver", 2)
    y.signals.send("a", "receiver", 3)
    x.signals.broadcast("c", 4)
    x.signals.send("a", "receiver", 5)
    return receiver


def left(peer: Peer) -> list[int]:
    return [signal.payload for signal in peer.signals.pending()]


def payload(signal: Any) -> Any:
    return signal.payload if signal else signal


def test_wait_takes_the_oldest_match(receiver: Peer) -> None:
    """§5.5: by type, by several types, by source, by both, by nothing; the rest stays in order."""
    signals = receiver.signals

    assert payload(signals.wait("b", "c", timeout=5)) == 2
    assert left(receiver) == [1, 3, 4, 5]
    assert payload(signals.wait(source="y", timeout=5)) == 3
    assert payload(signals.wait("a", source="x", timeout=5)) == 1
    assert payload(signals.wait(timeout=5)) == 4
    assert left(receiver) == [5]


def test_check_takes_the_oldest_match_or_nothing(receiver: Peer) -> None:
    """§5.5: ``check`` takes like ``wait``, and does not wait."""
    signals = receiver.signals

    assert payload(signals.check("a", source="y")) == 3
    assert signals.check("a", source="y") is None
    assert payload(signals.check("c", "b")) == 2
    assert payload(signals.check()) == 1
    assert left(receiver) == [4, 5]


def test_peek_and_pending_take_nothing(store: Store, receiver: Peer) -> None:
    """§5.5: they show the oldest, or all in order, and leave the store as it is."""
    for _ in range(2):
        assert payload(receiver.signals.peek("a")) == 1
        assert [s.payload for s in receiver.signals.pending("a")] == [1, 3, 5]
        assert [s.payload for s in receiver.signals.pending("a", "b", source="y")] == [2, 3]
        assert receiver.signals.pending("z") == []
        assert receiver.signals.peek("z") is None
    assert store.redis.xlen(f"{store.prefix}mail:receiver") == 4


def test_clear_takes_all_matches_and_forgets_them(store: Store, receiver: Peer) -> None:
    """§5.5: it tells how many; they are gone from the store, too."""
    assert receiver.signals.clear("a", source="x") == 2
    assert left(receiver) == [2, 3, 4]
    assert receiver.signals.clear("z") == 0
    assert receiver.signals.clear() == 3
    assert left(receiver) == []
    assert store.redis.xlen(f"{store.prefix}mail:receiver") == 0


def test_wait_returns_what_comes_first(peers: Peers, wait_until: WaitUntil) -> None:
    """§5.5: ``wait("a", "b")`` returns whichever is first, and leaves what does not fit."""
    receiver, sender = peers.join("receiver"), peers.join("sender", url=peers.elsewhere())
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(receiver.signals.wait("a", "b", source="sender", timeout=5)))
    thread.start()
    wait_until(lambda: receiver.member.mailbox._waiters)

    receiver.signals.send("note-to-self", "receiver")
    sender.signals.send("c", "receiver")
    sender.signals.send("b", "receiver")
    sender.signals.send("a", "receiver")
    thread.join()

    assert got[0].type == "b"
    assert [s.type for s in receiver.signals.pending()] == ["note-to-self", "c", "a"]


def test_wait_waits_for_thirty_seconds_by_default(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, slept_on: list[Any]
) -> None:
    """§5.5: shown by a clock that jumps ahead as soon as the wait is registered."""
    me = peers.join("me")
    register = me.member.mailbox.wait
    real = clock.monotonic
    deadlines = []

    def jump(waiter: Any) -> None:
        register(waiter)
        deadlines.append(waiter.deadline - real())
        waiter.deadline = real()

    monkeypatch.setattr(me.member.mailbox, "wait", jump)

    got = me.signals.wait("never")

    slept_on.clear()
    assert deadlines == [pytest.approx(30, abs=1)]
    assert got == NoSignal(reason=Reason.TIMEOUT, detail="no signal 'never' within 30 s")


@pytest.mark.parametrize("timeout", [None, math.inf, 3e6, 1e12])
def test_wait_for_ever(peers: Peers, wait_until: WaitUntil, timeout: float | None) -> None:
    """§5.5: ``timeout=None`` is for ever, and so is practically any large number."""
    receiver = peers.join("receiver")
    got: list[Any] = []
    threads = [
        threading.Thread(target=lambda t=type_: got.append(receiver.signals.wait(t, timeout=timeout)))
        for type_ in ("a", "b")  # one leads, one sleeps
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(receiver.member.mailbox._waiters) == 2)

    receiver.signals.send("a", "receiver")
    receiver.signals.send("b", "receiver")
    for thread in threads:
        thread.join()

    assert sorted(signal.type for signal in got) == ["a", "b"]


async def test_wait_for_ever_in_a_loop(peers: Peers) -> None:
    """§5.5: the same, awaited."""
    receiver = await peers.ajoin("receiver")
    waits = [asyncio.create_task(receiver.async_signals.wait("a", timeout=t)) for t in (None, math.inf, 3e6)]
    for _ in waits:
        await receiver.async_signals.send("a", "receiver")

    assert all(await asyncio.gather(*waits))
    await receiver.aleave()


def test_a_timeouts_detail_names_what_was_waited_for(peers: Peers) -> None:
    """§5.5: types, source and time; a source that is known is not called unknown."""
    me = peers.join("me")
    peers.join("other")

    assert me.signals.wait(timeout=0) == NoSignal(reason=Reason.TIMEOUT, detail="no signal of any type within 0 s")
    assert me.signals.wait("a", "b", timeout=0.01) == NoSignal(
        reason=Reason.TIMEOUT, detail="no signal 'a' or 'b' within 0.01 s"
    )
    assert me.signals.wait("a", source="other", timeout=0) == NoSignal(
        reason=Reason.TIMEOUT, detail="no signal 'a' from 'other' within 0 s"
    )


def test_a_timeouts_detail_names_a_source_never_seen_and_near_misses(store: Store, peers: Peers) -> None:
    """§5.8: near misses among the live agents; one that has ended was seen."""
    peers.join("gone").leave()  # before the waiter joined, or the wait would tell of its end
    me = peers.join("me")
    for name in ("deploy-eu", "deploy-us", "zebra"):
        peers.join(name)
    store.redis.zadd(f"{store.prefix}leases", {"deploy-ex#1": 1})  # long dead

    near = me.signals.wait("a", source="deploy-e", timeout=0)
    assert isinstance(near, NoSignal)
    assert near.detail == (
        "no signal 'a' from 'deploy-e' within 0 s; no agent 'deploy-e' was ever seen, "
        "did you mean 'deploy-eu' or 'deploy-us'?"
    )
    far = me.signals.wait("a", source="xyz", timeout=0)
    assert isinstance(far, NoSignal)
    assert far.detail == "no signal 'a' from 'xyz' within 0 s; no agent 'xyz' was ever seen"
    gone = me.signals.wait("a", source="gone", timeout=0)
    assert isinstance(gone, NoSignal)
    assert gone.detail == "no signal 'a' from 'gone' within 0 s"


def test_collect_a_number_of_signals(receiver: Peer) -> None:
    """§5.5: in the order in which they come, from whom they come."""
    got = receiver.signals.collect("a", "b", count=3, timeout=5)

    assert got
    assert (len(got), got.wanted, got.missing, got.reason) == (3, 3, (), None)
    assert [signal.payload for signal in got] == [1, 2, 3]
    assert left(receiver) == [4, 5]


def test_collect_one_of_each_source(receiver: Peer) -> None:
    """§5.5: the oldest of each; a second one of a source stays."""
    got = receiver.signals.collect("a", sources=["y", "x", "y"], timeout=5)

    assert got
    assert [(signal.source, signal.payload) for signal in got] == [("x", 1), ("y", 3)]
    assert left(receiver) == [2, 4, 5]


def test_collect_names_who_is_missing(receiver: Peer) -> None:
    """§5.5: what came is there, and the result is false."""
    got = receiver.signals.collect("a", sources=["x", "nobody", "y"], timeout=0.01)

    assert not got
    assert (got.missing, got.reason) == (("nobody",), Reason.TIMEOUT)
    assert got.detail == "2 of 3 signals 'a' came within 0.01 s"
    assert [signal.payload for signal in got.signals] == [1, 3]


def test_collect_that_falls_short(receiver: Peer) -> None:
    """§5.5: fewer than ``count``."""
    got = receiver.signals.collect(count=9, timeout=0.01)

    assert not got
    assert (len(got), got.wanted, got.missing) == (5, 9, ())
    assert got.detail == "5 of 9 signals of any type came within 0.01 s"


def test_collect_needs_a_number_or_sources(receiver: Peer) -> None:
    """§5.5: one of both, and the message says so."""
    with pytest.raises(UsageError, match=r"either count= .* or sources="):
        receiver.signals.collect("a")
    with pytest.raises(UsageError, match=r"either count= .* or sources="):
        receiver.signals.collect("a", count=1, sources=["x"])


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        ({"count": "2"}, UsageError, "takes a whole number, not '2'"),
        ({"count": True}, UsageError, "takes a whole number, not True"),
        ({"count": 2.0}, UsageError, "takes a whole number, not 2.0"),
        ({"count": -1}, ValueError, "count is -1; it must be a whole number from 0 up"),
        ({"sources": "worker"}, UsageError, "takes a list of agent ids, not 'worker'"),
        ({"sources": 3}, UsageError, "takes a list of agent ids, not 3"),
    ],
)
def test_a_collect_that_makes_no_sense_says_so(
    receiver: Peer, arguments: dict[str, Any], kind: type[Exception], said: str
) -> None:
    """§5.5: one name is no list of its letters, and nothing is taken."""
    with pytest.raises(kind, match=said):
        receiver.signals.collect(**arguments)

    assert len(receiver.signals.pending()) == 5


@pytest.mark.parametrize("timeout", [-1, float("nan"), "3", [1], "inf"])
def test_a_timeout_that_is_no_time_is_refused(receiver: Peer, timeout: Any) -> None:
    """§5.5: wherever something waits, and what is there stays."""
    said = re.escape(f"timeout is {timeout!r}; it must be a number of seconds from 0 up")
    calls: list[Callable[[], object]] = [
        lambda: receiver.signals.wait("a", timeout=timeout),
        lambda: receiver.signals.collect("a", count=1, timeout=timeout),
        lambda: list(receiver.signals.listen("a", timeout=timeout)),
        lambda: receiver.signals.barrier("gate", 1, timeout=timeout),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=said):
            call()

    assert len(receiver.signals.pending()) == 5


def test_listen_takes_one_after_the_other(receiver: Peer, peers: Peers) -> None:
    """§5.5: ends when none came for ``timeout`` seconds."""
    seen = []
    for signal in receiver.signals.listen("a", timeout=0.05):
        seen.append(signal.payload)
        if signal.payload == 1:
            receiver.signals.send("a", "receiver", 6)

    assert seen == [1, 3, 5, 6]
    assert left(receiver) == [2, 4]


async def test_the_awaitable_facade_does_the_same(peers: Peers) -> None:
    """§5.5: one story through every method of ``AsyncSignals``."""
    me = await peers.ajoin("me")
    other = await peers.ajoin("other", url=peers.elsewhere())
    signals = me.async_signals
    for n in range(4):
        await other.async_signals.send("a", "me", n)
    await other.async_signals.broadcast("b", 4)
    await other.async_signals.send("c", payload=5)

    assert payload(await signals.wait("b", source="other", timeout=5)) == 4
    assert payload(await signals.check("a")) == 0
    assert await signals.check("z") is None
    assert payload(await signals.peek("a")) == 1
    assert [s.payload for s in await signals.pending()] == [1, 2, 3, 5]
    assert [s.payload for s in await signals.collect("a", count=2)] == [1, 2]
    assert [s.payload async for s in signals.listen("a", timeout=0.01)] == [3]
    assert await signals.clear() == 1
    assert not await signals.collect("a", sources=["other"], timeout=0)
    for peer in (me, other):
        await peer.aleave()


async def test_a_blocking_call_on_a_loops_thread_is_refused(peers: Peers) -> None:
    """§3: every method says what to do instead; from a thread of the same process it works."""
    me = await peers.ajoin("me")
    signals = me.signals
    calls: list[Callable[[], Any]] = [
        lambda: signals.send("a", "me"),
        lambda: signals.broadcast("a"),
        lambda: signals.wait("a", timeout=0),
        lambda: signals.check("a"),
        signals.peek,
        signals.pending,
        signals.clear,
        lambda: signals.collect(count=1),
        lambda: next(signals.listen()),
    ]
    for call in calls:
        with pytest.raises(BlockingCallInLoop, match="AsyncSignals"):
            call()

    assert await asyncio.to_thread(signals.send, "a", "me") != ""
    assert await asyncio.to_thread(signals.check, "a")
    await me.aleave()


async def test_a_cancelled_wait_loses_nothing(peers: Peers) -> None:
    """§5.5: what comes at the moment of the cancellation goes to the next one who asks."""
    me = await peers.ajoin("me")
    other = await peers.ajoin("other", url=peers.elsewhere())
    got = []
    for n in range(40):
        waiting = asyncio.create_task(me.async_signals.wait("a", timeout=5))
        sending = asyncio.create_task(other.async_signals.send("a", "me", n))
        for _ in range(n % 8):
            await asyncio.sleep(0)
        waiting.cancel()
        await sending
        try:
            got.append(payload(await waiting))
        except asyncio.CancelledError:
            got.append(payload(await me.async_signals.wait("a", timeout=5)))
    assert got == list(range(40))
    for peer in (me, other):
        await peer.aleave()


async def test_a_cancelled_look_does_not_make_the_agent_deaf(peers: Peers) -> None:
    """§5.5: a ``check`` or the end of a wait, cancelled while it looks into the store."""
    me = await peers.ajoin("me")
    other = await peers.ajoin("other", url=peers.elsewhere())
    for call in (me.async_signals.check("a"), me.async_signals.wait("a", timeout=0)):
        looking = asyncio.create_task(call)
        await until(lambda: me.member.mailbox.is_held)
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking

        await other.async_signals.send("b", "me")

        assert await me.async_signals.wait("b", timeout=5)
    for peer in (me, other):
        await peer.aleave()


async def test_a_cancelled_collect_gives_back_what_it_has(peers: Peers) -> None:
    """§5.5: two of three have come when it is cancelled."""
    me = await peers.ajoin("me")
    collecting = asyncio.create_task(me.async_signals.collect("a", count=3, timeout=5))
    for n in range(2):
        await me.async_signals.send("a", "me", n)
    await until(lambda: len(me.member.mailbox._out) == 2)

    collecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await collecting

    assert [(s.payload, s.redelivered) for s in await me.async_signals.pending()] == [(0, False), (1, False)]
    await me.aleave()


def test_an_interrupted_wait_loses_nothing(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    """§5.5: Ctrl-C in a blocking wait, just after its signal has come."""
    me, other = peers.join("me"), peers.join("other", url=peers.elsewhere())
    pump = me.hub.reader.pump
    block = pump.block

    def block_and_interrupt(ticket: Any) -> None:
        threading.Thread(target=lambda: other.signals.send("a", "me", 1)).start()
        block(ticket)
        assert ticket.done
        raise KeyboardInterrupt

    monkeypatch.setattr(pump, "block", block_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        me.signals.wait("a", timeout=5)
    monkeypatch.undo()

    assert payload(me.signals.wait("a", timeout=5)) == 1


def test_an_interrupted_look_does_not_make_the_agent_deaf(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    """§5.5: Ctrl-C while a blocking ``check`` waits for the store's answer."""
    me, other = peers.join("me", heartbeat=None), peers.join("other", url=peers.elsewhere())
    pump, here = me.hub.commands.pump, threading.get_ident()
    block = pump.block

    def interrupt(ticket: Any) -> None:
        if threading.get_ident() == here:  # not the hub's thread
            raise KeyboardInterrupt
        block(ticket)

    monkeypatch.setattr(pump, "block", interrupt)
    with pytest.raises(KeyboardInterrupt):
        me.signals.check("a")
    monkeypatch.undo()
    other.signals.send("b", "me")

    assert me.signals.wait("b", timeout=4.9)  # that it was woken is checked by ``slept_on``; the next beat is at 5 s
