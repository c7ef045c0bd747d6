"""The beats of many agents in one process: how many writes, and what they cost the server.

The floor is the one ZADD that any renewal of so many leases would need.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import redis

from attune_dsl import join
from tests.benchmarks.measure import Report
from tests.benchmarks.scratch import scratch_store

AGENTS = 1_000
BEATS = 10
INTERVAL = 0.5


def calls(client: redis.Redis, command: str) -> tuple[int, float]:
    """Return how often the server has run a command, and the seconds that it spent with it."""
    stats: Any = client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0, "usec": 0})
    return stats["calls"], stats["usec"] / 1e6


def beats(client: redis.Redis) -> tuple[int, float]:
    """Return how often a process has beaten, and the server's seconds: a ZADD and a script in one write.

    What the script calls is counted in its own time, and it calls no ZADD while nobody is lost.
    """
    renewals, script = calls(client, "zadd"), calls(client, "evalsha")
    return script[0], renewals[1] + script[1]


async def beat(client: redis.Redis) -> tuple[int, list[float]]:
    """Let the agents beat; return the beats in ``BEATS`` intervals and the server's seconds for each."""
    async with AsyncExitStack() as stack:
        for number in range(AGENTS):
            await stack.enter_async_context(join(f"agent-{number}"))
        # What joining left to be published is out before counting starts.
        await asyncio.sleep(2 * INTERVAL)
        counted, samples = 0, []
        commands, seconds = beats(client)
        started = time.monotonic()
        while time.monotonic() - started < BEATS * INTERVAL:
            await asyncio.sleep(0.02)
            now, spent = beats(client)
            if now > commands:
                counted += now - commands
                samples.append((spent - seconds) / (now - commands))
            commands, seconds = now, spent
    return counted, samples


def zadd_floor(client: redis.Redis) -> list[float]:
    """Return the server's seconds for a ZADD of as many members."""
    samples = []
    for _ in range(BEATS):
        before = calls(client, "zadd")
        client.zadd("bench:leases", {f"agent-{number}#1": time.time() for number in range(AGENTS)})
        after = calls(client, "zadd")
        samples.append((after[1] - before[1]) / (after[0] - before[0]))
    return samples


def measure() -> Report:
    """Measure the beats of a thousand agents."""
    import os

    os.environ["ATTUNE_HEARTBEAT_INTERVAL"] = str(INTERVAL)
    report = Report(f"the beat of {AGENTS:,} agents in one process, on the server", unit="ms")
    with scratch_store() as url, redis.Redis.from_url(url) as client:
        floor = zadd_floor(client)
        counted, samples = asyncio.run(beat(client))
    report.add(f"one ZADD of {AGENTS:,} members", floor)
    report.add("one beat", samples, floor=f"one ZADD of {AGENTS:,} members")
    report.facts["writes in an interval (target: 1)"] = round(counted / BEATS, 2)
    return report
