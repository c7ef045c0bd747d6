"""How an exception ends a stage or a run: the one place that tells failed, aborted and cancelled apart."""

from __future__ import annotations

from types import FrameType

from attune_dsl.exceptions import RunAborted
from attune_dsl.model import AgentStatus, StageStatus


class Terminated(SystemExit):
    """SIGTERM arrived; unlike any other :class:`SystemExit` this one cancels the run instead of failing it."""

    def __init__(self) -> None:
        super().__init__(143)


def stage_status(error: BaseException) -> StageStatus:
    """Return how a call of a stage ended that raised ``error``.

    Aborted means that a participant asked for it, cancelled that the operating system or the caller did.
    """
    if is_abort(error):
        return StageStatus.ABORTED
    if is_cancellation(error):
        return StageStatus.CANCELLED
    return StageStatus.FAILED


def run_status(error: BaseException | None) -> AgentStatus:
    """Return how a run ended that raised ``error`` (``None``: it returned)."""
    return AgentStatus.COMPLETED if error is None else AgentStatus(stage_status(error).value)


def is_abort(error: BaseException) -> bool:
    """Whether ``error`` is :class:`RunAborted`, or a group (of a ``TaskGroup``, say) of nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(RunAborted)[1] is None
    return isinstance(error, RunAborted)


def is_cancellation(error: BaseException) -> bool:
    """Whether ``error`` comes from outside: Ctrl-C, SIGTERM, a cancelled task. ``sys.exit()`` is the code's own."""
    if isinstance(error, SystemExit):
        return isinstance(error, Terminated)
    return not isinstance(error, Exception)


def describe(error: BaseException) -> str:
    """Return ``Type: message`` for records and heartbeats; the type alone where there is no message."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:  # a user's exception may fail to describe itself
        text = ""
    return f"{name}: {text}" if text else name


def drop_our_frames(error: BaseException) -> None:
    """Let the traceback of ``error`` begin in the user's code: the runner's frames above it explain nothing."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None and _is_ours(trace.tb_frame):
        trace = trace.tb_next
    error.__traceback__ = trace


def _is_ours(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    return module.rpartition(".")[0] == __name__.rpartition(".")[0]
