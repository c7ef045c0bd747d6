"""The view of a run for programs: an object on a line for each thing that happens, among the lines of the log."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from attune_dsl.cli.log_lines import belong_to, in_order, json_line
from attune_dsl.model import StageStatus
from attune_dsl.runner import events
from attune_dsl.runner.log_context import ATTEMPT

_BAD: Final = {StageStatus.FAILED, StageStatus.ABORTED}


class JsonView:
    """Writes lines with ``write``; an observer of the run's events."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._run: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to put back."""

    def __call__(self, event: events.RunEvent) -> None:
        """Write what the event says; what the user emits is left to whoever observes the run."""
        match event:
            case events.RunStarted():
                self._run = {"run_id": event.run_id, "agent_id": event.agent_id, "workflow": event.workflow}
                belong_to({**self._run, "stage": None, "attempt": 1})
                self._say("run.started", "info", None, 1, store=event.store_label, namespace=event.namespace)
            case events.StageStarted():
                self._say("stage.started", "info", event.stage, event.attempt, item=event.item, tier=event.tier)
            case events.StageRetried():
                fields = {"item": event.item, "error": event.error, "pause": event.pause}
                self._say("stage.retried", "warning", event.stage, event.attempt, **fields)
            case events.StageProgressed():
                fields = {"fraction": event.fraction, "note": event.note}
                self._say("stage.progressed", "info", event.stage, ATTEMPT.get(1), **fields)
            case events.StageEnded():
                self._ended(event)
            case events.RunEnded():
                level = "info" if event.error is None else "error"
                self._say("run.ended", level, None, 1, status=event.status, error=event.error)
            case _:
                pass

    def _ended(self, event: events.StageEnded) -> None:
        record = event.record
        fields = {"status": record.status, "item": record.item, "duration": record.duration, "error": record.error}
        level = "error" if record.status in _BAD else "info"
        self._say("stage.ended", level, record.name, record.attempts, **fields, progress=event.progress)

    def _say(self, event: str, level: str, stage: str | None, attempt: int, **fields: Any) -> None:
        known = {name: value for name, value in fields.items() if value is not None}
        where = {**self._run, "stage": stage, "attempt": attempt}
        self._write(json_line(event, level, **in_order(known | where)))
