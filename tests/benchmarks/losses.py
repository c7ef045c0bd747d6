"""From kill -9 to the report of the loss, over 240 processes that are killed at random moments of their interval.

The least that any implementation needs is what is left of the lease when the process dies; so the delay beyond the
lapse of the lease is shown, too.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import time

from attune_dsl import ChangeKind, Heartbeat, Monitor
from attune_dsl.coordination.agent import AgentInfo, enter
from attune_dsl.hub.drive import drive
from tests.benchmarks.measure import Report
from tests.benchmarks.scratch import scratch_store

ROUNDS = 20
AT_ONCE = 12
BEAT = Heartbeat(interval=0.4, ttl=1.2)
SEED = 7


def start(agent_id: str) -> int:
    """Fork a process that joins as an agent and does nothing else; return its pid once it has joined."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        drive(enter(agent_id, heartbeat=BEAT, coordination=None, info=AgentInfo()))
        os.write(told, b"!")
        signal.pause()
        os._exit(0)
    os.close(told)
    os.read(ready, 1)
    os.close(ready)
    return pid


def kill(pids: dict[str, int], chance: random.Random) -> dict[str, float]:
    """Kill each process at a moment of its own; return when that was."""
    killed = {}
    for agent_id, pid in pids.items():
        time.sleep(chance.uniform(0, BEAT.interval / 3))
        os.kill(pid, signal.SIGKILL)
        killed[agent_id] = time.monotonic()
        os.waitpid(pid, 0)
    return killed


def measure() -> Report:
    """Measure how long a loss stays unnoticed."""
    report = Report(f"from kill -9 to the report, ttl {BEAT.ttl:g} s and interval {BEAT.interval:g} s", unit="ms")
    chance, delays, beyond, reports = random.Random(SEED), [], [], 0
    with scratch_store(), Monitor() as monitor, monitor.follow() as changes:
        for number in range(ROUNDS):
            pids = {f"agent-{number}-{index}": start(f"agent-{number}-{index}") for index in range(AT_ONCE)}
            killed = kill(pids, chance)
            lost: set[str] = set()
            while lost != set(killed):
                for change in changes.next(BEAT.ttl + BEAT.interval):
                    if change.kind is ChangeKind.LOST:
                        reports += 1
                        lost.add(change.agent.agent_id)
                        delays.append(time.monotonic() - killed[change.agent.agent_id])
                        beyond.append((change.agent.beat_age or 0.0) - BEAT.ttl)
    report.add("from the kill to the report", delays)
    report.add("beyond the lapse of the lease", beyond)
    bound = BEAT.ttl + BEAT.interval
    centiles = statistics.quantiles(delays, n=100)
    report.facts["kills"], report.facts["reports"], report.facts["seed"] = len(killed) * ROUNDS, reports, SEED
    report.facts["p50, p90, p99, most (s)"] = ", ".join(
        f"{value:.3f}" for value in (centiles[49], centiles[89], centiles[98], max(delays))
    )
    report.facts[f"later than ttl + interval = {bound:g} s (target: 0)"] = sum(delay > bound for delay in delays)
    return report
