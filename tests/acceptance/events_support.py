"""A namespace in which two workflows have talked to each other, and the commands that tell of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from cli_support import Cli, Ended, Running

if TYPE_CHECKING:
    from conftest import Store

FLOWS = """
    from attune_dsl import Context, Signals, stage, workflow

    @stage(tier="cheap", retries=1, backoff=0.01)
    def build(ctx: Context, version: str) -> str:
        if ctx.attempt == 1:
            raise ConnectionError("the index did not answer")
        ctx.emit({"files": 12}, kind="note")
        return f"app-{version}.whl"

    @stage
    def announce(signals: Signals, artifact: str) -> str:
        signals.send("task_complete", target="deploy", payload={"artifact": artifact}, ttl=300)
        return artifact

    @workflow(heartbeat=True, coordination=True)
    def release(version: str = "1.2") -> str:
        return announce(build(version))

    @stage
    def artifact_ready(signals: Signals) -> str:
        return signals.wait("task_complete", source="release", timeout=30).payload["artifact"]

    @stage
    def ship(artifact: str) -> None:
        raise ValueError("the index refused " + artifact)

    @workflow(heartbeat=True, coordination=True)
    def deploy() -> None:
        ship(artifact_ready())

    @stage
    def work(signals: Signals) -> None:
        print("working", flush=True)
        signals.wait("go", timeout=60)

    @workflow(heartbeat=True, coordination=True)
    def worker() -> None:
        work()
"""


class Place:
    """A command line whose commands all use one store and namespace."""

    def __init__(self, cli: Cli, store: Store) -> None:
        self.cli = cli
        self.folder = cli.folder
        self.store = store
        self.options = ("--store", store.address, "--namespace", store.namespace)

    def __call__(self, *arguments: str) -> Ended:
        return self.cli(*arguments, *self.options)

    def start(self, *arguments: str) -> Running:
        return self.cli.start(*arguments, *self.options)

    def told(self, *arguments: str) -> list[dict[str, Any]]:
        """The events that ``events tail`` shows, as objects."""
        ended = self("events", "tail", "--json", *arguments)
        assert (ended.code, ended.err) == (0, "")
        return [json.loads(line) for line in ended.out.splitlines()]

    def runs(self, *arguments: str) -> list[dict[str, Any]]:
        """The runs that ``runs list`` shows, as objects."""
        found: list[dict[str, Any]] = self("runs", "list", "--json", *arguments).json
        return found

    def run_of(self, agent: str) -> str:
        """The id of an agent's latest run."""
        return str(self.runs("--agent", agent, "-n", "1")[0]["run_id"])


@pytest.fixture
def place(cli: Cli, store: Store) -> Place:
    """A command line on a fresh namespace, on both kinds of server."""
    cli.write("flows.py", FLOWS)
    return Place(cli, store)


@pytest.fixture
def talked(place: Place) -> Place:
    """``release`` has completed, and ``deploy`` has failed with what it was sent."""
    assert place("run", "flows:release").code == 0
    assert place("run", "flows:deploy").code == 1
    return place
