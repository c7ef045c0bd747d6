"""The spans of one run: itself, its nested workflows, its calls of stages and their attempts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attune_dsl import spans

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from attune_dsl.model import StageStatus
    from attune_dsl.runner.calls import StageCall
    from attune_dsl.runner.run import Run


class RunSpans:
    """Starts the span of a run, and those within it. A span that is current is left where it was entered."""

    __slots__ = ("_attributes", "_span", "_tracer")

    def __init__(self, run: Run, tracer: Tracer) -> None:
        """The run begins: its span is under the one that is current here, if there is one."""
        self._tracer = tracer
        self._attributes: dict[str, spans.Attribute | None] = {
            "attune.run_id": run.run_id,
            "attune.agent_id": run.agent_id,
            "attune.workflow": run.workflow.name,
            "attune.namespace": run.agent.namespace if run.agent is not None else None,
        }
        self._span = spans.start(tracer, f"run {run.workflow.name}", self._attributes)

    @contextmanager
    def inside(self, workflow: str, path: str) -> Iterator[None]:
        """The body of the run's workflow, or of a nested one, whose ``path`` is not empty."""
        if not path:
            with spans.current(self._span, ends=False):
                yield
            return
        attributes = self._attributes | {"attune.nested": path}
        with spans.current(spans.start(self._tracer, f"workflow {workflow}", attributes)):
            yield

    def ended(self, run: Run, error: BaseException | None) -> None:
        """The run ended and left its agent id."""
        spans.end(self._span, error, status=run.status.value)

    def call(self, call: StageCall) -> spans.Current:
        """A stage is called."""
        return spans.Current(spans.start(self._tracer, f"stage {call.use.spec.name}", self._of(call)))

    def attempt(self, call: StageCall) -> spans.Current:
        """An attempt of a call begins."""
        attributes = self._of(call) | {"attune.attempt": call.attempt}
        return spans.Current(spans.start(self._tracer, f"attempt {call.use.spec.name}", attributes))

    def leave(
        self, span: spans.Current, status: StageStatus, error: BaseException | None, attempts: int | None = None
    ) -> None:
        """A call ended, after so many ``attempts``; or one of them, and whether another one follows is not known."""
        span.leave(error)
        spans.end(span.span, error, status=status.value, attempts=attempts)

    def _of(self, call: StageCall) -> dict[str, spans.Attribute | None]:
        use = call.use
        tier = None if use.tier is None else str(use.tier)
        return self._attributes | {"attune.stage": use.name, "attune.item": call.item, "attune.tier": tier}
