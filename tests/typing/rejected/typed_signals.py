"""What mypy --strict must reject of declared signal types; every marked line, and no other."""

from attrs import frozen

from attune_dsl import AsyncSignals, Signal, Signals, SignalType
from attune_dsl.testing import fake_signal


@frozen
class Decision:
    approved: bool


@frozen
class Question:
    text: str


APPROVED = SignalType("approved", Decision)
ASKED = SignalType("asked", Question)
COUNTED = SignalType("counted", int)

SignalType("approved")  # E: call-arg
SignalType(Decision, "approved")  # E: arg-type
SignalType("approved", Decision(True))  # E: arg-type
APPROVED.name = "other"  # E: final


def send(signals: Signals) -> None:
    signals.send(APPROVED, "deploy", Question("?"))  # E: misc
    signals.send(APPROVED, "deploy", {"approved": True})  # E: misc
    signals.send(APPROVED, payload=Question("?"))  # E: misc
    signals.send(APPROVED, "deploy")  # E: call-overload
    signals.send(APPROVED)  # E: call-overload
    signals.send(COUNTED, "deploy", "3")  # E: misc
    signals.send(Decision, "deploy", Decision(True))  # E: call-overload
    signals.broadcast(APPROVED, Question("?"))  # E: misc
    signals.broadcast(APPROVED)  # E: call-overload


def print_question(signal: Signal[Question]) -> None:
    print(signal.payload.text)


def receive(signals: Signals) -> None:
    signal = signals.wait(APPROVED)
    if signal:
        print(signal.payload.text)  # E: attr-defined
        print_question(signal)  # E: arg-type
    either = signals.wait(APPROVED, ASKED)
    if either:
        print(either.payload.text)  # E: union-attr
    signals.wait(Decision)  # E: call-overload
    signals.wait(APPROVED, sources=["a"])  # E: call-overload
    signals.collect(APPROVED, count="2")  # E: call-overload


async def awaited(signals: AsyncSignals) -> None:
    await signals.send(APPROVED, "deploy", Question("?"))  # E: misc
    signal = await signals.check(APPROVED)
    if signal:
        print(signal.payload.text)  # E: attr-defined


fake_signal(APPROVED, Question("?"))  # E: misc
