"""A timeout belongs to async code, because a thread cannot be stopped. It holds for one attempt of a stage."""

import asyncio

import pytest

from attune_dsl import StageTimeout, stage, workflow


@stage(timeout=0.02)
async def answer(after: float) -> str:
    await asyncio.sleep(after)
    return "answer"


async def test_a_stage_that_takes_too_long_is_cancelled_and_named():
    @workflow
    async def flow():
        return await answer(60)

    with pytest.raises(StageTimeout, match=r"stage 'answer' took longer than its timeout of 0.02 s"):
        await flow()


async def test_it_is_a_timeout_error_that_the_workflow_can_handle():
    @workflow
    async def flow():
        try:
            return await answer(60)
        except TimeoutError:
            return await answer.options(timeout=None)(0)

    assert await flow() == "answer"


async def test_a_workflow_s_timeout_covers_the_whole_run():
    @workflow(timeout=0.02)
    async def flow():
        return await answer.options(timeout=None)(60)

    with pytest.raises(StageTimeout, match="workflow 'flow' took longer"):
        await flow()
