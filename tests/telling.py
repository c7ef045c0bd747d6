"""Entries of the timeline for tests that read it: as the scripts write them, without anybody to whom it happens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from attune_dsl.events import (
    AgentAbort,
    AgentEnd,
    AgentJoin,
    AgentLoss,
    AgentNews,
    EventData,
    SignalExpired,
    SignalSent,
)
from attune_dsl.store import event_codec

if TYPE_CHECKING:
    from conftest import Store

_BY_SCRIPTS = AgentJoin | AgentAbort | AgentLoss | AgentEnd | AgentNews


def entry(
    kind: str,
    data: EventData,
    *,
    agent: str = "release",
    run: str = "",
    workflow: str = "",
    stage: str = "",
    at: float | None = None,
) -> dict[str, str | bytes | int]:
    """Return the fields of an entry; ``at`` is in seconds since the epoch."""
    moment = time.time() if at is None else at
    fields: dict[str, str | bytes | int] = {"kind": kind, "agent": agent, "epoch": 1, "at": int(moment * 1000)}
    fields |= {"run": run, "workflow": workflow, "stage": stage}
    if isinstance(data, _BY_SCRIPTS):
        told = msgspec.to_builtins(data)
        times = {name: int(told.pop(name) * 1000) for name in ("ttl", "beat_at") if told.get(name) is not None}
        return fields | {name: str(value) for name, value in told.items() if value is not None} | times
    if isinstance(data, SignalSent):
        told = {"type": data.type, "target": data.target, "size": data.size}
        told |= {"payload": data.payload} if data.has_payload else {}
        return fields | {"id": data.id, "data": msgspec.json.encode(told)}
    if isinstance(data, SignalExpired):
        fields["id"] = data.id
    return fields | {"data": event_codec.encode(data)}


def tell(store: Store, kind: str, data: EventData, **of_whom: str | float) -> str:
    """Write an event into the store's timeline; return its id."""
    timeline = f"{store.prefix}timeline"
    entry_id: bytes = store.redis.xadd(timeline, entry(kind, data, **of_whom))  # type: ignore[arg-type]
    store.redis.expire(timeline, 3600)
    return entry_id.decode()
