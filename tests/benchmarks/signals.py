"""Signals between two processes, against redis-py's RPUSH and BLPOP on the same server.

Two processes, ``here`` and ``there``, play the same rounds in turn, so that all three ways are measured under the same
conditions: the floor, the blocking facade, the awaitable facade. A sample is one round trip, payloads are 60 bytes.
One way is from before the send to after the wait: ``there`` waits already, and its clock is the same (``monotonic``).
A wait for a signal that has arrived before is measured by itself.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import redis

from attune_dsl import join
from tests.benchmarks.measure import Report
from tests.benchmarks.scratch import scratch_store

ROUNDS = 20
TRIPS = 100
WARM_UP = 10
PAYLOAD = "x" * 60
ONE_WAY = 20
ARRIVED = 1_000
PAUSE = 0.003
"""Seconds in which the other begins to wait."""
HERE, THERE = "here", "there"


def play_lists(me: str, client: redis.Redis, trips: int) -> list[float]:
    """The floor: each waits with BLPOP and answers with RPUSH."""
    peer, samples = THERE if me == HERE else HERE, []
    for _ in range(trips):
        started = time.perf_counter()
        if me == HERE:
            client.rpush(f"bench:{peer}", PAYLOAD)
        client.blpop([f"bench:{me}"])
        samples.append(time.perf_counter() - started)
        if me == THERE:
            client.rpush(f"bench:{peer}", PAYLOAD)
    return samples


def play_signals(me: str, signals: Any, trips: int) -> list[float]:
    """The same with the blocking facade."""
    peer, samples = THERE if me == HERE else HERE, []
    for _ in range(trips):
        started = time.perf_counter()
        if me == HERE:
            signals.send("ball", peer, PAYLOAD)
        assert signals.wait("ball", timeout=60)
        samples.append(time.perf_counter() - started)
        if me == THERE:
            signals.send("ball", peer, PAYLOAD)
    return samples


async def play_async_signals(me: str, signals: Any, trips: int) -> list[float]:
    """The same with the awaitable facade."""
    peer, samples = THERE if me == HERE else HERE, []
    for _ in range(trips):
        started = time.perf_counter()
        if me == HERE:
            await signals.send("ball", peer, PAYLOAD)
        assert await signals.wait("ball", timeout=60)
        samples.append(time.perf_counter() - started)
        if me == THERE:
            await signals.send("ball", peer, PAYLOAD)
    return samples


async def join_and_play(me: str) -> list[float]:
    async with join(me) as agent:
        await play_async_signals(me, agent.signals, WARM_UP)
        return await play_async_signals(me, agent.signals, TRIPS)


def play(me: str, url: str) -> dict[str, list[float]]:
    """Play all rounds; return the seconds of every round trip."""
    samples: dict[str, list[float]] = {"lists": [], "sync": [], "async": []}
    client = redis.Redis.from_url(url, socket_timeout=None)
    for _ in range(ROUNDS):
        play_lists(me, client, WARM_UP)
        samples["lists"] += play_lists(me, client, TRIPS)
        with join(me) as agent:
            play_signals(me, agent.signals, WARM_UP)
            samples["sync"] += play_signals(me, agent.signals, TRIPS)
        samples["async"] += asyncio.run(join_and_play(me))
        one_way(me, client, samples)
    client.close()
    return samples


def one_way(me: str, client: redis.Redis, samples: dict[str, list[float]]) -> None:
    """Send the time, each to one that has waited for a while."""
    with join(me) as agent:
        ways: dict[str, tuple[Callable[[], float], Callable[[], object]]] = {
            "one way, lists": (
                lambda: float(client.blpop(["bench:way"])[1]),  # type: ignore[index]
                lambda: client.rpush("bench:way", repr(time.monotonic())),
            ),
            "one way, sync": (
                lambda: agent.signals.wait("way", timeout=60).payload,  # type: ignore[union-attr]
                lambda: agent.signals.send("way", THERE, time.monotonic()),
            ),
        }
        for way, (receive, send) in ways.items():
            for _ in range(ONE_WAY):
                if me == THERE:
                    sent = receive()
                    client.rpush("bench:took", repr(time.monotonic() - sent))
                else:
                    time.sleep(PAUSE)
                    send()
                    samples.setdefault(way, []).append(float(client.blpop(["bench:took"])[1]))  # type: ignore[index]


async def awaited(agent: Any) -> list[float]:
    """Take what has arrived, awaiting."""
    samples = []
    for _ in range(ARRIVED):
        started = time.perf_counter()
        assert await agent.signals.wait("there", timeout=60)
        samples.append(time.perf_counter() - started)
    return samples


async def async_arrived() -> list[float]:
    async with join("taker") as taker, join("giver") as giver:
        await give(giver.signals)
        await taker.signals.pending()
        return await awaited(taker)


async def give(signals: Any) -> None:
    for _ in range(ARRIVED):
        await signals.send("there", "taker", PAYLOAD)


def arrived() -> list[float]:
    """Take what has arrived, blocking."""
    samples = []
    with join("taker") as taker, join("giver") as giver:
        for _ in range(ARRIVED):
            giver.signals.send("there", "taker", PAYLOAD)
        taker.signals.pending()
        for _ in range(ARRIVED):
            started = time.perf_counter()
            assert taker.signals.wait("there", timeout=60)
            samples.append(time.perf_counter() - started)
    return samples


def measure() -> Report:
    """Measure round trips from this process to a second one and back."""
    report = Report("a round trip of signals between two processes")
    with scratch_store() as url:
        there = subprocess.Popen([sys.executable, "-m", __name__, url])
        samples = play(HERE, url)
        there.wait(timeout=60)
        taken, awaiting = arrived(), asyncio.run(async_arrived())
    report.add("RPUSH and BLPOP by redis-py", samples["lists"])
    report.add("send and wait", samples["sync"], floor="RPUSH and BLPOP by redis-py", ratio_target=1.5)
    report.add("await send and wait", samples["async"], floor="RPUSH and BLPOP by redis-py", ratio_target=2.0)
    report.add("RPUSH to BLPOP, one way", samples["one way, lists"])
    report.add("send to wait, one way", samples["one way, sync"], floor="RPUSH to BLPOP, one way", ratio_target=1.5)
    report.add("wait for what is there", taken, target=5e-6)
    report.add("await what is there", awaiting, target=5e-6)
    return report


if __name__ == "__main__":
    play(THERE, sys.argv[1])
