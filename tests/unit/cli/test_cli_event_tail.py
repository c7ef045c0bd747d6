"""Following events on the command line, without a store: what is written, and what is said when it is away."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from moved import MovedClock

from attune_dsl.cli import event_tail
from attune_dsl.events import Emit, Event
from attune_dsl.exceptions import StoreUnavailable

Step = Callable[[], list[Event]]


def event(text: str) -> Event:
    return Event(id="1-1", kind="emit", at=1.5, namespace="n", agent="a", data=Emit(kind="note", data=text))


class FakeEvents:
    """Takes the place of what ``Timeline.follow()`` returns: each ``next`` is one step, then comes Ctrl-C."""

    def __init__(self, *steps: list[Event] | None) -> None:
        self._steps = list(steps)

    def next(self, timeout: float | None) -> list[Event]:
        assert timeout == event_tail.TICK
        if not self._steps:
            raise KeyboardInterrupt
        step = self._steps.pop(0)
        if step is None:
            raise StoreUnavailable("the store is away")
        return step


def followed(monkeypatch: pytest.MonkeyPatch, *steps: list[Event] | None, as_json: bool = False) -> list[float]:
    """Follow until Ctrl-C; return for how long it paused each time."""
    MovedClock(monkeypatch)
    pauses: list[float] = []
    monkeypatch.setattr(event_tail, "pause", pauses.append)
    events: Any = FakeEvents(*steps)
    with pytest.raises(KeyboardInterrupt):
        event_tail.follow(events, event_tail.Writer(as_json=as_json))
    return pauses


def test_events_are_written_as_they_come(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """§3 events tail: one line each; a tick without any writes nothing."""
    assert followed(monkeypatch, [event("one"), event("two")], [], [event("three")]) == []
    out, err = capsys.readouterr()
    assert [line.split("  » ")[1] for line in out.splitlines()] == ["a  note: one", "a  note: two", "a  note: three"]
    assert err == ""


def test_for_programs_each_event_is_one_object(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """§3 events tail: the same form as in exports."""
    followed(monkeypatch, [event("one")], as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["id"], told["kind"], told["agent"], told["data"]) == (
        "1-1",
        "emit",
        "a",
        {"kind": "note", "data": "one"},
    )


def test_a_store_that_is_away_is_said_once_and_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """§5.11: it comes back by itself; asking again and again is no busy loop."""
    pauses = followed(monkeypatch, None, None, [event("back")], None, [])
    out, err = capsys.readouterr()
    assert pauses == [event_tail.TICK] * 3
    assert err.splitlines() == ["not up to date: the store is away", "up to date again"] * 2
    assert out.endswith("» a  note: back\n")
