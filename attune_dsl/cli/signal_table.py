"""The table of what waits for an agent, and the lines that say what was sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from attune_dsl.cli import formats
from attune_dsl.cli.columns import Column, table
from attune_dsl.cli.signal_json import encode
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
    return "" if signal.payload is None else formats.one_line(encode(signal.payload).decode(), _PAYLOAD)


def sent_line(signal: Signal, *, unicode: bool, dated: bool = True) -> str:
    """Describe a signal on one line, for ``tail``; not ``dated`` it begins with the time of day alone."""
    moment = formats.moment(signal.sent_at)
    way = f"{signal.source} {'→' if unicode else '->'} {signal.target or 'all'}"
    facts = [formats.one_line(fact, 300) for fact in (signal.type, way, payload(signal)) if fact]
    return "  ".join([moment if dated else moment.partition(" ")[2], *facts])
