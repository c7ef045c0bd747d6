"""Signals join the traces of their senders and receivers. The wire's field may hold anything, and then is ignored."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from opentelemetry.trace import NonRecordingSpan, SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from traced import attributes, context, linked, span_id, trace_id

from attune_dsl import AsyncSignals, Context, NoSignal, Runner, Signals, SignalType, stage, workflow
from attune_dsl.store import codec

if TYPE_CHECKING:
    from conftest import Store
    from peers import Peers
    from traced import Traced

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def written(context: Any) -> str:
    """The context as the library writes it that OpenTelemetry itself uses for requests."""
    carrier: dict[str, str] = {}
    span = set_span_in_context(NonRecordingSpan(context))
    TraceContextTextMapPropagator().inject(carrier, span)
    return carrier["traceparent"]


@stage
def produce(signals: Signals) -> str:
    return signals.send("done", target="consumer", payload=1)


@stage
async def consume(signals: AsyncSignals) -> Any:
    signal = await signals.wait("done", timeout=20)
    return signal.payload if signal else signal.detail


@workflow(heartbeat=True, coordination=True)
def producer() -> str:
    return produce()


@workflow(heartbeat=True, coordination=True)
async def consumer() -> Any:
    return await consume()


def test_producer_and_consumer_are_in_one_trace(store: Store, peers: Peers, traced: Traced) -> None:
    """§5.2: runs on two hubs; the process span is under the send span, and linked to where the consumer waited."""
    here, there = peers.elsewhere(), peers.elsewhere()
    with Runner(namespace=store.namespace) as runner:
        taking = runner.start(consumer.options(store=there))
        sent = runner.start(producer.options(store=here)).wait(20).unwrap()
        assert taking.wait(20).unwrap() == 1

    send, receive, process = (traced.one(f"{name} done") for name in ("send", "receive", "process"))
    assert [each.kind for each in (send, receive, process)] == [SpanKind.PRODUCER, SpanKind.CLIENT, SpanKind.CONSUMER]
    assert [traced.parent(each) for each in (send, receive, process)] == [
        "attempt produce",
        "attempt consume",
        "send done",
    ]
    assert trace_id(process) == trace_id(send) == trace_id(traced.one("run producer"))
    assert trace_id(receive) == trace_id(traced.one("run consumer")) != trace_id(send)
    assert linked(receive) == [span_id(send)]
    assert linked(process) == [span_id(send), span_id(receive)]
    assert process.parent is not None
    assert process.parent.is_remote
    attempt = traced.one("attempt consume")
    assert receive.end_time <= process.end_time <= attempt.end_time  # type: ignore[operator]
    for each in (send, receive, process):
        said = dict(each.attributes or {})
        assert said["messaging.system"] == "attune"
        assert said["messaging.operation.type"] == each.name.partition(" ")[0]
        assert said["messaging.destination.name"] == "consumer"
        assert said["messaging.message.id"] == sent


def test_a_script_is_traced_too(peers: Peers, traced: Traced) -> None:
    """§5.4: a broadcast is processed in the sender's trace by each that takes it; outside of runs at once."""
    sender, ann, bob = (peers.join(name, peers.elsewhere()) for name in ("sender", "ann", "bob"))
    with traced.provider.get_tracer("user").start_as_current_span("mine"):
        sender.signals.broadcast("news")
    assert ann.signals.wait("news", timeout=20)
    got = bob.signals.collect("news", count=1, timeout=20)

    send = traced.one("send news")
    assert traced.parent(send) == "mine"
    assert dict(send.attributes or {})["messaging.destination.name"] == "broadcast"
    assert [attributes(each)["agent_id"] for each in traced.named("process news")] == ["ann", "bob"]
    assert {traced.parent(each) for each in traced.named("process news")} == {"send news"}
    assert [each.traceparent for each in got] == [written(context(send))]


def test_a_wait_says_why_it_ended(peers: Peers, traced: Traced) -> None:
    """§5.5: without a signal there is no process span; a check that finds nothing is none at all."""
    me = peers.join("me")
    assert me.signals.wait("never", timeout=0).reason == "timeout"
    assert me.signals.check("never") is None

    (receive,) = traced.spans
    assert receive.name == "receive never"
    assert attributes(receive)["reason"] == "timeout"
    assert receive.status.status_code is StatusCode.UNSET


def test_a_cancelled_wait_ends_its_span(peers: Peers, traced: Traced) -> None:
    """§5.7: as failed."""

    async def scenario() -> None:
        me = await peers.ajoin("me")
        waiting = asyncio.create_task(me.async_signals.wait("never"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await me.aleave()

    asyncio.run(scenario())
    assert traced.one("receive never").status.status_code is StatusCode.ERROR


def test_a_send_that_is_not_confirmed_has_failed(peers: Peers, traced: Traced) -> None:
    """§5.11: nothing is raised; the span says it."""
    me = peers.join("me")
    signals = me.signals
    me.leave()
    assert signals.send("a", target="you") == ""
    assert attributes(traced.one("send a"))["error.type"] == "unconfirmed"


def test_what_was_taken_is_done_with_when_the_next_is_taken(store: Store, peers: Peers, traced: Traced) -> None:
    """§5.5: a stage that listens for ever keeps no more than one of them open."""
    source = peers.join("other", peers.elsewhere()).signals
    ended: list[int] = []

    @stage
    def listening(signals: Signals) -> None:
        for _ in signals.listen("job", timeout=0.2):
            ended.append(len(traced.named("process job")))

    @workflow(heartbeat=True, coordination=True, agent_id="worker")
    def worker() -> None:
        listening()

    for _ in range(3):
        source.send("job", target="worker")
    Runner(store=store.url, namespace=store.namespace).run(worker).unwrap()

    assert ended == [0, 1, 2]
    assert len(traced.named("process job")) == 3


def test_each_attempt_processes_what_it_takes(store: Store, peers: Peers, traced: Traced) -> None:
    """§5.7: what a failed attempt took was processed in vain, and is again by the next one."""
    Job = SignalType("job", int)  # noqa: N806 (as users write it)

    @stage(retries=1, backoff=0.001)
    def work(ctx: Context) -> int:
        signal = ctx.signals.check(Job)
        if not signal or ctx.attempt == 1:
            raise OSError("busy")
        return signal.payload

    @workflow(heartbeat=True, coordination=True, agent_id="worker")
    def worker() -> int:
        return work()

    peers.join("boss", peers.elsewhere()).signals.send(Job, target="worker", payload=3)
    assert Runner(store=store.url, namespace=store.namespace).run(worker).unwrap() == 3

    first, second = traced.named("process job")
    assert [each.status.description for each in (first, second)] == ["OSError: busy", None]
    assert [attributes(each)["signal.redelivered"] for each in (first, second)] == [False, True]
    assert {traced.parent(each) for each in (first, second)} == {"send job"}
    receives = traced.named("receive job")
    assert [linked(each)[1] for each in (first, second)] == [span_id(each) for each in receives]


def test_without_tracing_nothing_is_carried(peers: Peers) -> None:
    """§6: the field is left out."""
    ann, bob = peers.join("ann"), peers.join("bob")
    ann.signals.send("a", target="bob")
    got = bob.signals.wait("a", timeout=20)
    assert got
    assert got.traceparent is None
    assert b"traceparent" not in codec.encode_envelope("a", "ann", "bob", None)


@pytest.mark.parametrize(
    "found",
    [
        None,
        7,
        ["00"],
        {"trace": {}},
        "",
        "00",
        TRACEPARENT.upper(),
        f"{TRACEPARENT}\n",
        TRACEPARENT * 100,
        TRACEPARENT.replace("00-", "ff-", 1),
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
        "00-\u0660af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ],
)
def test_hostile_contexts_are_ignored(found: Any, store: Store, peers: Peers, traced: Traced) -> None:
    """§5.12: the signal is delivered, nothing is logged, and there is no process span."""
    ann, bob = peers.join("ann"), peers.join("bob", peers.elsewhere())
    assert ann.signals.send("a", target="bob", payload=1)
    key = f"{store.prefix}mail:bob"
    ((at, fields),) = store.redis.xrange(key)
    signal = msgspec.json.decode(fields[b"signal"]) | {"traceparent": found}
    assert signal["target"] == "bob"
    envelope = codec.decode_envelope(msgspec.json.encode(signal))
    assert envelope.payload == 1
    assert (envelope.trace or "")[:3] in {"", "00-"}
    bob.leave()
    fields[b"signal"] = msgspec.json.encode(signal)
    ttl = store.redis.pttl(key)
    store.redis.delete(key)
    store.redis.xadd(key, fields, id=at)
    store.redis.pexpire(key, ttl)

    again = peers.join("bob", peers.elsewhere())
    got = again.signals.wait("a", timeout=20)

    assert not isinstance(got, NoSignal)
    assert got.payload == 1
    assert again.hub.entries.skipped == 0
    assert traced.named("process a") == []
    assert linked(traced.one("receive a")) == []
