"""Ctrl-C and SIGTERM end a run as cancelled: exit codes, what is printed, and what the others see."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
from cli_support import Cli, cli  # noqa: F401 (a fixture)

if TYPE_CHECKING:
    from conftest import Store

FLOWS = """
    import asyncio, time
    from attune_dsl import stage, workflow

    @stage
    def nap():
        print("asleep", flush=True)
        time.sleep(60)

    @stage
    async def doze():
        print("asleep", flush=True)
        await asyncio.sleep(60)

    @stage
    def nap_item(item):
        print("asleep", flush=True)
        time.sleep(60)

    @workflow
    def sync(): nap()

    @workflow
    async def coroutine(): await doze()

    @workflow
    def mapped(): nap_item.map(range(3))

    @workflow(heartbeat=True, coordination=True)
    def seen(): nap()

    @workflow(heartbeat=True)
    async def seen_coroutine(): await doze()
"""
SIGNALS = [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")]


@pytest.fixture
def run(cli: Cli) -> Cli:  # noqa: F811
    """A command line in a folder with workflows that sleep."""
    cli.write("flows.py", FLOWS)
    return cli


@pytest.mark.parametrize(("number", "code", "name"), SIGNALS)
@pytest.mark.parametrize("flow", ["sync", "coroutine", "mapped"])
def test_an_interrupted_run_is_cancelled(run: Cli, flow: str, number: signal.Signals, code: int, name: str) -> None:
    with run.start("run", f"flows:{flow}", "--json") as running:
        running.says("asleep")
        running.interrupt(number)
        ended = running.end()
    assert ended.code == code
    assert (ended.json["status"], ended.json["error"]) == ("cancelled", f"cancelled by {name}")
    assert ended.error == f"error: {flow} was cancelled by {name}"
    assert "Traceback" not in ended.err


def rows(run: Cli, store: Store) -> dict[str, Any]:
    listed = run("agents", "--json", "--store", store.address, "--namespace", store.namespace)
    return {row["agent_id"]: row for row in listed.json}


@pytest.mark.parametrize(("number", "code", "name"), SIGNALS)
@pytest.mark.parametrize("flow", ["seen", "seen_coroutine"])
def test_the_others_see_that_it_was_cancelled(  # noqa: PLR0917
    run: Cli, store: Store, flow: str, number: signal.Signals, code: int, name: str
) -> None:
    with run.start("run", f"flows:{flow}", "--store", store.address, "--namespace", store.namespace) as running:
        running.says("asleep")
        running.interrupt(number)
        ended = running.end()
    assert (ended.code, ended.error) == (code, f"error: {flow} was cancelled by {name}")
    assert rows(run, store)[flow]["status"] == "cancelled"


def test_a_ctrl_c_on_the_embedded_server_leaves_nothing_running(run: Cli) -> None:
    """The fixture ``isolated`` fails the test if the server stays."""
    with run.start("run", "flows:seen") as running:
        running.says("asleep")
        running.interrupt()
        assert running.end().code == 130
    assert run("store", "status", "--json").json["running"] is False
