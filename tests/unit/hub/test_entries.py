"""From stream entries to signals, one at a time; what is wrong with one is wrong with it alone (§5.12)."""

from __future__ import annotations

import pytest

from attune_dsl.hub import entries
from attune_dsl.hub.entries import EntryReader
from attune_dsl.model import Signal
from attune_dsl.store import codec

LATER = 4_000_000_000_000


@pytest.fixture
def reader() -> EntryReader:
    return EntryReader()


def entry(order: int, *, target: str | None = "me", late: str = "1", sent: int = 1_000) -> list[bytes]:
    """What a stream holds, as a list of names and values."""
    head = f"{order} {sent} {LATER} {late} hub.1.{order}"
    return [b"head", head.encode(), b"signal", codec.encode_envelope("job", "boss", target, {"n": order})]


def test_a_mail_entry(reader: EntryReader) -> None:
    """Every field of the signal, and where it lies."""
    found = reader.mail("me", reader.fields(entry(7)) | {b"at": b"5-1"}, died_at=0)

    assert found is not None
    assert found.signal == Signal(
        id="hub.1.7",
        type="job",
        source="boss",
        target="me",
        payload={"n": 7},
        sent_at=1.0,
        expires_at=LATER / 1000,
        order=7,
    )
    assert (found.at, found.size, found.expires_ms) == ("5-1", len(entry(7)[3]), LATER)


@pytest.mark.parametrize(("died_at", "redelivered"), [(0, False), (999, False), (1_000, True), (2_000, True)])
def test_what_an_incarnation_that_died_may_have_taken(reader: EntryReader, died_at: int, redelivered: bool) -> None:
    """§5.7: sent while it lived."""
    found = reader.mail("me", reader.fields(entry(7)) | {b"at": b"5-1"}, died_at)

    assert found is not None
    assert found.signal.redelivered is redelivered


@pytest.mark.parametrize(("late", "epoch", "is_seen"), [("1", 9, True), ("0", 9, False), ("0", 6, True)])
def test_a_broadcast_and_the_newcomer(reader: EntryReader, late: str, epoch: int, is_seen: bool) -> None:
    """§5.4: ``late=False`` is for those who joined before it was sent."""
    found = reader.broadcast("me", epoch, reader.fields(entry(7, target=None, late=late)), died_at=0)

    assert (found is not None) is is_seen
    assert reader.skipped == 0


def test_an_agents_own_broadcast_is_not_for_it(reader: EntryReader) -> None:
    """§5.4: and it is not counted as malformed."""
    assert reader.broadcast("boss", 1, reader.fields(entry(7, target=None)), died_at=0) is None
    assert reader.skipped == 0


def test_a_targeted_signal_among_the_broadcasts_is_skipped(reader: EntryReader) -> None:
    """§5.2: also where it is addressed to this agent."""
    assert reader.broadcast("me", 1, reader.fields(entry(7)), died_at=0) is None
    assert reader.skipped == 1


def test_a_look_returns_mail_and_broadcasts(reader: EntryReader) -> None:
    """Whatever is malformed is left out, counted once, and not counted again by the next look."""
    bad = [b"head", b"?"]
    reply = [b"5", b"8", [[b"1-1", entry(7)], [b"1-2", bad]], [[b"1-1", entry(8, target=None)], [b"1-3", bad]]]

    for _ in range(2):
        found = reader.look(reply, "me", epoch=1, died_at=0)
        assert [(one.signal.order, one.at) for one in found] == [(7, "1-1"), (8, None)]
        assert reader.skipped == 2


def test_a_look_believes_no_order_above_the_counter(reader: EntryReader) -> None:
    """§5.12: it would let the agent take all that follows for known already."""
    reply = [b"5", b"7", [[b"1-1", entry(7)], [b"1-2", entry(8)]], [[b"1-3", entry(9, target=None)]]]

    assert [one.signal.order for one in reader.look(reply, "me", epoch=1, died_at=0)] == [7]
    assert reader.skipped == 2
    assert reader.credible_order == 10_007


def test_what_is_remembered_of_malformed_entries_is_bounded(
    reader: EntryReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.12: a stream full of them fills no memory."""
    monkeypatch.setattr("attune_dsl.hub.entries._REMEMBERED", 5)

    for n in range(12):
        reader.skip("me", {b"at": b"%d-1" % n}, "bad")

    assert len(reader._malformed) <= 5
    assert reader.skipped == 12


def test_a_payload_that_does_not_fit_is_counted_and_logged_once(
    reader: EntryReader, caplog: pytest.LogCaptureFixture
) -> None:
    """However often its receiver looks; for each receiver."""
    found = reader.mail("me", reader.fields(entry(7)) | {b"at": b"5-1"}, died_at=0)
    assert found is not None

    for agent_id in ("me", "me", "you"):
        reader.unfit(agent_id, found.signal, "x" * 10_000)

    assert reader.skipped == 2
    assert len(caplog.messages) == 2
    assert "signal.skipped" in caplog.messages[0]
    assert "agent_id=me" in caplog.messages[0]
    assert "source=boss" in caplog.messages[0]
    assert len(caplog.messages[0]) < 1_000


def test_what_does_not_fit_is_not_remembered_for_ever(reader: EntryReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "_REMEMBERED", 3)
    found = reader.mail("me", reader.fields(entry(7)) | {b"at": b"5-1"}, died_at=0)
    assert found is not None

    for n in range(10):
        reader.unfit(f"agent-{n}", found.signal, "wrong")

    assert len(reader._unfit) <= 3
