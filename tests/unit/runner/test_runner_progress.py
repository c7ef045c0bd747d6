"""The plan and the progress of a run."""

import asyncio
import threading

import pytest

from attune_dsl import AgentStatus, Context, Runner, StageStatus, run, stage, workflow
from attune_dsl.runner import events
from attune_dsl.runner.progress import Progress
from attune_dsl.runner.run import active


@stage
def one():
    return 1


@stage
def two():
    return 2


@stage
def three(item=None):
    return 3


def active_run():
    (current,) = active.values()
    return current


def progress_of(flow, *args):
    """Return what was shown after each end of a stage, and at the end of the run."""
    told = []
    Runner(observer=told.append).run(flow, *args)
    return [round(e.progress, 3) for e in told if isinstance(e, events.StageEnded | events.RunEnded)]


def test_each_stage_counts_once_at_its_first_completion():
    @workflow
    def flow():
        one()
        one()
        two()

    assert progress_of(flow) == [0.5, 0.5, 0.99, 1.0]


def test_a_map_contributes_what_is_done_of_it():
    @workflow
    def flow():
        three.options(limit=1).map(range(4))
        one()

    assert progress_of(flow) == [0.125, 0.25, 0.375, 0.5, 0.99, 1.0]


def test_items_that_failed_are_done_too():
    @stage
    def odd(item):
        if item % 2 == 0:
            raise ValueError

    @workflow
    def flow():
        odd.options(limit=1, on_error="collect").map(range(4))

    assert progress_of(flow) == [0.25, 0.5, 0.75, 0.99, 1.0]


def test_a_stage_met_on_the_way_extends_the_plan_and_moves_nothing_back():
    hidden = {"it": two}

    @workflow
    def flow():
        one()
        hidden["it"]()
        three()

    assert progress_of(flow) == [0.5, 0.667, 0.99, 1.0]

    @workflow
    def surprised():
        one()
        for number in range(3):
            hidden["it"].options(name=f"extra-{number}")()

    assert progress_of(surprised) == [0.99, 0.99, 0.99, 0.99, 1.0]


def test_an_exact_plan_is_not_extended():
    @workflow(stages=[one, three])
    def flow():
        one()
        two()
        three()

    assert progress_of(flow) == [0.5, 0.5, 0.99, 1.0]


def test_a_failed_run_keeps_the_progress_it_had():
    @stage
    def fail():
        raise ValueError

    @workflow
    def flow():
        one()
        fail()
        two()

    assert progress_of(flow) == [0.333, 0.333, 0.333]


def test_a_planned_stage_that_was_not_needed_ends_as_skipped():
    @workflow
    def flow(full):
        one()
        if full:
            two()

    result = run(flow, False)
    assert [(r.name, r.status, r.attempts) for r in result.stages] == [
        ("one", StageStatus.COMPLETED, 1),
        ("two", StageStatus.SKIPPED, 0),
    ]
    assert [r.name for r in run(flow, True).stages] == ["one", "two"]


def test_a_failed_run_does_not_say_what_it_needed():
    @workflow
    def flow():
        raise ValueError
        two()

    result = run(flow)
    assert result.status is AgentStatus.FAILED
    assert result.stages == ()


def test_what_a_stage_says_of_itself_is_its_part_of_the_run():
    shown = []

    @stage
    def long(ctx: Context):
        for fraction in (0.5, 0.25, 1.0):
            ctx.progress(fraction)
            shown.append(active_run().progress.fraction)

    @workflow
    def flow():
        long()
        one()

    assert run(flow).success
    assert shown == [0.25, 0.25, 0.5]


def test_what_the_workflow_says_of_itself_is_the_run_s_progress():
    @workflow
    def flow(ctx: Context):
        ctx.progress(0.8)
        one()
        ctx.progress(1.0)
        two()

    assert progress_of(flow) == [0.8, 0.99, 1.0]


def test_a_fraction_is_from_0_to_1():
    @workflow
    def flow(ctx: Context):
        ctx.progress(50)

    with pytest.raises(ValueError, match="takes a fraction from 0 to 1, not 50"):
        run(flow).unwrap()


def test_an_empty_map_is_done_at_once():
    @workflow
    def flow():
        three.map([])
        one()

    assert progress_of(flow) == [0.99, 1.0]


def test_a_part_that_moves_back_takes_nothing_away():
    progress = Progress(["one", "two"])
    progress.advance("one", 0.5)
    progress.advance("one", 0.25)
    progress.complete("two")
    assert progress.fraction == 0.75


def test_progress_of_many_threads_adds_up():
    progress = Progress([f"stage-{number}" for number in range(100)])
    start = threading.Barrier(4)

    def work(first):
        start.wait()
        for number in range(first, 100, 4):
            progress.complete(f"stage-{number}")
            progress.meet(f"stage-{number}")

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert progress.fraction == 0.99
    progress.end()
    assert progress.fraction == 1.0


def test_what_one_item_of_a_map_says_is_not_the_whole_stage():
    @stage
    def work(ctx: Context, item):
        ctx.progress(1.0)
        seen.append(active_run().progress.fraction)

    @workflow
    def flow():
        work.options(limit=1).map(range(4))
        one()

    seen = []
    assert run(flow).success
    assert seen == [0.0, 0.125, 0.25, 0.375]


async def test_the_plan_of_nested_workflows_counts_too():
    @workflow
    async def child():
        one()
        await asyncio.sleep(0)
        two()

    @workflow
    async def parent():
        await child()
        three()

    told = []
    await Runner(observer=told.append).arun(parent)
    assert told[0].plan == ("child/one", "child/two", "three")
    assert [round(e.progress, 3) for e in told if isinstance(e, events.StageEnded)] == [0.333, 0.667, 0.99]
