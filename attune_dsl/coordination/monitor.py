"""Looking at the agents of a namespace: ``Monitor`` for blocking code, ``AsyncMonitor`` for async code."""

from __future__ import annotations

from collections.abc import Collection
from typing import final

from attune_dsl.coordination.follower import Follower
from attune_dsl.coordination.following import AsyncFollowed, Followed
from attune_dsl.coordination.listing import Listing
from attune_dsl.coordination.looking import AsyncLooking, BlockingLooking, Looking
from attune_dsl.hub.drive import drive
from attune_dsl.model import AgentChange, AgentRecord, StageSummary


class _Watching(Looking):
    """What both colours share."""

    async def _listing(self) -> Listing:
        return Listing(await self._open())

    async def _follow(self) -> Follower:
        return await Follower.open(await self._listing())


@final
class Monitor(_Watching, BlockingLooking):
    """Who is alive, who works, and who is gone. Blocking; safe to use by one thread at a time.

    Use it in a ``with`` block, or call :meth:`close`. Its methods raise :class:`StoreUnavailable` if the store cannot
    be reached, :class:`StoreConfigError` and :class:`InvalidName` at the first call.

    >>> with Monitor() as monitor:                                        # doctest: +SKIP
    ...     for agent in monitor.agents(status="stalled"):
    ...         print(agent.agent_id, agent.stage, agent.activity)
    """

    def agents(self, *, status: str | Collection[str] | None = None, workflow: str | None = None) -> list[AgentRecord]:
        """Return the live agents, then those that ended lately, each by when they started.

        ``status`` is one status or several, ``"stalled"`` too; ``workflow`` the name of a workflow. How long an ended
        agent stays is its own ``Heartbeat(keep=...)``, an hour by default. Raises :class:`UsageError` for a status that
        does not exist.
        """
        return drive(self._here().agents(status=status, workflow=workflow))

    def agent(self, agent_id: str) -> AgentRecord | None:
        """Return one agent, live or ended lately; ``None`` if there is none."""
        return drive(self._here().agent(agent_id))

    def stages(self, agent_id: str) -> tuple[StageSummary, ...]:
        """Return what the stages of an agent's run did so far, by when they began."""
        return drive(self._here().stages(agent_id))

    def stale(self, threshold: float) -> list[AgentRecord]:
        """Return the agents that are alive and have made no progress for at least ``threshold`` seconds.

        What is published of progress lags behind: by 50 ms for stages, by the agent's interval for signals.
        """
        return drive(self._here().stale(threshold))

    def counts(self) -> dict[str, int]:
        """Return how many agents there are in each status; stalled ones count as ``stalled`` only."""
        return drive(self._here().counts())

    def follow(self, timeout: float | None = None) -> Changes:
        """Follow the agents from now on; iterating ends after ``timeout`` seconds without a change (``None``: never).

        Each loss, and each end, is told once. Raises while iterating as the other methods do; going on afterwards
        tells what changed meanwhile.
        """
        return Changes(drive(self._follow()), timeout)

    def _here(self) -> Listing:
        return drive(self._listing())


@final
class AsyncMonitor(_Watching, AsyncLooking):
    """:class:`Monitor` for async code: use it with ``async with``; every method is awaited."""

    async def agents(
        self, *, status: str | Collection[str] | None = None, workflow: str | None = None
    ) -> list[AgentRecord]:
        """See :meth:`Monitor.agents`."""
        return await (await self._listing()).agents(status=status, workflow=workflow)

    async def agent(self, agent_id: str) -> AgentRecord | None:
        """See :meth:`Monitor.agent`."""
        return await (await self._listing()).agent(agent_id)

    async def stages(self, agent_id: str) -> tuple[StageSummary, ...]:
        """See :meth:`Monitor.stages`."""
        return await (await self._listing()).stages(agent_id)

    async def stale(self, threshold: float) -> list[AgentRecord]:
        """See :meth:`Monitor.stale`."""
        return await (await self._listing()).stale(threshold)

    async def counts(self) -> dict[str, int]:
        """See :meth:`Monitor.counts`."""
        return await (await self._listing()).counts()

    async def follow(self, timeout: float | None = None) -> AsyncChanges:
        """See :meth:`Monitor.follow`; iterate over what this returns with ``async for``."""
        return AsyncChanges(await self._follow(), timeout)


@final
class Changes(Followed[AgentChange]):
    """The changes of agents as they happen: iterate, or ask for the ``next`` ones. Close it, or use ``with``."""

    def __init__(self, follower: Follower, timeout: float | None) -> None:
        super().__init__(follower, timeout)
        self._follower = follower

    @property
    def agents(self) -> dict[tuple[str, int], AgentRecord]:
        """How each agent stands, by agent id and epoch, as of the last change that was returned."""
        return self._follower.agents


@final
class AsyncChanges(AsyncFollowed[AgentChange]):
    """:class:`Changes` for async code: iterate with ``async for``, or await ``next``."""

    def __init__(self, follower: Follower, timeout: float | None) -> None:
        super().__init__(follower, timeout)
        self._follower = follower

    @property
    def agents(self) -> dict[tuple[str, int], AgentRecord]:
        """See :attr:`Changes.agents`."""
        return self._follower.agents
