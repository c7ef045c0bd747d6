"""Agents of this process that stand at a barrier: all who do are released together, or all learn that it broke."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from attune_dsl import clock
from attune_dsl.hub.drive import Source, Ticket
from attune_dsl.hub.endings import Abort, Ending, Gone
from attune_dsl.model import Broken, Reason, Released
from attune_dsl.store import scripts
from attune_dsl.store.connection import Reply

if TYPE_CHECKING:
    from attune_dsl.hub.commands import Request
    from attune_dsl.hub.hub import Hub
    from attune_dsl.hub.member import Member


class Stand(Ticket[Released | Broken | None]):
    """An agent's wait at a barrier. ``value`` is how that ended, ``None`` where there is no sense in waiting longer.

    The end of one of those that are ``watched`` breaks it; ``ending`` says if that, or an abort, is why.
    """

    __slots__ = ("ending", "generation", "is_departing", "name", "others", "parties", "watched")

    def __init__(
        self, source: Source, deadline: float | None, name: str, parties: int, watched: frozenset[str]
    ) -> None:
        super().__init__(source, deadline)
        self.name = name
        self.parties = parties
        self.watched = watched
        self.generation: int | None = None
        """In which it arrived; ``None`` until the store has said so."""
        self.others = 0
        """How many parties the others wait for, where that is not the same number."""
        self.is_departing = False
        self.ending: Ending | None = None

    def break_off(self, ending: Ending) -> None:
        """End the wait as if its time was over."""
        if not isinstance(self.ending, Abort):
            self.ending = ending
        self.deadline = clock.monotonic()
        self.nudge()


class Barriers:
    """Asks the store, and takes in what it tells. Whatever may have been missed over a broken link is asked again."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._lock = threading.Lock()
        self._unasked: set[Member] = set()

    def arrival(self, member: Member, stand: Stand) -> Request:
        """Return the request by which an agent arrives, or asks again how the barrier stands."""
        hub = self._hub

        def render(_: Request) -> scripts.Command:
            if stand.is_departing:  # behind that it would arrive once more
                return ("HGET", hub.keys.barrier(stand.name), "generation")
            return scripts.arrive(
                hub.keys,
                member.agent_id,
                stand.name,
                owner=member.owner,
                parties=stand.parties,
                since=member.fared.get(stand.name, member.since),
                generation=stand.generation,
            )

        request = hub.request(render)
        request.then = lambda reply: self._learn(member, stand, reply)
        return request

    def departure(self, member: Member, stand: Stand, broken: Broken) -> Request:
        """Return the request by which an agent waits no longer. It is sent late rather than never."""
        hub, detail = self._hub, broken.detail
        if isinstance(stand.ending, Gone):
            gone = stand.ending
            detail = f"{gone.status}\n{gone.stage}\n{gone.error}"
        stand.is_departing = True
        request = hub.request(
            lambda _: scripts.depart(
                hub.keys,
                member.agent_id,
                stand.name,
                owner=member.owner,
                generation=stand.generation,
                reason=broken.reason,
                by=broken.by or "",
                detail=detail,
            ),
            keep=True,
        )
        request.then = lambda reply: self._learn(member, stand, reply)
        return request

    def told(self, fields: dict[bytes, bytes]) -> None:
        """An inbox entry says how a generation of a barrier has ended."""
        try:
            name, agent_id, outcome = (fields[key].decode() for key in (b"barrier", b"of", b"outcome"))
            generation, order, epoch = (int(fields[key]) for key in (b"generation", b"order", b"epoch"))
            how = read_outcome(outcome, generation)
        except (KeyError, ValueError) as error:
            self._hub.entries.skip("", fields, repr(error))
            return
        member = self._hub.members.get(agent_id)
        stand = None if member is None else member.stands.get(name)
        if member is not None and member.epoch == epoch and stand is not None and stand.generation == generation:
            member.note_fared(name, order)
            stand.finish(how)

    def ask_again(self, members: list[Member]) -> None:
        """What the store told of the barriers at which these agents stand may not have come."""
        standing = {member for member in members if member.stands}
        if standing:
            with self._lock:
                self._unasked |= standing
            self._hub.keeper.tick.soon()

    def pop_unasked(self) -> list[Request]:
        """Return requests that ask again."""
        if not self._unasked:
            return []
        with self._lock:
            members, self._unasked = self._unasked, set()
        stands = [(member, stand) for member in members for stand in list(member.stands.values())]
        return [self.arrival(member, stand) for member, stand in stands if stand.generation is not None]

    def _learn(self, member: Member, stand: Stand, reply: Reply) -> None:
        if not isinstance(reply, list):
            return
        kind, *rest = reply
        if kind == b"waiting":
            stand.generation = int(rest[0])
        elif kind == b"fenced" and stand.generation is None:
            stand.finish(None)
        elif kind == b"parties":
            stand.others = int(rest[0])
            stand.finish(None)
        elif kind == b"over":
            try:
                how = read_outcome(rest[1].decode(errors="replace"), int(rest[0] or 0))
            except ValueError as error:
                how = Broken(reason=Reason.UNAVAILABLE, by=None, detail=str(error))
            member.note_fared(stand.name, int(rest[2] or 0))
            stand.finish(how)


def read_outcome(outcome: str, generation: int) -> Released | Broken:
    """Read how a generation of a barrier has ended. Raises ``ValueError`` for what makes no sense."""
    kind, _, rest = outcome.partition("\n")
    if kind == "released":
        return Released(generation=generation, agents=tuple(rest.split("\n")))
    if kind != "broken":
        raise ValueError("how the barrier has ended is not known any more")
    word, by, detail = rest.split("\n", 2)
    reason = Reason(word)
    if reason is Reason.PEER_GONE:
        status, stage, error = detail.split("\n", 2)
        detail = str(Gone(by, 0, 0, status, stage, error))
    return Broken(reason=reason, by=by or None, detail=detail)
