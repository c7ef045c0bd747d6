"""What is kept for clients that are a little behind, and the forms in which they are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("starlette")

from attune_dsl.coordination.selection import ALL, Selection
from attune_dsl.dashboard import ring as ring_module
from attune_dsl.dashboard.frames import EVENT_STREAM, WEB_SOCKET
from attune_dsl.dashboard.ring import Batch, News, Ring, batches, encoded
from attune_dsl.events import Emit, Event, Gap

STAGES = Selection(kinds=frozenset({"stage"}))


def event(number: int, kind: str = "emit", text: str = "", **of_whom: str) -> Event:
    data = Gap(why=text) if kind == "timeline.gap" else Emit(kind="note", data=text)
    return Event(id=f"{number}-0", kind=kind, at=float(number), namespace="team", data=data, **of_whom)


def batch(*numbers: int, text: str = "") -> Batch:
    return Batch(encoded([event(number, text=text) for number in numbers]))


def ids(frame: Any) -> list[str]:
    return [each["id"] for each in json.loads(frame)["events"]]


def blocks(frame: bytes) -> list[dict[str, str]]:
    """Read messages as the standard says: fields on lines, an empty line after each message."""
    found = []
    for part in frame.decode().split("\n\n")[:-1]:
        lines = [line for line in part.split("\n") if not line.startswith(":")]
        found.append(dict(line.split(": ", 1) for line in lines))
    return found


def test_a_message_has_the_events_as_exports_have_them() -> None:
    told = json.loads(WEB_SOCKET.events(encoded([event(1, text="<b>\u2028\u202e"), event(2)]), "3-0"))

    assert (told["type"], told["last_id"]) == ("events", "3-0")
    assert [each["id"] for each in told["events"]] == ["1-0", "2-0"]
    assert told["events"][0] | {"data": {"kind": "note", "data": "<b>\u2028\u202e"}} == told["events"][0]


def test_a_stream_has_each_event_under_its_id() -> None:
    """What is in an event ends no message: JSON has no ends of lines."""
    told = blocks(EVENT_STREAM.events(encoded([event(1, text="\n\nid: 9-9\n\r\u2028"), event(2)]), "2-0"))

    assert [each["id"] for each in told] == ["1-0", "2-0"]
    assert json.loads(told[0]["data"])["data"]["data"] == "\n\nid: 9-9\n\r\u2028"


def test_a_stream_goes_on_behind_what_a_client_did_not_want() -> None:
    told = blocks(EVENT_STREAM.events(encoded([event(1)]), "7-0"))

    assert [(each["id"], "data" in each) for each in told] == [("1-0", True), ("7-0", False)]


@pytest.mark.parametrize(("name", "told", "field"), [("store", "away", "state"), ("closing", "too slow", "reason")])
def test_news_have_both_forms(name: str, told: str, field: str) -> None:
    assert json.loads(WEB_SOCKET.news(name, told)) == {"type": name, field: told}
    assert blocks(EVENT_STREAM.news(name, told)) == [
        {"event": name, "data": json.dumps({field: told}).replace(" ", "", 1)}
    ]


def test_where_a_client_is_up_to_date_is_told_in_both_forms() -> None:
    assert json.loads(WEB_SOCKET.live("5-0")) == {"type": "live", "last_id": "5-0"}
    assert json.loads(WEB_SOCKET.mark("5-0")) == {"type": "events", "events": [], "last_id": "5-0"}
    assert blocks(EVENT_STREAM.live("5-0")) == [{"id": "5-0", "event": "live", "data": '{"last_id":"5-0"}'}]
    assert blocks(EVENT_STREAM.mark("5-0")) == [{"id": "5-0"}]


def test_a_batch_is_encoded_once_and_assembled_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = ring_module.event_json
    monkeypatch.setattr(ring_module, "event_json", lambda each: asked.append(each.id) or real(each))
    (told,) = batches([event(1, "stage.started"), event(2), event(3, "stage.ended")])

    frames = [
        [told.frame(form, wanted) for _ in range(50)] for form in (WEB_SOCKET, EVENT_STREAM) for wanted in (ALL, STAGES)
    ]

    assert asked == ["1-0", "2-0", "3-0"]
    assert [len(set(map(id, same))) for same in frames] == [1, 1, 1, 1]
    assert [ids(frames[0][0]), ids(frames[1][0])] == [["1-0", "2-0", "3-0"], ["1-0", "3-0"]]


def test_a_batch_keeps_few_forms() -> None:
    """Each client may want something else; what is kept for them is bounded."""
    told = batch(1, 2)
    for number in range(200):
        told.frame(WEB_SOCKET, Selection(agent=f"agent-{number}"))

    assert len(told._frames) == ring_module._FRAMES


def test_a_batch_without_anything_for_a_client_is_nothing_and_its_rest_is_what_follows() -> None:
    told = batch(1, 2, 3)

    assert told.frame(WEB_SOCKET, STAGES) is None
    assert ids(told.rest(WEB_SOCKET, ALL, "2-0")) == ["3-0"]
    assert told.rest(WEB_SOCKET, ALL, "3-0") is None


def test_gaps_are_told_to_everybody() -> None:
    (told,) = batches([event(1, "timeline.gap", "the oldest were dropped"), event(2)])
    assert ids(told.frame(WEB_SOCKET, Selection(agent="release"))) == ["1-0"]


def test_much_comes_in_several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_module, "BATCH_BYTES", 1_000)
    told = batches([event(number, text="x" * 300) for number in range(20)])

    assert len(told) > 3
    assert [each.id for one in told for each, _ in one.events] == [f"{number}-0" for number in range(20)]
    assert max(one.size for one in told) < 2_000
    assert batches([]) == []


def numbers(kept: Ring) -> Sequence[int]:
    return range(kept.begin, kept.end)


def test_a_ring_forgets_the_oldest_by_number_and_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_module, "EVENTS", 4)
    kept = Ring()
    for number in range(1, 8):
        kept.append(batch(number))
    assert (list(numbers(kept)), kept.last_id) == ([3, 4, 5, 6], "7-0")
    assert ids(kept[3].frame(WEB_SOCKET, ALL)) == ["4-0"]

    monkeypatch.setattr(ring_module, "BYTES", 10)
    kept.append(batch(8, 9))
    assert list(numbers(kept)) == [7], "a single batch may be larger"
    kept.append(News("store", "away"))
    assert list(numbers(kept)) == [8], "what is larger than all that may be kept goes first"
    assert kept.last_id == "9-0"


async def test_who_waits_for_news_is_woken_by_it_and_by_no_other() -> None:
    kept = Ring()
    second = asyncio.create_task(kept.news(1, 10))
    first = asyncio.create_task(kept.news(0, 10))
    await asyncio.sleep(0)
    kept.append(batch(1))
    assert await first is True
    assert not second.done()
    kept.append(batch(2))
    assert await second is True
    assert await kept.news(2, 0.01) is False
