"""A run whose agent id was taken over ends as aborted, and says why."""

import asyncio
import threading
from contextvars import copy_context

import pytest
from fake_agents import FakeAgent
from peers import until

from attune_dsl import Context, RunAborted, Runner, Signals, arun, run, stage, workflow
from attune_dsl.runner.stop import Stop

WHY = "the agent id was taken over by pid 7 on host"


@stage
def step(value=0):
    return value


@workflow(heartbeat=True)
async def patient():
    await asyncio.Event().wait()


def fence(agents, why=WHY):
    agents[0].take_over(why)


def begun(agents):
    """Whether the first agent's run has begun."""
    return agents and agents[0].read is not None


def ending(result):
    return result.status.value, str(result.error), result.value


ABORTED = ("aborted", WHY, None)


@pytest.mark.parametrize("call", ["stage", "map", "progress", "usage", "emit", "workflow"])
def test_a_sync_run_stops_at_its_next_call_into_the_run(agents, call):
    after = []

    @workflow
    def child(): ...

    @workflow(heartbeat=True)
    def flow(ctx: Context):
        fence(agents)
        calls = {"stage": step, "map": lambda: step.map([1]), "progress": ctx.progress, "usage": ctx.usage}
        (calls | {"emit": lambda: ctx.emit(1), "workflow": child})[call]()
        after.append(call)

    assert ending(run(flow)) == ABORTED
    assert after == []
    assert agents[0].left == [("aborted", f"RunAborted: {WHY}")]


def test_a_value_that_a_fenced_run_returned_is_not_handed_out(agents):
    """Somebody would act on it while the new owner of the id is at work."""

    @workflow(heartbeat=True)
    def flow():
        fence(agents)
        return "value"

    assert ending(run(flow)) == ABORTED


def test_an_error_of_a_fenced_run_is_the_cause(agents):
    @workflow(heartbeat=True)
    def flow():
        fence(agents)
        raise ValueError("no connection")

    result = run(flow)
    assert ending(result) == ABORTED
    assert str(result.error.__cause__) == "no connection"


def test_no_further_attempt_is_made(agents):
    tries = []

    @stage(retries=3, backoff=0)
    def shaky():
        tries.append(1)
        fence(agents)
        raise OSError

    @workflow(heartbeat=True)
    def flow():
        shaky()

    assert ending(run(flow)) == ABORTED
    assert tries == [1]


async def test_an_async_run_is_cancelled_where_it_waits(agents):
    task = asyncio.create_task(arun(patient))
    await until(lambda: begun(agents))
    await asyncio.to_thread(fence, agents)
    assert ending(await task) == ABORTED


@pytest.mark.parametrize("starts", ["start", "run"])
def test_an_async_run_in_a_loop_of_its_own_is_cancelled(agents, wait_until, starts):
    runner, results = Runner(), []
    if starts == "start":
        handle = runner.start(patient)
    else:
        thread = threading.Thread(target=lambda: results.append(run(patient)))
        thread.start()
    wait_until(lambda: begun(agents))
    fence(agents)
    if starts == "run":
        thread.join(10)
    assert ending(handle.wait(10) if starts == "start" else results[0]) == ABORTED


async def test_a_sync_run_that_is_awaited_stops_too(agents):
    @workflow(heartbeat=True)
    def flow():
        fence(agents)
        step()

    assert ending(await arun(flow)) == ABORTED


def test_a_plain_call_raises_why(agents):
    @workflow(heartbeat=True)
    def flow():
        fence(agents)
        step()

    with pytest.raises(RunAborted, match="taken over by pid 7"):
        flow()


@pytest.mark.parametrize("is_async", [False, True])
def test_a_run_that_was_fenced_before_it_began_calls_nothing(agents, monkeypatch, is_async):
    called = []
    monkeypatch.setattr(FakeAgent, "on_gone", lambda self, tell: tell(WHY))

    def body():
        called.append(1)

    async def async_body():
        called.append(1)

    assert ending(run(workflow(heartbeat=True, name="flow")(async_body if is_async else body))) == ABORTED
    assert called == []


def test_a_run_that_has_ended_stays_as_it_ended(agents):
    result = run(workflow(heartbeat=True)(step.fn))
    fence(agents)
    assert (result.status.value, result.value) == ("completed", 0)


def test_a_run_whose_loop_is_gone_is_not_in_the_way(agents):
    """The hub's thread tells it, and must not stumble over it."""
    loop, context = asyncio.new_event_loop(), copy_context()
    running = arun(patient)
    loop.run_until_complete(loop.create_task(_begin(running), context=context))
    loop.close()
    fence(agents)
    context.run(running.close)


async def _begin(running):
    running.send(None)


def test_other_runs_go_on(agents, wait_until):
    with Runner() as runner:
        first = runner.start(patient)
        wait_until(lambda: begun(agents))
        second = runner.start(workflow(heartbeat=True)(step.fn))
        second.wait(10)
        fence(agents)
    assert (first.status, second.status) == ("aborted", "completed")


def test_a_fence_wins_over_an_earlier_request_that_was_not_noticed():
    stop = Stop()
    stop.request("enough")
    stop.fence(WHY)
    status, error = stop.end(None)
    assert (status.value, str(error)) == ("aborted", WHY)


def test_an_ordinary_request_that_came_too_late_leaves_the_value():
    stop = Stop()
    stop.request("enough")
    assert stop.end(None) == ("completed", None)


def test_after_its_end_a_run_is_not_fenced_any_more():
    stop = Stop()
    stop.end(None)
    stop.fence(WHY)
    stop.check_fence()
    stop.check()


def test_signals_of_a_fenced_run_raise_while_those_of_an_aborted_one_may_still_send(agents):
    checks = []

    @stage
    def speak(signals: Signals):
        checks.append(signals.check)

    @workflow(heartbeat=True)
    def flow(ctx: Context):
        speak()
        checks[0]("send")
        ctx._frame.run.stop.request("enough")
        with pytest.raises(RunAborted, match="enough"):
            checks[0]("send")
        checks[0]("send")
        fence(agents)
        checks[0]("send")

    result = run(flow)
    assert ending(result) == ("aborted", WHY, None)
