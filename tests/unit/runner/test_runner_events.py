"""What an observer is told, and what it costs nobody else."""

import contextlib

import pytest

from attune_dsl import Context, Runner, run, stage, workflow
from attune_dsl.runner import events
from attune_dsl.runner.run import active


@stage(tier="cheap")
def one(ctx: Context):
    ctx.progress(0.5, "half")


@stage
def two(item):
    if item == "bad":
        raise ValueError("bad item")


@workflow
def flow(item="good"):
    one()
    two.options(limit=1).map(["first", item])


def told_by(*args):
    told = []
    result = Runner(observer=told.append).run(flow, *args)
    return told, result


def test_events_come_in_the_order_in_which_things_happen():
    told, result = told_by()
    assert [type(event).__name__ for event in told] == [
        "RunStarted",
        *("StageStarted", "StageProgressed", "StageEnded"),
        *("StageStarted", "StageEnded") * 2,
        "RunEnded",
    ]
    assert {event.run_id for event in told} == {result.run_id}
    times = [event.at for event in told]
    assert times == sorted(times)


def test_the_start_of_a_run_says_who_it_is():
    told, _ = told_by()
    started = told[0]
    assert (started.agent_id, started.workflow, started.plan) == ("flow", "flow", ("one", "two"))
    assert (started.store_label, started.namespace) == (None, None)


def test_the_events_of_a_stage_say_where_it_stands():
    told, result = told_by()
    first, second = (e for e in told if isinstance(e, events.StageStarted) if e.stage == "two")
    assert [(e.item, e.total, e.attempt, e.tier) for e in (first, second)] == [(0, 2, 1, None), (1, 2, 1, None)]
    (progressed,) = (e for e in told if isinstance(e, events.StageProgressed))
    assert (progressed.stage, progressed.fraction, progressed.note) == ("one", 0.5, "half")
    ended = [e for e in told if isinstance(e, events.StageEnded)]
    assert [e.record for e in ended] == list(result.stages)
    assert [e.progress for e in ended] == [0.5, 0.75, 0.99]


def test_the_end_of_a_run_says_how_it_ended():
    told, _ = told_by()
    assert (told[-1].status, told[-1].error, told[-1].progress) == ("completed", None, 1.0)
    told, _ = told_by("bad")
    assert (told[-1].status, told[-1].progress) == ("failed", 0.99)
    assert told[-1].error.startswith("MapError: 1 of 2 items of stage 'two' failed")


def test_an_observer_that_raises_is_logged_once_and_dropped(caplog):
    calls = []

    def broken(event):
        calls.append(event)
        raise KeyError("observer")

    assert Runner(observer=broken).run(flow).success
    assert len(calls) == 1
    assert [record.getMessage().split()[0] for record in caplog.records] == ["event=run.observer_dropped"]


def test_a_run_without_an_observer_builds_no_events(monkeypatch):
    class Forbidden:
        def __init__(self, **_):
            raise AssertionError("no event may be built")

    for name in ("RunStarted", "StageStarted", "StageProgressed", "StageEnded", "RunEnded"):
        monkeypatch.setattr(events, name, Forbidden)
    assert run(flow).success


@pytest.mark.parametrize("error", [None, ValueError, SystemExit])
def test_a_run_is_active_only_while_it_runs(error):
    @workflow
    def looking():
        seen.append([run.agent_id for run in active.values()])
        if error:
            raise error

    seen = []
    with contextlib.suppress(SystemExit):
        run(looking)
    assert seen == [["looking"]]
    assert active == {}
