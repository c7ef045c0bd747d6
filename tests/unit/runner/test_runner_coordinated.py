"""Runs that take part in a store, on both kinds of server."""

import asyncio
import signal
import subprocess
import sys
import threading

import pytest

from attune_dsl import AgentIdTaken, AsyncSignals, Context, Runner, Signals, stage, workflow


@stage
def announce(signals: Signals, what):
    return signals.send("done", target="consumer", payload={"what": what})


@stage
async def receive(signals: AsyncSignals):
    signal = await signals.wait("done", source="producer", timeout=10)
    return signal.payload["what"] if signal else signal.detail


@workflow(heartbeat=True, coordination=True)
def producer():
    return announce("built")


@workflow(heartbeat=True, coordination=True)
async def consumer():
    return await receive()


@pytest.fixture
def runner(store):
    return Runner(store=store.url, namespace=store.namespace)


def agent(store, agent_id):
    return {k.decode(): v.decode() for k, v in store.redis.hgetall(f"{store.prefix}agent:{agent_id}").items()}


def test_two_flows_meet_through_a_signal(runner):
    with runner:
        runner.start(consumer)
        runner.start(producer)
    assert runner.results["consumer"].unwrap() == "built"
    assert runner.results["producer"].unwrap() != ""
    assert not runner.results["consumer"].degraded


@pytest.mark.parametrize("error", [None, ValueError("broken")])
def test_the_final_status_is_in_the_store(runner, store, error):
    @workflow(heartbeat=True)
    def ending(ctx: Context):
        if error:
            raise error

    result = runner.run(ending)
    record = agent(store, "ending")
    assert record["status"] == ("failed" if error else "completed")
    assert record["run_id"] == result.run_id
    assert record["workflow"] == "ending"


def test_a_failed_attempt_gives_its_signals_to_the_next(runner):
    seen = []

    @stage(retries=1, backoff=0)
    def take(signals: Signals):
        signal = signals.wait("done", timeout=10)
        seen.append((signal.payload, signal.redelivered))
        if len(seen) == 1:
            raise ValueError

    @workflow(coordination=True, agent_id="consumer")
    def taking():
        take()

    runner.run(producer)
    assert runner.run(taking).success
    assert seen == [({"what": "built"}, False), ({"what": "built"}, True)]


def test_a_second_owner_of_a_default_name_gets_another(runner, wait_until):
    go = threading.Event()

    @workflow(heartbeat=True)
    def busy():
        go.wait(10)

    with runner:
        first = runner.start(busy)
        wait_until(lambda: first.status == "running")
        second = runner.start(busy)
        wait_until(lambda: second.status == "running")
        with pytest.raises(AgentIdTaken):
            runner.run(busy.options(agent_id="busy"))
        go.set()
    assert first.agent_id == "busy"
    assert second.agent_id == f"busy-{second.run_id[:8]}"


async def test_async_runs_take_part_from_the_user_s_loop(runner):
    results = await asyncio.gather(runner.arun(consumer), runner.arun(producer))
    assert results[0].unwrap() == "built"


INTERRUPTED = """
import os, signal, sys, time
from attune_dsl import Runner, stage, workflow

@stage
def interrupted():
    os.kill(os.getpid(), getattr(signal, sys.argv[3]))
    time.sleep(30)

@workflow(heartbeat=True)
def flow():
    interrupted()

Runner(store=sys.argv[1], namespace=sys.argv[2]).run(flow)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGINT"])
def test_an_interrupted_process_leaves_a_final_heartbeat(store, signal_name):
    command = [sys.executable, "-c", INTERRUPTED, store.address, store.namespace, signal_name]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode in (143, 130, -signal.SIGINT), ended.stderr
    record = agent(store, "flow")
    assert (record["status"], record["stage"]) == ("cancelled", "interrupted")
