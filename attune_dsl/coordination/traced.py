"""Signal operations as spans, by OpenTelemetry's conventions for messaging. Used only where the process is traced.

The ``send`` span is what the signal carries. A wait is a ``receive`` span where the receiver is, linked to the senders
of what came. Each signal that was taken is a ``process`` span under its sender's, so that both are in one trace, linked
to the ``receive`` span; it lasts until the code that took it takes the next one, or is done.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry.trace import NonRecordingSpan, Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from attune_dsl import spans
from attune_dsl.coordination.operations import Operations
from attune_dsl.coordination.signal_type import Named
from attune_dsl.model import Collected, NoSignal, Signal

BROADCAST: Final = "broadcast"
"""The destination of what is sent to all: the stream of that name."""


class TracedOperations:
    """Makes spans of the operations that send, wait and take; the others pass through."""

    def __init__(self, operations: Operations, tracer: Tracer, agent_id: str, namespace: str) -> None:
        self._operations = operations
        self._tracer = tracer
        self._agent_id = agent_id
        self._who = {"messaging.system": "attune", "attune.agent_id": agent_id, "attune.namespace": namespace}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._operations, name)

    async def send(self, type_: Named, target: str | None, payload: Any, *, ttl: float | None, key: str | None) -> str:
        """Store a signal that carries the context of its span."""
        with self._sending(type_, target) as span:
            return _sent(span, await self._operations.send(type_, target, payload, ttl=ttl, key=key))

    async def broadcast(self, type_: Named, payload: Any, *, ttl: float | None, late: bool, key: str | None) -> str:
        """Like :meth:`send`, for all."""
        with self._sending(type_, None) as span:
            return _sent(span, await self._operations.broadcast(type_, payload, ttl=ttl, late=late, key=key))

    async def wait(self, types: Sequence[Named], **how: Any) -> Signal | NoSignal:
        """Take a signal; the span is the wait."""
        with self._receiving(types) as span:
            got = await self._operations.wait(types, **how)
            if isinstance(got, NoSignal):
                span.set_attribute("attune.reason", got.reason.value)
            else:
                self._took(span, got)
            return got

    async def collect(self, types: Sequence[Named], **how: Any) -> Collected:
        """Take many signals; the span is the wait for all of them."""
        with self._receiving(types) as span:
            got = await self._operations.collect(types, **how)
            span.set_attribute("messaging.batch.message_count", len(got))
            if got.reason is not None:
                span.set_attribute("attune.reason", got.reason.value)
            self._took(span, *got)
            return got

    async def check(self, types: Sequence[Named], *, source: str | None) -> Signal | None:
        """Take a signal that is there. There is a span only if there was one: checks come often, and find nothing."""
        began = time.time_ns()
        got = await self._operations.check(types, source=source)
        if got is not None:
            with self._receiving(types, began) as span:
                self._took(span, got)
        return got

    @contextmanager
    def _sending(self, type_: Named, target: str | None) -> Iterator[Span]:
        name = _text(type_)
        attributes = self._attributes("send", BROADCAST if target is None else target, name)
        span = spans.start(self._tracer, f"send {name}", attributes, kind=SpanKind.PRODUCER)
        with spans.current(span):
            yield span

    @contextmanager
    def _receiving(self, types: Sequence[Named], began: int | None = None) -> Iterator[Span]:
        names = " or ".join(map(_text, types)) or "any signal"
        attributes = self._attributes("receive", self._agent_id)
        span = spans.start(self._tracer, f"receive {names}", attributes, kind=SpanKind.CLIENT, start_time=began)
        try:
            yield span
        except BaseException as error:
            spans.end(span, error)
            raise
        spans.end(span)

    def _took(self, span: Span, *signals: Signal) -> None:
        spans.processed()
        for signal in signals:
            sender = spans.remote(signal.traceparent)
            if len(signals) == 1:
                span.set_attributes(_of(signal))
            if sender is None:
                continue
            span.add_link(sender, _of(signal))
            where = BROADCAST if signal.target is None else signal.target
            processing = spans.start(
                self._tracer,
                f"process {signal.type}",
                self._attributes("process", where) | _of(signal),
                kind=SpanKind.CONSUMER,
                context=set_span_in_context(NonRecordingSpan(sender)),
                links=(sender, span.get_span_context()),
            )
            spans.processing(processing)

    def _attributes(self, operation: str, destination: str, type_: str | None = None) -> dict[str, spans.Attribute]:
        attributes: dict[str, spans.Attribute] = {
            **self._who,
            "messaging.operation.name": operation,
            "messaging.operation.type": operation,
            "messaging.destination.name": destination,
        }
        return attributes if type_ is None else attributes | {"attune.signal.type": type_}


def _text(type_: Named) -> str:
    return type_ if isinstance(type_, str) else str(getattr(type_, "name", type_))


def _of(signal: Signal) -> dict[str, spans.Attribute]:
    return {
        "messaging.message.id": signal.id,
        "attune.signal.type": signal.type,
        "attune.signal.source": signal.source,
        "attune.signal.redelivered": signal.redelivered,
    }


def _sent(span: Span, signal_id: str) -> str:
    if signal_id:
        span.set_attribute("messaging.message.id", signal_id)
    else:
        span.set_attribute("error.type", "unconfirmed")
        span.set_status(Status(StatusCode.ERROR, "the store did not confirm the signal"))
    return signal_id
