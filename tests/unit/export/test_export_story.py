"""What belongs to the story of one run."""

from __future__ import annotations

import pytest
from a_story import BEGAN, RELEASE, Actor, Teller, a_release

from attune_dsl.events import AgentAbort, AgentJoin, AgentLoss, Emit, Event, Gap, SignalExpired
from attune_dsl.export import story_of
from attune_dsl.export.wording import seconds


def kinds(events: list[Event]) -> list[tuple[str, str | None]]:
    return [(event.kind, event.agent) for event in events]


def test_a_story_has_both_ends_of_each_arrow() -> None:
    """Everything of the run, and of others what it received and who received what it sent; in order."""
    events = a_release()
    story = story_of(RELEASE, events)
    others = [(event.kind, event.agent, event.data.type) for event in story if event.run != RELEASE]  # type: ignore[union-attr]

    assert [event for event in story if event.run == RELEASE] == [event for event in events if event.run == RELEASE]
    assert [event.id for event in story] == [event.id for event in events if event in story]
    assert others == [
        ("signal.sent", "ops", "start"),
        ("signal.received", "docs", "changes"),
        ("signal.received", "reviewer", "review_request"),
        ("signal.sent", "reviewer", "verdict"),
        ("signal.received", "deploy", "task_complete"),
    ]


def test_what_expired_is_told() -> None:
    """A signal that was not taken in time belongs to the story of its sender."""
    told = Teller()
    sender, target = Actor(told, "a", "run-a", "a"), Actor(told, "b")
    sender.sends(1.0, "job", target, None, [])
    target.note(9.0, "signal.expired", SignalExpired(id="h1.0.1", type="job", source="a"))
    target.note(9.5, "signal.expired", SignalExpired(id="another", type="job", source="c"))

    assert kinds(story_of("run-a", told.story())) == [("signal.sent", "a"), ("signal.expired", "b")]


def test_of_an_agent_only_the_incarnation_of_the_run() -> None:
    """What happened to the same agent id before and after is another story, also where no run is noted."""
    told = Teller()
    nobody, run = Actor(told, "a"), Actor(told, "a", "run-2", "flow")
    nobody.note(0.0, "agent.joined", AgentJoin(epoch=1))
    nobody.note(0.5, "agent.lost", AgentLoss(epoch=1))
    run.starts(1.0)
    told.events[-2] = told.events[-2].__class__(
        id="0-0", kind="agent.joined", at=BEGAN + 1, namespace="demo", agent="a", run="run-2", data=AgentJoin(epoch=2)
    )
    nobody.note(2.0, "agent.aborted", AgentAbort(epoch=2, by="ops", reason="enough"))
    nobody.note(3.0, "agent.joined", AgentJoin(epoch=3))

    assert kinds(story_of("run-2", told.story())) == [
        ("agent.joined", "a"),
        ("run.started", "a"),
        ("agent.aborted", "a"),
    ]


def test_a_gap_that_may_hide_a_part_is_told() -> None:
    """A gap within a run belongs to it; one ahead only if the run's start is missing; one of others never."""
    told = Teller()
    run = Actor(told, "a", "run-a", "a")
    told.tell(0.0, "timeline.gap", Gap(why="ahead"), None)
    run.starts(1.0)
    told.tell(2.0, "timeline.gap", Gap(why="within"), None)
    told.tell(2.5, "timeline.gap", Gap(why="of another"), "b")
    run.ends(3.0, 1.0)
    told.tell(4.0, "timeline.gap", Gap(why="behind"), None)
    events = told.story()
    cut = [event for event in events if event.kind not in ("run.started", "agent.joined")]

    def gaps(story: list[Event]) -> list[str]:
        return [event.data.why for event in story if isinstance(event.data, Gap)]

    assert gaps(story_of("run-a", events)) == ["within"]
    assert gaps(story_of("run-a", cut)) == ["ahead", "within"]


def test_a_run_that_is_not_there_has_no_story() -> None:
    """No event of the run, no story: not even the gaps."""
    told = Teller()
    told.tell(0.0, "timeline.gap", Gap(why="x"), None)
    told.tell(0.0, "emit", Emit(kind="note"), Actor(told, "a", "run-a"))

    assert story_of("run-b", told.story()) == []


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.00025, "250 µs"),
        (0.0009996, "1 ms"),
        (0.0031, "3.1 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
        (245.0, "4 min 5 s"),
        (7265.0, "2 h 1 min"),
        (float("nan"), "?"),
    ],
)
def test_durations_are_said_as_people_read_them(value: float, words: str) -> None:
    assert seconds(value) == words
