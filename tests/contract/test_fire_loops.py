"""§5.2, §5.4 and §5.6 under fire: many agents on one loop, loops beside threads, loops in several threads.

No loop freezes, everybody gets everything, and what comes from one sender comes in its order.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from peers import Peer, Peers

from attune_dsl import AsyncSignals, Runner, Signals, clock, workflow
from attune_dsl.hub.registry import open_hubs
from attune_dsl.model import Signal

if TYPE_CHECKING:
    from conftest import Store

FREEZE = 2.0
"""Seconds that a loop may be away at most, without those in which other processes had the processor."""
PULSE = 0.01
PATIENCE = 40.0
EACH = 40
"""Signals from each sender to each receiver."""

Got = dict[str, list[Any]]


@asynccontextmanager
async def lively() -> AsyncIterator[None]:
    """The running loop calls back again and again in here, and is never away for long."""
    loop = asyncio.get_running_loop()
    gaps, last = [0.0], own_time()

    def beat() -> None:
        nonlocal last, timer
        now = own_time()
        gaps.append(now - last)
        last, timer = now, loop.call_later(PULSE, beat)

    timer = loop.call_later(PULSE, beat)
    yield
    timer.cancel()
    longest = max(*gaps, own_time() - last)
    print(f"the loop was away for {longest * 1000:.0f} ms at most")
    assert longest < FREEZE


def own_time() -> float:
    """Return seconds that do not pass for this thread while it could run and others have the processor.

    Where nobody counts those, they pass.
    """
    try:
        robbed = int(Path("/proc/thread-self/schedstat").read_bytes().split()[1]) / 1e9
    except (OSError, IndexError):
        robbed = 0.0
    return clock.monotonic() - robbed


def sort(signals: Iterable[Signal | Any]) -> Got:
    """The payloads by who sent them, in the order in which they came."""
    got: Got = {}
    for signal in signals:
        assert signal, signal
        got.setdefault(signal.source, []).append(signal.payload)
    return got


def expected(names: Iterable[str], me: str) -> Got:
    return {name: list(range(EACH)) for name in names if name != me}


def talk(signals: Signals, names: list[str], me: str) -> Got:
    """Send so many to each of the others, and take as many from each of them."""
    others = [name for name in names if name != me]
    for n in range(EACH):
        for other in others:
            assert signals.send("job", other, n)
    return sort(signals.wait("job", timeout=PATIENCE) for _ in range(EACH * len(others)))


async def atalk(signals: AsyncSignals, names: list[str], me: str) -> Got:
    """See :func:`talk`; it sends and takes at the same time."""
    others = [name for name in names if name != me]

    async def send() -> None:
        for n in range(EACH):
            for other in others:
                assert await signals.send("job", other, n)

    async def take() -> Got:
        return sort([await signals.wait("job", timeout=PATIENCE) for _ in range(EACH * len(others))])

    _, got = await asyncio.gather(send(), take())
    return got


def in_threads(*works: Callable[[], Any]) -> list[Any]:
    """Do each on a thread of its own, and return what they returned."""
    returned: dict[int, Any] = {}

    def do(n: int, work: Callable[[], Any]) -> None:
        returned[n] = work()

    threads = [threading.Thread(target=do, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE)
    return [returned[n] for n in range(len(works))]


@pytest.mark.parametrize("same_hub", [True, False])
async def test_producer_and_consumer_on_one_loop(store: Store, peers: Peers, same_hub: bool) -> None:
    """§5.2, §5.6: neither has to leave the loop to the other, which is there for others all the while."""
    count = 300 if store.kind == "memory" else 1_000
    producer = (await peers.ajoin("producer")).async_signals
    consumer = (await peers.ajoin("consumer", None if same_hub else peers.elsewhere())).async_signals

    async def produce() -> None:
        for n in range(count):
            assert await producer.send("job", None if n % 10 == 0 else "consumer", n)

    async def consume() -> list[Any]:
        got = [await consumer.wait("job", source="producer", timeout=PATIENCE) for _ in range(count)]
        return [signal.payload if signal else signal for signal in got]

    async with lively(), asyncio.timeout(PATIENCE):
        _, got = await asyncio.gather(produce(), consume())

    assert got == list(range(count))
    assert await consumer.pending() == []


async def test_a_consumer_that_lags_behind_on_the_loop_gets_all_in_order(store: Store, peers: Peers) -> None:
    """§5.2: far more comes than an inbox holds while it does not look, from several senders at once."""
    each = 100 if store.kind == "memory" else 500
    senders = [await peers.ajoin(f"s{n}", peers.elsewhere() if n % 2 else None) for n in range(4)]
    consumer = await peers.ajoin("consumer")

    async def produce(sender: Peer) -> None:
        for n in range(each):
            assert await sender.async_signals.send("job", "consumer", n)

    async with lively(), asyncio.timeout(PATIENCE):
        await asyncio.gather(*map(produce, senders))
        got = await consumer.async_signals.collect("job", count=4 * each, timeout=PATIENCE)

    assert sort(got) == {sender.id: list(range(each)) for sender in senders}


@pytest.mark.timeout(120)
async def test_a_thousand_agents_on_one_loop(store: Store, peers: Peers) -> None:
    """§5.2, §5.4, §5.6, §5.8: each waits for its neighbour alone; none of it is a deadlock, and none is forgotten."""
    count = 200 if store.kind == "memory" else 1_000
    boss = await peers.ajoin("boss")
    are_here = asyncio.Barrier(count + 1)

    async def live(n: int) -> list[Any]:
        me = await peers.ajoin(f"a{n}")
        signals, before = me.async_signals, f"a{(n - 1) % count}"
        await are_here.wait()
        got = [await signals.wait("start", source="boss", timeout=PATIENCE)]
        await signals.send("token", f"a{(n + 1) % count}", 2 * n)
        got.append(await signals.wait("token", source=before, timeout=PATIENCE))
        await signals.send("token", f"a{(n + 1) % count}", 2 * n + 1)
        got.append(await signals.wait(source=before, timeout=PATIENCE))
        got.append(await signals.wait("end", timeout=PATIENCE))
        await me.aleave()
        return [signal.payload if signal else signal for signal in got]

    async def lead() -> None:
        await are_here.wait()
        assert open_hubs() == [boss.hub]
        assert await boss.async_signals.broadcast("start", "now")
        assert await boss.async_signals.broadcast("end", "later")

    async with lively(), asyncio.timeout(100):
        *got, _ = await asyncio.gather(*(live(n) for n in range(count)), lead())

    before = [(n - 1) % count for n in range(count)]
    assert got == [["now", 2 * b, 2 * b + 1, "later"] for b in before]
    assert await boss.async_signals.pending() == []
    assert boss.hub.link.outages == 0


async def test_threads_beside_a_loop(peers: Peers) -> None:
    """§5.2, §5.6: blocking and awaiting agents of one process share its hub; each hears all others, each in order."""
    names = [f"{kind}{n}" for kind in ("sync", "async") for n in range(3)]
    joined = {name: await peers.ajoin(name) for name in names}

    async with lively(), asyncio.timeout(2 * PATIENCE):
        got = await asyncio.gather(
            *(asyncio.to_thread(talk, joined[name].signals, names, name) for name in names[:3]),
            *(atalk(joined[name].async_signals, names, name) for name in names[3:]),
        )

    assert dict(zip(names, got, strict=True)) == {name: expected(names, name) for name in names}


def test_two_loops_in_two_threads(peers: Peers) -> None:
    """§5.2, §5.6: two loops and a plain thread share one hub; whichever of them reads, all get theirs in order."""
    names = ["a0", "a1", "b0", "b1", "c"]
    joined = {name: peers.join(name) for name in names}

    def on_a_loop(*mine: str) -> dict[str, Got]:
        async def main() -> dict[str, Got]:
            async with lively(), asyncio.timeout(2 * PATIENCE):
                got = await asyncio.gather(*(atalk(joined[name].async_signals, names, name) for name in mine))
            return dict(zip(mine, got, strict=True))

        return asyncio.run(main())

    a, b, c = in_threads(
        lambda: on_a_loop("a0", "a1"), lambda: on_a_loop("b0", "b1"), lambda: talk(joined["c"].signals, names, "c")
    )

    assert {**a, **b, "c": c} == {name: expected(names, name) for name in names}


def test_a_loop_that_ends_does_not_take_the_others_along(peers: Peers) -> None:
    """§5.6: loops come and go, each while an agent of another waits; whoever is left reads."""
    peers.join("waiter")
    (waiter,) = peers._peers
    rounds = 10

    def turn(n: int) -> None:
        async def main() -> None:
            me = await peers.ajoin(f"guest{n}")
            assert await me.async_signals.send("job", "waiter", n)
            assert await me.async_signals.wait("thanks", source="waiter", timeout=PATIENCE)
            await me.aleave()

        asyncio.run(main())

    async def serve() -> list[Any]:
        got = []
        async with lively(), asyncio.timeout(2 * PATIENCE):
            for _ in range(rounds):
                signal = await waiter.async_signals.wait("job", timeout=PATIENCE)
                assert signal
                got.append(signal.payload)
                assert await waiter.async_signals.send("thanks", signal.source)
        return got

    served, _ = in_threads(lambda: asyncio.run(serve()), lambda: [turn(n) for n in range(rounds)])

    assert served == list(range(rounds))


FLOWS = ["sync0", "async0", "sync1", "async1"]


@workflow(coordination=True)
def blocking_flow(signals: Signals, me: str) -> Got:
    """As a run that blocks."""
    return talk(signals, FLOWS, me)


@workflow(coordination=True)
async def awaiting_flow(signals: AsyncSignals, me: str) -> Got:
    """As a run that awaits."""
    return await atalk(signals, FLOWS, me)


def start(runner: Runner) -> None:
    for name in FLOWS:
        if name.startswith("sync"):
            runner.start(blocking_flow.options(agent_id=name), name)
        else:
            runner.start(awaiting_flow.options(agent_id=name), name)


def run_blocking(runner: Runner) -> None:
    with runner:
        start(runner)


def run_awaiting(runner: Runner) -> None:
    async def main() -> None:
        async with runner, lively():
            start(runner)

    asyncio.run(main())


@pytest.mark.parametrize("run", [run_blocking, run_awaiting])
def test_a_runner_with_both_kinds_of_flows(store: Store, run: Callable[[Runner], Coroutine[Any, Any, None]]) -> None:
    """§5.2, §5.6: flows that block and flows that await, side by side, hear each other, in order."""
    runner = Runner(store=store.url, namespace=store.namespace)
    run(runner)

    got = {name: result.value for name, result in runner.results.items()}
    assert got == {name: expected(FLOWS, name) for name in FLOWS}
