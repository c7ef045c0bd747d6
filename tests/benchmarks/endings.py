"""From the end of an agent, or from the report of its loss, to the end of the wait for it in another process.

When it ended is what the store has written down, in whole milliseconds; both processes and the server share the clock.
"""

from __future__ import annotations

import os
import signal
import time
from multiprocessing import get_context
from typing import TYPE_CHECKING

from attune_dsl import Heartbeat, join
from attune_dsl.coordination.agent import AgentInfo, enter
from attune_dsl.hub.drive import drive
from attune_dsl.store.keys import Keys
from tests.benchmarks.measure import Report
from tests.benchmarks.scratch import scratch_store

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

ENDS = 200
ROUNDS = 10
AT_ONCE = 6
PAUSE = 0.01
"""Seconds in which the other begins to wait."""
BEAT = Heartbeat(interval=0.2, ttl=0.6)
TARGET = 0.05


def live(pipe: Connection, names: list[str]) -> None:
    """Live under these names, and end each when its name is asked for, unless this is killed before."""
    agents = {name: drive(enter(name, heartbeat=BEAT, coordination=None, info=AgentInfo())) for name in names}
    pipe.send("joined")
    while name := pipe.recv():
        time.sleep(PAUSE)
        drive(agents[name].leave("completed"))
    os._exit(0)


def ended_at(client: object, name: str) -> float:
    """Return when the store saw it end."""
    return int(client.hget(Keys("default").agent(name), "ended_at")) / 1000  # type: ignore[attr-defined]


def after_an_end(client: object) -> list[float]:
    """Have agents of another process leave one after the other, each waited for."""
    names = [f"agent-{n}" for n in range(ENDS)]
    pipe, theirs = get_context("spawn").Pipe()
    other = get_context("spawn").Process(target=live, args=(theirs, names))
    other.start()
    pipe.recv()
    delays = []
    with join("waiter") as me:
        for name in names:
            me.signals.wait("done", source=name, timeout=0.02)  # the store knows of it from here on
            pipe.send(name)
            me.signals.wait("done", source=name)
            delays.append(time.time() - ended_at(client, name))
    pipe.send("")
    other.join()
    return delays


def after_a_loss(client: object, at_once: int) -> list[float]:
    """Kill processes, each with so many agents that are waited for."""
    delays = []
    with join("waiter") as me:
        for number in range(ROUNDS):
            names = [f"lost-{at_once}-{number}-{n}" for n in range(at_once)]
            pipe, theirs = get_context("spawn").Pipe()
            other = get_context("spawn").Process(target=live, args=(theirs, names))
            other.start()
            pipe.recv()
            assert other.pid is not None
            os.kill(other.pid, signal.SIGKILL)
            other.join()
            if at_once == 1:
                me.signals.wait("done", source=names[0])
            else:
                me.signals.collect("done", sources=names)
            delays.append(time.time() - max(ended_at(client, name) for name in names))
    return delays


def measure() -> Report:
    """Measure how long a wait goes on in vain."""
    import redis

    report = Report("from the end of an agent to the end of the wait for it", unit="ms")
    with scratch_store() as url, redis.Redis.from_url(url) as client:
        report.add("after it has left", after_an_end(client), target=TARGET)
        report.add("after its loss was declared", after_a_loss(client, 1), target=TARGET)
        report.add(f"after {AT_ONCE} losses, gathering", after_a_loss(client, AT_ONCE), target=TARGET)
    for figure in report.figures:
        ordered = sorted(figure.samples)
        report.facts[f"{figure.name}: p99, most (ms)"] = ", ".join(
            f"{1000 * value:.1f}" for value in (ordered[int(len(ordered) * 0.99)], ordered[-1])
        )
    return report
