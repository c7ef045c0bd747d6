"""§5.9: how aborted runs end, whoever asks for it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from aborting import WHY, Place, abort, aborted, assert_aborted, blocks, field, flow_of, knows
from awaiting import Awaited
from peers import Peer
from proxy import Proxy
from waiting import wait_until

from attune_dsl import AsyncSignals, Runner, Signals, join, stage, workflow
from attune_dsl.model import AgentStatus, Reason
from attune_dsl.runner.handle import RunHandle
from attune_dsl.runner.run import Run

if TYPE_CHECKING:
    from conftest import Store


@stage
def step(*_: Any) -> str:
    return "done"


@stage
def heed(signals: Signals, *_: Any) -> Any:
    return aborted(signals.wait("never", timeout=None))


@stage
def insist(signals: Signals) -> Any:
    """It raises an error of its own."""
    raise LookupError(aborted(signals.wait("never", timeout=None)))


# What a run notices


def test_a_run_that_swallowed_it_ends_as_aborted(store: Store, ops: Peer, runner: Runner) -> None:
    """§5.9: its wait told it, and it returned."""

    @flow_of
    def flow() -> Any:
        return heed()

    handle = runner.start(flow)
    blocks(handle)
    abort(ops)

    assert_aborted(store, handle.wait(20))


def test_an_async_run_that_swallowed_it_ends_as_aborted(store: Store, ops: Peer, runner: Runner) -> None:
    """§5.9: also where the wait ends before its task is cancelled, or the code swallows that."""

    @flow_of
    async def flow(signals: AsyncSignals) -> Any:
        while await signals.wait("never", timeout=None):
            pass
        return "value"

    handle = runner.start(flow)
    blocks(handle)
    abort(ops)

    assert_aborted(store, handle.wait(20))


def test_an_error_of_the_code_is_the_cause(store: Store, ops: Peer, runner: Runner) -> None:
    """§5.9: aborted, because of that; what the code made of it is kept."""

    @flow_of
    def flow() -> Any:
        insist()

    handle = runner.start(flow)
    blocks(handle)
    abort(ops)

    result = handle.wait(20)
    assert_aborted(store, result)
    assert repr(result.error.__cause__) == f"LookupError({WHY!r})"  # type: ignore[union-attr]


def test_a_run_that_never_noticed_completes(store: Store, ops: Peer, runner: Runner, place: Place) -> None:
    """§5.9: it was at its end already; nobody could stop it, and its value is true."""

    @flow_of
    def flow() -> str:
        place.wait()
        return "value"

    handle = runner.start(flow)
    place.reached.wait(20)
    abort(ops)
    knows(handle)
    place.opened.set()

    result = handle.wait(20)
    assert (result.status, result.value, result.error) == (AgentStatus.COMPLETED, "value", None)
    assert field(store, "flow", "status") == "completed"
    assert runner.run(workflow(heartbeat=True, agent_id="flow", name="next")(step.fn)).success  # it is consumed


def test_mail_that_came_before_is_no_notice(store: Store, ops: Peer, runner: Runner, place: Place) -> None:
    """§5.9: a wait that got its signal tells nothing of the abort."""

    @flow_of
    def flow(signals: Signals) -> Any:
        place.wait()
        return signals.wait("x").payload  # type: ignore[union-attr]

    handle = runner.start(flow)
    place.reached.wait(20)
    ops.signals.send("x", "flow", 7)
    abort(ops)
    knows(handle)
    place.opened.set()

    assert handle.wait(20).value == 7


# Who asks, and when


def test_the_handle_s_abort_takes_the_same_way(store: Store, runner: Runner) -> None:
    """§5.9: waits end at once, and the store shows it."""

    @flow_of
    def flow() -> Any:
        return heed_and_hold()

    @stage
    def heed_and_hold(signals: Signals) -> str:
        why = aborted(signals.wait("never", timeout=None))
        wait_until(lambda: field(store, "flow", "abort_reason") == "no need")
        return why

    handle = runner.start(flow)
    blocks(handle)
    handle.abort("no need")

    assert_aborted(store, handle.wait(20), "no need")
    assert field(store, "flow", "abort_by") == "flow"


def test_a_failure_aborts_the_others_the_same_way(store: Store, place: Place) -> None:
    """§5.9: their waits end at once, and the store shows why."""

    @workflow
    def broken() -> None:
        place.wait()
        raise ValueError("no")

    @flow_of
    def flow() -> Any:
        return heed()

    runner = Runner(store=store.url, namespace=store.namespace, on_failure="abort")
    other, failing = runner.start(flow), runner.start(broken)
    blocks(other)
    place.opened.set()

    assert_aborted(store, other.wait(20), "run 'broken' failed")
    assert failing.wait(20).status is AgentStatus.FAILED


def test_a_local_abort_without_a_store_ends_waits(store: Store, proxy: Proxy) -> None:
    """§5.9, §5.11: it is not asked for."""

    @flow_of
    def flow() -> Any:
        return heed()

    handle = Runner(store=proxy.url, namespace=store.namespace).start(flow)
    blocks(handle)
    proxy.die()
    wait_until(lambda: not handle.run.agent._hub.link.up)  # type: ignore[union-attr]
    handle.abort("no need")

    result = handle.wait(20)
    assert (result.status, str(result.error), result.degraded) == (AgentStatus.ABORTED, "no need", True)


def test_a_run_that_takes_no_part_is_aborted_by_its_handle(place: Place) -> None:
    """§5.9: it needs no store."""

    @workflow
    def flow() -> None:
        place.wait()
        step()

    with Runner() as runner:
        handle = runner.start(flow)
        place.reached.wait(20)
        handle.abort("no need")
        place.opened.set()
        result = handle.wait(20)
    assert (result.status, str(result.error)) == (AgentStatus.ABORTED, "no need")


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("by", ["its handle", "another"])
def test_a_run_that_is_starting_calls_nothing(store: Store, ops: Peer, runner: Runner, by: str, is_async: bool) -> None:
    """§5.9: it has joined, and its workflow is not called."""
    called: list[int] = []
    original = Run.begin

    def begin_late(run: Run) -> Any:
        assert run.status is AgentStatus.STARTING
        if by == "another":
            assert Awaited(ops.signals.abort, "enough", "flow").result() == ["flow"]
            wait_until(lambda: run.stop.halted)
        else:
            run.stop.request(WHY)
        return original(run)

    def body() -> None:
        called.append(1)

    async def async_body() -> None:
        called.append(1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "begin", begin_late)
        handle = runner.start(workflow(heartbeat=True, agent_id="flow", name="f")(async_body if is_async else body))
        assert_aborted(store, handle.wait(20))
    assert called == []


def test_the_first_reason_counts_whoever_gives_it(store: Store, ops: Peer, runner: Runner, place: Place) -> None:
    """§5.9: from here first, then from afar; and the other way round."""

    @flow_of
    def flow() -> None:
        place.wait()
        step()

    for remote_first in (True, False):
        place.reached.clear()
        place.opened.clear()
        handle = runner.start(flow)
        place.reached.wait(20)
        if remote_first:
            abort(ops)
            knows(handle)
        handle.abort("no need")
        wait_until(lambda: field(store, "flow", "abort_reason"))
        assert ops.signals.abort("once more", "flow") == ["flow"]
        place.opened.set()
        assert_aborted(store, handle.wait(20), WHY if remote_first else "no need")


def test_a_heartbeat_is_enough(store: Store, ops: Peer, runner: Runner, place: Place) -> None:
    """§5.9: a run without coordination is asked as well."""

    @workflow(heartbeat=True, agent_id="flow")
    def flow() -> None:
        place.wait()
        step()

    handle = runner.start(flow)
    place.reached.wait(20)
    assert ops.signals.abort("enough") == ["flow"]
    knows(handle)
    place.opened.set()

    assert_aborted(store, handle.wait(20))


def test_a_run_aborts_another_and_itself(store: Store, runner: Runner) -> None:
    """§5.9: through its signals, in the workflow's own code."""

    @flow_of
    def flow(signals: Signals) -> None:
        with join("other", store=store.url, namespace=store.namespace) as other:
            assert signals.abort("go", "other") == ["other"]
            assert aborted(other.signals.wait("x", timeout=None)) == "go (asked by flow)"
        assert signals.abort("me too", "flow") == ["flow"]
        assert signals.wait("never", timeout=None).reason is Reason.ABORTED  # type: ignore[union-attr]

    assert_aborted(store, runner.run(flow), "me too (asked by flow)")


def test_a_cancelled_block_leaves_no_abort_behind(store: Store, runner: Runner) -> None:
    """§3: cancelled is what the caller did; its waits end all the same."""

    @flow_of
    def flow() -> Any:
        return heed()

    class Interrupted(BaseException):
        pass

    started: list[RunHandle[Any]] = []
    with suppress(Interrupted), Runner(store=store.url, namespace=store.namespace) as block:
        started.append(block.start(flow))
        blocks(started[0])
        raise Interrupted

    assert started[0].status is AgentStatus.CANCELLED
    assert (field(store, "flow", "status"), field(store, "flow", "abort_reason")) == ("cancelled", None)
