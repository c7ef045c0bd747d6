"""What an agent shows to the others while its run works, and what the timeline tells of its stages."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

from attune_dsl import clock
from attune_dsl.runner.outcome import describe
from attune_dsl.store.codec import encode_emit

if TYPE_CHECKING:
    from attune_dsl.coordination.agent import Agent
    from attune_dsl.hub.recorder import Recorder
    from attune_dsl.runner.calls import StageCall, StageUse
    from attune_dsl.runner.context import Frame
    from attune_dsl.runner.ledger import Call
    from attune_dsl.runner.progress import Progress
    from attune_dsl.runner.run import Run


class Tracker:
    """Keeps the agent's stage and progress up to date: the stage that began last of those that still run.

    Where none runs, the one that ended last stays shown, and how long the agent may go on without progress is the
    workflow's business again. Never blocks; safe on any thread.
    """

    __slots__ = ("_began", "_note", "_progress", "_recorder", "_running", "_tokens", "_touch")

    def __init__(self, agent: Agent, recorder: Recorder, progress: Progress) -> None:
        self._recorder = recorder
        self._note = recorder.note
        self._touch = agent.touch
        self._began = agent.stage_began
        self._progress = progress
        self._running: dict[int, tuple[str, int, str | None, float | None]] = {}
        self._tokens = count(1).__next__

    @property
    def running(self) -> int:
        """Calls of stages that have begun and not ended."""
        return len(self._running)

    def enter(self, use: StageUse, item: int | None = None) -> int:
        """A call began its first attempt; the token stands for it from now on.

        ``item`` is the index within a ``map``.
        """
        token = self._tokens()
        self.attempt(token, use, 1, item)
        self._began()
        return token

    def attempt(self, token: int, use: StageUse, number: int, item: int | None) -> None:
        """An attempt of a call began."""
        stall_after = use.stall_after
        self._running[token] = (use.name, number, use.tier, stall_after)
        self._note("stage.started", use.name, (token, number, use.tier, item))
        self._touch(use.name, self._progress.fraction, number, use.tier, None, stall_after, "began")

    def retried(self, call: StageCall, error: BaseException, pause: float) -> None:
        """An attempt failed, and another one follows after at least ``pause`` seconds."""
        self._note("stage.retried", call.use.name, (call.token, call.attempt, describe(error), pause, call.item))

    def leave(self, token: int, call: Call) -> None:
        """A call ended; the progress was counted already."""
        running, fraction = self._running, self._progress.fraction
        name, number, tier, _ = running.pop(token)
        _, started, ended, (status, attempts, item, error) = call
        self._note("stage.ended", name, (token, status, ended - started, attempts, tier, item, error, fraction), ended)
        stall_after, act = None, "ended"
        if running:
            # Where another thread changes it between two steps, that thread shows what it did.
            with suppress(KeyError, RuntimeError, StopIteration):
                name, number, tier, stall_after = running[next(reversed(running))]
                act = ""
        self._touch(name, fraction, number, tier, None, stall_after, act)

    def note(self, frame: Frame, fraction: float | None, note: str | None) -> None:
        """The code of a frame said how far it is."""
        self._recorder.progressed(frame.stage, fraction, note, self._progress.fraction)
        self._touch(frame.stage, self._progress.fraction, frame.attempt, frame.tier, note, frame.stall_after)

    def emitted(self, frame: Frame, kind: str, data: Any) -> None:
        """The code of a frame handed something out. Raises as :meth:`Context.emit`."""
        self._recorder.emitted(frame.stage, kind, data, encode_emit(data))

    def run_started(self) -> None:
        """The run is about to call its workflow."""
        self._note("run.started", None, (self._progress.plan,))

    def run_ended(self, run: Run, error: BaseException | None) -> None:
        """The run has ended, and is about to leave its agent id."""
        ledger, text = run.ledger, None if error is None else describe(error)
        usage = ledger.usage
        lasted = clock.monotonic() - ledger.started
        self._note(
            "run.ended",
            None,
            (run.status, lasted, text, usage.cost, usage.tokens_in, usage.tokens_out),
        )
