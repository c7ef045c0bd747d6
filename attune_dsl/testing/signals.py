"""Stand-ins for an agent's signals, for calling a stage as a plain function.

A fake runs the real facade over recorded operations, so names, payloads and calls on the wrong thread are refused as
they would be in a run.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final, overload

from attune_dsl import clock
from attune_dsl.coordination import typed
from attune_dsl.coordination.async_signals import AsyncSignals
from attune_dsl.coordination.signal_type import Named, PayloadT, SignalType
from attune_dsl.coordination.signals import Signals
from attune_dsl.dsl.injection import Injectable, Kind
from attune_dsl.model import Broken, NoSignal, Signal
from attune_dsl.store import codec
from attune_dsl.testing.outbox import Answer, RecordedOperations, Sent

_numbers = itertools.count(1)

Waits = Mapping[Any, Any] | Iterable[Signal | NoSignal]
"""What a fake plays back. A mapping gives a payload (or a ``Signal``, or a ``NoSignal``) for each type or its name."""


@overload
def fake_signal(
    type: SignalType[PayloadT],
    payload: PayloadT,
    *,
    source: str = "fake-source",
    target: str | None = "fake-agent",
    id: str = "",
    redelivered: bool = False,
) -> Signal[PayloadT]: ...
@overload
def fake_signal(
    type: str,
    payload: Any = None,
    *,
    source: str = "fake-source",
    target: str | None = "fake-agent",
    id: str = "",
    redelivered: bool = False,
) -> Signal: ...
def fake_signal(
    type: Named,  # noqa: A002 (the word of the vocabulary)
    payload: Any = None,
    *,
    source: str = "fake-source",
    target: str | None = "fake-agent",
    id: str = "",  # noqa: A002
    redelivered: bool = False,
) -> Signal:
    """Return a signal as a receiver would get it who names this ``type``.

    Raises :class:`NotAJsonValue` and :class:`PayloadInvalid` for a payload that cannot be sent.
    """
    name, plain = typed.outgoing(type, payload)
    received = codec.decode_payload(codec.encode_payload(plain))
    now = clock.wall()
    return Signal(
        id=id or f"fake-{next(_numbers)}",
        type=name,
        source=source,
        target=target,
        payload=typed.from_json(type, received) if isinstance(type, SignalType) else received,
        sent_at=now,
        expires_at=now + 60.0,
        order=0,
        redelivered=redelivered,
    )


class _Fake(Injectable):
    """What both colours of a fake share."""

    kind: ClassVar[Kind] = "signals"

    def __init__(
        self,
        waits: Waits = (),
        *,
        source: str = "fake-source",
        available: bool = True,
        broken: Mapping[str, Broken] | None = None,
    ) -> None:
        incoming = _incoming(waits, source)
        self._operations: Final = RecordedOperations(incoming, available=available, broken=broken)
        self._source = source

    @property
    def sent(self) -> list[Sent]:
        """Everything that was sent, in order; broadcasts have no ``target``."""
        return self._operations.sent

    @property
    def broadcasts(self) -> list[Sent]:
        """The broadcasts among what was sent."""
        return [sent for sent in self.sent if sent.target is None]

    @property
    def aborts(self) -> list[tuple[str, str | None]]:
        """The reason and the target of each abort, in order; ``None`` stands for all others."""
        return self._operations.aborts

    @property
    def barriers(self) -> list[str]:
        """The names of the barriers that were waited at, in order."""
        return self._operations.barriers

    @property
    def left(self) -> list[Signal]:
        """The signals that were played back to nobody yet."""
        return [item for item in self._operations.incoming if isinstance(item, Signal)]

    @overload
    def deliver(
        self, type: SignalType[PayloadT], payload: PayloadT, *, source: str | None = None
    ) -> Signal[PayloadT]: ...
    @overload
    def deliver(self, type: str, payload: Any = None, *, source: str | None = None) -> Signal: ...
    def deliver(self, type: Any, payload: Any = None, *, source: str | None = None) -> Signal:  # noqa: A002
        """Put one more signal behind those that wait, and return it."""
        signal = fake_signal(type, payload, source=source or self._source)
        self._operations.incoming.append(signal)
        return signal


class FakeSignals(_Fake):
    """Stands in for :class:`~attune_dsl.Signals`: records what is sent, plays back what was given. Never blocks.

    ``waits`` is a mapping of signal types or their names to payloads, or a sequence of :class:`Signal` (see
    :func:`fake_signal`) and :class:`NoSignal`. A wait takes the oldest signal that fits, its payload as the types say
    that the wait names; a ``NoSignal`` answers the first wait that gets to it; where nothing fits, a wait times out at
    once. With ``available=False`` it behaves as without a store. A barrier lets everybody pass at once, unless
    ``broken`` has a :class:`Broken` for its name.

    Pass it to the stage as it is, or pass ``.signals`` where a type checker asks for :class:`Signals`.

    >>> fake = FakeSignals({"task_complete": {"artifact": "app.whl"}})
    >>> fake.wait("task_complete").payload["artifact"]
    'app.whl'
    """

    is_async: ClassVar[bool] = False

    @property
    def signals(self) -> Signals:
        """The facade itself, typed as what a stage asks for."""
        return Signals(self._operations)

    def __getattr__(self, name: str) -> Any:
        """Give the methods of :class:`Signals`."""
        return getattr(self.signals, name)


class FakeAsyncSignals(_Fake):
    """Stands in for :class:`~attune_dsl.AsyncSignals`; see :class:`FakeSignals`."""

    is_async: ClassVar[bool] = True

    @property
    def signals(self) -> AsyncSignals:
        """The facade itself, typed as what a stage asks for."""
        return AsyncSignals(self._operations)

    def __getattr__(self, name: str) -> Any:
        """Give the methods of :class:`AsyncSignals`."""
        return getattr(self.signals, name)


def _incoming(waits: Waits, source: str) -> list[Signal | Answer]:
    if isinstance(waits, Mapping):
        return [_item(type_, value, source) for type_, value in waits.items()]
    items: list[Signal | Answer] = []
    for wait in waits:
        if not isinstance(wait, Signal | NoSignal):
            raise TypeError(
                f"FakeSignals plays back Signal and NoSignal, not {type(wait).__name__}; "
                "write fake_signal('type', payload), or pass a dict of types and payloads"
            )
        items.append(wait if isinstance(wait, Signal) else Answer(types=frozenset(), nothing=wait))
    return items


def _item(type_: Any, value: Any, source: str) -> Signal | Answer:
    if isinstance(value, NoSignal):
        name = type_.name if isinstance(type_, SignalType) else type_
        return Answer(types=frozenset((name,)), nothing=value)
    return value if isinstance(value, Signal) else fake_signal(type_, value, source=source)
