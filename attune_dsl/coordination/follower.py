"""Changes of agents as they happen: the timeline's entries, and what they mean for the records."""

from __future__ import annotations

from typing import Final

from attrs import evolve

from attune_dsl import clock
from attune_dsl.coordination.listing import Listing
from attune_dsl.exceptions import StoreUnavailable
from attune_dsl.hub.watch import Entry, Watch
from attune_dsl.model import AgentChange, AgentRecord, AgentStatus, ChangeKind

TIDY: Final = 60.0
"""Seconds between two times at which ended agents are forgotten."""

_ENDS = {ChangeKind.LOST: AgentStatus.LOST, ChangeKind.FENCED: AgentStatus.ABORTED}
"""The status of an incarnation whose record another one has replaced already."""


class Follower:
    """Keeps the records of a namespace's agents up to date. Its methods are neutral coroutines.

    What was missed, because the link was down or too much came, is found by comparing with a new listing. So each loss
    is told once, whether it was seen as it happened or only afterwards.
    """

    def __init__(self, listing: Listing, watch: Watch) -> None:
        self._listing = listing
        self._watch = watch
        self._tidy_at = clock.monotonic() + TIDY
        self.agents: dict[tuple[str, int], AgentRecord] = {}
        """How each incarnation stands, by agent id and epoch; ended ones as long as they are kept."""

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

    def close(self) -> None:
        """Follow no more."""
        self._listing.hub.watches.close(self._watch)

    async def next(self, timeout: float | None) -> list[AgentChange]:
        """Return what has changed, as soon as something has; nothing after ``timeout`` seconds.

        Raises :class:`StoreUnavailable` while the store is away for longer than the grace time.
        """
        now = clock.monotonic()
        deadline = None if timeout is None else now + timeout
        if now >= self._tidy_at:
            self._tidy_at = now + TIDY
            self._tidy()
        while True:
            entries, has_gap = self._watch.pop()
            try:
                changes = await self._compare() if has_gap else await self._apply(entries)
            except StoreUnavailable:
                self._watch.has_gap = True
                raise
            if changes or (deadline is not None and clock.monotonic() >= deadline):
                return changes
            await self._watch.arrival(deadline)
            link = self._listing.hub.link
            if link.is_given_up:
                self._watch.has_gap = True
                raise StoreUnavailable(f"the store {self._listing.hub.server.label} cannot be reached: {link.error}")

    async def _apply(self, entries: list[Entry]) -> list[AgentChange]:
        if not entries:
            return []
        members = dict.fromkeys(f"{entry.agent_id}#{entry.epoch}" for entry in entries)
        records = await self._listing.records(list(members))
        last = {f"{entry.agent_id}#{entry.epoch}": entry for entry in entries}
        changes = []
        for entry in entries:
            member = f"{entry.agent_id}#{entry.epoch}"
            try:
                kind = ChangeKind(entry.kind)
            except ValueError:
                continue  # of a later version
            if kind is ChangeKind.UPDATED and last[member] is not entry:
                continue
            change = self._change(kind, entry, records.get(member))
            if change is not None:
                changes.append(change)
        return changes

    def _change(self, kind: ChangeKind, entry: Entry, record: AgentRecord | None) -> AgentChange | None:
        key = entry.agent_id, int(entry.epoch)
        known = self.agents.get(key)
        if record is None:
            if known is None:
                return None
            record = evolve(known, status=_ENDS.get(kind, known.status), ended_at=entry.at if kind in _ENDS else None)
        if known is not None and known.ended_at is not None:
            return None  # told already
        if record.ended_at is not None and kind not in {*_ENDS, ChangeKind.ENDED}:
            if kind is not ChangeKind.JOINED:
                return None  # its end follows
            record = evolve(record, status=AgentStatus.STARTING, ended_at=None, error=None, exit_code=None)
        self.agents[key] = record
        if kind is ChangeKind.FENCED:
            del self.agents[key]
        return AgentChange(kind=kind, at=entry.at, agent=record)

    def _tidy(self) -> None:
        """Forget whom the listing has forgotten: the ended after their time, and incarnations that others followed."""
        now = self._listing.hub.server_ms() / 1000
        newest = dict(sorted(self.agents))
        self.agents = {
            (agent_id, epoch): agent
            for (agent_id, epoch), agent in self.agents.items()
            if newest[agent_id] == epoch and (agent.kept_until is None or agent.kept_until > now)
        }

    async def _compare(self) -> list[AgentChange]:
        listed = await self._listing.agents()
        now = self._listing.hub.server_ms() / 1000
        known, self.agents = self.agents, {(agent.agent_id, agent.epoch): agent for agent in listed}
        kinds = ((_difference(known.get(key), agent), agent) for key, agent in self.agents.items())
        return [
            AgentChange(kind=kind, at=agent.ended_at or now, agent=agent) for kind, agent in kinds if kind is not None
        ]


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
    return agent.status, agent.stage, agent.attempt, agent.progress, agent.note, agent.cost
