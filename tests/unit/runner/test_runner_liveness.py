"""What a run tells its agent so that others see who it is, whether it works, and what it costs."""

import json
import threading

import pytest
from fake_agents import FakeAgent

from attune_dsl import Context, Runner, run, stage, workflow


@stage
def step(value=0):
    return value


@stage(stall_after=600)
def slow(inner=None):
    return inner and inner()


def test_a_run_says_who_it_is(agents):
    @workflow(heartbeat=True, display_name="Nightly", metadata={"team": "data"})
    def flow():
        step()

    run(flow)
    run(flow.options(display_name="Once", metadata=None))
    shown = [(agent.options["info"].display_name, agent.options["info"].metadata) for agent in agents]
    assert shown == [("Nightly", {"team": "data"}), ("Once", None)]


def test_a_workflow_inside_a_run_is_no_agent_of_its_own(agents):
    @workflow(heartbeat=True, display_name="Inner", metadata={"x": 1})
    def inner():
        step()

    @workflow(heartbeat=True)
    def outer():
        inner()

    run(outer)
    (agent,) = agents
    assert (agent.options["info"].display_name, agent.options["info"].metadata) == (None, None)


def test_a_stage_s_stall_after_holds_while_it_runs(agents):
    """Of the stages that run, that of the one that is shown; afterwards the workflow's again."""

    @workflow(heartbeat=True)
    def flow(ctx: Context):
        slow(step)
        ctx.progress(note="between")
        slow.options(stall_after=5)()

    run(flow)
    assert agents[0].limits == [
        ("slow", 600.0),
        ("step", None),
        ("slow", 600.0),
        ("slow", None),
        (None, None),
        ("slow", 5.0),
        ("slow", None),
    ]


def test_what_a_stage_did_is_told_with_each_touch(agents):
    @workflow(heartbeat=True)
    def flow(ctx: Context):
        slow(step)
        ctx.progress(note="between")

    run(flow)
    assert agents[0].acts == [("slow", "began"), ("step", "began"), ("slow", ""), ("slow", "ended"), (None, "")]


def test_attempts_and_notes_keep_the_stage_s_stall_after(agents):
    @stage(stall_after=2, retries=1, backoff=0)
    def shaky(ctx: Context):
        ctx.progress(0.5, "half")
        if ctx.attempt == 1:
            raise ValueError

    @workflow(heartbeat=True)
    def flow():
        shaky()

    run(flow)
    assert agents[0].limits == [("shaky", 2.0)] * 4 + [("shaky", None)]


def test_usage_tells_the_cost_so_far(agents):
    @stage(retries=1, backoff=0)
    def ask(ctx: Context):
        ctx.usage(tokens_in=5, cost=0.5)
        if ctx.attempt == 1:
            raise ValueError

    @workflow(heartbeat=True)
    def flow(ctx: Context):
        ctx.usage(cost=0.25)
        ask()
        ctx.usage(tokens_out=1)

    assert run(flow).cost == 1.25
    assert agents[0].costs == [0.25, 0.75, 1.25, 1.25]


def test_the_cost_never_goes_back_when_threads_report_it(agents, monkeypatch):
    """The first report is held up as long as another one could overtake it."""
    held, overtaken = threading.Event(), threading.Event()

    def spent(self, cost):
        if not held.is_set():
            held.set()
            overtaken.wait(0.2)
        self.costs.append(cost)
        overtaken.set()

    monkeypatch.setattr(FakeAgent, "spent", spent)

    @stage
    def ask(ctx: Context, is_second):
        if is_second:
            held.wait(10)
        ctx.usage(cost=1.0)

    @workflow(heartbeat=True)
    def flow():
        ask.map([False, True])

    assert run(flow).cost == 2.0
    assert agents[0].costs == [1.0, 2.0]


def test_usage_without_an_agent_is_in_the_result_alone():
    @workflow
    def flow(ctx: Context):
        ctx.usage(cost=0.25)

    assert run(flow).cost == 0.25


@pytest.mark.parametrize("is_async", [False, True])
def test_the_last_calls_can_be_read_when_the_agent_leaves(agents, monkeypatch, is_async):
    read = []
    leave = FakeAgent.leave

    async def reading(self, status, error=None):
        read.append({name: json.loads(row)["status"] for name, row in self.read().items()})
        await leave(self, status, error)

    monkeypatch.setattr(FakeAgent, "leave", reading)

    @stage
    def fails():
        raise ValueError

    def sync_flow():
        step()
        fails()

    async def async_flow():
        sync_flow()

    run(workflow(heartbeat=True)(async_flow if is_async else sync_flow))
    assert read == [{"step": "completed", "fails": "failed"}]


def test_what_a_run_tells_can_be_read_while_it_goes_on(agents):
    seen = []

    @workflow(heartbeat=True)
    def flow():
        step()
        seen.append({name: json.loads(row)["calls"] for name, row in agents[0].read().items()})
        step()

    with Runner() as runner:
        runner.start(flow)
    assert seen == [{"step": 1}]
    assert json.loads(agents[0].read()["step"])["calls"] == 2
