"""§5.6: no lost wake-up, whoever reads the socket at the moment, and no polling."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from peers import Peer, Peers, until
from proxy import Proxy

from attune_dsl.hub.drive import Ticket
from attune_dsl.hub.parker import SelectParker

WaitUntil = Callable[..., Any]
ROUNDS = 100


def answer(peer: Peer, caller: str, rounds: int) -> None:
    for _ in range(rounds):
        if not peer.signals.wait("ping", timeout=5):
            return
        peer.signals.send("pong", caller)


def call(peer: Peer, callee: str, rounds: int) -> int:
    """Play ping-pong; return how many rounds came back."""
    for n in range(rounds):
        peer.signals.send("ping", callee)
        if not peer.signals.wait("pong", source=callee, timeout=5):
            return n
    return rounds


def in_thread(function: Callable[..., Any], *args: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=args)
    thread.start()
    return thread


@pytest.mark.parametrize("same_process", [True, False])
def test_ping_pong_between_two_threads(peers: Peers, same_process: bool) -> None:
    """§5.6: a signal that comes while its receiver registers, or just before, or just after, wakes it."""
    a, b = peers.join("a"), peers.join("b", url=None if same_process else peers.elsewhere())
    other = in_thread(answer, b, "a", ROUNDS)

    assert call(a, "b", ROUNDS) == ROUNDS
    other.join()


def test_ping_pong_of_several_pairs_in_one_process(peers: Peers) -> None:
    """§5.6: the reading passes from thread to thread, and nobody sleeps on while there is mail."""
    pairs = [(peers.join(f"a{n}"), peers.join(f"b{n}")) for n in range(4)]
    rounds: list[int] = []
    threads = [in_thread(answer, b, a.id, 25) for a, b in pairs]
    threads += [in_thread(lambda a=a, b=b: rounds.append(call(a, b.id, 25))) for a, b in pairs]
    for thread in threads:
        thread.join()

    assert rounds == [25, 25, 25, 25]


def test_ping_pong_where_there_is_no_epoll(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    """§5.6: macOS: the hub's thread sleeps in select(), and is woken over a socket pair."""
    monkeypatch.setattr("attune_dsl.hub.hub.parker", SelectParker)
    monkeypatch.delattr("os.eventfd", raising=False)
    a, b = peers.join("a"), peers.join("b", url=peers.elsewhere())
    other = in_thread(answer, b, "a", 40)

    assert call(a, "b", 40) == 40
    other.join()
    b.signals.send("job", "a")
    assert a.signals.wait("job", timeout=5)


async def test_ping_pong_between_a_loop_and_a_thread(peers: Peers) -> None:
    """§5.6: mixed facades in one process, over one link."""
    a, b = await peers.ajoin("a"), await peers.ajoin("b")
    other = in_thread(answer, b, "a", ROUNDS)

    for _ in range(ROUNDS):
        await a.async_signals.send("ping", "b")
        assert await a.async_signals.wait("pong", timeout=5)

    await asyncio.to_thread(other.join)
    for peer in (a, b):
        await peer.aleave()


def test_ping_pong_between_several_loops(peers: Peers) -> None:
    """§5.6: each thread runs a loop of its own, one after another, on one hub."""
    names = [f"p{n}" for n in range(3)]
    ring = {name: peers.join(name) for name in names}
    turns: list[str] = []

    async def play(name: str, to: str, rounds: int) -> None:
        for _ in range(rounds):
            if await ring[name].async_signals.wait("token", timeout=5):
                turns.append(name)
                await ring[name].async_signals.send("token", to)

    def run(name: str, to: str) -> None:
        for _ in range(2):  # a second loop of the thread, after the first one was closed
            asyncio.run(play(name, to, 15))

    threads = [in_thread(run, name, names[(n + 1) % 3]) for n, name in enumerate(names)]
    ring["p2"].signals.send("token", "p0")
    for thread in threads:
        thread.join()

    assert turns == names * 30


async def test_many_tasks_of_one_agent(peers: Peers) -> None:
    """§5.6: sends and waits of 60 tasks at a time."""
    a, b = await peers.ajoin("a"), await peers.ajoin("b", url=peers.elsewhere())
    waits = [asyncio.create_task(b.async_signals.wait(f"t{n}", timeout=5)) for n in range(60)]

    await asyncio.gather(*(a.async_signals.send(f"t{n}", "b", n) for n in reversed(range(60))))

    assert [signal.payload for signal in await asyncio.gather(*waits) if signal] == list(range(60))
    for peer in (a, b):
        await peer.aleave()


def test_who_waits_is_woken_when_another_waiter_leaves(peers: Peers, wait_until: WaitUntil) -> None:
    """§5.6: the thread that reads times out; one that sleeps takes the reading over."""
    a, b = peers.join("a"), peers.join("b", url=peers.elsewhere())
    got: list[Any] = []
    first = in_thread(lambda: got.append(a.signals.wait("never", timeout=0.05)))
    wait_until(lambda: a.hub.reader.pump._leader)
    others = [in_thread(lambda n=n: got.append(a.signals.wait(f"t{n}", timeout=5))) for n in range(3)]
    wait_until(lambda: len(a.member.mailbox._waiters) >= 3)
    first.join()

    for n in range(3):
        b.signals.send(f"t{n}", "a")
    for thread in others:
        thread.join()

    assert [bool(signal) for signal in got] == [False, True, True, True]


def test_who_waits_is_woken_when_a_sleeping_thread_is_interrupted(
    peers: Peers, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.6: a Ctrl-C hits the thread whose turn it is to read; the next one gets it instead."""
    a, b = peers.join("a", heartbeat=None), peers.join("b", url=peers.elsewhere())
    pump, got, sleep = a.hub.reader.pump, [], Ticket.sleep

    def sleep_and_interrupt(ticket: Any) -> None:
        sleep(ticket)
        if "interrupted" in getattr(ticket, "types", ()):
            raise KeyboardInterrupt

    def be_interrupted() -> None:
        with pytest.raises(KeyboardInterrupt):
            a.signals.wait("interrupted", timeout=5)

    monkeypatch.setattr(Ticket, "sleep", sleep_and_interrupt)
    threads = [in_thread(lambda: got.append(a.signals.wait("first", timeout=0.1)))]
    wait_until(lambda: pump._leader)
    threads.append(in_thread(be_interrupted))
    wait_until(lambda: len(pump._sleepers) == 1)
    threads.append(in_thread(lambda: got.append(a.signals.wait("second", timeout=5))))
    wait_until(lambda: len(pump._sleepers) == 2)

    threads[0].join()  # it hands the reading over
    threads[1].join()
    b.signals.send("second", "a")
    threads[2].join()

    assert [bool(signal) for signal in got] == [False, True]


def test_an_idle_process_reads_too(peers: Peers, wait_until: WaitUntil) -> None:
    """§5.6: while nobody waits, the hub's thread takes mail in; a look is not needed to see it."""
    a, b = peers.join("a"), peers.join("b", url=peers.elsewhere())

    for n in range(20):
        b.signals.send("job", "a", n)
        wait_until(lambda n=n: len(a.member.mailbox._by_type.get("job", ())) == n + 1)

    assert [signal.payload for signal in a.signals.collect("job", count=20)] == list(range(20))


async def test_an_idle_loop_reads_too(peers: Peers) -> None:
    """§5.6: the same after tasks have waited in a loop."""
    a, b = await peers.ajoin("a"), await peers.ajoin("b", url=peers.elsewhere())
    await a.async_signals.wait("never", timeout=0)

    await b.async_signals.send("job", "a")

    await until(lambda: "job" in a.member.mailbox._by_type)
    for peer in (a, b):
        await peer.aleave()


def test_a_wait_sends_a_fixed_number_of_commands(
    peers: Peers, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    """§5.6: no polling: one read is in flight, and one look ends the wait, however long it lasted."""
    monkeypatch.setattr("attune_dsl.hub.reader.BLOCK", 10.0)
    a = peers.join("a", url=proxy.url, heartbeat=None)

    def sent_by_a_wait(timeout: float) -> int:
        before = len(proxy.sent)
        a.signals.wait("never", timeout=timeout)
        wait_until(lambda: not a.member.recorder._noted)  # the timeline is told of it
        a.signals.peek()  # behind that: when it is answered, the proxy has counted both
        return len(proxy.sent) - before

    sent_by_a_wait(0.2)
    short = sent_by_a_wait(0.2)

    assert sent_by_a_wait(0.8) <= short + 10  # a time is told with more digits, or fewer


def test_mail_that_is_here_costs_no_command(peers: Peers, proxy: Proxy, wait_until: WaitUntil) -> None:
    """§5.6: what the process has already is taken without asking the store."""
    a, b = peers.join("a", url=proxy.url), peers.join("b")
    for n in range(5):
        b.signals.send("job", "a", n)
    wait_until(lambda: len(a.member.mailbox._by_type.get("job", ())) == 5)
    lookups = proxy.sent.count(b"look") + proxy.sent.count(a.hub.keys.seen("a").encode())

    assert [a.signals.check("job") for _ in range(5)].count(None) == 0

    # A mark names seen:<agent> once each; a look would, too.
    wait_until(lambda: not a.member.mailbox._marks)
    assert proxy.sent.count(a.hub.keys.seen("a").encode()) - lookups <= 5


async def test_a_loop_that_was_busy_for_long_has_not_lost_its_link(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.11: the answer to the read is here, and the loop had no time to take it: that is no outage."""
    monkeypatch.setattr("attune_dsl.hub.reader.BLOCK", 0.01)
    monkeypatch.setattr("attune_dsl.hub.reader.SILENCE", 0.3)
    a = await peers.ajoin("a")
    await a.async_signals.wait("never", timeout=0)  # from here on the loop reads
    pump, looked = a.hub.reader.pump.pump, threading.Event()

    def pump_and_tell() -> None:
        pump()
        looked.set()

    monkeypatch.setattr(a.hub.reader.pump, "pump", pump_and_tell)
    while not looked.wait(0.02):  # the loop is to be blocked
        a.hub.keeper.wake()

    assert await a.async_signals.send("still", "a") != ""
    assert await a.async_signals.wait("still", timeout=5)
    assert a.hub.link.outages == 0
    await a.aleave()
