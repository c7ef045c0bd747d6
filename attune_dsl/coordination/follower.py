"""Changes of agents as they happen: the timeline's entries, and what they mean for the records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from attrs import evolve

from attune_dsl import clock
from attune_dsl.coordination import records
from attune_dsl.coordination.following import Following
from attune_dsl.coordination.listing import Listing
from attune_dsl.hub.watch import Entry, Watch, is_behind, parse
from attune_dsl.model import AgentChange, AgentRecord, AgentStatus, ChangeKind

TIDY: Final = 60.0
"""Seconds between two times at which ended agents are forgotten."""

_ENDS: Final = {
    ChangeKind.LOST: AgentStatus.LOST,
    ChangeKind.FENCED: AgentStatus.ABORTED,
    ChangeKind.ENDED: AgentStatus.ABORTED,
}
"""The status of an incarnation that has ended so, where the store has no record of it any more and does not say."""

_CHUNK: Final = 1_000
"""Entries that are read in one question where some were missed."""


class Follower(Following[AgentChange]):
    """Keeps the records of a namespace's agents up to date.

    What was missed, because the link was down or too much came, is read again from the timeline; what that has not any
    more is found by comparing with a new listing. So each loss is told once, whether it was seen as it happened or not.
    """

    def __init__(self, listing: Listing, watch: Watch) -> None:
        super().__init__(listing.hub, watch)
        self._listing = listing
        self._tidy_at = clock.monotonic() + TIDY
        self.agents: dict[tuple[str, int], AgentRecord] = {}
        """How each incarnation stands, by agent id and epoch; ended ones as long as they are kept."""
        self._read_up_to = listing.hub.watches.cursor

    @classmethod
    async def open(cls, listing: Listing) -> Follower:
        """Follow from now on."""
        hub = listing.hub
        watch = await hub.watches.open(hub.reader.pump)
        follower = cls(listing, watch)
        try:
            watch.pop()  # the listing that follows is newer
            follower.agents = {(agent.agent_id, agent.epoch): agent for agent in await listing.agents()}
        except BaseException:
            follower.close()
            raise
        return follower

    async def next(self, timeout: float | None) -> list[AgentChange]:
        """See :meth:`Following.next`."""
        now = clock.monotonic()
        if now >= self._tidy_at:
            self._tidy_at = now + TIDY
            self._tidy()
        return await super().next(timeout)

    async def _take(self, entries: Sequence[Any]) -> None:
        await self._apply(parse(entries))

    async def _apply(self, entries: list[Entry]) -> None:
        if self._read_up_to:
            entries = [entry for entry in entries if is_behind(entry.id, self._read_up_to)]
        if not entries:
            return
        members = dict.fromkeys(f"{entry.agent_id}#{entry.epoch}" for entry in entries)
        records = await self._listing.records(list(members))
        self._read_up_to = entries[-1].id
        last = {f"{entry.agent_id}#{entry.epoch}": entry for entry in entries}
        for entry in entries:
            member = f"{entry.agent_id}#{entry.epoch}"
            try:
                kind = ChangeKind(entry.kind)
            except ValueError:
                continue  # of a later version
            if kind is ChangeKind.UPDATED and last[member] is not entry:
                continue
            record = self._take_in(kind, entry, records.get(member))
            if record is not None:
                self._untold.append(AgentChange(kind=kind, at=entry.at, agent=record))

    def _take_in(self, kind: ChangeKind, entry: Entry, record: AgentRecord | None) -> AgentRecord | None:
        """Return how the agent stood then, or ``None`` if this is no news."""
        key = entry.agent_id, int(entry.epoch)
        known = self.agents.get(key)
        if known is not None and known.ended_at is not None:
            return None  # told already
        then: AgentRecord | None
        if kind in _ENDS:
            then = _ended(kind, entry, known or _bare(entry)) if record is None else record
            if then.ended_at is None:
                return None  # forged: the store itself says that it lives
        else:
            then = _then(kind, entry, record or known or _bare(entry), known)
        if then is not None:
            self.agents[key] = then
        if kind is ChangeKind.FENCED:
            del self.agents[key]
        return then

    def _tidy(self) -> None:
        """Forget whom the listing has forgotten: the ended after their time, and incarnations that others followed."""
        now = self._listing.hub.server_ms() / 1000
        newest = dict(sorted(self.agents))
        self.agents = {
            (agent_id, epoch): agent
            for (agent_id, epoch), agent in self.agents.items()
            if newest[agent_id] == epoch and (agent.kept_until is None or agent.kept_until > now)
        }

    async def _catch_up(self) -> None:
        listing, timeline = self._listing, self._listing.hub.keys.timeline
        (newest,) = await listing.ask([("XREVRANGE", timeline, "+", "-", "COUNT", 1)])
        last = newest[0][0].decode() if isinstance(newest, list) and newest else ""
        # A stream that was made anew after the clock was set back begins with smaller ids.
        goes_on = bool(self._read_up_to and last) and not is_behind(self._read_up_to, last)
        while goes_on:
            (missed,) = await listing.ask([("XRANGE", timeline, f"({self._read_up_to}", "+", "COUNT", _CHUNK)])
            if not missed:
                break
            await self._apply(parse(missed))
            self._read_up_to = missed[-1][0].decode()
        if not goes_on:
            self._read_up_to = last
        await self._compare(is_complete=goes_on)

    async def _compare(self, *, is_complete: bool) -> None:
        """Find what else has changed; ``is_complete`` is whether an end that was not told yet is still to be read."""
        listed = await self._listing.agents()
        now = self._listing.hub.server_ms() / 1000
        known, self.agents = self.agents, {(agent.agent_id, agent.epoch): agent for agent in listed}
        for key, agent in self.agents.items():
            kind = _difference(known.get(key), agent)
            if kind is not None:
                self._untold.append(AgentChange(kind=kind, at=agent.ended_at or now, agent=agent))
        gone = {key: agent for key, agent in known.items() if key not in self.agents and agent.ended_at is None}
        if is_complete:
            self.agents |= gone
        else:
            lost = (evolve(agent, status=AgentStatus.LOST, ended_at=now) for agent in gone.values())
            self._untold += [AgentChange(kind=ChangeKind.LOST, at=now, agent=agent) for agent in lost]


def _ended(kind: ChangeKind, entry: Entry, known: AgentRecord) -> AgentRecord:
    """Return how an incarnation ended of which the store has nothing any more but this entry."""
    said = entry.fields.get(b"status", b"").decode(errors="replace")
    status = next((status for status in AgentStatus if status == said), _ENDS[kind])
    # What was last known of it may be older than what it last said.
    return evolve(known, status=status, ended_at=entry.at, **records.last_words(entry.fields, entry.at))


def _then(kind: ChangeKind, entry: Entry, record: AgentRecord, known: AgentRecord | None) -> AgentRecord | None:
    """Return how an agent stood when it lived, whatever has come since; ``None`` for what is no news."""
    was_stalled = known is not None and known.is_stalled
    if record.ended_at is not None:
        if kind is ChangeKind.UPDATED:
            return None  # its end follows
        status = AgentStatus.STARTING if kind is ChangeKind.JOINED else AgentStatus.RUNNING
        record = evolve(record, status=status, ended_at=None, error=None, exit_code=None)
    if kind is ChangeKind.JOINED:
        return evolve(record, stalled_at=None) if known is None else None
    if kind is ChangeKind.RESUMED:
        return evolve(record, stalled_at=None) if was_stalled or known is None else None
    stalled_at = record.stalled_at or entry.at
    if kind is ChangeKind.STALLED:
        return None if was_stalled else evolve(record, stalled_at=stalled_at)
    return evolve(record, stalled_at=stalled_at if was_stalled else None)


def _bare(entry: Entry) -> AgentRecord:
    """Return what an entry itself tells of an incarnation of which nothing else is known."""
    return AgentRecord(agent_id=entry.agent_id, epoch=int(entry.epoch), status=AgentStatus.STARTING)


def _difference(before: AgentRecord | None, after: AgentRecord) -> ChangeKind | None:
    """Return what must have happened, seen from outside; ``None`` for nothing."""
    if before is None and after.ended_at is None:
        return ChangeKind.JOINED
    if after.ended_at is not None:
        if before is not None and before.ended_at is not None:
            return None
        return ChangeKind.LOST if after.status is AgentStatus.LOST else ChangeKind.ENDED
    assert before is not None
    if before.is_stalled != after.is_stalled:
        return ChangeKind.STALLED if after.is_stalled else ChangeKind.RESUMED
    return ChangeKind.UPDATED if _said(before) != _said(after) else None


def _said(agent: AgentRecord) -> tuple[object, ...]:
    return agent.status, agent.stage, agent.attempt, agent.progress, agent.note, agent.cost, agent.abort
