"""Whom the agents of this process wait for, and who of them will send nothing more (§5.8)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from attune_dsl import log
from attune_dsl.hub.mailbox import Gone, Waiter
from attune_dsl.store import scripts
from attune_dsl.store.connection import Reply

if TYPE_CHECKING:
    from attune_dsl.hub.commands import Request
    from attune_dsl.hub.hub import Hub
    from attune_dsl.hub.member import Member


class Sources:
    """Waits by the agent that is waited for. The store is asked to tell of an agent's end once a link, and late.

    Late, because a wait that is over within some milliseconds, as in a dialogue, should not cost a command.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._lock = threading.Lock()
        self._waits: dict[str, list[tuple[Member, Waiter]]] = {}
        self._told: set[str] = set()
        """Those of whose end the present link is told."""
        self._unasked: set[str] = set()

    def add(self, member: Member, waiter: Waiter) -> None:
        """A wait for certain senders begins to block."""
        with self._lock:
            for source in waiter.senders:
                self._waits.setdefault(source, []).append((member, waiter))
            self._unasked |= waiter.senders - self._told
        self._ask_soon()

    def remove(self, member: Member, waiter: Waiter) -> None:
        """See :meth:`add`."""
        with self._lock:
            for source in waiter.senders:
                waits = self._waits[source]
                waits.remove((member, waiter))
                if not waits:
                    del self._waits[source]

    def restart(self) -> None:
        """The link is new, or may not have told everything: ask again about all."""
        with self._lock:
            self._told.clear()
            self._unasked = set(self._waits)
        self._ask_soon()

    def pop_unasked(self) -> list[Request]:
        """Return requests about the agents that are waited for and not asked about yet."""
        if not self._unasked:
            return []
        with self._lock:
            sources, self._unasked = self._unasked & self._waits.keys(), set()
            self._told |= sources
        return [self._request(source) for source in sources]

    async def is_alive(self, source: str) -> bool:
        """Ask whether an agent lives now; where the store does not answer, suppose that it does."""
        request = self._request(source)
        reply = await self._hub.ask([request])
        return not isinstance(reply, list) or bool(reply[5])

    def ended(self, fields: dict[bytes, bytes]) -> None:
        """An inbox entry says that an agent has ended."""
        try:
            gone = Gone(
                _text(fields[b"gone"]),
                int(fields[b"at"]),
                _text(fields[b"status"]),
                _text(fields[b"stage"]),
                _text(fields[b"error"]),
            )
        except (KeyError, ValueError) as error:
            log.warning("inbox.skipped", namespace=self._hub.namespace, error=repr(error))
            return
        self._end(gone)
        with self._lock:  # those who joined later wait for its next incarnation
            self._unasked |= {gone.agent_id} & self._waits.keys()
        self._ask_soon()

    def _request(self, source: str) -> Request:
        hub = self._hub
        request = hub.request(lambda _: scripts.wait(hub.keys, source, hub.commands.link))

        def learn(reply: Reply) -> None:
            if isinstance(reply, list) and reply[1]:
                self._end(Gone(source, int(reply[1]), *map(_text, reply[2:5])))

        request.then = learn
        return request

    def _end(self, gone: Gone) -> None:
        """End the waits of those who had joined by then. Who waits for it again asks again: it may have restarted."""
        with self._lock:
            waits = [
                waiter for member, waiter in self._waits.get(gone.agent_id, ()) if member.joined_ms <= gone.ended_ms
            ]
            self._told.discard(gone.agent_id)
        for waiter in waits:
            waiter.give_up(gone)

    def _ask_soon(self) -> None:
        if self._unasked:
            self._hub.keeper.tick.soon()


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
