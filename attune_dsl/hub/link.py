"""Whether the hub is connected, since when not, and what that means for those who wait."""

from __future__ import annotations

from typing import Any, Final

from attune_dsl import clock
from attune_dsl.hub.drive import Source, Ticket

GRACE: Final = 2.0
"""Seconds that a caller waits for an answer, or for the link to come back (§5.1, §5.11)."""


class Sleeping(Source):
    """A source whose tickets are finished by another thread: there is no socket to read."""

    def block(self, ticket: Ticket[Any]) -> None:
        """Block until the ticket is done or its deadline has passed."""
        while not ticket.done and ((left := ticket.remaining()) is None or left > 0):
            ticket.sleep()

    def watch(self, loop: object) -> None:
        """Nothing to read."""


SLEEPING: Final = Sleeping()


class LinkState:
    """Up or down. ``outages`` counts how often the link went down, or could not be made in the first place."""

    def __init__(self) -> None:
        self.up = False
        self.was_up = False
        self.was_tried = False
        self.outages = 0
        self.error: Exception | None = None
        self.down_since = clock.monotonic()
        self._curious: list[Ticket[None]] = []

    async def settle(self, patience: float) -> None:
        """Wait until the first attempt to connect has succeeded or failed, at most ``patience`` seconds."""
        ticket: Ticket[None] = Ticket(SLEEPING, clock.monotonic() + patience)
        self._curious.append(ticket)
        if not self.was_tried:
            await ticket

    def came_up(self) -> None:
        """The hub is connected and its agents have joined again."""
        self.up = self.was_up = True
        self.error = None
        self._tried()

    def went_down(self, error: Exception, *, expected: bool = False) -> None:
        """The connection broke, or an attempt to make one failed; ``expected`` if the hub itself closed it."""
        if (self.up or not self.was_tried) and not expected:
            self.outages += 1
        if self.up:
            self.down_since = clock.monotonic()
        self.up = False
        self.error = error
        self._tried()

    def _tried(self) -> None:
        self.was_tried = True
        curious, self._curious = self._curious, []
        for ticket in curious:
            ticket.finish(None)

    def patience(self) -> float:
        """Return until when a call may wait for an answer; now, if the store has been away for longer than that."""
        now = clock.monotonic()
        if self.up:
            return now + GRACE
        return max(now, self.down_since + GRACE) if self.was_up else now

    @property
    def is_given_up(self) -> bool:
        """Whether waits should end because the store has been away for longer than the grace time."""
        return not self.up and self.was_tried and self.patience() <= clock.monotonic()
