"""A process's one link to the store, whatever number of agents live in the process."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

from attune_dsl import clock, log
from attune_dsl.exceptions import AgentIdTaken, StoreUnavailable
from attune_dsl.hub.aborts import Aborts
from attune_dsl.hub.barriers import Barriers
from attune_dsl.hub.blocks import Blocks
from attune_dsl.hub.commands import Commands, Request
from attune_dsl.hub.drive import Ticket
from attune_dsl.hub.entries import EntryReader
from attune_dsl.hub.keeper import Keeper
from attune_dsl.hub.link import SLEEPING, LinkState
from attune_dsl.hub.mailbox import Horizon
from attune_dsl.hub.member import Member, Profile
from attune_dsl.hub.parker import parker
from attune_dsl.hub.reader import Reader
from attune_dsl.hub.sources import Sources
from attune_dsl.hub.watch import Watches
from attune_dsl.model import AgentStatus
from attune_dsl.store import scripts
from attune_dsl.store.connection import Connection, ConnectionLost, Reply, ReplyError
from attune_dsl.store.keys import Keys
from attune_dsl.store.scripts import Command
from attune_dsl.store.server import Server

JOIN_PATIENCE: Final = 20.0
"""Seconds that a join waits for the first connection: an embedded server may load a large append-only file."""


class Hub:
    """Members, commands and reader over one link; a :class:`Keeper` thread connects, beats and flushes.

    Made by :func:`attune_dsl.hub.registry.open_hub`. An unreachable store raises nothing: calls come back unconfirmed.
    """

    def __init__(self, server: Server, namespace: str) -> None:
        self.id: Final = uuid.uuid4().hex[:12]
        self.server: Final = server
        self.namespace: Final = namespace
        self.keys = Keys(namespace)
        self.link: Final = LinkState()
        self.is_foreign = False
        """Whether this is a copy in a forked child: the link belongs to the parent and must not be touched."""
        self.stopped: Final[Ticket[None]] = Ticket(SLEEPING)
        self.members: dict[str, Member] = {}
        self.entries: Final = EntryReader()
        self.parker: Final = parker()
        self.watches: Final = Watches(self)
        self.sources: Final = Sources(self)
        self.aborts: Final = Aborts(self)
        self.barriers: Final = Barriers(self)
        self.blocks: Final = Blocks(self)
        self.keeper: Final = Keeper(self)
        self.reader: Final = Reader(self, self.parker)
        self.commands: Final = Commands(self.parker, self.lost, after_write=self.reader.ask, lane=f"{self.id}.1")
        self._server_offset_ms = clock.wall() * 1000 - clock.monotonic() * 1000
        self._members_lock = threading.Lock()

    # The clock of the store

    def server_ms(self) -> float:
        """The server's time in milliseconds; never behind it, ahead by at most one round trip."""
        return clock.monotonic() * 1000 + self._server_offset_ms

    def learn_server_time(self, now: bytes, asked_at: float) -> float:
        """Take in the server's time (ms) from an answer to a question of ``asked_at`` (:func:`clock.monotonic`).

        Returns by how much it differs from what was thought, in ms.
        """
        before = self._server_offset_ms
        self._server_offset_ms = int(now) + 1 - asked_at * 1000  # it counts whole milliseconds only
        return self._server_offset_ms - before

    def moment_of(self, server_ms: float) -> float:
        """Return when the server's clock will have passed a time, by :func:`clock.monotonic`."""
        return (server_ms - self._server_offset_ms) / 1000 + 0.002  # it may be ahead by a round trip

    # Members

    async def join(self, profile: Profile) -> Member:
        """Make an agent of this process. Without a store it is a member all the same, and joins when one appears.

        Raises :class:`AgentIdTaken` if the id has a live owner.
        """
        with self._members_lock:
            present = self.members.get(profile.agent_id)
            if present is not None and not present.gone:
                if not profile.takeover:
                    raise AgentIdTaken(profile.agent_id, str(profile.fields["host"]), int(profile.fields["pid"]))
                self.expel(present, profile.where)
            member = self.members[profile.agent_id] = Member(self, profile, clock.monotonic() + JOIN_PATIENCE)
        self.keeper.wake()
        try:
            await member.joining
            if member.joining.value is not None:
                raise member.joining.value
        except BaseException:
            self._forget(member)
            raise
        return member

    async def leave(self, member: Member, status: AgentStatus, error: str | None, exit_code: int | None = None) -> bool:
        """End an agent with its final status; return whether the store has confirmed it."""
        try:
            if self.is_foreign or member.gone or not member.epoch:
                return False
            member.is_leaving = True
            owner, reply = "", None
            while owner != member.owner and reply in {None, b"fenced"}:  # it may be just about to join again
                owner = member.owner
                reply = await self.ask([*self.unsaid(member), member.leave_request(status, error, exit_code)])
            if reply == b"fenced":  # it stood still until now: no beat has told it
                member.was_lost = True
                await self._find_successor(member)
            return bool(reply == b"left")
        finally:
            self._forget(member)

    async def _find_successor(self, member: Member) -> None:
        """Find out whether somebody else has the id, and if so who."""
        found = await self.ask(
            [self.request(lambda _: ("HMGET", self.keys.agent(member.agent_id), "epoch", "host", "pid"))]
        )
        epoch, host, pid = ((part or b"").decode(errors="replace") for part in found or (b"", b"", b""))
        if epoch not in {"", str(member.epoch)}:
            self.expel(member, f"pid {pid} on {host}")

    def _forget(self, member: Member) -> None:
        """The member has left, or was not let in; who still waits for its mail waits in vain."""
        with self._members_lock:
            if self.members.get(member.agent_id) is member:
                del self.members[member.agent_id]
        member.gone = member.gone or f"the agent {member.agent_id!r} has left"
        member.end_waits()

    def expel(self, member: Member, by: str) -> None:
        """Somebody else owns the member's id now, and ``by`` says who: it is no agent any more."""
        if member.replaced.happen(f"the agent id {member.agent_id!r} was taken over by {by}"):
            log.warning("agent.replaced", agent_id=member.agent_id, by=by)

    def lease_lost(self, member: Member) -> None:
        """The store does not know the member's lease any more: it was declared lost. Let it join again."""
        member.is_new = True
        if not member.is_leaving:
            self.keeper.wake()

    def ask_again(self) -> None:
        """See :class:`attune_dsl.hub.reader.Owner`."""
        self.sources.restart()
        self.aborts.restart()
        self.barriers.ask_again(list(self.members.values()))

    def refresh(self, member: Member) -> None:
        """See :class:`attune_dsl.hub.reader.Owner`."""
        member.mailbox.lack()
        self.keeper.look_at(member)

    async def look(self, members: Sequence[Member], *more: Request) -> bool:
        """Read what is new in the members' mailboxes in the store, after telling it what they took.

        ``more`` are requests to send along. What could not be read is read again with the next beat. Returns whether
        the last mailbox was read.
        """
        looks = [self._look_request(member) for member in members]
        told = [request for member in members for request in self.unsaid(member)]
        try:
            return await self.ask([*told, *more, *looks]) is not None
        except BaseException:
            for member in members:
                self.refresh(member)  # somebody has to look, or copies stay aside
            raise

    def _look_request(self, member: Member) -> Request:
        horizon, asked_at = Horizon(0, 0, 0), 0.0

        def render(_: Request) -> Command:
            nonlocal horizon, asked_at
            # Here, and not before: what is sent again over another link has to look for all that this one lacks.
            horizon, asked_at = member.mailbox.hold(), clock.monotonic()
            return scripts.look(self.keys, member.agent_id, after_mail=horizon.mail, after_broadcast=horizon.broadcast)

        def merge(reply: Reply) -> None:
            if isinstance(reply, list):
                self.learn_server_time(reply[0], asked_at)
                found = self.entries.look(reply, member.agent_id, member.epoch, member.died_at)
                member.mailbox.merge(found, horizon)

        request = self.request(render)
        request.then = merge
        return request

    # Requests

    def request(self, render: Callable[[Request], Command], *, numbered: bool = False, keep: bool = False) -> Request:
        """See :class:`attune_dsl.hub.member.Outlet`."""
        return self.commands.request(render, numbered=numbered, keep=keep)

    def unsaid(self, member: Member) -> list[Request]:
        """Return what the member has to tell the store first; while there is none only what nothing may overtake."""
        return [*self.blocks.unsaid(member), *member.unsaid()] if self.link.up else member.notes()

    async def ask(self, requests: Sequence[Request]) -> Any:
        """Send requests in one write and wait for all replies, within the grace time.

        Returns the last one's reply; ``None`` if it did not come in time or was an error.
        """
        if not requests:
            return None
        self.post(requests)
        return await self.settle(requests)

    def post(self, requests: Sequence[Request]) -> None:
        """Send requests in one write, for :meth:`settle` to wait for their replies; in a forked child send nothing."""
        if self.is_foreign:
            return
        if self.keeper.is_current:
            for request in requests:
                request.fleeting = not request.keep
        requests[-1].deadline = self.link.patience()
        self.commands.submit(requests)

    async def settle(self, requests: Sequence[Request]) -> Any:
        """See :meth:`ask`."""
        if self.is_foreign:
            return None
        last = requests[-1]
        try:
            await last
        finally:
            if not last.done:
                self.commands.give_up(requests)
        for request in requests:
            if isinstance(request.value, ReplyError) and not request.fleeting:
                log.warning("store.refused", namespace=self.namespace, error=str(request.value))
        return None if isinstance(last.value, ReplyError) else last.value

    def marks_soon(self, member: Member) -> None:
        """See :class:`attune_dsl.hub.member.Outlet`."""
        if not self.is_foreign:
            self.keeper.marks_soon(member)

    def status_soon(self) -> None:
        """See :class:`attune_dsl.hub.member.Outlet`."""
        if not self.is_foreign:
            self.keeper.status.soon()

    def stall_at(self, due: float) -> None:
        """See :class:`attune_dsl.hub.doing.Listener`."""
        if not self.is_foreign:
            self.keeper.stall_at(due)

    # The link

    def unattended(self) -> None:
        """See :class:`attune_dsl.hub.reader.Owner`."""
        self.keeper.tick.soon()

    def lost(self, connection: Connection, error: ConnectionLost) -> None:
        """A connection broke; whoever noticed calls this. The keeper makes a new one."""
        self.commands.drop_fleeting()
        self.keeper.disconnected(connection, error)

    def end_waits(self) -> None:
        """Wake all who wait: the store is away."""
        for member in list(self.members.values()):
            member.end_waits()
        self.watches.wake()

    async def require_store(self) -> None:
        """Wait until it is known whether there is a store; raise :class:`StoreUnavailable` if there is none."""
        await self.link.settle(JOIN_PATIENCE)
        if not self.link.up:
            raise StoreUnavailable(f"the store {self.server.label} cannot be reached: {self.link.error}")
