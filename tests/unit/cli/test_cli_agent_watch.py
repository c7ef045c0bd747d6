"""``agents --watch``: what is drawn and written as changes come and time passes, without a store."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from io import StringIO
from typing import Any

import pytest
from moved import MovedClock
from rich.console import Console

from attune_dsl.cli import agent_watch
from attune_dsl.cli.agent_select import Selection
from attune_dsl.cli.agent_watch import Lines, Roster
from attune_dsl.exceptions import StoreUnavailable
from attune_dsl.model import AgentChange, AgentRecord, AgentStatus, ChangeKind

ALL = Selection()
Step = Callable[[], list[AgentChange]]


def agent(agent_id: str = "a", status: AgentStatus = AgentStatus.RUNNING, epoch: int = 1, **fields: Any) -> AgentRecord:
    return AgentRecord(agent_id=agent_id, epoch=epoch, status=status, **fields)


class FakeChanges:
    """Takes the place of what ``Monitor.follow()`` returns: each ``next`` is one step, then comes Ctrl-C."""

    def __init__(self, now: MovedClock, *agents: AgentRecord) -> None:
        self.agents = {(a.agent_id, a.epoch): a for a in agents}
        self.steps: list[Step] = []
        self._clock = now

    def next(self, timeout: float) -> list[AgentChange]:
        if not self.steps:
            raise KeyboardInterrupt
        news = self.steps.pop(0)()
        if not news:
            self._clock.move(timeout)
        return news

    def change(self, kind: ChangeKind, record: AgentRecord) -> None:
        """Let the next step be this change."""

        def step() -> list[AgentChange]:
            self.agents[record.agent_id, record.epoch] = record
            return [AgentChange(kind=kind, at=1_700_000_000.0, agent=record)]

        self.steps.append(step)

    def nothing(self, times: int = 1) -> None:
        self.steps += [list] * times

    def away(self) -> None:
        def step() -> list[AgentChange]:
            self._clock.move(2)
            raise StoreUnavailable("the store x cannot be reached")

        self.steps.append(step)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    return MovedClock(monkeypatch)


def ages(roster: Roster) -> dict[str, tuple[float | None, float | None]]:
    shown = [roster.aged(a) for a in roster.selected(Selection())]
    return {a.agent_id: (a.beat_age, a.progress_age) for a in shown}


def test_ages_tick_from_when_a_record_was_read(now: MovedClock) -> None:
    changes = FakeChanges(now, agent("a", progress_age=1.0), agent("b", progress_age=10.0))
    roster = Roster(changes)
    assert ages(roster) == {"a": (None, 1.0), "b": (None, 10.0)}
    now.move(5)
    assert ages(roster) == {"a": (None, 6.0), "b": (None, 15.0)}
    changes.change(ChangeKind.UPDATED, agent("a", progress_age=0.5))
    roster.next(1)
    assert ages(roster) == {"a": (None, 0.5), "b": (None, 15.0)}
    now.move(1)
    assert ages(roster) == {"a": (None, 1.5), "b": (None, 16.0)}


def test_the_beat_of_the_living_is_not_shown_because_a_beat_is_no_change(now: MovedClock) -> None:
    """Otherwise an agent that beats every second would look as if it had not for hours."""
    roster = Roster(FakeChanges(now, agent("a", beat_age=1.0), agent("b", AgentStatus.LOST, beat_age=20.0)))
    now.move(5)
    assert ages(roster) == {"a": (None, None), "b": (25.0, None)}


def test_only_the_latest_incarnation_is_listed(now: MovedClock) -> None:
    changes = FakeChanges(now, agent("a", epoch=9), agent("a", AgentStatus.LOST, epoch=3))
    assert [a.epoch for a in Roster(changes).selected(Selection())] == [9]


def test_becoming_stale_needs_no_change(now: MovedClock) -> None:
    roster = Roster(FakeChanges(now, agent(progress_age=50.0)))
    assert roster.selected(Selection(stale=60)) == []
    now.move(10)
    assert len(roster.selected(Selection(stale=60))) == 1


def test_a_store_that_is_away_is_said_until_it_is_back(now: MovedClock) -> None:
    changes = FakeChanges(now, agent())
    roster = Roster(changes)
    changes.away()
    changes.nothing()
    assert roster.next(1) == []
    assert roster.trouble == "not up to date: the store x cannot be reached"
    assert [a.agent_id for a in roster.selected(Selection())] == ["a"]
    roster.next(1)
    assert roster.trouble == ""


def test_a_store_that_is_given_up_on_at_once_is_not_asked_in_a_busy_loop(
    now: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(agent_watch, "_pause", pauses.append)
    changes = FakeChanges(now)
    changes.away()
    Roster(changes).next(5)
    assert pauses == [3]


def written(
    changes: FakeChanges,
    capsys: pytest.CaptureFixture[str],
    selection: Selection = ALL,
    *,
    as_json: bool = False,
) -> list[str]:
    """The lines, without their times, until the changes are at their end."""
    with pytest.raises(KeyboardInterrupt):
        agent_watch.write(changes, selection, as_json=as_json)  # type: ignore[arg-type]
    lines = capsys.readouterr().out.splitlines()
    return lines if as_json else [line[21:] for line in lines]


def test_a_line_for_who_is_there_and_for_each_change(now: MovedClock, capsys: pytest.CaptureFixture[str]) -> None:
    changes = FakeChanges(now, agent("b", stage="build"), agent("c", AgentStatus.LOST))
    changes.nothing(2)
    changes.change(ChangeKind.JOINED, agent("a", AgentStatus.STARTING))
    changes.change(ChangeKind.ENDED, agent("b", AgentStatus.COMPLETED))
    assert written(changes, capsys) == [
        "listed   c  lost",
        "listed   b  running  build",
        "joined   a  starting",
        "ended    b  completed",
    ]


def test_as_json_each_is_an_object(now: MovedClock, capsys: pytest.CaptureFixture[str]) -> None:
    changes = FakeChanges(now, agent("a", beat_age=1.0))
    changes.change(ChangeKind.STALLED, agent("a", stalled_at=5.0, metadata={"team": "x"}))
    listed, stalled = map(json.loads, written(changes, capsys, as_json=True))
    assert (listed["kind"], listed["agent"]["agent_id"], listed["agent"]["beat_age"]) == ("listed", "a", 1.0)
    assert (stalled["kind"], stalled["at"]) == ("stalled", 1_700_000_000.0)
    assert (stalled["agent"]["status"], stalled["agent"]["state"]) == ("running", "stalled")
    assert stalled["agent"]["metadata"] == {"team": "x"}


def test_a_filter_also_tells_of_those_that_cease_to_fit(now: MovedClock, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever watches for stalled agents wants to know that one goes on again; not of all that runs."""
    changes = FakeChanges(now, agent("a"), agent("b", stalled_at=1.0))
    changes.change(ChangeKind.UPDATED, agent("a", stage="x"))
    changes.change(ChangeKind.RESUMED, agent("b"))
    changes.change(ChangeKind.UPDATED, agent("b", stage="x"))
    changes.change(ChangeKind.STALLED, agent("a", stalled_at=1.0))
    assert written(changes, capsys, Selection(("stalled",))) == [
        "listed   b  stalled",
        "resumed  b  running",
        "stalled  a  stalled",
    ]


def test_one_that_has_not_moved_for_long_enough_is_told_once(
    now: MovedClock, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = FakeChanges(now, agent("a", progress_age=58.5), agent("b", progress_age=70.0))
    changes.nothing(4)
    changes.change(ChangeKind.UPDATED, agent("a", progress_age=0.0))
    changes.nothing(2)
    assert written(changes, capsys, Selection(stale=60)) == [
        "listed   b  running",
        "stale    a  running",
        "updated  a  running",
    ]


def test_trouble_with_the_store_is_said_once_on_standard_error(
    now: MovedClock, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = FakeChanges(now)
    changes.away()
    changes.away()
    changes.nothing(2)
    with pytest.raises(KeyboardInterrupt):
        agent_watch.write(changes, Selection(), as_json=False)  # type: ignore[arg-type]
    assert capsys.readouterr().err == "not up to date: the store x cannot be reached\nup to date again\n"


def drawn(changes: FakeChanges, monkeypatch: pytest.MonkeyPatch, selection: Selection = ALL) -> str:
    """All that went to the terminal."""
    screen = StringIO()
    terminal = partial(Console, file=screen, force_terminal=True, width=100, height=12, color_system=None)
    monkeypatch.setattr(agent_watch, "Console", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(KeyboardInterrupt):
        agent_watch.draw(changes, selection, "namespace x")  # type: ignore[arg-type]
    return screen.getvalue()


def test_the_table_is_drawn_once_a_second_with_its_ages(now: MovedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = FakeChanges(now, agent(progress_age=5.0))
    changes.nothing(2)
    screen = drawn(changes, monkeypatch)
    assert [age for age in ("5s", "6s", "7s", "8s") if f" {age}" in screen] == ["5s", "6s", "7s"]
    assert screen.count("1 live, 0 ended   namespace x   Ctrl-C ends") == 3


def test_many_changes_in_a_moment_are_drawn_together(now: MovedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = FakeChanges(now, agent())
    for page in range(50):
        changes.change(ChangeKind.UPDATED, agent(stage="crawl", note=f"page {page}"))
    changes.nothing()
    screen = drawn(changes, monkeypatch)
    assert "page 49" in screen
    assert screen.count("Ctrl-C ends") == 2


def test_the_title_names_the_filters_and_what_is_wrong(now: MovedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = FakeChanges(now, agent("fits", workflow="release"), agent("other"))
    changes.away()
    screen = drawn(changes, monkeypatch, Selection(workflow="release"))
    assert "1 live, 0 ended   --workflow release   namespace x" in screen
    assert "not up to date: the store x cannot be reached" in screen
    assert "fits" in screen
    assert "other" not in screen


def test_lines_of_a_selection_say_nothing_twice(now: MovedClock, capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(Selection(stale=1), as_json=False)
    roster = Roster(FakeChanges(now, agent(progress_age=2.0)))
    lines.catch_up(roster)
    now.move(1)
    lines.catch_up(roster)
    assert len(capsys.readouterr().out.splitlines()) == 1
