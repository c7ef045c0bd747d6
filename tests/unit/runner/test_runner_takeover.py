"""Runs whose agent id is taken by another process, on both kinds of server; a hub of its own stands for a process."""

import asyncio
import json
import threading

import pytest

from attune_dsl import AgentIdTaken, AsyncSignals, Context, RunAborted, Runner, Signals, stage, workflow
from attune_dsl.model import AgentStatus


@stage
def step():
    return "done"


@pytest.fixture
def runner(store):
    return Runner(store=store.url, namespace=store.namespace)


def record(store, agent_id):
    return {k.decode(): v.decode() for k, v in store.redis.hgetall(f"{store.prefix}agent:{agent_id}").items()}


def take_over(peers, agent_id="flow"):
    return peers.join(agent_id, url=peers.elsewhere(), takeover=True)


def is_running(handle):
    return lambda: handle.status is AgentStatus.RUNNING


def assert_aborted(result):
    assert result.status is AgentStatus.ABORTED
    assert isinstance(result.error, RunAborted)
    assert "taken over" in str(result.error)
    assert result.degraded


def test_an_async_run_is_cancelled_and_writes_nothing_more(runner, peers, store, wait_until):
    @workflow(heartbeat=True, coordination=True)
    async def flow():
        await asyncio.Event().wait()

    with runner:
        handle = runner.start(flow)
        wait_until(is_running(handle))
        new = take_over(peers)
        assert_aborted(handle.wait(20))
    left = record(store, "flow")
    assert (left["epoch"], left["status"]) == (str(new.member.epoch), "starting")
    assert "run_id" not in left or left["run_id"] == ""


def test_an_async_wait_for_a_signal_ends_so_too(runner, peers, wait_until):
    @workflow(heartbeat=True, coordination=True)
    async def flow(signals: AsyncSignals):
        for _ in range(100):
            await signals.wait("never", timeout=None)

    with runner:
        handle = runner.start(flow)
        wait_until(lambda: handle.run.agent and handle.run.agent._member.mailbox._waiters)
        take_over(peers)
        assert_aborted(handle.wait(20))


def test_a_sync_stage_that_waits_again_and_again_ends(runner, peers, wait_until):
    """Its wait ends without a signal, and the next call says why there will not be any."""
    ends = []

    @workflow(heartbeat=True, coordination=True)
    def flow(signals: Signals):
        while len(ends) < 100:
            ends.append(signals.wait("never", timeout=None))

    with runner:
        handle = runner.start(flow)
        wait_until(lambda: handle.run.agent and handle.run.agent._member.mailbox._waiters)
        take_over(peers)
        assert_aborted(handle.wait(20))
    assert [end.reason for end in ends] == ["unavailable"]


def test_a_sync_run_stops_at_its_next_call(runner, peers, wait_until):
    go, told = threading.Event(), []

    @workflow(heartbeat=True)
    def flow(ctx: Context):
        go.wait(20)
        step()
        told.append("more")

    with runner:
        handle = runner.start(flow)
        wait_until(is_running(handle))
        take_over(peers)
        wait_until(lambda: handle.run.stop.halted)
        go.set()
        assert_aborted(handle.wait(20))
    assert told == []


def test_a_run_takes_the_id_from_another_run(runner, store, peers, wait_until):
    @workflow(heartbeat=True)
    async def flow():
        await asyncio.Event().wait()

    there = Runner(store=peers.elsewhere(), namespace=store.namespace)
    with runner:
        old = runner.start(flow.options(agent_id="flow"))
        wait_until(is_running(old))
        with pytest.raises(AgentIdTaken):
            there.run(workflow(heartbeat=True)(step.fn).options(agent_id="flow"))
        new = there.run(workflow(heartbeat=True, name="new")(step.fn).options(agent_id="flow", takeover=True))
        assert_aborted(old.wait(20))
    assert (new.status.value, new.agent_id) == ("completed", "flow")
    assert record(store, "flow")["run_id"] == new.run_id


def test_what_a_run_says_of_itself_is_in_the_store(runner, store):
    @stage
    def costly(ctx: Context):
        ctx.usage(cost=0.5)

    @workflow(heartbeat=True, display_name="Nightly", metadata={"team": "data", "tags": ["a"]})
    def flow():
        costly()

    assert runner.run(flow).success
    left = record(store, "flow")
    assert (left["display_name"], json.loads(left["metadata"])) == ("Nightly", {"team": "data", "tags": ["a"]})
    assert float(left["cost"]) == 0.5


def test_a_run_that_learns_of_it_only_at_its_end(runner, store):
    """It stood still, somebody took its id, and when it went on it was at its end before any beat."""

    @workflow(heartbeat=True)
    def flow():
        store.redis.hset(
            f"{store.prefix}agent:flow", mapping={"epoch": 99, "owner": "99@x.1", "host": "there", "pid": 7}
        )
        return "too late"

    result = runner.run(flow)

    assert_aborted(result)
    assert (result.value, str(result.error)) == (None, "the agent id 'flow' was taken over by pid 7 on there")
    assert record(store, "flow")["epoch"] == "99"
