"""Processes that signal each other, and ``attune-dsl agents``, which shows them."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from cli_support import Cli, Ended, cli  # noqa: F401 (a fixture)

if TYPE_CHECKING:
    from conftest import Store

embedded = pytest.mark.parametrize("store", ["embedded"], indirect=True)  # what is printed depends on no server

FLOWS = """
    from attune_dsl import AsyncSignals, RunAborted, Signals, stage, workflow

    @stage(tier="cheap")
    def build(version: str) -> str:
        return f"app-{version}.whl"

    @stage
    def announce(signals: Signals, artifact: str) -> str:
        signals.send("task_complete", target="deploy", payload={"artifact": artifact}, ttl=300)
        return artifact

    @workflow(heartbeat=True, coordination=True)
    def release(version: str) -> str:
        return announce(build(version))

    @stage
    async def artifact_ready(signals: AsyncSignals) -> str:
        print("waiting", flush=True)
        signal = await signals.wait("task_complete", source="release", timeout=30)
        return signal.payload["artifact"] if signal else signal.detail

    @workflow(heartbeat=True, coordination=True)
    async def deploy() -> str:
        return await artifact_ready()

    @workflow(heartbeat=True, coordination=True)
    def idle(signals: Signals):
        print("waiting", flush=True)
        return signals.wait("go", timeout=30).payload

    @workflow(heartbeat=True, coordination=True)
    def go(signals: Signals, target: str = "idle"):
        signals.send("go", target=target, payload="gone")

    @workflow(heartbeat=True)
    def fails(): raise ValueError("no version")
"""


class Place:
    """A command line whose commands all use one store and namespace."""

    def __init__(self, cli: Cli, *options: str) -> None:  # noqa: F811
        self._cli = cli
        self.options = options

    def __call__(self, *arguments: str) -> Ended:
        return self._cli(*arguments, *self.options)

    def start(self, *arguments: str) -> Any:
        return self._cli.start(*arguments, *self.options)

    def agents(self) -> dict[str, Any]:
        return {row["agent_id"]: row for row in self("agents", "--json").json}


@pytest.fixture
def place(cli: Cli, store: Store) -> Place:  # noqa: F811
    """A command line on a fresh namespace, on both kinds of server."""
    cli.write("flows.py", FLOWS)
    return Place(cli, "--store", store.address, "--namespace", store.namespace)


@pytest.fixture
def default(cli: Cli) -> Place:  # noqa: F811
    """A command line without any option: the embedded server."""
    cli.write("flows.py", FLOWS)
    return Place(cli)


@embedded
def test_the_consumer_may_start_first(place: Place) -> None:
    with place.start("run", "flows:deploy") as consumer:
        consumer.says("waiting")
        assert place("run", "flows:release", "version=1.2").out == "app-1.2.whl\n"
        ended = consumer.end()
    assert (ended.code, ended.out) == (0, "app-1.2.whl\n")


@embedded
def test_the_producer_may_start_first(place: Place) -> None:
    assert place("run", "flows:release", "version=1.2").code == 0
    ended = place("run", "flows:deploy")
    assert (ended.code, ended.out) == (0, "waiting\napp-1.2.whl\n")


@pytest.mark.parametrize("first", ["consumer", "producer"])
def test_both_orders_work_on_the_embedded_default(default: Place, first: str) -> None:
    """In the second order nobody holds the server in between: the signal waits on the disk."""
    if first == "producer":
        assert default("run", "flows:release", "version=1.2").code == 0
        assert default("run", "flows:deploy").out == "waiting\napp-1.2.whl\n"
        return
    with default.start("run", "flows:deploy") as consumer:
        consumer.says("waiting")
        assert default("run", "flows:release", "version=1.2").code == 0
        assert consumer.end().out == "app-1.2.whl\n"


@embedded
def test_agents_shows_the_living_and_the_ended(place: Place, wait_until: Callable[..., Any]) -> None:
    with place.start("run", "flows:deploy") as consumer:
        consumer.says("waiting")
        wait_until(lambda: place.agents()["deploy"]["status"] == "waiting")
        row = place.agents()["deploy"]
        assert (row["workflow"], row["stage"], row["pid"]) == ("deploy", "artifact_ready", consumer.pid)
        assert row["beat_age"] < 15
        place("run", "flows:release", "version=1.2")
        consumer.end()
    assert {name: row["status"] for name, row in place.agents().items()} == {
        "deploy": "completed",
        "release": "completed",
    }


@embedded
def test_the_table_is_plain_and_whole_in_a_pipe(place: Place) -> None:
    place("run", "flows:fails")
    ended = place("agents")
    header, row = ended.out.splitlines()
    assert (ended.code, ended.err) == (0, "")
    assert header.split()[:3] == ["agent", "workflow", "status"]
    assert row.split()[1:4] == ["fails", "fails", "failed"]
    assert row.endswith("ValueError: no version")
    assert "\x1b" not in ended.out


@embedded
def test_no_agents_is_said_and_is_no_error(place: Place) -> None:
    ended = place("agents")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith("no agents are alive or ended lately in namespace test-")
    assert place("agents", "--json").json == []


@pytest.mark.parametrize("arguments", [["agents"], ["agents", "--watch"], ["store", "status"]])
def test_a_store_out_of_reach_is_one_line_and_exit_code_1(cli: Cli, arguments: list[str]) -> None:  # noqa: F811
    ended = cli(*arguments, "--store", "redis://localhost:1")
    assert (ended.code, ended.out) == (1, "")
    assert len(ended.err.splitlines()) == 1
    assert ended.error.startswith("error: ")


def test_verbose_shows_where_an_error_comes_from(cli: Cli) -> None:  # noqa: F811
    ended = cli("agents", "--store", "redis://localhost:1", "--verbose")
    assert ended.code == 1
    assert "Traceback (most recent call last):" in ended.err
    assert ended.error.startswith("error: the store redis://localhost:1 cannot be reached")


@embedded
def test_watch_writes_a_line_for_each_change(place: Place) -> None:
    place("run", "flows:fails")
    with place.start("run", "flows:idle", "--agent-id", "sleeper") as idle, place.start("agents", "--watch") as watch:
        watch.says("sleeper  waiting")
        place("run", "flows:go", "target=sleeper")
        idle.end()
        watch.says("sleeper  completed")
        watch.interrupt(signal.SIGINT)
        ended = watch.end()
    assert (ended.code, ended.err) == (0, "")
    assert len(set(watch.heard)) == len(watch.heard)


def test_agents_on_the_default_leaves_no_server_running(default: Place) -> None:
    """The fixture ``isolated`` fails the test if one stays."""
    assert default("agents", "--json").json == []


@embedded
def test_watch_as_json_writes_an_object_for_each_change(place: Place) -> None:
    place("run", "flows:fails")
    with place.start("agents", "--watch", "--json") as watch:
        assert '"agent_id":"fails"' in watch.says('"status":"failed"')


@embedded
def test_an_agent_id_that_was_asked_for_and_is_taken_is_refused(place: Place) -> None:
    with place.start("run", "flows:idle", "--agent-id", "one") as idle:
        idle.says("waiting")
        second = place("run", "flows:idle", "--agent-id", "one")
        assert (second.code, second.out) == (1, "")
        assert second.error.startswith("error: agent id 'one' is taken by a live agent (pid ")
        assert f"pid {idle.pid} " in second.error


@embedded
def test_a_second_run_gets_a_name_of_its_own_and_says_which(place: Place) -> None:
    with place.start("run", "flows:idle") as idle:
        idle.says("waiting")
        with place.start("run", "flows:idle", "--json") as second:
            second.says("waiting")
            name = next(agent for agent in place.agents() if agent.startswith("idle-"))
            place("run", "flows:go", f"target={name}")
            ended = second.end()
        assert ended.json["agent_id"] == name
        assert f"idle: agent {name}, " in ended.err


def test_without_a_store_the_run_completes_and_says_degraded(default: Place) -> None:
    ended = default("run", "flows:release", "version=1", "--store", "redis://localhost:1", "--json")
    assert (ended.code, ended.json["value"], ended.json["degraded"]) == (0, "app-1.whl", True)
    assert ended.error.startswith("degraded: ")


def test_a_required_store_that_is_out_of_reach_refuses_the_run(default: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTUNE_COORDINATION_REQUIRED", "1")
    ended = default("run", "flows:release", "version=1", "--store", "redis://localhost:1")
    assert (ended.code, ended.out) == (1, "")
    assert ended.error.startswith("error: the store redis://localhost:1 cannot be reached")


def test_a_store_in_the_process_needs_no_server(default: Place) -> None:
    ended = default("run", "flows:release", "version=1", "--store", "memory://")
    assert (ended.code, ended.out) == (0, "app-1.whl\n")
    assert "store memory://" in ended.err
