"""Waits on threads of their own, for tests of what ends them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from peers import Peer
from waiting import wait_until

from attune_dsl.hub.drive import drive
from attune_dsl.model import AgentStatus, NoSignal, Reason

if TYPE_CHECKING:
    from conftest import Store


class Awaited:
    """A blocking call on a thread, and what it returned."""

    def __init__(self, call: Callable[..., Any], *args: Any, **how: Any) -> None:
        self._returned: list[Any] = []
        self._thread = threading.Thread(target=lambda: self._returned.append(call(*args, **how)))
        self._thread.start()

    @property
    def is_over(self) -> bool:
        return bool(self._returned)

    def result(self, within: float = 5.0) -> Any:
        """What it returned, which has to be soon."""
        self._thread.join(within)
        assert self._returned, f"still waiting after {within:g} s"
        return self._returned[0]

    def gone(self, within: float = 5.0) -> str:
        """It ended because of its source; return the detail."""
        nothing = self.result(within)
        assert isinstance(nothing, NoSignal), nothing
        assert nothing.reason is Reason.PEER_GONE, nothing
        return nothing.detail


def links_told(store: Store, source: str) -> set[str]:
    """The links of the hubs that will be told of an agent's end."""
    return {link.decode() for link in store.redis.smembers(f"{store.prefix}waited:{source}")}  # type: ignore[union-attr]


def is_told(store: Store, peer: Peer, source: str) -> bool:
    """Whether the hub of ``peer`` will be told of the end of ``source``, and has learnt how it stands now."""
    return peer.hub.commands.link in links_told(store, source) and not peer.hub.commands._unanswered


def waits_for(store: Store, peer: Peer, source: str, *types: str, timeout: float | None = 30.0) -> Awaited:
    """Start a wait, and return once the store knows of it."""
    waiting = Awaited(peer.signals.wait, *types, source=source, timeout=timeout)
    wait_until(lambda: is_told(store, peer, source))
    return waiting


def end(peer: Peer, status: AgentStatus = AgentStatus.COMPLETED, error: str | None = None) -> None:
    """Have an agent leave, with what ended it."""
    peer.left = True
    drive(peer.agent.leave(status, error))
