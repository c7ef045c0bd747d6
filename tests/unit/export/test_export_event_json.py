"""Events as JSON and JSON Lines: a stable form for programs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from a_story import BEGAN, HOSTILE, a_loss, a_release, hostile

from attune_dsl.events import Emit, Event, Gap, StageEnd, Unknown
from attune_dsl.exceptions import UsageError
from attune_dsl.export import FORMS, export
from attune_dsl.export.event_json import event_dict, event_json


def event(kind: str, data: Any, **more: Any) -> Event:
    return Event(id="1795500840000-0", kind=kind, at=BEGAN, namespace="demo", data=data, **more)


def test_the_form_is_what_the_documentation_says() -> None:
    """All fields are there, in their order, whether or not they have a value."""
    ended = event("stage.ended", StageEnd(call=3, status="completed", duration=1.5), agent="a", run="r", stage="build")

    assert event_json(ended) == (
        b'{"id":"1795500840000-0","kind":"stage.ended","at":1795500840.0,"namespace":"demo","agent":"a","run":"r",'
        b'"workflow":null,"stage":"build","data":{"attempts":1,"call":3,"duration":1.5,"error":null,'
        b'"item":null,"run_progress":null,"status":"completed","tier":null}}'
    )


def test_the_dictionary_is_the_same() -> None:
    """What is read back from the JSON is the dictionary."""
    for one in a_release():
        assert event_dict(one) == json.loads(event_json(one))


def test_a_kind_of_a_later_version_keeps_what_was_found() -> None:
    """Of an unknown kind the fields are handed on."""
    told = event_dict(event("approval.asked", Unknown(fields={"data": {"question": "go?"}})))

    assert told["data"] == {"fields": {"data": {"question": "go?"}}}


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize("data", ["\ud800", deep(), 2**70, object()], ids=["surrogate", "deep", "large", "object"])
def test_what_json_cannot_say_stops_nobody(data: Any) -> None:
    """§5.12: one event that cannot be written as JSON is one line all the same."""
    lines = export([event("emit", Emit(kind="note", data=data)), event("timeline.gap", Gap(why="x"))], "jsonl")

    first, second = map(json.loads, lines.splitlines())
    assert first["kind"] == "emit"
    assert "unreadable" in first["data"].get("fields", {}) or first["data"]["data"] == data
    assert second["data"] == {"why": "x", "dropped": None}


def test_each_event_is_one_line() -> None:
    """§5.12: newlines in what users wrote do not break a line; nothing gets lost."""
    events = hostile()
    lines = export(events, "jsonl").split(b"\n")

    assert lines.pop() == b""
    assert [json.loads(line)["id"] for line in lines] == [one.id for one in events]
    emitted = [json.loads(line)["data"]["kind"] for line in lines if b'"kind":"emit"' in line]
    assert emitted == list(HOSTILE)


def test_another_form_is_refused_by_name() -> None:
    """The error says which forms there are."""
    assert FORMS == ("jsonl", "html", "mermaid", "perfetto")
    with pytest.raises(UsageError, match=r"no export as 'pdf'; write one of jsonl, html, mermaid, perfetto"):
        export(a_loss(), "pdf")


@pytest.mark.parametrize("form", FORMS)
def test_the_same_events_are_the_same_file(form: str) -> None:
    """An export depends on its events alone, so it can be compared."""
    assert export(a_release(), form) == export(a_release(), form)
    assert isinstance(export([], form), bytes)
