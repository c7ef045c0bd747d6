"""Telling an observer what happens. A run without one has none of these, and builds no event."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attune_dsl import clock, log
from attune_dsl.runner import events
from attune_dsl.runner.outcome import describe

if TYPE_CHECKING:
    from attune_dsl.model import StageRecord
    from attune_dsl.runner.calls import StageCall
    from attune_dsl.runner.context import Frame
    from attune_dsl.runner.run import Run


class Observer:
    """Hands the events of one run to ``tell``, on the thread where they happen; if that raises, it is dropped."""

    __slots__ = ("_run", "_tell")

    def __init__(self, run: Run, tell: Callable[[events.RunEvent], object]) -> None:
        self._run = run
        self._tell: Callable[[events.RunEvent], object] | None = tell

    def run_started(self) -> None:
        """The run joined and is about to call the workflow."""
        run = self._run
        self._send(
            events.RunStarted(
                run_id=run.run_id,
                agent_id=run.agent_id,
                workflow=run.workflow.name,
                plan=run.progress.plan,
                store_label=run.agent.store_label if run.agent else None,
                namespace=run.agent.namespace if run.agent else None,
                at=clock.wall(),
            )
        )

    def attempt_started(self, call: StageCall) -> None:
        """An attempt of a stage began."""
        self._send(
            events.StageStarted(
                run_id=self._run.run_id,
                stage=call.use.name,
                item=call.item,
                attempt=call.attempt,
                tier=call.use.tier,
                total=None if call.map is None else call.map.total,
                at=clock.wall(),
            )
        )

    def attempt_failed(self, call: StageCall, error: BaseException, pause: float) -> None:
        """An attempt failed and another one follows."""
        self._send(
            events.StageRetried(
                run_id=self._run.run_id,
                stage=call.use.name,
                item=call.item,
                attempt=call.attempt,
                error=describe(error),
                pause=pause,
                at=clock.wall(),
            )
        )

    def progressed(self, frame: Frame, fraction: float | None, note: str | None) -> None:
        """A stage or the workflow said how far it is."""
        self._send(
            events.StageProgressed(
                run_id=self._run.run_id, stage=frame.stage, fraction=fraction, note=note, at=clock.wall()
            )
        )

    def emitted(self, frame: Frame, kind: str, data: Any) -> None:
        """A stage or the workflow handed out data."""
        run_id, stage, at = self._run.run_id, frame.stage, clock.wall()
        self._send(events.StageEmitted(run_id=run_id, stage=stage, kind=kind, data=data, at=at))

    def stage_ended(self, record: StageRecord) -> None:
        """A call of a stage ended."""
        progress = self._run.progress.fraction
        self._send(events.StageEnded(run_id=self._run.run_id, record=record, progress=progress, at=clock.wall()))

    def run_ended(self, error: BaseException | None) -> None:
        """The run ended and left its agent id."""
        run = self._run
        self._send(
            events.RunEnded(
                run_id=run.run_id,
                status=run.status,
                error=None if error is None else describe(error),
                progress=run.progress.fraction,
                at=clock.wall(),
            )
        )

    def _send(self, event: events.RunEvent) -> None:
        tell = self._tell
        if tell is None:
            return
        try:
            tell(event)
        except Exception as error:
            self._tell = None
            log.warning("run.observer_dropped", run_id=event.run_id, error=describe(error))
