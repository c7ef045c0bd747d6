"""How far something is: what every ``progress()`` accepts."""

from __future__ import annotations


def check_fraction(fraction: float | None) -> None:
    """Raise :class:`ValueError` unless ``fraction`` is a number from 0 to 1, or ``None`` for no news."""
    if fraction is not None and not 0.0 <= fraction <= 1.0:
        raise ValueError(f"progress() takes a fraction from 0 to 1, not {fraction!r}")
