"""A pump for tests, with connections whose other ends a test holds."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wire import Wire

from attune_dsl.hub.drive import Ticket, drive
from attune_dsl.hub.parker import SelectParker
from attune_dsl.hub.pump import Pump
from attune_dsl.store.connection import Connection, ConnectionLost

WaitUntil = Callable[..., Any]


class Rig:
    """A pump whose replies finish the tickets in the order in which these were made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parker = SelectParker()
        self.replies: list[Any] = []
        self.lost: list[tuple[Connection, ConnectionLost]] = []
        self.idle = threading.Semaphore(0)
        self.before: list[str] = []
        self.pump = Pump(
            self.parker,
            self._on_reply,
            lambda *what: self.lost.append(what),
            on_idle=self.idle.release,
            before_wait=lambda: self.before.append(threading.current_thread().name),
        )
        self.tickets: deque[Ticket[Any]] = deque()
        self.wires: list[Wire] = []
        self.threads: list[threading.Thread] = []
        self.on_reply: Callable[[Any], None] = lambda _: None

    def attach(self) -> Wire:
        """A new connection, attached."""
        wire = Wire(self.folder)
        self.wires.append(wire)
        self.pump.attach(wire.connection)
        return wire

    def ticket(self, deadline: float | None = None) -> Ticket[Any]:
        ticket: Ticket[Any] = Ticket(self.pump, deadline)
        self.tickets.append(ticket)
        return ticket

    def waiting(self, *, leads: bool) -> Ticket[Any]:
        """A ticket that a thread of its own waits for, and has begun to."""
        ticket = self.ticket()
        thread = threading.Thread(target=drive, args=(value_of(ticket),))
        self.threads.append(thread)
        thread.start()
        expected = (lambda: self.pump._leader is ticket) if leads else (lambda: ticket in self.pump._sleepers)
        self.until(lambda: expected() and ticket.wake)
        return ticket

    until: WaitUntil

    def join(self) -> None:
        """All threads that waited have ended."""
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive()

    def _on_reply(self, reply: Any) -> None:
        self.on_reply(reply)
        self.replies.append(reply)
        if self.tickets:
            self.tickets.popleft().finish(reply)


async def value_of(ticket: Ticket[Any]) -> Any:
    await ticket
    return ticket.value
