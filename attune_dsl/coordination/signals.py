"""The facade over an agent's signals that blocks. The other one is awaited, and nothing else differs.

Both hold the same :class:`~attune_dsl.coordination.operations.Operations`; a method here only says how it is waited
for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Never, final, overload

from attune_dsl.dsl.injection import Injectable, Kind
from attune_dsl.hub.drive import drive

if TYPE_CHECKING:  # declaring a stage needs the facades, and should not have to wait for attrs
    from typing_extensions import TypeVar

    from attune_dsl.coordination.operations import Operations
    from attune_dsl.coordination.signal_type import SignalType
    from attune_dsl.model import Broken, Collected, NoSignal, Released, Signal

    A = TypeVar("A")
    B = TypeVar("B", default=Never)  # of types that are not there, nothing comes
    C = TypeVar("C", default=Never)

DEFAULT_TIMEOUT: Final = 30.0
"""Seconds that ``wait`` and ``collect`` wait where nothing else is said."""


@final
class Signals(Injectable):
    """An agent's signals for blocking code. Raises :class:`BlockingCallInLoop` on the thread of a running loop.

    Types, agent ids and keys are names: 1-128 characters without control characters, else :class:`InvalidName`. A
    :class:`SignalType` may stand for the name of a type: payloads are then what it declares, and signals whose payload
    does not fit it are skipped, counted and logged. By its name, the payload is JSON.
    """

    kind: ClassVar[Kind] = "signals"
    is_async: ClassVar[bool] = False
    __slots__ = ("_operations",)

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    @overload
    def send(
        self, type: SignalType[A], target: str | None, payload: A, *, ttl: float | None = None, key: str | None = None
    ) -> str: ...
    @overload
    def send(
        self, type: SignalType[A], *, payload: A, target: None = None, ttl: float | None = None, key: str | None = None
    ) -> str: ...
    @overload
    def send(
        self,
        type: str,
        target: str | None = None,
        payload: Any = None,
        *,
        ttl: float | None = None,
        key: str | None = None,
    ) -> str: ...
    def send(
        self,
        type: str | SignalType[Any],  # noqa: A002 (the word of the vocabulary)
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
        :class:`PayloadInvalid` for a payload that is not what a :class:`SignalType` declares, :class:`NotAJsonValue`,
        :class:`PayloadTooLarge`, :class:`MailboxFull` and ``ValueError`` for a bad ``ttl``.
        """
        return drive(self._operations.send(type, target, payload, ttl=ttl, key=key))

    @overload
    def broadcast(
        self, type: SignalType[A], payload: A, *, ttl: float | None = None, late: bool = True, key: str | None = None
    ) -> str: ...
    @overload
    def broadcast(
        self, type: str, payload: Any = None, *, ttl: float | None = None, late: bool = True, key: str | None = None
    ) -> str: ...
    def broadcast(
        self,
        type: str | SignalType[Any],  # noqa: A002
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
    ) -> Signal[A | B | C] | NoSignal: ...
    @overload
    def wait(
        self,
        *types: str | SignalType[Any],
        source: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        require_alive: bool = False,
        deadlock: bool = True,
    ) -> Signal | NoSignal: ...
    def wait(
        self,
        *types: str | SignalType[Any],
        source: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        require_alive: bool = False,
        deadlock: bool = True,
    ) -> Signal | NoSignal:
        """Take the oldest signal of one of ``types`` (none: any) from ``source`` (``None``: anyone), or wait for it.

        Waits at most ``timeout`` seconds (``None``: for ever). Returns the :class:`Signal`, or a :class:`NoSignal` that
        is false in a condition and says why: ``timeout``; ``peer_gone`` as soon as ``source`` has ended since this
        agent joined, once what it sent before is taken; ``unavailable`` where there is no store. A source that has not
        started yet is waited for, unless ``require_alive`` is true: then the wait ends at once if it does not live.
        ``deadlock``, if it is part of a circle of agents that wait for each other and do nothing else, and would be
        over first, or came last; ``deadlock=False`` for an agent whose own threads or tasks can still act.

        Raises ``ValueError`` for a ``timeout`` that is no time, :class:`UsageError` for ``require_alive`` without a
        ``source``, and :class:`InvalidName`.
        """
        return drive(
            self._operations.wait(types, source=source, timeout=timeout, require_alive=require_alive, deadlock=deadlock)
        )

    @overload
    def check(
        self, a: SignalType[A], b: SignalType[B] = ..., c: SignalType[C] = ..., /, *, source: str | None = None
    ) -> Signal[A | B | C] | None: ...
    @overload
    def check(self, *types: str | SignalType[Any], source: str | None = None) -> Signal | None: ...
    def check(self, *types: str | SignalType[Any], source: str | None = None) -> Signal | None:
        """Take the oldest signal that fits if there is one; never waits for one to come."""
        return drive(self._operations.check(types, source=source))

    @overload
    def peek(
        self, a: SignalType[A], b: SignalType[B] = ..., c: SignalType[C] = ..., /, *, source: str | None = None
    ) -> Signal[A | B | C] | None: ...
    @overload
    def peek(self, *types: str | SignalType[Any], source: str | None = None) -> Signal | None: ...
    def peek(self, *types: str | SignalType[Any], source: str | None = None) -> Signal | None:
        """Return the oldest signal that fits and leave it where it is."""
        return drive(self._operations.peek(types, source=source))

    @overload
    def pending(
        self, a: SignalType[A], b: SignalType[B] = ..., c: SignalType[C] = ..., /, *, source: str | None = None
    ) -> list[Signal[A | B | C]]: ...
    @overload
    def pending(self, *types: str | SignalType[Any], source: str | None = None) -> list[Signal]: ...
    def pending(self, *types: str | SignalType[Any], source: str | None = None) -> list[Signal]:
        """Return all signals that fit, oldest first, and leave them where they are."""
        return drive(self._operations.pending(types, source=source))

    def clear(self, *types: str | SignalType[Any], source: str | None = None) -> int:
        """Take all signals that fit and forget them, whatever their payloads; return how many there were."""
        return drive(self._operations.clear(types, source=source))

    @overload
    def collect(
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
    def collect(
        self,
        *types: str | SignalType[Any],
        count: int | None = None,
        sources: Sequence[str] | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Collected: ...
    def collect(
        self,
        *types: str | SignalType[Any],
        count: int | None = None,
        sources: Sequence[str] | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Collected:
        """Gather ``count`` signals, or one from each of ``sources``, within ``timeout`` seconds over all.

        The result is false in a condition if some are missing, and names the sources that are.

        Raises :class:`UsageError` unless exactly one of ``count`` and ``sources`` is given, a whole number or a list,
        ``ValueError`` for a ``count`` below 0 or a ``timeout`` that is no time, and :class:`InvalidName`.
        """
        return drive(self._operations.collect(types, count=count, sources=sources, timeout=timeout))

    def barrier(
        self, name: str, parties: int | Sequence[str], timeout: float | None = DEFAULT_TIMEOUT
    ) -> Released | Broken:
        """Wait until all ``parties`` have come to the barrier ``name``: a number, or the agent ids of all of them.

        All are released together and get a :class:`Released`. Or all get a :class:`Broken`, false in a condition: one
        that waited has ended, or waited for ``timeout`` seconds (``None``: for ever), or was asked to stop; where the
        parties are named, also if one has ended that had not come yet. One that comes later, and had joined by then,
        learns of it at once. After that, as after a release, the barrier can be used again.

        Raises :class:`UsageError` where the others wait for other parties (their number, or their names), or where this
        agent waits there already, is not among those named, or one is named twice, ``ValueError`` for a number that is
        not from 1 to 10,000, and :class:`InvalidName`.
        """
        return drive(self._operations.barrier(name, parties=parties, timeout=timeout))

    def abort(self, reason: str, target: str | None = None) -> list[str]:
        """Ask the agent ``target`` to stop; without it, all other agents that live now.

        It stays so for each of them until it ends: its waits end with ``aborted``, its async stages are cancelled, its
        sync ones stop at their next call into the context, nothing is tried again, and its run ends as ``aborted``. If
        it dies before that, whoever joins next under its id is asked to stop too. The first reason counts.

        Returns the ids of those that were asked: empty where nobody of that name lives, or where the store did not
        confirm it (of many, it may have confirmed some). Asking again does no harm. Raises ``ValueError`` for a reason
        that is not a text of 1 to 1,000 characters, and :class:`InvalidName`.
        """
        return drive(self._operations.abort(reason, target))

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
    ) -> Iterator[Signal[A | B | C]]: ...
    @overload
    def listen(
        self, *types: str | SignalType[Any], source: str | None = None, timeout: float | None = None
    ) -> Iterator[Signal]: ...
    def listen(
        self, *types: str | SignalType[Any], source: str | None = None, timeout: float | None = None
    ) -> Iterator[Signal]:
        """Take signals one after the other as they come; ends when none came for ``timeout`` seconds."""
        while signal := self.wait(*types, source=source, timeout=timeout):
            yield signal
