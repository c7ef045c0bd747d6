"""What a run says to its agent: joining, touches, what a failed attempt gives back, leaving."""

import asyncio
import contextlib
import subprocess
import sys

import pytest
from fake_agents import FakeAgent

from attune_dsl import (
    AgentIdTaken,
    AsyncSignals,
    BlockingCallInLoop,
    Context,
    Coordination,
    Heartbeat,
    RunAborted,
    Runner,
    Signals,
    arun,
    run,
    stage,
    workflow,
)
from attune_dsl.runner.run import active


@stage(tier="cheap")
def one():
    return 1


@stage
def two():
    return 2


@workflow(heartbeat=True, coordination=True)
def flow():
    return one() + two()


def test_a_run_enters_with_its_policies_and_says_what_it_is(agents):
    result = Runner(store="memory://", namespace="team").run(flow)
    (agent,) = agents
    options = dict(agent.options)
    info = options.pop("info")
    assert (info.workflow, info.run_id, info.stages) == ("flow", result.run_id, ("one", "two"))
    assert options == {
        "alternative": f"flow-{result.run_id[:8]}",
        "store": "memory://",
        "namespace": "team",
        "heartbeat": Heartbeat(),
        "coordination": Coordination(),
        "takeover": False,
    }
    assert result.degraded is True


def test_a_workflow_s_own_options_win_over_the_runner_s(agents):
    own = flow.options(
        agent_id="named",
        store="unix:///own",
        namespace="own",
        takeover=True,
        heartbeat=Heartbeat(interval=1, ttl=3),
        coordination=False,
    )
    Runner(store="memory://", namespace="team").run(own)
    options = agents[0].options
    assert (agents[0].agent_id, options["alternative"], options["takeover"]) == ("named", None, True)
    assert (options["store"], options["namespace"]) == ("unix:///own", "own")
    assert (options["heartbeat"], options["coordination"]) == (Heartbeat(interval=1, ttl=3), None)


def test_each_start_and_end_of_a_stage_is_touched(agents):
    run(flow)
    assert agents[0].touches == [
        ("one", 0.0, 1, "cheap", None),
        ("one", 0.5, 1, "cheap", None),
        ("two", 0.5, 1, None, None),
        ("two", 0.99, 1, None, None),
    ]


def test_after_an_inner_stage_the_outer_one_is_shown_again(agents):
    @stage
    def outer():
        one()

    @workflow(heartbeat=True, stages=[outer])
    def nested():
        outer()

    run(nested)
    assert [touch[0] for touch in agents[0].touches] == ["outer", "one", "outer", "outer"]


def test_attempts_and_notes_are_touched(agents):
    @stage(retries=1, backoff=0)
    def flaky(ctx: Context):
        ctx.progress(0.5, "half")
        if ctx.attempt == 1:
            raise ValueError

    @workflow(heartbeat=True)
    def retrying():
        flaky()

    run(retrying)
    assert agents[0].touches == [
        ("flaky", 0.0, 1, None, None),
        ("flaky", 0.5, 1, None, "half"),
        ("flaky", 0.5, 2, None, None),
        ("flaky", 0.5, 2, None, "half"),
        ("flaky", 0.99, 2, None, None),
    ]


async def test_async_stages_are_touched_alike(agents):
    @stage
    async def aone():
        await asyncio.sleep(0)

    @workflow(heartbeat=True)
    async def aflow():
        await aone()

    await aflow()
    assert agents[0].touches == [("aone", 0.0, 1, None, None), ("aone", 0.99, 1, None, None)]


def test_what_a_failed_attempt_took_is_given_to_the_next(agents):
    @stage(retries=2, backoff=0)
    def take(signals: Signals):
        signals.take("signal")
        if len(agents[0].given_back) < 2:
            raise ValueError

    @workflow(coordination=True)
    def taking():
        take()

    run(taking).unwrap()
    assert agents[0].given_back == [["signal"], ["signal"]]


def test_what_the_last_attempt_took_stays_taken(agents):
    @stage(retries=1, backoff=0)
    async def take(signals: AsyncSignals):
        signals.take("signal")
        raise ValueError

    @workflow(coordination=True)
    async def taking():
        await take()

    assert not run(taking).success
    assert agents[0].given_back == [["signal"]]


ENDINGS = [
    (None, "completed", None),
    (ValueError("broken"), "failed", "ValueError: broken"),
    (RunAborted("told to"), "aborted", "RunAborted: told to"),
    (KeyboardInterrupt(), "cancelled", "KeyboardInterrupt"),
    (SystemExit(2), "failed", "SystemExit: 2"),
]


@pytest.mark.parametrize(("error", "status", "text"), ENDINGS)
def test_every_ending_leaves_with_its_status(agents, error, status, text):
    @workflow(heartbeat=True)
    def ending():
        if error is not None:
            raise error

    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        run(ending)
    assert agents[0].left == [(status, text)]


@pytest.mark.parametrize(("error", "status", "text"), ENDINGS[:3])
async def test_every_async_ending_leaves_with_its_status(agents, error, status, text):
    @workflow(heartbeat=True)
    async def ending():
        if error is not None:
            raise error

    await arun(ending)
    assert agents[0].left == [(status, text)]


async def test_a_cancelled_run_leaves_before_the_cancellation_goes_on(agents):
    @workflow(heartbeat=True)
    async def forever():
        asyncio.get_running_loop().call_soon(task.cancel)
        await asyncio.Event().wait()

    task = asyncio.create_task(arun(forever))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert agents[0].left == [("cancelled", "CancelledError")]


def test_a_coroutine_that_is_closed_can_only_let_its_lease_lapse(agents):
    @workflow(heartbeat=True)
    async def forever():
        await asyncio.Event().wait()

    async def main():
        running = arun(forever)
        running.send(None)
        running.close()

    asyncio.run(main())
    assert agents[0].left == []


def test_an_aborted_handle_leaves_as_aborted(agents):
    @workflow(heartbeat=True)
    async def forever():
        await asyncio.Event().wait()

    with Runner() as runner:
        handle = runner.start(forever)
        handle.abort("enough")
    assert agents[0].left == [("aborted", "RunAborted: enough")]


def test_the_default_name_gives_way_to_a_live_owner(agents):
    result = run(flow.options(name="taken"))
    assert result.agent_id == f"taken-{result.run_id[:8]}"


def test_a_name_that_was_asked_for_does_not(agents):
    with pytest.raises(AgentIdTaken):
        run(flow.options(agent_id="taken"))
    handle = Runner().start(flow.options(agent_id="taken"))
    with pytest.raises(AgentIdTaken):
        handle.wait(10)


def test_a_run_that_could_not_start_is_a_failure_nobody_looked_at(agents):
    runner = Runner(on_failure="abort")

    def block():
        with runner:
            runner.start(flow.options(agent_id="taken"))

    with pytest.raises(ExceptionGroup, match="failed runs: 'taken'"):
        block()


def test_a_run_that_somebody_saw_not_to_start_is_no_surprise(agents):
    with Runner() as runner:
        handle = runner.start(flow.options(agent_id="taken"))
        with pytest.raises(AgentIdTaken):
            handle.wait(10)


def test_a_long_name_leaves_room_for_its_alternative(agents):
    result = run(flow.options(name="n" * 128))
    assert result.agent_id == "n" * 128
    assert len(agents[0].options["alternative"]) == 128


def test_ctrl_c_while_a_run_leaves_keeps_the_result(agents, monkeypatch):
    async def leave(self, status, error=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeAgent, "leave", leave)
    runner = Runner()
    with pytest.raises(KeyboardInterrupt):
        runner.run(flow)
    assert runner.results["flow"].value == 3
    assert active == {}


def test_the_observer_learns_store_and_namespace(agents):
    told = []
    Runner(observer=told.append).run(flow)
    assert (told[0].store_label, told[0].namespace, told[0].agent_id) == ("the store", "space", "flow")


async def test_a_sync_flow_that_uses_the_store_is_not_run_on_a_loop_s_thread(agents):
    with pytest.raises(BlockingCallInLoop, match=r"write 'await arun\(flow, ...\)'"):
        flow()
    assert (await arun(flow)).value == 3


def test_without_heartbeat_and_coordination_nothing_of_the_store_is_imported():
    """Nor asyncio, which costs more than a whole sync run."""
    code = """
import sys
before = set(sys.modules)  # measuring coverage brings some of them
from attune_dsl import run, stage, workflow

@stage
def one():
    return 1

@workflow
def flow():
    return one()

assert run(flow).value == 1 and flow() == 1
above = ("attune_dsl.coordination", "attune_dsl.hub", "attune_dsl.store")
loaded = set(sys.modules) - before
late = [name for name in loaded if name.startswith(above) or name in ("asyncio", "redis", "structlog", "stamina")]
print(late)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
