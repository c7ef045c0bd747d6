"""Agents of this process that wait for one other and do nothing else: they may be part of a cycle (§5.8)."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from attune_dsl import clock
from attune_dsl.hub.endings import Cycle
from attune_dsl.hub.mailbox import Waiter
from attune_dsl.store import codec, limits, scripts
from attune_dsl.store.connection import Reply

if TYPE_CHECKING:
    from attune_dsl.hub.commands import Request
    from attune_dsl.hub.hub import Hub
    from attune_dsl.hub.member import Member


LATEST: Final = 2**53
"""Milliseconds since the epoch: no deadline that a script could reckon with is later."""
LONG: Final = 0.004
"""Seconds before which a wait is told to nobody: in a dialogue it is over by then."""
SETTLE: Final = limits.RETURN / 1000
"""Seconds after an outage in which the store is told nothing: what it knows of others may be from before it."""


class Blocks:
    """Tells the store who is blocked by whom, late, and that it is not any more ahead of whatever the agent does next.

    A false alarm would be worse than none. So an agent counts as blocked only while it has a single wait.

    Two threads are at it: the hub's tells, the agent's goes on. What the store knows (``block_told``) is decided where
    commands are written, one after the other; until then ``block_telling`` says that it may be about to know.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._lock = threading.Lock()
        self._untold: dict[Member, float] = {}
        """With when each wait began to count."""
        self._numbers = itertools.count(1)
        self._settled_at = 0.0

    def begin(self, member: Member, waiter: Waiter | None, is_alone: Callable[[], bool] | None) -> None:
        """A wait begins to block, on no ``waiter`` where any agent may end it.

        ``is_alone`` tells whether the agent does nothing else (``None``: it may).
        """
        with self._lock:
            member.waits += 1
            member.blocked_by = waiter if is_alone is not None and member.waits == 1 else None
            member.block_number = next(self._numbers)
        # Asked only now: what begins on another thread from here on finds the wait, and calls interrupt().
        if member.blocked_by is waiter and is_alone is not None and is_alone():
            self.tell_again([member])
        else:
            self.interrupt(member)

    def end(self, member: Member) -> None:
        """See :meth:`begin`."""
        with self._lock:
            member.waits -= 1
        self.interrupt(member)

    def interrupt(self, member: Member) -> None:
        """The agent does something else, too."""
        with self._lock:
            member.blocked_by = None
            is_told = member.block_told is not None or member.block_telling is not None
        if is_told:
            member.marked()

    def restart(self, members: Iterable[Member]) -> None:
        """The link is new; with the agents' joins the store has forgotten that they were blocked."""
        if self._hub.link.was_up:
            self._settled_at = clock.monotonic() + SETTLE
        self.tell_again(members)

    def tell_again(self, members: Iterable[Member]) -> None:
        """The store does not know of the waits of these agents."""
        now = clock.monotonic()
        with self._lock:
            for member in members:
                if member.blocked_by is not None:
                    self._untold[member] = now
            is_needed = bool(self._untold)
        if is_needed:
            self._hub.keeper.tick.soon()

    @property
    def due(self) -> float:
        """When there is something to tell that no tick brings (:func:`clock.monotonic`)."""
        return self._settled_at if self._untold and self._settled_at else math.inf

    def pop_untold(self) -> list[Request]:
        """Return requests that tell the store who is blocked."""
        now = clock.monotonic()
        if not self._untold or now < self._settled_at:
            return []
        self._settled_at = 0.0
        waits = []
        with self._lock:
            young: dict[Member, float] = {}
            for member, began in self._untold.items():
                if member.blocked_by is None:
                    continue
                if now - began < LONG:
                    young[member] = began
                    continue
                member.block_telling = member.blocked_by
                waits.append((member, member.blocked_by))
            self._untold = young
        if young:
            self._hub.keeper.tick.soon()
        return [self._block(member, waiter) for member, waiter in waits]

    def unsaid(self, member: Member) -> list[Request]:
        """Return the request that the agent's next command has to follow, if the store may think that it is blocked."""
        if {member.block_told, member.block_telling} <= {None, member.blocked_by}:
            return []
        return [self._hub.request(lambda _: self._unblock(member))]

    def _unblock(self, member: Member) -> scripts.Command:
        with self._lock:
            if member.block_told is member.blocked_by:  # what was made for an earlier wait is written late
                return scripts.unblock(self._hub.keys, "")
            member.block_told = None
        return scripts.unblock(self._hub.keys, member.agent_id)

    def _block(self, member: Member, waiter: Waiter) -> Request:
        hub = self._hub

        def render(_: Request) -> scripts.Command:
            # Here, in the order of the commands: what the agent does next is behind this, or knows of it.
            with self._lock:
                member.block_telling = None
                cursors = member.mailbox.cursors(waiter) if member.blocked_by is waiter else None
                member.block_told = None if cursors is None else waiter
            if cursors is None:
                return scripts.unblock(hub.keys, member.agent_id)
            record = codec.encode_payload(self._record(member, waiter, *cursors))
            return scripts.block(hub.keys, member.agent_id, owner=member.owner, record=record)

        def learn(reply: Reply) -> None:
            if isinstance(reply, list) and reply:
                self._close(member, waiter, _spelled_out([part.decode(errors="replace") for part in reply]))

        request = hub.request(render)
        request.then = learn
        return request

    def _record(self, member: Member, waiter: Waiter, mail: int, broadcast: int) -> dict[str, Any]:
        left = waiter.remaining()
        return {
            "epoch": str(member.epoch),
            "since": member.since,
            "wait": member.block_number,
            "source": next(iter(waiter.senders)),
            "types": sorted(waiter.types),
            "mail": mail,
            "broadcast": broadcast,
            "deadline": 0 if left is None else int(min(self._hub.server_ms() + left * 1000, LATEST)),
        }

    def told(self, fields: dict[bytes, bytes]) -> None:
        """An inbox entry is about a wait of which the store was told.

        It may be part of a cycle: does it go on? Or it is, and would be over first.
        """
        try:
            member = self._hub.members.get(fields.get(b"cycle", fields.get(b"confirm", b"")).decode())
            named = int(fields[b"epoch"]), int(fields[b"wait"])
            cycle = _spelled_out(codec.decode_words(fields[b"path"])) if b"cycle" in fields else None
        except (KeyError, ValueError) as error:
            self._hub.entries.skip("", fields, repr(error))
            return
        if member is None or member.block_told is None or named != (member.epoch, member.block_number):
            return
        if cycle is None:
            self.tell_again([member])
        else:
            self._close(member, member.block_told, cycle)

    def _close(self, member: Member, waiter: Waiter, cycle: Cycle) -> None:
        """The wait is part of a cycle; the store has forgotten it already."""
        with self._lock:
            if member.block_told is waiter:
                member.block_told = None
            is_waiting = member.blocked_by is waiter
        if is_waiting:
            waiter.break_off(cycle)


def _spelled_out(cycle: Sequence[str]) -> Cycle:
    """Return ``a waits for b: "x" → b waits for a: "y"``. Raises ``ValueError`` for what makes no sense."""
    links = zip(cycle[::3], cycle[1::3], cycle[2::3], strict=True)
    return Cycle(" → ".join(f"{waiter} waits for {source}: {_named(types)}" for waiter, source, types in links))


def _named(types: str) -> str:
    names = codec.decode_payload(types.encode())
    return " or ".join(f'"{name}"' for name in names) if names else "any signal"
