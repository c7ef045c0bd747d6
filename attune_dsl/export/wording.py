"""What happened, in a line for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from attune_dsl.events import Event

LONGEST: Final = 200
"""Characters that are said of what users wrote."""

_AGES: Final = 1e9
_ROUNDED: Final = 0.9995
"""What would be shown as a thousand of the smaller unit is one of the larger."""


def say(event: Event) -> str:
    """Return what happened in one short line, without when and to whom. It may hold whatever users wrote."""
    words = _WORDS.get(event.kind)
    return words(event, event.data) if words else event.kind


def seconds(value: float) -> str:
    """Return a duration as people read it: ``250 µs``, ``3 ms``, ``1.2 s``, ``4 min 5 s``."""
    minute, hour = 60, 3600
    if not 0 <= value < _AGES:  # nan and infinity fail this, too
        return "?"
    if value < _ROUNDED / 1000:
        return f"{value * 1e6:.3g} µs"
    if value < _ROUNDED:
        return f"{value * 1000:.3g} ms"
    if value < minute:
        return f"{value:.3g} s"
    whole = round(value)
    if value < hour:
        return f"{whole // minute} min {whole % minute} s"
    return f"{whole // hour} h {whole % hour // minute} min"


def short(text: str, longest: int = LONGEST) -> str:
    """Return text cut to a length."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _told(value: Any) -> str:
    if isinstance(value, str):
        return short(value)
    try:
        return short(msgspec.json.encode(value).decode(errors="replace"))
    except (msgspec.MsgspecError, OverflowError, RecursionError, TypeError, ValueError):
        return "…"


def _because(text: str | None) -> str:
    return f": {short(text)}" if text else ""


def _item(data: Any) -> str:
    return "" if data.item is None else f" [{data.item}]"


def _stage(event: Event) -> str:
    return short(event.stage or "stage", 60)


def _names(data: Any) -> str:
    return short(", ".join(data.names)) or ("any signal" if data.what == "signal" else data.what)


def _run_ended(_: Event, data: Any) -> str:
    return f"run {data.status} after {seconds(data.duration)}{_because(data.error)}"


def _stage_started(event: Event, data: Any) -> str:
    attempt = f", attempt {data.attempt}" if data.attempt > 1 else ""
    tier = f" on {short(data.tier, 30)}" if data.tier else ""
    return f"{_stage(event)}{_item(data)} started{tier}{attempt}"


def _progressed(event: Event, data: Any) -> str:
    where = f"{_stage(event)} " if event.stage else ""
    fraction = "" if data.fraction is None else f"{data.fraction:.0%}"
    return where + (": ".join(part for part in (fraction, short(data.note or "")) if part) or "progressed")


def _retried(event: Event, data: Any) -> str:
    return f"{_stage(event)}{_item(data)} attempt {data.attempt} failed{_because(data.error)}"


def _stage_ended(event: Event, data: Any) -> str:
    attempts = f" ({data.attempts} attempts)" if data.attempts > 1 else ""
    return f"{_stage(event)}{_item(data)} {data.status} in {seconds(data.duration)}{attempts}{_because(data.error)}"


def _sent(_: Event, data: Any) -> str:
    return f"sent {short(data.type)} to {short(data.target) if data.target else 'all'}"


def _received(_: Event, data: Any) -> str:
    waited = "" if data.waited is None else f" after {seconds(data.waited)}"
    again = ", redelivered" if data.redelivered else ""
    return f"took {short(data.type)} from {short(data.source)}{waited}{again}"


def _wait_started(_: Event, data: Any) -> str:
    sources = f" from {short(', '.join(data.sources))}" if data.sources else ""
    limit = "" if data.timeout is None else f", at most {seconds(data.timeout)}"
    return f"waits for {_names(data)}{sources}{limit}"


def _wait_ended(_: Event, data: Any) -> str:
    return f"waited {seconds(data.waited)} for {_names(data)}: {data.outcome}{_because(data.detail)}"


def _lost(_: Event, data: Any) -> str:
    return "lost: its lease lapsed" + ("" if data.progress is None else f" at {data.progress:.0%}")


def _gap(_: Event, data: Any) -> str:
    missing = "events are missing" if data.dropped is None else f"{data.dropped:,} events are missing"
    return f"{missing}{_because(data.why)}"


_WORDS: Final[dict[str, Callable[[Event, Any], str]]] = {
    "run.started": lambda event, _: f"run of {short(event.workflow or '?')} started",
    "run.ended": _run_ended,
    "stage.started": _stage_started,
    "stage.progressed": _progressed,
    "stage.retried": _retried,
    "stage.ended": _stage_ended,
    "signal.sent": _sent,
    "signal.received": _received,
    "signal.expired": lambda _, data: f"{short(data.type)} from {short(data.source)} expired, not taken",
    "wait.started": _wait_started,
    "wait.ended": _wait_ended,
    "agent.joined": lambda _, data: f"joined as incarnation {data.epoch}",
    "agent.stalled": lambda _, __: "stalled: alive without progress",
    "agent.resumed": lambda _, __: "resumed",
    "agent.aborted": lambda _, data: f"asked to stop by {short(data.by) or '?'}{_because(data.reason)}",
    "agent.lost": _lost,
    "agent.fenced": lambda _, __: "fenced: another owner took the id over",
    "agent.ended": lambda _, data: f"left as {data.status}",
    "emit": lambda _, data: f"{short(data.kind)}: {_told(data.data)}",
    "timeline.gap": _gap,
}
