"""Fakes know declared signal types: what is sent is JSON, what is played back is what the receiver declares."""

from __future__ import annotations

from datetime import date
from typing import Any

import attrs
import pytest

from attune_dsl import (
    AsyncSignals,
    NoSignal,
    PayloadInvalid,
    Reason,
    Signal,
    Signals,
    SignalType,
    UsageError,
    stage,
)
from attune_dsl.testing import FakeAsyncSignals, FakeSignals, fake_signal


@attrs.frozen
class Decision:
    approved: bool
    on: date = date(2024, 1, 2)


APPROVED = SignalType("approved", Decision)
PLAIN = {"approved": True, "on": "2024-01-02"}
BAD = fake_signal("approved", {"approved": "yes"})


@stage
def decide(signals: Signals) -> bool:
    signal = signals.wait(APPROVED, "abort", timeout=60)
    if not signal:
        raise RuntimeError(signal.detail)
    signals.send(APPROVED, target=signal.source, payload=signal.payload)
    return bool(signal.payload.approved)


@stage
async def adecide(signals: AsyncSignals) -> bool:
    signal = await signals.wait(APPROVED)
    return bool(signal) and signal.payload.approved


@pytest.mark.parametrize(
    "waits",
    [
        {APPROVED: Decision(True)},
        {"approved": PLAIN},
        [fake_signal(APPROVED, Decision(True), source="boss")],
        [fake_signal("approved", PLAIN, source="boss")],
        {APPROVED: fake_signal(APPROVED, Decision(True), source="boss")},
    ],
)
async def test_however_it_is_given_a_receiver_gets_what_it_declares(waits: Any) -> None:
    fake = FakeSignals(waits, source="boss")

    assert await decide.acall(fake) is True
    assert await adecide(FakeAsyncSignals(waits)) is True

    assert [(sent.type, sent.target, sent.payload) for sent in fake.sent] == [("approved", "boss", PLAIN)]


def test_by_its_name_a_type_has_plain_json() -> None:
    fake = FakeSignals([fake_signal(APPROVED, Decision(True)) for _ in range(5)])

    assert fake.peek("approved").payload == PLAIN
    assert [each.payload for each in fake.pending()] == [PLAIN] * 5
    assert fake.wait("approved").payload == PLAIN
    assert fake.check().payload == PLAIN
    assert fake.collect("approved", count=1).signals[0].payload == PLAIN
    assert fake.clear(APPROVED) == 2


def test_a_fake_signal_is_what_a_receiver_gets_that_names_its_type() -> None:
    signal = fake_signal(APPROVED, Decision(False))

    assert (signal.type, signal.payload) == ("approved", Decision(False))
    assert FakeSignals().deliver(APPROVED, Decision(True)).payload == Decision(True)


def test_what_does_not_fit_is_skipped_alone(caplog: pytest.LogCaptureFixture) -> None:
    fake = FakeSignals([BAD, fake_signal(APPROVED, Decision(True)), BAD, fake_signal(APPROVED, Decision(False))])

    assert [each.payload.approved for each in fake.pending(APPROVED)] == [True, False]
    assert fake.peek(APPROVED).payload.approved is True
    assert len(fake.left) == 4
    assert fake.wait(APPROVED).payload.approved is True
    assert fake.check(APPROVED).payload.approved is False
    assert fake.left == []
    assert "is no Decision: $.approved: expected `bool`, got `str`" in caplog.messages[0]


def test_where_nothing_fits_a_wait_times_out() -> None:
    assert FakeSignals([BAD]).wait(APPROVED).reason is Reason.TIMEOUT
    assert FakeSignals([BAD]).check(APPROVED) is None
    assert FakeSignals([BAD]).collect(APPROVED, count=1).signals == ()


def test_a_no_signal_can_be_for_a_declared_type() -> None:
    nothing = NoSignal(reason=Reason.PEER_GONE, detail="gone")
    fake = FakeSignals({APPROVED: nothing})

    assert fake.wait("other").reason is Reason.TIMEOUT
    assert fake.wait(APPROVED) is nothing


def test_what_a_real_send_refuses_is_refused() -> None:
    fake = FakeSignals()

    with pytest.raises(PayloadInvalid, match=r"\$\.approved"):
        fake.send(APPROVED, target="x", payload=Decision("yes"))  # type: ignore[arg-type]
    with pytest.raises(PayloadInvalid, match="expected `Decision`, got `dict`"):
        fake.broadcast(APPROVED, PLAIN)
    with pytest.raises(PayloadInvalid):
        FakeSignals({APPROVED: PLAIN})
    with pytest.raises(UsageError, match="name it once"):
        fake.wait(APPROVED, "approved")
    assert fake.sent == []


def test_a_signal_that_was_made_by_hand_is_played_back_as_it_is() -> None:
    signal = fake_signal("approved", PLAIN)

    assert FakeSignals([signal]).wait("approved") is signal
    assert isinstance(signal, Signal)
