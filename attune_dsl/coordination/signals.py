"""The two facades over an agent's signals: one blocks, the other is awaited. Nothing else differs.

Both hold the same :class:`~attune_dsl.coordination.operations.Operations`; a method here only says how it is waited
for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, final

from attune_dsl.dsl.injection import Injectable, Kind
from attune_dsl.hub.drive import drive

if TYPE_CHECKING:  # declaring a stage needs the facades, and should not have to wait for attrs
    from attune_dsl.coordination.operations import Operations
    from attune_dsl.model import Collected, NoSignal, Signal

DEFAULT_TIMEOUT: Final = 30.0
"""Seconds that ``wait`` and ``collect`` wait where nothing else is said."""


@final
class Signals(Injectable):
    """An agent's signals for blocking code. Raises :class:`BlockingCallInLoop` on the thread of a running loop.

    Types, agent ids and keys are names: 1-128 characters without control characters, else :class:`InvalidName`.
    """

    kind: ClassVar[Kind] = "signals"
    is_async: ClassVar[bool] = False
    __slots__ = ("_operations",)

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def send(
        self,
        type: str,  # noqa: A002 (the word of the vocabulary)
        target: str | None = None,
        payload: Any = None,
        *,
        ttl: float | None = None,
        key: str | None = None,
    ) -> str:
        """Send a signal to one agent, which need not exist yet; without a ``target``, to all (a broadcast).

        ``payload`` is anything that is JSON, up to 256 KiB. The signal waits ``ttl`` seconds for its receiver (the
        agent's :class:`Coordination` policy names the default: 60). Two sends with the same ``key`` while the first
        one lives are one signal.

        Returns the signal's id once it is stored, or ``""`` if that could not be confirmed within 2 seconds. Raises
        :class:`NotAJsonValue`, :class:`PayloadTooLarge`, :class:`MailboxFull` and ``ValueError`` for a bad ``ttl``.
        """
        return drive(self._operations.send(type, target, payload, ttl=ttl, key=key))

    def broadcast(
        self,
        type: str,  # noqa: A002
        payload: Any = None,
        *,
        ttl: float | None = None,
        late: bool = True,
        key: str | None = None,
    ) -> str:
        """Send a signal to every other agent of the namespace.

        Agents that join within its ``ttl`` (seconds) get it too, unless ``late`` is false. Each sees it exactly once.
        Returns and raises as :meth:`send`.
        """
        return drive(self._operations.broadcast(type, payload, ttl=ttl, late=late, key=key))

    def wait(
        self,
        *types: str,
        source: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        require_alive: bool = False,
    ) -> Signal | NoSignal:
        """Take the oldest signal of one of ``types`` (none: any) from ``source`` (``None``: anyone), or wait for it.

        Waits at most ``timeout`` seconds (``None``: for ever). Returns the :class:`Signal`, or a :class:`NoSignal` that
        is false in a condition and says why: ``timeout``; ``peer_gone`` as soon as ``source`` has ended since this
        agent joined, once what it sent before is taken; ``unavailable`` where there is no store. A source that has not
        started yet is waited for, unless ``require_alive`` is true: then the wait ends at once if it does not live.
        """
        return drive(self._operations.wait(types, source=source, timeout=timeout, require_alive=require_alive))

    def check(self, *types: str, source: str | None = None) -> Signal | None:
        """Take the oldest signal that fits if there is one; never waits for one to come."""
        return drive(self._operations.check(types, source=source))

    def peek(self, *types: str, source: str | None = None) -> Signal | None:
        """Return the oldest signal that fits and leave it where it is."""
        return drive(self._operations.peek(types, source=source))

    def pending(self, *types: str, source: str | None = None) -> list[Signal]:
        """Return all signals that fit, oldest first, and leave them where they are."""
        return drive(self._operations.pending(types, source=source))

    def clear(self, *types: str, source: str | None = None) -> int:
        """Take all signals that fit and forget them; return how many there were."""
        return drive(self._operations.clear(types, source=source))

    def collect(
        self,
        *types: str,
        count: int | None = None,
        sources: Sequence[str] | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Collected:
        """Gather ``count`` signals, or one from each of ``sources``, within ``timeout`` seconds over all.

        The result is false in a condition if some are missing, and names the sources that are.
        """
        return drive(self._operations.collect(types, count=count, sources=sources, timeout=timeout))

    def listen(self, *types: str, source: str | None = None, timeout: float | None = None) -> Iterator[Signal]:
        """Take signals one after the other as they come; ends when none came for ``timeout`` seconds."""
        while signal := self.wait(*types, source=source, timeout=timeout):
            yield signal


@final
class AsyncSignals(Injectable):
    """An agent's signals for async code: every method of :class:`Signals`, awaited."""

    kind: ClassVar[Kind] = "signals"
    is_async: ClassVar[bool] = True
    __slots__ = ("_operations",)

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def send(
        self,
        type: str,  # noqa: A002
        target: str | None = None,
        payload: Any = None,
        *,
        ttl: float | None = None,
        key: str | None = None,
    ) -> str:
        """See :meth:`Signals.send`."""
        return await self._operations.send(type, target, payload, ttl=ttl, key=key)

    async def broadcast(
        self,
        type: str,  # noqa: A002
        payload: Any = None,
        *,
        ttl: float | None = None,
        late: bool = True,
        key: str | None = None,
    ) -> str:
        """See :meth:`Signals.broadcast`."""
        return await self._operations.broadcast(type, payload, ttl=ttl, late=late, key=key)

    async def wait(
        self,
        *types: str,
        source: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        require_alive: bool = False,
    ) -> Signal | NoSignal:
        """See :meth:`Signals.wait`."""
        return await self._operations.wait(types, source=source, timeout=timeout, require_alive=require_alive)

    async def check(self, *types: str, source: str | None = None) -> Signal | None:
        """See :meth:`Signals.check`."""
        return await self._operations.check(types, source=source)

    async def peek(self, *types: str, source: str | None = None) -> Signal | None:
        """See :meth:`Signals.peek`."""
        return await self._operations.peek(types, source=source)

    async def pending(self, *types: str, source: str | None = None) -> list[Signal]:
        """See :meth:`Signals.pending`."""
        return await self._operations.pending(types, source=source)

    async def clear(self, *types: str, source: str | None = None) -> int:
        """See :meth:`Signals.clear`."""
        return await self._operations.clear(types, source=source)

    async def collect(
        self,
        *types: str,
        count: int | None = None,
        sources: Sequence[str] | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Collected:
        """See :meth:`Signals.collect`."""
        return await self._operations.collect(types, count=count, sources=sources, timeout=timeout)

    async def listen(
        self,
        *types: str,
        source: str | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Signal]:
        """See :meth:`Signals.listen`; iterate with ``async for``."""
        while signal := await self.wait(*types, source=source, timeout=timeout):
            yield signal
