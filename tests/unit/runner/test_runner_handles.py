"""Runner and RunHandle: side by side, waiting, aborting, and failures that nobody looked at."""

import asyncio
import contextvars
import threading

import pytest

from attune_dsl import (
    AgentStatus,
    BlockingCallInLoop,
    Context,
    DeclarationError,
    RunAborted,
    Runner,
    stage,
    workflow,
)


class Gate:
    """A place where a sync or an async flow waits until the test lets it go on."""

    def __init__(self):
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self):
        self.entered.set()
        assert self.opened.wait(10)


@stage
def step():
    return "stepped"


@workflow
def quick(value="value"):
    return value


@workflow
async def aquick(value="value"):
    return value


@workflow
def fails():
    raise ValueError("failed")


@workflow(stages=[step])
def gated(gate):
    gate()
    return step()


@workflow
async def forever(started):
    started.set()
    await asyncio.Event().wait()


def test_leaving_the_block_waits_for_everything():
    gate = Gate()
    with Runner() as runner:
        runner.start(gated, gate)
        runner.start(aquick, 2)
        gate.entered.wait(10)
        assert "gated" not in runner.results
        gate.opened.set()
    assert {name: result.value for name, result in runner.results.items()} == {"gated": "stepped", "aquick": 2}


def test_a_handle_says_what_it_stands_for():
    gate = Gate()
    runner = Runner()
    handle = runner.start(gated, gate)
    gate.entered.wait(10)
    assert (handle.agent_id, handle.status, handle.result, handle.done) == ("gated", AgentStatus.RUNNING, None, False)
    assert repr(handle) == "<RunHandle gated running>"
    gate.opened.set()
    result = handle.wait()
    assert (result.run_id, result.agent_id, handle.status) == (handle.run_id, "gated", AgentStatus.COMPLETED)
    assert handle.result is result


def test_a_wait_can_time_out_and_the_run_goes_on():
    gate = Gate()
    handle = Runner().start(gated, gate)
    with pytest.raises(TimeoutError):
        handle.wait(timeout=0.01)
    gate.opened.set()
    assert handle.wait(10).value == "stepped"


async def test_a_handle_is_awaited_where_a_loop_runs():
    gate = Gate()
    handle = Runner().start(gated, gate)
    with pytest.raises(BlockingCallInLoop, match="write 'await handle' instead"):
        handle.wait()
    gate.opened.set()
    assert (await handle).value == "stepped"
    assert handle.wait().value == "stepped"


async def test_cancelling_a_wait_does_not_touch_the_run():
    gate = Gate()
    handle = Runner().start(gated, gate)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await handle
    gate.opened.set()
    assert (await handle).success


async def test_where_a_loop_runs_an_async_flow_becomes_a_task_of_it():
    @workflow
    async def where():
        return asyncio.get_running_loop()

    @workflow
    def sync_where():
        return threading.get_ident()

    async with Runner() as runner:
        here, there = runner.start(where), runner.start(sync_where)
    assert (await here).value is asyncio.get_running_loop()
    assert (await there).value != threading.get_ident()


async def test_a_plain_with_is_refused_where_a_loop_runs():
    with pytest.raises(BlockingCallInLoop, match="write 'async with Runner"), Runner():
        pass


def test_context_variables_follow_into_what_is_started():
    variable = contextvars.ContextVar("variable")
    variable.set("seen")

    @workflow
    def see():
        return variable.get()

    @workflow
    async def asee():
        return variable.get()

    with Runner() as runner:
        handles = [runner.start(see), runner.start(asee)]
    assert [handle.wait().value for handle in handles] == ["seen", "seen"]


@pytest.mark.parametrize("reason", ["  ", "x" * 1_001, "\ud800", 5, None])
def test_a_reason_that_is_none_is_refused_and_nothing_stops(reason):
    gate = Gate()
    handle = Runner().start(gated, gate)
    gate.entered.wait(10)
    with pytest.raises(ValueError, match=r"the reason of an abort is a text|surrogates not allowed"):
        handle.abort(reason)
    gate.opened.set()
    assert handle.wait(10).status is AgentStatus.COMPLETED


def test_a_sync_run_that_is_aborted_stops_at_its_next_call():
    gate = Gate()
    handle = Runner().start(gated, gate)
    gate.entered.wait(10)
    handle.abort("not needed")
    gate.opened.set()
    result = handle.wait(10)
    assert (result.status, str(result.error), result.stages) == (AgentStatus.ABORTED, "not needed", ())
    with pytest.raises(RunAborted, match="not needed"):
        result.unwrap()


@pytest.mark.parametrize("call", ["progress", "usage", "emit"])
def test_a_sync_run_that_is_aborted_stops_at_its_next_use_of_the_context(call):
    gate = Gate()
    uses = {
        "progress": lambda ctx: ctx.progress(0.5),
        "usage": lambda ctx: ctx.usage(),
        "emit": lambda ctx: ctx.emit(1),
    }

    @workflow
    def flow(ctx: Context):
        gate()
        uses[call](ctx)

    handle = Runner().start(flow)
    gate.entered.wait(10)
    handle.abort()
    gate.opened.set()
    assert handle.wait(10).status is AgentStatus.ABORTED


def test_an_abort_that_the_code_swallows_comes_again():
    gate, caught = Gate(), []

    @workflow(stages=[step])
    def stubborn():
        gate()
        for _ in range(3):
            try:
                step()
            except RunAborted as error:
                caught.append(error)
        raise ValueError("gave up")

    handle = Runner().start(stubborn)
    gate.entered.wait(10)
    handle.abort("stop")
    gate.opened.set()
    result = handle.wait(10)
    assert len(caught) == 3
    assert result.status is AgentStatus.ABORTED
    assert isinstance(result.error.__cause__, ValueError)


def test_a_run_that_completes_all_the_same_is_completed():
    gate = Gate()

    @workflow
    def deaf():
        gate()
        return "done"

    handle = Runner().start(deaf)
    gate.entered.wait(10)
    handle.abort()
    gate.opened.set()
    assert (handle.wait(10).status, handle.wait().value) == (AgentStatus.COMPLETED, "done")


def test_an_async_run_is_cancelled_at_once_when_aborted():
    started = threading.Event()
    handle = Runner().start(forever, started)
    started.wait(10)
    handle.abort("enough")
    result = handle.wait(10)
    assert (result.status, str(result.error)) == (AgentStatus.ABORTED, "enough")


async def test_an_abort_of_a_task_does_not_cancel_what_comes_after():
    started = asyncio.Event()
    async with Runner() as runner:
        handle = runner.start(forever, started)
        await started.wait()
        handle.abort()
        assert (await handle).status is AgentStatus.ABORTED
    assert asyncio.current_task().cancelling() == 0


async def test_an_abort_of_an_awaited_run_leaves_its_task_as_it_was():
    started = asyncio.Event()

    @workflow
    async def fails_late():
        await started.wait()
        raise ValueError

    runner = Runner(on_failure="abort")
    failing = runner.start(fails_late)
    result = await runner.arun(forever, started)
    assert (result.status, str(result.error)) == (AgentStatus.ABORTED, "run 'fails_late' failed")
    assert asyncio.current_task().cancelling() == 0
    assert not (await failing).success


def test_the_first_reason_to_stop_stays():
    gate = Gate()
    handle = Runner().start(gated, gate)
    gate.entered.wait(10)
    handle.abort("first")
    handle.abort("second")
    gate.opened.set()
    assert str(handle.wait(10).error) == "first"
    handle.abort("too late")
    assert str(handle.wait(10).error) == "first"


def test_an_abort_before_the_start_is_seen_too():
    began = []

    @workflow
    def flow():
        began.append(1)

    async def main():
        async with Runner() as runner:
            handle = runner.start(aquick)
            handle.abort("early")
        return handle.result

    result = asyncio.run(main())
    assert (result.status, str(result.error)) == (AgentStatus.ABORTED, "early")
    assert began == []


def test_a_run_may_abort_itself():
    @workflow
    def flow():
        raise RunAborted("told to")

    result = Runner().run(flow)
    assert (result.status, str(result.error), result.success) == (AgentStatus.ABORTED, "told to", False)


async def test_a_group_of_nothing_but_aborts_is_an_abort():
    @workflow
    async def flow(*errors):
        raise BaseExceptionGroup("several", errors)

    assert (await Runner().arun(flow, RunAborted(), RunAborted())).status is AgentStatus.ABORTED
    assert (await Runner().arun(flow, RunAborted(), ValueError())).status is AgentStatus.FAILED


def test_a_failure_that_nobody_looked_at_is_raised_at_the_end():
    runner = Runner()

    def block():
        with runner:
            runner.start(fails)
            runner.start(quick)

    with pytest.raises(ExceptionGroup, match="failed runs: 'fails'") as caught:
        block()
    assert [str(error) for error in caught.value.exceptions] == ["failed"]
    assert runner.results["quick"].success


@pytest.mark.parametrize("look", [lambda runner, handle: handle.wait(), lambda runner, handle: runner.results])
def test_a_failure_that_somebody_looked_at_is_not_raised_again(look):
    with Runner() as runner:
        handle = runner.start(fails)
        handle.future.exception(10)
        look(runner, handle)


async def test_an_async_block_raises_failures_too():
    with pytest.raises(ExceptionGroup, match="failed runs: 'fails'"):
        async with Runner() as runner:
            runner.start(fails)
    async with Runner() as runner:
        assert not (await runner.start(fails)).success


def test_an_exception_in_the_block_aborts_what_was_started():
    gate, started = Gate(), threading.Event()

    @workflow
    async def opens_the_gate_when_aborted():
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            gate.opened.set()

    def broken_block():
        with Runner() as runner:
            handles.extend([runner.start(gated, gate), runner.start(opens_the_gate_when_aborted)])
            gate.entered.wait(10)
            started.wait(10)
            raise KeyError("block")

    handles = []
    with pytest.raises(KeyError, match="block"):
        broken_block()
    assert [handle.status for handle in handles] == [AgentStatus.ABORTED] * 2
    assert "the runner's block raised KeyError: 'block'" in str(handles[0].result.error)


async def test_an_exception_in_an_async_block_aborts_what_was_started():
    started, handles = asyncio.Event(), []

    async def block():
        async with Runner() as runner:
            handles.append(runner.start(forever, started))
            await started.wait()
            raise KeyError

    with pytest.raises(KeyError):
        await block()
    assert handles[0].status is AgentStatus.ABORTED


async def test_a_cancelled_block_cancels_what_was_started():
    started, handles = asyncio.Event(), []

    async def main():
        async with Runner() as runner:
            handles.append(runner.start(forever, started))

    task = asyncio.create_task(main())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert handles[0].status is AgentStatus.CANCELLED


def test_one_failure_aborts_the_others_if_asked_to():
    started = threading.Event()

    @workflow
    def fails_late():
        started.wait(10)
        raise ValueError

    with Runner(on_failure="abort") as runner:
        waiting, failing = runner.start(forever, started), runner.start(fails_late)
        failing.wait(10)
    assert waiting.status is AgentStatus.ABORTED
    assert str(waiting.result.error) == "run 'fails_late' failed"


def test_by_default_the_others_go_on():
    gate = Gate()
    with Runner() as runner:
        handle = runner.start(gated, gate)
        runner.start(fails).wait(10)
        gate.opened.set()
    assert handle.result.success


def test_on_failure_is_one_of_two():
    with pytest.raises(DeclarationError, match="on_failure is 'continue' or 'abort', not 'stop'"):
        Runner(on_failure="stop")


def test_runs_of_one_name_beside_each_other_have_different_ids():
    gate = Gate()
    with Runner() as runner:
        first, second = runner.start(gated, gate), None
        gate.entered.wait(10)
        second = runner.start(gated, gate)
        second_id = runner.run(quick).agent_id
        gate.opened.set()
    assert first.agent_id == "gated"
    assert second.agent_id == f"gated-{second.run_id[:8]}"
    assert second_id == "quick"


async def test_a_task_cancelled_before_its_first_step_still_ends_its_handle():
    handle = Runner().start(aquick)
    handle._task.cancel()
    with pytest.raises(RunAborted, match="cancelled before it began"):
        await handle


async def test_cancelling_arun_of_a_sync_flow_stops_it_at_its_next_call(wait_until):
    gate, runner = Gate(), Runner()
    task = asyncio.create_task(runner.arun(gated, gate))
    await asyncio.to_thread(gate.entered.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.opened.set()
    await asyncio.to_thread(wait_until, lambda: runner.results)
    assert runner.results["gated"].status is AgentStatus.CANCELLED


def test_sys_exit_in_a_flow_is_its_failure_and_goes_on():
    @workflow
    def leaves():
        raise SystemExit(3)

    runner = Runner()
    with pytest.raises(SystemExit) as caught:
        runner.run(leaves)
    assert caught.value.code == 3
    assert runner.results["leaves"].status is AgentStatus.FAILED
    handle = runner.start(leaves)
    assert isinstance(handle.wait(10).error, SystemExit)
