"""What an event says in plain words, and how its line is marked and coloured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attune_dsl import events
from attune_dsl.cli import formats, style
from attune_dsl.cli.errors import either
from attune_dsl.events import Event
from attune_dsl.model import AgentStatus

_ID: Final = 8
"""Characters of a run's id that people are shown."""

_LONG: Final = 2_000
"""Characters of the longest text; a terminal shows less of it."""
_PAYLOAD: Final = 200

_MARKS: Final = {
    "run.started": style.Sign("▶", ">", "cyan"),
    "stage.started": style.Sign("●", "*", "cyan"),
    "stage.progressed": style.Sign("·", ".", "cyan"),
    "stage.retried": style.SIGNS["retrying"],
    "signal.sent": style.Sign("→", ">", "magenta"),
    "signal.received": style.Sign("←", "<", "magenta"),
    "signal.expired": style.Sign("×", "x", "yellow"),  # noqa: RUF001 (a multiplication sign, as a sign)
    "wait.started": style.SIGNS["waiting"],
    "agent.joined": style.Sign("+", "+", "dim"),
    "agent.ended": style.Sign("–", "-", "dim"),  # noqa: RUF001 (an en dash, as a sign)
    "agent.stalled": style.SIGNS["stalled"],
    "agent.resumed": style.Sign("●", "*", "cyan"),
    "agent.aborted": style.SIGNS["aborted"],
    "agent.lost": style.SIGNS["lost"],
    "agent.fenced": style.SIGNS["lost"],
    "emit": style.Sign("»", '"', "default"),
    "timeline.gap": style.Sign("…", "~", "yellow"),
}
_OTHER: Final = style.Sign("·", ".", "default")
_WAIT_ENDED: Final = style.Sign("◌", "~", "blue")
_GOOD: Final = frozenset({"received", "released"})


def mark(event: Event) -> style.Sign:
    """Return the sign and the colour of an event: by its kind, and where something ended by how."""
    match event.data:
        case events.RunEnd(status=status) | events.StageEnd(status=status):
            return style.SIGNS.get(status, _OTHER)
        case events.WaitEnd(outcome=outcome):
            return _WAIT_ENDED if outcome in _GOOD else _WAIT_ENDED._replace(colour="yellow")
        case _:
            return _MARKS.get(event.kind, _OTHER)


def words(event: Event) -> str:
    """Return what happened, on one line without control characters, as the end of a sentence about agent and stage."""
    say: Callable[[Any], str] = _WORDS.get(type(event.data), _unknown)
    text = _NEWS[event.kind] if event.kind in _NEWS else say(event.data)
    if isinstance(event.data, events.RunStart) and event.run:
        text = f"run {short(event.run)} of {event.workflow or 'a workflow'} {text}"
    if isinstance(event.data, events.Unknown):
        text = f"{event.kind} {text}"
    return formats.one_line(text, _LONG)


def short(run_id: str) -> str:
    """Return as much of a run's id as people are shown."""
    return formats.one_line(run_id)[:_ID]


_NEWS: Final = {
    "agent.stalled": "stands still: no progress",
    "agent.resumed": "moves again",
    "agent.fenced": "has lost its agent id: it was taken over",
}


def _run_started(data: events.RunStart) -> str:
    return f"started, planned: {', '.join(data.plan)}" if data.plan else "started"


def _run_ended(data: events.RunEnd) -> str:
    cost = f", cost {formats.cost(data.cost)}" if data.cost else ""
    return f"run {_how(data.status)} {_after(data.duration)}{cost}{_because(data.error)}"


def _stage_started(data: events.StageStart) -> str:
    attempt = f"attempt {data.attempt} " if data.attempt > 1 else ""
    return f"{attempt}started{_item(data.item)}{f' ({data.tier})' if data.tier else ''}"


def _stage_progressed(data: events.StageProgress) -> str:
    return ": ".join(part for part in (formats.percent(data.fraction), data.note) if part) or "moves"


def _stage_retried(data: events.StageRetry) -> str:
    pause = formats.duration(data.pause)
    return f"attempt {data.attempt}{_item(data.item)} failed, again in {pause}{_because(data.error)}"


def _stage_ended(data: events.StageEnd) -> str:
    if data.status == "skipped":
        return "was skipped"
    attempts = f" after {data.attempts} attempts" if data.attempts > 1 else ""
    return f"{_how(data.status)}{_item(data.item)} {_after(data.duration)}{attempts}{_because(data.error)}"


def _signal_sent(data: events.SignalSent) -> str:
    payload = f"  {_json(data.payload)}" if data.has_payload and data.payload is not None else ""
    return f"sent {data.type} to {data.target or 'all'}{payload}"


def _signal_received(data: events.SignalReceived) -> str:
    waited = f" after {formats.duration(data.waited)}" if data.waited is not None else ""
    return f"received {data.type} from {data.source}{waited}{' (redelivered)' if data.redelivered else ''}"


def _signal_expired(data: events.SignalExpired) -> str:
    what = f"{data.type} from {data.source}" if data.type else "a signal"
    return f"never took {what}: it expired"


def _wait_started(data: events.WaitStart) -> str:
    limit = "" if data.timeout is None else f", {_limit(data.timeout)} at most"
    sources = f" from {either(data.sources)}" if data.sources else ""
    return f"waits {_awaited(data.what, data.names)}{sources}{limit}"


def _wait_ended(data: events.WaitEnd) -> str:
    took = formats.duration(data.waited)
    detail = f": {data.detail}" if data.detail else ""
    if data.outcome in _GOOD:
        return f"waited {took} {_awaited(data.what, data.names)}{detail}"
    return f"waited {took} {_awaited(data.what, data.names)} in vain, {data.outcome}{detail}"


def _agent_lost(data: events.AgentLoss) -> str:
    beat = "" if data.beat_at is None else f": no beat since {formats.moment(data.beat_at).partition(' ')[2]}"
    progress = "" if data.progress is None else f", it was at {formats.percent(data.progress)}"
    return f"is lost{beat}{progress}"


def _emit(data: events.Emit) -> str:
    said = data.data if isinstance(data.data, str) else _json(data.data)
    return f"{data.kind}: {said}"


def _gap(data: events.Gap) -> str:
    count = "events" if data.dropped is None else f"{data.dropped:,} {'event' if data.dropped == 1 else 'events'}"
    return f"{count} missing here: {data.why}"


def _unknown(data: Any) -> str:
    fields: Mapping[str, Any] = data.fields if isinstance(data, events.Unknown) else {}
    return "  ".join(f"{name}={value if isinstance(value, str) else _json(value)}" for name, value in fields.items())


_WORDS: Final[Mapping[type, Callable[[Any], str]]] = {
    events.RunStart: _run_started,
    events.RunEnd: _run_ended,
    events.StageStart: _stage_started,
    events.StageProgress: _stage_progressed,
    events.StageRetry: _stage_retried,
    events.StageEnd: _stage_ended,
    events.SignalSent: _signal_sent,
    events.SignalReceived: _signal_received,
    events.SignalExpired: _signal_expired,
    events.WaitStart: _wait_started,
    events.WaitEnd: _wait_ended,
    events.AgentJoin: lambda data: "joined",
    events.AgentAbort: lambda data: f"was asked to stop{f' by {data.by}' if data.by else ''}: {data.reason}",
    events.AgentLoss: _agent_lost,
    events.AgentEnd: lambda data: f"left as {data.status}",
    events.Emit: _emit,
    events.Gap: _gap,
}


def _how(status: str) -> str:
    return f"was {status}" if status in (AgentStatus.ABORTED, AgentStatus.CANCELLED) else status


def _after(duration: float) -> str:
    return f"in {formats.duration(duration)}"


def _because(error: str | None) -> str:
    return f": {error}" if error else ""


def _limit(seconds: float) -> str:
    """Return a time that somebody chose: mostly a round number, of which the clock has taken a little."""
    chosen = round(seconds, 2)
    return f"{chosen:g} s" if 1 <= chosen < 60 else formats.duration(seconds)  # noqa: PLR2004


def _item(item: int | None) -> str:
    return "" if item is None else f" [{item}]"


def _awaited(what: str, names: tuple[str, ...]) -> str:
    if what == "barrier":
        return f"at barrier {', '.join(names)}"
    return f"for {either(names) if names else 'any signal'}"


def _json(value: Any) -> str:
    import msgspec

    try:
        return formats.one_line(msgspec.json.encode(value).decode(), _PAYLOAD)
    except (msgspec.MsgspecError, OverflowError, RecursionError, TypeError, ValueError):
        return "…"
