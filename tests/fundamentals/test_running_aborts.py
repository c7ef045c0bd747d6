"""An abort asks an agent to stop, from any process: its waits end, its stages stop, and its run ends as ``aborted``.

It is sticky: nothing is tried again, later waits end at once, and the next process under its id is asked too, should
the agent die before it has ended. The first reason counts.
"""

import asyncio
import threading

import pytest

from attune_dsl import AsyncSignals, Context, Monitor, RunAborted, Runner, Signals, join, stage, workflow


@pytest.fixture
def where(store):
    return {"store": store.url, "namespace": store.namespace}


@pytest.fixture
def ops(where):
    """A script that asks others to stop."""
    with join("ops", **where) as ops:
        yield ops


@pytest.fixture
def gate():
    """What a stage waits for while it does not look at its context; ``reached`` says that it does."""
    gate = Gate()
    yield gate
    gate.opened.set()


class Gate:
    def __init__(self):
        self.reached, self.opened = threading.Event(), threading.Event()

    def wait(self):
        self.reached.set()
        assert self.opened.wait(30)


def is_waiting(where, agent_id):
    with Monitor(**where) as monitor:
        seen = monitor.agent(agent_id)
        return seen is not None and seen.status == "waiting"


def test_a_wait_ends_and_says_why(where, ops, wait_until):
    heard = []

    @stage
    def listen(signals: Signals):
        heard.append(signals.wait("artifact", timeout=None))
        raise RuntimeError("no artifact")

    @workflow(heartbeat=True, coordination=True)
    def deploy():
        listen()

    with Runner(**where) as runner:
        handle = runner.start(deploy)
        wait_until(lambda: is_waiting(where, "deploy"))
        assert ops.signals.abort("the disk is full", "deploy") == ["deploy"]
        result = handle.wait(30)

    assert (heard[0].reason, heard[0].detail) == ("aborted", "the disk is full (asked by ops)")
    assert (result.status, str(result.error)) == ("aborted", "the disk is full (asked by ops)")
    assert str(result.error.__cause__) == "no artifact"


def test_nobody_of_that_name_lives(ops):
    assert ops.signals.abort("the disk is full", "deploy") == []


def test_an_async_stage_is_cancelled_where_it_is(where, ops):
    reached = threading.Event()

    @stage
    async def think():
        reached.set()
        await asyncio.Event().wait()

    @workflow(heartbeat=True)
    async def flow():
        await asyncio.gather(think(), think())

    with Runner(**where) as runner:
        handle = runner.start(flow)
        reached.wait(30)
        ops.signals.abort("enough", "flow")
        result = handle.wait(30)
    assert result.status == "aborted"
    assert {record.status for record in result.stages} == {"cancelled"}


def test_a_sync_stage_stops_at_its_next_call_into_its_context_and_is_not_tried_again(where, ops, gate, wait_until):
    attempts = []

    @stage(retries=5)
    def load(ctx: Context):
        attempts.append(ctx.attempt)
        gate.wait()
        ctx.progress(0.5)

    @workflow(heartbeat=True)
    def flow():
        load()

    with Runner(**where) as runner:
        handle = runner.start(flow)
        gate.reached.wait(30)
        ops.signals.abort("enough", "flow")
        wait_until(lambda: handle.run.stop.halted)
        gate.opened.set()
        result = handle.wait(30)
    assert result.status == "aborted"
    assert attempts == [1]


def test_a_run_that_had_nothing_left_to_notice_completes(where, ops, gate, wait_until):
    @workflow(heartbeat=True)
    def flow():
        gate.wait()
        return "done"

    with Runner(**where) as runner:
        handle = runner.start(flow)
        gate.reached.wait(30)
        ops.signals.abort("too late", "flow")
        wait_until(lambda: handle.run.stop.halted)
        gate.opened.set()
        assert handle.wait(30).value == "done"


def test_mail_that_was_sent_before_comes_first(where, ops, wait_until):
    with join("deploy", **where) as me:
        ops.signals.send("artifact", "deploy", payload="app.whl")
        ops.signals.abort("enough", "deploy")
        wait_until(lambda: me.aborted)
        assert me.signals.wait("artifact").payload == "app.whl"
        assert me.signals.wait("artifact").reason == "aborted"


def test_a_script_asks_whether_it_was_asked(where, ops, wait_until):
    with join("load", **where) as me:
        assert me.aborted == ""
        ops.signals.abort("enough", "load")
        wait_until(lambda: me.aborted)
        assert me.aborted == "enough (asked by ops)"
    with Monitor(**where) as monitor:
        assert monitor.agent("load").status == "aborted"


def test_without_a_target_all_that_live_now_are_asked(where, ops):
    with join("one", **where), join("two", **where):
        assert sorted(ops.signals.abort("maintenance")) == ["one", "two"]
    with join("late", **where) as late:
        assert late.aborted == ""
    assert ops.signals.abort("maintenance") == []


def test_a_handle_aborts_its_run_the_same_way(where, wait_until):
    @workflow(heartbeat=True, coordination=True)
    async def flow(signals: AsyncSignals):
        await signals.wait("never", timeout=None)

    with Runner(**where) as runner:
        handle = runner.start(flow)
        wait_until(lambda: is_waiting(where, "flow"))
        handle.abort("not needed any more")
        result = handle.wait(30)
    assert isinstance(result.error, RunAborted)
    with Monitor(**where) as monitor:
        seen = monitor.agent("flow")
        assert (seen.status, seen.error) == ("aborted", "RunAborted: not needed any more")


def test_a_failure_may_abort_the_others(where, wait_until):
    @workflow(heartbeat=True, coordination=True)
    def patient(signals: Signals):
        signals.wait("never", timeout=None)

    @workflow
    def broken():
        wait_until(lambda: is_waiting(where, "patient"))
        raise ValueError("no such table")

    runner = Runner(**where, on_failure="abort")
    other, failing = runner.start(patient), runner.start(broken)
    assert failing.wait(30).status == "failed"
    assert str(other.wait(30).error) == "run 'broken' failed"
