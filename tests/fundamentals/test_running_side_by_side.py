"""A Runner runs several workflows side by side; leaving its block waits for all of them."""

import asyncio
import threading

import pytest

from attune_dsl import Runner, workflow


@workflow
def build(version):
    return f"app-{version}.whl"


@workflow
async def checks():
    await asyncio.sleep(0)
    return "passed"


@workflow
def deploy():
    raise ConnectionError("no route to host")


def test_results_are_there_once_the_block_is_left():
    with Runner() as runner:
        runner.start(build, "1.2")
        runner.start(checks.options(agent_id="tests"))
    assert {name: result.value for name, result in runner.results.items()} == {
        "build": "app-1.2.whl",
        "tests": "passed",
    }


def test_a_handle_waits_for_one_of_them():
    with Runner() as runner:
        handle = runner.start(build, "1.2")
        assert handle.wait(timeout=10).unwrap() == "app-1.2.whl"


async def test_where_a_loop_runs_it_is_an_async_block_and_handles_are_awaited():
    async with Runner() as runner:
        handle = runner.start(checks)
        assert (await handle).unwrap() == "passed"


def test_failures_that_nobody_looked_at_are_raised_at_the_end():
    def block():
        with Runner() as runner:
            runner.start(build, "1.2")
            runner.start(deploy)

    with pytest.raises(ExceptionGroup, match="failed runs: 'deploy'") as caught:
        block()
    assert [str(error) for error in caught.value.exceptions] == ["no route to host"]


def test_one_failure_can_abort_the_others():
    waiting = threading.Event()

    @workflow
    async def serve():
        waiting.set()
        await asyncio.Event().wait()

    @workflow
    def fail():
        waiting.wait(10)
        raise ConnectionError

    with Runner(on_failure="abort") as runner:
        server, failing = runner.start(serve), runner.start(fail)
        failing.wait()
    assert server.status == "aborted"
