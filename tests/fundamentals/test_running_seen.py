"""What others see of a run: who it is, whether it lives and works, what its stages did, and what it costs.

A run that is alive without progress for longer than it may shows as stalled, and recovers by itself.
"""

import threading

import pytest

from attune_dsl import Context, Heartbeat, Monitor, Runner, stage, workflow


@pytest.fixture
def runner(store):
    return Runner(store=store.url, namespace=store.namespace)


@pytest.fixture
def monitor(store):
    with Monitor(store.url, store.namespace) as monitor:
        yield monitor


@pytest.fixture
def gate():
    """What a stage waits for; ``reached`` says that it does."""
    gate = Gate()
    yield gate
    gate.opened.set()


class Gate:
    def __init__(self):
        self.reached, self.opened = threading.Event(), threading.Event()

    def wait(self):
        self.reached.set()
        assert self.opened.wait(30)


@stage
def prepare():
    return "ready"


def test_a_run_shows_who_it_is(runner, monitor):
    @workflow(heartbeat=True, display_name="Nightly load", metadata={"team": "data", "tables": ["a", "b"]})
    def load():
        prepare()

    result = runner.run(load)
    seen = monitor.agent("load")
    assert (seen.display_name, seen.metadata) == ("Nightly load", {"team": "data", "tables": ["a", "b"]})
    assert (seen.workflow, seen.run_id, seen.stages) == ("load", result.run_id, ("prepare",))


def test_it_shows_what_its_stages_did_while_it_still_runs(runner, monitor, gate, wait_until):
    @stage(retries=2, backoff=0)
    def shaky(ctx: Context):
        if ctx.attempt < 3:
            raise OSError("not yet")

    @workflow(heartbeat=True)
    def flow():
        prepare()
        shaky()
        gate.wait()
        prepare()

    with runner:
        runner.start(flow)
        wait_until(lambda: len(monitor.stages("flow")) == 2)
        one, two = monitor.stages("flow")
        assert (one.name, one.status, one.calls, one.attempts, one.error) == ("prepare", "completed", 1, 1, None)
        assert (two.name, two.status, two.calls, two.failures, two.attempts) == ("shaky", "completed", 1, 0, 3)
        assert one.started_at <= two.started_at
        gate.opened.set()
    assert [(stage.name, stage.calls) for stage in monitor.stages("flow")] == [("prepare", 2), ("shaky", 1)]


def test_the_last_stage_of_a_failed_run_is_in_its_history(runner, monitor):
    @stage
    def refuse():
        raise ValueError("no such table")

    @workflow(heartbeat=True)
    def flow():
        prepare()
        refuse()

    runner.run(flow)
    last = monitor.stages("flow")[-1]
    assert (last.name, last.status, last.failures, last.error) == ("refuse", "failed", 1, "ValueError: no such table")


def test_its_cost_so_far_is_shown(runner, monitor, gate, wait_until):
    @workflow(heartbeat=True)
    def flow(ctx: Context):
        ctx.usage(cost=0.5)
        ctx.usage(tokens_in=10, cost=0.25)
        gate.wait()

    with runner:
        runner.start(flow)
        wait_until(lambda: (seen := monitor.agent("flow")) and seen.cost == 0.75)
        gate.opened.set()
    assert monitor.agent("flow").cost == 0.75


def test_a_stage_without_progress_shows_as_stalled_and_recovers_with_the_next(runner, monitor, gate, wait_until):
    @stage(stall_after=0.2)
    def think(ctx: Context):
        gate.wait()
        ctx.progress(0.5, "half")
        wait_until(lambda: monitor.agent("flow").state == "running")

    @workflow(heartbeat=True)
    def flow():
        think()

    with runner:
        handle = runner.start(flow)
        stalled = wait_until(lambda: next(iter(monitor.agents(status="stalled")), None))
        assert (stalled.agent_id, stalled.stage, stalled.stall_after) == ("flow", "think", 0.2)
        assert stalled.activity == "began stage think"
        gate.opened.set()
    assert handle.wait().success
    assert not monitor.agent("flow").is_stalled


def test_a_stage_s_own_limit_holds_while_it_runs_and_the_workflow_s_outside(runner, monitor, gate, wait_until):
    @stage(stall_after=600)
    def slow():
        return prepare()

    @workflow(heartbeat=Heartbeat(stall_after=0.2))
    def flow():
        slow()
        gate.wait()

    with runner:
        runner.start(flow)
        gate.reached.wait(10)
        stalled = wait_until(lambda: next(iter(monitor.agents(status="stalled")), None))
        assert (stalled.stage, stalled.stall_after) == ("slow", 0.2)
        gate.opened.set()


def test_a_slow_stage_of_a_workflow_in_a_hurry_may_take_its_time(runner, monitor, gate, wait_until):
    @stage(stall_after=600)
    def slow():
        gate.wait()

    @workflow(heartbeat=Heartbeat(stall_after=0.05))
    def flow():
        slow()

    with runner:
        runner.start(flow)
        seen = wait_until(lambda: (a := monitor.agent("flow")) and (a.progress_age or 0) > 0.3 and a)
        assert (seen.state, seen.stall_after) == ("running", 600.0)
        gate.opened.set()


def test_usage_is_progress(runner, monitor, gate, wait_until):
    @stage(stall_after=0.2)
    def ask(ctx: Context):
        gate.wait()
        ctx.usage(tokens_in=10)
        wait_until(lambda: monitor.agent("flow").state == "running")

    @workflow(heartbeat=True)
    def flow():
        ask()

    with runner:
        handle = runner.start(flow)
        wait_until(lambda: monitor.agents(status="stalled"))
        gate.opened.set()
    assert handle.wait().success
