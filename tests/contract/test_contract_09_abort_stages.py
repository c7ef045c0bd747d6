"""§5.9: what an abort does to the stages of a run: async and sync ones, threads, and retries."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from aborting import WHY, Place, abort, aborted, assert_aborted, blocks, flow_of, knows
from peers import Peer, Peers
from waiting import wait_until

from attune_dsl import AsyncContext, AsyncSignals, Context, RunAborted, Runner, Signals, arun, stage, workflow
from attune_dsl.model import AgentStatus
from attune_dsl.runner.events import RunEvent, StageRetried, StageStarted
from attune_dsl.runner.stop import Stop

if TYPE_CHECKING:
    from conftest import Store


@stage
def step(*_: Any) -> str:
    return "done"


@stage
async def rest(*_: Any) -> None:
    await asyncio.Event().wait()


@stage
async def listen(signals: AsyncSignals, *_: Any) -> Any:
    return await signals.wait("never", timeout=None)


# Async stages


@stage
async def fan(*_: Any) -> None:
    await asyncio.gather(rest(), listen(), rest())


@workflow
async def child() -> None:
    await fan()


@workflow
async def parent() -> None:
    await child()


async def in_a_map() -> Any:
    return await listen.map([1, 2, 3])


async def in_a_limited_map() -> Any:
    return await rest.options(limit=1).map([1, 2, 3])


async def in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(rest())
        group.create_task(listen())


ASYNC: dict[str, tuple[Callable[[], Any], set[str]]] = {
    "stage": (rest, {"rest"}),
    "wait": (listen, {"listen"}),
    "gather": (fan, {"fan", "rest", "listen"}),
    "map": (in_a_map, {"listen"}),
    "limited map": (in_a_limited_map, {"rest"}),
    "task group": (in_a_group, {"rest", "listen"}),
    "nested": (child, {"child/fan", "child/rest", "child/listen"}),
    "nested twice": (parent, {"parent/child/fan", "parent/child/rest", "parent/child/listen"}),
}


@pytest.mark.parametrize("name", ASYNC)
def test_async_stages_are_cancelled(store: Store, ops: Peer, runner: Runner, name: str) -> None:
    """§5.9: where they stand, also in a gather, a map, a task group and nested workflows."""
    body, stages = ASYNC[name]

    @flow_of
    async def flow() -> None:
        await body()

    handle = runner.start(flow)
    wait_until(lambda: handle.run.tracker is not None and handle.run.tracker.running >= len(stages) - ("map" in name))
    abort(ops)

    result = handle.wait(20)
    assert_aborted(store, result)
    ended = {(record.name, record.status.value) for record in result.stages}
    assert {stage_name for stage_name, _ in ended} == stages
    assert {status for _, status in ended} <= {"cancelled", "aborted", "completed"}
    assert not name.startswith("stage") or ended == {("rest", "cancelled")}


async def test_the_task_that_awaited_the_run_goes_on(store: Store, peers: Peers) -> None:
    """§5.9: the run is cancelled, not its caller."""
    ops = await peers.ajoin("ops", url=peers.elsewhere())

    @flow_of
    async def flow(signals: AsyncSignals) -> None:
        await ops.async_signals.abort("enough", "flow")
        await asyncio.Event().wait()

    result = await arun(flow.options(store=store.url, namespace=store.namespace))
    await asyncio.sleep(0)  # what is left over would cancel this task here
    assert (result.status, str(result.error)) == (AgentStatus.ABORTED, WHY)
    await ops.aleave()


def test_an_async_stage_may_clean_up(store: Store, ops: Peer, runner: Runner) -> None:
    """§5.9: its signals still work then."""

    @flow_of
    async def flow(signals: AsyncSignals) -> None:
        try:
            await signals.wait("never", timeout=None)
            await asyncio.Event().wait()
        finally:
            await signals.send("sorry", "ops")

    handle = runner.start(flow)
    blocks(handle)
    abort(ops)

    assert_aborted(store, handle.wait(20))
    assert ops.signals.wait("sorry")


# Sync stages


CALLS: dict[str, Callable[[Context], object]] = {
    "a stage": lambda ctx: step(),
    "a map": lambda ctx: step.map([1, 2]),
    "a stage with retries": lambda ctx: step.options(retries=2)(),
    "progress": lambda ctx: ctx.progress(0.5),
    "usage": lambda ctx: ctx.usage(tokens_in=1),
    "emit": lambda ctx: ctx.emit("chunk"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_sync_stage_stops_at_its_next_call_into_the_run(
    store: Store, ops: Peer, runner: Runner, place: Place, call: str
) -> None:
    """§5.9: a thread cannot be stopped elsewhere."""

    @stage
    def work(ctx: Context) -> None:
        place.wait()
        place.passed.append("until the call")
        CALLS[call](ctx)
        place.passed.append("beyond the call")

    @flow_of
    def flow() -> None:
        work()

    handle = runner.start(flow)
    place.reached.wait(20)
    abort(ops)
    knows(handle)
    place.opened.set()

    result = handle.wait(20)
    assert_aborted(store, result)
    assert place.passed == ["until the call"]
    assert {(record.name, record.status.value) for record in result.stages} == {("work", "aborted")}


def test_waits_in_all_threads_end(store: Store, ops: Peer, runner: Runner) -> None:
    """§5.9: of a map, and each says why."""
    heard: list[str] = []

    @stage
    def hear(signals: Signals, _: int) -> None:
        heard.append(aborted(signals.wait("never", timeout=None)))

    @flow_of
    def flow() -> None:
        hear.map([1, 2, 3])

    handle = runner.start(flow)
    blocks(handle, 3)
    abort(ops)

    assert_aborted(store, handle.wait(20))
    assert heard == [WHY] * 3


def test_a_wait_in_a_thread_of_an_async_run_ends(store: Store, ops: Peer, runner: Runner) -> None:
    """§5.9: the run does not wait for it, and it does not stay behind."""
    heard: list[str] = []

    @stage
    def hear(signals: Signals) -> None:
        heard.append(aborted(signals.wait("never", timeout=None)))

    @flow_of
    async def flow() -> None:
        await hear.acall()

    handle = runner.start(flow)
    blocks(handle)
    abort(ops)

    assert_aborted(store, handle.wait(20))
    wait_until(lambda: heard)


def test_a_sync_stage_in_a_thread_of_an_async_run_stops(store: Store, ops: Peer, runner: Runner, place: Place) -> None:
    """§5.9: the run ends at once, the thread at its next call into the context."""
    stopped: list[BaseException] = []

    @stage
    def work(ctx: Context) -> None:
        place.wait()
        try:
            ctx.progress(0.5)
        except RunAborted as error:
            stopped.append(error)
            raise

    @flow_of
    async def flow() -> None:
        await work.acall()

    handle = runner.start(flow)
    place.reached.wait(20)
    abort(ops)
    assert_aborted(store, handle.wait(20))
    place.opened.set()
    wait_until(lambda: stopped)
    assert str(stopped[0]) == WHY


# Retries


def test_nothing_is_tried_again(store: Store, ops: Peer, runner: Runner) -> None:
    """§5.9: whatever the attempt made of the end of its wait."""
    attempts: list[int] = []

    @stage(retries=5, backoff=0)
    def work(ctx: Context) -> None:
        attempts.append(ctx.attempt)
        raise LookupError(aborted(ctx.signals.wait("never", timeout=None)))

    @flow_of
    def flow() -> None:
        work()

    handle = runner.start(flow)
    blocks(handle)
    abort(ops)

    assert_aborted(store, handle.wait(20))
    assert attempts == [1]


def test_nothing_async_is_tried_again(store: Store, ops: Peer, runner: Runner) -> None:
    """§5.9: also where the code turns the cancellation into an error of its own."""
    attempts: list[int] = []

    @stage(retries=5, backoff=0)
    async def work(ctx: AsyncContext) -> None:
        attempts.append(ctx.attempt)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise LookupError from None

    @flow_of
    async def flow() -> None:
        await work()

    handle = runner.start(flow)
    wait_until(lambda: attempts)
    abort(ops)

    assert_aborted(store, handle.wait(20))
    assert attempts == [1]


@stage(retries=3, backoff=40)
def fail(*_: int) -> None:
    raise ConnectionError


@stage(retries=3, backoff=40)
async def fail_async() -> None:
    raise ConnectionError


def in_this_thread() -> None:
    fail()


def in_a_map_of_threads() -> None:
    fail.map([1, 2])


async def in_a_task() -> None:
    await fail_async()


async def in_a_thread() -> None:
    await fail.acall()


@pytest.mark.parametrize("body", [in_this_thread, in_a_map_of_threads, in_a_task, in_a_thread])
def test_a_pause_between_two_attempts_ends_at_once(store: Store, ops: Peer, runner: Runner, body: Any) -> None:
    """§5.9: it would take forty seconds; the next attempt is not made."""
    retried = threading.Event()
    attempts: list[int] = []

    def observe(event: RunEvent) -> None:
        if isinstance(event, StageStarted):
            attempts.append(event.attempt)
        if isinstance(event, StageRetried):
            retried.set()

    observed = Runner(store=store.url, namespace=store.namespace, observer=observe)
    handle = observed.start(flow_of(body))
    assert retried.wait(20)
    if body is not in_a_task:
        wait_until(are_pausing)
    abort(ops)

    assert_aborted(store, handle.wait(20))
    wait_until(lambda: not are_pausing(), what="no thread stays in its pause")
    assert set(attempts) == {1}


def are_pausing() -> bool:
    """Whether any thread pauses between two attempts. Threads are not counted: the store in memory has its own."""
    return any(
        frame.f_code is Stop.pause.__code__
        for innermost in sys._current_frames().values()
        for frame, _ in traceback.walk_stack(innermost)
    )
