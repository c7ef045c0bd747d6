"""The view of a run where there is no terminal: one line for each thing that happens."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from attune_dsl import clock
from attune_dsl.cli import formats
from attune_dsl.cli.board import Board, Header, Row
from attune_dsl.model import StageStatus
from attune_dsl.runner import events

_PAUSE = 1.0
"""Seconds between two lines about calls of the same stage that end well; what is left out is counted."""


class PlainView:
    """Writes lines with ``write``; an observer of the run's events."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._board = Board()
        self._write = write
        self._last: dict[str, float] = {}
        self._unsaid: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to put back."""

    def __call__(self, event: events.RunEvent) -> None:
        """Write what the event says, if it is worth a line."""
        with self._board.lock:
            row = self._board.apply(event)
            match event:
                case events.RunStarted():
                    assert self._board.header is not None
                    self._write(header_line(self._board.header))
                case events.RunEnded():
                    self._end(event)
                case events.StageStarted() if row is not None and event.attempt == 1 and row.calls == 1:
                    tier = f" ({row.tier})" if row.tier else ""
                    self._say(f"{row.name}: running{tier}")
                case events.StageRetried() if row is not None:
                    self._say(f"{_call(row, event.item)}: attempt {event.attempt} failed: {_short(event.error)}")
                case events.StageProgressed() if row is not None:
                    self._progressed(row)
                case events.StageEnded() if row is not None:
                    self._ended(row, event)
                case _:
                    pass

    def _progressed(self, row: Row) -> None:
        words = [formats.percent(row.fraction), formats.one_line(row.note or "")]
        if self._is_due(row):
            self._say(f"{row.name}: {' '.join(word for word in words if word)}")

    def _ended(self, row: Row, event: events.StageEnded) -> None:
        record = event.record
        if record.status not in (StageStatus.COMPLETED, StageStatus.SKIPPED):
            is_worth_saying = record.error and record.status is not StageStatus.CANCELLED
            error = f": {_short(record.error)}" if is_worth_saying else ""
            self._say(f"{_call(row, record.item)}: {record.status}{error}")
        if record.item is not None:
            self._map_moved(row)
        elif record.status is StageStatus.SKIPPED:
            self._say(f"{row.name}: skipped")
        elif record.status is StageStatus.COMPLETED:
            self._completed(row)

    def _map_moved(self, row: Row) -> None:
        failed = f", {row.failed} failed" if row.failed else ""
        if row.done == row.total:
            self._say(f"{row.name}: {row.done}/{row.total} in {_took(row)}{failed}")
        elif self._is_due(row):
            self._say(f"{row.name}: {row.done}/{row.total}{failed}")

    def _completed(self, row: Row) -> None:
        if row.calls == 1 or self._is_due(row):
            self._unsaid.discard(row.name)
            self._last[row.name] = clock.monotonic()
            attempts = f" ({row.attempt} attempts)" if row.attempt > 1 else ""
            calls = f" ({row.calls:,} calls)" if row.calls > 1 else ""
            self._say(f"{row.name}: completed in {_took(row)}{attempts}{calls}")
        else:
            self._unsaid.add(row.name)

    def _is_due(self, row: Row) -> bool:
        now = clock.monotonic()
        due = now - self._last.get(row.name, self._board.started) >= _PAUSE
        if due:
            self._last[row.name] = now
        return due

    def _end(self, event: events.RunEnded) -> None:
        for name in sorted(self._unsaid):
            row = self._board.rows[name]
            self._say(f"{name}: completed in {_took(row)} ({row.calls:,} calls)")
        self._say(f"{event.status} in {formats.duration(self._board.elapsed())}")

    def _say(self, text: str) -> None:
        self._write(f"[{formats.percent(self._board.progress):>4}] {text}")


def header_line(header: Header) -> str:
    """Say once who runs, and where it can be seen."""
    where = "no store" if header.store is None else f"namespace {header.namespace}, store {header.store}"
    return f"{header.workflow}: agent {header.agent_id}, {where}"


def _call(row: Row, item: int | None) -> str:
    return row.name if item is None else f"{row.name}[{item}]"


def _took(row: Row) -> str:
    return formats.duration(row.elapsed(clock.monotonic()))


def _short(error: str | None) -> str:
    return formats.one_line(error or "")
