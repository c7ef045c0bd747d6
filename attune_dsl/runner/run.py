"""One execution of a workflow: its identity, what it keeps while it runs, and how it ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from attune_dsl import clock, tracing
from attune_dsl.dsl.plan import plan_of
from attune_dsl.exceptions import RunAborted
from attune_dsl.model import AgentStatus
from attune_dsl.runner.calls import StageUse, filled, timed
from attune_dsl.runner.context import Frame
from attune_dsl.runner.ledger import COMPLETED_AT_ONCE, Detail, Ledger
from attune_dsl.runner.loops import running_loop
from attune_dsl.runner.outcome import describe, drop_our_frames, stage_status
from attune_dsl.runner.pending import Pending
from attune_dsl.runner.progress import Progress
from attune_dsl.runner.result import RunResult
from attune_dsl.runner.scope import Scope
from attune_dsl.runner.stop import Stop

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from concurrent.futures import ThreadPoolExecutor

    from attune_dsl.coordination.agent import Agent
    from attune_dsl.dsl.workflow import Workflow
    from attune_dsl.hub.drive import Strand
    from attune_dsl.runner.events import RunEvent
    from attune_dsl.runner.observer import Observer
    from attune_dsl.runner.traced import RunSpans
    from attune_dsl.runner.tracker import Tracker

T = TypeVar("T")

MAX_THREADS = 1000
"""Threads for ``acall`` in one run: many, because calls that wait for each other's signals must all have one."""

WAITING = frozenset({"wait", "collect", "barrier"})
"""Signal calls that end by themselves, and say so, when the run is asked to stop."""

SENDING = frozenset({"send", "broadcast", "abort"})
"""Those that code may need to clean up."""

ROOM_FOR_NAME = 119
"""An agent id has 128 characters at most, and the alternative to a taken name ends with nine of its own."""

active: dict[str, Run] = {}
"""The runs of this process that have begun and not ended, by run id."""

_names = Lock()


class Place(NamedTuple):
    """Where runs take place: what a ``Runner`` says for all of its runs; a workflow's own options win."""

    store: str | None = None
    namespace: str | None = None
    observer: Callable[[RunEvent], object] | None = None


class Run:
    """One execution of ``workflow``: the drivers call ``join begin call settle leave conclude`` in this order.

    ``tracker`` is ``None`` where the run takes no part in the store, ``observer`` where nobody observes it, ``spans``
    where the process is not traced;
    ``outer_loop`` is the event loop that ran on the thread where it began.
    """

    ledger: Ledger
    outer_loop: AbstractEventLoop | None

    def __init__(self, workflow: Workflow[..., Any], place: Place) -> None:
        self.workflow = workflow
        self.run_id = os.urandom(16).hex()
        self.agent_id: str = workflow.spec.agent_id or workflow.name
        self.status = AgentStatus.STARTING
        self.result: RunResult[Any] | None = None
        self.agent: Agent | None = None
        self.tracker: Tracker | None = None
        self.observer: Observer | None = None
        self.spans: RunSpans | None = None
        self.home: Strand | None = None
        self.stop = Stop()
        self.pending = Pending()
        self.has_retried = False
        self.lock = Lock()
        self._place = place
        self._planned = plan_of(workflow)
        self.progress = Progress((planned.name for planned in self._planned), exact=self.has_exact_plan)
        self._ending: tuple[Any, BaseException | None] = (None, None)
        self._pool: ThreadPoolExecutor | None = None
        self._inert: Agent | None = None

    @property
    def has_exact_plan(self) -> bool:
        """Whether the workflow names its stages itself."""
        return self.workflow.spec.stages is not None

    @property
    def takes_lease(self) -> bool:
        """Whether the run takes part in the store."""
        return bool(self.workflow.spec.heartbeat or self.workflow.spec.coordination)

    @property
    def is_observed(self) -> bool:
        """Whether somebody is told of each call of a stage."""
        return self.observer is not None or self.spans is not None

    async def join(self) -> None:
        """Take the agent id (neutral)."""
        from attune_dsl.coordination.agent import AgentInfo, enter
        from attune_dsl.runner.tracker import Tracker
        from attune_dsl.store.settings import coordination_policy, heartbeat_policy

        spec = self.workflow.spec
        self.agent = await enter(
            self.agent_id,
            alternative=None if spec.agent_id else self._alternative,
            store=spec.store or self._place.store,
            namespace=spec.namespace or self._place.namespace,
            heartbeat=heartbeat_policy(spec.heartbeat),
            coordination=coordination_policy(spec.coordination),
            takeover=spec.takeover,
            info=AgentInfo(
                workflow=self.workflow.name,
                run_id=self.run_id,
                stages=self.progress.plan,
                display_name=spec.display_name,
                metadata=spec.metadata,
            ),
        )
        self.agent.on_gone(self.stop.fence)
        self.agent.on_abort(self.stop.request)
        self.stop.on_request(self._halt)
        self.agent_id = self.agent.agent_id
        if self.agent.recorder is not None:
            self.tracker = Tracker(self.agent, self.agent.recorder, self.progress)

    def _halt(self, why: str, status: AgentStatus) -> None:
        """The run was asked to stop: so is its agent, whose waits end."""
        assert self.agent is not None
        self.agent.halt(why, is_abort=status is AgentStatus.ABORTED)

    def begin(self) -> Scope:
        """The workflow is about to be called; the calls inside it go to the scope."""
        with _names:
            if self.agent is None and not self.workflow.spec.agent_id:
                taken = {run.agent_id for run in active.values()}
                self.agent_id = self._alternative if self.agent_id in taken else self.agent_id
            active[self.run_id] = self
        self.ledger = Ledger()
        if self.agent is not None:
            from attune_dsl.hub.drive import Strand
            from attune_dsl.runner.history import History

            self.home = Strand()
            self.agent.stage_rows(History(self.ledger).read)
        if self.tracker is not None:
            self.tracker.run_started()
        self.outer_loop = running_loop()
        self.status = AgentStatus.RUNNING
        if self._place.observer is not None:
            from attune_dsl.runner.observer import Observer

            self.observer = Observer(self, self._place.observer)
            self.observer.run_started()
        if (tracer := tracing.tracer()) is not None:
            from attune_dsl.runner.traced import RunSpans

            self.spans = RunSpans(self, tracer)
        return Scope(self, self.workflow)

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the workflow's function; of an async one return the awaitable."""
        self.stop.check()
        workflow = self.workflow
        args, kwargs = filled(workflow.slot, Frame(self, part=""), args, kwargs)
        if workflow.is_async:
            return timed(workflow.fn, workflow.spec.timeout, "workflow", workflow.name)(*args, **kwargs)
        return workflow.fn(*args, **kwargs)

    def settle(self, value: Any, error: BaseException | None = None) -> None:
        """The workflow returned or raised; from here on nothing interrupts the run any more."""
        if self.agent is not None and self.agent.has_heeded:
            self.stop.request(self.agent.aborted)  # its wait may have ended a moment before the run was told
            self.stop.notice()
        if error is None:
            error = self._warned()
        else:
            drop_our_frames(error)
        self.status, error = self.stop.end(error)
        if error is None:
            self.progress.end()
        self._ending = (value if error is None else None), error
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def leave(self) -> None:
        """Publish the final status and give up the agent id (neutral)."""
        error = self._ending[1]
        if self.agent is None:
            return
        if self.tracker is not None:
            self.tracker.run_ended(self, error)
        await self.agent.leave(self.status, None if error is None else describe(error))
        if self.agent.replaced and self.status in {AgentStatus.COMPLETED, AgentStatus.FAILED}:
            aborted = RunAborted(self.agent.replaced)  # only now it learned of it
            aborted.__cause__ = error
            self.status, self._ending = AgentStatus.ABORTED, (None, aborted)

    def conclude(self) -> RunResult[Any]:
        """Return the result; raise instead what must not be swallowed: Ctrl-C, SIGTERM, a cancelled task, exits."""
        value, error = self._ending
        ledger = self.ledger
        self.result = RunResult(
            run_id=self.run_id,
            agent_id=self.agent_id,
            workflow=self.workflow.name,
            status=self.status,
            value=value,
            error=error,
            started_at=ledger.started_at,
            duration=clock.monotonic() - ledger.started,
            usage=ledger.usage,
            degraded=self.agent.degraded if self.agent is not None else False,
            build_stages=ledger.reader(self._planned if error is None else ()),
        )
        active.pop(self.run_id, None)
        if self.observer is not None:
            self.observer.run_ended(error)
        if self.spans is not None:
            self.spans.ended(self, error)
        if error is not None and not isinstance(error, Exception):
            raise error
        return self.result

    # What happens inside.

    def completed(self, use: StageUse, started: float, token: int) -> None:
        """A call on the short path returned."""
        if not use.counted:
            use.counted = True
            self.progress.complete(use.name)
        call = (use, started, clock.monotonic(), COMPLETED_AT_ONCE)
        self.ledger.calls.append(call)
        if self.tracker is not None:
            self.tracker.leave(token, call)

    def failed(self, use: StageUse, started: float, token: int, error: BaseException) -> None:
        """A call on the short path raised."""
        self.record(use, started, token, (stage_status(error), 1, None, describe(error)))

    def record(self, use: StageUse, started: float, token: int, detail: Detail) -> None:
        """A call ended: the one place where that is written down."""
        call = (use, started, clock.monotonic(), detail)
        self.ledger.calls.append(call)
        if self.observer is not None:
            self.observer.stage_ended(self.ledger.record(call))
        if self.tracker is not None:
            self.tracker.leave(token, call)

    def progressed(self, frame: Frame, fraction: float | None, note: str | None) -> None:
        """The code of a frame said how far it is."""
        self.stop.check()
        if fraction is not None and frame.part is not None:
            if frame.part:
                self.progress.advance(frame.part, fraction)
            else:
                self.progress.reach(fraction)
        if self.tracker is not None:
            self.tracker.note(frame, fraction, note)
        if self.observer is not None:
            self.observer.progressed(frame, fraction, note)

    def emitted(self, frame: Frame, kind: str, data: Any) -> None:
        """The code of a frame handed something out."""
        self.stop.check()
        if self.tracker is not None:
            self.tracker.emitted(frame, kind, data)
        if self.observer is not None:
            self.observer.emitted(frame, kind, data)

    def used(self, tokens_in: int, tokens_out: int, cost: float) -> None:
        """The code of a frame said what it used; the agent is told the sum."""
        self.stop.check()
        with self.lock:  # or a smaller sum might be told after a larger one
            self.ledger.use(tokens_in, tokens_out, cost)
            if self.agent is not None:
                self.agent.spent(self.ledger.usage.cost)

    def signals(self, frame: Frame, is_async: bool) -> Any:
        """Return the signals of this run's agent; inert ones where it has none."""
        agent = self._inert_agent() if self.agent is None else self.agent
        make = agent.async_signals if is_async else agent.signals
        check = self._check_async if is_async else partial(self._check_sync, frame)
        return make(frame.taken, check, partial(self.is_alone, in_stage=frame.stage is not None), frame.stage)

    def _check_async(self, _: str) -> None:
        """Signals work while an async run cleans up, which was cancelled; not once its agent is somebody else's."""
        self.stop.check_fence()

    def _check_sync(self, frame: Frame, operation: str) -> None:
        """Sync code learns only by its calls that it has to stop; then it may still send, to clean up."""
        self.stop.check_fence()
        if not self.stop.halted or (frame.knows_of_stop and operation in SENDING):
            return
        says_so_itself = operation in WAITING and not frame.knows_of_stop
        frame.knows_of_stop = True
        if not says_so_itself:
            self.stop.check()

    def is_alone(self, *, in_stage: bool) -> bool:
        """Whether the caller is all that this run does: on its own thread or task, and in the only running stage."""
        running = 0 if self.tracker is None else self.tracker.running
        return self.home is not None and self.home.is_here() and running == int(in_stage)

    def threads(self) -> ThreadPoolExecutor:
        """Return the threads for sync stages that are awaited."""
        with self.lock:
            if self._pool is None:
                from concurrent.futures import ThreadPoolExecutor

                self._pool = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix=self.workflow.name)
            return self._pool

    @property
    def _alternative(self) -> str:
        name = self.workflow.name[:ROOM_FOR_NAME]
        return f"{name}-{self.run_id[:8]}"

    def _inert_agent(self) -> Agent:
        """Return an agent that touches no store, for signals in a workflow that did not ask for them."""
        from attune_dsl.coordination.agent import AgentInfo, enter

        with self.lock:
            if self._inert is None:
                info = AgentInfo(workflow=self.workflow.name, run_id=self.run_id, stages=())
                entering = enter(self.agent_id, heartbeat=None, coordination=None, info=info)
                self._inert = _at_once(entering)
            return self._inert

    def _warned(self) -> RuntimeWarning | None:
        """Warn about unfinished calls; where warnings are errors, return it as the error of the run."""
        try:
            self.pending.warn(self.workflow.name)
        except RuntimeWarning as warning:
            return warning
        return None


def _at_once(operation: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that has nothing to wait for."""
    try:
        operation.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    raise AssertionError("an agent without a store has nothing to wait for")
