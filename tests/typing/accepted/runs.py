"""``run``, ``arun`` and ``Runner`` keep the type of the workflow's value, whatever its colour."""

from typing import assert_type

from attune_dsl import Runner, RunResult, Signals, arun, run, workflow


@workflow
def release(version: str) -> list[str]:
    return [version]


@workflow(heartbeat=True)
async def deploy(count: int) -> int:
    return count


@workflow
def listen(signals: Signals, count: int) -> float:
    return float(count)


assert_type(run(release, "1"), RunResult[list[str]])
assert_type(run(deploy, count=1), RunResult[int])
assert_type(run(listen, 1), RunResult[float])
assert_type(run(release, "1").unwrap(), list[str])


async def main() -> None:
    assert_type(await arun(release, "1"), RunResult[list[str]])
    assert_type(await arun(deploy, 1), RunResult[int])
    async with Runner() as runner:
        assert_type(await runner.arun(deploy, 1), RunResult[int])


with Runner(store="memory://", namespace="team", on_failure="abort") as runner:
    assert_type(runner.run(release, "1"), RunResult[list[str]])
    assert_type(runner.run(deploy, 1), RunResult[int])
    assert_type(runner.start(deploy, 1).wait(), RunResult[int])
    assert_type(runner.start(release.options(agent_id="blue"), "1").wait(timeout=1), RunResult[list[str]])
