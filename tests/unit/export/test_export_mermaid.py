"""Sequence diagrams as text; that mermaid reads them is tested in a browser."""

from __future__ import annotations

import pytest
from a_story import RELEASE, a_loss, a_release, hostile, many

from attune_dsl.export import export, story_of
from attune_dsl.export.mermaid import MOST


def lines(form: bytes) -> list[str]:
    return [line.strip() for line in form.decode().splitlines()]


def test_a_diagram_tells_who_told_whom_what() -> None:
    """Participants, arrows in the order in which signals arrived, and notes for what happened."""
    told = lines(export(a_loss(), "mermaid"))

    assert told[:3] == ["sequenceDiagram", "participant a0 as indexer", "participant a1 as crawler"]
    assert told[3].startswith("Note over a0,a1: 1,284 events are missing")
    assert [line for line in told if "->" in line or "-x" in line] == ["a1->>a0: page", "a1--xa0: page (expired)"]
    assert "Note over a1: lost#58; its lease lapsed at 31#37;" in told
    assert any(line.startswith("Note over a0: asked to stop by ops") for line in told)


def test_a_run_s_diagram_has_the_agents_that_it_met() -> None:
    """A story's participants begin with the run's agent."""
    told = lines(export(story_of(RELEASE, a_release()), "mermaid"))

    assert told[1] == "participant a0 as release"
    assert [line for line in told if "->>" in line] == [
        "a1->>a0: start",
        "a0->>a2: changes",
        "a0->>a3: review_request",
        "a3->>a0: verdict",
        "a0->>a4: task_complete",
    ]


def test_texts_mean_nothing_to_mermaid() -> None:
    """§5.12: outside of its own words a line has only letters, digits, some punctuation and numbered characters."""
    for line in lines(export(hostile(), "mermaid"))[1:]:
        text = line.partition(" as " if line.startswith("participant") else ": ")[2]
        assert not set(text.replace("#", "").replace(";", "")) & set('<>{}[]"`%$&|\\:~^@\n\x00\u202e')
        assert " end " not in f" {text.lower()} "
        assert text.count("#") == text.count(";")


@pytest.mark.parametrize("count", [8_000, 30_000])
def test_a_long_story_has_what_matters(count: int) -> None:
    """A diagram never has more than mermaid takes; what is left out is counted."""
    told = export(many(count), "mermaid")

    assert len(told) <= MOST
    (left_out,) = [line for line in lines(told) if "left out" in line]
    kept = len([line for line in lines(told) if line.startswith(("a", "Note"))]) - 1
    arrows = sum(event.kind == "signal.received" for event in many(count))
    ended = sum(event.kind in ("run.started", "run.ended", "stage.ended") for event in many(count))
    assert left_out == f"Note over a0,a7: {arrows + ended - kept} more lines are left out"


def test_no_events_are_a_diagram() -> None:
    """An empty story is a valid diagram that says so."""
    assert lines(export([], "mermaid")) == ["sequenceDiagram", "participant a0 as nobody", "Note over a0: no events"]
