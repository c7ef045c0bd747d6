"""What it costs the server to look for a cycle of waits, with a thousand agents that wait.

Server seconds are what the server itself counted for the script. ``typical`` agents wait for one that does not wait;
the worst case is a chain of 64 whose members have mail that they have not received, as much as is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import redis

from attune_dsl.store import limits, scripts
from attune_dsl.store.keys import Keys
from tests.benchmarks.measure import Report
from tests.benchmarks.scratch import scratch_store

AGENTS = 1_000
ROUNDS = 50
CALLS = 20
TTL = 600_000


class Namespace:
    """Agents and their waits, by the scripts alone."""

    def __init__(self, client: redis.Redis) -> None:
        self.client, self.keys = client, Keys("bench")
        self.owners: dict[str, str] = {}
        self.sent = 0
        for command in scripts.load_commands():
            client.execute_command(*command)

    def join(self, agent_id: str) -> None:
        command = scripts.join(
            self.keys,
            agent_id,
            "hub.1",
            ttl_ms=TTL,
            known_epoch="0",
            takeover="0",
            hub="hub",
            by="",
            fields=["status", "running", "ttl", TTL, "interval", TTL],
        )
        reply: Any = self.client.execute_command(*command)
        self.owners[agent_id] = f"{reply[1].decode()}@hub.1"

    def block(self, agent_id: str, source: str) -> list[bytes]:
        """Tell of a wait; return the cycle that it closes."""
        epoch = self.owners[agent_id].partition("@")[0]
        record = {"epoch": epoch, "since": int(epoch), "source": source, "types": ["done"]}
        record |= {"wait": 1, "mail": 0, "broadcast": 0, "deadline": 0}
        owner = self.owners[agent_id]
        command = scripts.block(self.keys, agent_id, owner=owner, record=json.dumps(record).encode())
        found: list[bytes] = self.client.execute_command(*command)
        return found

    def send(self, source: str, target: str, size: int) -> None:
        """Send what its target does not wait for."""
        self.sent += 1
        signal = json.dumps({"type": "other", "source": source, "target": target, "payload": "x" * size}).encode()
        command = scripts.send(
            self.keys,
            source,
            target,
            owner=self.owners[source],
            lane="hub.1",
            seq=self.sent,
            signal_id=f"hub.1.{self.sent}",
            ttl_ms=TTL,
            signal=signal,
            key=None,
        )
        self.client.execute_command(*command)

    def server_seconds(self, work: Callable[[], object]) -> float:
        """Return the server's seconds for each of ``CALLS`` script calls by ``work``: INFO leaves caches cold."""
        before = self._spent()
        for _ in range(CALLS):
            work()
        return (self._spent() - before) / CALLS

    def _spent(self) -> float:
        stats: Any = self.client.info("commandstats")
        return float(stats["cmdstat_evalsha"]["usec"]) / 1e6


def chain(names: list[str], namespace: Namespace) -> None:
    """Let each wait for the next; the last one for nobody's wait yet."""
    for name, source in pairwise(names):
        namespace.block(name, source)


def measure() -> Report:
    """Measure the script in the server's own time."""
    report = Report(f"a look for a cycle of waits, {AGENTS:,} agents waiting, on the server")
    with scratch_store() as url, redis.Redis.from_url(url) as client:
        namespace = Namespace(client)
        names = [f"agent-{number}" for number in range(AGENTS)]
        for name in [*names, "boss", "closer"]:
            namespace.join(name)
        ring = names[: limits.CYCLE_COUNT]
        typical = names[limits.CYCLE_COUNT :]
        for name in typical:
            namespace.block(name, "boss")
        chain(ring, namespace)

        samples: dict[str, list[float]] = {"typical": [], "two": [], "chain": [], "worst": []}
        for number in range(ROUNDS):
            name = typical[number]
            samples["typical"].append(namespace.server_seconds(lambda name=name: namespace.block(name, "boss")))
        for _ in range(ROUNDS):
            namespace.block("closer", "boss")  # what was told long ago would have to be confirmed first
            samples["two"].append(namespace.server_seconds(lambda: _closes(namespace, "boss", "closer", 2)))
        last = ring[-1]
        for _ in range(ROUNDS):
            chain(ring, namespace)
            samples["chain"].append(namespace.server_seconds(lambda: _closes(namespace, last, ring[0], len(ring))))
        for number in range(limits.CYCLE_SCAN - len(ring)):
            namespace.send("boss", ring[number % len(ring)], 200)
        for _ in range(ROUNDS):
            chain(ring, namespace)
            samples["worst"].append(namespace.server_seconds(lambda: _closes(namespace, last, ring[0], len(ring))))
    report.add("a wait for one that does not wait", samples["typical"], target=50e-6)
    report.add("a cycle of 2", samples["two"], target=50e-6)
    report.add(f"a cycle of {limits.CYCLE_COUNT}", samples["chain"], target=3e-3)
    report.add(f"the same with {limits.CYCLE_SCAN - len(ring)} signals not received", samples["worst"], target=3e-3)
    return report


def _closes(namespace: Namespace, agent_id: str, source: str, length: int) -> None:
    found = namespace.block(agent_id, source)
    assert len(found) == 3 * length, found
