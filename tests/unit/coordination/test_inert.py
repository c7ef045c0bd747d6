"""Signals of a workflow that has coordination off: every call answers at once, and one warning says so."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from attune_dsl.coordination.agent import AgentInfo, enter
from attune_dsl.coordination.async_signals import AsyncSignals
from attune_dsl.coordination.inert import InertOperations
from attune_dsl.coordination.signals import Signals
from attune_dsl.hub.drive import drive
from attune_dsl.hub.registry import open_hubs
from attune_dsl.model import AgentStatus, Reason

OFF = "coordination is off for flow"


@pytest.fixture
def signals() -> Signals:
    return Signals(InertOperations("flow"))


def test_nothing_is_sent(signals: Signals) -> None:
    assert [signals.send("go", "bob", {"a": 1}, ttl=5, key="k"), signals.send("go"), signals.broadcast("go")] == [
        ""
    ] * 3


def test_nothing_comes(signals: Signals) -> None:
    nothing = signals.wait("go", source="ann", timeout=None)

    assert (bool(nothing), nothing) == (False, signals.wait())
    assert (nothing.reason, nothing.detail) == (Reason.UNAVAILABLE, OFF)  # type: ignore[union-attr]
    assert [signals.check("go"), signals.peek("go"), signals.pending("go"), signals.clear("go")] == [None, None, [], 0]
    assert list(signals.listen("go")) == []


@pytest.mark.parametrize(
    ("asked", "wanted", "missing"),
    [({"count": 3}, 3, ()), ({"sources": ["ann", "bob"]}, 2, ("ann", "bob"))],
)
def test_nothing_is_gathered(signals: Signals, asked: dict[str, Any], wanted: int, missing: tuple[str, ...]) -> None:
    collected = signals.collect("go", timeout=None, **asked)

    assert (collected.signals, collected.wanted, collected.missing) == ((), wanted, missing)
    assert (bool(collected), collected.reason, collected.detail) == (False, Reason.UNAVAILABLE, OFF)


@pytest.mark.parametrize("call", ["send", "broadcast", "wait", "check", "peek", "pending", "clear"])
def test_one_warning_says_so(signals: Signals, caplog: pytest.LogCaptureFixture, call: str) -> None:
    with caplog.at_level(logging.WARNING, "attune_dsl"):
        for _ in range(3):
            getattr(signals, call)("go")
        signals.collect(count=1)

    (line,) = caplog.messages
    assert "signals.inert" in line
    assert OFF in line
    assert "@workflow(coordination=True)" in line


async def test_the_awaitable_facade_answers_as_well() -> None:
    signals = AsyncSignals(InertOperations("flow"))

    assert await signals.send("go", "bob") == ""
    assert not await signals.wait("go", timeout=None)
    assert (await signals.collect(count=1)).reason is Reason.UNAVAILABLE
    assert [signal async for signal in signals.listen("go")] == []


def test_an_agent_without_policies_touches_no_store(caplog: pytest.LogCaptureFixture) -> None:
    agent = drive(
        enter("ann", store="redis://127.0.0.1:1", heartbeat=None, coordination=None, info=AgentInfo(workflow="flow"))
    )
    agent.touch("stage", 0.5)
    agent.give_back([])

    assert (agent.agent_id, agent.namespace, agent.store_label, agent.degraded) == ("ann", None, None, False)
    assert agent.signals().send("go", "bob") == ""
    assert OFF in caplog.text
    assert open_hubs() == []
    drive(agent.leave(AgentStatus.COMPLETED))
