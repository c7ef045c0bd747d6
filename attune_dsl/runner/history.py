"""What a run's stages did so far, for others to read: one row for each name, made from the ledger's calls."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from attune_dsl.model import StageStatus
from attune_dsl.runner.ledger import COMPLETED_AT_ONCE
from attune_dsl.store import codec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from attune_dsl.runner.ledger import Call, Detail, Ledger

MAX_NAMES: Final = 200
"""Rows that a run has at most: ``flow.options(name=...)`` in a loop and repeated children make ever new names."""

OTHERS: Final = "…"
"""The row that counts the calls of all stages beyond :data:`MAX_NAMES`."""

MAX_ERROR: Final = 500
"""Characters that are kept of an error; its traceback and its whole text are in the run's own result."""


class History:
    """Adds up the calls that a ledger holds. Each is looked at once, on the thread that reads.

    The run itself pays nothing for it: it appends to the ledger as ever. Safe on any thread.
    """

    __slots__ = ("_changed", "_ledger", "_lock", "_rows", "_seen")

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._rows: dict[str, _Row] = {}
        self._changed: dict[str, _Row] = {}
        self._seen = 0
        self._lock = Lock()

    def read(self, *, everything: bool = False) -> Mapping[str, bytes]:
        """Return the rows that have changed since the last call: the stage's name -> JSON of its summary.

        Stages beyond the first :data:`MAX_NAMES` share the row :data:`OTHERS`. ``everything`` returns all rows, for a
        store that may not have got those of earlier calls.
        """
        with self._lock:
            calls = self._ledger.calls
            until = len(calls)
            self._add(calls[self._seen : until])
            self._seen = until
            changed, self._changed = self._rows if everything else self._changed, {}
            offset = self._ledger.offset
            return {name: row.encoded(offset) for name, row in changed.items()}

    def _add(self, calls: list[Call]) -> None:
        last = None
        for use, started, ended, detail in calls:
            if use is not last:  # a loop over trivial stages must not make this thread hold the interpreter for long
                row, last = self._row(use.name, started), use
                row.tier = use.tier
            row.calls += 1
            row.duration += ended - started
            row.detail = detail
            if detail is not COMPLETED_AT_ONCE:
                row.add(started, detail)

    def _row(self, name: str, started: float) -> _Row:
        """Return the row that has changed; one that is new began at ``started``."""
        row = self._changed.get(name)
        if row is None:
            if name not in self._rows and len(self._rows) >= MAX_NAMES:
                name = OTHERS
            row = self._rows.get(name)
            if row is None:
                row = self._rows[name] = _Row(started)
            self._changed[name] = row
        return row


class _Row:
    """The sums of one name. ``retries`` counts the attempts after each call's first; ``detail`` is the last call's."""

    __slots__ = ("calls", "detail", "duration", "error", "failures", "retries", "started", "tier")

    def __init__(self, started: float) -> None:
        self.detail = COMPLETED_AT_ONCE
        self.calls = self.failures = self.retries = 0
        self.tier: str | None = None
        self.started = started
        self.duration = 0.0
        self.error: str | None = None

    def add(self, started: float, detail: Detail) -> None:
        """Take in what sets a call apart from one that completed at once."""
        status, attempts, _, error = detail
        self.started = min(self.started, started)  # calls that ran side by side come in the order in which they ended
        self.retries += attempts - 1
        self.failures += status is StageStatus.FAILED
        self.error = error or self.error

    def encoded(self, offset: float) -> bytes:
        """Return the row as JSON; ``offset`` turns the monotonic clock into seconds since the epoch."""
        row: dict[str, Any] = {
            "status": self.detail[0].value,
            "calls": self.calls,
            "failures": self.failures,
            "attempts": self.calls + self.retries,
            "tier": self.tier,
            "started_at": round(offset + self.started, 6),
            "duration": round(self.duration, 6),
            "error": None if self.error is None else _printable(self.error),
        }
        return codec.encode_payload(row)


def _printable(error: str) -> str:
    """Return as much of ``error`` as a row holds; what is not Unicode must not keep the others from being read."""
    if len(error) > MAX_ERROR:
        error = error[: MAX_ERROR - 1] + "…"
    return error.encode("utf-8", "backslashreplace").decode()
