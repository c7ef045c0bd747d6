"""The timeline: what an event costs where it happens, how soon those who follow have it, and how long a replay takes.

An event is noted on the caller's path and written by the hub later; the floor is an append to a list. A follower is
compared with a process that blocks in a raw XREAD, a replay with reading the same entries without making events.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import redis

from attune_dsl import AsyncTimeline, Event, Timeline
from attune_dsl.events import Emit
from attune_dsl.hub.recorder import MOST, Recorder
from attune_dsl.store import event_codec
from attune_dsl.store.keys import Keys
from tests.benchmarks.measure import Report, alternate, timed
from tests.benchmarks.scratch import scratch_store

NOTES = MOST // 2
BOUNDARY = 1e-6
"""Seconds that an event may take on the caller's path."""
FOLLOW = 2.0
"""How many times as long as a raw XREAD an event may take to a follower, at the median."""
EVENTS = 100_000
REPLAY = 1.0
"""Seconds for so many."""
ROUNDS, TOLD = 12, 150
PAUSE = 0.001
"""Seconds between two events that are followed: each comes alone."""
CHUNK = 1_000

KEY = Keys("default").timeline


def measure() -> Report:
    """Measure all three."""
    report = Report("the timeline")
    note_events(report)
    with scratch_store() as url, redis.Redis.from_url(url) as client:
        follow_events(report, client)
        replay(report, client)
    return report


# What an event costs where it happens


def note_events(report: Report) -> None:
    """Note as many events as an agent keeps, and drop them untimed."""
    recorder = Recorder("r", "w", server_ms=lambda: 0.0, soon=bool, now=bool, blocked=list)
    appended: list[Any] = []
    numbers = itertools.count()

    def append() -> None:
        for _ in range(NOTES):
            appended.append(None)

    def note() -> None:
        for _ in range(NOTES):
            recorder.note("stage.started", "build", (next(numbers), 1, "cheap", None))

    works: dict[str, Callable[[], None]] = {"append": append, "note": note}
    samples: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(15):
        for name, work in works.items():
            samples[name].append(timed(work, NOTES))
        appended.clear()
        while recorder.pop() is not None:
            continue
    report.add("an append", samples["append"])
    report.add("an event on the caller's path", samples["note"], floor="an append", target=BOUNDARY)


# How soon a follower has it


def write_events() -> None:
    """Write one event after the other whenever a line comes; each says when it was written."""
    with redis.Redis.from_url(sys.argv[1]) as client:
        client.xadd(KEY, {"kind": "agent.updated"})
        print("ready", flush=True)
        for _ in sys.stdin:
            for _ in range(TOLD):
                time.sleep(PAUSE)
                client.xadd(KEY, entry(Emit(kind="note", data=time.perf_counter())))


def entry(data: Emit) -> Any:
    """Return an entry as an agent's hub would have it written."""
    head = {"kind": "emit", "agent": "release", "epoch": "1", "at": str(int(time.time() * 1000))}
    return head | {"run": "4b1f0c7a", "workflow": "release", "stage": "build", "data": event_codec.encode(data)}


@contextmanager
def writer(url: str) -> Iterator[Callable[[], None]]:
    """Yield what makes another process write."""
    command = [sys.executable, "-m", __name__, url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()

        def go() -> None:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()

        yield go
        process.stdin.close()


def age(event: Event) -> float:
    """Return how long ago an event was written."""
    assert isinstance(event.data, Emit)
    return float(time.perf_counter() - event.data.data)


def follow_events(report: Report, client: redis.Redis) -> None:
    """Alternate between a raw reader and followers of both colours."""
    url = "unix://" + str(client.connection_pool.connection_kwargs["path"])
    ages: dict[str, list[float]] = {"raw XREAD": [], "followed": [], "followed, async": []}
    with writer(url) as go, Timeline() as timeline, asyncio.Runner() as loop:
        several = AsyncTimeline()
        for _ in range(ROUNDS):
            ages["raw XREAD"] += raw_ages(client, go)
            ages["followed"] += followed_ages(timeline, go)
            ages["followed, async"] += loop.run(async_ages(several, go))
        loop.run(several.close())
    report.add("an event to a raw XREAD", ages["raw XREAD"])
    report.add("an event to a follower", ages["followed"], floor="an event to a raw XREAD", ratio_target=FOLLOW)
    report.add(
        "an event to an async follower", ages["followed, async"], floor="an event to a raw XREAD", ratio_target=FOLLOW
    )


def raw_ages(client: redis.Redis, go: Callable[[], None]) -> list[float]:
    """Return the ages of events as a bare client has them."""
    found: list[float] = []
    newest: Any = client.xrevrange(KEY, count=1)
    cursor = newest[0][0]
    go()
    while len(found) < TOLD:
        ((_, entries),) = client.xread({KEY: cursor}, block=0)  # type: ignore[misc]
        arrived = time.perf_counter()
        found += [arrived - json.loads(fields[b"data"])["data"] for _, fields in entries]
        cursor = entries[-1][0]
    return found


def followed_ages(timeline: Timeline, go: Callable[[], None]) -> list[float]:
    """Return the ages of events as a follower has them."""
    found: list[float] = []
    with timeline.follow() as events:
        events.next(0)
        go()
        while len(found) < TOLD:
            found += [age(event) for event in events.next(None)]
    return found


async def async_ages(timeline: AsyncTimeline, go: Callable[[], None]) -> list[float]:
    """Return the ages of events as an async follower has them."""
    found: list[float] = []
    async with await timeline.follow() as events:
        await events.next(0)
        go()
        while len(found) < TOLD:
            found += [age(event) for event in await events.next(None)]
    return found


# How long a replay takes


def replay(report: Report, client: redis.Redis) -> None:
    """Read a full timeline, as entries and as events."""
    client.delete(KEY)
    pipeline = client.pipeline(transaction=False)
    for number in range(EVENTS):
        pipeline.xadd(KEY, entry(Emit(kind="note", data={"files": number, "of": "app-1.2.whl"})))
        if number % CHUNK == CHUNK - 1:
            pipeline.execute()
    with Timeline() as timeline, closing(client):
        works = {"entries": lambda: entries_of(client), "events": lambda: len(timeline.read())}
        samples = alternate(works, rounds=5)
        assert entries_of(client) == works["events"]() == EVENTS
    report.add(f"{EVENTS:,} entries, read with redis-py", samples["entries"])
    report.add(f"{EVENTS:,} events", samples["events"], floor=f"{EVENTS:,} entries, read with redis-py", target=REPLAY)


def entries_of(client: redis.Redis) -> int:
    """Read all entries in chunks; return how many there are."""
    cursor, count = "-", 0
    while entries := client.xrange(KEY, cursor, "+", CHUNK):  # type: ignore[assignment]
        cursor, count = f"({entries[-1][0].decode()}", count + len(entries)  # type: ignore[index, arg-type]
    return count


if __name__ == "__main__":
    write_events()
