"""Stages and workflows may be sync or async, and a stage's colour never depends on its caller."""

import asyncio
import threading

import pytest

from attune_dsl import BlockingCallInLoop, UsageError, run, stage, workflow


@stage
async def fetch(page: int) -> str:
    await asyncio.sleep(0)
    return f"page {page}"


@stage
def count(text: str) -> int:
    return len(text)


@stage
def which_thread() -> int:
    return threading.get_ident()


def test_stages_of_an_async_workflow_run_beside_each_other():
    @workflow
    async def crawl():
        return await asyncio.gather(fetch(1), fetch(2))

    assert run(crawl).unwrap() == ["page 1", "page 2"]


async def test_an_async_workflow_is_awaited():
    @workflow
    async def crawl():
        return await fetch(1)

    assert await crawl() == "page 1"
    with pytest.raises(BlockingCallInLoop, match="await arun"):
        run(crawl)


async def test_a_sync_stage_is_called_as_ever_or_awaited_in_a_thread():
    @workflow
    async def crawl():
        inline = count(await fetch(1))
        in_a_thread = await count.acall("page 2")
        return inline, in_a_thread, which_thread(), await which_thread.acall()

    inline, in_a_thread, here, there = await crawl()
    assert (inline, in_a_thread) == (6, 6)
    assert here == threading.get_ident() != there


def test_a_sync_workflow_is_told_at_once_that_it_cannot_await():
    @workflow
    def crawl():
        return fetch(1)

    with pytest.raises(UsageError, match="write 'async def crawl' and await the call"):
        crawl()


def test_a_call_that_was_not_awaited_is_reported():
    calls = []

    @workflow
    async def forgetful():
        calls.append(fetch(1))

    with pytest.warns(RuntimeWarning, match=r"before its calls of 'fetch' had ended: await each call"):
        run(forgetful)
    calls.pop().close()
