"""The awaitable facade over an agent's signals; see :mod:`attune_dsl.coordination.signals`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, final, overload

from attune_dsl.coordination.signals import DEFAULT_TIMEOUT
from attune_dsl.dsl.injection import Injectable, Kind

if TYPE_CHECKING:
    from attune_dsl.coordination.operations import Operations
    from attune_dsl.coordination.signal_type import SignalType
    from attune_dsl.coordination.signals import A, B, C
    from attune_dsl.model import Broken, Collected, NoSignal, Released, Signal


@final
class AsyncSignals(Injectable):
    """An agent's signals for async code: every method of :class:`Signals`, awaited."""

    kind: ClassVar[Kind] = "signals"
    is_async: ClassVar[bool] = True
    __slots__ = ("_operations",)

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    @overload
    async def send(
        self, type: SignalType[A], target: str | None, payload: A, *, ttl: float | None = None, key: str | None = None
    ) -> str: ...
    @overload
    async def send(
        self, type: SignalType[A], *, payload: A, target: None = None, ttl: float | None = None, key: str | None = None
    ) -> str: ...
    @overload
    async def send(
        self,
        type: str,
        target: str | None = None,
        payload: Any = None,
        *,
        ttl: float | None = None,
        key: str | None = None,
    ) -> str: ...
    async def send(
        self,
        type: str | SignalType[Any],  # noqa: A002
        target: str | None = None,
        payload: Any = None,
        *,
        ttl: float | None = None,
        key: str | None = None,
    ) -> str:
        """See :meth:`Signals.send`."""
        return await self._operations.send(type, target, payload, ttl=ttl, key=key)

    @overload
    async def broadcast(
        self, type: SignalType[A], payload: A, *, ttl: float | None = None, late: bool = True, key: str | None = None
    ) -> str: ...
    @overload
    async def broadcast(
        self, type: str, payload: Any = None, *, ttl: float | None = None, late: bool = True, key: str | None = None
    ) -> str: ...
    async def broadcast(
        self,
        type: str | SignalType[Any],  # noqa: A002
        payload: Any = None,
        *,
        ttl: float | None = None,
        late: bool = True,
        key: str | None = None,
    ) -> str:
        """See :meth:`Signals.broadcast`."""
        return await self._operations.broadcast(type, payload, ttl=ttl, late=late, key=key)

    @overload
    def wait(
        self,
        a: SignalType[A],
        b: SignalType[B] = ...,
        c: SignalType[C] = ...,
        /,
        *,
        source: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        require_alive: bool = False,
        deadlock: bool = True,
    ) -> Coroutine[Any, Any, Signal[A | B | C] | NoSignal]: ...
    @overload
    def wait(
        self,
        *types: str | SignalType[Any],
        source: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        require_alive: bool = False,
        deadlock: bool = True,
    ) -> Coroutine[Any, Any, Signal | NoSignal]: ...
    def wait(
        self,
        *types: str | SignalType[Any],
        source: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        require_alive: bool = False,
        deadlock: bool = True,
    ) -> Coroutine[Any, Any, Signal | NoSignal]:
        """See :meth:`Signals.wait`."""
        # No coroutine of its own around that of the operation: thousands may wait at a time.
        return self._operations.wait(
            types, source=source, timeout=timeout, require_alive=require_alive, deadlock=deadlock
        )

    @overload
    async def check(
        self, a: SignalType[A], b: SignalType[B] = ..., c: SignalType[C] = ..., /, *, source: str | None = None
    ) -> Signal[A | B | C] | None: ...
    @overload
    async def check(self, *types: str | SignalType[Any], source: str | None = None) -> Signal | None: ...
    async def check(self, *types: str | SignalType[Any], source: str | None = None) -> Signal | None:
        """See :meth:`Signals.check`."""
        return await self._operations.check(types, source=source)

    @overload
    async def peek(
        self, a: SignalType[A], b: SignalType[B] = ..., c: SignalType[C] = ..., /, *, source: str | None = None
    ) -> Signal[A | B | C] | None: ...
    @overload
    async def peek(self, *types: str | SignalType[Any], source: str | None = None) -> Signal | None: ...
    async def peek(self, *types: str | SignalType[Any], source: str | None = None) -> Signal | None:
        """See :meth:`Signals.peek`."""
        return await self._operations.peek(types, source=source)

    @overload
    async def pending(
        self, a: SignalType[A], b: SignalType[B] = ..., c: SignalType[C] = ..., /, *, source: str | None = None
    ) -> list[Signal[A | B | C]]: ...
    @overload
    async def pending(self, *types: str | SignalType[Any], source: str | None = None) -> list[Signal]: ...
    async def pending(self, *types: str | SignalType[Any], source: str | None = None) -> list[Signal]:
        """See :meth:`Signals.pending`."""
        return await self._operations.pending(types, source=source)

    async def clear(self, *types: str | SignalType[Any], source: str | None = None) -> int:
        """See :meth:`Signals.clear`."""
        return await self._operations.clear(types, source=source)

    @overload
    async def collect(
        self,
        a: SignalType[A],
        b: SignalType[B] = ...,
        c: SignalType[C] = ...,
        /,
        *,
        count: int | None = None,
        sources: Sequence[str] | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Collected[A | B | C]: ...
    @overload
    async def collect(
        self,
        *types: str | SignalType[Any],
        count: int | None = None,
        sources: Sequence[str] | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Collected: ...
    async def collect(
        self,
        *types: str | SignalType[Any],
        count: int | None = None,
        sources: Sequence[str] | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Collected:
        """See :meth:`Signals.collect`."""
        return await self._operations.collect(types, count=count, sources=sources, timeout=timeout)

    async def barrier(
        self, name: str, parties: int | Sequence[str], timeout: float | None = DEFAULT_TIMEOUT
    ) -> Released | Broken:
        """See :meth:`Signals.barrier`."""
        return await self._operations.barrier(name, parties=parties, timeout=timeout)

    async def abort(self, reason: str, target: str | None = None) -> list[str]:
        """See :meth:`Signals.abort`."""
        return await self._operations.abort(reason, target)

    @overload
    def listen(
        self,
        a: SignalType[A],
        b: SignalType[B] = ...,
        c: SignalType[C] = ...,
        /,
        *,
        source: str | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Signal[A | B | C]]: ...
    @overload
    def listen(
        self, *types: str | SignalType[Any], source: str | None = None, timeout: float | None = None
    ) -> AsyncIterator[Signal]: ...
    async def listen(
        self,
        *types: str | SignalType[Any],
        source: str | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Signal]:
        """See :meth:`Signals.listen`; iterate with ``async for``."""
        while signal := await self.wait(*types, source=source, timeout=timeout):
            yield signal
