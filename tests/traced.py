"""What a traced process has told: the spans of OpenTelemetry's in-memory exporter, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class Traced:
    """A tracer provider, and the spans that have ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.start_time or 0)

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    def parent(self, span: ReadableSpan) -> str | None:
        """The name of the span above; ``None`` for none, which is not the same as one that has not ended."""
        if span.parent is None:
            return None
        (above,) = [other for other in self.spans if span_id(other) == span.parent.span_id]
        return above.name

    def tree(self) -> set[tuple[str | None, str]]:
        """Every pair of a span and what is above it, by name."""
        return {(self.parent(span), span.name) for span in self.spans}


def span_id(span: ReadableSpan) -> int:
    return context(span).span_id


def trace_id(span: ReadableSpan) -> int:
    return context(span).trace_id


def context(span: ReadableSpan) -> Any:
    assert span.context is not None
    return span.context


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """The span's own attributes, without ``attune.`` before their names."""
    return {name.removeprefix("attune."): value for name, value in (span.attributes or {}).items()}


def linked(span: ReadableSpan) -> list[int]:
    return [link.context.span_id for link in span.links]
