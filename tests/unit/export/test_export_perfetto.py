"""Traces: what the format asks for, and what the viewers need to draw it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from a_story import BEGAN, a_loss, a_release, a_tiny_run, hostile, many

from attune_dsl.export import export

SCHEMA = json.loads((Path(__file__).parent / "trace_schema.json").read_text())
STORIES = {
    "release": a_release(),
    "tiny": a_tiny_run(),
    "loss": a_loss(),
    "hostile": hostile(),
    "many": many(1_000),
    "": [],
}


def trace(name: str) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads(export(STORIES[name], "perfetto"))["traceEvents"]
    return told


@pytest.mark.parametrize("name", STORIES)
def test_a_trace_obeys_the_schema(name: str) -> None:
    """§5.12: whatever names and data contain, the file is what the format describes."""
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(export(STORIES[name], "perfetto")))


def test_the_schema_can_refuse() -> None:
    """A complete event without duration and a counter of text are no trace."""
    good = {"ph": "X", "pid": 1, "tid": 1, "name": "a", "cat": "b", "ts": 1}
    for bad in (good, good | {"ph": "C", "args": {"a": "b"}}, good | {"dur": 1, "more": 1}, good | {"ph": "Z"}):
        assert not jsonschema.Draft202012Validator(SCHEMA).is_valid({"traceEvents": [bad]})
    assert jsonschema.Draft202012Validator(SCHEMA).is_valid({"traceEvents": [good | {"dur": 1}]})


def test_agents_are_processes_and_runs_threads() -> None:
    """Each agent is a process by its name; its threads are its runs, concurrent calls, and its signals."""
    names = [
        (one["name"], one["pid"], one["tid"], one["args"]["name"])
        for one in trace("loss")
        if one["ph"] == "M" and "name" in one["args"]
    ]

    assert names == [
        ("process_name", 1, 0, "indexer"),
        ("process_name", 2, 0, "crawler"),
        ("thread_name", 1, 1, "index 5d00000000000002"),
        ("thread_name", 2, 1, "crawl 5d00000000000001"),
        ("thread_name", 1, 1000, "signals"),
        ("thread_name", 2, 1000, "signals"),
    ]
    beside = [one["args"]["name"] for one in trace("release") if one["name"] == "thread_name" and one["pid"] == 1]
    assert beside == ["release 4b1f0c7a9d2e4f31", "beside 1", "beside 2", "beside 3", "signals"]


def test_what_is_in_a_trace() -> None:
    """Complete events for what lasted, instants, two ends for each flow, and a counter; times in microseconds."""
    events = trace("release")
    counted = Counter(one["ph"] for one in events)
    build = next(one for one in events if one["name"] == "build" and one["ph"] == "X")

    assert counted["s"] == counted["f"] == 10
    assert counted["C"] == 13
    assert counted["i"] == 24 + 3 + 12  # emits, retries, agents
    assert (build["ts"], build["dur"], build["args"]["status"]) == (
        4_300_001.0,
        pytest.approx(6_900_000, abs=5),
        "completed",
    )
    assert json.loads(export(STORIES["release"], "perfetto"))["otherData"] == {
        "origin": BEGAN,
        "events": 136,
        "gaps": 0,
    }
    assert [one["s"] for one in trace("loss") if one["ph"] == "i" and one["cat"] == "timeline.gap"] == ["g"]


@pytest.mark.parametrize("name", ["release", "many", "hostile", "loss"])
def test_what_is_on_a_thread_nests(name: str) -> None:
    """Viewers stack complete events of a thread, and drop those that overlap without nesting."""
    threads: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for one in trace(name):
        if one["ph"] == "X":
            threads.setdefault((one["pid"], one["tid"]), []).append(one)
    for events in threads.values():
        stack: list[float] = []
        for one in sorted(events, key=lambda one: (one["ts"], -one["dur"])):
            while stack and stack[-1] <= one["ts"] + 0.01:
                stack.pop()
            assert not stack or one["ts"] + one["dur"] <= stack[-1] + 0.01
            stack.append(one["ts"] + one["dur"])


def test_flows_are_bound_to_what_lasts() -> None:
    """Each end of a flow lies in a complete event of its thread, and the end is not before the start."""
    events = trace("release")
    slices = [one for one in events if one["ph"] == "X"]
    ends = {phase: {one["id"]: one for one in events if one["ph"] == phase} for phase in "sf"}

    assert ends["s"].keys() == ends["f"].keys()
    for phase in "sf":
        for flow in ends[phase].values():
            around = [
                one
                for one in slices
                if (one["pid"], one["tid"]) == (flow["pid"], flow["tid"])
                and one["ts"] <= flow["ts"] <= one["ts"] + one["dur"]
            ]
            assert len(around) == 1
    assert all(ends["s"][one]["ts"] < ends["f"][one]["ts"] for one in ends["s"])
