"""Calls of stages inside a run: records, colours, threads and tasks."""

import asyncio
import contextvars
import threading
import weakref

import pytest

from attune_dsl import (
    AgentStatus,
    Runner,
    StageStatus,
    UsageError,
    run,
    stage,
    workflow,
)


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


def test_each_call_is_one_record_in_the_order_in_which_they_began():
    @stage
    def outer():
        return add(1) + add(2)

    @workflow
    def flow():
        return outer() + add(3)

    result = run(flow)
    assert result.unwrap() == 9
    assert told(result) == [("outer", "completed"), *[("add", "completed")] * 3]


def test_a_record_says_when_the_call_began_and_how_long_it_took():
    @stage
    async def nap():
        await asyncio.sleep(0.02)

    @workflow
    async def flow():
        await nap()

    result = run(flow)
    (record,) = result.stages
    assert 0.02 <= record.duration <= result.duration < 5
    assert result.started_at <= record.started_at <= result.started_at + result.duration
    assert (record.attempts, record.item, record.tier, record.error) == (1, None, None, None)


def test_a_failed_stage_is_recorded_and_its_exception_goes_on():
    @workflow
    def flow():
        with pytest.raises(ValueError, match="no"):
            fail("no")
        return "caught"

    result = run(flow)
    assert result.value == "caught"
    assert [(r.name, r.status, r.error) for r in result.stages] == [("fail", StageStatus.FAILED, "ValueError: no")]


def test_a_failed_async_stage_is_recorded_and_its_exception_goes_on():
    @stage
    async def afail():
        raise ValueError

    @workflow
    async def flow():
        await afail()

    result = run(flow)
    assert isinstance(result.error, ValueError)
    assert [(r.name, r.status, r.error) for r in result.stages] == [("afail", StageStatus.FAILED, "ValueError")]


def test_options_of_one_call_show_in_its_record():
    @workflow
    def flow():
        return add(1), add.options(tier="premium", name="plus")(2)

    assert [(r.name, r.tier) for r in run(flow).stages] == [("add", None), ("plus", "premium")]


def test_gathered_calls_run_beside_each_other():
    """The first call can end only if the second one runs meanwhile."""
    met = asyncio.Event()

    @stage
    async def first():
        await met.wait()

    @stage
    async def second():
        met.set()

    @workflow
    async def flow():
        await asyncio.gather(first(), second())

    assert told(run(flow)) == [("first", "completed"), ("second", "completed")]


def test_an_async_call_can_be_a_task():
    @workflow
    async def flow():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(aadd(number)) for number in range(3)]
        return [task.result() for task in tasks]

    assert run(flow).value == [1, 2, 3]


def test_a_sync_stage_called_directly_in_an_async_flow_runs_where_it_is_called():
    @stage
    def where():
        return threading.get_ident()

    @workflow
    async def flow():
        return where(), threading.get_ident()

    called, here = run(flow).value
    assert called == here


def test_acall_runs_a_sync_stage_in_a_thread_with_the_context_variables():
    variable = contextvars.ContextVar("variable")

    @stage
    def where(extra, *, more):
        return threading.get_ident(), variable.get(), extra, more, add(1)

    @workflow
    async def flow():
        variable.set("seen")
        return threading.get_ident(), await where.acall("x", more="y")

    result = run(flow)
    here, (there, *rest) = result.value
    assert there != here
    assert rest == ["seen", "x", "y", 2]
    assert told(result) == [("where", "completed"), ("add", "completed")]


def test_many_acalls_that_wait_for_each_other_all_have_a_thread():
    barrier = threading.Barrier(40)

    @stage
    def meet():
        barrier.wait(10)

    @workflow
    async def flow():
        await asyncio.gather(*(meet.acall() for _ in range(40)))

    assert run(flow).error is None


def test_acall_of_an_async_stage_is_the_call():
    @workflow
    async def flow():
        return await aadd.acall(1, other=2)

    result = run(flow)
    assert result.value == 3
    assert told(result) == [("aadd", "completed")]


@pytest.mark.parametrize("call", [lambda: aadd(1), lambda: aadd.map([1]), lambda: add.amap([1]), lambda: add.acall(1)])
def test_a_sync_flow_is_told_at_the_call_that_it_cannot_await(call):
    @workflow(stages=[])
    def flow():
        call()

    with pytest.raises(UsageError, match="'flow' is a plain 'def' that cannot await it: write 'async def flow'"):
        run(flow).unwrap()


async def test_a_sync_flow_is_told_so_where_a_loop_is_running_too():
    @workflow
    def flow():
        aadd(1)

    with pytest.raises(UsageError, match="cannot await"):
        flow()


def test_a_sync_flow_may_use_async_stages_in_a_loop_of_its_own():
    @stage
    def inner_loop():
        async def main():
            return await aadd(1)

        return asyncio.run(main())

    @workflow
    def flow():
        return inner_loop()

    result = run(flow)
    assert result.unwrap() == 2
    assert told(result) == [("inner_loop", "completed"), ("aadd", "completed")]


def test_a_helper_thread_with_a_copied_context_calls_into_the_run():
    @workflow
    def flow():
        thread = threading.Thread(target=contextvars.copy_context().run, args=(add, 1))
        thread.start()
        thread.join()

    assert told(run(flow)) == [("add", "completed")]


def test_threads_record_every_call():
    def work():
        for number in range(500):
            add(number)

    @workflow(stages=[])
    def flow():
        threads = [threading.Thread(target=contextvars.copy_context().run, args=(work,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(run(flow).stages) == 2000


def test_a_call_that_was_cancelled_is_recorded_as_such():
    @stage
    async def forever():
        await asyncio.Event().wait()

    @workflow
    async def flow():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await forever()

    assert told(run(flow)) == [("forever", "cancelled")]


def test_an_exception_that_cannot_describe_itself_is_recorded_by_its_type():
    class MuteError(Exception):
        def __str__(self):
            raise ValueError

    @stage
    def mute():
        raise MuteError

    @workflow
    def flow():
        mute()

    result = run(flow)
    assert isinstance(result.error, MuteError)
    assert [record.error for record in result.stages] == ["MuteError"]


def test_ever_new_copies_of_stages_are_not_kept():
    """The run's scope remembers a bounded number of stages."""
    kept = []

    @workflow(stages=[])
    def flow():
        for number in range(5000):
            copy = add.options(backoff=number)
            copy(number)
            kept.append(weakref.ref(copy))
        return kept[2500]() is None

    result = run(flow)
    assert result.value is True
    assert len(result.stages) == 5000


def test_a_call_made_before_an_abort_and_awaited_after_it_does_not_start():
    ran = []

    @stage
    async def late():
        ran.append(1)

    @workflow
    async def flow():
        call = late()
        handles[0].abort("meanwhile")
        await call

    handles = []

    async def main():
        async with Runner() as runner:
            handles.append(runner.start(flow))

    asyncio.run(main())
    assert handles[0].status is AgentStatus.ABORTED
    assert ran == []


def test_a_run_takes_only_workflows():
    with pytest.raises(TypeError, match=r"mark .* with @workflow"):
        run(add)  # type: ignore[call-overload]
