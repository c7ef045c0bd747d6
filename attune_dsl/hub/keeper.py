"""The hub's own thread: connects and reconnects, joins agents, beats, and sends what nobody waits for."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from attune_dsl import clock, log
from attune_dsl.exceptions import AttuneError
from attune_dsl.hub.beater import Beater
from attune_dsl.hub.connector import Connector
from attune_dsl.hub.drive import drive
from attune_dsl.store.connection import Connection, ConnectionLost
from attune_dsl.store.scripts import Witness

if TYPE_CHECKING:
    from attune_dsl.hub.hub import Hub
    from attune_dsl.hub.member import Member

_RETRY_FIRST: Final = 0.05
_RETRY_MOST: Final = 1.0
"""Seconds between attempts to reach a store that is away: 0.05, doubled up to 1."""


TICK: Final = 0.005
"""Seconds within which an idle agent's marks are sent; a busy one's travel with its next command."""
STATUS_LINGER: Final = 0.05
"""Seconds within which a stage boundary is published; boundaries in between are coalesced."""


_LOOK_CHUNK: Final = 500
"""Mailboxes that are looked at in one write: a beat behind ten thousand would not be answered in time."""


class Due:
    """A time at which the hub's thread has something to do; other threads ask for it.

    One that ``lingers`` stays on for another round as long as it is asked for, so that a busy process does not wake
    the thread again and again.
    """

    __slots__ = ("_asked", "_lingers", "_tell", "_within", "at")

    def __init__(self, within: float, tell: Callable[[float], None], *, lingers: bool) -> None:
        self._within = within
        self._tell = tell
        self._lingers = lingers
        self._asked = False
        self.at = math.inf

    def soon(self) -> None:
        """Ask for it ``within`` seconds."""
        self._asked = True
        if self.at == math.inf:
            self.at = due = clock.monotonic() + self._within
            self._tell(due)

    def is_due(self, now: float) -> bool:
        """Return whether it is time, and start over."""
        if now < self.at:
            return False
        self.at = math.inf
        asked, self._asked = self._asked, False
        if asked and self._lingers:
            self.at = now + self._within
        return True


class Keeper:
    """A thread that sleeps until something is due; other threads tell it what and when."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._connector = Connector(hub)
        self._beater = Beater(hub)
        self._lock = threading.Lock()
        self._marking: deque[Member] = deque()
        self.tick = Due(TICK, self._due_at, lingers=True)
        """When to send marks, and to read where nobody else does."""
        self.status = Due(STATUS_LINGER, self._due_at, lingers=False)
        """When to publish what agents do."""
        self._stall_at = math.inf
        self._stale: set[Member] = set()
        self._broken: list[tuple[Connection, ConnectionLost]] = []
        self._planned = 0.0
        self._retry_at = 0.0
        self._retry_pause = _RETRY_FIRST
        self._stopping = False
        self._thread = threading.Thread(target=self._main, name=f"attune-hub-{hub.id}", daemon=True)

    # From other threads

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Send what is left, close the link and end the thread; the hub's ``stopped`` tells when it has."""
        self._stopping = True
        self.wake()

    @property
    def is_current(self) -> bool:
        """Whether the caller is the hub's thread, which must not wait for a link that only it can make."""
        return threading.get_ident() == self._thread.ident

    def wake(self) -> None:
        """Have the thread look around."""
        self._hub.parker.wake()

    def marks_soon(self, member: Member) -> None:
        """Send the member's marks soon, should it have nothing else to tell the store before."""
        member.is_listed = True
        self._marking.append(member)
        self.tick.soon()

    def _due_at(self, due: float) -> None:
        """Something is due then: wake the thread if it means to sleep longer."""
        if due < self._planned:
            self.wake()

    def stall_at(self, due: float) -> None:
        """Look then whether an agent has made progress."""
        if due < self._stall_at:
            self._stall_at = due
            self._due_at(due)

    def newcomer(self, member: Member) -> None:
        """An agent has just joined."""
        self._beater.newcomer(member)
        self.stall_at(member.doing.stall_due)

    def look_for_lapse(self, within: float) -> None:
        """A lease may lapse in so many seconds of which the last beat could not tell."""
        due = clock.monotonic() + within
        if due < self._beater.next_look:
            self._beater.next_look = due
            self._due_at(due)

    def witness(self) -> Witness:
        """Return what this hub knows of times in which nobody beat."""
        return self._beater.witness()

    def look_at(self, member: Member) -> None:
        """Read the member's mailbox in the store, now."""
        with self._lock:
            self._stale.add(member)
        self.wake()

    def disconnected(self, connection: Connection, error: ConnectionLost) -> None:
        """A connection broke."""
        with self._lock:
            self._broken.append((connection, error))
        self.wake()

    # The thread

    def _main(self) -> None:
        while not self._stopping:
            try:
                self._step()
            except Exception as error:
                self._connector.lose(error)
                log.warning("hub.stumbled", namespace=self._hub.namespace, error=repr(error), exc_info=True)
                self._retry_later()
        try:
            self._finish()
        finally:
            self._hub.stopped.finish(None)

    def _step(self) -> None:
        hub = self._hub
        self._notice_loss()
        if not hub.link.up and clock.monotonic() >= self._retry_at:
            self._connect()
        if hub.link.up:
            self._connector.join_new()
            self._flush()
            self._look(self._pop_stale())
            if not self._beater.beat_if_due():
                self._connector.lose(ConnectionLost("a beat was not answered"))
        elif hub.link.was_tried:
            self._connector.admit_offline()
        if hub.link.is_given_up:
            hub.end_waits()
        self._connector.report()
        self._sleep()

    def _notice_loss(self) -> None:
        with self._lock:
            broken, self._broken = self._broken, []
        for connection, error in broken:
            if self._connector.uses(connection):
                self._connector.lose(error)
                self._retry_at = 0.0
        reader = self._hub.reader
        if reader.is_silent:
            # The answer may be here, and the loop that reads busy for so long.
            reader.pump.pump()
            reader.ask()
        if reader.is_silent:
            self._connector.lose(ConnectionLost("no answer to a read"))
        for pump in (self._hub.reader.pump, self._hub.commands.pump):
            pump.drop_closed_loops()

    def _connect(self) -> None:
        try:
            self._connector.connect()
        except (AttuneError, ConnectionLost, OSError) as error:
            self._connector.lose(error)
            self._retry_later()
            return
        self._retry_pause = _RETRY_FIRST
        self._beater.begin()
        # Those that came while this connected are joined by the next step.
        members = [member for member in list(self._hub.members.values()) if member.epoch]
        self._look(members)
        for member in members:
            self.stall_at(member.doing.stall_due)
            member.finish_joining(None)

    def _retry_later(self) -> None:
        self._retry_at = clock.monotonic() + self._retry_pause
        self._retry_pause = min(_RETRY_MOST, self._retry_pause * 2)

    def _flush(self, *, everything: bool = False) -> None:
        hub, now, requests = self._hub, clock.monotonic(), []
        if self.tick.is_due(now) or now >= hub.blocks.due or everything:
            hub.reader.ask()
            hub.reader.pump.attend()
            requests += hub.sources.pop_unasked()
            requests += hub.aborts.pop_unasked()
            requests += hub.barriers.pop_unasked()
            requests += hub.blocks.pop_untold()
            while self._marking:
                member = self._marking.popleft()
                member.is_listed = False
                requests += hub.unsaid(member)
        stalls = now >= self._stall_at
        if self.status.is_due(now) or stalls or everything:
            members = [member for member in list(hub.members.values()) if member.epoch and not member.gone]
            if stalls:
                self._stall_at = math.inf
            for member in members:
                requests += [*member.records(), *member.news()]
            if stalls:
                self.stall_at(min((member.doing.stall_due for member in members), default=math.inf))
        if requests:
            drive(hub.ask(requests))

    def _pop_stale(self) -> list[Member]:
        with self._lock:
            stale, self._stale = self._stale, set()
        return list(stale)

    def _look(self, members: Iterable[Member]) -> None:
        looked = [member for member in members if member.profile.has_mailbox and member.epoch]
        for start in range(0, len(looked), _LOOK_CHUNK):
            drive(self._hub.look(looked[start : start + _LOOK_CHUNK]))
            if not self._beater.beat_if_due():
                self._connector.lose(ConnectionLost("a beat was not answered"))
                return

    def _sleep(self) -> None:
        hub = self._hub
        self._planned = math.inf  # from here on whoever has something wakes the thread
        due = self._next_while_up() if hub.link.up else self._next_while_down()
        if self._stale or self._broken:
            due = 0.0
        self._planned = min(due, self._planned)
        ready = hub.parker.sleep(due - clock.monotonic())
        self._planned = 0.0
        for fd in ready:
            hub.reader.pump.ready(fd)

    def _next_while_up(self) -> float:
        return min(self._beater.due, self.tick.at, self.status.at, self._stall_at, self._hub.blocks.due)

    def _next_while_down(self) -> float:
        given_up = self._hub.link.patience()
        now = clock.monotonic()
        return min(self._retry_at, given_up) if given_up > now else self._retry_at

    def _finish(self) -> None:
        hub = self._hub
        if hub.link.up:
            self._flush(everything=True)
            self._connector.sign_off()
        self._connector.lose(ConnectionLost("the hub was closed"), expected=True)
        hub.commands.abandon()
        hub.end_waits()
        self._connector.admit_offline()
        hub.parker.close()
        hub.server.close()
