"""Aborted means that a participant asked for it, cancelled that the operating system or the caller did."""

import asyncio
import threading

import pytest

from attune_dsl import RunAborted, Runner, run, stage, workflow


@stage
def step(number):
    return number


def test_an_async_run_is_interrupted_where_it_waits():
    waiting = threading.Event()

    @workflow
    async def patient():
        waiting.set()
        await asyncio.Event().wait()

    with Runner() as runner:
        handle = runner.start(patient)
        waiting.wait(10)
        handle.abort("not needed any more")
    assert handle.status == "aborted"
    assert str(handle.result.error) == "not needed any more"


def test_a_sync_run_stops_at_its_next_call_of_a_stage():
    started, asked = threading.Event(), threading.Event()

    @workflow
    def counting():
        step(1)
        started.set()
        asked.wait(10)
        step(2)

    with Runner() as runner:
        handle = runner.start(counting)
        started.wait(10)
        handle.abort()
        asked.set()
    assert handle.status == "aborted"
    assert [record.name for record in handle.result.stages] == ["step"]


def test_a_workflow_can_end_itself_as_aborted():
    @workflow
    def careful():
        raise RunAborted("the disk is full")

    assert run(careful).status == "aborted"


async def test_a_cancelled_task_is_a_cancelled_run():
    runner = Runner()

    @workflow
    async def patient():
        asyncio.get_running_loop().call_soon(task.cancel)
        await asyncio.Event().wait()

    task = asyncio.create_task(runner.arun(patient))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert runner.results["patient"].status == "cancelled"


def test_ctrl_c_goes_on_and_the_result_is_kept():
    @workflow
    def interrupted():
        raise KeyboardInterrupt

    runner = Runner()
    with pytest.raises(KeyboardInterrupt):
        runner.run(interrupted)
    assert runner.results["interrupted"].status == "cancelled"
