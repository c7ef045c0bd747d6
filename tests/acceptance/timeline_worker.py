"""One process whose runs write down what they do, in order, for comparison with what the timeline tells of it.

A line is written before what it names happens, so that a process that is killed has never done what no journal names;
except for what it took, which it does not know before.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from fire_worker import Journal, main

from attune_dsl import Context, join, run, stage, workflow
from attune_dsl.hub import link, recorder

GRACE = link.GRACE
recorder.MOST = 1_000_000  # type: ignore[misc] # more than happens while there is no server: nothing is to be dropped
HOPS = 6
"""Processes that one signal and those that follow from it go through, at most."""


class Story:
    """What one run does, in its own order."""

    def __init__(self, ctx: Context, journal: Journal, chance: random.Random, others: list[str]) -> None:
        self.run_id = ctx.run_id
        self.chance = chance
        self.others = others
        self._journal = journal
        self._number = 0

    def next(self, kind: str, where: str | None = None, detail: Any = None) -> None:
        """This is about to happen."""
        self._journal.write("next", run=self.run_id, told=[kind, where, detail])

    def emit(self, ctx: Context, **more: Any) -> str:
        """Emit something that nothing else is like; return what tells it from all else."""
        self._number += 1
        token = f"{self.run_id}.{self._number}"
        self.next("emit", ctx.stage, token)
        ctx.emit({"token": token, **more})
        return token

    def send(self, ctx: Context, chain: list[str]) -> None:
        """Send a signal after an effect of its own: whoever gets it has to find the effect in the timeline."""
        token = self.emit(ctx)
        self.next("signal.sent", ctx.stage, token)
        stored = ctx.signals.send("hop", self.chance.choice(self.others), {"chain": [*chain, token]})
        self._journal.write("sent", run=self.run_id, token=token, id=stored)

    def took(self, signal_id: str, where: str | None) -> None:
        """It took a signal."""
        self._journal.write("took", run=self.run_id, told=["signal.received", where, signal_id])


@stage
def prepare(ctx: Context, story: Story) -> None:
    story.emit(ctx)
    ctx.progress(0.5)
    story.emit(ctx)
    story.next("stage.ended", "prepare", "completed")


@stage(retries=1, backoff=0.001)
def stumble(ctx: Context, story: Story) -> None:
    if ctx.attempt == 1:
        story.emit(ctx)
        story.next("stage.retried", "stumble", 1)
        story.next("stage.started", "stumble", 2)
        raise OSError("on purpose")
    story.emit(ctx)
    story.next("stage.ended", "stumble", "completed")


@stage
def tell(ctx: Context, story: Story) -> None:
    for _ in range(story.chance.randrange(1, 4)):
        story.send(ctx, [])
    story.next("stage.ended", "tell", "completed")


@stage
def hear(ctx: Context, story: Story) -> None:
    if got := ctx.signals.wait("hop", timeout=story.chance.choice([0.01, 0.1])):
        story.took(got.id, ctx.stage)
        story.emit(ctx, after=got.payload["chain"], of=got.id)
        if len(got.payload["chain"]) < HOPS:
            story.send(ctx, got.payload["chain"])
    story.next("stage.ended", "hear", "completed")


STEPS: list[Any] = [prepare, stumble, tell, hear, hear, hear]


@workflow(heartbeat=True, coordination=True)
def rounds(
    ctx: Context, journal: Journal, chance: random.Random, others: list[str], is_over: Callable[[int], bool]
) -> None:
    story = Story(ctx, journal, chance, others)
    journal.write("joined")
    for number in count():
        if is_over(number):
            break
        step = chance.choice(STEPS)
        story.next("stage.started", step.name, 1)
        step(story)
    link.GRACE = GRACE  # an end that is given up is not told
    story.next("run.ended", None, "completed")


def live(spec: dict[str, Any]) -> None:
    """Run until the file ``stop`` is there: one run after the other, each a new incarnation, or one that is endless."""
    journal = Journal(spec["journal"])
    chance = random.Random(f"{spec['seed']} {spec['name']} {spec['incarnation']}")
    others = [name for name in spec["names"] if name != spec["name"]]
    stop = Path(spec["journal"]).with_name("stop")
    flow = rounds.options(agent_id=spec["name"], store=spec["store"], namespace=spec["namespace"])
    link.GRACE = spec.get("grace", link.GRACE)
    while not stop.exists():
        most = math.inf if spec.get("endless") else chance.randrange(5, 40)
        result = run(flow, journal, chance, others, lambda number, most=most: number >= most or stop.exists())
        result.unwrap()
        journal.write("left", run=result.run_id, degraded=result.degraded)


def act(told: Any) -> None:
    """Live; or, for the last incarnations, only join and leave, which finds out who was killed."""
    if isinstance(told, dict):
        live(told)
        return
    for spec in told:
        with join(spec["name"], spec["store"], spec["namespace"]):
            pass


if __name__ == "__main__":
    main(act)
