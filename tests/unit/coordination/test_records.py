"""From what the store has to records: what is malformed is left out alone (§5.12)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from attune_dsl.coordination import records
from attune_dsl.model import AgentRecord, AgentStatus, StageStatus

NOW = 2_000_000.0
DEEP = b"[" * 100_000
SOUND: dict[str, bytes] = {
    "epoch": b"7",
    "status": b"running",
    "display_name": b"Ann",
    "workflow": b"flow",
    "run_id": b"r1",
    "stage": b"build",
    "attempt": b"2",
    "tier": b"cheap",
    "progress": b"0.25",
    "note": b"half way",
    "activity": b"sent job bob",
    "cost": b"1.5",
    "error": b"",
    "exit_code": b"",
    "abort_reason": b"too late",
    "abort_by": b"ops",
    "stage_started_at": b"1900000",
    "stalled_at": b"1950000",
    "stall_after": b"30000",
    "progress_at": b"1950000",
    "started_at": b"1800000",
    "ended_at": b"",
    "host": b"here",
    "pid": b"77",
    "stages": b'["plan","build"]',
    "metadata": b'{"team":"blue","n":[1,2]}',
    "ttl": b"15000",
    "keep": b"3600000",
    "beat_at": b"",
    "extended": b"",
}


def read(lease: float | None = NOW + 10_000, member: str = "ann#7", **fields: bytes | None) -> AgentRecord | None:
    values = SOUND | fields
    return records.record(member, lease, [values.get(name) for name in records.FIELDS], NOW)


def test_a_record_has_all_that_the_store_has() -> None:
    record = read()

    assert record is not None
    assert record == AgentRecord(
        agent_id="ann",
        epoch=7,
        status=AgentStatus.RUNNING,
        display_name="Ann",
        workflow="flow",
        run_id="r1",
        stage="build",
        attempt=2,
        tier="cheap",
        progress=0.25,
        note="half way",
        activity="sent job bob",
        cost=1.5,
        abort="too late (asked by ops)",
        stage_started_at=1_900.0,
        stalled_at=1_950.0,
        stall_after=30.0,
        beat_age=5.0,
        progress_age=50.0,
        started_at=1_800.0,
        host="here",
        pid=77,
        stages=("plan", "build"),
        metadata={"team": "blue", "n": [1, 2]},
    )
    assert record.state == "stalled"


@pytest.mark.parametrize(
    ("ended_at", "keep", "until"),
    [
        (b"1900000", b"60000", 1_960.0),
        (b"", b"60000", None),
        (b"1900000", b"", None),
        (b"1900000", b"long", None),
        (b"soon", b"60000", None),
        (b"1900000", b"9" * 400, None),
    ],
)
def test_one_that_has_ended_is_kept_until_its_time_is_over(ended_at: bytes, keep: bytes, until: float | None) -> None:
    record = read(None, ended_at=ended_at, keep=keep)

    assert record is not None
    assert until == record.kept_until


def test_every_field_is_asked_for_that_a_record_is_made_of() -> None:
    assert sorted(SOUND) == sorted(records.FIELDS)


@pytest.mark.parametrize(
    ("reason", "by", "abort"),
    [
        (b"too late", b"ops", "too late (asked by ops)"),
        (b"too late", b"", "too late"),
        (b"too late", None, "too late"),
        (b"", b"ops", None),
        (None, b"ops", None),
        (b"\xff", b"\xfe", "\ufffd (asked by \ufffd)"),
    ],
)
def test_an_abort_says_why_and_who_asked(reason: bytes | None, by: bytes | None, abort: str | None) -> None:
    """§5.9: an agent that was asked to stop shows why, and by whom if an agent or a person did."""
    record = read(abort_reason=reason, abort_by=by)

    assert record is not None
    assert record.abort == abort


def test_what_is_empty_or_missing_is_none() -> None:
    nothing = read(None, **dict.fromkeys(set(SOUND) - {"epoch"}, b""))

    assert nothing == read(None, **dict.fromkeys(set(SOUND) - {"epoch"}))
    assert nothing is not None
    assert nothing == AgentRecord(agent_id="ann", epoch=7, status=AgentStatus.RUNNING, metadata={})


@pytest.mark.parametrize("epoch", [None, b"", b"8", b"07", b"\xff"])
def test_of_another_incarnation_there_is_no_record(epoch: bytes | None) -> None:
    assert read(epoch=epoch) is None


def test_an_id_may_have_a_hash_sign() -> None:
    record = read(member="a#1#b#7")

    assert record is not None
    assert (record.agent_id, record.epoch) == ("a#1#b", 7)


@pytest.mark.parametrize("value", [b"x", b"nan", b"inf", b"9" * 5_000, b"\xff", b"1,5", b" "])
@pytest.mark.parametrize(
    "name",
    ["attempt", "progress", "cost", "exit_code", "pid", "stage_started_at", "stalled_at", "stall_after", "started_at"],
)
def test_a_number_that_is_none_is_left_out_alone(name: str, value: bytes) -> None:
    record = read(**{name: value})

    assert record is not None
    assert getattr(record, name) is None
    assert (record.agent_id, record.stage) == ("ann", "build")


@pytest.mark.parametrize("value", [b"9" * 400, b"-" + b"9" * 400])
@pytest.mark.parametrize("name", ["started_at", "stalled_at", "ended_at", "progress_at", "beat_at", "ttl", "progress"])
def test_a_number_beyond_all_bounds_is_left_out_alone(name: str, value: bytes) -> None:
    record = read(None, **{name: value})

    assert record is not None
    assert record.progress_age is None or name != "progress_at"


@pytest.mark.parametrize(("name", "given"), [("status", b"dancing"), ("status", b"\xff"), ("status", b"RUNNING")])
def test_a_status_that_is_none_is_running(name: str, given: bytes) -> None:
    record = read(**{name: given})

    assert record is not None
    assert record.status is AgentStatus.RUNNING


@pytest.mark.parametrize(
    ("value", "stages"),
    [(b"[1", ()), (b"7", ()), (b"[1,null]", ("1", "None")), (DEEP, ()), (b"\xff", ()), (b'"ab"', ("a", "b"))],
)
def test_stages_that_are_none(value: bytes, stages: tuple[str, ...]) -> None:
    record = read(stages=value)

    assert record is not None
    assert stages == record.stages


@pytest.mark.parametrize("value", [b"{", b"7", b"[1]", b"null", DEEP, b'{"a":' * 100_000, b"\xff", b'{"a":1e999}'])
def test_metadata_that_is_no_object_is_empty(value: bytes) -> None:
    record = read(metadata=value)

    assert record is not None
    assert record.metadata == {}


def test_text_that_is_no_unicode_is_readable_all_the_same() -> None:
    record = read(note=b"caf\xe9")

    assert record is not None
    assert record.note == "caf\ufffd"


# How old the last beat is


@pytest.mark.parametrize(
    ("lease", "fields", "age"),
    [
        (NOW + 10_000, {}, 5.0),
        (NOW + 15_000, {}, 0.0),
        (NOW + 90_000, {}, 0.0),
        (NOW - 5_000, {}, 20.0),
        (NOW + 10_000, {"ttl": b"long"}, 0.0),
        (NOW + 10_000.5, {"extended": b"2010000.5", "beat_at": b"1900000"}, 100.0),
        (NOW + 10_000, {"extended": b"2009000.5", "beat_at": b"1900000"}, 5.0),
        (NOW + 10_000.5, {"extended": b"2010000.5"}, None),
        (None, {"beat_at": b"1900000"}, 100.0),
        (None, {}, None),
    ],
)
def test_the_age_of_the_last_beat(lease: float | None, fields: dict[str, bytes], age: float | None) -> None:
    """A lease that was only extended proves nothing; of one that ended properly it is not said."""
    record = read(lease, **fields)

    assert record is not None
    assert age == record.beat_age


@pytest.mark.parametrize(
    ("lease", "extended", "found"),
    [(5.5, b"5.5", True), (5.0, b"5.5", False), (None, b"5.5", False), (5.0, None, False)],
)
def test_whether_a_lease_was_only_extended(lease: float | None, extended: bytes | None, found: bool) -> None:
    values = [*([None] * (len(records.FIELDS) - 1)), extended]
    assert records.FIELDS[-1] == "extended"
    assert records.is_extended(lease, values) is found


# What stages did

ROW: dict[str, Any] = {
    "status": "failed",
    "calls": 3,
    "failures": 1,
    "attempts": 5,
    "tier": "cheap",
    "started_at": 1.5,
    "duration": 2.5,
    "error": "ValueError: no",
}


def test_a_row_says_what_a_stage_did() -> None:
    summary = records.summary("bäcken".encode(), json.dumps(ROW).encode())

    assert summary is not None
    assert {name: getattr(summary, name) for name in ROW} == {**ROW, "status": StageStatus.FAILED}
    assert summary.name == "bäcken"


@pytest.mark.parametrize("name", sorted(ROW))
def test_a_row_that_lacks_something_is_left_out(name: str) -> None:
    assert records.summary(b"x", json.dumps({key: value for key, value in ROW.items() if key != name}).encode()) is None


@pytest.mark.parametrize(
    "row", [b"", b"{", b"null", b"7", b"[]", b'"x"', DEEP, b"\xff", json.dumps({**ROW, "status": "dancing"}).encode()]
)
def test_a_row_that_is_none_is_left_out(row: bytes) -> None:
    assert records.summary(b"x", row) is None


@pytest.mark.parametrize(
    "change", [{"calls": "x"}, {"calls": None}, {"calls": []}, {"started_at": {}}, {"duration": "x"}]
)
def test_a_row_with_a_number_that_is_none_is_left_out(change: dict[str, Any]) -> None:
    assert records.summary(b"x", json.dumps({**ROW, **change}).encode()) is None


def test_what_should_be_text_is_shown_as_text() -> None:
    summary = records.summary(b"\xff", json.dumps({**ROW, "tier": 7, "error": None}).encode())

    assert summary is not None
    assert (summary.name, summary.tier, summary.error) == ("\ufffd", "7", None)


# Replies of both protocols


@pytest.mark.parametrize(
    "reply",
    [{b"a": b"1", b"b": b"2"}, [b"a", b"1", b"b", b"2"], [[b"a", b"1"], [b"b", b"2"]]],
    ids=["RESP3 map", "RESP2", "pairs"],
)
def test_names_with_values(reply: Any) -> None:
    assert dict(records.pairs(reply)) == {b"a": b"1", b"b": b"2"}


@pytest.mark.parametrize("reply", [None, [], {}, Exception("WRONGTYPE")])
def test_where_there_is_nothing_there_are_no_pairs(reply: Any) -> None:
    assert list(records.pairs(reply)) == []
