"""Making, losing and ending the link. Every connect is a rejoin under a fresh inbox name."""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Final

from attune_dsl import clock, log
from attune_dsl.exceptions import AgentIdTaken
from attune_dsl.hub.beater import Beater
from attune_dsl.hub.commands import Request
from attune_dsl.hub.drive import drive
from attune_dsl.hub.endings import Abort
from attune_dsl.hub.machine import has_ended
from attune_dsl.store import scripts
from attune_dsl.store.connection import Connection, ConnectionLost, ReplyError

if TYPE_CHECKING:
    from attune_dsl.hub.hub import Hub
    from attune_dsl.hub.member import Member

_JOIN_CHUNK: Final = 500
"""Agents that join in one write."""


class Connector:
    """Two connections, one for commands and one for the blocking read, made and lost together."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._connections: tuple[Connection, Connection] | None = None
        self._links = 0
        self._link = ""
        self._losses: deque[tuple[str, dict[str, str]]] = deque()

    def uses(self, connection: Connection) -> bool:
        """Whether the connection is one of the present two."""
        return self._connections is not None and connection in self._connections

    def connect(self) -> None:
        """Connect, join all agents again, and go on with what was unanswered.

        Raises :class:`StoreUnavailable`, :class:`StoreConfigError` or :class:`ConnectionLost`.
        """
        hub = self._hub
        hub.server.start()
        self._links += 1
        self._link = f"{hub.id}.{self._links}"
        with ExitStack() as stack:
            commands, reader = (stack.enter_context(closing(self._dial())) for _ in range(2))
            members = list(hub.members.values())
            cursors = self._introduce(commands, members)
            self._rejoin(commands, members)
            stack.pop_all()
        self._connections = commands, reader
        hub.commands.open(commands, self._link)
        hub.reader.open(reader, self._link, *cursors)
        hub.sources.restart()
        hub.barriers.ask_again(members)  # each join has told of an abort itself
        hub.blocks.restart(members)
        hub.link.came_up()
        hub.watches.wake()  # only now: until here, who waits for the store to come back finds it away
        log.debug("link.up", store=hub.server.label, namespace=hub.namespace, link=self._link)

    def _dial(self) -> Connection:
        return Connection(self._hub.server.url, f"attune-{self._hub.id}")

    def _introduce(self, commands: Connection, members: list[Member]) -> tuple[str, str, str]:
        """Load the scripts and open an inbox; return the ids behind which the hub reads."""
        hub = self._hub
        asked_at = clock.monotonic()
        opening = scripts.open_inbox(hub.keys, self._link, ttl_ms=Beater.hub_ttl_ms(members))
        policy = ("CONFIG", "GET", "maxmemory-policy")
        *loaded, policies, opened = commands.ask([*scripts.load_commands(), policy, opening])
        for reply in (*loaded, opened):
            if isinstance(reply, ReplyError):
                raise ConnectionLost(f"the store refused a script: {reply}")
        if self._links == 1:
            self._warn_of_eviction(policies)
        now, inbox_id, broadcast_id, timeline_id = opened
        hub.learn_server_time(now, asked_at)
        return inbox_id.decode(), broadcast_id.decode(), timeline_id.decode()

    def lose(self, error: Exception, *, expected: bool = False) -> None:
        """Give the present connections up, if there are any."""
        hub = self._hub
        connections, self._connections = self._connections, None
        hub.commands.close()
        hub.reader.close()
        if connections is not None:
            for connection in connections:
                if not connection.holders:
                    connection.close()
        if hub.link.up and not expected:
            self._losses.append(("link.lost", {"namespace": hub.namespace, "error": str(error)}))
        elif not hub.link.was_tried and not expected:
            self._losses.append(("store.unreachable", {"error": str(error)}))
        hub.link.went_down(error, expected=expected)

    def report(self) -> None:
        """Log what was lost: behind the attempt to connect again, because the first log line imports much."""
        while self._losses:
            event, fields = self._losses.popleft()
            log.warning(event, store=self._hub.server.label, **fields)

    def join_new(self) -> None:
        """Join the agents that came since the last look."""
        new = [member for member in list(self._hub.members.values()) if member.is_new and not member.is_leaving]
        for start in range(0, len(new), _JOIN_CHUNK):
            chunk = new[start : start + _JOIN_CHUNK]
            before = [member.epoch for member in chunk]
            requests = [self._join_request(member) for member in chunk]
            drive(self._hub.ask(requests))
            joined = [
                member
                for member, request, known in zip(chunk, requests, before, strict=True)
                if self._accept(member, request.value, known)
            ]
            drive(self._hub.look([member for member in joined if member.profile.has_mailbox]))
            self._hub.blocks.tell_again(joined)  # one that was lost may be waiting
            self._hub.barriers.ask_again(joined)
            for member in joined:
                self._hub.keeper.newcomer(member)
                member.finish_joining(None)

    def admit_offline(self) -> None:
        """There is no store: agents go on without one, and join when it appears."""
        for member in list(self._hub.members.values()):
            member.finish_joining(None)

    def sign_off(self) -> None:
        """Remove the hub's own keys; agents that are still here keep their leases until these lapse."""
        keys = self._hub.keys
        drive(self._hub.ask([self._hub.request(lambda _: ("DEL", keys.inbox(self._link)))]))

    def _join_request(self, member: Member) -> Request:
        request = self._hub.request(lambda _: self._command(member))
        # As soon as it is read: an end that is on its way behind it is refused, and sent again for the new owner.
        request.then = lambda reply: self._own(member, reply)
        return request

    def _command(self, member: Member) -> scripts.Command:
        return member.join_command(self._link, self._hub.id)

    def _rejoin(self, commands: Connection, members: list[Member]) -> None:
        for start in range(0, len(members), _JOIN_CHUNK):
            # One that is about to leave stays who it is: its end may be stored already, and would be revived.
            chunk = [m for m in members[start : start + _JOIN_CHUNK] if not (m.gone or m.is_leaving)]
            for member in chunk:
                member.mailbox.restart()
            for member, reply in zip(chunk, commands.ask([self._command(m) for m in chunk]), strict=True):
                known = member.epoch
                self._own(member, reply)
                self._accept(member, reply, known)

    def _own(self, member: Member, reply: Any) -> None:
        """Make the member the owner of its id, if the answer to its join says so."""
        if isinstance(reply, list) and reply[0] == b"joined":
            member.accept(int(reply[1]), self._link, int(reply[3]))
            abort = Abort.read(reply[4], reply[5])
            if abort is not None:
                member.abort(abort)

    def _accept(self, member: Member, reply: Any, known: int) -> bool:
        """Take in the answer to a join; return whether the member, of epoch ``known`` until then, is the id's owner."""
        if isinstance(reply, list) and reply[0] == b"joined":
            if known not in (0, member.epoch):
                log.warning("agent.was_lost", agent_id=member.agent_id, advice="its ttl is too short, or it was paused")
            return True
        if isinstance(reply, list):
            self._refused(member, *((part or b"").decode() for part in reply[1:]))
        elif isinstance(reply, ReplyError):
            log.warning("agent.refused", agent_id=member.agent_id, error=str(reply))
            member.finish_joining(None)  # it goes on as without a store
        return False

    def _refused(self, member: Member, host: str, pid: str, machine: str, epoch: str) -> None:
        """The id has another owner. One on this machine whose process is gone gives way at the next attempt."""
        if not member.epoch and not member.dead_owner and has_ended(machine, pid):
            member.dead_owner = f"#{epoch}"
            self._hub.keeper.wake()
        elif not member.finish_joining(AgentIdTaken(member.agent_id, host, int(pid or 0))):
            self._hub.expel(member, f"pid {pid} on {host}")

    def _warn_of_eviction(self, reply: Any) -> None:
        """Warn when the server may throw keys away that nobody has read."""
        if isinstance(reply, ReplyError) or not reply:
            return
        policy = reply.get(b"maxmemory-policy") if isinstance(reply, dict) else reply[-1]
        if policy and policy != b"noeviction":
            log.warning(
                "store.may_evict",
                store=self._hub.server.label,
                policy=policy.decode(),
                advice="set maxmemory-policy to noeviction, or signals may disappear before they are read",
            )
