"""map and amap: order, limits, failures, and what an interruption leaves."""

import asyncio
import contextvars
import threading

import pytest

from attune_dsl import MapError, Outcome, RunAborted, Signals, run, stage, workflow


@stage
def double(number):
    if number < 0:
        raise ValueError(f"negative: {number}")
    return number * 2


@stage
async def adouble(number):
    await asyncio.sleep(0)
    return double.fn(number)


@workflow(stages=[])
def sync_map(call, items):
    return call.map(items)


@workflow(stages=[])
async def async_map(call, items):
    return await call.map(items)


@workflow(stages=[])
async def async_amap(call, items):
    return await call.amap(items)


every_way = pytest.mark.parametrize(
    ("flow", "call"),
    [(sync_map, double), (async_map, adouble), (async_amap, double), (async_amap, adouble)],
    ids=["sync map", "async map", "amap of sync", "amap of async"],
)


@every_way
def test_values_come_in_the_order_of_the_items(flow, call):
    result = run(flow, call, iter(range(20)))
    assert result.unwrap() == [number * 2 for number in range(20)]
    assert sorted(record.item for record in result.stages) == list(range(20))


@every_way
def test_all_items_finish_before_the_error(flow, call):
    error = run(flow, call, [1, -2, 3, -4]).error
    assert isinstance(error, MapError)
    assert [(index, item, str(failure)) for index, item, failure in error.failures] == [
        (1, -2, "negative: -2"),
        (3, -4, "negative: -4"),
    ]
    assert error.successes == {0: 2, 2: 6}
    assert f"2 of 4 items of stage '{call.name}' failed, first item 1 with ValueError: negative: -2" in str(error)


@every_way
def test_collect_returns_outcomes_instead(flow, call):
    good, bad = run(flow, call.options(on_error="collect"), [1, -2]).unwrap()
    assert good == Outcome(index=0, item=1, value=2)
    assert (good.ok, bad.ok) == (True, False)
    assert (bad.index, bad.item, bad.value, str(bad.error)) == (1, -2, None, "negative: -2")


@every_way
def test_no_items_are_no_calls(flow, call):
    assert run(flow, call, []).unwrap() == []


@pytest.mark.parametrize("flow", [sync_map, async_amap])
@pytest.mark.parametrize("limit", [1, 3])
def test_a_limit_bounds_the_threads(flow, limit):
    now, most, lock = 0, 0, threading.Lock()
    enough = threading.Semaphore(0)

    @stage
    def crowd(_):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        enough.release()
        if limit > 1:  # wait until the others had every chance to come in
            enough.acquire(timeout=0.02)
        with lock:
            now -= 1

    assert run(flow, crowd.options(limit=limit), range(12)).success
    assert most <= limit


def test_a_limit_bounds_the_tasks():
    now, most = 0, 0

    @stage
    async def crowd(_):
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _ in range(5):
            await asyncio.sleep(0)
        now -= 1

    assert run(async_map, crowd.options(limit=3), range(12)).success
    assert most == 3
    assert run(async_map, crowd, range(12)).success
    assert most == 12


@pytest.mark.parametrize("flow", [sync_map, async_amap])
def test_items_run_beside_each_other(flow):
    barrier = threading.Barrier(8)

    @stage
    def meet(_):
        return barrier.wait(10)

    assert sorted(run(flow, meet, range(8)).unwrap()) == list(range(8))


@pytest.mark.parametrize("flow", [sync_map, async_amap])
def test_context_variables_follow_into_the_threads(flow):
    variable = contextvars.ContextVar("variable", default="unset")

    @stage
    def see(_):
        seen = variable.get()
        variable.set("changed")
        return seen

    token = variable.set("set")
    assert run(flow, see, range(3)).unwrap() == ["set"] * 3
    assert variable.get() == "set"
    variable.reset(token)


def test_an_item_that_aborts_the_run_keeps_further_items_from_starting():
    @stage
    def stop(item):
        if item == 1:
            raise RunAborted("enough")

    result = run(sync_map, stop, [0, 1, 2])
    assert isinstance(result.error, RunAborted)
    assert result.status == "aborted"


async def test_a_cancelled_map_cancels_its_items():
    started, cancelled = asyncio.Event(), []

    @stage
    async def forever(item):
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(item)

    async def main():
        await async_map(forever, [1, 2])

    task = asyncio.create_task(main())
    await started.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(cancelled) == [1, 2]


@pytest.mark.parametrize("inside", [True, False], ids=["in a run", "outside"])
def test_an_interrupted_map_starts_nothing_more(inside):
    started, go = [], threading.Event()

    @stage(name="interrupted-map")
    def work(item):
        started.append(item)
        if item == 0:
            raise KeyboardInterrupt
        go.wait(10)

    call = work.options(limit=1)
    with pytest.raises(KeyboardInterrupt):
        run(sync_map, call, range(50)) if inside else call.map(range(50))
    go.set()
    for thread in threading.enumerate():
        if thread.name.startswith("interrupted-map"):
            thread.join()
    assert len(started) <= 2


def test_items_fill_the_parameters_that_the_runner_does_not():
    @stage
    def named(signals: Signals, item):
        return type(signals).__name__, item

    assert run(sync_map, named, ["a"]).unwrap() == [("Signals", "a")]


def test_outside_a_run_a_map_makes_plain_calls():
    assert double.map([1, 2]) == [2, 4]
    with pytest.raises(MapError):
        double.map([-1])


async def test_outside_a_run_an_async_map_makes_plain_calls():
    assert await adouble.map([1, 2]) == [2, 4]
    assert await adouble.amap([1, 2]) == [2, 4]
    assert await double.amap([1, 2]) == [2, 4]
    assert [outcome.ok for outcome in await double.options(on_error="collect").amap([1, -1])] == [True, False]
