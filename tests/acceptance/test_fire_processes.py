"""§5, under fire: twenty processes that send, take and wait at random, and are killed and started again meanwhile.

By default with as many signals as fit into the suite's time. ``ATTUNE_SOAK_SIGNALS=100000`` makes it as many as you
like, ``ATTUNE_SOAK_SEED`` repeats one.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fire_support import PATIENCE, Agent, Audit, Fire
from following import passed
from waiting import wait_until

if TYPE_CHECKING:
    from conftest import Store

# Asked for at import: the fixture ``isolated`` removes what comes in from outside.
SIGNALS = int(os.environ.get("ATTUNE_SOAK_SIGNALS") or 8_000)
SEED = int(os.environ.get("ATTUNE_SOAK_SEED") or random.randrange(1_000_000))
NAMES = [f"p{n}" for n in range(20)]
LIMIT = 30 + SIGNALS / 200
"""Seconds for the signals; far more than they take."""


def churn(agents: list[Agent], chance: random.Random) -> tuple[int, int]:
    """Kill agents at random, or let them leave, and start them again, at once or later; return how often each."""
    deadline, kills, leaves, down = time.monotonic() + LIMIT, 0, 0, list[Agent]()
    while not all(agent.done.exists() for agent in agents):
        assert time.monotonic() < deadline, {agent.name: agent.tried() for agent in agents if not agent.done.exists()}
        up = [agent for agent in agents if agent not in down]
        assert [agent.name for agent in up if not agent.lives] == []
        if len(up) > len(agents) * 3 // 4 and chance.random() < 0.7:
            agent = chance.choice(up)
            if chance.random() < 0.75:
                agent.die()
                kills += 1
                if chance.random() < 0.25:
                    agent.visit()
            else:
                agent.stop()
                agent.await_end()
                leaves += 1
            if chance.random() < 0.5:
                down.append(agent)
            else:
                agent.start()
        elif down:
            down.pop(chance.randrange(len(down))).start()
        wait_until(passed(chance.uniform(0.01, 0.25)))
    for agent in down:
        agent.start()
    return kills, leaves


def end_all(agents: list[Agent], chance: random.Random) -> None:
    """Kill half of them, and have the others leave."""
    chance.shuffle(agents)
    for agent in agents[: len(agents) // 2]:
        agent.die()
    for agent in agents[len(agents) // 2 :]:
        agent.stop()
    for agent in agents[len(agents) // 2 :]:
        agent.await_end()


@pytest.mark.parametrize("store", ["embedded"], indirect=True)
@pytest.mark.timeout(LIMIT + 3 * PATIENCE)
def test_nothing_is_lost_or_doubled_or_misdirected(store: Store, tmp_path: Path) -> None:
    """§5.1-5.5, §5.7: in whatever moment a process dies, the next under its name goes on where it was."""
    print(f"ATTUNE_SOAK_SEED={SEED} ATTUNE_SOAK_SIGNALS={SIGNALS}")
    chance = random.Random(SEED)
    with Fire(tmp_path, NAMES, SEED, store=store.address, namespace=store.namespace) as fire:
        fire.share = SIGNALS // len(NAMES)
        for agent in fire.agents:
            agent.start()
        fire.await_joined()
        began = time.monotonic()
        kills, leaves = churn(fire.agents, chance)
        took = time.monotonic() - began
        end_all(list(fire.agents), chance)
        fire.finish()
        audit = Audit(fire.lives())
        assert fire.errors() == ""

    reasons = Counter(nothing["reason"] for life in audit.lives for nothing in life.nothing)
    received = sum(1 for _ in audit.all_taken())
    print(f"{len(audit.sent)} sends in {took:.1f} s ({len(audit.sent) / took:.0f} a second), {received} taken,")
    print(f"{audit.redelivered()} of them again; {kills} kills, {leaves} leaves; waits ended {dict(reasons)}")
    assert audit.lost() == []
    assert audit.repeated() == []
    assert audit.misdirected() == []
    assert audit.out_of_order() == []
    assert audit.missed() == []
    assert audit.late() == []
    assert audit.shared_ids() == []
    assert audit.wrongly_marked() == []
    assert set(reasons) <= {"timeout", "peer_gone", "deadlock"}
    assert kills > 0
