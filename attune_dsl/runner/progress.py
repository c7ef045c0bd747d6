"""How far a run is: planned stages against completed ones."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from threading import Lock

BEFORE_THE_END = 0.99
"""What a run shows at most until it has ended: work after the last stage is still work."""


class Progress:
    """A fraction from 0 to 0.99 that never moves back.

    Every name of the plan weighs the same and counts once, at its first completion; until then a ``map`` or a
    ``ctx.progress`` contributes its part. Names met on the way join the plan unless the plan is ``exact``.
    """

    __slots__ = ("_exact", "_lock", "_parts", "_total", "fraction")

    def __init__(self, plan: Iterable[str] = (), *, exact: bool = False) -> None:
        self.fraction = 0.0
        self._exact = exact
        self._parts = dict.fromkeys(plan, 0.0)
        self._total = 0.0
        self._lock = Lock()

    @property
    def plan(self) -> tuple[str, ...]:
        """The names that count, planned or met."""
        return tuple(self._parts)

    def meet(self, name: str) -> None:
        """Extend the plan by ``name`` if it is new and the plan is not exact."""
        if not self._exact:
            with self._lock:
                self._parts.setdefault(name, 0.0)

    def complete(self, name: str) -> None:
        """Count ``name`` as done; every later call changes nothing."""
        self.advance(name, 1.0)

    def advance(self, name: str, part: float) -> None:
        """Let ``name`` contribute ``part`` (from 0 to 1) unless it has contributed more already."""
        with self._lock:
            known = self._parts.get(name)
            if known is None or part <= known:
                return
            self._parts[name] = part
            self._total += part - known
            self.fraction = max(self.fraction, min(BEFORE_THE_END, self._total / len(self._parts)))

    def reach(self, fraction: float) -> None:
        """Show at least ``fraction`` (from 0 to 1): the workflow itself says how far it is."""
        with self._lock:
            self.fraction = max(self.fraction, min(BEFORE_THE_END, fraction))

    def end(self) -> None:
        """The run completed: whatever was planned, it is done."""
        self.fraction = 1.0


class MapProgress:
    """What the items of one ``map`` contribute: done of ``total``, failed ones included."""

    __slots__ = ("_advance", "_done", "_name", "total")

    def __init__(self, progress: Progress, name: str, total: int) -> None:
        self.total = total
        self._name = name
        self._advance = progress.advance
        self._done = count(1).__next__
        if not total:
            progress.complete(name)

    def finished(self) -> None:
        """Count one more item as done."""
        self._advance(self._name, self._done() / self.total)
