"""``Timeline``: reading, following and trimming what happened in a namespace, on both servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from proxy import Proxy
from telling import tell
from waiting import wait_until

from attune_dsl import AsyncTimeline, Event, Timeline
from attune_dsl.coordination import chronicle
from attune_dsl.events import Emit, Gap, StageStart
from attune_dsl.exceptions import StoreUnavailable, UsageError
from attune_dsl.hub import link, watch
from attune_dsl.hub.registry import open_hubs

if TYPE_CHECKING:
    from conftest import Store


@pytest.fixture
def timeline(store: Store) -> Iterator[Timeline]:
    with Timeline(store.url, store.namespace) as timeline:
        yield timeline


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three entries in one question."""
    for module in (chronicle, __import__("attune_dsl.coordination.event_follower", fromlist=["CHUNK"])):
        monkeypatch.setattr(module, "CHUNK", 3)
    monkeypatch.setattr(chronicle, "_FEW", 3)


def emit(store: Store, *texts: object, agent: str = "release", run: str = "") -> list[str]:
    """Write notes into the timeline; return their ids."""
    return [tell(store, "emit", Emit(kind="note", data=text), agent=agent, run=run) for text in texts]


def texts(events: list[Event]) -> list[Any]:
    """What notes say; of a gap its kind."""
    return [event.data.data if isinstance(event.data, Emit) else event.kind for event in events]


def drop(store: Store, keep: int) -> None:
    store.redis.xtrim(f"{store.prefix}timeline", maxlen=keep, approximate=False)


def now_ms(store: Store) -> int:
    seconds, micros = store.redis.time()  # type: ignore[misc]
    return int(seconds * 1000 + micros // 1000)


# Reading


def test_what_happened_is_read_in_order_however_many_questions_that_takes(
    store: Store, timeline: Timeline, small_chunks: None
) -> None:
    ids = emit(store, *range(8))

    assert texts(timeline.read()) == list(range(8))
    assert texts(timeline.read(after=ids[2], before=ids[7])) == [3, 4, 5, 6]
    assert texts(timeline.read(limit=5)) == [0, 1, 2, 3, 4]
    assert texts(timeline.read(after=ids[3], limit=2)) == [4, 5]
    assert timeline.read(limit=0) == timeline.read(after=ids[7]) == []
    assert texts(timeline.latest(4)) == [4, 5, 6, 7]
    assert texts(timeline.latest(100)) == list(range(8))
    assert timeline.latest(0) == []


def test_an_event_says_when_where_and_what(store: Store, timeline: Timeline) -> None:
    began = StageStart(call=7, attempt=2, tier="cheap")
    at = tell(store, "stage.started", began, agent="a", run="r", workflow="w", stage="s", at=1_700_000_000.25)

    assert timeline.read() == [
        Event(
            id=at,
            kind="stage.started",
            at=1_700_000_000.25,
            namespace=store.namespace,
            agent="a",
            run="r",
            workflow="w",
            stage="s",
            data=began,
        )
    ]


def test_what_is_chosen_has_to_fit_altogether(store: Store, timeline: Timeline, small_chunks: None) -> None:
    emit(store, 1, 2, agent="a", run="x")
    emit(store, 3, agent="b", run="y")
    tell(store, "stage.started", StageStart(call=1), agent="a", run="x")
    emit(store, 4, 5, agent="a", run="y")

    chosen: dict[str, Any] = {"agent": "a", "kinds": "emit"}
    assert texts(timeline.read(**chosen)) == [1, 2, 4, 5]
    assert texts(timeline.read(**chosen, run="y")) == texts(timeline.latest(2, **chosen)) == [4, 5]
    assert texts(timeline.read(**chosen, limit=3)) == [1, 2, 4]
    assert texts(timeline.read(kinds={"stage", "signal.sent"})) == ["stage.started"]
    assert timeline.read(kinds=()) == []


def test_an_empty_timeline_has_nothing(timeline: Timeline) -> None:
    assert timeline.read() == timeline.latest(5) == []
    assert timeline.stats().last_id is None
    assert timeline.trim(keep=0) == 0


def test_what_was_dropped_is_said_and_never_left_out_in_silence(store: Store, timeline: Timeline) -> None:
    """§5.12: at the beginning, and behind what is gone; not behind what is still there."""
    ids = emit(store, *range(8))
    drop(store, 3)

    gap, *left = timeline.read()
    assert (gap.kind, gap.data) == ("timeline.gap", Gap(why="the oldest 5 were dropped"))
    assert texts(left) == [5, 6, 7]
    assert texts(timeline.read(after=ids[3])) == ["timeline.gap", 5, 6, 7]
    assert texts(timeline.read(after=ids[5])) == texts(timeline.read(after=gap.id))[1:] == [6, 7]
    assert texts(timeline.read(before=ids[4])) == ["timeline.gap"]
    assert texts(timeline.latest(3)) == [5, 6, 7]
    assert texts(timeline.latest(4)) == ["timeline.gap", 5, 6, 7]
    assert texts(timeline.read(agent="nobody")) == ["timeline.gap"]
    assert [event.id for event in timeline.read()] == sorted((event.id for event in timeline.read()), key=_place)


def _place(event_id: str) -> list[int]:
    return [int(part) for part in event_id.split("-")]


def test_what_is_dropped_while_it_is_read_is_said(
    store: Store, timeline: Timeline, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.12: between two questions others may write so much that the next ones are gone."""
    emit(store, *range(8))
    asked, post = [], chronicle.post

    def slowly(hub: Any, commands: Any) -> Any:
        asked.append(commands)
        if len(asked) == 2:
            drop(store, 2)
        return post(hub, commands)

    monkeypatch.setattr(chronicle, "post", slowly)
    assert texts(timeline.read()) == [0, 1, 2, "timeline.gap", 6, 7]


def test_all_may_be_dropped(store: Store, timeline: Timeline) -> None:
    ids = emit(store, 1, 2)

    assert timeline.trim(keep=0) == 2
    assert texts(timeline.read()) == texts(timeline.latest(3)) == ["timeline.gap"]
    assert timeline.read(after=ids[-1]) == []


@pytest.mark.parametrize("bad", ["yesterday", "", "1-2-3", "1-", "-1", "²", "\u0661"])
def test_what_is_no_id_is_refused(timeline: Timeline, bad: str) -> None:
    with pytest.raises(UsageError, match=r"after is .*; it must be the id of an event, such as 17"):
        timeline.read(after=bad)
    with pytest.raises(UsageError, match=r"before is "):
        timeline.read(before=bad)
    with pytest.raises(UsageError, match=r"after is "):
        timeline.follow(after=bad)
    assert open_hubs()[0].watches.cursor == ""


@pytest.mark.parametrize("kinds", ["singal", ["stage", "singal"]])
def test_a_kind_that_does_not_exist_is_refused(timeline: Timeline, kinds: Any) -> None:
    """It would select nothing, for ever."""
    for read in (timeline.read, timeline.follow, lambda **chosen: timeline.latest(1, **chosen)):
        with pytest.raises(UsageError, match=r"there is no kind 'singal'; there are agent\.aborted, "):
            read(kinds=kinds)


def test_a_timeline_that_has_expired_is_a_gap_for_those_who_go_on(store: Store, timeline: Timeline) -> None:
    """§5.12: it has dropped nothing, but what they know is not there any more."""
    ids = emit(store, 1)
    store.redis.delete(f"{store.prefix}timeline")
    wait_until(lambda: now_ms(store) > int(ids[0].partition("-")[0]), what="the first id is none of a new timeline's")
    emit(store, 2, 3)

    assert texts(timeline.read(after=ids[0])) == ["timeline.gap", 2, 3]
    assert texts(timeline.read()) == [2, 3]


def test_malformed_entries_are_skipped_alone_counted_and_logged(
    store: Store, timeline: Timeline, caplog: pytest.LogCaptureFixture
) -> None:
    """§5.12."""
    emit(store, 1)
    for entry in ({"at": 5}, {"kind": "emit", "at": "soon"}, {"kind": "emit", "at": 5, "data": "{"}, {"kind": b"\xff"}):
        store.redis.xadd(f"{store.prefix}timeline", entry)  # type: ignore[arg-type]
    emit(store, 2)

    assert texts(timeline.read()) == [1, 2]
    assert [record.message for record in caplog.records] == [
        f"event=timeline.entries_skipped namespace={store.namespace} count=4"
    ]


def test_a_key_of_another_type_tells_nothing(store: Store, timeline: Timeline) -> None:
    """§5.12."""
    store.redis.set(f"{store.prefix}timeline", "x", ex=60)

    assert timeline.read() == timeline.latest(3) == []
    assert timeline.stats().count == timeline.trim(keep=1) == 0


# How much there is


def test_stats_and_cap(store: Store, timeline: Timeline) -> None:
    ids = emit(store, *range(5))
    drop(store, 2)
    found = timeline.stats()

    assert (found.count, found.cap, found.dropped) == (2, 100_000, 3)
    assert (found.first_id, found.last_id) == (ids[3], ids[4])
    assert found.size_bytes is None or found.size_bytes > 100

    timeline.set_cap(2_000)
    assert timeline.stats().cap == 2_000


def test_a_cap_holds_for_what_comes(store: Store, timeline: Timeline, peers: Any) -> None:
    """§5.12: what is kept is bounded, and that some was dropped is said."""
    timeline.set_cap(1_000)
    peer = peers.join("ann")
    for number in range(3_000):
        peer.member.recorder.note("emit", None, ("note", number))
    peer.leave()

    told = timeline.read()
    assert told[0].kind == "timeline.gap"
    assert told[-1].kind == "agent.ended"
    assert 1_000 <= timeline.stats().count < 1_300


@pytest.mark.parametrize("cap", [0, 999, 10_000_001])
def test_a_cap_that_makes_no_sense_is_refused(timeline: Timeline, cap: int) -> None:
    with pytest.raises(UsageError, match=r"cap is .*; it must be a number from 1,000 to 10,000,000"):
        timeline.set_cap(cap)
    with pytest.raises(UsageError, match="keep is -1; it must be a number of events from 0 up"):
        timeline.trim(keep=-1)


def test_a_number_of_events_below_0_is_refused(timeline: Timeline) -> None:
    with pytest.raises(UsageError, match="limit is -1; it must be a number of events from 0 up"):
        timeline.read(limit=-1)
    with pytest.raises(UsageError, match="count is -1; it must be a number of events from 0 up"):
        timeline.latest(-1)


# Following


def test_following_begins_now_or_behind_an_event(store: Store, timeline: Timeline, small_chunks: None) -> None:
    ids = emit(store, *range(8))
    with timeline.follow() as now, timeline.follow(after=ids[0]) as then, timeline.follow(after="0") as ever:
        assert now.last_id == ids[-1]
        emit(store, 8, 9)

        assert texts(_all(now)) == [8, 9]
        assert texts(_all(then)) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
        assert texts(_all(ever)) == list(range(10))
        assert now.last_id == then.last_id == ever.last_id
        assert now.next(0) == []


def _all(events: Any) -> list[Event]:
    found: list[Event] = []
    while told := events.next(0.2):
        found += told
    return found


def test_what_is_not_chosen_moves_the_place_on(store: Store, timeline: Timeline, small_chunks: None) -> None:
    with timeline.follow(after="0", agent="a") as events:
        emit(store, *range(7), agent="b")
        ids = emit(store, "mine", agent="a") + emit(store, "theirs", agent="b")

        assert texts(_all(events)) == ["mine"]
        assert events.last_id == ids[-1]


def test_iterating_ends_after_its_time(store: Store, timeline: Timeline) -> None:
    emit(store, 1, 2)

    assert texts(list(timeline.follow(after="0", timeout=0.05))) == [1, 2]


def test_who_stops_iterating_goes_on_behind_the_event_at_hand(store: Store, timeline: Timeline) -> None:
    """§5.12: also where more came together with it."""
    ids = emit(store, 1, 2, 3)
    with timeline.follow(after="0", timeout=0.05) as events:
        for event in events:
            assert events.last_id == event.id
            if event.id == ids[1]:
                break

    with timeline.follow(after=events.last_id, timeout=0.05) as events:
        assert texts(list(events)) == [3]
        assert events.last_id == ids[2]


def test_a_follower_that_does_not_come_is_told_all_the_same(
    store: Store, timeline: Timeline, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., Any]
) -> None:
    """§5.12: what is kept for it is bounded; the rest is read again, once."""
    monkeypatch.setattr(watch, "_MOST", 5)
    with timeline.follow() as events:
        emit(store, 0)
        assert texts(events.next(5)) == [0]
        last = emit(store, *range(1, 20))[-1]
        wait_until(lambda: open_hubs()[0].watches.cursor == last)
        emit(store, 20)

        assert texts(_all(events)) == list(range(1, 21))


def test_what_was_dropped_before_it_was_read_is_said(
    store: Store, timeline: Timeline, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., Any]
) -> None:
    """§5.12."""
    monkeypatch.setattr(watch, "_MOST", 5)
    with timeline.follow() as events:
        emit(store, 0)
        assert texts(events.next(5)) == [0]
        last = emit(store, *range(1, 20))[-1]
        wait_until(lambda: open_hubs()[0].watches.cursor == last)
        drop(store, 3)

        assert texts(_all(events)) == ["timeline.gap", 17, 18, 19]


def test_a_link_that_breaks_loses_nothing_and_repeats_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., Any]
) -> None:
    """§5.11: and while the store is away, that is said."""
    proxy = Proxy(store.address)
    with Timeline(proxy.url, store.namespace) as timeline, timeline.follow() as events:
        emit(store, 1)
        assert texts(events.next(5)) == [1]
        with monkeypatch.context() as impatient:
            impatient.setattr(link, "GRACE", 0.05)
            proxy.die()
            emit(store, 2, 3)
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                events.next(5)
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                events.next(0)
        proxy.revive()
        emit(store, 4)

        found: list[Event] = []
        wait_until(lambda: found.extend(events.next(1)) or len(found) >= 3)
        assert texts(found) == [2, 3, 4]
    proxy.close()


def test_a_store_that_answers_too_late_loses_nothing(
    store: Store, timeline: Timeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.11: the link is still there, and what could not be read is read by the next call."""
    chunk = chronicle.Chronicle.chunk

    async def too_late(*_: Any) -> Any:
        raise StoreUnavailable("the store did not answer")

    ids = emit(store, 1, 2)
    with timeline.follow(after=ids[0]) as events:
        monkeypatch.setattr(chronicle.Chronicle, "chunk", too_late)
        with pytest.raises(StoreUnavailable):
            events.next(0)
        monkeypatch.setattr(chronicle.Chronicle, "chunk", chunk)

        assert texts(events.next(0)) == [2]


def test_a_store_that_takes_too_long_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """§5.11: over a link that stands there is no other error to tell."""
    with closing(Proxy(store.address)) as proxy, Timeline(proxy.url, store.namespace) as timeline:
        timeline.stats()
        proxy.stall()
        monkeypatch.setattr(link, "GRACE", 0.05)
        with pytest.raises(StoreUnavailable) as caught:
            timeline.stats()
        assert str(caught.value) == f"the store {timeline.store_label} did not answer within 0.05 s"


def test_a_timeline_that_was_begun_anew_is_told_from_its_beginning(
    store: Store, timeline: Timeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without its data, or whose clock was set back while nobody wrote, begins with smaller ids."""
    with timeline.follow(after=f"{2**52}-0") as events:
        emit(store, 1)

        told = _all(events)
        assert texts(told) == ["timeline.gap", 1]
        assert told[0].data == Gap(why="the timeline was begun anew")


def test_without_a_store_nothing_is_followed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """§5.11."""
    monkeypatch.setattr(link, "GRACE", 0.05)
    proxy = Proxy(store.address)
    with Timeline(proxy.url, store.namespace) as timeline:
        proxy.die()
        with pytest.raises(StoreUnavailable):
            timeline.follow()
        with pytest.raises(StoreUnavailable):
            timeline.read()
    proxy.close()


# Async


async def test_async_code_has_the_same(store: Store) -> None:
    async with AsyncTimeline(store.url, store.namespace) as timeline:
        ids = emit(store, *range(4))
        assert texts(await timeline.read(after=ids[0], limit=2)) == [1, 2]
        assert texts(await timeline.latest(1, kinds="emit")) == [3]
        assert (await timeline.stats()).count == 4
        await timeline.set_cap(5_000)
        assert await timeline.trim(keep=3) == 1
        async with await timeline.follow(after=ids[1], timeout=0.1) as events:
            assert [(event.id, events.last_id) async for event in events] == [(ids[2], ids[2]), (ids[3], ids[3])]
            assert events.last_id == ids[3]
            waiting = asyncio.create_task(events.next(5))
            emit(store, 4)
            assert texts(await waiting) == [4]


async def test_tasks_that_begin_together_share_one_connection(store: Store) -> None:
    """And the last one closes it."""
    timeline = AsyncTimeline(store.url, store.namespace)

    await asyncio.gather(*(timeline.stats() for _ in range(5)))
    await timeline.close()

    assert open_hubs() == []
