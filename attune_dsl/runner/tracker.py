"""What an agent shows to the others while its run works."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attune_dsl.coordination.agent import Agent
    from attune_dsl.runner.calls import StageUse
    from attune_dsl.runner.context import Frame
    from attune_dsl.runner.progress import Progress


class Tracker:
    """Keeps the agent's stage and progress up to date: the stage that began last of those that still run.

    Where none runs, the one that ended last stays shown, and how long the agent may go on without progress is the
    workflow's business again. Never blocks; safe on any thread.
    """

    __slots__ = ("_began", "_progress", "_running", "_tokens", "_touch")

    def __init__(self, agent: Agent, progress: Progress) -> None:
        self._touch = agent.touch
        self._began = agent.stage_began
        self._progress = progress
        self._running: dict[int, tuple[str, int, str | None, float | None]] = {}
        self._tokens = count(1).__next__

    @property
    def running(self) -> int:
        """Calls of stages that have begun and not ended."""
        return len(self._running)

    def enter(self, use: StageUse) -> int:
        """A call began its first attempt; the token stands for it from now on."""
        token = self._tokens()
        self.attempt(token, use, 1)
        self._began()
        return token

    def attempt(self, token: int, use: StageUse, number: int) -> None:
        """An attempt of a call began."""
        stall_after = use.stall_after
        self._running[token] = (use.name, number, use.tier, stall_after)
        self._touch(use.name, self._progress.fraction, number, use.tier, None, stall_after, "began")

    def leave(self, token: int) -> None:
        """A call ended; the progress was counted already."""
        running = self._running
        name, number, tier, _ = running.pop(token)
        stall_after, act = None, "ended"
        if running:
            # Where another thread changes it between two steps, that thread shows what it did.
            with suppress(KeyError, RuntimeError, StopIteration):
                name, number, tier, stall_after = running[next(reversed(running))]
                act = ""
        self._touch(name, self._progress.fraction, number, tier, None, stall_after, act)

    def note(self, frame: Frame, note: str | None) -> None:
        """The code of a frame said how far it is."""
        self._touch(frame.stage, self._progress.fraction, frame.attempt, frame.tier, note, frame.stall_after)
