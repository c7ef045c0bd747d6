"""Running several workflows side by side."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from threading import Lock, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypeVar, overload

from attune_dsl.dsl.workflow import Workflow
from attune_dsl.exceptions import BlockingCallInLoop, DeclarationError
from attune_dsl.model import AgentStatus
from attune_dsl.runner import entry  # noqa: F401 (tells the declarations that runs are possible now)
from attune_dsl.runner.execute import aexecute, execute
from attune_dsl.runner.interrupts import sigterm
from attune_dsl.runner.loops import running_loop
from attune_dsl.runner.outcome import describe, is_cancellation
from attune_dsl.runner.run import Place, Run

if TYPE_CHECKING:
    from attune_dsl.runner.events import RunEvent
    from attune_dsl.runner.handle import RunHandle
    from attune_dsl.runner.result import RunResult

P = ParamSpec("P")
R = TypeVar("R")


class Runner:
    """Runs workflows, one after the other or side by side, in one place.

    ``store`` and ``namespace`` hold for all of them unless a workflow's own options say otherwise. With
    ``on_failure="abort"`` one failure aborts the others. ``observer`` is called with every event of every run, on the
    thread where it happens.

    As a context, leaving it waits for everything that was started. Failures that nobody looked at are raised as an
    ``ExceptionGroup`` then; an exception in the block aborts what was started and goes on. Use ``async with`` where an
    event loop is running.
    """

    def __init__(
        self,
        *,
        store: str | None = None,
        namespace: str | None = None,
        on_failure: Literal["continue", "abort"] = "continue",
        observer: Callable[[RunEvent], object] | None = None,
    ) -> None:
        if on_failure not in ("continue", "abort"):
            raise DeclarationError(f"on_failure is 'continue' or 'abort', not {on_failure!r}")
        self._place = Place(store, namespace, observer)
        self._aborts = on_failure == "abort"
        self._lock = Lock()
        self._runs: dict[str, Run] = {}
        self._results: dict[str, RunResult[Any]] = {}
        self._handles: list[RunHandle[Any]] = []
        self._signals = ExitStack()

    @property
    def results(self) -> dict[str, RunResult[Any]]:
        """The results of all runs that have ended, by agent id; of several runs under one id the last."""
        for handle in self._handles:
            handle.look()
        return dict(self._results)

    @overload
    def run(self, flow: Workflow[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> RunResult[R]: ...
    @overload
    def run(self, flow: Workflow[P, R], /, *args: P.args, **kwargs: P.kwargs) -> RunResult[R]: ...
    def run(self, flow: Workflow[..., Any], /, *args: Any, **kwargs: Any) -> RunResult[Any]:
        """Run ``flow`` and block until it has ended; an async one gets an event loop of its own.

        The result never raises for what the user's code did; this raises what kept the run from starting
        (``AgentIdTaken``, ``StoreConfigError``, ``StoreUnavailable``; ``NotAJsonValue`` and ``PayloadTooLarge`` for
        metadata), and :class:`BlockingCallInLoop` where it would block a running event loop: await :meth:`arun` there.

        A run whose agent id is taken over by another owner ends as aborted, and its error says by whom: an async one
        at once, a sync one at its next call of a stage, its context or its signals, at the latest when it returns.
        """
        if not flow.is_async:
            return self._execute(self._new(flow), args, kwargs)
        _refuse_loop(f"run({flow.name})", f"await arun({flow.name}, ...)")
        from asyncio import run as run_in_loop

        return run_in_loop(self._aexecute(self._new(flow), args, kwargs))

    @overload
    async def arun(
        self, flow: Workflow[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> RunResult[R]: ...
    @overload
    async def arun(self, flow: Workflow[P, R], /, *args: P.args, **kwargs: P.kwargs) -> RunResult[R]: ...
    async def arun(self, flow: Workflow[..., Any], /, *args: Any, **kwargs: Any) -> RunResult[Any]:
        """Like :meth:`run`, awaited: an async ``flow`` runs in this task, a sync one in a thread."""
        run = self._new(flow)
        if flow.is_async:
            return await self._aexecute(run, args, kwargs)
        handle = _handle(run)
        self._start_thread(handle, args, kwargs)
        try:
            return await handle
        finally:
            run.stop.request("the task that awaited the run was cancelled", AgentStatus.CANCELLED)

    @overload
    def start(
        self, flow: Workflow[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> RunHandle[R]: ...
    @overload
    def start(self, flow: Workflow[P, R], /, *args: P.args, **kwargs: P.kwargs) -> RunHandle[R]: ...
    def start(self, flow: Workflow[..., Any], /, *args: Any, **kwargs: Any) -> RunHandle[Any]:
        """Start ``flow`` and return at once.

        An async one becomes a task where an event loop is running; everything else runs in a thread, with a loop of
        its own if it is async. Context variables follow.
        """
        handle = _handle(self._new(flow))
        self._handles.append(handle)
        loop = running_loop()
        if flow.is_async and loop is not None:
            handle.follow(loop.create_task(self._in_task(handle, args, kwargs), name=flow.name))
        else:
            self._start_thread(handle, args, kwargs)
        return handle

    def __enter__(self) -> Self:
        _refuse_loop("'with Runner()'", "async with Runner()")
        self._signals.enter_context(sigterm())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._signals:
            try:
                self._stop_for(error)
                self._wait()
            except BaseException as interruption:
                self._stop_for(interruption)
                self._wait()
                raise
        if error is None:
            self._raise_failures()

    async def __aenter__(self) -> Self:
        from asyncio import current_task, get_running_loop

        loop, task = get_running_loop(), current_task()
        assert task is not None
        self._signals.enter_context(sigterm(lambda: loop.call_soon_threadsafe(task.cancel), loop))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._signals:
            try:
                self._stop_for(error)
                await self._await_all()
            except BaseException as interruption:
                self._stop_for(interruption)
                await self._await_all()
                raise
        if error is None:
            self._raise_failures()

    def _new(self, flow: Workflow[..., Any]) -> Run:
        if not isinstance(flow, Workflow):
            raise DeclarationError(f"only workflows can be run: mark {flow!r} with @workflow")
        run = Run(flow, self._place)
        with self._lock:
            self._runs[run.run_id] = run
        return run

    def _start_thread(self, handle: RunHandle[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        target = copy_context().run
        Thread(target=target, args=(self._in_thread, handle, args, kwargs), name=handle.agent_id).start()

    def _in_thread(self, handle: RunHandle[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with handle.finishing():
            if not handle.run.workflow.is_async:
                self._execute(handle.run, args, kwargs)
                return
            from asyncio import run as run_in_loop

            run_in_loop(self._aexecute(handle.run, args, kwargs))

    async def _in_task(self, handle: RunHandle[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with handle.finishing():
            await self._aexecute(handle.run, args, kwargs)

    def _execute(self, run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]) -> RunResult[Any]:
        with self._keeping(run):
            return execute(run, args, kwargs)

    async def _aexecute(self, run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]) -> RunResult[Any]:
        with self._keeping(run):
            return await aexecute(run, args, kwargs)

    @contextmanager
    def _keeping(self, run: Run) -> Iterator[None]:
        """Keep the result of the run that the block executes, and abort the others if they have to follow it."""
        try:
            yield
        finally:
            with self._lock:
                self._runs.pop(run.run_id, None)
                if run.result is not None:
                    self._results[run.agent_id] = run.result
                others = list(self._runs.values())
            if self._aborts and (run.result is None or run.result.status is AgentStatus.FAILED):
                for other in others:
                    other.stop.request(f"run {run.agent_id!r} failed")

    def _stop_for(self, error: BaseException | None) -> None:
        """Ask everything that was started to stop because the block raised ``error``; nothing for ``None``."""
        if error is None:
            return
        status = AgentStatus.CANCELLED if is_cancellation(error) else AgentStatus.ABORTED
        for handle in self._handles:
            handle.run.stop.request(f"the runner's block raised {describe(error)}", status)

    def _wait(self) -> None:
        if not self._handles:
            return
        from concurrent.futures import wait

        while pending := [handle.future for handle in self._handles if not handle.done]:
            wait(pending)

    async def _await_all(self) -> None:
        import asyncio

        while pending := [asyncio.wrap_future(handle.future) for handle in self._handles if not handle.done]:
            await asyncio.wait(pending)

    def _raise_failures(self) -> None:
        failures = [(h.agent_id, error) for h in self._handles if (error := h.failure()) is not None]
        for handle in self._handles:
            handle.look()
        if failures:
            names = ", ".join(repr(name) for name, _ in failures)
            raise BaseExceptionGroup(f"failed runs: {names}", [error for _, error in failures])


def _handle(run: Run) -> RunHandle[Any]:
    from attune_dsl.runner.handle import RunHandle  # brings concurrent.futures, which most runs never need

    return RunHandle(run)


def _refuse_loop(call: str, instead: str) -> None:
    if running_loop() is not None:
        raise BlockingCallInLoop(
            f"{call} would block the event loop that runs on this thread: write '{instead}' instead"
        )
