"""Asking a run to stop: the first request counts, everybody who has to know is told once, and pauses end."""

import threading
import time

import pytest

from attune_dsl import RunAborted, Runner, Signals, run, stage, workflow
from attune_dsl.model import AgentStatus
from attune_dsl.runner.stop import Stop


@pytest.fixture
def stop():
    return Stop()


def test_the_first_request_counts(stop):
    assert stop.request("first")
    assert not stop.request("second", AgentStatus.CANCELLED)
    with pytest.raises(RunAborted, match="first"):
        stop.check()


def test_nobody_has_asked(stop):
    stop.check()
    stop.check_fence()
    assert (stop.halted, stop.ended) == (False, False)


def test_all_who_want_to_know_are_told_in_their_order_and_once(stop):
    told = []
    stop.on_request(lambda *request: told.append(("one", *request)))
    stop.on_request(lambda *request: told.append(("two", *request)))

    stop.request("why")
    stop.request("again")

    assert told == [("one", "why", "aborted"), ("two", "why", "aborted")]


def test_who_is_told_may_ask_itself(stop):
    """A run's agent is halted by the run, and halts the run."""
    told = []
    stop.on_request(lambda *_: told.append(stop.request("again")))
    assert stop.request("why")
    assert told == [False]


def test_a_run_that_has_ended_is_not_asked(stop):
    told = []
    stop.on_request(lambda *_: told.append(1))
    stop.end(None)
    assert not stop.request("too late")
    assert told == []


def test_of_many_threads_one_request_is_the_first(stop):
    gate, told, first = threading.Barrier(16), [], []
    stop.on_request(lambda why, _: told.append(why))

    def ask(name):
        gate.wait(10)
        if stop.request(name):
            first.append(name)

    threads = [threading.Thread(target=ask, args=(str(n),)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert len(first) == 1
    assert told == first


def test_a_pause_lasts_as_long_as_it_should(stop):
    before = time.monotonic()
    stop.pause(0.05)
    assert time.monotonic() - before >= 0.05


@pytest.mark.parametrize("ask", [lambda stop: stop.request("why"), lambda stop: stop.fence("another owner")])
def test_a_request_ends_all_pauses_at_once(stop, ask, wait_until):
    threads = [threading.Thread(target=stop.pause, args=(40,), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: stop._woken is not None)

    ask(stop)

    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("error", [None, ValueError("elsewhere")])
def test_the_end_of_the_run_ends_a_pause_and_no_attempt_follows(stop, wait_until, error):
    """§5.9: the workflow failed elsewhere, and the interpreter waits for the thread that pauses."""
    raised = []

    def pause():
        with pytest.raises(RunAborted, match="the run has") as caught:
            stop.pause(600)
        raised.append(caught.value)

    thread = threading.Thread(target=pause, daemon=True)
    thread.start()
    wait_until(lambda: stop._woken is not None)

    stop.end(error)

    thread.join(10)
    assert len(raised) == 1
    with pytest.raises(RunAborted):
        stop.pause(600)


def test_a_pause_that_begins_after_a_request_does_not_last(stop):
    stop.request("why")
    stop.pause(40)


def test_two_pauses_one_after_the_other_end_both(stop):
    stop.pause(0)
    stop.pause(0)
    stop.request("why")
    stop.pause(40)


def test_a_run_whose_wait_was_aborted_is_aborted_though_it_returned(agents):
    @workflow(heartbeat=True)
    def flow():
        agents[0].aborted, agents[0].has_heeded = "why (asked by ops)", True
        return "value"

    result = run(flow)
    assert (result.status, result.value, str(result.error)) == ("aborted", None, "why (asked by ops)")
    assert agents[0].left == [("aborted", "RunAborted: why (asked by ops)")]


def test_an_error_of_such_a_run_is_what_it_was_aborted_with(agents):
    @workflow(heartbeat=True)
    def flow():
        agents[0].aborted, agents[0].has_heeded = "why", True
        raise ValueError("no")

    result = run(flow)
    assert (result.status, str(result.error), str(result.error.__cause__)) == ("aborted", "why", "no")


@pytest.mark.parametrize(("status", "is_abort"), [(AgentStatus.ABORTED, True), (AgentStatus.CANCELLED, False)])
def test_the_agent_is_halted_with_its_run(agents, status, is_abort):
    @stage
    def ask(signals: Signals): ...

    @workflow(heartbeat=True)
    def flow():
        handle.run.stop.request("why", status)
        handle.run.stop.request("again")
        ask()

    ready = threading.Event()
    original = flow.fn
    gated = workflow(heartbeat=True, name="flow")(lambda: (ready.wait(10), original())[1])
    with Runner() as runner:
        handle = runner.start(gated)
        ready.set()
        result = handle.wait(10)
    assert (result.status, str(result.error)) == (status, "why")
    assert agents[0].halts == [("why", is_abort)]


def test_an_abort_of_the_agent_stops_the_run(agents):
    @stage
    def step(): ...

    @workflow(heartbeat=True)
    def flow():
        agents[0].abort("why (asked by ops)")
        step()

    result = run(flow)
    assert (result.status, str(result.error)) == ("aborted", "why (asked by ops)")


def test_a_run_whose_agent_was_aborted_before_it_began_calls_nothing(agents, monkeypatch):
    called = []
    monkeypatch.setattr("fake_agents.FakeAgent.on_abort", lambda self, tell: tell("why"))

    result = run(workflow(heartbeat=True, name="flow")(lambda: called.append(1)))

    assert (result.status, str(result.error), called) == ("aborted", "why", [])
