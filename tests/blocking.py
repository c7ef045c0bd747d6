"""Agents that only wait, and what the store knows of them, for tests of deadlocks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from awaiting import Awaited
from peers import Peer, Peers
from waiting import wait_until

from attune_dsl.model import NoSignal, Reason

if TYPE_CHECKING:
    from conftest import Store

    from attune_dsl.coordination.signals import Signals


def people(peers: Peers, *names: str, far: bool = True) -> list[Peer]:
    """Agents, each over a link of its own if they are far from each other."""
    return [peers.join(name, url=peers.elsewhere() if far else None) for name in names]


def alone(peer: Peer) -> Signals:
    """The signals of an agent of which the test says that it does nothing else, on whatever thread."""
    return peer.agent.signals(is_alone=lambda: True)


def record(store: Store, agent_id: str) -> dict[str, Any] | None:
    """What the store knows of an agent's wait."""
    text = store.redis.hget(f"{store.prefix}waits", agent_id)
    return None if text is None else json.loads(text.split(b" ", 4)[4])  # type: ignore[union-attr]


def known(store: Store) -> set[str]:
    """Who is blocked, as far as the store knows."""
    return {name.decode() for name in store.redis.hkeys(f"{store.prefix}waits")}  # type: ignore[union-attr]


def blocked(store: Store, peer: Peer, source: str, *types: str, timeout: float | None = None) -> Awaited:
    """Start a wait and return once the store knows of it: it closed no cycle."""
    waiting = Awaited(alone(peer).wait, *types, source=source, timeout=timeout)
    wait_until(lambda: (found := record(store, peer.id)) is not None and found["source"] == source)
    return waiting


def closing(peer: Peer, source: str, *types: str, timeout: float | None = None) -> str:
    """Wait where that closes a cycle; return how it is spelled out."""
    return deadlock_of(Awaited(alone(peer).wait, *types, source=source, timeout=timeout).result())


def deadlock_of(nothing: Any) -> str:
    assert isinstance(nothing, NoSignal), nothing
    assert nothing.reason is Reason.DEADLOCK, nothing
    return nothing.detail


def free(source: Peer, waiter: Peer, type_: str, waiting: Awaited) -> None:
    """One sends what the other waits for, which gets it."""
    assert source.signals.send(type_, waiter.id)
    signal = waiting.result()
    assert (signal.type, signal.source) == (type_, source.id)


def flush(store: Store, peer: Peer) -> None:
    """Wait until the hub of an agent has told all that it has to tell, and was answered."""
    wait_until(lambda: not peer.hub.blocks._untold and not peer.member.is_listed)
    wait_until(lambda: not peer.hub.commands._unanswered)
