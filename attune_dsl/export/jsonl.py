"""Events as JSON Lines: for programs."""

from __future__ import annotations

from collections.abc import Sequence

from attune_dsl.events import Event
from attune_dsl.export.event_json import event_json


def jsonl(events: Sequence[Event]) -> bytes:
    """Return the events as JSON (:func:`event_json`), one a line, each line ended by a newline."""
    return b"".join(event_json(event) + b"\n" for event in events)
