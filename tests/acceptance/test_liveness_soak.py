"""§5.10, the soak: 1,000 agents in ten processes that are killed at random and started again.

It lasts 12 seconds. ``ATTUNE_SOAK_SECONDS=60`` makes it as long as you like, ``ATTUNE_SOAK_SEED`` repeats one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from cli_support import Running
from following import Follow, Following, Incarnation, passed, timeline
from liveness_support import Processes, follow, processes  # noqa: F401 (fixtures)
from waiting import wait_until

from attune_dsl.model import ChangeKind

if TYPE_CHECKING:
    from conftest import Store

# Asked for at import: the fixture ``isolated`` removes what comes in from outside.
SECONDS = float(os.environ.get("ATTUNE_SOAK_SECONDS") or 12)
SEED = int(os.environ.get("ATTUNE_SOAK_SEED") or random.randrange(1_000_000))
PROCESSES, AGENTS = 10, 100
PATIENCE = 60.0
"""Seconds for what is under way at the end: ten processes may be starting on two busy cores."""

WORKER = """
    import asyncio, json, sys
    from attune_dsl import Heartbeat
    from attune_dsl.coordination.agent import AgentInfo, enter
    from attune_dsl.model import AgentStatus

    store, namespace, name, count = sys.argv[1:]
    BEAT = Heartbeat(interval=0.5, ttl=2.0)

    async def join(n):
        agent = await enter(f"{name}-{n}", store=store, namespace=namespace, heartbeat=BEAT, coordination=None,
                            info=AgentInfo(workflow=name))
        agent.touch("work", 0.5)
        return agent

    async def main():
        agents = await asyncio.gather(*(join(n) for n in range(int(count))))
        await asyncio.to_thread(print, "ready", json.dumps([[a.agent_id, a._member.epoch] for a in agents]), flush=True)
        stop = asyncio.Event()
        import signal
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        print("set", flush=True)
        await stop.wait()
        lost = [agent.agent_id for agent in agents if agent._member.was_lost]
        await asyncio.gather(*(agent.leave(AgentStatus.COMPLETED) for agent in agents))
        print("left", json.dumps(lost), flush=True)

    asyncio.run(main())
"""


class Worker:
    """One process with its agents, started again and again under the same names."""

    def __init__(self, processes: Processes, name: str) -> None:  # noqa: F811
        self._processes = processes
        self._name = name
        self._running = self._start()

    def _start(self) -> Running:
        return self._processes.program(WORKER, self._name, str(AGENTS))

    def die(self) -> None:
        self._running.interrupt(signal.SIGKILL)

    def start(self) -> None:
        self._running = self._start()

    def incarnations(self) -> set[Incarnation]:
        """Wait until it has joined; return who lives in it."""
        ready = next((line for line in self._running.heard if line.startswith("ready")), None)
        ready = ready or self._running.says("ready")
        return {(agent_id, epoch) for agent_id, epoch in json.loads(ready.partition(" ")[2])}

    def leave(self) -> list[str]:
        """End it in order; return those of its agents that were lost though they lived."""
        self._running.says("set")
        self._running.interrupt(signal.SIGTERM)
        lost: list[str] = json.loads(self._running.says("left").partition(" ")[2])
        assert self._running.end().code == 0
        return lost


class Listener:
    """A follower on a thread of its own, as a process that does nothing else would be."""

    def __init__(self, following: Following) -> None:
        self.following = following
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._stop.is_set():
            self.following.hear(0.1)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def churn(workers: list[Worker], chance: random.Random) -> int:
    """Kill workers at random and start them again, at once or later; return how often."""
    over, kills, down = passed(SECONDS), 0, list[Worker]()
    while not over():
        up = [worker for worker in workers if worker not in down]
        if len(up) > PROCESSES // 2 and chance.random() < 0.6:
            victim = chance.choice(up)
            victim.die()
            kills += 1
            if chance.random() < 0.5:
                down.append(victim)
            else:
                victim.start()
        elif down:
            down.pop(chance.randrange(len(down))).start()
        wait_until(passed(chance.uniform(0.02, 0.6)))
    for worker in down:
        worker.start()
    return kills


@pytest.mark.parametrize("store", ["embedded"], indirect=True)
@pytest.mark.timeout(SECONDS + 4 * PATIENCE)
def test_a_thousand_agents_that_die_at_random(store: Store, processes: Processes, follow: Follow) -> None:  # noqa: F811
    """§5.10: no ghost is left, and no loss is unreported or reported twice."""
    print(f"seed {SEED}, {SECONDS:g} s")
    listener = Listener(follow())
    try:
        workers = [Worker(processes, f"w{n}") for n in range(PROCESSES)]
        for worker in workers[: PROCESSES // 2]:
            worker.incarnations()  # the others may be killed while they join
        kills = churn(workers, random.Random(SEED))
        alive = set[Incarnation]().union(*(worker.incarnations() for worker in workers))
        leases = store.prefix + "leases"
        names = {f"{agent_id}#{epoch}".encode() for agent_id, epoch in alive}
        wait_until(lambda: set(store.redis.zrange(leases, 0, -1)) == names, PATIENCE, "only those alive have a lease")  # type: ignore[arg-type]
        revived = [name for worker in workers for name in worker.leave()]
        ended = {one for _, one in timeline(store, ChangeKind.ENDED)}
        told = listener.following.told
        wait_until(lambda: len(told(ChangeKind.ENDED)) >= len(ended), PATIENCE, "the follower hears of every end")
    finally:
        listener.stop()

    assert len(alive) == PROCESSES * AGENTS
    assert revived == []
    assert ended == alive
    lost = Counter(one for _, one in timeline(store, ChangeKind.LOST))
    dead = {one for _, one in timeline(store, ChangeKind.JOINED)} - alive
    print(f"{kills} processes were killed, {len(dead)} agents lost")
    assert len(dead) >= AGENTS
    odd = {one[0] for one in (lost - Counter(dead)) + (Counter(dead) - lost)}
    assert [entry for entry in timeline(store) if entry[1][0] in odd] == []
    assert lost == Counter(dead)
    assert Counter((c.agent.agent_id, c.agent.epoch) for c in told(ChangeKind.LOST)) == lost
    assert store.redis.zcard(leases) == 0
