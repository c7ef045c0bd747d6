"""A script that takes part without being a workflow."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from attune_dsl.coordination.agent import Agent
from attune_dsl.coordination.async_signals import AsyncSignals
from attune_dsl.coordination.join import AsyncJoined, Joined, join
from attune_dsl.coordination.monitor import AsyncMonitor, Monitor
from attune_dsl.coordination.signals import Signals
from attune_dsl.exceptions import (
    AgentIdTaken,
    BlockingCallInLoop,
    InvalidName,
    NotAJsonValue,
    PayloadTooLarge,
    RunAborted,
    StoreConfigError,
    StoreUnavailable,
    UsageError,
)
from attune_dsl.model import AgentRecord, AgentStatus, Reason

if TYPE_CHECKING:
    from conftest import Store


WaitUntil = Callable[..., Any]


@pytest.fixture
def dead_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"redis://127.0.0.1:{server.getsockname()[1]}/0"


def where(store: Store) -> dict[str, Any]:
    return {"store": store.url, "namespace": store.namespace}


def record_of(store: Store, agent_id: str) -> AgentRecord:
    with Monitor(**where(store)) as monitor:
        record = monitor.agent(agent_id)
    assert record is not None
    return record


async def record_seen(store: Store, agent_id: str) -> AgentRecord:
    async with AsyncMonitor(**where(store)) as monitor:
        record = await monitor.agent(agent_id)
    assert record is not None
    return record


def test_inside_the_block_the_script_is_an_agent(store: Store) -> None:
    with join("ops", **where(store)) as me:
        record = record_of(store, "ops")
        assert isinstance(me, Joined)
        assert isinstance(me.signals, Signals)
        assert (me.agent_id, me.degraded) == ("ops", False)
        assert (record.pid, record.host, record.workflow) == (os.getpid(), socket.gethostname(), None)
        assert not record.status.is_final

    assert (record_of(store, "ops").status, record_of(store, "ops").error) == (AgentStatus.COMPLETED, None)


async def test_async_code_joins_with_async_with(store: Store) -> None:
    async with join("ops", **where(store)) as me:
        assert isinstance(me, AsyncJoined)
        assert isinstance(me.signals, AsyncSignals)
        assert me.agent_id == "ops"
        assert not (await record_seen(store, "ops")).status.is_final

    assert (await record_seen(store, "ops")).status is AgentStatus.COMPLETED


def test_scripts_signal_each_other(store: Store) -> None:
    with join("ann", **where(store)) as ann, join("bob", **where(store)) as bob:
        ann.signals.send("go", "bob", {"n": 1})
        signal = bob.signals.wait("go", timeout=10)

    assert signal
    assert (signal.source, signal.payload) == ("ann", {"n": 1})


@pytest.mark.parametrize(
    ("raised", "status", "error"),
    [
        (ValueError("no"), AgentStatus.FAILED, "ValueError: no"),
        (RunAborted("asked to"), AgentStatus.ABORTED, "RunAborted: asked to"),
        (KeyboardInterrupt(), AgentStatus.CANCELLED, "KeyboardInterrupt: "),
        (SystemExit(3), AgentStatus.CANCELLED, "SystemExit: 3"),
    ],
)
def test_how_the_block_ends_is_how_the_agent_ends(
    store: Store, raised: BaseException, status: AgentStatus, error: str
) -> None:
    with pytest.raises(type(raised)), join("ops", **where(store)):
        raise raised

    record = record_of(store, "ops")
    assert (record.status, record.error) == (status, error)
    assert record.ended_at is not None


def test_an_id_with_a_live_owner_is_refused_unless_it_is_taken_over(store: Store) -> None:
    with join("ops", **where(store)) as first:
        with pytest.raises(AgentIdTaken, match="takeover=True") as caught, join("ops", **where(store)):
            pass
        assert (caught.value.agent_id, caught.value.pid) == ("ops", os.getpid())

        with join("ops", takeover=True, **where(store)) as second:
            assert (first.degraded, second.degraded) == (True, False)


def test_what_was_refused_may_be_tried_again(store: Store) -> None:
    again = join("ops", **where(store))
    with join("ops", **where(store)), pytest.raises(AgentIdTaken), again:
        pass

    with again as me:
        assert me.agent_id == "ops"


def test_one_join_is_one_agent_at_a_time(store: Store) -> None:
    joining = join("ops", **where(store))
    for _ in range(2):
        with joining, pytest.raises(UsageError, match=r"'ops' has joined already; call join\(\)"), joining:
            pass

    assert record_of(store, "ops").epoch > 1


async def test_a_blocking_join_in_a_loop_is_refused(store: Store) -> None:
    with pytest.raises(BlockingCallInLoop), join("ops", **where(store)):
        pass


@pytest.mark.parametrize(
    ("agent_id", "how", "error"),
    [
        ("", {}, InvalidName),
        ("o\nps", {}, InvalidName),
        ("ops", {"namespace": "{x}"}, InvalidName),
        ("ops", {"store": "http://localhost"}, StoreConfigError),
        ("ops", {"display_name": ""}, InvalidName),
        ("ops", {"metadata": {"who": {1}}}, NotAJsonValue),
        ("ops", {"metadata": ["data"]}, NotAJsonValue),
        ("ops", {"metadata": ""}, NotAJsonValue),
        ("ops", {"metadata": {"text": "x" * 9000}}, PayloadTooLarge),
    ],
)
def test_a_mistake_is_told_when_it_is_entered(agent_id: str, how: dict[str, Any], error: type[Exception]) -> None:
    joining = join(agent_id, **({"store": "memory://tests"} | how))

    with pytest.raises(error), joining:
        pass


def test_without_a_store_a_script_works_degraded(dead_url: str) -> None:
    with join("ops", dead_url) as me:
        assert me.degraded
        assert me.signals.send("go", "bob") == ""
        assert not me.signals.wait("go", timeout=50)


def test_a_script_may_require_a_store(dead_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTUNE_COORDINATION_REQUIRED", "1")

    with pytest.raises(StoreUnavailable, match=dead_url), join("ops", dead_url):
        pass


def test_the_environment_names_store_and_namespace(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTUNE_STORE_URL", store.url)
    monkeypatch.setenv("ATTUNE_NAMESPACE", store.namespace)

    with join("ops"):
        assert not record_of(store, "ops").status.is_final


def test_people_are_shown_who_it_is(store: Store) -> None:
    with join("ops", display_name="Operations", metadata={"team": "data"}, **where(store)) as me:
        record = record_of(store, "ops")

        assert (me.display_name, me.metadata) == ("Operations", {"team": "data"})
        assert (record.display_name, record.metadata) == ("Operations", {"team": "data"})
    with join("ops", **where(store)) as me:
        assert (me.display_name, me.metadata) == (None, {})


def test_a_script_says_how_far_it_is(store: Store, wait_until: WaitUntil) -> None:
    with join("ops", **where(store)) as me:
        me.progress(0.5, "half")
        wait_until(lambda: record_of(store, "ops").progress == 0.5)
        assert record_of(store, "ops").note == "half"

        me.progress(0.25)
        me.progress(note="three quarters")
        wait_until(lambda: record_of(store, "ops").note == "three quarters")
        assert record_of(store, "ops").progress == 0.5


async def test_in_async_code_progress_is_not_awaited(store: Store) -> None:
    async with join("ops", display_name="Operations", **where(store)) as me:
        me.progress(0.5)
        assert me.display_name == "Operations"
        await me.signals.send("go", "bob")  # what was said before is published before

        assert (await record_seen(store, "ops")).progress == 0.5


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_progress_is_from_0_to_1(store: Store, fraction: float) -> None:
    with join("ops", **where(store)) as me, pytest.raises(ValueError, match="a fraction from 0 to 1"):
        me.progress(fraction)


def test_threads_report_progress_one_after_the_other(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two at the same time the slower one could move it back."""
    both = threading.Barrier(2)
    met: list[int] = []

    def meet(self: object, fraction: float | None, note: str | None) -> None:
        with suppress(threading.BrokenBarrierError):
            met.append(both.wait(0.1))

    monkeypatch.setattr(Agent, "advance", meet)
    with join("ops", **where(store)) as me:
        threads = [threading.Thread(target=me.progress, args=[0.5]) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert met == []


def test_a_script_whose_id_was_taken_over_has_no_signals(store: Store) -> None:
    with join("ops", **where(store)) as first, join("ops", takeover=True, **where(store)):
        nothing = first.signals.wait("go")

        assert first.degraded
        assert not nothing
        assert nothing.reason is Reason.UNAVAILABLE
        assert "taken over" in nothing.detail
        first.progress(0.5)
    assert record_of(store, "ops").progress == 1.0
