"""Who is there: live agents, and those that ended within the last hour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from attune_dsl.exceptions import StoreUnavailable
from attune_dsl.hub.commands import Request
from attune_dsl.hub.hub import Hub
from attune_dsl.hub.registry import open_hub, release_hub
from attune_dsl.model import AgentRecord, AgentStatus
from attune_dsl.store import codec
from attune_dsl.store.scripts import Command

_CHUNK = 1_000


class Listing:
    """Reads the agents of a namespace, once or again and again. Its methods are neutral coroutines."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    @classmethod
    async def open(cls, store: str | None = None, namespace: str | None = None) -> Listing:
        """Connect. Raises :class:`StoreUnavailable`, :class:`StoreConfigError` and :class:`InvalidName`."""
        hub = open_hub(store, namespace)
        try:
            await hub.require_store()
        except BaseException:
            await release_hub(hub)
            raise
        return cls(hub)

    @property
    def store_label(self) -> str:
        """The store as people are shown it."""
        return self._hub.server.label

    @property
    def namespace(self) -> str:
        """The namespace that is read."""
        return self._hub.namespace

    async def agents(self) -> list[AgentRecord]:
        """Return live agents, then ended ones, each by when they started. Raises :class:`StoreUnavailable`."""
        keys = self._hub.keys
        time, live, ended = await self._ask(
            [
                ("TIME",),
                ("ZRANGE", keys.leases, 0, -1, "WITHSCORES"),
                ("ZRANGE", keys.ended, 0, -1),
            ]
        )
        now = int(time[0]) * 1000 + int(time[1]) / 1000
        leases = _pairs(live)
        members = [*leases, *(member.decode(errors="replace") for member in ended)]
        hashes: list[Any] = []
        for start in range(0, len(members), _CHUNK):
            names = [member.rpartition("#")[0] for member in members[start : start + _CHUNK]]
            hashes += await self._ask([("HGETALL", keys.agent(name)) for name in names])
        records = [
            _record(member, leases.get(member), _fields(reply), now)
            for member, reply in zip(members, hashes, strict=True)
        ]
        found = [record for record in records if record is not None]
        return sorted(found, key=lambda r: (r.status.is_final, r.started_at or 0.0, r.agent_id))

    async def close(self) -> None:
        """Disconnect."""
        await release_hub(self._hub)

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        requests = [self._request(command) for command in commands]
        if not requests:
            return []
        await self._hub.ask(requests)
        if not requests[-1].done:
            raise StoreUnavailable(f"the store {self.store_label} did not answer: {self._hub.link.error}")
        return [request.value for request in requests]

    def _request(self, command: Command) -> Request:
        return self._hub.request(lambda _: command)


async def list_agents(store: str | None = None, namespace: str | None = None) -> list[AgentRecord]:
    """Return the agents of a namespace once (neutral coroutine). Raises as :meth:`Listing.open`."""
    listing = await Listing.open(store, namespace)
    try:
        return await listing.agents()
    finally:
        await listing.close()


def _pairs(reply: Sequence[Any]) -> dict[str, float]:
    """Return members with their scores (pairs in RESP3, a flat list in RESP2)."""
    if reply and not isinstance(reply[0], list):
        reply = list(zip(reply[::2], reply[1::2], strict=True))
    return {member.decode(errors="replace"): float(score) for member, score in reply}


def _fields(reply: Any) -> dict[str, str]:
    if not isinstance(reply, dict):
        reply = dict(zip(reply[::2], reply[1::2], strict=True)) if isinstance(reply, list) else {}
    return {name.decode(errors="replace"): value.decode(errors="replace") for name, value in reply.items()}


def _record(member: str, lease: float | None, fields: dict[str, str], now: float) -> AgentRecord | None:
    """Return one row; ``None`` for a member whose hash belongs to another incarnation or is gone."""
    agent_id, _, incarnation = member.rpartition("#")
    epoch = _number(fields, "epoch", int)
    if epoch is None or fields["epoch"] != incarnation:
        return None
    status = _status(fields.get("status", ""))
    if lease is not None and lease <= now and not status.is_final:
        status = AgentStatus.LOST
    beat = None if lease is None else (now - lease + (_number(fields, "ttl", float) or 0.0)) / 1000
    return AgentRecord(
        agent_id=agent_id,
        epoch=epoch,
        status=status,
        workflow=fields.get("workflow") or None,
        run_id=fields.get("run_id") or None,
        stage=fields.get("stage") or None,
        attempt=_number(fields, "attempt", int),
        tier=fields.get("tier") or None,
        progress=_number(fields, "progress", float),
        note=fields.get("note") or None,
        error=fields.get("error") or None,
        stage_started_at=_seconds(fields, "stage_started_at"),
        beat_age=None if beat is None else max(0.0, beat),
        progress_age=_age(_seconds(fields, "progress_at"), now),
        started_at=_seconds(fields, "started_at"),
        ended_at=_seconds(fields, "ended_at"),
        host=fields.get("host") or None,
        pid=_number(fields, "pid", int),
        stages=_stages(fields.get("stages", "")),
    )


def _status(text: str) -> AgentStatus:
    try:
        return AgentStatus(text)
    except ValueError:
        return AgentStatus.RUNNING


def _number(fields: dict[str, str], name: str, kind: Any) -> Any:
    try:
        number = kind(fields[name])
        return number if math.isfinite(number) else None
    except (KeyError, ValueError, OverflowError):
        return None


def _seconds(fields: dict[str, str], name: str) -> float | None:
    milliseconds = _number(fields, name, int)
    return None if milliseconds is None else milliseconds / 1000


def _age(then: float | None, now: float) -> float | None:
    return None if then is None else max(0.0, now / 1000 - then)


def _stages(text: str) -> tuple[str, ...]:
    try:
        return tuple(str(name) for name in codec.decode_payload(text.encode()))
    except (ValueError, TypeError):
        return ()
