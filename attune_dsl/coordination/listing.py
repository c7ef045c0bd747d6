"""Who is there: live agents, and those that ended lately. Once for both facades, as neutral coroutines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from attrs import evolve

from attune_dsl.coordination import records
from attune_dsl.coordination.asking import ask, replies, unanswered
from attune_dsl.exceptions import UsageError
from attune_dsl.hub.hub import Hub
from attune_dsl.model import AgentRecord, AgentStatus, StageSummary
from attune_dsl.store import scripts
from attune_dsl.store.connection import ReplyError, batch_of_one_kind
from attune_dsl.store.scripts import Command

STATES: Final = (*(status.value for status in AgentStatus), "stalled")
"""What an agent can be for those who look."""

_CHUNK: Final = 500
"""Agents that are read in one write, so that the server serves others in between."""
_STEP: Final = 1_000
"""Leases that are read in one command."""
_SWEEPS: Final = 100
"""Most calls that look for lapsed leases before a listing; each deals with up to 200."""


class Presence(NamedTuple):
    """Which incarnations (``agent#epoch``) there are: live ones with their lease, and ended ones. Times in ms."""

    now: float
    witnessed: bool
    leases: dict[str, float]
    ended: list[str]


class Listing:
    """Reads the agents of a namespace, once or again and again."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    async def agents(
        self, *, status: str | Collection[str] | None = None, workflow: str | None = None
    ) -> list[AgentRecord]:
        """See :meth:`attune_dsl.coordination.monitor.Monitor.agents`."""
        wanted = _states(status)
        presence = await self._presence()
        found = await self.records([*presence.leases, *presence.ended], presence)
        return sorted(
            (
                record
                for record in found.values()
                if (wanted is None or record.state in wanted or record.status in wanted)
                and (workflow is None or record.workflow == workflow)
            ),
            key=lambda r: (r.status.is_final, r.started_at or 0.0, r.agent_id),
        )

    async def agent(self, agent_id: str) -> AgentRecord | None:
        """See :meth:`attune_dsl.coordination.monitor.Monitor.agent`."""
        keys = self.hub.keys
        now, _, witnessed = await self._sweep()
        values = (await self.ask([("HMGET", keys.agent(agent_id), *records.FIELDS)]))[0]
        if isinstance(values, ReplyError) or not values[0]:
            return None
        member = f"{agent_id}#{values[0].decode(errors='replace')}"
        lease, ended = await self.ask([("ZSCORE", keys.leases, member), ("ZSCORE", keys.ended, member)])
        if lease is None and ended is None:
            return None
        presence = Presence(now, witnessed, {} if lease is None else {member: float(lease)}, [member])
        return _record(member, values, presence)

    async def stages(self, agent_id: str) -> tuple[StageSummary, ...]:
        """See :meth:`attune_dsl.coordination.monitor.Monitor.stages`."""
        reply = (await self.ask([("HGETALL", self.hub.keys.stages(agent_id))]))[0]
        rows = (records.summary(name, row) for name, row in records.pairs(reply))
        return tuple(sorted((row for row in rows if row is not None), key=lambda row: row.started_at))

    async def stale(self, threshold: float) -> list[AgentRecord]:
        """See :meth:`attune_dsl.coordination.monitor.Monitor.stale`."""
        if not threshold >= 0:
            raise ValueError(f"threshold is {threshold!r}; it must be a number of seconds from 0 up")
        return [
            agent
            for agent in await self.agents()
            if not agent.status.is_final and (agent.progress_age or 0.0) >= threshold
        ]

    async def counts(self) -> dict[str, int]:
        """See :meth:`attune_dsl.coordination.monitor.Monitor.counts`."""
        counted = Counter(agent.state for agent in await self.agents())
        return {state: counted[state] for state in STATES}

    async def records(self, members: Sequence[str], presence: Presence | None = None) -> dict[str, AgentRecord]:
        """Return how incarnations stand now, without those of which the store has nothing any more."""
        if presence is None:
            now, _, witnessed = await self._sweep()
            scores = (await self.ask([("ZMSCORE", self.hub.keys.leases, *members)]))[0] if members else ()
            leases = {name: float(score) for name, score in zip(members, scores, strict=True) if score is not None}
            presence = Presence(now, witnessed, leases, [])
        keys, found = self.hub.keys, {}
        chunks = [members[start : start + _CHUNK] for start in range(0, len(members), _CHUNK)]
        agents = ([keys.agent(name.rpartition("#")[0]) for name in names] for names in chunks)
        batches = (batch_of_one_kind("HMGET", hashes, records.FIELDS) for hashes in agents)
        answers = replies(self.hub, batches)
        for chunk in chunks:
            for member, values in zip(chunk, await anext(answers), strict=True):
                record = None if isinstance(values, ReplyError) else _record(member, values, presence)
                if record is not None:
                    found[member] = record
        return found

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Return the replies. Raises :class:`StoreUnavailable` if they do not come within the grace time."""
        return await ask(self.hub, commands)

    async def _presence(self) -> Presence:
        for _ in range(_SWEEPS):
            now, earliest, witnessed = await self._sweep()
            if earliest > now:
                break
        keys = self.hub.keys
        leases = await self._leases()
        (ended,) = await self.ask([("ZRANGEBYSCORE", keys.ended, int(now), "+inf")])
        return Presence(now, witnessed, leases, [member.decode(errors="replace") for member in ended])

    async def _leases(self) -> dict[str, float]:
        """Return all leases, in steps: ten thousand at once would keep the server from others for some milliseconds."""
        leases: dict[str, float] = {}
        cursor = b"0"
        while True:
            ((cursor, found),) = await self.ask([("ZSCAN", self.hub.keys.leases, cursor, "COUNT", _STEP)])
            leases |= {member.decode(errors="replace"): float(score) for member, score in records.pairs(found)}
            if cursor == b"0":
                return leases

    async def _sweep(self) -> tuple[float, float, bool]:
        hub = self.hub
        request = hub.request(lambda _: scripts.sweep(hub.keys, hub.keeper.witness()))
        reply = await hub.ask([request])
        if reply is None:
            raise unanswered(hub)
        now, earliest, witnessed = reply
        return float(now), float(earliest or "inf"), bool(witnessed)


def _states(status: str | Collection[str] | None) -> frozenset[str] | None:
    if status is None:
        return None
    wanted = frozenset((status,) if isinstance(status, str) else status)
    if unknown := sorted(wanted - frozenset(STATES)):
        raise UsageError(f"there is no status {unknown[0]!r}; there are {', '.join(STATES)}")
    return wanted


def _record(member: str, values: Sequence[bytes | None], presence: Presence) -> AgentRecord | None:
    lease = presence.leases.get(member)
    record = records.record(member, lease, values, presence.now)
    if record is None or lease is None or record.status.is_final:
        return record
    lapsed = lease <= presence.now
    if lapsed or (records.is_extended(lease, values) and not presence.witnessed):
        return evolve(record, status=AgentStatus.LOST)
    return record
