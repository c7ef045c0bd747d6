"""Whether this process is traced with OpenTelemetry, and its trace context as text. Imports nothing of OpenTelemetry.

A process is traced once it has set a tracer provider: that is how an application says that it wants spans, and
``opentelemetry-instrument`` says it for those that say nothing. The library never sets one. Whoever set one has
imported the API, so where that is not imported there is nothing to look for.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer, TracerProvider

_API: Final = "opentelemetry.trace"
_OFF: Final = frozenset({"0", "false", "no", "off"})

_made: tuple[TracerProvider, Tracer | None] | None = None
"""The tracer of the provider that was found last."""


def tracer() -> Tracer | None:
    """Return the tracer of the provider that the process has set; ``None`` if it is not traced.

    ``ATTUNE_TRACE=0`` says that it shall not be.
    """
    global _made  # noqa: PLW0603 (a provider makes a new tracer each time it is asked)
    api = sys.modules.get(_API)
    if api is None or not hasattr(api, "get_tracer_provider"):  # another thread is importing it at this moment
        return None
    try:
        provider: TracerProvider = api.get_tracer_provider()
    except Exception:  # the environment names a provider that cannot be loaded, as the API has logged
        return None
    made = _made
    if made is None or made[0] is not provider:
        made = _made = (provider, _make(provider))
    return None if made[1] is None or os.environ.get("ATTUNE_TRACE", "").strip().lower() in _OFF else made[1]


def _make(provider: TracerProvider) -> Tracer | None:
    from opentelemetry.trace import NoOpTracer, NoOpTracerProvider, ProxyTracerProvider

    if isinstance(provider, ProxyTracerProvider | NoOpTracerProvider):
        return None
    made = provider.get_tracer("attune_dsl")
    return None if isinstance(made, NoOpTracer) else made


def traceparent() -> str:
    """Return the current trace context as the W3C writes it (``00-<trace>-<span>-<flags>``); empty for none."""
    if tracer() is None:
        return ""
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}" if context.is_valid else ""
