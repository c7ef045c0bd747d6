"""When events happened, so that those of one millisecond can be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from attune_dsl.events import Event

DAY: Final = 86_400.0
"""Seconds that an event may have happened before or after it was written down, to be believed."""

_STEP: Final = 1e-6
_DIGITS: Final = 14
"""Of the milliseconds that a calendar can still show."""


def moments(events: Sequence[Event]) -> tuple[float, list[float]]:
    """Return an origin in seconds since the epoch, and for each event the seconds since then.

    What is told as one millisecond is spread over it in the timeline's order, a microsecond apart or closer, so that
    stages of a few microseconds follow each other and a cause comes before its effect.
    """
    if not events:
        return 0.0, []
    believed = [_believed(event) for event in events]
    origin = min(believed)
    times = [0.0] * len(events)
    order = sorted(range(len(events)), key=lambda index: believed[index])
    for at, group in groupby(order, key=lambda index: believed[index]):
        together = list(group)
        step = min(_STEP, 0.001 / len(together))
        begin = round(at - origin, 3)
        for number, index in enumerate(together):
            times[index] = begin + number * step
    return origin, times


def _believed(event: Event) -> float:
    """Return when an event happened: what it says, unless that is far from when it was written down."""
    milliseconds = event.id.partition("-")[0]
    is_time = milliseconds.isascii() and milliseconds.isdigit() and len(milliseconds) <= _DIGITS
    written = int(milliseconds) / 1000 if is_time else 0.0
    return event.at if abs(event.at - written) <= DAY else written
