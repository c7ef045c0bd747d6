"""map calls a stage for every item: a sync stage in threads, an async stage in tasks."""

import asyncio

import pytest

from attune_dsl import MapError, run, stage, workflow


@stage
def measure(word: str) -> int:
    if not word:
        raise ValueError("nothing to measure")
    return len(word)


@stage
async def ameasure(word: str) -> int:
    await asyncio.sleep(0)
    return measure.fn(word)


def test_values_keep_the_order_of_the_items():
    @workflow
    def flow(words):
        return measure.map(words)

    assert flow(["a", "bbb", "cc"]) == [1, 3, 2]


async def test_in_an_async_workflow_the_map_of_an_async_stage_is_awaited():
    @workflow
    async def flow(words):
        return await ameasure.map(words)

    assert await flow(["a", "bbb"]) == [1, 3]


async def test_amap_awaits_a_stage_of_either_colour():
    @workflow
    async def flow(words):
        return await measure.amap(words), await ameasure.amap(words)

    assert await flow(["a", "bbb"]) == ([1, 3], [1, 3])


def test_all_items_finish_and_then_the_failures_are_raised_together():
    @workflow
    def flow(words):
        return measure.map(words)

    with pytest.raises(MapError) as caught:
        flow(["a", "", "cc"])
    [(index, item, error)] = caught.value.failures
    assert (index, item, str(error)) == (1, "", "nothing to measure")
    assert caught.value.successes == {0: 1, 2: 2}


def test_or_outcomes_are_collected():
    @workflow
    def flow(words):
        return measure.options(on_error="collect").map(words)

    good, bad = flow(["a", ""])
    assert (good.ok, good.value) == (True, 1)
    assert (bad.ok, bad.item, str(bad.error)) == (False, "", "nothing to measure")


def test_a_limit_says_how_many_run_at_the_same_time():
    seen = []

    @stage
    def note(item):
        seen.append(item)

    @workflow
    def flow():
        note.options(limit=1).map(range(5))

    flow()
    assert seen == [0, 1, 2, 3, 4]


def test_each_item_is_a_record_of_its_own():
    @workflow
    def flow():
        measure.map(["a", "bbb"])

    assert sorted((record.name, record.item) for record in run(flow).stages) == [("measure", 0), ("measure", 1)]
