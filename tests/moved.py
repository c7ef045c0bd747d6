"""A clock that stands still until a test moves it."""

from __future__ import annotations

import pytest

from attune_dsl import clock


class MovedClock:
    """Takes the place of :func:`attune_dsl.clock.monotonic`; ``now`` is what it says, in seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, now: float = 1_000.0) -> None:
        self.now = now
        monkeypatch.setattr(clock, "monotonic", lambda: self.now)

    def move(self, seconds: float) -> None:
        self.now += seconds
