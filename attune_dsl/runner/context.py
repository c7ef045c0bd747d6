"""What a stage or a workflow may ask of the run it is in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, final

from attune_dsl.dsl.fraction import check_fraction
from attune_dsl.dsl.injection import Injectable, Kind

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from attune_dsl.coordination.async_signals import AsyncSignals
    from attune_dsl.coordination.signals import Signals
    from attune_dsl.model import Signal
    from attune_dsl.runner.run import Run


class Frame:
    """One attempt of a stage, or the body of a workflow: what the facades given to it are bound to.

    ``stage`` is ``None`` in the body of a workflow. ``part`` is the name in the plan that ``progress`` counts for:
    empty for the whole run, ``None`` where it counts for nothing (an item of a ``map``, a nested workflow). ``taken``
    collects the signals that were taken. ``stall_after`` is the stage's own. ``knows_of_stop`` says whether a signal
    call of it has shown that the run is asked to stop.
    """

    __slots__ = ("attempt", "knows_of_stop", "part", "run", "stage", "stall_after", "taken", "tier")

    def __init__(
        self,
        run: Run,
        stage: str | None = None,
        *,
        attempt: int = 1,
        tier: str | None = None,
        stall_after: float | None = None,
        part: str | None,
    ) -> None:
        self.run = run
        self.stage = stage
        self.attempt = attempt
        self.tier = tier
        self.stall_after = stall_after
        self.part = part
        self.taken: list[Signal] = []
        self.knows_of_stop = False

    def facade(self, kind: Kind, is_async: bool) -> Any:
        """Return what a slot of this kind and colour is filled with."""
        if kind == "context":
            return AsyncContext(self) if is_async else Context(self)
        return self.run.signals(self, is_async)


class _Context(Injectable):
    """What both colours of the context share. None of its methods blocks, so none of them is awaited."""

    kind: ClassVar[Kind] = "context"
    __slots__ = ("_frame",)

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    @property
    def run_id(self) -> str:
        """The id of this execution of the workflow."""
        return self._frame.run.run_id

    @property
    def agent_id(self) -> str:
        """The name under which this run is known to the other agents."""
        return self._frame.run.agent_id

    @property
    def stage(self) -> str | None:
        """The name of the stage within the run (``child/stage`` in a nested workflow); ``None`` in a workflow."""
        return self._frame.stage

    @property
    def attempt(self) -> int:
        """Which try of the stage this is, counted from 1."""
        return self._frame.attempt

    @property
    def tier(self) -> str | None:
        """The tier that the stage runs on, if it named one."""
        return self._frame.tier

    @property
    def log(self) -> FilteringBoundLogger:
        """A structlog logger bound with ``run_id``, ``agent_id``, ``workflow``, ``stage`` and ``attempt``.

        It is the application's own, ``structlog.get_logger()``, once structlog is configured, as it is under
        ``attune-dsl run``. Before, its lines go to the standard library's logger ``attune_dsl``, so that a library that
        uses it prints nothing by itself.
        """
        from attune_dsl import log

        frame = self._frame
        bound: FilteringBoundLogger = log.of_the_application().bind(
            run_id=self.run_id,
            agent_id=self.agent_id,
            workflow=frame.run.workflow.name,
            stage=frame.stage,
            attempt=frame.attempt,
        )
        return bound

    def progress(self, fraction: float | None = None, note: str | None = None) -> None:
        """Say how far the stage is, as a ``fraction`` from 0 to 1, and in words.

        Until the stage completes, the fraction is its part of the run's progress; in the body of a workflow it is the
        run's progress itself. Progress never moves back. Raises :class:`ValueError` for a fraction outside of 0 to 1
        and :class:`RunAborted` once the run was asked to stop.
        """
        check_fraction(fraction)
        self._frame.run.progressed(self._frame, fraction, note)

    def usage(self, *, tokens_in: int = 0, tokens_out: int = 0, cost: float = 0.0) -> None:
        """Add to what the run used; its result shows the sums as ``usage`` and ``cost``, its agent the cost so far.

        Counts as progress. What a failed attempt reported stays counted. Raises :class:`RunAborted` once the run was
        asked to stop.
        """
        self._frame.run.used(tokens_in, tokens_out, cost)

    def emit(self, data: Any, kind: str = "note") -> None:
        """Hand ``data`` to the namespace's timeline, and to whoever observes the run in this process. Never blocks.

        ``kind`` is what readers tell it by. Texts of the kind ``"chunk"``, as of a streamed answer, are joined where
        they come in a row. In a run that takes part in the store, ``data`` has to be JSON: raises
        :class:`NotAJsonValue` and :class:`PayloadTooLarge` (over 8 KiB), else :class:`InvalidName` for the kind, and
        :class:`RunAborted` once the run was asked to stop.
        """
        if kind != "note":
            from attune_dsl.store.names import check_name

            check_name("kind", kind)
        self._frame.run.emitted(self._frame, kind, data)


@final
class Context(_Context):
    """The run as a sync stage or workflow sees it."""

    is_async: ClassVar[bool] = False
    __slots__ = ()

    @property
    def signals(self) -> Signals:
        """The signals of this agent; what a failed attempt took through them is given to the next attempt."""
        facade: Signals = self._frame.run.signals(self._frame, is_async=False)
        return facade


@final
class AsyncContext(_Context):
    """The run as an async stage or workflow sees it; only the methods of ``signals`` are awaited."""

    is_async: ClassVar[bool] = True
    __slots__ = ()

    @property
    def signals(self) -> AsyncSignals:
        """The signals of this agent; what a failed attempt took through them is given to the next attempt."""
        facade: AsyncSignals = self._frame.run.signals(self._frame, is_async=True)
        return facade
