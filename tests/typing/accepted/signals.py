"""``wait`` narrows: a signal in the true branch, the reason in the other."""

from typing import assert_type

from attune_dsl import AsyncSignals, NoSignal, Reason, Signal, Signals


def receive(signals: Signals) -> None:
    signal = signals.wait("task_complete", source="release", timeout=30)
    if signal:
        assert_type(signal, Signal)
        assert_type(signal.source, str)
        assert_type(signal.traceparent, str | None)
    else:
        assert_type(signal, NoSignal)
        assert_type(signal.reason, Reason)
    if not signal:
        raise RuntimeError(f"{signal.reason}: {signal.detail}")
    assert_type(signal, Signal)


def look(signals: Signals) -> None:
    found = signals.check("task_complete")
    if found:
        assert_type(found, Signal)
    else:
        assert_type(found, None)
    assert_type(signals.send("started"), str)


async def areceive(signals: AsyncSignals) -> None:
    signal = await signals.wait("a", "b", timeout=None)
    if signal:
        assert_type(signal, Signal)
    else:
        assert_type(signal, NoSignal)
    assert_type(await signals.send("started", target=None, ttl=300), str)
