"""What an agent does and last did, by a clock that is moved: two clocks, and one of them is the user's work."""

from __future__ import annotations

import math
from typing import Any

import pytest
from moved import MovedClock

from attune_dsl.hub.doing import Doing

SERVER_AHEAD = 5_000_000
"""Milliseconds that the server's clock is ahead of this process's."""


class Hub:
    """A listener that notes what it is told."""

    def __init__(self, clock: MovedClock) -> None:
        self._clock = clock
        self.asked = 0
        self.looks: list[float] = []

    def status_soon(self) -> None:
        self.asked += 1

    def stall_at(self, due: float) -> None:
        self.looks.append(due)

    def server_ms(self) -> float:
        return self._clock.now * 1000 + SERVER_AHEAD


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    return MovedClock(monkeypatch)


@pytest.fixture
def hub(clock: MovedClock) -> Hub:
    return Hub(clock)


@pytest.fixture
def doing(hub: Hub) -> Doing:
    """An agent that stalls after ten seconds; that it is there is published."""
    doing = Doing(hub, is_published=True, stall_after=10.0)
    doing.pop_kind()
    return doing


@pytest.fixture
def silent(hub: Hub) -> Doing:
    """An agent without heartbeat: it is there and says nothing of itself."""
    return Doing(hub, is_published=False, stall_after=10.0)


def server_ms(moment: float) -> int:
    return int(moment * 1000 + SERVER_AHEAD)


def said(doing: Doing, *names: str) -> list[Any]:
    fields = doing.fields()
    return [fields[name] for name in names]


# What is published, and when


def test_nothing_is_published_where_nothing_has_changed(doing: Doing, hub: Hub) -> None:
    assert (doing.pop_kind(), hub.asked) == ("", 0)


def test_what_is_said_until_it_is_published_is_published_once(doing: Doing, hub: Hub) -> None:
    doing.touch("plan", 0.1)
    doing.touch("build", 0.5)

    assert hub.asked == 1
    assert (doing.is_changed, doing.is_touched) == (True, True)
    assert said(doing, "stage", "progress") == ["build", "0.5"]
    assert [doing.pop_kind(), doing.pop_kind()] == ["updated", ""]
    assert (doing.is_changed, doing.is_touched, doing.has_moved) == (False, False, False)


def test_a_touch_says_all_that_is_known_of_the_stage(doing: Doing, clock: MovedClock) -> None:
    doing.touch("build", 0.25, 2, "cheap", "half way", 5.0)
    clock.move(3)

    fields = doing.fields()

    assert {name: fields[name] for name in ("stage", "progress", "attempt", "tier", "note", "status")} == {
        "stage": "build",
        "progress": "0.25",
        "attempt": 2,
        "tier": "cheap",
        "note": "half way",
        "status": "running",
    }
    assert [fields["stage_started_at"], fields["progress_at"]] == [server_ms(1_000)] * 2
    assert (fields["stall_after"], fields["stalled_at"], fields["cost"]) == (5_000, "", "")


def test_a_stage_begins_once_and_each_of_its_attempts_anew(doing: Doing, clock: MovedClock) -> None:
    began = []
    for stage, attempt in (("build", 1), ("build", 1), ("build", 2), ("test", 2)):
        doing.touch(stage, 0.0, attempt)
        began.append(said(doing, "stage_started_at")[0])
        clock.move(1)

    assert began == [server_ms(moment) for moment in (1_000, 1_000, 1_002, 1_003)]


def test_who_says_nothing_of_itself_is_not_published(silent: Doing, hub: Hub, clock: MovedClock) -> None:
    silent.touch("build", 0.5, 1, None, None, 1.0)
    silent.advance(0.6, "on")
    silent.did("sent", "job", "bob")
    silent.spent(2.0)
    silent.wait_began()
    silent.wait_ended()
    clock.move(3_600)

    assert (silent.pop_kind(), hub.asked, silent.stall_due, silent.has_moved) == ("", 0, math.inf, False)
    assert said(silent, "stall_after", "stalled_at") == ["", ""]


@pytest.mark.parametrize("is_published", [True, False])
def test_all_is_said_again_now_and_then_so_that_it_does_not_expire(hub: Hub, is_published: bool) -> None:
    """Also of agents without heartbeat, whose sends would be refused without their hash."""
    doing = Doing(hub, is_published=is_published, stall_after=None)
    doing.say_again()
    doing.say_again()

    assert (hub.asked, doing.pop_kind(), doing.pop_kind()) == (1, "updated", "")
    assert doing.is_touched is False


def test_what_was_done_with_signals_waits_for_the_next_beat(doing: Doing, hub: Hub) -> None:
    doing.did("sent", "job", "bob")

    assert (hub.asked, doing.pop_kind(), doing.has_moved) == (0, "", True)
    doing.say_again()
    assert (doing.pop_kind(), doing.has_moved) == ("updated", False)


def test_progress_that_is_said_meanwhile_is_not_forgotten(
    doing: Doing, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the note that it was looked, on another thread."""
    doing.touch("build", 0.1)
    doing.pop_kind()
    asked = hub.asked
    looked: list[bool] = []
    is_stalled = doing._is_stalled

    def look() -> bool:
        found = is_stalled()
        if not looked:
            looked.append(found)
            doing.touch("build", 0.2)
        return found

    monkeypatch.setattr(doing, "_is_stalled", look)
    doing.pop_kind()

    assert hub.asked > asked or doing.is_changed
    assert said(doing, "progress") == ["0.2"]


# Status and activity


def test_one_that_has_not_begun_is_starting(doing: Doing, silent: Doing) -> None:
    assert said(doing, "status", "activity", "stage") == ["starting", "", ""]
    assert said(silent, "status") == ["running"]


def test_one_that_waits_is_waiting_until_the_last_of_its_waits_ends(doing: Doing) -> None:
    statuses = []
    for step in (doing.wait_began, doing.wait_began, doing.wait_ended, doing.wait_ended):
        step()
        statuses.append(said(doing, "status")[0])

    assert statuses == ["waiting", "waiting", "waiting", "starting"]


@pytest.mark.parametrize(
    ("steps", "activity"),
    [
        ([("touch", "build", 0.0)], "began stage build"),
        ([("touch", "build", 0.0, 3)], "began stage build, try 3"),
        ([("touch", None, 0.0)], "began work"),
        ([("touch", "build", 0.0), ("touch", "build", 0.5)], "reached 50% at stage build"),
        ([("touch", "build", 0.0, 2), ("touch", "build", 0.125, 2)], "reached 12% at stage build, try 2"),
        ([("touch", None, 0.0), ("touch", None, 1.0)], "reached 100%"),
        ([("touch", "build", 0.0, 1, None, "linking")], "said: linking"),
        ([("touch", "build", 0.0, 1, None, "linking"), ("touch", "test", 0.0)], "began stage test"),
        ([("advance", 0.5, None)], "reached 50%"),
        ([("advance", None, "half way")], "said: half way"),
        ([("did", "sent", "job", "bob")], "sent job bob"),
        ([("did", "sent", "job", "bob"), ("touch", "build", 0.0)], "began stage build"),
        ([("touch", "build", 0.0), ("did", "took", "job")], "took job"),
        ([("spent", 0.25)], "used 0.25 in all"),
    ],
)
def test_people_read_what_it_did_last(
    doing: Doing, clock: MovedClock, steps: list[tuple[Any, ...]], activity: str
) -> None:
    for name, *values in steps:
        getattr(doing, name)(*values)
        clock.move(1)

    assert said(doing, "activity") == [activity]


def test_progress_never_moves_back_and_none_is_no_news(doing: Doing) -> None:
    doing.touch("build", 0.5, 2, "cheap", "half way")
    found = []
    for fraction, note in ((0.25, None), (None, "still half"), (0.75, None)):
        doing.advance(fraction, note)
        found.append(said(doing, "stage", "progress", "attempt", "tier", "note"))

    assert found == [
        ["build", "0.5", 2, "cheap", "half way"],
        ["build", "0.5", 2, "cheap", "still half"],
        ["build", "0.75", 2, "cheap", "still half"],
    ]


def test_the_cost_is_a_sum_and_proof_of_work(doing: Doing, clock: MovedClock) -> None:
    clock.move(5)
    doing.spent(0.25)
    doing.spent(1.5)

    assert said(doing, "cost", "progress_at") == ["1.5", server_ms(1_005)]
    assert doing.pop_kind() == "updated"


# Stalling


def test_without_progress_it_stalls_and_followers_hear_it_once(doing: Doing, clock: MovedClock) -> None:
    assert doing.stall_due == 1_010
    clock.move(9.5)
    assert (doing.pop_kind(), said(doing, "stalled_at")) == ("", [""])

    clock.move(0.5)

    assert doing.pop_kind() == "stalled"
    assert said(doing, "stalled_at", "progress_at") == [server_ms(1_000)] * 2
    clock.move(60)
    assert (doing.pop_kind(), doing.stall_due) == ("", math.inf)


@pytest.mark.parametrize(
    "move",
    [
        lambda doing: doing.touch("build", 0.5),
        lambda doing: doing.advance(None, None),
        lambda doing: doing.did("took", "job"),
        lambda doing: doing.spent(1.0),
        lambda doing: doing.wait_began(),
    ],
)
def test_any_progress_resumes_it_at_once(doing: Doing, hub: Hub, clock: MovedClock, move: Any) -> None:
    clock.move(10)
    doing.pop_kind()
    hub.asked = 0

    move(doing)

    assert hub.asked == 1
    assert (doing.pop_kind(), said(doing, "stalled_at")) == ("resumed", [""])
    assert doing.pop_kind() == ""


def test_one_that_resumed_stalls_again(doing: Doing, hub: Hub, clock: MovedClock) -> None:
    kinds = []
    for _ in range(2):
        clock.move(10)
        kinds.append(doing.pop_kind())
        doing.touch("build", 0.5)
        kinds.append(doing.pop_kind())

    assert kinds == ["stalled", "resumed"] * 2
    assert hub.looks[-1] == doing.stall_due == clock.now + 10


@pytest.mark.parametrize(("moves", "kind"), [(False, "stalled"), (True, "updated")])
def test_another_incarnation_tells_anew_that_it_is_stalled(
    doing: Doing, clock: MovedClock, moves: bool, kind: str
) -> None:
    clock.move(10)
    doing.pop_kind()
    if moves:
        doing.touch("build", 0.5)

    doing.start_over()

    assert (doing.pop_kind(), doing.pop_kind()) == (kind, "")
    assert said(doing, "stalled_at") == ["" if moves else server_ms(1_000)]


def test_saying_all_again_is_no_progress(doing: Doing, clock: MovedClock) -> None:
    clock.move(9)
    doing.say_again()
    clock.move(1)

    assert doing.pop_kind() == "stalled"
    doing.say_again()
    assert (doing.pop_kind(), said(doing, "stalled_at")) == ("updated", [server_ms(1_000)])


def test_a_wait_does_not_stall_it_and_its_time_does_not_count(doing: Doing, hub: Hub, clock: MovedClock) -> None:
    """A wait has a limit of its own."""
    doing.wait_began()
    clock.move(3_600)
    assert (doing.pop_kind(), doing.stall_due, said(doing, "stalled_at")) == ("updated", math.inf, [""])

    doing.wait_ended()

    assert hub.looks == [clock.now + 10]
    clock.move(9.5)
    assert doing.pop_kind() == "updated"
    clock.move(0.5)
    assert doing.pop_kind() == "stalled"


def test_a_stage_has_a_limit_of_its_own_while_it_runs(doing: Doing, hub: Hub, clock: MovedClock) -> None:
    doing.touch("quick", 0.1, 1, None, None, 2.0)
    assert hub.looks == [clock.now + 2]
    doing.touch("slow", 0.2, 1, None, None, 60.0)
    doing.touch("slow", 0.3, 1, None, None, 60.0)
    assert (len(hub.looks), doing.stall_due) == (2, clock.now + 60)

    clock.move(59)
    assert doing.pop_kind() == "updated"
    doing.touch("plain", 0.4)
    assert said(doing, "stall_after") == [10_000]
    doing.pop_kind()
    clock.move(10)
    assert doing.pop_kind() == "stalled"


def test_progress_from_outside_leaves_the_stages_limit(doing: Doing, clock: MovedClock) -> None:
    """A command within the stage says how far it is."""
    doing.touch("quick", 0.1, 1, None, None, 2.0)
    doing.advance(0.5, None)
    doing.pop_kind()

    assert said(doing, "stall_after") == [2_000]
    clock.move(2)
    assert doing.pop_kind() == "stalled"


def test_without_a_limit_nothing_stalls_but_a_stage_that_has_one(hub: Hub, clock: MovedClock) -> None:
    doing = Doing(hub, is_published=True, stall_after=None)
    clock.move(3_600)
    assert (doing.pop_kind(), doing.stall_due, said(doing, "stall_after")) == ("", math.inf, [""])

    doing.touch("build", 0.1, 1, None, None, 2.0)
    doing.pop_kind()
    clock.move(2)

    assert doing.pop_kind() == "stalled"


def test_a_resumption_at_the_moment_of_the_stall_is_said_later(
    doing: Doing, hub: Hub, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread thought that it was about to be published anyway."""
    doing.say_again()
    clock.move(10)
    is_stalled = doing._is_stalled
    looked: list[bool] = []

    def look() -> bool:
        found = is_stalled()
        if not looked:
            looked.append(found)
            doing.touch("build", 0.5)
        return found

    monkeypatch.setattr(doing, "_is_stalled", look)
    hub.asked = 0

    assert doing.pop_kind() == "stalled"
    assert (hub.asked, doing.pop_kind()) == (1, "resumed")
