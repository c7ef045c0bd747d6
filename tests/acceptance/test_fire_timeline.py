"""§5, under fire: the timeline tells what many processes do, whatever is killed meanwhile, in the order of causes.

``ATTUNE_SOAK_SEED`` repeats what they did.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("fcntl")

import redis
from fire_support import PATIENCE, Agent, Fire, crash
from following import passed
from timeline_support import WORKER, Audit, read, runs_of
from waiting import wait_until

from attune_dsl.hub import link
from attune_dsl.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    from conftest import Store

# Asked for at import: the fixture ``isolated`` removes what comes in from outside.
SEED = int(os.environ.get("ATTUNE_SOAK_SEED") or random.randrange(1_000_000))
KILLS = 12
CRASHES = 4
IMPATIENT = 0.05
"""Seconds after which some processes give a send up: less than the server is away."""
CAP = 1_000_000
"""More events than there are: what would be dropped is not missed by mistake."""


def churn(agents: list[Agent], chance: random.Random) -> list[Agent]:
    """Kill agents at random and start most of them again; return those that stay dead."""
    dead: list[Agent] = []
    for _ in range(KILLS):
        wait_until(passed(chance.uniform(0.05, 0.3)))
        agent = chance.choice([agent for agent in agents if agent not in dead])
        agent.die()
        if chance.random() < 0.7:
            agent.start()
        else:
            dead.append(agent)
    return dead


def assert_whole(audit: Audit) -> None:
    """Assert what must hold of any timeline."""
    assert audit.gaps() == []
    assert audit.untold() == []
    assert audit.repeated() == []
    assert audit.out_of_order() == []
    assert audit.without_causes() == []
    assert audit.wrong_waits() == []


@pytest.mark.parametrize("store", ["embedded"], indirect=True)
@pytest.mark.timeout(3 * PATIENCE)
def test_twenty_processes_are_told_in_the_order_of_causes(store: Store, tmp_path: Path) -> None:
    """§5.1, §5.7, §5.10: what each did in its own order, once, and effects behind their causes; the killed are lost."""
    print(f"ATTUNE_SOAK_SEED={SEED}")
    store.redis.set(f"{store.prefix}timeline-cap", CAP, ex=3600)
    chance, names = random.Random(SEED), [f"p{number}" for number in range(20)]
    with Fire(tmp_path, names, SEED, worker=WORKER, store=store.address, namespace=store.namespace) as fire:
        for agent in fire.agents:
            agent.start()
        fire.await_joined()
        began = time.monotonic()
        dead = churn(fire.agents, chance)
        (tmp_path / "stop").touch()
        for agent in fire.agents:
            if agent not in dead:
                agent.await_end()
        took = time.monotonic() - began
        fire.finish()
        audit = Audit(read(store.redis, store.namespace), runs_of(fire))
        assert fire.errors() == ""

    killed = [run for run in audit.runs.values() if not run.is_whole]
    kinds, chains = Counter(one.event.kind for one in audit.told), Counter(audit.chains())
    print(f"{len(audit.told)} events of {len(audit.runs)} runs, {len(killed)} killed, in {took:.1f} s; {dict(kinds)}")
    print(f"reactions by processes that led to them: {dict(sorted(chains.items()))}")
    assert_whole(audit)
    assert audit.unfinished() == []
    assert kinds["agent.lost"] > 0
    assert len([length for length in chains.elements() if length >= 3]) >= 20


def progress(fire: Fire) -> dict[str, int]:
    """Return how many sends of each agent were acknowledged so far."""
    confirmed: Counter[str] = Counter()
    for run in runs_of(fire).values():
        confirmed[run.agent] += sum(1 for stored in run.sent.values() if stored)
    return {agent.name: confirmed[agent.name] for agent in fire.agents}


def await_more(fire: Fire) -> None:
    """Wait until each agent has had another send acknowledged: it is back, and has told what it did meanwhile."""
    before = progress(fire)
    wait_until(lambda: all(many > before[name] for name, many in progress(fire).items()), PATIENCE, "all are back")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.timeout(3 * PATIENCE)
def test_a_server_that_is_killed_keeps_the_order_and_every_event(tmp_path: Path) -> None:
    """§5.1, §5.10, §5.11: what was on its way when the server died is told again by its number, and stands there once.

    What happens while there is no server is told when there is one.
    """
    print(f"ATTUNE_SOAK_SEED={SEED}")
    chance, names, namespace = random.Random(SEED), [f"p{number}" for number in range(6)], "fire"
    server = EmbeddedServer()
    server.start()
    try:
        with redis.Redis.from_url(server.url) as client:
            client.set(f"attune:{{{namespace}}}:timeline-cap", CAP, ex=3600)
        with Fire(tmp_path, names, SEED, worker=WORKER, store=None, namespace=namespace) as fire:
            fire.told["endless"] = True
            for number, agent in enumerate(fire.agents):
                fire.told["grace"] = IMPATIENT if number % 3 == 0 else link.GRACE
                agent.start()
            fire.await_joined()
            began, away = time.monotonic(), []
            for number in range(CRASHES):
                wait_until(passed(chance.uniform(0.2, 0.8)))
                dead, up = crash(server, rewriting=number % 2 == 1, helped=number > 1)
                away.append(round(up - dead, 3))
                await_more(fire)
            (tmp_path / "stop").touch()
            for agent in fire.agents:
                agent.await_end()
            took, runs = time.monotonic() - began, runs_of(fire)
            assert fire.errors() == ""
        with redis.Redis.from_url(server.url) as client:
            audit = Audit(read(client, namespace), runs)
    finally:
        server.close()

    unsure = sum(1 for run in runs.values() for stored in run.sent.values() if not stored)
    print(f"{len(audit.told)} events in {took:.1f} s, the server away for {away} s, {unsure} sends not confirmed")
    assert len(runs) == len(names)
    assert [run_id for run_id, run in runs.items() if not run.is_whole] == []
    assert_whole(audit)
    assert audit.unfinished() == []
