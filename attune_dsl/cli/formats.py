"""How times and sizes are shown to people: short, and the same everywhere."""

from __future__ import annotations

_MINUTE, _HOUR, _DAY = 60, 3600, 86400

_ENDLESS = 1e12
"""Seconds that nothing takes: what says so was written by somebody who does not know better."""


def duration(seconds: float) -> str:
    """Return how long something took, such as ``12 ms``, ``3.1 s``, ``2m 05s`` or ``1h 03m``."""
    if not seconds < _ENDLESS:
        return "?"
    if seconds < 0.9995:  # noqa: PLR2004 (what rounds to 1000 ms is a second)
        return f"{max(seconds, 0.0) * 1000:.0f} ms"
    if seconds < _MINUTE - 0.05:
        return f"{seconds:.1f} s"
    return _coarse(round(seconds))


def age(seconds: float | None) -> str:
    """Return how long ago something was, in whole units such as ``2s``, ``4m 10s`` or ``3d 02h``."""
    if seconds is None:
        return ""
    if not seconds < _ENDLESS:
        return "?"
    whole = int(max(seconds, 0.0))
    return f"{whole}s" if whole < _MINUTE else _coarse(whole)


def _coarse(seconds: int) -> str:
    if seconds < _HOUR:
        return f"{seconds // _MINUTE}m {seconds % _MINUTE:02d}s"
    if seconds < _DAY:
        return f"{seconds // _HOUR}h {seconds % _HOUR // _MINUTE:02d}m"
    return f"{seconds // _DAY}d {seconds % _DAY // _HOUR:02d}h"


def size(count: int) -> str:
    """Return a number of bytes in binary units, such as ``812 B`` or ``1.5 MiB``."""
    if count < 1024:  # noqa: PLR2004
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1023.95:  # noqa: PLR2004 (what rounds to 1024.0 belongs to the next unit)
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} TiB"


def percent(fraction: float | None) -> str:
    """Return a fraction from 0 to 1 as a percentage; 100 % only for what is complete."""
    if fraction is None:
        return ""
    return "100%" if fraction >= 1 else f"{min(int(fraction * 100 + 1e-9), 99)}%"


def one_line(text: str, limit: int = 200) -> str:
    """Return ``text`` on one line of at most ``limit`` characters, for messages that have a line for each thing.

    What does not print, such as the codes that move a cursor, is replaced: others may have written the text.
    """
    flat = " ".join(text.split())
    if not flat.isprintable():
        flat = "".join(letter if letter.isprintable() else "�" for letter in flat)
    return flat if len(flat) <= limit else f"{flat[: limit - 1]}…"


def about(seconds: float | None) -> str:
    """Return how long ago something was in its largest unit alone, such as ``2s``, ``4m`` or ``3d``."""
    return age(seconds).partition(" ")[0]


def moment(at: float) -> str:
    """Return seconds since the epoch as date and time of day, by the clock on the wall here; ``?`` for no such time."""
    from datetime import datetime

    try:
        return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OSError, OverflowError, ValueError):
        return "?"


def cost(amount: float | None) -> str:
    """Return an amount of money: in hundredths, and where it is less than 1 in ten-thousandths."""
    if amount is None:
        return ""
    return f"{amount:.4f}" if 0 < abs(amount) < 0.99995 else f"{amount:,.2f}"  # noqa: PLR2004 (what rounds to 1)
