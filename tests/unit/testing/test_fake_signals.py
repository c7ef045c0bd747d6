"""``FakeSignals``: calling a stage as the plain function that it is."""

from __future__ import annotations

import pytest

from attune_dsl import (
    AsyncSignals,
    BlockingCallInLoop,
    InvalidName,
    NoSignal,
    NotAJsonValue,
    Reason,
    Signal,
    Signals,
    UsageError,
    stage,
)
from attune_dsl.testing import FakeAsyncSignals, FakeSignals, Sent, fake_signal

TIMEOUT = NoSignal(reason=Reason.TIMEOUT, detail="scripted")


@stage
def announce(signals: Signals, artifact: str) -> str:
    signals.send("task_complete", target="deploy", payload={"artifact": artifact}, ttl=300)
    return artifact


@stage
async def artifact_ready(signals: AsyncSignals) -> str:
    signal = await signals.wait("task_complete", source="release", timeout=30)
    if not signal:
        raise RuntimeError(signal.reason)
    return str(signal.payload["artifact"])


def test_a_stage_that_sends_is_called_with_a_fake() -> None:
    fake = FakeSignals()

    assert announce(fake, "app.whl") == "app.whl"

    assert fake.sent == [
        Sent(id="fake.1", type="task_complete", target="deploy", payload={"artifact": "app.whl"}, ttl=300)
    ]


async def test_a_stage_that_waits_gets_what_the_fake_was_given() -> None:
    fake = FakeAsyncSignals({"task_complete": {"artifact": "app.whl"}}, source="release")

    assert await artifact_ready(fake) == "app.whl"

    assert fake.left == []


async def test_a_stage_that_waits_in_vain_times_out_at_once() -> None:
    with pytest.raises(RuntimeError, match="timeout"):
        await artifact_ready(FakeAsyncSignals())


def test_the_facade_is_the_real_one_for_type_checkers() -> None:
    fake = FakeSignals()

    assert announce.fn(fake.signals, "app.whl") == "app.whl"
    assert isinstance(fake.signals, Signals)
    assert isinstance(FakeAsyncSignals().signals, AsyncSignals)
    assert len(fake.sent) == 1


def test_broadcasts_are_recorded_beside_the_rest() -> None:
    fake = FakeSignals()

    fake.send("one", target="a")
    fake.send("all")
    fake.broadcast("now", payload=(1, 2), late=False)

    assert [sent.type for sent in fake.sent] == ["one", "all", "now"]
    assert [(sent.type, sent.payload, sent.late) for sent in fake.broadcasts] == [
        ("all", None, True),
        ("now", [1, 2], False),
    ]


def test_a_key_makes_two_sends_one() -> None:
    fake = FakeSignals()

    assert fake.send("paid", target="a", key="order-1") == fake.send("paid", target="a", key="order-1")
    assert fake.send("paid", target="a", key="order-2") == "fake.2"
    assert len(fake.sent) == 2


def test_waits_take_the_oldest_that_fits_and_leave_the_rest() -> None:
    fake = FakeSignals([fake_signal("a", 1), fake_signal("b", 2, source="x"), fake_signal("b", 3)])

    assert fake.peek("b").payload == 2
    assert fake.wait("b").payload == 2
    assert fake.check("b", source="x") is None
    assert fake.wait().payload == 1
    assert [signal.payload for signal in fake.pending()] == [3]
    assert fake.clear("a", "b") == 1
    assert fake.check("b") is None
    assert fake.left == []


def test_a_no_signal_answers_the_wait_that_gets_to_it() -> None:
    fake = FakeSignals([TIMEOUT, fake_signal("a")])

    assert fake.wait("a") is TIMEOUT
    assert isinstance(fake.wait("a"), Signal)


def test_a_no_signal_can_be_for_one_type() -> None:
    fake = FakeSignals({"a": TIMEOUT, "b": fake_signal("b", "payload", source="x")})

    assert fake.wait("b").source == "x"
    assert fake.wait("a") is TIMEOUT


def test_a_signal_can_be_delivered_in_the_middle() -> None:
    fake = FakeSignals(source="boss")
    assert not fake.wait("go")

    delivered = fake.deliver("go", {"n": 1})

    assert fake.wait("go") is delivered
    assert delivered.source == "boss"


def test_collect_gathers_by_count_and_by_source() -> None:
    both = [fake_signal("c", source="a"), fake_signal("c", source="b")]

    assert list(FakeSignals(both).collect("c", count=2)) == both
    found = FakeSignals(both).collect("c", sources=["b", "x"])
    assert (found.signals, found.missing, found.reason) == ((both[1],), ("x",), Reason.TIMEOUT)
    with pytest.raises(UsageError, match=r"either count= .* or sources="):
        FakeSignals(both).collect("c")


def test_listen_ends_with_the_signals() -> None:
    fake = FakeSignals([fake_signal("n", 1), fake_signal("n", 2)])

    assert [signal.payload for signal in fake.listen("n")] == [1, 2]


async def test_async_listen_ends_with_the_signals() -> None:
    fake = FakeAsyncSignals([fake_signal("n", 1), fake_signal("n", 2)])

    assert [signal.payload async for signal in fake.listen("n")] == [1, 2]


def test_without_a_store_it_behaves_like_a_run_without_one() -> None:
    fake = FakeSignals({"a": 1}, available=False)

    assert fake.send("x", target="y") == ""
    assert fake.wait("a").reason is Reason.UNAVAILABLE
    assert fake.check("a") is None
    assert fake.clear() == 0
    assert fake.sent == []


def test_what_a_real_send_refuses_is_refused() -> None:
    fake = FakeSignals()

    with pytest.raises(NotAJsonValue, match=r"\$\.when"):
        fake.send("x", target="y", payload={"when": object()})
    with pytest.raises(InvalidName, match="signal type"):
        fake.send("", target="y")
    with pytest.raises(InvalidName, match="target"):
        fake.send("x", target="")
    with pytest.raises(InvalidName, match="key"):
        fake.send("x", target="y", key="\n")
    with pytest.raises(InvalidName, match="source"):
        fake.wait("x", source="")
    for ttl in (0, 1e15):
        with pytest.raises(ValueError, match="ttl"):
            fake.send("x", target="y", ttl=ttl)
    for wait in (fake.wait, lambda timeout: fake.barrier("x", 2, timeout)):
        with pytest.raises(ValueError, match="timeout is -1"):
            wait(timeout=-1)
    with pytest.raises(UsageError, match=r"collect\(sources=\) takes a list"):
        fake.collect("x", sources="me")
    with pytest.raises(UsageError, match=r"barrier\(parties=\) takes a number"):
        fake.barrier("x", parties="me")
    assert fake.sent == []


def test_a_payload_that_cannot_be_sent_cannot_be_played_back() -> None:
    with pytest.raises(NotAJsonValue):
        FakeSignals({"a": {1: "keys are strings"}})


def test_a_sequence_of_something_else_says_what_to_write() -> None:
    with pytest.raises(TypeError, match="fake_signal"):
        FakeSignals([{"type": "a"}])  # type: ignore[list-item]


async def test_a_blocking_fake_on_the_thread_of_a_loop_is_refused_as_in_a_run() -> None:
    with pytest.raises(BlockingCallInLoop):
        FakeSignals().wait("a")


def test_an_endless_wait_is_ended() -> None:
    @stage
    def stubborn(signals: Signals) -> Signal | NoSignal:
        while not (signal := signals.wait("never")):
            pass
        return signal

    with pytest.raises(UsageError, match="endless loop"):
        stubborn(FakeSignals())


def test_a_fake_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="sends"):
        _ = FakeSignals().sends


def test_a_fake_knows_require_alive() -> None:
    """It answers as it would without; who has to be alive must be said, as anywhere."""
    fake = FakeSignals({"done": 1}, source="ann")

    assert fake.wait("done", source="ann", require_alive=True)
    assert fake.wait("done", source="ann", require_alive=True) == fake.wait("done", source="ann")
    with pytest.raises(UsageError, match="has to name a source"):
        fake.wait("done", require_alive=True)


async def test_an_awaitable_fake_can_say_that_its_source_is_gone() -> None:
    gone = NoSignal(reason=Reason.PEER_GONE, detail="agent 'ann' was lost")
    fake = FakeAsyncSignals([gone])

    assert await fake.wait("done", source="ann", require_alive=True) == gone
