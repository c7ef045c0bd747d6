"""Agents for tests: as many as needed, each over a link of its own if it shall be, and all gone at the end."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attune_dsl.coordination.agent import Agent, AgentInfo, enter
from attune_dsl.coordination.async_signals import AsyncSignals
from attune_dsl.coordination.signals import Signals
from attune_dsl.hub.drive import drive
from attune_dsl.hub.hub import Hub
from attune_dsl.hub.member import Member
from attune_dsl.model import AgentStatus, Coordination, Heartbeat, Signal

if TYPE_CHECKING:
    from conftest import Store

CALM = Heartbeat(interval=60, ttl=120)
"""Nothing on the network that a test did not ask for."""
_numbers = itertools.count()


class Peer:
    """An agent and what tests look at."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.id = agent.agent_id
        self.left = False

    @property
    def signals(self) -> Signals:
        return self.agent.signals()

    @property
    def async_signals(self) -> AsyncSignals:
        return self.agent.async_signals()

    def taking(self, taken: list[Signal]) -> Signals:
        return self.agent.signals(taken)

    @property
    def hub(self) -> Hub:
        assert self.agent._hub is not None
        return self.agent._hub

    @property
    def member(self) -> Member:
        assert self.agent._member is not None
        return self.agent._member

    def leave(self, status: AgentStatus = AgentStatus.COMPLETED) -> None:
        if not self.left:
            self.left = True
            drive(self.agent.leave(status))

    async def aleave(self, status: AgentStatus = AgentStatus.COMPLETED) -> None:
        if not self.left:
            self.left = True
            await self.agent.leave(status)


class Peers:
    """Makes agents in the test's namespace. Without ``url`` they share one hub, as agents of one process do."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._peers: list[Peer] = []

    def join(self, agent_id: str, url: str | None = None, **options: Any) -> Peer:
        """Join an agent; ``url=peers.elsewhere()`` gives it a hub of its own, as another process would have."""
        return self._keep(drive(self._enter(agent_id, url, **options)))

    async def ajoin(self, agent_id: str, url: str | None = None, **options: Any) -> Peer:
        """See :meth:`join`."""
        return self._keep(await self._enter(agent_id, url, **options))

    def elsewhere(self, url: str | None = None) -> str:
        """Return a URL of the same server that nobody else in this process uses, so it has a hub of its own."""
        return f"{url or self.store.address}?client_name=elsewhere-{next(_numbers)}"

    async def _enter(
        self,
        agent_id: str,
        url: str | None,
        *,
        heartbeat: Heartbeat | None = CALM,
        coordination: Coordination | None = Coordination(),  # noqa: B008 (frozen)
        namespace: str | None = None,
        **options: Any,
    ) -> Agent:
        return await enter(
            agent_id,
            store=url or self.store.url,
            namespace=namespace or self.store.namespace,
            heartbeat=heartbeat,
            coordination=coordination,
            info=AgentInfo(),
            **options,
        )

    def _keep(self, agent: Agent) -> Peer:
        peer = Peer(agent)
        self._peers.append(peer)
        return peer

    def close(self) -> None:
        for peer in self._peers:
            hub = peer.agent._hub
            if hub is not None and not hub.link.up:
                peer.member.gone = peer.member.gone or "the test is over"  # or it would wait for the link
            with suppress(RuntimeError):
                peer.leave()


async def until(predicate: Callable[[], object]) -> None:
    """Let the loop's other tasks run until ``predicate`` holds."""
    async with asyncio.timeout(10):
        while not predicate():  # noqa: ASYNC110 (what other threads do has no event)
            await asyncio.sleep(0)
