"""The lines that a run writes where there is no terminal."""

from __future__ import annotations

import pytest

from attune_dsl import clock
from attune_dsl.cli.plain import PlainView
from attune_dsl.model import AgentStatus, StageRecord, StageStatus
from attune_dsl.runner import events

RUN = "0123456789abcdef"


class Told:
    """A plain view, what it wrote, and the clock."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.view = PlainView(self.lines.append)
        self.now = 0.0

    def begin(self, *plan: str, store: str | None = "embedded") -> None:
        self.view(
            events.RunStarted(
                run_id=RUN,
                agent_id="release",
                workflow="release",
                plan=plan,
                store_label=store,
                namespace=store and "default",
                at=0,
            )
        )

    def start(self, stage: str, attempt: int = 1, item: int | None = None, total: int | None = None) -> None:
        self.view(
            events.StageStarted(run_id=RUN, stage=stage, item=item, attempt=attempt, tier="cheap", at=0, total=total)
        )

    def end(
        self, stage: str, status: StageStatus = StageStatus.COMPLETED, item: int | None = None, error: str | None = None
    ) -> None:
        record = StageRecord(name=stage, status=status, item=item, error=error)
        self.view(events.StageEnded(run_id=RUN, record=record, progress=0.5, at=0))

    def finish(self, status: AgentStatus = AgentStatus.COMPLETED) -> None:
        self.view(events.RunEnded(run_id=RUN, status=status, error=None, progress=1.0, at=0))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()
    monkeypatch.setattr(clock, "monotonic", lambda: told.now)
    return told


def test_store_namespace_and_agent_are_said_once(told: Told) -> None:
    told.begin("build")
    told.finish()
    assert told.lines == [
        "release: agent release, namespace default, store embedded",
        "[100%] completed in 0 ms",
    ]


def test_a_run_without_a_store_says_so(told: Told) -> None:
    told.begin("build", store=None)
    assert told.lines == ["release: agent release, no store"]


def test_a_stage_begins_and_ends_with_a_line(told: Told) -> None:
    told.begin("build")
    told.start("build")
    told.now = 1.5
    told.end("build")
    assert told.lines[1:] == ["[  0%] build: running (cheap)", "[ 50%] build: completed in 1.5 s"]


def test_a_retry_says_which_attempt_failed_and_why(told: Told) -> None:
    told.begin("build")
    told.start("build")
    told.view(
        events.StageRetried(run_id=RUN, stage="build", item=None, attempt=1, error="OSError: no\nway", pause=1, at=0)
    )
    told.start("build", attempt=2)
    assert told.lines[2:] == ["[  0%] build: attempt 1 failed: OSError: no way"]


def test_a_failure_says_why(told: Told) -> None:
    told.begin("build")
    told.start("build")
    told.end("build", StageStatus.FAILED, error="ValueError: bad")
    assert told.lines[-1] == "[ 50%] build: failed: ValueError: bad"


def test_a_map_is_counted_and_not_told_item_by_item(told: Told) -> None:
    told.begin("review")
    for item in range(100):
        told.start("review", item=item, total=100)
    for item in range(100):
        told.now += 0.03
        told.end("review", item=item)
    assert told.lines[1:] == [
        "[  0%] review: running (cheap)",
        "[ 50%] review: 34/100",
        "[ 50%] review: 68/100",
        "[ 50%] review: 100/100 in 3.0 s",
    ]


def test_a_failed_item_is_named(told: Told) -> None:
    told.begin("review")
    for item in range(2):
        told.start("review", item=item, total=2)
    told.end("review", StageStatus.FAILED, item=0, error="ValueError: bad")
    told.end("review", item=1)
    assert told.lines[2:] == [
        "[ 50%] review[0]: failed: ValueError: bad",
        "[ 50%] review: 2/2 in 0 ms, 1 failed",
    ]


def test_a_stage_called_often_is_counted(told: Told) -> None:
    told.begin("step")
    for _ in range(1000):
        told.start("step")
        told.end("step")
    told.finish()
    assert told.lines[2:] == [
        "[ 50%] step: completed in 0 ms",
        "[100%] step: completed in 0 ms (1,000 calls)",
        "[100%] completed in 0 ms",
    ]


def test_progress_is_told_at_most_once_a_second(told: Told) -> None:
    told.begin("build")
    told.start("build")
    for step in range(1, 21):
        told.now = step / 10
        told.view(events.StageProgressed(run_id=RUN, stage="build", fraction=step / 20, note="copying", at=0))
    assert told.lines[2:] == ["[  0%] build: 50% copying", "[  0%] build: 100% copying"]


def test_an_interrupted_run_says_how_it_ended(told: Told) -> None:
    told.begin("build")
    told.start("build")
    told.end("build", StageStatus.CANCELLED, error="KeyboardInterrupt")
    told.finish(AgentStatus.CANCELLED)
    assert told.lines[2:] == ["[ 50%] build: cancelled", "[100%] cancelled in 0 ms"]
