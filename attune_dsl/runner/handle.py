"""A run that was started and goes on beside the code that started it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attune_dsl.exceptions import BlockingCallInLoop, RunAborted
from attune_dsl.model import AgentStatus
from attune_dsl.runner.loops import running_loop
from attune_dsl.store.names import check_reason

if TYPE_CHECKING:
    from asyncio import Task

    from attune_dsl.runner.result import RunResult
    from attune_dsl.runner.run import Run

R = TypeVar("R")


class RunHandle(Generic[R]):
    """A started run: ``wait()`` for it, ``await`` it, or ``abort()`` it.

    Waiting never raises for what the user's code did (the :class:`RunResult` says it), but it raises what kept the run
    from starting, such as ``AgentIdTaken``.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._done: Future[RunResult[R]] = Future()
        self._done.set_running_or_notify_cancel()  # so that cancelling a wait does not cancel the run
        self._seen = False

    def __repr__(self) -> str:
        return f"<RunHandle {self.agent_id} {self.status}>"

    @property
    def run_id(self) -> str:
        """The id of this execution."""
        return self.run.run_id

    @property
    def agent_id(self) -> str:
        """The name under which the run is known; until it has joined, the one that it will ask for."""
        return self.run.agent_id

    @property
    def status(self) -> AgentStatus:
        """Where the run stands."""
        return self.run.status

    @property
    def result(self) -> RunResult[R] | None:
        """How the run ended, or ``None`` while it has not."""
        self.look()
        return self.run.result

    def wait(self, timeout: float | None = None) -> RunResult[R]:
        """Block until the run has ended, at most ``timeout`` seconds, and return its result.

        Raises :class:`TimeoutError` if it has not ended by then (it goes on), and :class:`BlockingCallInLoop` on a
        thread whose event loop is running: await the handle there.
        """
        if running_loop() is not None and not self._done.done():
            raise BlockingCallInLoop(
                f"wait() for {self.agent_id!r} would block the event loop that runs on this thread: "
                "write 'await handle' instead"
            )
        try:
            return self._done.result(timeout)
        finally:
            self.look()

    def __await__(self) -> Generator[Any, None, RunResult[R]]:
        from asyncio import wrap_future

        try:
            return (yield from wrap_future(self._done))
        finally:
            self.look()

    @property
    def done(self) -> bool:
        """Whether the run has ended, or could not start."""
        return self._done.done()

    def abort(self, reason: str = "") -> None:
        """Ask the run to stop; it ends as ``aborted``.

        An async run is cancelled at once; a sync one stops when it next calls a stage or its context, because a
        thread cannot be stopped from outside. A run that has ended stays as it ended.

        ``reason`` is for people: a text of at most 1,000 characters, else ``ValueError``; empty, a general one is used.
        """
        self.run.stop.request("aborted by its handle" if reason == "" else check_reason(reason))

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """Run the block that executes the run; afterwards whoever waits gets its result, or why it has none."""
        try:
            yield
        except BaseException as error:
            if self.run.result is None:
                self._done.set_exception(error)
                return
        assert self.run.result is not None
        self._done.set_result(self.run.result)

    def follow(self, task: Task[None]) -> None:
        """The task executes the run; one that is cancelled before its first step never comes that far."""
        self._task = task  # the loop itself keeps no task alive

        def ended(_: Task[None]) -> None:
            if not self.done:
                self._done.set_exception(RunAborted("the task of the run was cancelled before it began"))

        task.add_done_callback(ended)

    def failure(self) -> BaseException | None:
        """Return the error of an ended run that failed, or could not start, and that nobody looked at."""
        if self._seen:
            return None
        error = self._done.exception()
        if error is None and self._done.result().status is AgentStatus.FAILED:
            return self._done.result().error
        return error

    def look(self) -> None:
        """Count the run as looked at if it has ended."""
        self._seen = self._seen or self.done

    @property
    def future(self) -> Future[RunResult[R]]:
        """What waits for the end."""
        return self._done
