"""``attune-dsl runs list`` and ``show``: what ran, and how it ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from cli_support import Cli, cli  # noqa: F401 (a fixture)
from events_support import Place, place, talked  # noqa: F401 (fixtures)

embedded = pytest.mark.parametrize("store", ["embedded"], indirect=True)  # what is printed depends on no server


@embedded
def test_runs_are_listed_newest_first(talked: Place) -> None:  # noqa: F811
    """§3 runs list: who ran what, how it ended, how far it came, and why not further."""
    header, newest, oldest = talked("runs", "list").out.splitlines()
    assert header.split() == ["run", "agent", "workflow", "status", "started", "took", "stages", "error"]
    assert newest.split()[:5] == ["✗", talked.run_of("deploy")[:8], "deploy", "deploy", "failed"]
    assert newest.endswith("  1/2  ValueError: the index refused app-1.2.whl")
    assert oldest.split()[:5] == ["✓", talked.run_of("release")[:8], "release", "release", "completed"]
    assert oldest.endswith("  2/2")


@embedded
def test_filters_combine(talked: Place) -> None:  # noqa: F811
    """§3 runs list: workflow, status, agent, and how many."""
    talked("run", "flows:release", "--agent-id", "other")
    agents = {
        (): ["other", "deploy", "release"],
        ("-n", "2"): ["other", "deploy"],
        ("-n", "0"): [],
        ("--workflow", "release"): ["other", "release"],
        ("--workflow", "release", "--agent", "other"): ["other"],
        ("--status", "failed"): ["deploy"],
        ("--status", "failed", "--status", "completed", "-n", "1"): ["other"],
        ("--status", "lost"): [],
    }
    found = {arguments: [run["agent_id"] for run in talked.runs(*arguments)] for arguments in agents}
    assert found == agents


@embedded
def test_what_is_not_shown_is_said(talked: Place) -> None:  # noqa: F811
    """§3 runs list: older ones, none that fits, none at all, and those that were dropped."""
    assert talked("runs", "list", "-n", "1").err == "1 older ones are not shown; for more: -n 2\n"
    assert talked("runs", "list", "--status", "lost").err.startswith("none of 2 runs in namespace test-")
    talked("events", "trim", "--keep", "3")
    ended = talked("runs", "list")
    assert ended.err == "older runs may be missing: the timeline has dropped its oldest events\n"
    assert [run["is_whole"] for run in talked.runs()] == [False]


@embedded
def test_no_runs_are_said(place: Place) -> None:  # noqa: F811
    """§3 runs list: an empty namespace is no error."""
    ended = place("runs", "list")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith("there are no runs in namespace test-")
    assert place.runs() == []


@embedded
@pytest.mark.parametrize(
    ("how", "status", "stage"),
    [(signal.SIGINT, "cancelled", "cancelled"), (signal.SIGKILL, "lost", "lost"), (None, "aborted", "completed")],
)
def test_how_runs_end_that_were_ended(
    place: Place,  # noqa: F811
    wait_until: Callable[..., Any],
    how: signal.Signals | None,
    status: str,
    stage: str,
) -> None:
    """§5.10 runs list: also a run that could not say so itself."""
    place.cli.environment |= {"ATTUNE_HEARTBEAT_TTL": "1", "ATTUNE_HEARTBEAT_INTERVAL": "0.3"}
    with place.start("run", "flows:worker") as worker:
        worker.says("working")
        wait_until(lambda: [run["status"] for run in place.runs()] == ["running"])
        if how is None:
            place("abort", "worker", "--reason", "enough")
        else:
            os.kill(worker.pid, how)
        worker.end()
    # Whoever looks at the agents finds a loss; the timeline then tells of it.
    wait_until(lambda: place("agents") and [run["status"] for run in place.runs()] == [status], timeout=20)
    [run] = place.runs()
    assert run["ended_at"] - run["started_at"] == pytest.approx(run["duration"], abs=1.0)
    assert (run["abort"] or "").startswith("enough (asked by ") is (how is None)
    shown = place("runs", "show", "worker").out
    facts = dict(line.split(maxsplit=1) for line in shown.partition("\n\n")[0].splitlines())
    assert facts["status"].split()[1] == status
    assert ["work", stage] in [line.split()[1:3] for line in shown.splitlines()]


@embedded
def test_show_tells_everything_about_one(talked: Place) -> None:  # noqa: F811
    """§3 runs show: stages with their tries and errors, signals, waits, what was emitted, and the end."""
    shown = talked("runs", "show", "release").out
    facts = dict(line.split(maxsplit=1) for line in shown.partition("\n\n")[0].splitlines())
    assert facts["run"] == talked.run_of("release")
    assert (facts["status"], facts["planned"]) == ("✓ completed", "build, announce")
    assert (facts["signals"], facts["emitted"]) == ("1 sent", "1")
    stages, talk = shown.partition("\n\n")[2].split("\n\n")
    assert [line.split()[:3] for line in stages.splitlines()] == [
        ["stage", "status", "calls"],
        ["✓", "build", "completed"],
        ["✓", "announce", "completed"],
    ]
    assert stages.splitlines()[1].endswith("  ConnectionError: the index did not answer")
    assert talk.split(maxsplit=1)[1] == '→ announce  sent task_complete to deploy {"artifact":"app-1.2.whl"}\n'


@embedded
def test_show_as_json(talked: Place) -> None:  # noqa: F811
    """§3 runs show --json: all that is known, and the signals and waits as events."""
    shown = talked("runs", "show", "deploy", "--json").json
    assert (shown["agent_id"], shown["status"], shown["done"], shown["total"]) == ("deploy", "failed", 1, 2)
    assert shown["error"] == "ValueError: the index refused app-1.2.whl"
    assert [(stage["name"], stage["status"], stage["calls"]) for stage in shown["stages"]] == [
        ("artifact_ready", "completed", 1),
        ("ship", "failed", 1),
    ]
    assert [event["kind"] for event in shown["events"]] == ["signal.received"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "--status", "gone"], "--status: 'gone' is not one of 'running', "),
        (["list", "-n", "-1"], "-n: -1 is not in the range x>=0"),
        (["show"], "missing argument 'RUN'"),
    ],
)
def test_what_is_wrong_with_the_command_line_is_one_clear_line(cli: Cli, arguments: list[str], message: str) -> None:  # noqa: F811
    """§3 runs: nothing is contacted then."""
    ended = cli("runs", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {message}")
    assert len(ended.err.splitlines()) == 1


def test_a_store_out_of_reach_is_one_line_and_exit_code_1(cli: Cli) -> None:  # noqa: F811
    """§5.11: as for the other commands that look."""
    ended = cli("runs", "list", "--store", "redis://localhost:1")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: the store redis://localhost:1 cannot be reached")
