"""An agent of this process: a run, or a script that joined."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from attrs import frozen

from attune_dsl.coordination.inert import InertOperations
from attune_dsl.coordination.mail import MailOperations
from attune_dsl.coordination.operations import Operations
from attune_dsl.coordination.signals import AsyncSignals, Signals
from attune_dsl.exceptions import AgentIdTaken
from attune_dsl.hub.hub import Hub
from attune_dsl.hub.member import Member, Profile
from attune_dsl.hub.registry import open_hub, release_hub
from attune_dsl.model import AgentStatus, Coordination, Heartbeat, Signal
from attune_dsl.store import codec
from attune_dsl.store.names import check_name


@frozen(kw_only=True)
class AgentInfo:
    """What an agent is, for those who look: its workflow, the run, and the stages that are planned."""

    workflow: str | None = None
    run_id: str | None = None
    stages: tuple[str, ...] = ()


class Agent:
    """One live participant. Without heartbeat and coordination it touches no store at all."""

    def __init__(
        self,
        agent_id: str,
        hub: Hub | None = None,
        member: Member | None = None,
        coordination: Coordination | None = None,
        *,
        label: str = "",
    ) -> None:
        """Made by :func:`enter`; ``label`` is what warnings call it."""
        self.agent_id = agent_id
        self._hub = hub
        self._member = member
        self._coordination = coordination
        self._inert = InertOperations(label or agent_id)
        self._outages = 0 if hub is None else hub.link.outages - (not hub.link.up)

    @property
    def namespace(self) -> str | None:
        """The namespace it lives in; ``None`` without a store."""
        return None if self._hub is None else self._hub.namespace

    @property
    def store_label(self) -> str | None:
        """The store as people are shown it, without password; ``None`` without a store."""
        return None if self._hub is None else self._hub.server.label

    @property
    def degraded(self) -> bool:
        """Whether the store was away at any time since the agent entered, or refused it, or gave its id to another."""
        if self._hub is None or self._member is None:
            return False
        return self._hub.link.outages > self._outages or self._member.is_replaced or not self._member.epoch

    def touch(
        self,
        stage: str | None,
        progress: float,
        attempt: int = 1,
        tier: str | None = None,
        note: str | None = None,
    ) -> None:
        """Say what the agent does now; ``progress`` is a fraction. Never blocks: it is published within 50 ms."""
        if self._member is not None:
            self._member.touch(stage, progress, attempt, tier, note)

    def signals(self, taken: list[Signal] | None = None) -> Signals:
        """Return the blocking facade; what is taken through it is appended to ``taken``."""
        return Signals(self._operations(taken))

    def async_signals(self, taken: list[Signal] | None = None) -> AsyncSignals:
        """Return the awaitable facade; what is taken through it is appended to ``taken``."""
        return AsyncSignals(self._operations(taken))

    def _operations(self, taken: list[Signal] | None) -> Operations:
        if self._hub is None or self._member is None or self._coordination is None:
            return self._inert
        return MailOperations(self._hub, self._member, self._coordination.ttl, taken)

    def give_back(self, taken: Sequence[Signal]) -> None:
        """Put signals back that a failed attempt took: the next one gets them, marked ``redelivered``."""
        if self._member is not None and taken:
            self._member.mailbox.give_back(taken)

    async def leave(self, status: AgentStatus, error: str | None = None) -> None:
        """End with a final status (neutral coroutine). Without a store nothing is published, and nothing raises."""
        if self._hub is None or self._member is None:
            return
        try:
            await self._hub.leave(self._member, status, error)
        finally:
            await release_hub(self._hub)


async def enter(
    agent_id: str,
    *,
    alternative: str | None = None,
    store: str | None = None,
    namespace: str | None = None,
    heartbeat: Heartbeat | None,
    coordination: Coordination | None,
    takeover: bool = False,
    info: AgentInfo,
) -> Agent:
    """Make an agent of this process (neutral coroutine). Either policy takes a lease; without both there is no store.

    Where ``agent_id`` has a live owner, ``alternative`` is taken instead. Raises :class:`AgentIdTaken` without one,
    :class:`InvalidName`, :class:`StoreConfigError`, and :class:`StoreUnavailable` only if the policy requires a store.
    """
    check_name("agent id", agent_id)
    label = info.workflow or agent_id
    if heartbeat is None and coordination is None:
        return Agent(agent_id, label=label)
    hub = open_hub(store, namespace)
    try:
        if coordination is not None and coordination.required:
            await hub.require_store()
        profile = _profile(agent_id, heartbeat, coordination, info, takeover=takeover)
        try:
            member = await hub.join(profile)
        except AgentIdTaken:
            if alternative is None:
                raise
            member = await hub.join(_profile(alternative, heartbeat, coordination, info, takeover=False))
    except BaseException:
        await release_hub(hub)
        raise
    return Agent(member.agent_id, hub, member, coordination, label=label)


def _profile(
    agent_id: str,
    heartbeat: Heartbeat | None,
    coordination: Coordination | None,
    info: AgentInfo,
    *,
    takeover: bool,
) -> Profile:
    policy = heartbeat or Heartbeat()
    return Profile(
        agent_id=agent_id,
        ttl=policy.ttl,
        interval=policy.interval,
        takeover=takeover,
        has_mailbox=coordination is not None,
        is_published=heartbeat is not None,
        fields={
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "ttl": int(policy.ttl * 1000),
            "workflow": info.workflow or "",
            "run_id": info.run_id or "",
            "stages": codec.encode_payload(info.stages),
        },
    )
