"""What a run looks like at this moment, folded from its events; the views only draw it."""

from __future__ import annotations

import threading
from typing import NamedTuple

from attune_dsl import clock
from attune_dsl.model import StageRecord, StageStatus
from attune_dsl.runner import events

PENDING, RETRYING = "pending", "retrying"
"""States of a row beside those of :class:`StageStatus`: planned and not started; waiting for its next attempt."""


class Row:
    """One stage of the run, over all its calls. A ``map`` counts its items in ``done`` and ``total``."""

    __slots__ = (
        "_span_started", "active", "attempt", "calls", "done", "error", "failed", "fraction", "name", "note",
        "seconds", "started", "state", "tier", "total",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: str = PENDING
        self.attempt = 0
        self.tier: str | None = None
        self.started: float | None = None
        self.seconds = 0.0
        self.active = 0
        self.calls = 0
        self.fraction: float | None = None
        self.note: str | None = None
        self.done = 0
        self.failed = 0
        self.total = 0
        self.error: str | None = None
        self._span_started = 0.0

    @property
    def is_active(self) -> bool:
        """Whether a call of this stage is under way."""
        return self.active > 0

    def elapsed(self, now: float) -> float:
        """Return how long any call of this stage was under way, in seconds."""
        return self.seconds + (now - self._span_started if self.active else 0.0)

    def start(self, event: events.StageStarted, now: float) -> None:
        """Note the first attempt of a call, or a further one."""
        self.state = StageStatus.RUNNING
        self.attempt = event.attempt
        self.tier = event.tier or self.tier
        if event.attempt > 1:
            return
        if not self.active:
            self._span_started = now
            if self.done >= self.total:  # a further map of this stage counts anew; a gap within a map does not end it
                self.done = self.failed = self.total = 0
        self.active += 1
        self.calls += 1
        self.fraction, self.note = None, None
        if event.item is not None:
            self.total = max(self.total, event.total or event.item + 1)

    def retry(self, event: events.StageRetried) -> None:
        """Note that an attempt failed and another one will follow."""
        self.state = RETRYING
        self.error = event.error
        self.fraction, self.note = None, None

    def end(self, record: StageRecord, now: float) -> None:
        """Note the end of a call."""
        self.active = max(self.active - 1, 0)
        if not self.active:
            self.seconds += now - self._span_started if self.calls else 0.0
        self.attempt = record.attempts if record.status is not StageStatus.SKIPPED else 0
        self.tier = record.tier or self.tier
        if record.item is not None:
            self.done += 1
        if record.status in (StageStatus.COMPLETED, StageStatus.SKIPPED):
            self.error = None if not self.failed else self.error
        else:
            self.failed += 1
            self.error = None if record.status is StageStatus.CANCELLED else record.error
        self.fraction, self.note = None, None
        if not self.active:
            self.state = record.status if not self.failed or record.item is None else StageStatus.FAILED


class Header(NamedTuple):
    """What is shown once: who runs, and where it can be seen."""

    workflow: str
    agent_id: str
    namespace: str | None
    store: str | None


class Board:
    """The rows of a run in the order of its plan, extended by what is met on the way.

    Events come from any thread; ``lock`` is held while they are folded and has to be held while the rows are drawn.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.header: Header | None = None
        self.rows: dict[str, Row] = {}
        self.progress = 0.0
        self.status: str | None = None
        self.started = clock.monotonic()

    def apply(self, event: events.RunEvent) -> Row | None:
        """Fold one event and return the row that it changed; what outlives its run changes nothing."""
        with self.lock:
            return self._fold(event) if self.status is None else None

    def _fold(self, event: events.RunEvent) -> Row | None:
        match event:
            case events.RunStarted():
                self.started = clock.monotonic()
                self.header = Header(event.workflow, event.agent_id, event.namespace, event.store_label)
                self.rows = {name: Row(name) for name in event.plan} | self.rows
                return None
            case events.RunEnded():
                self.status, self.progress = event.status, event.progress
                self._leave_out()
                return None
            case events.StageEnded():
                row = self._row(event.record.name)
                row.end(event.record, clock.monotonic())
                self.progress = max(self.progress, event.progress)
            case events.StageStarted():
                row = self._row(event.stage)
                row.start(event, clock.monotonic())
            case events.StageRetried():
                row = self._row(event.stage)
                row.retry(event)
            case events.StageProgressed():
                return self._progressed(event)
            case events.StageEmitted():
                return None
        return row

    def _progressed(self, event: events.StageProgressed) -> Row | None:
        if event.stage is None:  # said by the workflow itself
            self.progress = max(self.progress, min(event.fraction or 0.0, 0.99))
            return None
        row = self._row(event.stage)
        row.fraction = row.fraction if event.fraction is None else event.fraction
        row.note = event.note or row.note
        return row

    def _leave_out(self) -> None:
        """What a completed run did not need was skipped; what another one did not reach stays pending."""
        if self.status == StageStatus.COMPLETED:
            for row in self.rows.values():
                row.state = StageStatus.SKIPPED if row.state == PENDING else row.state

    def _row(self, name: str) -> Row:
        return self.rows.setdefault(name, Row(name))

    def elapsed(self) -> float:
        """Return how long the run takes so far, in seconds."""
        return clock.monotonic() - self.started
