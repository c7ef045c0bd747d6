"""§5.1-5.5 and §5.7-5.9 as a model: who sees which signal, when, and why a wait ends. No time, no threads, no store.

It is written to be read beside the contract. Each rule cites its number. What happens is numbered by one counter, as in
the store: each signal that is stored and each agent that joins has a place in that order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Literal

State = Literal["absent", "alive", "dead"]
"""A *dead* agent is one whose process is gone while its lease still runs: the id is taken, nobody is there."""
Ending = Literal["timeout", "peer_gone", "aborted", "unavailable"]


@dataclass(eq=False)
class Parcel:
    """A signal that was stored."""

    order: int
    source: str
    target: str | None
    type: str
    late: bool = True
    is_expired: bool = False


@dataclass(eq=False)
class Waiting:
    """A wait that blocks; it ends with a parcel, or with the reason why none will come."""

    types: Collection[str] = ()
    source: str | None = None
    end: Parcel | Ending | None = None

    def fits(self, parcel: Parcel) -> bool:
        return (not self.types or parcel.type in self.types) and self.source in {None, parcel.source}


@dataclass(eq=False)
class Participant:
    """An agent id and what its present incarnation knows."""

    name: str
    state: State = "absent"
    joined: int = 0
    """Where in the order the present incarnation joined."""
    died: int = 0
    """What was stored up to here may have been taken by a predecessor that died."""
    ended: int = 0
    """Where the last incarnation ended, or was declared lost; 0 while there is none of which that is true."""
    taken: list[Parcel] = field(default_factory=list)
    """Handed to the user; the store has not been told yet. It would be lost with the process."""
    marked: set[Parcel] = field(default_factory=set)
    """Taken for good, by whatever incarnation: the store has been told."""
    waits: list[Waiting] = field(default_factory=list)
    """Oldest first."""
    aborted: str | None = None
    """Why it was asked to stop (§5.9): it, or one before it that died without having ended."""


class World:
    """One namespace."""

    def __init__(self, names: Iterable[str], most: int) -> None:
        """``most`` is how many signals a mailbox holds, and the broadcast stream."""
        self.order = 0
        self.most = most
        self.parcels: list[Parcel] = []
        self.people = {name: Participant(name) for name in names}
        self.keys: dict[tuple[str, str], Parcel] = {}

    # Who is there

    def join(self, name: str) -> None:
        """A new incarnation; the order goes on."""
        me = self.people[name]
        self.order += 1
        me.state, me.joined, me.ended = "alive", self.order, 0

    def leave(self, name: str) -> None:
        """A clean end: what was taken is marked (§5.7), an abort consumed (§5.9); who waits for it learns (§5.8)."""
        me = self.people[name]
        self.tell(me)
        self._end_waits(me)
        me.state, me.ended, me.aborted = "absent", self.order, None
        self._miss(me)

    def die(self, name: str) -> None:
        """§5.7: the process is gone, and with it who waited, and what it had taken and the store was not told of."""
        me = self.people[name]
        me.taken.clear()
        self._end_waits(me)
        me.state = "dead"

    def lapse(self, name: str) -> None:
        """The lease of a dead agent lapses: it is lost, and whoever waits for it learns that (§5.8, §5.10)."""
        me = self.people[name]
        me.state, me.died, me.ended = "absent", self.order, self.order
        self._miss(me)

    def take_over(self, name: str) -> None:
        """§5.7: the new owner gets what the old one may have taken in vain. For those who wait nothing has ended.

        It was not the new one that was asked to stop (§5.9).
        """
        me = self.people[name]
        died = self.order
        me.taken.clear()
        self._end_waits(me)
        self.join(name)
        me.died, me.aborted = died, None

    def abort(self, source: str, reason: str, target: str | None) -> set[str]:
        """§5.9: one that lives, or all of them but the sender, are asked to stop; the first reason counts."""
        names = [target] if target is not None else [name for name in self.people if name != source]
        asked = {name for name in names if self.is_owned(name)}
        if asked or target is not None:  # without anybody to ask, nothing is done that anybody could see
            self.tell(self.people[source])
        for name in asked:
            me = self.people[name]
            me.aborted = me.aborted or reason
            for waiting in me.waits:
                waiting.end = "aborted"
                self.tell(me)  # it looked into the store once more
            me.waits.clear()
        return asked

    def is_owned(self, name: str) -> bool:
        """Whether the id has a live owner, as far as anybody can know."""
        return self.people[name].state != "absent"

    def has_left(self, name: str, source: str) -> bool:
        """§5.8: a source that ended after the waiter joined will send no more. One that ended before may yet start."""
        other = self.people[source]
        return other.state == "absent" and other.ended >= self.people[name].joined

    def _end_waits(self, me: Participant) -> None:
        for waiting in me.waits:
            waiting.end = "unavailable"
        me.waits.clear()

    def _miss(self, gone: Participant) -> None:
        for me in self.people.values():
            for waiting in [w for w in me.waits if w.source == gone.name and self.has_left(me.name, gone.name)]:
                me.waits.remove(waiting)
                waiting.end = "peer_gone"
                self.tell(me)  # it looked into the store once more

    # Sending

    def send(
        self, source: str, target: str | None, type_: str, *, late: bool = True, key: str | None = None
    ) -> Parcel | None:
        """Store a signal, for one agent or for all; ``None`` if there is no room for it (§5.12).

        §5.1: a second send with a key whose signal still lives is that signal.
        """
        me = self.people[source]
        self.tell(me)  # causes before effects: what it took is marked ahead of what it does
        known = self.keys.get((source, key)) if key is not None else None
        if known is not None and not known.is_expired:
            return known
        if len(self.held(target)) >= self.most:
            return None
        self.order += 1
        parcel = Parcel(self.order, source, target, type_, late)
        self.parcels.append(parcel)
        if key is not None:
            self.keys[source, key] = parcel
        for other in self.people.values():
            self._offer(other, parcel)
        return parcel

    def is_wanted(self, source: str, target: str | None, type_: str) -> bool:
        """Whether a wait that blocks would take such a signal."""
        parcel = Parcel(self.order + 1, source, target, type_)
        return any(w.fits(parcel) for me in self.people.values() if self.is_for(me, parcel) for w in me.waits)

    def _offer(self, me: Participant, parcel: Parcel) -> None:
        """§5.6: the oldest wait that it fits takes it."""
        for waiting in me.waits:
            if self.is_for(me, parcel) and waiting.fits(parcel):
                waiting.end = parcel
                me.waits.remove(waiting)
                me.taken.append(parcel)
                return

    def held(self, target: str | None) -> list[Parcel]:
        """What the store holds for an agent, or of broadcasts: neither expired nor marked by its reader."""
        here = [p for p in self.parcels if p.target == target and not p.is_expired]
        return here if target is None else [p for p in here if p not in self.people[target].marked]

    # Seeing and taking

    def is_for(self, me: Participant, parcel: Parcel) -> bool:
        """§5.2, §5.4: its mail, and others' broadcasts; those with ``late=False`` if it was there."""
        if parcel.target is not None:
            return parcel.target == me.name
        return parcel.source != me.name and (parcel.late or parcel.order > me.joined)

    def visible(self, name: str, wanted: Waiting | None = None) -> list[Parcel]:
        """The mailbox, oldest first (§5.5). Nothing that has expired (§5.3), nothing twice (§5.2, §5.4)."""
        me, wanted = self.people[name], wanted or Waiting()
        return [
            parcel
            for parcel in self.parcels
            if self.is_for(me, parcel) and wanted.fits(parcel)
            if not (parcel.is_expired or parcel in me.taken or parcel in me.marked)
        ]

    def is_redelivered(self, name: str, parcel: Parcel) -> bool:
        """§5.7: a predecessor that died may have taken it."""
        return parcel.order <= self.people[name].died

    def tell(self, me: Participant) -> None:
        """The store is told what was taken, ahead of the agent's next command (§5.7)."""
        me.marked.update(me.taken)
        me.taken.clear()

    def look(self, name: str, wanted: Waiting) -> list[Parcel]:
        """``peek`` and ``pending``: see, and take nothing."""
        self.tell(self.people[name])
        return self.visible(name, wanted)

    def take(self, name: str, wanted: Waiting) -> Parcel | None:
        """``check``, and a ``wait`` with no time: the oldest that fits. If there is none, the store is asked."""
        me = self.people[name]
        for parcel in self.visible(name, wanted):
            me.taken.append(parcel)
            return parcel
        self.tell(me)
        return None

    def clear(self, name: str, wanted: Waiting) -> list[Parcel]:
        """Take all that fits."""
        found = self.look(name, wanted)
        self.people[name].taken += found
        return found

    def collect(
        self, name: str, types: Collection[str], *, count: int | None = None, sources: Collection[str] = ()
    ) -> list[Parcel]:
        """Take the oldest ``count``, or the oldest of each of ``sources``; what is missing does not come."""
        me, found, missing = self.people[name], list[Parcel](), set(sources)
        wanted = len(missing) if count is None else count
        for parcel in self.visible(name, Waiting(types)):
            if len(found) < wanted and (count is not None or parcel.source in missing):
                missing.discard(parcel.source)
                found.append(parcel)
        if len(found) < wanted:
            self.tell(me)
        me.taken += found
        return found

    def wait(self, name: str, types: Collection[str], source: str | None) -> Waiting:
        """Begin a wait that blocks. Mail that is there comes first; a source that is gone is not waited for (§5.8).

        Nor does one that was asked to stop wait for anything (§5.9).
        """
        me, waiting = self.people[name], Waiting(types, source)
        if there := self.visible(name, waiting):
            waiting.end = there[0]
            me.taken.append(there[0])
        elif me.aborted or (source is not None and self.has_left(name, source)):
            waiting.end = "aborted" if me.aborted else "peer_gone"
            self.tell(me)
        else:
            me.waits.append(waiting)
        return waiting
