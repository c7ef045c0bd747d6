"""§5.8 under load: random waits over several hubs and threads, where each alarm is held against what is really true.

``ATTUNE_SOAK_SECONDS`` says how long on each server (3), ``ATTUNE_SOAK_SEED`` repeats the choices of an earlier run.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from peers import Peers
from proxy import Proxy

from attune_dsl import join
from attune_dsl.hub import blocks
from attune_dsl.model import NoSignal, Reason, Signal

if TYPE_CHECKING:
    from conftest import Store

NAMES = [f"a{n}" for n in range(9)]
TYPES = ("x", "y", "z")
SECONDS = float(os.environ.get("ATTUNE_SOAK_SECONDS") or 3)
STUCK = 10.0
"""Seconds in which at least one of the agents must have got on."""
Wait = tuple[str, tuple[str, ...], float | None]


class World:
    """Knows everything: who waits for whom, and what was sent and not taken."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waits: dict[str, Wait] = {}
        self.open: Counter[tuple[str, str, str]] = Counter()
        self.seen: Counter[str] = Counter()
        self.cycles: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.moved_at = time.monotonic()
        self.is_over = False

    def sent(self, target: str, source: str, kind: str) -> None:
        with self.lock:
            self.open[target, source, kind] += 1

    def begins(self, name: str, wait: Wait) -> None:
        with self.lock:
            self.waits[name] = wait

    def ended(self, name: str, wait: Wait, heard: Signal | NoSignal) -> None:
        """A wait is over; hold what it says against the truth before anybody acts on it."""
        with self.lock:
            self.moved_at = time.monotonic()
            if isinstance(heard, Signal):
                self.open[name, heard.source, heard.type] -= 1
                self.seen["signal"] += 1
            else:
                self.seen[heard.reason.value] += 1
                if heard.reason is Reason.DEADLOCK:
                    self.check(name, wait, heard.detail)
            del self.waits[name]

    def check(self, closer: str, wait: Wait, detail: str) -> None:
        names = [link.split(" ")[0] for link in detail.split(" → ")]
        self.cycles[len(names)] += 1
        if names[0] != closer:
            self.wrong.append(f"{closer} is not the first: {detail}")
        for name, after in zip(names, [*names[1:], closer], strict=True):
            present = self.waits.get(name)
            if present is None:
                self.wrong.append(f"{name} did not wait: {detail}")
                continue
            source, kinds, until = present
            if source != after:
                self.wrong.append(f"{name} waited for {source}, not {after}: {detail}")
            if any(self.open[name, source, kind] for kind in kinds or TYPES):
                self.wrong.append(f"{name} had mail from {source}: {detail}")
            if until is not None and (wait[2] is None or until < wait[2] - 0.05):
                self.wrong.append(f"{name} would have given up before {closer}: {detail}")


class Actor:
    """One agent on a thread of its own: sends to those that wait for it, waits for others, leaves and comes back."""

    def __init__(self, world: World, store: Store, name: str, url: str, seed: int) -> None:
        self.world, self.name = world, name
        self.where = {"store": url, "namespace": store.namespace}
        self.choice = random.Random(f"{seed} {name}")
        self.sent = 0
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self.main, name=name)

    def main(self) -> None:
        try:
            while not self.world.is_over:
                with join(self.name, **self.where) as me:
                    for _ in range(self.choice.randrange(20, 200)):
                        if self.world.is_over:
                            break
                        self.act(me.signals)
        except BaseException as error:
            self.error = error

    def act(self, signals: Any) -> None:
        with self.world.lock:
            hoping = [name for name, (source, _, _) in self.world.waits.items() if source == self.name]
        chance = self.choice.random()
        if hoping and chance < 0.4:
            name = self.choice.choice(hoping)
            with self.world.lock:
                kinds = self.world.waits.get(name, ("", (), None))[1] or TYPES
            self.send(signals, name, self.choice.choice(kinds))
        elif chance < 0.45:
            self.send(signals, self.choice.choice(NAMES), self.choice.choice(TYPES))
        elif chance < 0.47:
            self.send(signals, None, self.choice.choice(TYPES))
        else:
            self.wait(signals)

    def send(self, signals: Any, target: str | None, kind: str) -> None:
        for name in NAMES if target is None else [target]:
            if target is not None or name != self.name:
                self.world.sent(name, self.name, kind)
        self.sent += 1
        while not signals.send(kind, target, key=f"{self.sent}-{id(self)}"):
            assert not self.world.is_over, "a send was not confirmed"

    def wait(self, signals: Any) -> None:
        source = self.choice.choice([name for name in NAMES if name != self.name])
        kinds = self.choice.choice([(), ("x",), ("y",), ("x", "z")])
        timeout = self.choice.choice([None, None, None, None, 0.02, 0.3, 1.0])
        wait = (source, kinds, None if timeout is None else time.monotonic() + timeout)
        self.world.begins(self.name, wait)
        self.world.ended(self.name, wait, signals.wait(*kinds, source=source, timeout=timeout))


@pytest.mark.timeout(SECONDS * 2 + 60)
def test_every_alarm_is_true_and_every_deadlock_is_found(
    store: Store, peers: Peers, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, slept_on: list[Any]
) -> None:
    """§5.8: nine agents over three hubs, one of which loses its link now and then; nobody is stuck at any time."""
    seed = int(os.environ.get("ATTUNE_SOAK_SEED") or random.randrange(10**6))
    print(f"ATTUNE_SOAK_SEED={seed}")
    monkeypatch.setattr(blocks, "SETTLE", 0.2)
    urls = [peers.elsewhere(), peers.elsewhere(), proxy.url]
    world = World()
    actors = [Actor(world, store, name, urls[n % 3], seed) for n, name in enumerate(NAMES)]
    for actor in actors:
        actor.thread.start()
    began, cuts = time.monotonic(), random.Random(seed)
    pause = threading.Event()
    while time.monotonic() - began < SECONDS and all(actor.error is None for actor in actors):
        pause.wait(0.1)
        if cuts.random() < 0.07:
            proxy.cut()
        if time.monotonic() - world.moved_at > STUCK:
            break
    with world.lock:
        stuck = dict(world.waits) if time.monotonic() - world.moved_at > STUCK else {}
    world.is_over = True
    for actor in actors:
        actor.thread.join(30)
    print(dict(world.seen), dict(world.cycles))

    assert [actor.error for actor in actors if actor.error] == []
    assert world.wrong == []
    assert stuck == {}, "a deadlock was not found"
    assert world.cycles, "too little was tried"
    slept_on.clear()
