"""The hub's reading half: one blocking read is always in flight, on the hub's inbox and on ``broadcast``."""

from __future__ import annotations

import threading
from typing import Any, Final, Protocol

from attune_dsl import clock
from attune_dsl.hub.aborts import Aborts
from attune_dsl.hub.barriers import Barriers
from attune_dsl.hub.blocks import Blocks
from attune_dsl.hub.entries import EntryReader
from attune_dsl.hub.mailbox import Entry
from attune_dsl.hub.member import Member
from attune_dsl.hub.parker import Parker
from attune_dsl.hub.pump import Pump
from attune_dsl.hub.sources import Sources
from attune_dsl.hub.watch import Watches
from attune_dsl.store import codec
from attune_dsl.store.connection import Connection, ConnectionLost, Reply, ReplyError, pack
from attune_dsl.store.keys import Keys
from attune_dsl.store.scripts import Command

BLOCK: Final = 10.0
"""Seconds after which a read without news returns and is asked again."""
SILENCE: Final = 12.0
"""Seconds without any answer after which the connection counts as dead: a half-open one never tells."""

TRIM: Final = 200
"""Entries read after which the inbox is trimmed with the next read; a burst would fill it before the next beat."""


class Owner(Protocol):
    """What the reader needs of its hub: whom to deliver to, and whom to tell."""

    keys: Keys
    members: dict[str, Member]

    @property
    def entries(self) -> EntryReader:
        """Reads stream entries."""

    def unattended(self) -> None:
        """Nobody reads any more: the hub's thread should, soon."""

    def lost(self, connection: Connection, error: ConnectionLost) -> None:
        """The connection broke."""

    def refresh(self, member: Member) -> None:
        """Read the member's mailbox in the store soon: what came through the inbox was incomplete."""

    def ask_again(self) -> None:
        """Ask the store about all that came through the inbox: it was incomplete."""

    def expel(self, member: Member, by: str) -> None:
        """Somebody else owns the member's id."""

    @property
    def watches(self) -> Watches:
        """Who follows the timeline."""

    @property
    def sources(self) -> Sources:
        """Whom the agents wait for."""

    @property
    def blocks(self) -> Blocks:
        """Who waits and does nothing else."""

    @property
    def aborts(self) -> Aborts:
        """Who was asked to stop."""

    @property
    def barriers(self) -> Barriers:
        """At which barriers the agents stand."""


class Reader:
    """Keeps the read in flight and hands each entry to its agent."""

    def __init__(self, owner: Owner, parker: Parker) -> None:
        self.pump = Pump(parker, self._on_reply, owner.lost, on_idle=owner.unattended, before_wait=self.ask)
        self._owner = owner
        self._keys = owner.keys
        self._entries = owner.entries
        self._watches = owner.watches
        self._asking = threading.Lock()
        self._owed = False
        self._untrimmed = 0
        self._connection: Connection | None = None
        self._inbox = ""
        self._cursors: tuple[str, ...] = ("", "")
        self._heard = 0.0

    @property
    def read_up_to(self) -> str:
        """The inbox entry up to which everything was handed on: it may be trimmed."""
        return self._cursors[0]

    @property
    def is_silent(self) -> bool:
        """Whether the connection has not answered for so long that it must be dead."""
        waiting = self._connection is not None and not self._owed
        return waiting and clock.monotonic() - self._heard > SILENCE

    def open(self, connection: Connection, link: str, inbox_id: str, broadcast_id: str, timeline_id: str) -> None:
        """Read from a new connection, behind these ids."""
        self._connection = connection
        self._inbox = self._keys.inbox(link)
        self._cursors = (inbox_id, broadcast_id)
        self._watches.reopen(timeline_id)
        self._owed = True
        self.ask()
        self.pump.attach(connection)

    def close(self) -> None:
        """Give the connection up."""
        self._connection = None
        self.pump.detach()

    def ask(self) -> None:
        """Put the next read in flight, if the last one was answered.

        Not done by who receives the answer, but by who next waits or writes, at the latest by the hub's thread: a wait
        that is answered returns without another system call.
        """
        if not self._owed:
            return
        with self._asking:
            connection = self._connection
            if not self._owed or connection is None:
                return
            self._owed = False
            self._heard = clock.monotonic()
            names: tuple[str, ...] = (self._inbox, self._keys.broadcast)
            cursors = self._cursors
            if timeline := self._watches.cursor:
                names, cursors = (*names, self._keys.timeline), (*cursors, timeline)
            commands: list[Command] = [("XREAD", "BLOCK", int(BLOCK * 1000), "STREAMS", *names, *cursors)]
            if self._untrimmed >= TRIM:
                self._untrimmed = 0
                commands.insert(0, ("XTRIM", self._inbox, "MINID", cursors[0]))
            try:
                connection.write(pack(commands))
            except ConnectionLost as error:
                lost = error
            else:
                return
        self._owner.lost(connection, lost)

    def _on_reply(self, reply: Reply) -> None:
        if isinstance(reply, ReplyError):
            raise ConnectionLost(f"the server refused to be read: {reply}")
        if isinstance(reply, int):
            return  # how many entries were trimmed
        inbox, broadcasts, events = self._split(reply)
        inbox_id, broadcast_id = self._cursors
        self._cursors = (
            inbox[-1][0].decode() if inbox else inbox_id,
            broadcasts[-1][0].decode() if broadcasts else broadcast_id,
        )
        self._owed = True
        self._untrimmed += len(inbox)
        if events:
            self._watches.read(events)
        if len(inbox) + len(broadcasts) > 1:
            self._hand_on_in_order(inbox, broadcasts)
            return
        for _, raw in inbox:
            self._hand_on_mail(self._entries.fields(raw))
        for _, raw in broadcasts:
            self._hand_on_broadcast(self._entries.fields(raw))

    def _split(self, reply: Reply) -> tuple[list[Any], list[Any], list[Any]]:
        """Return the entries of the inbox, the broadcasts and the timeline (a map in RESP3, pairs in RESP2)."""
        if not reply:
            return [], [], []
        streams = reply if isinstance(reply, dict) else dict(reply)
        keys = self._keys
        inbox, broadcasts = streams.get(self._inbox.encode(), []), streams.get(keys.broadcast.encode(), [])
        return inbox, broadcasts, streams.get(keys.timeline.encode(), [])

    def _hand_on_in_order(self, inbox: list[Any], broadcasts: list[Any]) -> None:
        arrived = [(self._entries.fields(raw), self._hand_on_mail) for _, raw in inbox]
        arrived += [(self._entries.fields(raw), self._hand_on_broadcast) for _, raw in broadcasts]
        for fields, hand_on in sorted(arrived, key=lambda pair: _order(pair[0])):
            hand_on(fields)

    def _hand_on_mail(self, fields: dict[bytes, bytes]) -> None:
        if b"agent" in fields:
            member = self._owner.members.get(fields[b"agent"].decode(errors="replace"))
            if member is not None:
                self._hand_on_to(member, fields)
        elif b"resync" in fields:
            for stale in list(self._owner.members.values()):
                if stale.profile.has_mailbox:
                    self._owner.refresh(stale)
            self._owner.ask_again()
            self._owner.blocks.tell_again(list(self._owner.members.values()))
        elif b"gone" in fields:
            self._owner.sources.ended(fields)
        elif b"here" in fields:
            self._owner.sources.began(fields)
        elif b"cycle" in fields or b"confirm" in fields:
            self._owner.blocks.told(fields)
        elif b"barrier" in fields:
            self._owner.barriers.told(fields)
        elif b"abort" in fields:
            self._owner.aborts.told(fields)
        elif b"fenced" in fields:
            self._fence(fields)
        elif b"nudge" not in fields:
            self._entries.skip("", fields, "an unknown kind of inbox entry")

    def _hand_on_to(self, member: Member, fields: dict[bytes, bytes]) -> None:
        if b"progress" in fields or b"did" in fields:
            try:
                _take_word(member, fields)
            except ValueError as error:
                self._entries.skip(member.agent_id, fields, str(error))
        elif not member.receives:
            return
        elif b"signal" not in fields:
            self._owner.refresh(member)
        else:
            self._deliver(member, self._entries.mail(member.agent_id, fields, member.died_at))

    def _fence(self, fields: dict[bytes, bytes]) -> None:
        member = self._owner.members.get(fields[b"fenced"].decode(errors="replace"))
        if member is not None and fields.get(b"epoch") == str(member.epoch).encode():
            self._owner.expel(member, fields.get(b"by", b"another owner").decode(errors="replace"))

    def _hand_on_broadcast(self, fields: dict[bytes, bytes]) -> None:
        for member in list(self._owner.members.values()):
            if not member.receives:
                continue
            self._deliver(member, self._entries.broadcast(member.agent_id, member.epoch, fields, member.died_at))

    def _deliver(self, member: Member, entry: Entry | None) -> None:
        if entry is None:
            return
        if entry.signal.order > self._entries.credible_order:
            self._owner.refresh(member)  # the store itself knows whether it is true
        else:
            member.mailbox.deliver(entry)


def _take_word(member: Member, fields: dict[bytes, bytes]) -> None:
    """Take in what a process says that acts for the agent. Raises ``ValueError`` for what makes no sense."""
    if b"did" in fields:
        member.doing.did(*codec.decode_words(fields[b"did"]))
    else:
        member.advance(*codec.decode_progress(fields[b"progress"]))


def _order(fields: dict[bytes, bytes]) -> int:
    """Return where an entry stands in the namespace's order; what has no number is handled first."""
    number = fields.get(b"head", b"").partition(b" ")[0]
    return int(number[:18]) if number.isdigit() else 0
