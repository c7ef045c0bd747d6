"""An agent's signal operations without an agent: what is sent is recorded, what is taken was given beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import evolve, frozen

from attune_dsl import log
from attune_dsl.coordination import typed
from attune_dsl.coordination.signal_type import Named
from attune_dsl.coordination.terms import check_ttl, deadline_of, how_many, parties_of
from attune_dsl.exceptions import NotAJsonValue, PayloadInvalid, UsageError
from attune_dsl.model import Broken, Collected, NoSignal, Reason, Released, Signal
from attune_dsl.store import codec
from attune_dsl.store.names import check_name, check_reason

_PATIENCE: Final = 1_000
"""Waits in a row that may find nothing. A loop that waits until something comes would else never end."""


@frozen(kw_only=True)
class Sent:
    """One signal that the code under test has sent.

    ``target`` is ``None`` for a broadcast. ``payload`` is JSON, as a receiver would get it who names the type by its
    name: tuples have become lists, and what a :class:`SignalType` declares an object.
    ``ttl`` (seconds) and ``key`` are as they were given. ``late`` says whether agents that join later get a broadcast.
    """

    id: str
    type: str
    target: str | None = None
    payload: Any = None
    ttl: float | None = None
    key: str | None = None
    late: bool = True


@frozen(kw_only=True)
class Answer:
    """A wait for one of ``types`` (none: any wait) that ends without a signal."""

    types: frozenset[str]
    nothing: NoSignal


class RecordedOperations:
    """Answers every operation at once from ``incoming``, oldest first; nothing ever blocks."""

    def __init__(
        self, incoming: Sequence[Signal | Answer], *, available: bool, broken: Mapping[str, Broken] | None = None
    ) -> None:
        """``broken`` are the barriers that break, by their names; others release everybody."""
        self.incoming = list(incoming)
        self.sent: list[Sent] = []
        self.aborts: list[tuple[str, str | None]] = []
        self.barriers: list[str] = []
        self._broken = dict(broken or {})
        self._available = available
        self._keys: dict[str, str] = {}
        self._empty_waits = 0

    async def send(self, type_: Named, target: str | None, payload: Any, *, ttl: float | None, key: str | None) -> str:
        """Record a signal."""
        if target is not None:
            check_name("target", target)
        return self._record(type_, target, payload, ttl, key, late=True)

    async def broadcast(self, type_: Named, payload: Any, *, ttl: float | None, late: bool, key: str | None) -> str:
        """Record a broadcast."""
        return self._record(type_, None, payload, ttl, key, late=late)

    def _record(
        self, type_: Named, target: str | None, payload: Any, ttl: float | None, key: str | None, *, late: bool
    ) -> str:
        type_, payload = typed.outgoing(type_, payload)
        check_name("signal type", type_)
        if key is not None:
            check_name("key", key)
        if ttl is not None:
            check_ttl(ttl)
        received = codec.decode_payload(codec.encode_payload(payload))
        if not self._available:
            return ""
        if key is not None and key in self._keys:
            return self._keys[key]
        sent = Sent(
            id=f"fake.{len(self.sent) + 1}", type=type_, target=target, payload=received, ttl=ttl, key=key, late=late
        )
        self.sent.append(sent)
        if key is not None:
            self._keys[key] = sent.id
        return sent.id

    async def wait(
        self,
        types: Sequence[Named],
        *,
        source: str | None,
        timeout: float | None,
        require_alive: bool = False,
        deadlock: bool = True,
    ) -> Signal | NoSignal:
        """Take the oldest signal that fits, or the answer that comes before it, or time out at once."""
        if require_alive and source is None:
            raise UsageError("wait(require_alive=True) has to name a source: who must be alive?")
        return self._take(types, () if source is None else (source,), timeout)

    def _take(self, types: Sequence[Named], sources: Sequence[str], timeout: float | None) -> Signal | NoSignal:
        deadline_of(timeout)
        names, kinds = typed.by_name(types)
        _check(names, sources)
        if not self._available:
            return _UNAVAILABLE
        for item in [*self.incoming]:
            if isinstance(item, Signal) and _fits(item, names, sources):
                self.incoming.remove(item)
                if (signal := _converted(item, kinds)) is not None:
                    self._empty_waits = 0
                    return signal
            if isinstance(item, Answer) and (not item.types or not names or item.types.intersection(names)):
                self.incoming.remove(item)
                return item.nothing
        self._empty_waits += 1
        if self._empty_waits > _PATIENCE:
            raise UsageError(f"{_PATIENCE:,} waits in a row found nothing: is the code under test in an endless loop?")
        wanted = " or ".join(map(repr, names)) or "of any type"
        sender = " or ".join(map(repr, sources)) or "anyone"
        return NoSignal(
            reason=Reason.TIMEOUT,
            detail=f"no signal {wanted} from {sender} within {timeout} s: FakeSignals was given none, or no more",
        )

    async def check(self, types: Sequence[Named], *, source: str | None) -> Signal | None:
        """Take the oldest signal that fits, if there is one."""
        names, kinds = typed.by_name(types)
        for item in self._found(names, source):
            self.incoming.remove(item)
            if (signal := _converted(item, kinds)) is not None:
                return signal
        return None

    async def peek(self, types: Sequence[Named], *, source: str | None) -> Signal | None:
        """Return the oldest signal that fits without taking it."""
        return next(iter(await self.pending(types, source=source)), None)

    async def pending(self, types: Sequence[Named], *, source: str | None) -> list[Signal]:
        """Return all signals that fit without taking them."""
        names, kinds = typed.by_name(types)
        found = (_converted(item, kinds) for item in self._found(names, source))
        return [signal for signal in found if signal is not None]

    def _found(self, types: Sequence[str], source: str | None) -> list[Signal]:
        """Return what is of one of the types and from the source, whatever its payload."""
        sources = () if source is None else (source,)
        _check(types, sources)
        if not self._available:
            return []
        return [item for item in self.incoming if isinstance(item, Signal) and _fits(item, types, sources)]

    async def clear(self, types: Sequence[Named], *, source: str | None) -> int:
        """Take all signals that fit and forget them."""
        found = self._found(typed.by_name(types)[0], source)
        for signal in found:
            self.incoming.remove(signal)
        return len(found)

    async def barrier(self, name: str, *, parties: int | Sequence[str], timeout: float | None) -> Released | Broken:
        """Let everybody pass at once, or break as it was told to."""
        check_name("barrier", name)
        parties_of(parties)
        deadline_of(timeout)
        self.barriers.append(name)
        if not self._available:
            return Broken(reason=Reason.UNAVAILABLE, by=None, detail=_UNAVAILABLE.detail)
        if name in self._broken:
            return self._broken[name]
        return Released(generation=self.barriers.count(name), agents=() if isinstance(parties, int) else tuple(parties))

    async def abort(self, reason: str, target: str | None) -> list[str]:
        """Record that an agent was asked to stop."""
        check_reason(reason)
        if target is not None:
            check_name("target", target)
        self.aborts.append((reason, target))
        return [target] if target is not None and self._available else []

    async def collect(
        self, types: Sequence[Named], *, count: int | None, sources: Sequence[str] | None, timeout: float | None
    ) -> Collected:
        """Take many signals, until one wait ends without."""
        wanted, missing = how_many(count, sources)
        taken: list[Signal] = []
        while len(taken) < wanted:
            signal = self._take(types, missing, timeout)
            if isinstance(signal, NoSignal):
                return Collected(
                    signals=tuple(taken),
                    wanted=wanted,
                    missing=tuple(missing),
                    reason=signal.reason,
                    detail=signal.detail,
                )
            taken.append(signal)
            if missing:
                missing.remove(signal.source)
        return Collected(signals=tuple(taken), wanted=wanted)


_UNAVAILABLE: Final = NoSignal(reason=Reason.UNAVAILABLE, detail="FakeSignals(available=False): there is no store")


def _check(types: Sequence[str], sources: Sequence[str]) -> None:
    for type_ in types:
        check_name("signal type", type_)
    for source in sources:
        check_name("source", source)


def _fits(signal: Signal, types: Sequence[str], sources: Sequence[str]) -> bool:
    return (not types or signal.type in types) and (not sources or signal.source in sources)


def _converted(signal: Signal, kinds: typed.Kinds) -> Signal | None:
    """Return the signal as its receiver would get it under the types that it named; ``None`` if it does not fit."""
    kind = kinds.get(signal.type)
    if kind is None:
        try:
            codec.check_json(signal.payload)
        except NotAJsonValue:  # it was made with a SignalType
            return evolve(signal, payload=codec.to_plain(signal.payload))
        return signal
    try:
        return evolve(signal, payload=typed.from_json(kind, codec.to_plain(signal.payload)))
    except PayloadInvalid as error:
        log.warning("signal.skipped", source=signal.source, error=str(error))
        return None
