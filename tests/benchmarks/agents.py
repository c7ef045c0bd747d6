"""Ten thousand agents over ten processes: what their beats cost the server, and what it costs to list them.

The floor of a listing is what any implementation would have to ask: the leases, and each agent's fields; it is asked in
writes of the same size, and nothing is done with the answer.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from attune_dsl import Monitor
from attune_dsl.coordination import listing, records
from attune_dsl.store.connection import Connection
from attune_dsl.store.keys import Keys
from attune_dsl.store.settings import namespace_of
from tests.benchmarks.measure import Report, alternate
from tests.benchmarks.scratch import scratch_store

PROCESSES = 10
AGENTS = 1_000
"""In each process."""
SECONDS = 30.0
"""How long the server's work for the beats is watched."""
SLOW = 5_000
"""Microseconds that a single command may take the server."""

CROWD = """
import asyncio, sys
from contextlib import AsyncExitStack
from attune_dsl import join

async def main(process: int, agents: int) -> None:
    async with AsyncExitStack() as stack:
        for number in range(agents):
            await stack.enter_async_context(join(f"agent-{process}-{number}"))
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
"""


@contextmanager
def crowd() -> Iterator[None]:
    """Let the agents live inside the block."""
    command = [sys.executable, "-c", CROWD]
    processes = [
        subprocess.Popen([*command, str(number), str(AGENTS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for number in range(PROCESSES)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        for process in processes:
            process.communicate()


def cpu(client: redis.Redis) -> float:
    """Return the seconds of a core that the server has used."""
    used: Any = client.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"])


def load(client: redis.Redis, seconds: float) -> float:
    """Return the part of a core that the server uses."""
    before, started = cpu(client), time.monotonic()
    time.sleep(seconds)
    return (cpu(client) - before) / (time.monotonic() - started)


def floor(connection: Connection) -> None:
    """Ask for the leases and for each agent's fields."""
    keys = Keys(namespace_of(None))
    (leases,) = connection.ask([("ZRANGEBYSCORE", keys.leases, "-inf", "+inf")])
    names = [lease.decode().rpartition("#")[0] for lease in leases]
    for start in range(0, len(names), listing._CHUNK):
        chunk = names[start : start + listing._CHUNK]
        connection.ask([("HMGET", keys.agent(name), *records.FIELDS) for name in chunk])


def measure() -> Report:
    """Measure the beats, the listing and the memory of ten thousand agents."""
    report = Report(f"{PROCESSES * AGENTS:,} agents over {PROCESSES} processes", unit="ms")
    with scratch_store() as url, redis.Redis.from_url(url) as client:
        idle, empty = load(client, 10), client.info("memory")["used_memory"]
        with crowd():
            time.sleep(6)  # what joining left to be published is out
            full = client.info("memory")["used_memory"]
            beating = load(client, SECONDS)
            client.config_set("slowlog-log-slower-than", SLOW)
            client.slowlog_reset()
            connection = Connection(url, "floor")
            with Monitor() as monitor:
                listed = {"leases and fields": lambda: floor(connection), "Monitor.agents()": monitor.agents}
                samples = alternate(listed, rounds=10)
                assert len(monitor.agents()) == PROCESSES * AGENTS
            connection.close()
            slow = [entry["duration"] for entry in client.slowlog_get()]
    report.add("leases and fields", samples["leases and fields"])
    report.add("Monitor.agents()", samples["Monitor.agents()"], floor="leases and fields", ratio_target=2)
    report.facts["beats, % of a core of the server (target: 0.2)"] = round(100 * (beating - idle), 3)
    report.facts["the server without clients, % of a core"] = round(100 * idle, 3)
    report.facts["bytes in the store for an agent (target: 2,048)"] = round((full - empty) / (PROCESSES * AGENTS))
    report.facts["commands that took the server 5 ms or more (target: 0)"] = len(slow)
    return report
