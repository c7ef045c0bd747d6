"""A declared type says what the payload is; a name says nothing of it, and a plain ``Signal`` is one of anything."""

from typing import Any, assert_type

from attrs import frozen

from attune_dsl import AsyncSignals, Collected, NoSignal, Signal, Signals, SignalType
from attune_dsl.testing import FakeSignals, fake_signal


@frozen
class Decision:
    approved: bool


@frozen
class Question:
    text: str


APPROVED = SignalType("approved", Decision)
ASKED = SignalType("asked", Question)
COUNTED = SignalType("counted", int)
NAMED = SignalType("named", list[str])
assert_type(APPROVED, SignalType[Decision])
assert_type(NAMED, SignalType[list[str]])
assert_type(APPROVED.name, str)


def receive(signals: Signals) -> None:
    signal = signals.wait(APPROVED, source="boss", timeout=5, require_alive=True)
    assert_type(signal, Signal[Decision] | NoSignal)
    if signal:
        assert_type(signal.payload, Decision)
    assert_type(signals.check(APPROVED), Signal[Decision] | None)
    assert_type(signals.peek(APPROVED, source="boss"), Signal[Decision] | None)
    assert_type(signals.pending(APPROVED), list[Signal[Decision]])
    assert_type(signals.collect(APPROVED, count=2), Collected[Decision])
    for each in signals.collect(APPROVED, sources=["a"]):
        assert_type(each.payload, Decision)
    for each in signals.listen(APPROVED):
        assert_type(each.payload, Decision)
    assert_type(signals.clear(APPROVED, "other"), int)


def receive_one_of_many(signals: Signals) -> None:
    two = signals.wait(APPROVED, ASKED)
    assert_type(two, Signal[Decision | Question] | NoSignal)
    if two and isinstance(two.payload, Question):
        assert_type(two.payload.text, str)
    assert_type(signals.wait(APPROVED, ASKED, COUNTED), Signal[Decision | Question | int] | NoSignal)
    assert_type(signals.collect(APPROVED, ASKED, count=2), Collected[Decision | Question])
    assert_type(signals.wait(APPROVED, ASKED, COUNTED, NAMED), Signal[Any] | NoSignal)


def receive_by_name(signals: Signals) -> None:
    assert_type(signals.wait("approved"), Signal[Any] | NoSignal)
    assert_type(signals.wait(), Signal[Any] | NoSignal)
    assert_type(signals.wait(APPROVED, "abort"), Signal[Any] | NoSignal)
    assert_type(signals.check("approved", APPROVED), Signal[Any] | None)


def send(signals: Signals) -> None:
    assert_type(signals.send(APPROVED, "deploy", Decision(True), ttl=5, key="k"), str)
    signals.send(APPROVED, target="deploy", payload=Decision(True))
    signals.send(APPROVED, payload=Decision(True))
    signals.send(COUNTED, payload=3)
    signals.broadcast(APPROVED, Decision(True), late=False)
    signals.broadcast(NAMED, payload=["a"])


async def awaited(signals: AsyncSignals) -> None:
    assert_type(await signals.wait(APPROVED), Signal[Decision] | NoSignal)
    assert_type(await signals.wait(APPROVED, ASKED), Signal[Decision | Question] | NoSignal)
    assert_type(await signals.check("approved"), Signal[Any] | None)
    assert_type(await signals.collect(APPROVED, count=1), Collected[Decision])
    async for each in signals.listen(APPROVED, source="boss"):
        assert_type(each.payload, Decision)
    await signals.send(APPROVED, "deploy", Decision(True))
    await signals.broadcast(APPROVED, Decision(True))


def plain_annotations_keep_working(signal: Signal, collected: Collected, many: list[Signal]) -> Signal:
    """As they were written before signals had a type."""
    assert_type(signal.payload, Any)
    assert_type(collected.signals, tuple[Signal[Any], ...])
    return many[0]


def every_signal_of_a_type_is_one_of_a_wider_type(signal: Signal[Decision]) -> Signal[Decision | Question]:
    plain_annotations_keep_working(signal, Collected(signals=(signal,), wanted=1), [signal])
    return signal


def fakes() -> None:
    assert_type(fake_signal(APPROVED, Decision(True)), Signal[Decision])
    assert_type(fake_signal("approved", 3), Signal[Any])
    assert_type(FakeSignals({APPROVED: Decision(True)}).deliver(APPROVED, Decision(True)), Signal[Decision])
    FakeSignals({"approved": 3})
    FakeSignals({APPROVED: Decision(True), "other": 3})
