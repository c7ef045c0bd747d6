"""Agents of this process that stand at a barrier: all who do are released together, or all learn that it broke."""

from __future__ import annotations

import math
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

    __slots__ = (
        *("arrival", "began_at", "ending", "generation", "is_departing", "is_told", "name", "parties"),
        *("parties_of_others", "stage", "told", "watched"),
    )

    def __init__(
        self,
        source: Source,
        deadline: float | None,
        name: str,
        parties: int | frozenset[str],
        watched: frozenset[str],
    ) -> None:
        """``parties`` is how many there are, or their names."""
        super().__init__(source, deadline)
        self.name = name
        self.parties = parties
        self.watched = watched
        self.generation: int | None = None
        """In which it arrived; ``None`` until the store has said so."""
        self.told: dict[int, Released | Broken] = {}
        """How generations have ended, as far as that was told: over another connection than where it arrived."""
        self.parties_of_others = 0
        """How many parties the others wait for, where these are not the same."""
        self.is_departing = False
        self.arrival: Request | None = None
        self.ending: Ending | None = None
        self.began_at = math.inf
        self.is_told = False
        self.stage: str | None = None

    @property
    def terms(self) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """See :class:`attune_dsl.hub.recorder.Blocked`."""
        return "barrier", (self.name,), ()

    @property
    def count(self) -> int:
        """How many parties there are."""
        return self.parties if isinstance(self.parties, int) else len(self.parties)

    def has_ended(self, generation: int, how: Released | Broken) -> None:
        """The store has told how a generation ended."""
        self.told[generation] = how  # first, because the reply to the arrival may be read at the same time
        if generation == self.generation:
            self.finish(how)

    def stands_in(self, generation: int) -> None:
        """The store has said in which generation it arrived."""
        self.generation = generation
        if (how := self.told.get(generation)) is not None:
            self.finish(how)

    def break_off(self, ending: Ending) -> None:
        """End the wait as if its time was over."""
        if not isinstance(self.ending, Abort):
            self.ending = ending
        self.deadline = clock.monotonic()
        self.nudge()
        if isinstance(ending, Abort) and self.arrival is not None:
            self.arrival.deadline = self.deadline
            self.arrival.nudge()


class Barriers:
    """Asks the store, and takes in what it tells. Whatever may have been missed over a broken link is asked again."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._lock = threading.Lock()
        self._unsure: set[Member] = set()
        self._departures: dict[tuple[Member, str], Request] = {}
        """By the agents and the barriers at which they wait no longer, which the store has not confirmed yet."""

    def arrival(self, member: Member, stand: Stand) -> Request:
        """Return the request by which an agent arrives, or asks again how the barrier stands."""
        hub = self._hub
        since: int | None = None

        def render(_: Request) -> scripts.Command:
            nonlocal since
            if stand.is_departing:  # behind that it would arrive once more
                return ("HGET", hub.keys.barrier(stand.name), "generation")
            is_again = since is not None
            if since is None:  # what is learnt before it is written once more may be the answer to this
                since = member.fared.get(stand.name, member.since)
            return scripts.arrive(
                hub.keys,
                member.agent_id,
                stand.name,
                owner=member.owner,
                parties=stand.parties,
                since=since,
                generation=stand.generation,
                again=is_again,
            )

        request = hub.request(render)
        request.then = lambda reply: self._learn(member, stand, reply)
        if stand.generation is None:
            stand.arrival = request
        return request

    def departure(self, member: Member, stand: Stand, broken: Broken) -> Request:
        """Return the request by which an agent waits no longer; it is sent late rather than never.

        An earlier one is not sent any more: who departs now stands nowhere from then on.
        """
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
        superseded = self._departures.get((member, stand.name))
        if superseded is not None:
            superseded.given_up, superseded.keep = True, False
        self._departures[member, stand.name] = request

        def learn(reply: Reply) -> None:
            self._learn(member, stand, reply)
            if self._departures.get((member, stand.name)) is request:
                del self._departures[member, stand.name]

        request.then = learn
        return request

    async def has_departed(self, member: Member, name: str) -> bool:
        """Wait, within the grace time, until the store knows that the agent stands there no longer; return if so.

        Before that it would be told, as a latecomer, of the very break that it was itself.
        """
        departure = self._departures.get((member, name))
        if departure is None:
            return True
        until = self._hub.link.patience()
        while not departure.done and clock.monotonic() < until:
            departure.deadline = until  # a link that breaks sets it to now
            await departure
        return departure.done

    def told(self, fields: dict[bytes, bytes]) -> None:
        """An inbox entry says how a generation of a barrier has ended."""
        try:
            name, standing, outcome = (fields[key].decode() for key in (b"barrier", b"of", b"outcome"))
            generation, order = (int(fields[key]) for key in (b"generation", b"order"))
            how = read_outcome(outcome, generation)
        except (KeyError, ValueError) as error:
            self._hub.entries.skip("", fields, repr(error))
            return
        for agent_id in standing.split("\n"):
            member = self._hub.members.get(agent_id)
            stand = None if member is None else member.stands.get(name)
            if member is not None and stand is not None:
                if stand.generation in {None, generation}:
                    member.note_fared(name, order)
                stand.has_ended(generation, how)

    def ask_again(self, members: list[Member]) -> None:
        """What the store told of the barriers at which these agents stand may not have come."""
        standing = {member for member in members if member.stands}
        if standing:
            with self._lock:
                self._unsure |= standing
            self._hub.keeper.tick.soon()

    def pop_unasked(self) -> list[Request]:
        """Return requests that ask again."""
        if not self._unsure:
            return []
        with self._lock:
            members, self._unsure = self._unsure, set()
        stands = [(member, stand) for member in members for stand in list(member.stands.values())]
        return [self.arrival(member, stand) for member, stand in stands if stand.generation is not None]

    def _learn(self, member: Member, stand: Stand, reply: Reply) -> None:
        if not isinstance(reply, list):
            return
        kind, *rest = reply
        if kind == b"waiting":
            stand.stands_in(int(rest[0]))
        elif kind == b"fenced" and stand.generation is None:
            stand.finish(None)
        elif kind == b"parties":
            stand.parties_of_others = int(rest[0].partition(b":")[0])
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
