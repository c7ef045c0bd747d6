"""A run knows its plan from the workflow's source; progress is what of it is done.

It never moves back, and stays below 1 until the run has ended.
"""

from attune_dsl import Runner, StageStatus, run, stage, workflow
from attune_dsl.runner import events


@stage
def fetch():
    return ["a", "b", "c", "d"]


@stage
def convert(item):
    return item


@stage
def report(items):
    return items


@workflow
def nightly(full=True):
    items = convert.options(limit=1).map(fetch())
    if full:
        report(items)


def shown(flow, *args):
    told = []
    Runner(observer=told.append).run(flow, *args)
    return [round(e.progress, 2) for e in told if isinstance(e, events.StageEnded | events.RunEnded)]


def test_a_stage_counts_when_it_completes_and_a_map_with_each_item():
    fetched, *converted, reported, ended = shown(nightly)
    assert fetched == 0.33
    assert converted == [0.42, 0.5, 0.58, 0.67]
    assert (reported, ended) == (0.99, 1.0)


def test_a_stage_that_was_not_needed_ends_as_skipped():
    result = run(nightly, False)
    assert (result.stages[-1].name, result.stages[-1].status) == ("report", StageStatus.SKIPPED)


def test_a_plan_can_be_given_exactly():
    @workflow(stages=[fetch, report])
    def short():
        fetch()
        convert("not counted")
        report([])

    assert shown(short) == [0.5, 0.5, 0.99, 1.0]
