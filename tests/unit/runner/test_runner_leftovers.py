"""What comes out of a run, and what is left behind by it."""

import asyncio
import contextvars
import re
import threading
import traceback

import pytest

from attune_dsl import AgentStatus, AsyncContext, BlockingCallInLoop, Context, arun, run, stage, workflow


@stage
def add(one, other=1):
    return one + other


@stage
async def aadd(one, other=1):
    return one + other


@stage
def fail(message):
    raise ValueError(message)


def told(result):
    return [(record.name, record.status.value) for record in result.stages]


def test_the_traceback_shows_the_users_code_and_two_frames_of_ours_for_a_stage():
    @workflow
    def flow():
        fail("here")

    with pytest.raises(ValueError, match="here") as caught:
        flow()
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-4:] == ["flow", "__call__", "call_stage", "fail"]
    assert len(names) <= 8


def test_a_workflow_returns_its_value_and_raises_its_own_exception_outside_a_run():
    error = KeyError("own")

    @workflow
    def flow(good):
        if good:
            return "value"
        raise error

    assert flow(True) == "value"
    with pytest.raises(KeyError) as caught:
        flow(False)
    assert caught.value is error


async def test_an_async_workflow_is_awaited_outside_a_run():
    @workflow
    async def flow(number):
        return await aadd(number)

    assert await flow(1) == 2
    assert (await arun(flow, 2)).value == 3


async def test_a_blocking_run_of_an_async_flow_under_a_loop_points_to_arun():
    @workflow
    async def flow():
        pass

    with pytest.raises(BlockingCallInLoop, match=r"write 'await arun\(flow, ...\)' instead"):
        run(flow)


async def test_arun_runs_a_sync_flow_in_a_thread():
    @workflow
    def flow():
        return threading.get_ident()

    assert (await arun(flow)).value != threading.get_ident()


def test_a_result_never_raises_but_unwrap_does():
    @workflow
    def flow():
        fail("no")

    result = run(flow)
    assert (result.success, result.status, result.value) == (False, AgentStatus.FAILED, None)
    with pytest.raises(ValueError, match="no"):
        result.unwrap()


def test_what_outlives_its_run_is_outside_of_it():
    """A stage is the plain function again, which nothing fills, and a workflow is a run of its own."""

    @stage
    def asks(ctx: Context):
        return ctx.run_id

    @workflow
    def other(ctx: Context):
        return ctx.run_id

    go, threads, seen = threading.Event(), [], []

    def late():
        go.wait(10)
        seen.extend([add(1), add.map([1]), other()])
        try:
            asks()
        except TypeError as error:
            seen.append(str(error))

    @workflow(stages=[add])
    def flow():
        add(0)
        threads.append(threading.Thread(target=contextvars.copy_context().run, args=(late,)))
        threads[0].start()

    result = run(flow)
    go.set()
    threads[0].join()
    value, values, run_id, message = seen
    assert (value, values) == (2, [2])
    assert run_id != result.run_id
    assert "asks() was called outside a run" in message
    assert told(result) == [("add", "completed")]


async def test_async_calls_that_outlive_their_run_are_outside_of_it():
    @stage
    async def asks(ctx: AsyncContext):
        return ctx.run_id

    @workflow
    async def other(ctx: AsyncContext):
        return ctx.run_id

    go = asyncio.Event()

    async def late():
        await go.wait()
        with pytest.raises(TypeError, match="outside a run"):
            await asks()
        with pytest.raises(TypeError, match="outside a run"):
            await asks.acall()
        return await aadd(1), await add.amap([1]), await other()

    @workflow
    async def flow(ctx: AsyncContext):
        return asyncio.create_task(late()), ctx.run_id

    task, run_id = await flow()
    go.set()
    value, values, other_id = await task
    assert (value, values) == (2, [2])
    assert other_id != run_id


def test_a_call_that_nobody_awaited_is_reported_with_its_name():
    kept = []

    @workflow
    async def flow():
        kept.append(aadd(1))

    with pytest.warns(RuntimeWarning, match=re.escape("workflow 'flow' returned before its calls of 'aadd' had ended")):
        assert run(flow).success
    with pytest.warns(RuntimeWarning, match="coroutine 'aadd' was never awaited"):
        kept.clear()


def test_where_warnings_are_errors_a_call_that_nobody_awaited_fails_the_run():
    @workflow
    async def flow():
        flow.kept = aadd(1)

    result = run(flow)
    assert result.status is AgentStatus.FAILED
    assert "await each call, as in 'await aadd(...)'" in str(result.error)
    flow.kept.close()


def test_calls_that_ended_leave_no_warning():
    @workflow
    async def flow():
        await asyncio.gather(aadd(1), add.acall(1), aadd.map([1]), return_exceptions=True)

    assert run(flow).error is None


def test_a_thread_that_did_not_follow_the_context_is_warned_about_once(caplog):
    @stage
    def lost():
        return "plain"

    values = []

    def work():
        values.extend([lost(), lost()])

    @workflow(stages=[])
    def flow():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    result = run(flow)
    assert values == ["plain", "plain"]
    assert result.stages == ()
    assert [record.getMessage().split()[:2] for record in caplog.records] == [["event=stage.outside_run", "stage=lost"]]


def test_where_nothing_runs_a_stage_is_just_a_function(caplog):
    @stage
    def tested():
        return "plain"

    @workflow
    def flow():
        pass

    run(flow)
    assert tested() == "plain"
    assert caplog.records == []
