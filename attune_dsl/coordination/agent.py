"""An agent of this process: a run, or a script that joined."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

from attrs import frozen

from attune_dsl import tracing
from attune_dsl.coordination.async_signals import AsyncSignals
from attune_dsl.coordination.handing import Hand, HandingOperations
from attune_dsl.coordination.inert import InertOperations
from attune_dsl.coordination.mail import MailOperations
from attune_dsl.coordination.operations import Check, Operations, guarded
from attune_dsl.coordination.signals import Signals
from attune_dsl.exceptions import AgentIdTaken
from attune_dsl.hub.drive import Strand
from attune_dsl.hub.endings import Abort
from attune_dsl.hub.hub import Hub
from attune_dsl.hub.machine import machine
from attune_dsl.hub.member import Member, Profile, ReadStages
from attune_dsl.hub.recorder import Recorder
from attune_dsl.hub.registry import open_hub, release_hub
from attune_dsl.model import AgentStatus, Coordination, Heartbeat, Signal
from attune_dsl.store import codec
from attune_dsl.store.names import check_name


@frozen(kw_only=True)
class AgentInfo:
    """What an agent is, for those who look: its workflow, the run, the stages that are planned, and the user's own.

    ``display_name`` is shown to people beside the agent id, ``metadata`` is a JSON object of at most 8 KiB.
    """

    workflow: str | None = None
    run_id: str | None = None
    stages: tuple[str, ...] = ()
    display_name: str | None = None
    metadata: Mapping[str, Any] | None = None


class Touch(Protocol):
    """How an agent says what it does now. Never blocks: it is published within 50 ms."""

    def __call__(  # noqa: PLR0917 (positional, because it is called at each stage boundary)
        self,
        stage: str | None,
        progress: float,
        attempt: int = 1,
        tier: str | None = None,
        note: str | None = None,
        stall_after: float | None = None,
        act: str = "",
    ) -> None:
        """``progress`` is a fraction; ``stall_after`` the stage's own limit in seconds, if it has one.

        ``act`` is ``began`` or ``ended`` where the stage just did.
        """


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
        self._home = Strand()
        # Bound here and not wrapped: a stage boundary costs a microsecond or two in all.
        self.touch: Touch = member.doing.touch if member is not None else _say_nothing
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
        """Whether the store was away at any time since the agent entered, or refused it, or gave its id to another.

        Also whether the others took it for lost at some time, though it has joined again.
        """
        hub, member = self._hub, self._member
        if hub is None or member is None:
            return False
        return (
            hub.link.outages > self._outages or member.replaced.value is not None or member.was_lost or not member.epoch
        )

    @property
    def replaced(self) -> str:
        """Who took the agent id over, as a sentence; empty if nobody did."""
        return (self._member.replaced.value or "") if self._member is not None else ""

    @property
    def aborted(self) -> str:
        """Why the agent was asked to stop, and by whom; empty if nobody did.

        Its own process may have, also by an end that is no abort: a cancelled task, an interruption, another owner.
        """
        abort = None if self._member is None else self._member.aborted.value
        return "" if abort is None else str(abort)

    @property
    def has_heeded(self) -> bool:
        """Whether a wait of the agent has ended because it was asked to stop."""
        return self._member is not None and self._member.has_heeded

    @property
    def token(self) -> str:
        """What lets another process act as this agent; empty without a store."""
        return "" if self._member is None else str(self._member.profile.fields["token"])

    def advance(self, fraction: float | None, note: str | None) -> None:
        """Say how far the agent is, from 0 to 1, and in words: it never moves back, ``None`` is no news."""
        if self._member is not None:
            self._member.advance(fraction, note)

    @property
    def recorder(self) -> Recorder | None:
        """Takes what is for the timeline; ``None`` without a store."""
        return None if self._member is None else self._member.recorder

    def spent(self, cost: float) -> None:
        """Say what the run has cost so far, in all. Never blocks."""
        if self._member is not None:
            self._member.doing.spent(cost)

    def stage_began(self) -> None:
        """A stage of the run began: a wait on another thread or task is not all that the agent does any more."""
        if self._hub is not None and self._member is not None and self._member.blocked_by is not None:
            self._hub.blocks.interrupt(self._member)

    def on_gone(self, tell: Callable[[str], object]) -> None:
        """Have ``tell(why)`` called once, on any thread, when another owner takes the agent id over."""
        if self._member is not None:
            self._member.replaced.on(tell)

    def on_abort(self, tell: Callable[[str], object]) -> None:
        """Have ``tell(why)`` called once, on any thread, when the agent is asked to stop; now, if it was."""
        if self._member is not None:
            self._member.aborted.on(lambda abort: tell(str(abort)))

    def halt(self, why: str, *, is_abort: bool) -> None:
        """The agent's own process stops it: its waits end at once. Never blocks.

        If that is an abort, the store is told.
        """
        if self._member is None or self._hub is None or self._member.gone:
            return
        abort = Abort(why)
        if self._member.abort(abort) and is_abort:
            self._hub.aborts.say(self._member, abort)

    def stage_rows(self, read: ReadStages) -> None:
        """Publish the history of the run's stages: ``read`` returns those that changed since it was last called.

        Each is a name and the JSON of a :class:`StageSummary` without it. Called on another thread.
        """
        if self._member is not None:
            self._member.read_stages = read

    def signals(
        self,
        taken: list[Signal] | None = None,
        check: Check | None = None,
        is_alone: Callable[[], bool] | None = None,
        stage: str | None = None,
    ) -> Signals:
        """Return the blocking facade for a ``stage``; what is taken through it is appended to ``taken``.

        ``check`` is called before each operation, with its name: it raises where there shall be none any more.
        ``is_alone`` tells whether the caller is all that the agent does at the moment; by default, whether it is where
        the agent entered.
        """
        return Signals(self._operations(taken, check, is_alone, stage))

    def async_signals(
        self,
        taken: list[Signal] | None = None,
        check: Check | None = None,
        is_alone: Callable[[], bool] | None = None,
        stage: str | None = None,
    ) -> AsyncSignals:
        """Return the awaitable facade; see :meth:`signals`."""
        return AsyncSignals(self._operations(taken, check, is_alone, stage))

    def handing(self, hand: Hand) -> AsyncSignals:
        """Return the awaitable facade whose signals count as taken only once ``hand`` has returned."""
        if self._hub is None or self._member is None or self._coordination is None:
            return AsyncSignals(self._inert)
        ttl, alone = self._coordination.ttl, self._home.is_here
        return AsyncSignals(self._traced(HandingOperations(self._hub, self._member, ttl, None, alone, hand=hand)))

    def _operations(
        self,
        taken: list[Signal] | None,
        check: Check | None,
        is_alone: Callable[[], bool] | None,
        stage: str | None,
    ) -> Operations:
        if self._hub is None or self._member is None or self._coordination is None:
            return self._inert
        alone = is_alone or self._home.is_here
        mail = MailOperations(self._hub, self._member, self._coordination.ttl, taken, alone, stage=stage)
        operations = self._traced(mail)
        return operations if check is None else guarded(operations, check)

    def _traced(self, operations: Operations) -> Operations:
        tracer = tracing.tracer()
        if tracer is None:
            return operations
        from attune_dsl.coordination.traced import TracedOperations

        return cast("Operations", TracedOperations(operations, tracer, self.agent_id, self.namespace or ""))

    def give_back(self, taken: Sequence[Signal]) -> None:
        """Put signals back that a failed attempt took: the next one gets them, marked ``redelivered``."""
        if self._member is not None and taken:
            self._member.mailbox.give_back(taken)

    async def leave(self, status: AgentStatus, error: str | None = None, exit_code: int | None = None) -> bool:
        """End with a final status (neutral coroutine). Without a store nothing is published, and nothing raises.

        Returns whether the store has confirmed it, and with it that everything was taken that was.
        """
        if self._hub is None or self._member is None:
            return False
        try:
            return await self._hub.leave(self._member, status, error, exit_code)
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
    :class:`InvalidName`, for metadata :class:`NotAJsonValue` and :class:`PayloadTooLarge`, :class:`StoreConfigError`,
    and :class:`StoreUnavailable` only if the policy requires a store.
    """
    check_name("agent id", agent_id)
    if info.display_name is not None:
        check_name("display name", info.display_name)
    codec.encode_metadata(info.metadata)
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
        stall_after=policy.stall_after,
        takeover=takeover,
        has_mailbox=coordination is not None,
        is_published=heartbeat is not None,
        fields={
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "machine": machine(),
            "token": os.urandom(16).hex(),
            "ttl": int(policy.ttl * 1000),
            "interval": int(policy.interval * 1000),
            "keep": int(policy.keep * 1000),
            "workflow": info.workflow or "",
            "run_id": info.run_id or "",
            "stages": codec.encode_payload(info.stages),
            "display_name": info.display_name or "",
            "metadata": codec.encode_metadata(info.metadata),
        },
    )


def _say_nothing(*_: object, **__: object) -> None:
    """An agent without a store has nobody to tell."""
