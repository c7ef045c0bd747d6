"""The table of what waits for an agent, and the lines that say what was sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from rich.table import Table
from rich.text import Text

from attune_dsl.cli import formats
from attune_dsl.cli.columns import Column, table
from attune_dsl.cli.signal_json import encode, signal_object
from attune_dsl.events import Event, SignalSent
from attune_dsl.hub.mailbox import Entry
from attune_dsl.model import Signal

_COLUMNS: Final = (
    Column("type", 0, least=20),
    Column("source", 0, least=10),
    Column("to", 5),
    Column("age", 1, justify="right"),
    Column("expires in", 3, justify="right"),
    Column("size", 4, justify="right"),
    Column("payload", 2, least=8),
)
_PAYLOAD: Final = 200
"""Characters of a payload that people are shown at most."""


def signal_table(entries: Sequence[Entry], now: float, width: int) -> Table:
    """Build the table for ``width`` cells; ``now`` is in seconds since the epoch by the server's clock."""
    return table(_COLUMNS, [_cells(entry, now) for entry in entries], width)


def _cells(entry: Entry, now: float) -> list[Text]:
    signal = entry.signal
    texts = [
        (signal.type, "bold"),
        (signal.source, ""),
        ("" if signal.target else "all", "dim"),
        (formats.age(now - signal.sent_at), ""),
        (formats.age(signal.expires_at - now), ""),
        (formats.size(entry.size), "dim"),
        (payload(signal), "dim"),
    ]
    return [Text(formats.one_line(text), style=look) for text, look in texts]


def payload(signal: Signal) -> str:
    """Return a payload as JSON on one line, shortened; nothing for none."""
    return _shortened(signal.payload)


def _shortened(value: Any) -> str:
    return "" if value is None else formats.one_line(encode(value).decode(), _PAYLOAD)


class Told(NamedTuple):
    """A signal as ``tail`` shows it: ``text`` is what people see of its payload, ``facts`` what programs get."""

    sent_at: float
    type: str
    source: str
    target: str | None
    text: str
    facts: dict[str, Any]


def told_of(signal: Signal) -> Told:
    """Return a signal that stands in a mailbox, or in the broadcasts."""
    return Told(signal.sent_at, signal.type, signal.source, signal.target, payload(signal), signal_object(signal))


def told_sent(event: Event) -> Told | None:
    """Return the signal that the timeline tells of; ``None`` if an event is about something else."""
    sent = event.data
    if not isinstance(sent, SignalSent):
        return None
    source = event.agent or ""
    facts: dict[str, Any] = {"id": sent.id, "type": sent.type, "source": source, "target": sent.target}
    known = {"payload": sent.payload} if sent.has_payload else {}
    facts |= {**known, "sent_at": event.at, "size": sent.size}
    text = _shortened(sent.payload) if sent.has_payload else formats.size(sent.size)
    return Told(event.at, sent.type, source, sent.target, text, facts)


def sent_line(told: Told, *, unicode: bool, dated: bool = True) -> str:
    """Describe a signal on one line, for ``tail``; not ``dated`` it begins with the time of day alone."""
    moment = formats.moment(told.sent_at)
    way = f"{told.source} {'→' if unicode else '->'} {told.target or 'all'}"
    facts = [formats.one_line(fact, 300) for fact in (told.type, way, told.text) if fact]
    return "  ".join([moment if dated else moment.partition(" ")[2], *facts])
