"""Lines of the log as JSON and for people: whatever is logged, a line stays a line and nobody is disturbed."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import pytest

from attune_dsl import clock
from attune_dsl.cli import logs
from attune_dsl.cli.at_import import at_import
from attune_dsl.cli.log_lines import in_order, json_line


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\nb\x1b[2J\u2028\ud800", "a\nb\x1b[2J\u2028\ud800"),
        (object, "<class 'object'>"),
        (float("nan"), "nan"),
        ({("a", 1): 2}, "{('a', 1): 2}"),
        (Hostile(), "<Hostile: RuntimeError>"),
        ({1: [None, True]}, {"1": [None, True]}),
    ],
)
def test_any_value_makes_one_line_of_json(value: object, shown: object) -> None:
    """§5.12: whatever is logged, the line parses, is plain ASCII, and nothing is raised."""
    line = json_line("some.event", "info", value=value)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert json.loads(line, parse_constant=pytest.fail)["value"] == shown


def test_the_time_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """§3 logging: ISO 8601 with microseconds, unless the line has a time of its own."""
    monkeypatch.setattr(clock, "wall", lambda: 1.5)
    assert json.loads(json_line("e", "info")) == {
        "event": "e",
        "level": "info",
        "timestamp": "1970-01-01T00:00:01.500000Z",
    }
    assert json.loads(json_line("e", "info", timestamp="noon"))["timestamp"] == "noon"


def test_where_it_was_comes_last() -> None:
    """§3 logging: what is the same on most lines does not stand before what is not."""
    fields = {"run_id": "r", "stage": "s", "size": 3, "attempt": 1}
    assert list(in_order(fields)) == ["size", "stage", "attempt", "run_id"]


def test_for_people_others_text_moves_no_cursor() -> None:
    """§5.12: control characters are replaced, also in what a class says of itself; tracebacks keep their lines."""

    class Sly:
        def __repr__(self) -> str:
            return "\x1b[2J"

    shown = logs._harmless(
        None,
        "info",
        {"event": "a\nb", "sly": Sly(), "size": 3, "stage": None, "exception": "one\ntwo\x1b[2J"},
    )
    assert shown == {"event": "a b", "sly": "�[2J", "size": 3, "exception": "one\ntwo�[2J"}


def test_what_waits_for_an_import_is_done_once_and_last(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """§3 logging: after the module's own code, in the order of asking from the inside out, and never again."""
    (tmp_path / "waited_for.py").write_text("there = 'yes'\n")
    monkeypatch.syspath_prepend(tmp_path)
    before, told = list(sys.meta_path), []
    at_import("waited_for", lambda: told.append(("first", sys.modules["waited_for"].there)))
    at_import("waited_for", lambda: told.append(("second", sys.modules["waited_for"].there)))
    import waited_for

    assert told == [("first", "yes"), ("second", "yes")]
    assert sys.meta_path == before
    assert isinstance(waited_for, ModuleType)
    at_import("waited_for", lambda: told.append(("third", "now")))
    assert told[2:] == [("third", "now")]
    del sys.modules["waited_for"]
    import waited_for

    assert len(told) == 3
    del sys.modules["waited_for"]


def test_a_module_that_is_not_there_stays_so() -> None:
    """§3 logging: waiting for a module does not change how its absence is told."""
    before = list(sys.meta_path)
    at_import("not_there_at_all", lambda: pytest.fail("it was imported"))
    with pytest.raises(ModuleNotFoundError):
        __import__("not_there_at_all")
    assert sys.meta_path == before
