"""Entries of the timeline as events, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from attune_dsl.events import (
    DATA,
    AgentAbort,
    AgentEnd,
    AgentJoin,
    AgentLoss,
    AgentNews,
    Event,
    EventData,
    SignalExpired,
    SignalSent,
    Unknown,
)

UPDATED: Final = "agent.updated"
"""The kind of an entry that only says that an agent's hash has changed: for those who list agents, and no event."""

_HEAD: Final = frozenset({b"kind", b"agent", b"epoch", b"at", b"run", b"workflow", b"stage", b"data"})
_ENCODER: Final = msgspec.json.Encoder()


def encode(data: EventData) -> bytes:
    """Return an event's data as JSON."""
    return _ENCODER.encode(data)


def decode(entry_id: str, raw: Sequence[bytes], namespace: str) -> Event | None:
    """Return an entry of the timeline, given as a flat list of fields and values; ``None`` for one that is no event.

    Raises ``ValueError`` for what cannot be read.
    """
    fields = dict(zip(raw[::2], raw[1::2], strict=False))
    try:
        kind = fields[b"kind"].decode()
        if kind == UPDATED:
            return None
        read = _READERS.get(kind, _unknown)
        text = fields.get
        return Event(
            id=entry_id,
            kind=kind,
            at=int(fields[b"at"]) / 1000,
            namespace=namespace,
            agent=text(b"agent", b"").decode() or None,
            run=text(b"run", b"").decode() or None,
            workflow=text(b"workflow", b"").decode() or None,
            stage=text(b"stage", b"").decode() or None,
            data=read(fields),
        )
    except (KeyError, TypeError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise ValueError(f"the entry {entry_id} of the timeline cannot be read: {error!r}") from None


Fields = Mapping[bytes, bytes]


def _text(fields: Fields, name: bytes) -> str | None:
    value = fields.get(name)
    return value.decode() if value else None


def _milliseconds(fields: Fields, name: bytes) -> float | None:
    value = fields.get(name)
    return int(value) / 1000 if value else None


class _Sent(msgspec.Struct):
    """What is written of a signal: itself if it is short, else this much."""

    type: str
    target: str | None = None
    payload: Any = msgspec.UNSET
    size: int = 0


class _Short(msgspec.Struct):
    type: str
    source: str = ""


_SENT: Final = msgspec.json.Decoder(_Sent)
_SHORT: Final = msgspec.json.Decoder(_Short)


def _sent(fields: Fields) -> EventData:
    sent = _SENT.decode(fields[b"data"])
    has_payload = sent.payload is not msgspec.UNSET
    return SignalSent(
        id=fields[b"id"].decode(),
        type=sent.type,
        target=sent.target,
        size=sent.size or len(fields[b"data"]),
        payload=sent.payload if has_payload else None,
        has_payload=has_payload,
    )


def _expired(fields: Fields) -> EventData:
    short = _SHORT.decode(fields[b"data"])
    return SignalExpired(id=fields[b"id"].decode(), type=short.type, source=short.source)


def _epoch(fields: Fields) -> int:
    return int(fields[b"epoch"])


def _loss(fields: Fields) -> EventData:
    progress = fields.get(b"progress")
    return AgentLoss(
        epoch=_epoch(fields),
        beat_at=_milliseconds(fields, b"beat_at"),
        progress=float(progress) if progress else None,
    )


def _unknown(fields: Fields) -> EventData:
    told: dict[str, Any] = {
        name.decode(): value.decode(errors="replace") for name, value in fields.items() if name not in _HEAD
    }
    if fields.get(b"data"):
        told["data"] = msgspec.json.decode(fields[b"data"])
    return Unknown(fields=told)


def _reader(kind: type[EventData]) -> Callable[[Fields], EventData]:
    decoder = msgspec.json.Decoder(kind)
    return lambda fields: decoder.decode(fields[b"data"])


_READERS: Final[dict[str, Callable[[Fields], EventData]]] = {
    **{name: _reader(kind) for name, kind in DATA.items()},
    "signal.sent": _sent,
    "signal.expired": _expired,
    "agent.joined": lambda fields: AgentJoin(epoch=_epoch(fields), ttl=_milliseconds(fields, b"ttl")),
    "agent.stalled": lambda fields: AgentNews(epoch=_epoch(fields)),
    "agent.resumed": lambda fields: AgentNews(epoch=_epoch(fields)),
    "agent.fenced": lambda fields: AgentNews(epoch=_epoch(fields)),
    "agent.aborted": lambda fields: AgentAbort(
        epoch=_epoch(fields), by=_text(fields, b"by") or "", reason=_text(fields, b"reason") or ""
    ),
    "agent.lost": _loss,
    "agent.ended": lambda fields: AgentEnd(epoch=_epoch(fields), status=_text(fields, b"status") or ""),
}
