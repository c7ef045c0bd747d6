"""Signs and colours of states, the same in every view; plain letters where the terminal has no Unicode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console


class Sign(NamedTuple):
    """How a state is drawn."""

    unicode: str
    ascii: str
    colour: str


SIGNS: Final = {
    "pending": Sign("○", ".", "dim"),
    "starting": Sign("●", "*", "cyan"),
    "running": Sign("●", "*", "cyan"),
    "waiting": Sign("◌", "~", "blue"),
    "retrying": Sign("↻", "r", "yellow"),
    "completed": Sign("✓", "+", "green"),
    "failed": Sign("✗", "x", "red"),
    "aborted": Sign("■", "#", "magenta"),
    "cancelled": Sign("■", "#", "yellow"),
    "skipped": Sign("–", "-", "dim"),  # noqa: RUF001 (an en dash, as a sign)
    "not run": Sign("–", "-", "dim"),  # noqa: RUF001 (an en dash, as a sign)
    "lost": Sign("⊗", "?", "red"),
    "stalled": Sign("!", "!", "yellow"),
}

_BAR = {True: ("━", "─"), False: ("=", "-")}


def has_unicode(console: Console) -> bool:
    """Whether the terminal can show more than ASCII."""
    return console.encoding.lower().startswith("utf")


def sign(state: str, *, unicode: bool) -> str:
    """Return the sign of a state."""
    known = SIGNS[state]
    return known.unicode if unicode else known.ascii


def colour(state: str) -> str:
    """Return the colour of a state, as rich names it."""
    return SIGNS[state].colour


def bar(fraction: float, width: int, *, unicode: bool) -> tuple[str, str]:
    """Return the filled and the empty part of a bar of ``width`` cells."""
    full, empty = _BAR[unicode]
    filled = round(min(max(fraction, 0.0), 1.0) * width)
    return full * filled, empty * (width - filled)
