"""The timeline over WebSockets: fifty clients to whom two thousand events a second happen, and one that catches up.

The server is ``attune-dsl serve``, a process; the clients share another one, and a third writes. A client that is sent
the same bytes as another one has them read only once, so that what is measured is the server. An event that a client
misses or is told twice ends the benchmark.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis
from websockets.asyncio.client import connect

from attune_dsl.events import Emit
from tests.benchmarks.measure import Report
from tests.benchmarks.scratch import scratch_store
from tests.benchmarks.timeline import KEY, entry

CLIENTS = 50
RATE = 2_000
"""Events a second."""
SECONDS = 10
STEP = 0.01
"""Seconds between two writes, each of as many events as are due."""
PAST = 100_000
"""Events that one client catches up with."""
REPLAY = 1.0
"""Seconds in which it has."""
LATE = 0.1
"""Seconds after which an event is with all but one in a hundred: batches are 50 ms apart."""
TOKEN: Final = "a-token-for-the-benchmark"


def measure() -> Report:
    """Measure both."""
    report = Report(f"{CLIENTS} WebSocket clients, {RATE:,} events a second to each", unit="ms")
    with scratch_store() as url, redis.Redis.from_url(url) as client, serving() as (process, address):
        asyncio.run(listen(report, process, address, url))
        catch_up(report, client, address)
    return report


@contextmanager
def serving() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Yield a server, and where its WebSocket is."""
    command = [sys.executable, "-m", "attune_dsl", "serve", "--port", "0", "--json"]
    environment = os.environ | {"ATTUNE_TOKEN": TOKEN}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        yield process, f"{url.replace('http', 'ws', 1)}ws/events"
        process.terminate()


# The process that writes


def write_events() -> None:
    """Write events at the rate, each with its number and when it was written."""
    with redis.Redis.from_url(sys.argv[1]) as client:
        written, began = 0, time.perf_counter()
        while written < RATE * SECONDS:
            due = min(int((time.perf_counter() - began) * RATE), RATE * SECONDS)
            pipeline = client.pipeline(transaction=False)
            for number in range(written, due):
                pipeline.xadd(KEY, entry(Emit(kind="note", data=[number, time.perf_counter()])))
            pipeline.execute()
            written = due
            time.sleep(STEP)
    print(time.perf_counter() - began)


# The process that listens


class Frames:
    """What frames hold, read once for all clients."""

    def __init__(self) -> None:
        self._known: dict[str | bytes, list[tuple[int, float]]] = {}

    def of(self, frame: str | bytes) -> list[tuple[int, float]]:
        """Return number and time of each event of a frame."""
        known = self._known.get(frame)
        if known is None:
            told = json.loads(frame).get("events", ())
            known = self._known[frame] = [tuple(event["data"]["data"]) for event in told]
            if len(self._known) > 2 * CLIENTS:
                del self._known[next(iter(self._known))]
        return known


async def client_of(address: str, frames: Frames, ready: asyncio.Semaphore, ages: list[float]) -> None:
    """Follow until all events have come; note how old they were, and that none is missing or repeated."""
    expected = 0
    async with connect(
        address, additional_headers={"Authorization": f"Bearer {TOKEN}"}, proxy=None, max_size=None, compression=None
    ) as socket:
        async for frame in socket:
            arrived = time.perf_counter()
            if not expected and '"live"' in str(frame):
                ready.release()
            for number, written in frames.of(frame):
                assert number == expected, f"{number} came instead of {expected}"
                expected += 1
                ages.append(arrived - written)
            if expected == RATE * SECONDS:
                return


async def listen(report: Report, server: subprocess.Popen[str], address: str, url: str) -> None:
    """Let all clients follow, and measure."""
    frames, ready, ages = Frames(), asyncio.Semaphore(0), [list[float]() for _ in range(CLIENTS)]
    clients = [asyncio.create_task(client_of(address, frames, ready, own)) for own in ages]
    for _ in range(CLIENTS):
        await ready.acquire()
    before = cpu_seconds(server.pid)
    command = [sys.executable, "-m", __name__, url]
    writer = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await writer.communicate()
    await asyncio.gather(*clients)
    used = cpu_seconds(server.pid) - before
    every = sorted(age for own in ages for age in own)
    report.add("from the write to the client", every)
    report.add("the same, at the 99th percentile", [every[int(len(every) * 0.99)]], target=LATE)
    report.facts |= {
        "events received, none missing or repeated": f"{len(every):,}",
        "seconds in which they were written": round(float(said), 2),
        "the longest that one was under way, ms": round(every[-1] * 1e3),
        "cores that the server needed": round(used / float(said), 2),
    }


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# One that catches up


def catch_up(report: Report, client: redis.Redis, address: str) -> None:
    """Let a client read a full timeline from its beginning."""
    client.delete(KEY)
    pipeline = client.pipeline(transaction=False)
    for number in range(PAST):
        pipeline.xadd(KEY, entry(Emit(kind="note", data=[number, 0.0])))
        if number % 1_000 == 999:
            pipeline.execute()
    samples = [asyncio.run(past(f"{address}?after=0")) for _ in range(5)]
    report.add(f"{PAST:,} events to one that catches up", samples, target=REPLAY)


async def past(address: str) -> float:
    """Return the seconds until all that has happened was told."""
    began, count = time.perf_counter(), 0
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with connect(address, additional_headers=headers, proxy=None, max_size=None, compression=None) as socket:
        async for frame in socket:
            told: Any = str(frame)
            if told.startswith('{"type":"live"'):
                break
            count += told.count('"kind":"emit"')
    assert count == PAST, count
    return time.perf_counter() - began


if __name__ == "__main__":
    write_events()
