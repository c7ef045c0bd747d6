"""Agents that need no store: they note what their run tells them."""

from __future__ import annotations

import asyncio

from attune_dsl.runner.loops import running_loop


class FakeRecorder:
    """A recorder that keeps what is noted: kind, stage and values."""

    def __init__(self):
        self.noted = []

    def note(self, kind, stage, values, at=None):
        self.noted.append((kind, stage, values))

    def progressed(self, stage, fraction, note, run_progress):
        self.note("stage.progressed", stage, (fraction, note, run_progress))

    def emitted(self, stage, kind, data, encoded):
        self.note("emit", stage, (kind, data))


class FakeAgent:
    """An agent that notes what it is told."""

    namespace, store_label, degraded, replaced = "space", "the store", True, ""
    aborted, has_heeded = "", False

    def __init__(self, agent_id, options):
        self.agent_id = agent_id
        self.options = options
        self.touches, self.left, self.given_back = [], [], []
        self.limits, self.costs, self.acts = [], [], []
        self.read = None
        self.halts = []
        self.recorder = FakeRecorder()

    def touch(self, stage, progress, *details):
        attempt, tier, note, stall_after, act = (*details, "")[:5]
        self.touches.append((stage, round(progress, 2), attempt, tier, note))
        self.acts.append((stage, act))
        self.limits.append((stage, stall_after))

    def stage_began(self):
        pass

    def spent(self, cost):
        self.costs.append(cost)

    def on_gone(self, tell):
        self.take_over = tell

    def on_abort(self, tell):
        self.abort = tell

    def halt(self, why, *, is_abort):
        self.halts.append((why, is_abort))

    def stage_rows(self, read):
        self.read = read

    def signals(self, taken, check, is_alone, stage):
        return FakeFacade(taken, check)

    async_signals = signals

    def give_back(self, taken):
        self.given_back.append(list(taken))

    async def leave(self, status, error=None):
        if running_loop() is not None:
            await asyncio.sleep(0)
        self.left.append((status.value, error))


class FakeFacade:
    """Signals that only note what was taken, and what is to be called before each of their operations."""

    def __init__(self, taken, check):
        self.taken = taken
        self.check = check

    def take(self, name):
        self.taken.append(name)
