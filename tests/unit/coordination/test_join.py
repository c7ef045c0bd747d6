"""A script that takes part without being a workflow."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from attune_dsl.coordination.join import AsyncJoined, Joined, join
from attune_dsl.coordination.listing import list_agents
from attune_dsl.coordination.signals import AsyncSignals, Signals
from attune_dsl.exceptions import (
    AgentIdTaken,
    BlockingCallInLoop,
    InvalidName,
    RunAborted,
    StoreConfigError,
    StoreUnavailable,
    UsageError,
)
from attune_dsl.hub.drive import drive
from attune_dsl.model import AgentRecord, AgentStatus

if TYPE_CHECKING:
    from conftest import Store


@pytest.fixture
def dead_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"redis://127.0.0.1:{server.getsockname()[1]}/0"


def where(store: Store) -> dict[str, Any]:
    return {"store": store.url, "namespace": store.namespace}


def record_of(store: Store, agent_id: str) -> AgentRecord:
    (record,) = (each for each in drive(list_agents(**where(store))) if each.agent_id == agent_id)
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
        (record,) = await list_agents(**where(store))
        assert not record.status.is_final

    (record,) = await list_agents(**where(store))
    assert record.status is AgentStatus.COMPLETED


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
    ],
)
def test_a_mistake_is_told_when_it_is_entered(agent_id: str, how: dict[str, Any], error: type[Exception]) -> None:
    joining = join(agent_id, **{"store": "memory://tests", **how})

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
