"""A round trip of signals between two processes, against redis-py's RPUSH and BLPOP on the same server.

Two processes, ``here`` and ``there``, play the same rounds in turn, so that all three ways are measured under the same
conditions: the floor, the blocking facade, the awaitable facade. A sample is one round trip, payloads are 60 bytes.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import Any

import redis

from attune_dsl import join
from tests.benchmarks.measure import Report
from tests.benchmarks.scratch import scratch_store

ROUNDS = 20
TRIPS = 100
WARM_UP = 10
PAYLOAD = "x" * 60
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
    client.close()
    return samples


def measure() -> Report:
    """Measure round trips from this process to a second one and back."""
    report = Report("a round trip of signals between two processes")
    with scratch_store() as url:
        there = subprocess.Popen([sys.executable, "-m", __name__, url])
        samples = play(HERE, url)
        there.wait(timeout=60)
    report.add("RPUSH and BLPOP by redis-py", samples["lists"])
    report.add("send and wait", samples["sync"], floor="RPUSH and BLPOP by redis-py", ratio_target=1.5)
    report.add("await send and wait", samples["async"], floor="RPUSH and BLPOP by redis-py", ratio_target=2.0)
    return report


if __name__ == "__main__":
    play(THERE, sys.argv[1])
