"""Asking a run to stop: remembered, seen at every call into the run, and passed on to an async run's task."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock

from attune_dsl.exceptions import RunAborted
from attune_dsl.model import AgentStatus
from attune_dsl.runner.outcome import is_abort, run_status


class Stop:
    """Whether a run was asked to stop, and as what it ends then. Sticky; safe on any thread.

    ``halted`` says that stages may not simply be called any more: the run was asked to stop, or has ``ended``.
    """

    __slots__ = ("_fenced", "_interrupts", "_lock", "_noticed", "_reason", "_status", "_woken", "ended", "halted")

    def __init__(self) -> None:
        self.halted = False
        self.ended = False
        self._reason = ""
        self._fenced: str | None = None
        self._noticed = False
        self._status: AgentStatus | None = None
        self._interrupts: list[Callable[[str, AgentStatus], object]] = []
        self._woken: Event | None = None
        self._lock = Lock()

    def request(self, reason: str, status: AgentStatus = AgentStatus.ABORTED) -> bool:
        """Ask the run to end as ``status``; return whether this is the first request and came in time."""
        with self._lock:
            if self.halted:
                return False
            self.halted = True
            self._reason, self._status = reason, status
            interrupts, woken = list(self._interrupts), self._woken
        if woken is not None:
            woken.set()
        for interrupt in interrupts:
            interrupt(reason, status)
        return True

    def fence(self, why: str) -> None:
        """Another owner took the run's agent id: the run ends as aborted, also if its workflow returns a value.

        Somebody would act on that value while the new owner is at work.
        """
        with self._lock:
            if not self.ended:
                self._fenced = why
        self.request(why)

    def on_request(self, interrupt: Callable[[str, AgentStatus], object]) -> None:
        """Have ``interrupt(reason, status)`` called by a request: the run may be suspended where it sees none."""
        with self._lock:
            self._interrupts.append(interrupt)

    def pause(self, seconds: float) -> None:
        """Block this thread so long, unless the run is asked to stop before, or ends.

        Raises :class:`RunAborted` where it has ended: nothing is tried any more then.
        """
        with self._lock:
            woken = self._woken = self._woken or Event()
            is_halted = self.halted
        if not is_halted:
            woken.wait(seconds)
        if self.ended:
            raise RunAborted(self._reason or "the run has ended")

    def check(self) -> None:
        """Raise :class:`RunAborted` if the run was asked to stop."""
        if self._status is not None:
            self._noticed = True
            raise RunAborted(self._reason)

    def notice(self) -> None:
        """The run's code has seen that it was asked to stop: whatever it returns, it did not do all that it would."""
        self._noticed = True

    def check_fence(self) -> None:
        """Raise :class:`RunAborted` if the run's agent id has another owner."""
        if self._fenced is not None:
            raise RunAborted(self._fenced)

    def end(self, error: BaseException | None) -> tuple[AgentStatus, BaseException | None]:
        """The workflow raised ``error`` or returned: say how the run ends. Threads that outlive it stop too."""
        with self._lock:
            self.ended = self.halted = True
            outcome = self._outcome(error)
            woken = self._woken
        if woken is not None:
            woken.set()
        return outcome

    def _outcome(self, error: BaseException | None) -> tuple[AgentStatus, BaseException | None]:
        asked = self._status
        status = run_status(error)
        if error is None and self._fenced is not None:
            return AgentStatus.ABORTED, RunAborted(self._fenced)
        if error is None and self._noticed and asked is not None:
            return asked, RunAborted(self._reason)
        if error is None:
            self._status = None
            return status, None
        if asked is None:
            self._reason, self._status = f"the run has {status}", status
            return status, error
        if asked is AgentStatus.ABORTED and not is_abort(error):
            aborted = RunAborted(self._reason)
            aborted.__cause__ = error
            error = aborted
        return asked, error
