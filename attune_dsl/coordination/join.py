"""How a script takes part without being a workflow."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Any, final

from attune_dsl.coordination.agent import Agent, AgentInfo, enter
from attune_dsl.coordination.async_signals import AsyncSignals
from attune_dsl.coordination.signals import Signals
from attune_dsl.dsl.fraction import check_fraction
from attune_dsl.exceptions import RunAborted, UsageError
from attune_dsl.hub.drive import drive
from attune_dsl.model import AgentStatus
from attune_dsl.store.settings import coordination_policy, heartbeat_policy


@final
class Joining:
    """What :func:`join` returns: enter it with ``with``, or with ``async with`` in async code."""

    def __init__(
        self, agent_id: str, store: str | None, namespace: str | None, *, takeover: bool, info: AgentInfo
    ) -> None:
        self._agent_id = agent_id
        self._store = store
        self._namespace = namespace
        self._takeover = takeover
        self._info = info
        self._agent: Agent | None = None

    async def _enter(self) -> Agent:
        if self._agent is not None:
            raise UsageError(f"the agent {self._agent_id!r} has joined already; call join() for another one")
        self._agent = await enter(
            self._agent_id,
            store=self._store,
            namespace=self._namespace,
            heartbeat=heartbeat_policy(True),
            coordination=coordination_policy(True),
            takeover=self._takeover,
            info=self._info,
        )
        self._agent.touch(None, 0.0)
        return self._agent

    async def _leave(self, error: BaseException | None) -> None:
        agent, self._agent = self._agent, None
        if agent is not None:
            why = agent.aborted if error is None else f"{type(error).__name__}: {error}"
            await agent.leave(_status(error, agent.aborted), why or None)

    def __enter__(self) -> Joined:
        return Joined(drive(self._enter()), self._info)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        drive(self._leave(error))

    async def __aenter__(self) -> AsyncJoined:
        return AsyncJoined(await self._enter(), self._info)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave(error)


class _Joined:
    """What both colours of a joined script share."""

    def __init__(self, agent: Agent, info: AgentInfo) -> None:
        self._agent = agent
        self._info = info
        self._lock = threading.Lock()

    @property
    def agent_id(self) -> str:
        """The name under which the others know this script."""
        return self._agent.agent_id

    @property
    def display_name(self) -> str | None:
        """The name that people are shown, if one was given."""
        return self._info.display_name

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What was given as ``metadata``."""
        return MappingProxyType(dict(self._info.metadata or {}))

    @property
    def degraded(self) -> bool:
        """Whether the store was away at any time since it joined, or another owner took the agent id over."""
        return self._agent.degraded

    @property
    def aborted(self) -> str:
        """Why this script was asked to stop, and by whom; empty if nobody did. Its waits have ended then."""
        return self._agent.aborted

    def progress(self, fraction: float | None = None, note: str | None = None) -> None:
        """Say how far the script is, as a ``fraction`` from 0 to 1, and in words. Never blocks; not awaited.

        It counts as progress also without both. The fraction never moves back; what is not given stays. Raises
        :class:`ValueError` for a fraction outside of 0 to 1.
        """
        check_fraction(fraction)
        with self._lock:  # or of two threads the slower one could move it back
            self._agent.advance(fraction, note)


@final
class Joined(_Joined):
    """A script that has joined: what it is, ``progress`` and blocking ``signals``."""

    @property
    def signals(self) -> Signals:
        """The script's signals."""
        return self._agent.signals()


@final
class AsyncJoined(_Joined):
    """A script that has joined: what it is, ``progress`` and awaitable ``signals``."""

    @property
    def signals(self) -> AsyncSignals:
        """The script's signals."""
        return self._agent.async_signals()


def join(
    agent_id: str,
    store: str | None = None,
    namespace: str | None = None,
    *,
    takeover: bool = False,
    display_name: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Joining:
    """Take part as the agent ``agent_id``, with a heartbeat, until the block is left.

    ``display_name`` is what people are shown beside the agent id, ``metadata`` a JSON object of at most 8 KiB.

    The agent ends as ``completed``, as ``aborted`` if it was asked to stop or the block raised :class:`RunAborted`, as
    ``cancelled`` if it was interrupted, else as ``failed``. Entering raises :class:`AgentIdTaken` if the id has a live
    owner and ``takeover`` is false, :class:`InvalidName`, :class:`NotAJsonValue` and :class:`PayloadTooLarge` for
    metadata, and :class:`StoreConfigError`; without a store it works degraded. Where another owner takes the id over,
    the block goes on: ``degraded`` says so, and ``signals`` are unavailable.

    >>> with join("ops") as me:                                          # doctest: +SKIP
    ...     me.signals.broadcast("start", payload={"at": "now"})
    """
    info = AgentInfo(display_name=display_name, metadata=metadata)
    return Joining(agent_id, store, namespace, takeover=takeover, info=info)


def _status(error: BaseException | None, aborted: str) -> AgentStatus:
    if aborted and (error is None or isinstance(error, Exception)):
        return AgentStatus.ABORTED
    if error is None:
        return AgentStatus.COMPLETED
    if isinstance(error, RunAborted):
        return AgentStatus.ABORTED
    return AgentStatus.FAILED if isinstance(error, Exception) else AgentStatus.CANCELLED
