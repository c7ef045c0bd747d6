"""Whom the agents of this process wait for, and who of them will send nothing more (§5.8)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence, Set
from typing import TYPE_CHECKING, Final, Protocol

from attune_dsl.hub.endings import Ending, Gone
from attune_dsl.store import scripts
from attune_dsl.store.connection import Reply

if TYPE_CHECKING:
    from attune_dsl.hub.commands import Request
    from attune_dsl.hub.hub import Hub
    from attune_dsl.hub.member import Member


class Watching(Protocol):
    """A wait that ends when an agent does."""

    @property
    def watched(self) -> Set[str]:
        """The agents whose end it is about."""

    @property
    def ending(self) -> Ending | None:
        """Why it ends before its time, if it does."""

    def break_off(self, ending: Ending) -> None:
        """End it before its time."""


_FIELDS: Final = (b"at", b"order", b"status", b"stage", b"error")
"""Of an inbox entry about an end."""
LOOK: Final = 0.003
"""Seconds behind the lapse of a lease at which it is looked for, because the server counts whole milliseconds."""


class Sources:
    """Waits by the agent that is waited for. The store is asked to tell of an agent's end once a link, and late.

    Late, because a wait that is over within some milliseconds, as in a dialogue, should not cost a command.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._lock = threading.Lock()
        self._waits: dict[str, dict[Watching, tuple[Member, float]]] = {}
        """With when each began, in ms of the server's clock."""
        self._told: set[str] = set()
        """Those of whose end the present link is told."""
        self._unasked: set[str] = set()

    def add(self, member: Member, waiter: Watching) -> None:
        """A wait for certain senders begins to block."""
        now = self._hub.server_ms()
        with self._lock:
            for source in waiter.watched:
                self._waits.setdefault(source, {})[waiter] = (member, now)
            self._unasked |= waiter.watched - self._told
        self._ask_soon()

    def remove(self, waiter: Watching) -> None:
        """See :meth:`add`."""
        with self._lock:
            for source in waiter.watched:
                waits = self._waits[source]
                del waits[waiter]
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
            return [self._question(source, frozenset(self._waits[source])) for source in sources]

    async def is_alive(self, source: str) -> bool:
        """Ask whether an agent lives now; where the store does not answer, suppose that it does."""
        reply = await self._hub.ask([self._request(source)])
        return not isinstance(reply, list) or bool(reply[6])

    def ended(self, fields: dict[bytes, bytes]) -> None:
        """An inbox entry says that an agent has ended."""
        try:
            gone = _gone(_text(fields[b"gone"]), [fields[name] for name in _FIELDS])
        except (KeyError, ValueError) as error:
            self._hub.entries.skip("", fields, repr(error))
            return
        # A wait that began later may be for a successor that lives already; for one that joined later it certainly is.
        self._end(gone, lambda _, began: began <= gone.ended_ms)
        with self._lock:
            if any(waiter.ending is None for waiter in self._waits.get(gone.agent_id, ())):
                self._unasked.add(gone.agent_id)
        self._ask_soon()

    def began(self, fields: dict[bytes, bytes]) -> None:
        """An inbox entry says that an agent that is waited for has joined: look when its lease may have lapsed."""
        ttl = fields.get(b"ttl", b"")
        if ttl.isdigit():
            self._hub.keeper.look_for_lapse(int(ttl[:15]) / 1000 + LOOK)

    def _request(self, source: str) -> Request:
        hub = self._hub
        return hub.request(lambda _: scripts.wait(hub.keys, source, hub.commands.link))

    def _question(self, source: str, waiters: frozenset[Watching]) -> Request:
        """Ask how an agent stands for those who wait for it now; who comes until the answer does, asks anew."""
        request = self._request(source)

        def learn(reply: Reply) -> None:
            if not isinstance(reply, list):
                return
            if reply[7]:
                self._hub.keeper.look_for_lapse(float(reply[7]) / 1000 - self._hub.server_ms() / 1000 + LOOK)
            if not reply[1]:
                return
            try:
                gone = _gone(source, reply[1:6])
            except ValueError as error:
                self._hub.entries.skip(source, {}, repr(error))
            else:
                if self._end(gone, lambda waiter, _: waiter in waiters):
                    with self._lock:
                        self._unasked.add(source)
                    self._ask_soon()

        request.then = learn
        return request

    def _end(self, gone: Gone, is_meant: Callable[[Watching, float], bool]) -> bool:
        """End the waits that are meant, of those who had joined by then; return whether others of these are left.

        Who waits for it again asks again: it may have restarted.
        """
        with self._lock:
            waits = self._waits.get(gone.agent_id, {})
            missed = {w: began for w, (member, began) in waits.items() if 0 < member.since <= gone.ended_order}
            ended = [waiter for waiter, began in missed.items() if is_meant(waiter, began)]
            self._told.discard(gone.agent_id)
        for waiter in ended:
            waiter.break_off(gone)
        return len(ended) < len(missed)

    def _ask_soon(self) -> None:
        if self._unasked:
            self._hub.keeper.tick.soon()


def _gone(agent_id: str, how: Sequence[bytes]) -> Gone:
    """Read how an agent has ended. Raises ``ValueError`` for what makes no sense."""
    at, order, *words = how
    return Gone(agent_id, int(at), int(order), *map(_text, words))


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
