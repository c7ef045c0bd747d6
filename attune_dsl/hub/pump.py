"""One socket, read by whoever waits for something that it will bring.

There are three kinds of readers, and each read happens under one lock:

- a *leader*: one blocking thread polls the socket itself; the others sleep and one of them is woken to lead when the
  leader leaves;
- event loops, through ``add_reader``, once a task of theirs has waited here;
- the hub's own thread, parked on the socket, when there is neither.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any

from attune_dsl.hub.drive import Ticket, running_loop
from attune_dsl.hub.parker import Parker, Waker
from attune_dsl.store.connection import Connection, ConnectionLost, Reply

if TYPE_CHECKING:
    import asyncio


class Pump:
    """Brings replies from a connection to ``on_reply``; outlives its connections."""

    def __init__(
        self,
        parker: Parker,
        on_reply: Callable[[Reply], None],
        on_lost: Callable[[Connection, ConnectionLost], None],
        *,
        on_idle: Callable[[], None] | None = None,
        before_wait: Callable[[], None] | None = None,
    ) -> None:
        """Make a pump without a connection.

        ``on_idle`` is told when nobody reads any more; :meth:`attend` then lets the hub's thread do it. Without it
        the socket is read only while somebody waits. ``before_wait`` is called before a thread blocks on the socket,
        and after a loop has read it.
        """
        self._parker = parker
        self._on_reply = on_reply
        self._on_lost = on_lost
        self._on_idle = on_idle
        self._before_wait = before_wait
        self._is_armed = False
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._connection: Connection | None = None
        self._leader: Ticket[Any] | None = None
        self._led: Connection | None = None
        self._leading_thread = 0
        self._waker = Waker()
        self._sleepers: dict[Ticket[Any], None] = {}
        self._loops: dict[asyncio.AbstractEventLoop, int] = {}

    def attach(self, connection: Connection) -> None:
        """Read from ``connection`` from now on."""
        with self._lock:
            self._connection = connection
            loops = list(self._loops)
        for loop in loops:
            self._on_loop(loop, self._add_reader, loop)
        self._hand_over()

    def detach(self, broken: Connection | None = None) -> None:
        """Stop reading; who blocks on the socket looks around. The socket is closed once nobody polls it.

        With ``broken`` only if that is still the connection.
        """
        with self._lock:
            connection = self._connection
            if connection is None or (broken is not None and broken is not connection):
                return
            self._connection = None
            loops = list(self._loops)
            # A leader that is slow may still hold the connection before this one, which it will release.
            connection.holders = len(loops) + (self._leader is not None and self._led is connection)
            self._is_armed = False
            self._parker.forget(connection.fd)  # before the leader, who needs the lock for that, can close it
        connection.break_off()
        self._waker.wake()
        for loop in loops:
            self._on_loop(loop, self._remove_reader, loop, connection)
        if not connection.holders:
            connection.close()

    def _release(self, connection: Connection) -> None:
        """Close a detached connection when the last one who polls it lets go."""
        with self._lock:
            connection.holders -= 1
            last = connection.holders <= 0
        if last:
            connection.close()

    def pump(self) -> None:
        """Read what has arrived and hand it on; never blocks."""
        with self._reading:
            connection = self._connection
            if connection is None:
                return
            try:
                for reply in connection.read():
                    self._on_reply(reply)
                return
            except ConnectionLost as error:
                lost = error
            except BaseException:
                # A Ctrl-C, say. What was read and not handed on would shift all later answers: start afresh.
                self._lose(connection, ConnectionLost("the reading was interrupted"))
                raise
        self._lose(connection, lost)

    def _lose(self, connection: Connection, error: ConnectionLost) -> None:
        self.detach(connection)
        self._on_lost(connection, error)

    def ready(self, fd: int) -> bool:
        """Read if ``fd`` is this pump's socket (the hub's thread found it readable); return whether it was."""
        connection = self._connection
        if connection is None or connection.fd != fd:
            return False
        self._is_armed = False
        self.pump()
        if self._before_wait is not None:
            self._before_wait()
        self._hand_over()
        self.attend()
        return True

    def attend(self) -> None:
        """Have the hub's thread read from now on, unless somebody else does."""
        with self._lock:
            connection = self._connection
            if connection is None or self._leader is not None or self._loops or self._is_armed:
                return
            self._is_armed = True
            self._parker.arm(connection.fd)

    def pump_on_loop(self) -> None:
        """Read on a loop; what is owed to the server is written once the tasks that were woken have had their turn."""
        self.pump()
        loop = running_loop()
        if self._before_wait is not None and loop is not None:
            loop.call_soon(self._before_wait)

    def block(self, ticket: Ticket[Any]) -> None:
        """See :class:`attune_dsl.hub.drive.Source`."""
        owes = False  # it leads, or may have been woken to lead just when it had no more need to
        try:
            while not ticket.done:
                remaining = ticket.remaining()
                if remaining is not None and remaining <= 0:
                    break
                owes = True  # before, not after: a Ctrl-C may come between any two steps
                connection = self._lead(ticket)
                if connection is None:
                    self._sleep(ticket)
                    continue
                self._read_for(ticket, connection)
                self._resign(ticket)
                owes = False
        finally:
            if owes:
                with self._lock:
                    self._sleepers.pop(ticket, None)
                self._resign(ticket)

    def _sleep(self, ticket: Ticket[Any]) -> None:
        ticket.sleep()
        with self._lock:
            self._sleepers.pop(ticket, None)

    def _lead(self, ticket: Ticket[Any]) -> Connection | None:
        with self._lock:
            if self._leader is not None or self._connection is None:
                self._sleepers[ticket] = None
                return None
            self._leader, self._led = ticket, self._connection
            self._leading_thread = get_ident()
            self._disarm()
            return self._connection

    def _disarm(self) -> None:
        if self._is_armed and self._connection is not None:
            self._is_armed = False
            self._parker.disarm(self._connection.fd)

    def _wake_leader(self) -> None:
        if get_ident() != self._leading_thread:
            self._waker.wake()

    def _read_for(self, ticket: Ticket[Any], connection: Connection) -> None:
        ticket.wake = self._wake_leader
        while not ticket.done and self._connection is connection:
            remaining = ticket.remaining()
            if remaining is not None and remaining <= 0:
                return
            if self._before_wait is not None:
                self._before_wait()
            connection.wait(remaining, self._waker.fd)
            self.pump()

    def _resign(self, ticket: Ticket[Any]) -> None:
        """Let somebody else read. One that was interrupted does this once more, or without having led."""
        if self._leader is ticket:
            ticket.wake = None
            self._waker.clear()
            with self._lock:
                self._leader, led = None, self._led
                detached = self._connection is not led  # in one step: detach() counts the leader as a holder
            if detached and led is not None:
                self._release(led)
        self._hand_over()

    def _hand_over(self) -> None:
        """Give the reading to a sleeping thread, or say that nobody reads."""
        if self._sleepers:
            with self._lock:
                if self._leader is not None or self._connection is None:
                    return
                for sleeper in self._sleepers:
                    if not sleeper.done:
                        sleeper.nudge()
                        return
        if self._on_idle is not None:
            self._on_idle()

    # Event loops

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """See :class:`attune_dsl.hub.drive.Source`."""
        if loop in self._loops:
            return
        with self._lock:
            self._loops[loop] = -1
            self._disarm()
        self._add_reader(loop)

    def unwatch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop reading from ``loop``: nothing in it waits any more, or it was closed."""
        with self._lock:
            fd = self._loops.pop(loop, None)
        if fd is not None and fd >= 0 and not loop.is_closed():
            self._on_loop(loop, loop.remove_reader, fd)
        self._hand_over()

    def drop_closed_loops(self) -> None:
        """Forget loops that ended without saying so."""
        for loop in list(self._loops):
            if loop.is_closed():
                self.unwatch(loop)

    def _add_reader(self, loop: asyncio.AbstractEventLoop) -> None:
        connection = self._connection
        if connection is not None and loop in self._loops and not loop.is_closed():
            self._loops[loop] = connection.fd
            loop.add_reader(connection.fd, self.pump_on_loop)

    def _remove_reader(self, loop: asyncio.AbstractEventLoop, connection: Connection) -> None:
        if self._loops.get(loop) == connection.fd:
            self._loops[loop] = -1
        if not loop.is_closed():
            loop.remove_reader(connection.fd)
            loop.remove_writer(connection.fd)
        self._release(connection)

    def drain_soon(self) -> None:
        """Have the running loop send what the socket did not take; a blocking thread does that while it waits."""
        loop, connection = running_loop(), self._connection
        if loop is not None and connection is not None:
            loop.add_writer(connection.fd, self._drain, loop, connection)

    def _drain(self, loop: asyncio.AbstractEventLoop, connection: Connection) -> None:
        try:
            if not connection.flush():
                return
        except ConnectionLost as error:
            self._on_lost(connection, error)
        loop.remove_writer(connection.fd)

    @staticmethod
    def _on_loop(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *args: Any) -> None:
        """Call on the loop's own thread, or here where the loop is closed."""
        if not loop.is_closed() and running_loop() is not loop:
            try:
                loop.call_soon_threadsafe(call, *args)
            except RuntimeError:
                pass  # it was closed at this moment
            else:
                return
        call(*args)
