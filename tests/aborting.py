"""Agents that are asked to stop, for tests of what that ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from awaiting import Awaited
from peers import Peer
from waiting import wait_until

from attune_dsl import workflow
from attune_dsl.exceptions import RunAborted
from attune_dsl.model import AgentStatus, NoSignal, Reason
from attune_dsl.runner.handle import RunHandle
from attune_dsl.runner.result import RunResult

if TYPE_CHECKING:
    from conftest import Store

flow_of = workflow(heartbeat=True, coordination=True, agent_id="flow")
"""Declares the one workflow of a test."""

WHY = "enough (asked by ops)"
"""What a wait says that ``ops`` ended with ``abort("enough")``."""


def aborted(nothing: Any) -> str:
    """It ended because its agent was asked to stop; return the detail."""
    assert isinstance(nothing, NoSignal), nothing
    assert nothing.reason is Reason.ABORTED, nothing
    return nothing.detail


def waits(peer: Peer, *types: str, **how: Any) -> Awaited:
    """Start a wait, and return once it blocks."""
    before = peer.member.waits
    waiting = Awaited(peer.signals.wait, *types, **{"timeout": None, **how})
    wait_until(lambda: peer.member.waits > before)
    return waiting


def field(store: Store, agent_id: str, name: str) -> str | None:
    value: Any = store.redis.hget(f"{store.prefix}agent:{agent_id}", name)
    return None if value is None else value.decode()


def is_told(peer: Peer) -> Callable[[], bool]:
    """Whether the agent knows that it was asked to stop."""
    return lambda: peer.member.aborted.value is not None


# Runs, which are called ``flow``


class Place:
    """Where code of a run waits until a test has done something; ``passed`` is what it did afterwards."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        self.passed: list[Any] = []

    def wait(self) -> None:
        self.reached.set()
        assert self.opened.wait(30)


def blocks(handle: RunHandle[Any], count: int = 1) -> None:
    """Wait until that many waits of the run block."""
    wait_until(lambda: handle.run.agent is not None and handle.run.agent._member.waits == count)  # type: ignore[union-attr]


def knows(handle: RunHandle[Any]) -> None:
    """Wait until the run was asked to stop."""
    wait_until(lambda: handle.run.stop.halted)


def assert_aborted(store: Store, result: RunResult[Any], why: str = WHY) -> None:
    """The run ended as aborted, here and in the store, both with the reason."""
    assert (result.status, result.value) == (AgentStatus.ABORTED, None)
    assert isinstance(result.error, RunAborted)
    assert str(result.error) == why
    assert (field(store, "flow", "status"), field(store, "flow", "error")) == ("aborted", f"RunAborted: {why}")


def abort(ops: Peer) -> None:
    assert ops.signals.abort("enough", "flow") == ["flow"]
