"""Asking a run to stop: remembered, seen at every call into the run, and passed on to an async run's task."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from attune_dsl.exceptions import RunAborted
from attune_dsl.model import AgentStatus
from attune_dsl.runner.outcome import is_abort, run_status


class Stop:
    """Whether a run was asked to stop, and as what it ends then. Sticky; safe on any thread.

    ``halted`` says that stages may not simply be called any more: the run was asked to stop, or has ``ended``.
    """

    __slots__ = ("_cancel", "_fenced", "_lock", "_reason", "_status", "ended", "halted")

    def __init__(self) -> None:
        self.halted = False
        self.ended = False
        self._reason = ""
        self._fenced: str | None = None
        self._status: AgentStatus | None = None
        self._cancel: Callable[[], object] | None = None
        self._lock = Lock()

    def request(self, reason: str, status: AgentStatus = AgentStatus.ABORTED) -> bool:
        """Ask the run to end as ``status``; return whether this is the first request and came in time."""
        with self._lock:
            if self.halted:
                return False
            self.halted = True
            self._reason, self._status = reason, status
            cancel = self._cancel
        if cancel is not None:
            cancel()
        return True

    def fence(self, why: str) -> None:
        """Another owner took the run's agent id: the run ends as aborted, also if its workflow returns a value.

        Somebody would act on that value while the new owner is at work.
        """
        with self._lock:
            if not self.ended:
                self._fenced = why
        self.request(why)

    def on_request(self, cancel: Callable[[], object]) -> None:
        """Have ``cancel`` called by a request, because the run may be suspended where it sees none."""
        with self._lock:
            self._cancel = cancel

    def check(self) -> None:
        """Raise :class:`RunAborted` if the run was asked to stop."""
        if self._status is not None:
            raise RunAborted(self._reason)

    def check_fence(self) -> None:
        """Raise :class:`RunAborted` if the run's agent id has another owner."""
        if self._fenced is not None:
            raise RunAborted(self._fenced)

    def end(self, error: BaseException | None) -> tuple[AgentStatus, BaseException | None]:
        """The workflow raised ``error`` or returned: say how the run ends. Threads that outlive it stop too."""
        with self._lock:
            self.ended = self.halted = True
            asked = self._status
            status = run_status(error)
            if error is None and self._fenced is not None:
                return AgentStatus.ABORTED, RunAborted(self._fenced)
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
