"""The table of runs and the page about one, at several widths."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console, RenderableType

from attune_dsl.cli.formats import moment
from attune_dsl.cli.run_table import page, run_table
from attune_dsl.coordination.runs import RunSummary
from attune_dsl.events import Event, SignalSent
from attune_dsl.model import AgentStatus, StageStatus, StageSummary

NOW = 1_763_971_918.0
ERROR = "ValueError: the version was refused by the index, because it is there already"


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock on the wall stands still."""
    monkeypatch.setattr("attune_dsl.clock.wall", lambda: NOW)


def run(**known: Any) -> RunSummary:
    usual: dict[str, Any] = {
        "run_id": "1a2b3c4d5e6f70819aabbccddeeff001",
        "agent_id": "nightly",
        "workflow": "index",
        "status": AgentStatus.FAILED,
        "started_at": NOW - 65,
        "ended_at": NOW - 5,
        "duration": 60.0,
        "error": ERROR,
        "plan": ("fetch", "merge", "publish"),
        "stages": (
            stage("fetch", StageStatus.COMPLETED, calls=2, attempts=3, tier="cheap", duration=12.0),
            stage("merge", StageStatus.RUNNING),
        ),
        "sent": 1,
        "cost": 0.0123,
        "last_at": NOW - 5,
    }
    return RunSummary(**(usual | known))


def stage(name: str, status: StageStatus, **known: Any) -> StageSummary:
    usual: dict[str, Any] = {"calls": 1, "attempts": 1, "started_at": NOW - 60, "duration": 0.0}
    return StageSummary(name=name, status=status, **(usual | known))


def drawn(what: RenderableType, width: int) -> list[str]:
    out = StringIO()
    Console(file=out, width=width).print(what)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_with_room_everything_is_shown() -> None:
    """§3 runs list: run, agent, workflow, status, when, how long, stages, cost, error."""
    header, row = drawn(run_table([run()], 200), 200)
    assert header.split() == ["run", "agent", "workflow", "status", "started", "took", "stages", "cost", "error"]
    started = moment(NOW - 65)
    assert row.split(maxsplit=11) == [
        *("✗", "1a2b3c4d", "nightly", "index", "failed", *started.split(), "1m", "00s", "1/3", "0.0123", ERROR),
    ]


@pytest.mark.parametrize(
    ("width", "header"),
    [
        (100, ["run", "agent", "workflow", "status", "started", "took", "stages", "cost", "error"]),
        (80, ["run", "agent", "status", "started", "took", "stages", "cost", "error"]),
        (60, ["run", "agent", "status", "took", "stages", "error"]),
        (40, ["run", "agent", "status", "took"]),
    ],
)
def test_a_narrow_terminal_loses_what_matters_least(width: int, header: list[str]) -> None:
    """§3 runs list: whole columns go before the sense does."""
    first, row = drawn(run_table([run()], width), width)
    assert first.split() == header
    assert row.startswith("✗  1a2b3c4d  nightly  ")
    assert max(len(first), len(row)) <= width


def test_a_run_under_way_has_taken_as_long_as_it_has_run() -> None:
    """§3 runs list: by this machine's clock."""
    _, row = drawn(run_table([run(status=AgentStatus.RUNNING, duration=None, error=None, cost=None)], 100), 100)
    assert row.split() == ["●", "1a2b3c4d", "nightly", "index", "running", "1m", "05s", "ago", "1m", "05s", "1/3"]


def sent(number: int) -> Event:
    data = SignalSent(id=str(number), type="go", target="bob")
    return Event(id=f"1-{number}", kind="signal.sent", at=NOW - 64, namespace="n", agent="nightly", data=data)


def test_the_page_says_everything() -> None:
    """§3 runs show: facts, stages with what did not run, signals."""
    shown = drawn(page(run(abort="enough (asked by ops)", is_whole=False), [sent(1)], 160), 160)
    facts = dict(line.split(maxsplit=1) for line in shown[: shown.index("")])
    assert facts == {
        "run": run().run_id,
        "agent": "nightly",
        "workflow": "index",
        "status": "✗ failed",
        "error": ERROR,
        "abort": "asked  enough (asked by ops)",
        "started": moment(NOW - 65),
        "ended": moment(NOW - 5),
        "took": "1m 00s",
        "planned": "fetch, merge, publish",
        "signals": "1 sent",
        "cost": "0.0123",
        "missing": "some of its events are not in the timeline",
    }
    stages = [line.split() for line in shown[shown.index("") + 1 : -2]]
    assert stages == [
        ["stage", "status", "calls", "tries", "tier", "started", "took"],
        ["✓", "fetch", "completed", "2", "3", "cheap", "+5.00s", "12.0", "s"],
        ["✗", "merge", "failed", "1", "1", "+5.00s"],
        ["–", "publish", "not", "run"],  # noqa: RUF001
    ]
    assert shown[-1] == "  +1.00s  → sent go to bob"


def test_of_very_many_signals_the_page_has_the_first_and_says_so() -> None:
    """§5.12: what is left out is said."""
    shown = drawn(page(run(), [sent(n) for n in range(60)], 160), 160)
    assert shown[-1] == "10 more: attune-dsl events replay 1a2b3c4d --speed max"
    assert sum(line.endswith("sent go to bob") for line in shown) == 50


def test_what_is_yet_to_come_is_pending_while_the_run_goes_on() -> None:
    """§3 runs show: a stage under way has taken as long as it has run."""
    shown = drawn(page(run(status=AgentStatus.RUNNING, ended_at=None, duration=None, error=None), [], 120), 120)
    assert [line.split()[:3] for line in shown[-2:]] == [["●", "merge", "running"], ["○", "publish", "pending"]]
    assert shown[-2].endswith("+5.00s  1m 00s")
    assert ["for", "1m", "05s"] in [line.split() for line in shown]


@pytest.mark.parametrize("width", [20, 40, 60, 120])
def test_the_page_fits(width: int) -> None:
    """§3 runs show: whatever the width is."""
    hostile = run(agent_id="a" * 128, run_id="\x1b[2J" * 8, workflow="\x9b")
    shown = drawn(page(hostile, [sent(1)], width), width)
    assert max(map(len, shown)) <= width
    assert all(line.isprintable() for line in shown)
