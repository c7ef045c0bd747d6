"""``attune-dsl agents`` for those who look after agents: filters, ``show``, ``--check`` and ``--watch``."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from cli_support import Cli, Ended, Running, cli  # noqa: F401 (a fixture)

if TYPE_CHECKING:
    from conftest import Store

embedded = pytest.mark.parametrize("store", ["embedded"], indirect=True)  # what is printed depends on no server

FLOWS = """
    from attune_dsl import Context, Heartbeat, stage, workflow

    CALM = Heartbeat(interval=0.2, ttl=30)
    BRIEF = Heartbeat(interval=0.2, ttl=2)

    @stage(tier="cheap")
    def prepare(): pass

    @stage
    def publish(): pass

    @stage
    def work(ctx: Context):
        ctx.progress(0.5, "half way")
        print("working", flush=True)
        return ctx.signals.wait("go", timeout=30).payload

    @stage
    def stand(ctx: Context):
        ctx.progress(0.5, "about to stand still")
        print("working", flush=True)
        open("gate").read()
        ctx.progress(0.6, "moving again")
        open("exit").read()

    @workflow(heartbeat=CALM, coordination=True, display_name="The worker", metadata={"team": "search"})
    def worker():
        prepare()
        work()
        publish()

    @workflow(heartbeat=BRIEF, coordination=True, display_name="The worker")
    def frail():
        prepare()
        work()
        publish()

    @workflow(heartbeat=Heartbeat(interval=0.2, ttl=5, stall_after=0.3))
    def stander():
        stand()

    @workflow(heartbeat=True)
    def fails(): raise ValueError("no version")

    @workflow(heartbeat=True)
    def fine(): prepare()
"""


class Place:
    """A command line whose commands all use one store and namespace."""

    def __init__(self, cli: Cli, store: Store) -> None:  # noqa: F811
        self._cli = cli
        self.folder = cli.folder
        self._store = store
        self._options = ("--store", store.address, "--namespace", store.namespace)

    def __call__(self, *arguments: str) -> Ended:
        return self._cli(*arguments, *self._options)

    def start(self, *arguments: str) -> Running:
        return self._cli.start(*arguments, *self._options)

    def said(self, agent_id: str) -> str:
        """The status that an agent has published."""
        status = self._store.redis.hget(f"{self._store.prefix}agent:{agent_id}", "status")
        return (status or b"").decode()

    def state(self, agent_id: str) -> str | None:
        """The state in which the listing has an agent."""
        return next((row["state"] for row in self("agents", "--json").json if row["agent_id"] == agent_id), None)

    def ids(self, *arguments: str) -> list[str]:
        return [row["agent_id"] for row in self("agents", "--json", *arguments).json]


@pytest.fixture
def place(cli: Cli, store: Store) -> Place:  # noqa: F811
    """A command line on a fresh namespace, on both kinds of server."""
    cli.write("flows.py", FLOWS)
    return Place(cli, store)


@pytest.fixture
def worker(place: Place, wait_until: Callable[..., Any]) -> Iterator[Running]:
    """An agent that waits in its second stage of three."""
    with place.start("run", "flows:worker") as running:
        running.says("working")
        wait_until(lambda: place.said("worker") == "waiting")
        yield running


@pytest.fixture
def frail(place: Place, wait_until: Callable[..., Any]) -> Iterator[Running]:
    """The same, with a lease that lapses soon."""
    with place.start("run", "flows:frail", "--agent-id", "worker") as running:
        running.says("working")
        wait_until(lambda: place.said("worker") == "waiting")
        yield running


def lose(place: Place, running: Running, wait_until: Callable[..., Any]) -> None:
    """Kill a worker and wait until it is known to be lost."""
    os.kill(running.pid, signal.SIGKILL)
    wait_until(lambda: place.state("worker") == "lost")


@embedded
def test_filters_combine(place: Place, worker: Running) -> None:
    place("run", "flows:fails")
    place("run", "flows:fine")
    assert place.ids() == ["fails", "worker", "fine"]
    assert place.ids("--status", "failed", "--status", "completed") == ["fails", "fine"]
    assert place.ids("--status", "failed", "--workflow", "fine") == []
    assert place.ids("--workflow", "worker") == ["worker"]
    assert place.ids("--stale", "0") == ["worker"]
    assert place.ids("--stale", "3600") == []


@embedded
def test_nobody_that_fits_is_said(place: Place) -> None:
    place("run", "flows:fine")
    ended = place("agents", "--status", "lost", "--stale", "60")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith("none of 1 agents in namespace test-")
    assert ended.err.endswith(" fits --status lost --stale 60\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--status", "gone"], "--status: 'gone' is not one of 'starting', "),
        (["--stale", "soon"], "--stale: 'soon' is not a valid float"),
        (["--stale", "nan"], "--stale: this is a number of seconds, such as 60"),
        (["--check", "--watch"], "--check looks once for what is lost or stalled; leave out --watch and --status"),
        (["--check", "--status", "lost"], "--check looks once for what is lost or stalled"),
        (["deploy"], "there is no command 'agents deploy'; for one agent: agents show deploy"),
        (["--status", "lost", "show", "x"], "agents show does not take --status lost; leave it out"),
        (["show"], "missing argument 'ID'"),
    ],
)
def test_what_is_wrong_with_the_command_line_is_one_clear_line(cli: Cli, arguments: list[str], message: str) -> None:  # noqa: F811
    ended = cli("agents", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {message}")
    assert len(ended.err.splitlines()) == 1


@embedded
def test_show_tells_everything_about_one(place: Place, worker: Running) -> None:
    shown = place("agents", "show", "worker").out
    facts = dict(line.split(maxsplit=1) for line in shown.partition("\n\n")[0].splitlines())
    assert facts["name"] == "The worker"
    assert facts["host"].endswith(f", pid {worker.pid}")
    assert facts["metadata"] == 'team: "search"'
    assert facts["planned"] == "prepare, work, publish"
    history = [line.split()[:3] for line in shown.partition("\n\n")[2].splitlines()[1:]]
    assert history == [
        ["✓", "prepare", "completed"],
        ["●", "work", "running"],
        ["○", "publish", "pending"],
    ]


@embedded
def test_show_as_json(place: Place, worker: Running) -> None:
    shown = place("agents", "show", "worker", "--json").json
    assert (shown["agent"]["agent_id"], shown["agent"]["metadata"]) == ("worker", {"team": "search"})
    assert [(stage["name"], stage["calls"], stage["tier"]) for stage in shown["history"]] == [("prepare", 1, "cheap")]


@embedded
def test_options_may_stand_before_the_word_show(cli: Cli, store: Store) -> None:  # noqa: F811
    cli.write("flows.py", FLOWS)
    place = Place(cli, store)
    place("run", "flows:fine")
    options = ["--store", store.address, "--namespace", store.namespace, "--json"]
    assert cli("agents", *options, "show", "fine").json["agent"]["status"] == "completed"


@embedded
def test_show_of_an_unknown_agent_suggests_the_nearest(place: Place) -> None:
    place("run", "flows:fine")
    ended = place("agents", "show", "fone")
    assert (ended.code, ended.out) == (1, "")
    assert ended.error.startswith("error: there is no agent 'fone' in namespace test-")
    assert ended.error.endswith("; did you mean fine?")
    assert place("agents", "show", "x").error.endswith("; to see which there are: attune-dsl agents")


@embedded
def test_show_by_another_name_says_the_id(place: Place, worker: Running) -> None:
    assert place("agents", "show", "The worker").error.endswith("; it is the name of worker")


@embedded
def test_check_is_silent_while_all_is_well(place: Place, worker: Running) -> None:
    """Also with agents that failed: that is for their own scripts to say."""
    place("run", "flows:fails")
    assert place("agents", "--check") == Ended(0, "", "")
    assert place("agents", "--check", "--json") == Ended(0, "[]\n", "")


@embedded
def test_check_names_what_is_lost(place: Place, frail: Running, wait_until: Callable[..., Any]) -> None:
    lose(place, frail, wait_until)
    ended = place("agents", "--check")
    assert (ended.code, ended.err) == (1, "")
    assert ended.out.startswith("worker (The worker): lost since ")
    assert ", on stage work; last " in ended.out
    assert [row["state"] for row in place("agents", "--check", "--json").json] == ["lost"]
    assert place("agents", "--check", "--workflow", "other") == Ended(0, "", "")
    shown = place("agents", "show", "worker").out
    assert [line.split()[1:3] for line in shown.splitlines()[-3:]] == [
        ["prepare", "completed"],
        ["work", "lost"],
        ["publish", "not"],
    ]


@embedded
def test_check_counts_what_does_not_move_where_asked(place: Place, worker: Running) -> None:
    ended = place("agents", "--check", "--stale", "0")
    assert ended.code == 1
    assert "worker (The worker): waiting without progress since " in ended.out


@pytest.mark.parametrize("arguments", [["--check"], ["show", "x"], ["--watch", "--json"]])
def test_a_store_out_of_reach_is_one_line_on_standard_error(cli: Cli, arguments: list[str]) -> None:  # noqa: F811
    ended = cli("agents", *arguments, "--store", "redis://localhost:1")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: the store redis://localhost:1 cannot be reached")
    assert len(ended.err.splitlines()) == 1


@embedded
def test_watch_tells_a_loss_once_and_with_its_kind(place: Place, frail: Running) -> None:
    with place.start("agents", "--watch", "--json") as watch:
        assert json.loads(watch.says('"agent_id":"worker"'))["kind"] == "listed"
        os.kill(frail.pid, signal.SIGKILL)
        lost = json.loads(watch.says('"kind":"lost"'))
        assert (lost["agent"]["state"], lost["agent"]["stage"]) == ("lost", "work")
        place("run", "flows:fine")
        watch.says('"kind":"ended"')
        watch.interrupt()
        assert watch.end().code == 0
    assert sum('"kind":"lost"' in line for line in watch.heard) == 1


@embedded
def test_standing_still_shows_and_recovers_by_itself(place: Place, wait_until: Callable[..., Any]) -> None:
    gate, leave = place.folder / "gate", place.folder / "exit"
    os.mkfifo(gate)
    os.mkfifo(leave)
    with place.start("agents", "--watch", "--json") as watch, place.start("run", "flows:stander") as stander:
        stander.says("working")
        while (stalled := json.loads(watch.says('"kind":"stalled"'))["agent"])["stage"] is None:
            pass  # it took more than stall_after to start
        assert (stalled["status"], stalled["state"], stalled["stage"]) == ("running", "stalled", "stand")
        assert place.ids("--status", "stalled") == ["stander"]
        ended = place("agents", "--check")
        assert ended.code == 1
        assert ended.out.startswith("stander: stalled since ")
        assert ended.out.endswith(", on stage stand; last said: about to stand still\n")
        assert "\n!  stand  stalled " in place("agents", "show", "stander").out
        gate.write_text("go on")
        while (resumed := json.loads(watch.says('"kind":"resumed"'))["agent"])["stage"] is None:
            pass
        assert resumed["state"] == "running"
        leave.write_text("go on")
        watch.says('"kind":"ended"')
        assert stander.end().code == 0
    assert place("agents", "--check").code == 0
