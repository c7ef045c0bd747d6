"""Looking at the agents of a namespace: ``Monitor`` for blocking code, ``AsyncMonitor`` for async code."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator
from types import TracebackType
from typing import Self, final

from attune_dsl.coordination.follower import Follower
from attune_dsl.coordination.listing import Listing
from attune_dsl.hub.drive import drive
from attune_dsl.model import AgentChange, AgentRecord, StageSummary


class _Watching:
    """What both colours share: one connection, made when it is first needed."""

    def __init__(self, store: str | None = None, namespace: str | None = None) -> None:
        """Nothing is contacted yet. ``store`` and ``namespace`` are found as everywhere else if they are not given."""
        self._store = store
        self._namespace = namespace
        self._listing: Listing | None = None

    async def _open(self) -> Listing:
        if self._listing is None:
            self._listing = await Listing.open(self._store, self._namespace)
        return self._listing

    async def _close(self) -> None:
        listing, self._listing = self._listing, None
        if listing is not None:
            await listing.close()

    async def _follow(self) -> Follower:
        return await Follower.open(await self._open())

    @property
    def store_label(self) -> str:
        """The store as people are shown it, without password; empty before the first call."""
        return "" if self._listing is None else self._listing.hub.server.label

    @property
    def namespace(self) -> str:
        """The namespace that is looked at; empty before the first call."""
        return "" if self._listing is None else self._listing.hub.namespace


@final
class Monitor(_Watching):
    """Who is alive, who works, and who is gone. Blocking; safe to use by one thread at a time.

    Use it in a ``with`` block, or call :meth:`close`. Its methods raise :class:`StoreUnavailable` if the store cannot
    be reached, :class:`StoreConfigError` and :class:`InvalidName` at the first call.

    >>> with Monitor() as monitor:                                        # doctest: +SKIP
    ...     for agent in monitor.agents(status="stalled"):
    ...         print(agent.agent_id, agent.stage, agent.activity)
    """

    def __enter__(self) -> Self:
        drive(self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect. The next call would connect again."""
        drive(self._close())

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
        return drive(self._open())


@final
class AsyncMonitor(_Watching):
    """:class:`Monitor` for async code: use it with ``async with``; every method is awaited."""

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """See :meth:`Monitor.close`."""
        await self._close()

    async def agents(
        self, *, status: str | Collection[str] | None = None, workflow: str | None = None
    ) -> list[AgentRecord]:
        """See :meth:`Monitor.agents`."""
        return await (await self._open()).agents(status=status, workflow=workflow)

    async def agent(self, agent_id: str) -> AgentRecord | None:
        """See :meth:`Monitor.agent`."""
        return await (await self._open()).agent(agent_id)

    async def stages(self, agent_id: str) -> tuple[StageSummary, ...]:
        """See :meth:`Monitor.stages`."""
        return await (await self._open()).stages(agent_id)

    async def stale(self, threshold: float) -> list[AgentRecord]:
        """See :meth:`Monitor.stale`."""
        return await (await self._open()).stale(threshold)

    async def counts(self) -> dict[str, int]:
        """See :meth:`Monitor.counts`."""
        return await (await self._open()).counts()

    async def follow(self, timeout: float | None = None) -> AsyncChanges:
        """See :meth:`Monitor.follow`; iterate over what this returns with ``async for``."""
        return AsyncChanges(await self._follow(), timeout)


class _Changes:
    """What both colours of following share."""

    def __init__(self, follower: Follower, timeout: float | None) -> None:
        self._follower = follower
        self._timeout = timeout
        self._closed = False

    @property
    def agents(self) -> dict[tuple[str, int], AgentRecord]:
        """How each agent stands, by agent id and epoch, as of the last change that was returned."""
        return self._follower.agents

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._follower.close()


@final
class Changes(_Changes):
    """The changes of agents as they happen: iterate, or ask for the ``next`` ones. Close it, or use ``with``."""

    def next(self, timeout: float | None) -> list[AgentChange]:
        """Return what has changed, as soon as something has; an empty list after ``timeout`` seconds."""
        return drive(self._follower.next(timeout))

    def __iter__(self) -> Iterator[AgentChange]:
        while changes := self.next(self._timeout):
            yield from changes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Follow no more."""
        self._close()


@final
class AsyncChanges(_Changes):
    """:class:`Changes` for async code: iterate with ``async for``, or await ``next``."""

    async def next(self, timeout: float | None) -> list[AgentChange]:
        """See :meth:`Changes.next`."""
        return await self._follower.next(timeout)

    async def __aiter__(self) -> AsyncIterator[AgentChange]:
        while changes := await self.next(self._timeout):
            for change in changes:
                yield change

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Follow no more."""
        self._close()
