"""The run as the stages and workflows that are called inside it see it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from attune_dsl import clock
from attune_dsl.dsl.scope import current
from attune_dsl.exceptions import UsageError
from attune_dsl.runner import log_context
from attune_dsl.runner.calls import StageCall, StageUse, acall_stage, call_stage, filled, timed
from attune_dsl.runner.context import Frame
from attune_dsl.runner.fanout import Fan
from attune_dsl.runner.ledger import COMPLETED_AT_ONCE
from attune_dsl.runner.log_context import ATTEMPT, STAGE
from attune_dsl.runner.loops import running_loop
from attune_dsl.runner.progress import MapProgress

if TYPE_CHECKING:
    from attune_dsl.dsl.stage import Stage
    from attune_dsl.dsl.workflow import Workflow
    from attune_dsl.runner.run import Run

KNOWN_STAGES = 1024
"""Stages remembered by one scope; ``stage.options(...)`` in a loop makes ever new ones."""


class Scope:
    """Names the stages of one workflow within a run, and runs their calls.

    ``prefix`` is empty for the run's own workflow and ``child/`` for a nested one. A call that needs neither retries
    nor a facade, in a run that nobody observes, takes a short path here; every other one is a :class:`StageCall`.
    """

    __slots__ = ("_children", "_plain", "_prefix", "_run", "_stop", "_uses", "_workflow")

    def __init__(self, run: Run, workflow: Workflow[..., Any], prefix: str = "") -> None:
        self._run = run
        self._stop = run.stop
        self._workflow = workflow
        self._prefix = prefix
        self._uses: dict[Stage[..., Any], StageUse] = {}
        self._plain: dict[Stage[..., Any], StageUse] = {}
        self._children: dict[str, int] = {}

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Let the calls of this thread or task come here."""
        token = current.set(self)
        logged = log_context.enter(self._run)
        try:
            if self._run.spans is None:
                yield
            else:
                with self._run.spans.inside(self._workflow.name, self._prefix[:-1]):
                    yield
        finally:
            log_context.leave(logged)
            current.reset(token)

    def call_stage(self, stage: Stage[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one call; of an async stage return a coroutine."""
        use = self._plain.get(stage)
        if use is None or self._stop.halted:
            if self._is_over():
                return _outside(stage, args, kwargs)
            use = self._use(stage)
            if stage not in self._plain:
                return self._call(use, args, kwargs)
        run = self._run
        if use.is_async:
            token = run.pending.add(use.name)
            calling = self._await_plain(use, args, kwargs, token)
            calling.__qualname__ = use.name  # type: ignore[attr-defined]  # coroutine objects have one
            return calling
        tracker = run.tracker
        token = 0 if tracker is None else tracker.enter(use)
        logged = STAGE.set(use.name)
        first = ATTEMPT.set(1) if run.has_retried else None
        started = clock.monotonic()
        try:
            value = use.invoke(*args, **kwargs)
        except BaseException as error:
            run.failed(use, started, token, error)
            raise
        finally:
            STAGE.reset(logged)
            if first is not None:
                ATTEMPT.reset(first)
        if use.counted:  # as Run.completed does it, without the price of a call
            call = (use, started, clock.monotonic(), COMPLETED_AT_ONCE)
            run.ledger.calls.append(call)
            if tracker is not None:
                tracker.leave(token, call)
        else:
            run.completed(use, started, token)
        return value

    async def _await_plain(self, use: StageUse, args: tuple[Any, ...], kwargs: dict[str, Any], pending: int) -> Any:
        """Like the short path of :meth:`call_stage`, for an async stage."""
        run = self._run
        self._stop.check()
        token = 0 if run.tracker is None else run.tracker.enter(use)
        logged = STAGE.set(use.name)
        first = ATTEMPT.set(1) if run.has_retried else None
        started = clock.monotonic()
        try:
            value = await use.invoke(*args, **kwargs)
        except BaseException as error:
            run.failed(use, started, token, error)
            raise
        finally:
            run.pending.remove(pending)
            try:
                STAGE.reset(logged)
                if first is not None:
                    ATTEMPT.reset(first)
            except ValueError:  # nobody finished it, and it is closed in another context
                pass
        run.completed(use, started, token)
        return value

    def acall_stage(self, stage: Stage[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return a coroutine of one call's value; a sync stage runs in a thread."""
        if self._is_over():
            return _outside(stage.acall, args, kwargs)
        use = self._use(stage)
        self._require_loop(f"stage {stage.name!r} was called with acall()")
        drive = acall_stage if use.is_async else self._call_in_thread
        return self._run.pending.expect(use.name, drive, StageCall(self._run, use), args, kwargs)

    def map_stage(self, stage: Stage[..., Any], items: Iterable[Any]) -> Any:
        """Call ``stage`` for every item; a list for a sync stage, a coroutine of one for an async stage."""
        if self._is_over():
            return _outside(stage.map, (items,), {})
        if stage.is_async:
            return self.amap_stage(stage, items)
        return self._fan(self._use(stage), items).in_threads()

    def amap_stage(self, stage: Stage[..., Any], items: Iterable[Any]) -> Any:
        """Return a coroutine of the list of values, whatever the stage's colour."""
        if self._is_over():
            return _outside(stage.amap, (items,), {})
        use = self._use(stage)
        self._require_loop(f"stage {stage.name!r} was mapped in tasks")
        fan = self._fan(use, items)
        return self._run.pending.expect(use.name, fan.in_tasks if use.is_async else fan.await_threads)

    def call_workflow(self, workflow: Workflow[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run ``workflow`` inside this run; of an async workflow return a coroutine."""
        run = self._run
        if self._is_over():
            return _outside(workflow, args, kwargs)
        prefix = self._child_prefix(workflow.name)
        scope = Scope(run, workflow, prefix)
        args, kwargs = filled(workflow.slot, Frame(run, part=None), args, kwargs)
        if workflow.is_async:
            self._require_loop(f"workflow {workflow.name!r} is async")
            return run.pending.expect(prefix[:-1], scope._await_workflow, args, kwargs)
        with scope.inside():
            return workflow.fn(*args, **kwargs)

    async def _await_workflow(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        workflow = self._workflow
        with self.inside():
            return await timed(workflow.fn, workflow.spec.timeout, "workflow", workflow.name)(*args, **kwargs)

    def _call(self, use: StageUse, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = StageCall(self._run, use)
        if use.is_async:
            self._require_loop(f"stage {use.name!r} is async")
            return self._run.pending.expect(use.name, acall_stage, call, args, kwargs)
        return call_stage(call, args, kwargs)

    async def _call_in_thread(self, call: StageCall, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        from asyncio import get_running_loop

        context = copy_context()
        pool = self._run.threads()
        return await get_running_loop().run_in_executor(pool, context.run, call_stage, call, args, kwargs)

    def _fan(self, use: StageUse, items: Iterable[Any]) -> Fan:
        run, listed = self._run, list(items)
        drive = acall_stage if use.is_async else call_stage
        shared = MapProgress(run.progress, use.name, len(listed))

        def one(index: int, item: Any) -> Any:
            return drive(StageCall(run, use, index, shared), (item,), {})

        return Fan(use.spec, listed, one)

    def _use(self, stage: Stage[..., Any]) -> StageUse:
        """Return how this scope uses ``stage``, which joins the plan when it is met for the first time."""
        use = self._uses.get(stage)
        if use is None:
            use = StageUse(stage, self._prefix + stage.name)
            self._run.progress.meet(use.name)
            if len(self._uses) >= KNOWN_STAGES:
                self._uses.clear()
                self._plain.clear()
            self._uses[stage] = use
            if use.plain and not self._run.is_observed and (self._workflow.is_async or not use.is_async):
                self._plain[stage] = use
        return use

    def _is_over(self) -> bool:
        """Whether the run has ended; raises :class:`RunAborted` if it was asked to stop, or did not complete."""
        stop = self._run.stop
        stop.check()
        return stop.ended

    def _child_prefix(self, name: str) -> str:
        with self._run.lock:
            number = self._children[name] = self._children.get(name, 0) + 1
        return f"{self._prefix}{name}/" if number == 1 else f"{self._prefix}{name}#{number}/"

    def _require_loop(self, what: str) -> None:
        """Refuse to hand a coroutine to a flow that cannot await it."""
        if self._workflow.is_async or running_loop() is not self._run.outer_loop:
            return
        name = self._workflow.name
        raise UsageError(
            f"{what}, and workflow {name!r} is a plain 'def' that cannot await it: "
            f"write 'async def {name}' and await the call, or give it a sync stage"
        )


def _outside(call: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Make a call that comes after its run has ended, from a thread or task that outlived it, as if there was none."""
    token = current.set(None)
    try:
        return call(*args, **kwargs)
    finally:
        current.reset(token)
