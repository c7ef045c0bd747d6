"""Spans of OpenTelemetry that are current for a while. Imported only by processes that are traced.

Tracing stops nobody: what a sampler, a span processor or the text of an exception raises is logged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, TypeAlias

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from attune_dsl import log

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer

Attribute: TypeAlias = str | int | float | bool

_FLAGS: Final = 0b11
"""Sampled, and a random trace id; the others mean nothing yet."""

_processing: ContextVar[list[Span] | None] = ContextVar("attune_processing", default=None)
"""The spans of the signals that the code which runs is working on: they end with it, or when it takes others."""


def start(
    tracer: Tracer,
    name: str,
    attributes: Mapping[str, Attribute | None],
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    context: Context | None = None,
    links: Sequence[SpanContext] = (),
    start_time: int | None = None,
) -> Span:
    """Start a span under the current one, or under that of ``context``; attributes that are ``None`` are left out.

    ``start_time`` is in nanoseconds since the epoch.
    """
    try:
        return tracer.start_span(
            name,
            context,
            kind,
            {key: value for key, value in attributes.items() if value is not None},
            [Link(link) for link in links],
            start_time,
        )
    except Exception as error:
        _complain(error)
        return trace.INVALID_SPAN


def end(span: Span, error: BaseException | None = None, **attributes: Attribute | None) -> None:
    """End a span; with ``error`` as failed. The names of attributes are those after ``attune.``."""
    try:
        for name, value in attributes.items():
            if value is not None:
                span.set_attribute(f"attune.{name}", value)
        if error is not None:
            kind = type(error)
            name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
            span.set_attribute("error.type", name)
            span.set_status(Status(StatusCode.ERROR, _text(error)))
            span.record_exception(error)
    except Exception as wrong:
        _complain(wrong)
    try:
        span.end()
    except Exception as wrong:
        _complain(wrong)


def _text(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def _complain(error: Exception) -> None:
    log.warning("tracing.failed", error=_text(error))


class Current:
    """Makes a span the current one, and the home of what is taken meanwhile; entered at once, left by the same code."""

    __slots__ = ("_processing", "_taken", "_token", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self._taken: list[Span] = []
        self._processing = _processing.set(self._taken)
        self._token = otel.attach(trace.set_span_in_context(span))

    def leave(self, error: BaseException | None = None) -> None:
        """That code is done, or has failed; the span itself does not end."""
        _end_all(self._taken, error)
        with suppress(ValueError):  # a coroutine that nobody finished is closed in another context
            _processing.reset(self._processing)
            otel.detach(self._token)


@contextmanager
def current(span: Span, *, ends: bool = True) -> Iterator[None]:
    """Make the block belong to the span, which ends with it unless ``ends`` is false."""
    here = Current(span)
    try:
        yield
    except BaseException as error:
        here.leave(error)
        if ends:
            end(span, error)
        raise
    here.leave()
    if ends:
        end(span)


def processed() -> None:
    """What the code that runs has taken is done with."""
    _end_all(_processing.get() or [], None)


def _end_all(taken: list[Span], error: BaseException | None) -> None:
    with suppress(IndexError):  # another thread of the same stage may do so too
        while taken:
            end(taken.pop(), error)


def processing(span: Span) -> None:
    """The code that runs works on what it has taken; where that code has no span of its own, that is over at once."""
    spans = _processing.get()
    if spans is None:
        end(span)
    else:
        spans.append(span)


def remote(traceparent: str | None) -> SpanContext | None:
    """Return the span that a W3C traceparent names; ``None`` for anything that is none. Its form was checked."""
    if traceparent is None:
        return None
    _, trace_id, span_id, flags = traceparent.split("-")
    known = TraceFlags(int(flags, 16) & _FLAGS)
    found = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=known)
    return found if found.is_valid else None
