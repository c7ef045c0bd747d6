"""Workflows inside workflows: one run, one agent, names that tell where a stage was called."""

import asyncio

import pytest

from attune_dsl import Context, StageTimeout, UsageError, run, stage, workflow
from attune_dsl.runner import run as run_module


@stage
def step(value=0):
    return value + 1


@workflow
def child(value):
    return step(value)


@workflow
async def achild(value):
    await asyncio.sleep(0)
    return step(value)


def names(result):
    return [record.name for record in result.stages]


def test_stages_of_a_child_carry_its_name():
    @workflow
    def parent():
        return child(step(1))

    result = run(parent)
    assert result.unwrap() == 3
    assert names(result) == ["step", "child/step"]


def test_a_repeated_child_is_numbered():
    @workflow
    def parent():
        return [child(number) for number in range(3)]

    assert names(run(parent)) == ["child/step", "child#2/step", "child#3/step"]


def test_children_of_children_are_numbered_within_their_parent():
    @workflow
    def middle():
        child(0)
        child(0)

    @workflow
    def parent():
        middle()
        middle()

    assert names(run(parent)) == [
        "middle/child/step",
        "middle/child#2/step",
        "middle#2/child/step",
        "middle#2/child#2/step",
    ]


def test_async_children_beside_each_other_are_numbered_as_they_were_called():
    @workflow
    async def parent():
        return await asyncio.gather(achild(1), achild(2))

    result = run(parent)
    assert result.unwrap() == [2, 3]
    assert sorted(names(result)) == ["achild#2/step", "achild/step"]


def test_after_a_child_stages_are_the_parent_s_again():
    @workflow
    def parent():
        child(0)
        step()

    assert names(run(parent)) == ["child/step", "step"]


def test_a_child_joins_nothing_of_its_own(monkeypatch):
    """Its heartbeat, coordination and agent id are ignored."""

    async def no_joining(self):
        raise AssertionError("a child must not join")

    monkeypatch.setattr(run_module.Run, "join", no_joining)
    seen = []

    @workflow(heartbeat=True, coordination=True, agent_id="own")
    def eager(ctx: Context):
        seen.append((ctx.agent_id, ctx.stage))

    @workflow
    def parent():
        eager()

    assert run(parent).error is None
    assert seen == [("parent", None)]


def test_a_child_s_progress_report_is_not_the_run_s():
    @workflow
    def reporting(ctx: Context):
        ctx.progress(1.0)
        [current] = run_module.active.values()
        return current.progress.fraction

    @workflow
    def parent():
        return reporting()

    assert run(parent).value == 0.0


async def test_a_child_keeps_its_timeout():
    @workflow(timeout=0.01)
    async def slow():
        await asyncio.Event().wait()

    @workflow
    async def parent():
        with pytest.raises(StageTimeout, match=r"workflow 'slow' took longer than its timeout of 0.01 s"):
            await slow()
        return "went on"

    assert await parent() == "went on"


def test_an_async_child_of_a_sync_workflow_is_refused_at_the_call():
    @workflow
    def parent():
        achild(0)

    with pytest.raises(UsageError, match="workflow 'achild' is async, and workflow 'parent' is a plain 'def'"):
        run(parent).unwrap()


def test_a_run_inside_a_run_is_a_run_of_its_own():
    @workflow
    def parent():
        inner = run(child, 1)
        step()
        return inner

    outer = run(parent)
    assert outer.value.run_id != outer.run_id
    assert names(outer.value) == ["step"]
    assert names(outer) == ["step"]
