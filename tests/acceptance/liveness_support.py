"""Real processes that beat, are stopped, go on and are killed, beside a follower of what is said of them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from cli_support import PROJECT, Running
from following import Follow, Following

if TYPE_CHECKING:
    from conftest import Store

TTL = 1.0
"""Seconds. Not shorter: these processes share two cores with whatever else the machine does."""

STEADY_TTL, STEADY_LOST_WITHIN = 4, 4 + 2 + 1.0
"""Seconds of the workflow ``steady``: ttl; ttl + interval, and one for a busy machine to tell of it."""

FLOWS = """
    import asyncio, os, time
    from pathlib import Path
    from attune_dsl import AsyncContext, Context, Heartbeat, stage, workflow

    BEAT = Heartbeat(interval=0.2, ttl=1.0)
    CALM = Heartbeat(interval=60, ttl=120)

    def until(name):
        while not Path(name).exists():
            time.sleep(0.01)

    @stage
    def build(ctx: Context):
        ctx.progress(0.5, "half of it")
        print("building", flush=True)
        while not Path("go").exists():
            ctx.progress(0.5)
            time.sleep(0.01)
        return "built"

    @stage
    def send(ctx: Context):
        print("building", flush=True)
        until("go")
        ctx.signals.send("done", target="sink")
        while True:
            ctx.progress()
            time.sleep(0.01)

    @stage
    async def rest():
        print("building", flush=True)
        await asyncio.Event().wait()

    @stage
    def compute(seconds):
        print("building", flush=True)
        end, n = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            n += 1
        return "computed"

    @stage
    async def block(seconds):
        print("building", flush=True)
        time.sleep(seconds)
        return "blocked"

    @workflow(heartbeat=BEAT)
    def building(): return build()

    @workflow(heartbeat=Heartbeat(interval=2, ttl=4))
    def steady(): return build()

    @workflow(heartbeat=BEAT, coordination=True)
    def sending(): return send()

    @workflow(heartbeat=CALM)
    def calm(): return build()

    @workflow(heartbeat=CALM)
    async def calm_async(): return await rest()

    @workflow(heartbeat=BEAT)
    def computing(seconds: float): return compute(seconds)

    @workflow(heartbeat=BEAT)
    async def blocking(seconds: float): return await block(seconds)
"""

WATCH = """
    import sys
    from attune_dsl import Monitor, StoreUnavailable
    with Monitor(*sys.argv[1:]) as monitor, monitor.follow() as changes:
        print("following", flush=True)
        while True:
            try:
                found = changes.next(None)
            except StoreUnavailable:
                continue  # nothing is lost by that
            for change in found:
                if change.kind != "updated":
                    print(change.kind, change.agent.agent_id, flush=True)
"""


class Processes:
    """Processes of a test in one namespace and one folder; whatever still runs at the end is killed."""

    def __init__(self, store: Store, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.where = ["--store", store.address, "--namespace", store.namespace]
        self._store = store
        self._stack = stack
        self._environment = os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"}
        (folder / "flows.py").write_text(dedent(FLOWS))

    def run(self, flow: str, *arguments: str) -> Running:
        """Start a workflow from the command line, and wait until it is in its stage."""
        running = self.begin(flow, *arguments)
        running.says("building")
        return running

    def begin(self, flow: str, *arguments: str) -> Running:
        """Start a workflow from the command line."""
        return self._start("-m", "attune_dsl", "run", f"flows:{flow}", "--json", *self.where, *arguments)

    def watch(self) -> Running:
        """Start a process that follows the namespace and says on a line what happens to whom."""
        running = self.program(WATCH)
        running.says("following")
        return running

    def program(self, source: str, *arguments: str) -> Running:
        """Start a program; its first arguments are the store and the namespace."""
        return self._start("-c", dedent(source), self._store.address, self._store.namespace, *arguments)

    def allow(self, what: str = "go") -> None:
        """Let stages go on that wait for this."""
        (self.folder / what).touch()

    def _start(self, *command: str) -> Running:
        return self._stack.enter_context(Running([sys.executable, *command], self.folder, self._environment))


@pytest.fixture
def processes(store: Store, tmp_path: Path) -> Iterator[Processes]:
    """Start processes in the test's namespace."""
    with ExitStack() as stack:
        yield Processes(store, tmp_path, stack)


@pytest.fixture
def follow(store: Store) -> Iterator[Follow]:
    """Follow the test's namespace from this process."""
    followers: list[Following] = []

    def start(url: str | None = None) -> Following:
        followers.append(Following(url or store.address, store.namespace))
        return followers[-1]

    yield start
    for follower in followers:
        follower.close()


def pause(*processes: Running) -> None:
    """Stop them, as the terminal's Ctrl-Z or a suspended machine does."""
    for process in processes:
        process.interrupt(signal.SIGSTOP)


def go_on(*processes: Running) -> None:
    """Let them go on."""
    for process in processes:
        process.interrupt(signal.SIGCONT)


def state_of(pid: int) -> str:
    """How the kernel calls the state of a process: ``T`` if it is stopped, ``Z`` if it has ended uncollected."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
