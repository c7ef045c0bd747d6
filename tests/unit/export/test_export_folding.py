"""Events as bars and arrows: what every picture is drawn from."""

from __future__ import annotations

from itertools import pairwise

from a_story import BEGAN, Actor, Teller, a_loss, a_release, a_tiny_run, hostile, many

from attune_dsl.events import AgentEnd, Emit, Event, RunEnd, StageEnd, StageStart, WaitEnd
from attune_dsl.export.folding import fold
from attune_dsl.export.moments import moments
from attune_dsl.export.rows import rows, tracks
from attune_dsl.export.scene import Bar, Scene


def told_of(scene: Scene) -> list[tuple[str, str, float, float, str]]:
    return [(bar.what, bar.name, round(bar.start, 3), round(bar.end, 3), bar.status) for bar in scene.bars]


def actor() -> Actor:
    return Actor(Teller(), "a", "run-a", "flow")


def test_starts_and_ends_are_bars() -> None:
    """A call with retries has a bar for each attempt; a wait is part of the stage that waits."""
    a = actor()
    a.note(0.0, "run.started", a_tiny_run()[0].data)
    a.works(1.0, 9.0, "build", fails=(2.0,))
    a.waits(3.0, 4.0, "go", "build")
    a.ends(10.0, 0.0, cost=0.5, tokens_in=3, tokens_out=4)
    scene = fold(a.told.story())

    assert told_of(scene) == [
        ("run", "flow", 0.0, 10.0, "completed"),
        ("stage", "build", 1.0, 9.0, "completed"),
        ("attempt", "attempt 1", 1.0, 2.0, "failed"),
        ("attempt", "attempt 2", 2.5, 9.0, "completed"),
        ("wait", "go", 3.0, 4.0, "received"),
    ]
    assert [bar.part_of for bar in scene.bars] == [None, 0, 1, 1, 1]
    assert rows(scene.bars) == [0, 1, 2, 2, 3]
    (run,) = scene.runs
    assert (run.status, run.duration, run.cost, run.tokens_in, run.tokens_out) == ("completed", 10.0, 0.5, 3, 4)
    assert (run.started_at, run.ended_at) == (BEGAN, BEGAN + 10)


def test_only_an_end_is_a_bar_of_its_duration() -> None:
    """Where the history begins in the middle, durations say when things began."""
    a = actor()
    a.note(5.0, "stage.ended", StageEnd(call=9, status="completed", duration=2.0), "late")
    a.note(6.0, "wait.ended", WaitEnd(what="signal", outcome="timeout", waited=0.5, names=("go",)))
    a.note(7.0, "run.ended", RunEnd(status="failed", duration=1.5))
    a.note(1.0, "emit", Emit(kind="note"))

    assert told_of(fold(a.told.story())) == [
        ("run", "flow", 0.0, 6.0, "failed"),
        ("stage", "late", 2.0, 4.0, "completed"),
        ("wait", "go", 4.5, 5.0, "timeout"),
    ]


def test_what_is_open_lasts_until_the_last_that_is_known() -> None:
    """A run that goes on is running; one whose agent is lost was lost, with all that it did."""
    a = actor()
    a.note(0.0, "run.started", a_tiny_run()[0].data)
    a.note(1.0, "stage.started", StageStart(call=1), "build")
    a.note(3.0, "emit", Emit(kind="note"), "build")
    assert [(bar.name, bar.end, bar.status) for bar in fold(a.told.story()).bars] == [
        ("flow", 3.0, "running"),
        ("build", 3.0, "running"),
    ]
    a.note(5.0, "agent.ended", AgentEnd(epoch=1, status="cancelled"))
    assert [(bar.name, bar.end, bar.status) for bar in fold(a.told.story()).bars] == [
        ("flow", 5.0, "cancelled"),
        ("build", 5.0, "cancelled"),
    ]
    lost = [(bar.name, bar.status) for bar in fold(a_loss()).bars if bar.agent == "crawler"]
    assert lost == [("crawl", "lost"), ("fetch", "lost")]


def test_signals_are_arrows() -> None:
    """One for each time that a signal was taken, one for what expired or is still on its way."""
    scene = fold(a_loss())

    assert [(arrow.type, arrow.source, arrow.target, arrow.end) for arrow in scene.arrows] == [
        ("page", "crawler", "indexer", "received"),
        ("page", "crawler", "indexer", "expired"),
    ]
    broadcast = [arrow for arrow in fold(a_release()).arrows if arrow.type == "start"]
    assert [arrow.target for arrow in broadcast] == ["release", "docs", "deploy", "reviewer"]
    assert len({arrow.sent for arrow in broadcast}) == 1


def test_lanes_are_the_agents_with_runs_first() -> None:
    """Agents that only sent, or were only sent to, have a lane, too."""
    assert fold(a_release()).agents == ("release", "reviewer", "deploy", "docs", "ops")
    told = Teller()
    Actor(told, "a").sends(0.0, "job", Actor(told, "b"), None, [])
    assert fold(told.story()).agents == ("a", "b")


def test_events_of_one_millisecond_keep_their_order() -> None:
    """No two events are at the same time, so a stage of microseconds is ahead of the next one."""
    origin, times = moments(a_tiny_run())

    assert origin == BEGAN
    assert times == [0.0, 0.001, 0.001 + 1e-6, 0.001 + 2e-6]
    same = [a_tiny_run()[0]] * 5_000
    _, spread = moments(same)
    assert sorted(set(spread)) == spread
    assert spread[-1] < 0.001


def test_a_time_that_cannot_be_is_not_believed() -> None:
    """§5.12: an event that says it happened in the year 33658 does not push all others into one pixel."""
    told = Event(id=f"{int(BEGAN * 1000)}-0", kind="emit", at=1e12, namespace="x", data=Emit(kind="note"))
    late = Event(id=f"{int(BEGAN * 1000)}-1", kind="emit", at=BEGAN - 60, namespace="x", data=Emit(kind="note"))
    forged = Event(id="9" * 400 + "-0", kind="emit", at=-1e300, namespace="x", data=Emit(kind="note"))

    assert moments([told, late]) == (BEGAN - 60, [60.0, 0.0])
    assert moments([forged]) == (0.0, [0.0])


def apart(bars: list[Bar]) -> bool:
    return all(one.end <= other.start for one, other in pairwise(bars))


def test_no_bar_hides_another() -> None:
    """In a row bars are apart, and below what they are part of; on a track they are apart or part of each other."""
    for story in (a_release(), a_loss(), many(1_000), hostile()):
        bars = fold(story).bars
        placed, tracked = rows(bars), tracks(bars)
        for lane in {(bar.agent, row) for bar, row in zip(bars, placed, strict=True)}:
            assert apart([bar for bar, row in zip(bars, placed, strict=True) if (bar.agent, row) == lane])
        for place, bar in enumerate(bars):
            if bar.part_of is not None:
                assert placed[bar.part_of] < placed[place]
                assert bars[bar.part_of].start <= bar.start <= bar.end <= bars[bar.part_of].end
        for lane in {(bar.agent, track) for bar, track in zip(bars, tracked, strict=True)}:
            stack: list[Bar] = []
            for bar in [bar for bar, track in zip(bars, tracked, strict=True) if (bar.agent, track) == lane]:
                while stack and stack[-1].end <= bar.start:
                    stack.pop()
                assert not stack or bar.end <= stack[-1].end
                stack.append(bar)
