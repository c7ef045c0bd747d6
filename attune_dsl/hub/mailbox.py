"""The part of an agent's mailbox that its process has received: what waits to be taken, and who waits for what.

The truth is the stream in the store. Copies arrive through the hub's inbox and the broadcast stream; a *look* reads the
store itself. Both are merged here by ``order``, the namespace's counter, so nothing is delivered twice and, for one
sender, nothing out of order.
"""

from __future__ import annotations

import math
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from attrs import evolve, frozen

from attune_dsl import clock
from attune_dsl.hub.drive import Source, Ticket
from attune_dsl.hub.endings import Abort, Ending, Gone
from attune_dsl.model import Signal

_SWEEP: Final = 1_000
"""Entries that are shelved, at least, between two sweeps of what has expired without being asked for."""


@frozen
class Entry:
    """A signal as it lies in the mailbox.

    ``at`` is its id in the mailbox stream, ``None`` for a broadcast, empty for what has left the store already.
    """

    signal: Signal
    at: str | None
    size: int
    expires_ms: int
    for_newcomers: bool = True


_NOBODY: Final[Mapping[str, Gone]] = {}
"""For all waits whose senders live: thousands may wait at a time."""


_SENDERS: Final = 20
"""Senders of a wait that the timeline names, at most."""


class Waiter(Ticket[Entry | None]):
    """Waits for the first entry that fits ``types`` and ``senders`` (empty: any).

    ``value`` is that entry, or ``None`` if there is no sense in waiting any longer; ``ending`` says why it ends before
    its time, if it does. Of ``senders`` those that are ``watched`` end it: ``all_gone``, by name.
    """

    __slots__ = ("all_gone", "began_at", "ending", "is_told", "senders", "stage", "types", "watched")

    def __init__(self, source: Source, deadline: float | None, types: frozenset[str], senders: frozenset[str]) -> None:
        # Ticket's own attributes are set here: mail that is there already should cost next to nothing.
        self.source = source
        self.deadline = deadline
        self.done = False
        self.value = None
        self._nudged = False
        self.wake = None
        self.types = types
        self.senders = self.watched = senders
        self.all_gone: Mapping[str, Gone] = _NOBODY
        self.ending: Ending | None = None
        self.began_at = math.inf
        self.is_told = False
        self.stage: str | None = None

    @property
    def terms(self) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """See :class:`attune_dsl.hub.recorder.Blocked`."""
        return "signal", tuple(sorted(self.types)), tuple(sorted(self.senders)[:_SENDERS])

    def break_off(self, ending: Ending) -> None:
        """End the wait as if its time was over: what was sent before is found by a last look."""
        if isinstance(ending, Gone):
            self.all_gone = {**self.all_gone, ending.agent_id: ending}
        if not self.is_aborted:  # that is final; the end of a sender need not be
            self.ending = ending
        self.deadline = clock.monotonic()
        self.nudge()

    @property
    def is_aborted(self) -> bool:
        """Whether its agent was asked to stop."""
        return isinstance(self.ending, Abort)

    def fits(self, signal: Signal) -> bool:
        """Whether the signal is what is waited for."""
        return (not self.types or signal.type in self.types) and (not self.senders or signal.source in self.senders)


class Horizon(NamedTuple):
    """How far a mailbox is known when a look begins: orders, and the number of gaps in the copies so far."""

    mail: int
    broadcast: int
    gap: int


class Mailbox:
    """Entries by type, oldest first, and the waiters in the order in which they came."""

    def __init__(self, server_ms: Callable[[], float]) -> None:
        """``server_ms`` tells the server's time; it never lags behind, so nothing expired is given out."""
        self._server_ms = server_ms
        self._lock = threading.Lock()
        self._by_type: dict[str, dict[str, Entry]] = {}
        self._waiters: list[Waiter] = []
        self._held: list[Entry] | None = []
        self._gap = self._first_gap = 0
        self._shelved = 0
        self._sweep_at = _SWEEP
        self._out: set[str] = set()
        """What was handed out and is not yet known to be gone from the store."""
        self._marks: deque[Entry] = deque()
        self.mail_order = 0
        self.broadcast_order = 0

    # What arrives

    def deliver(self, entry: Entry) -> None:
        """Take in a copy from the inbox or the broadcast stream."""
        with self._lock:
            if self._held is not None:
                self._held.append(entry)
            else:
                self._accept(entry)

    def hold(self) -> Horizon:
        """A look begins: keep copies aside until its :meth:`merge`. Returns from where to look."""
        with self._lock:
            if self._held is None:
                self._held = []
            return Horizon(self.mail_order, self.broadcast_order, self._gap)

    def lack(self) -> None:
        """Copies have a gap: keep further ones aside until a look that begins after this is merged."""
        with self._lock:
            self._gap += 1
            if self._held is None:
                self._held = []

    @property
    def waiters(self) -> list[Waiter]:
        """Those who wait at this moment."""
        return list(self._waiters)

    @property
    def is_held(self) -> bool:
        """Whether copies are kept aside because the store has to be looked at."""
        return self._held is not None

    def restart(self) -> None:
        """The link is new: the mailbox will be read from its beginning."""
        with self._lock:
            self._held = []
            self._gap += 1
            self._first_gap = self._gap
            self.mail_order = self.broadcast_order = 0

    def merge(self, entries: Iterable[Entry], horizon: Horizon) -> None:
        """Take in what a look found in the store beyond ``horizon``, then the copies that were kept aside.

        They stay aside if a gap came after the look began: the look may not have seen what fell into it.
        """
        with self._lock:
            if horizon.gap < self._first_gap:
                return  # of an earlier link
            held: list[Entry] = []
            if horizon.gap == self._gap:
                held, self._held = self._held or [], None
            for entry in sorted([*entries, *held], key=_by_order):
                self._accept(entry)

    def _accept(self, entry: Entry) -> None:
        order = entry.signal.order
        if entry.at is None:
            if order <= self.broadcast_order:
                return
            self.broadcast_order = order
        else:
            if order <= self.mail_order:
                return
            self.mail_order = order
        signal = entry.signal
        if signal.id not in self._out and signal.id not in self._by_type.get(signal.type, ()):
            self._place(entry)

    def _place(self, entry: Entry) -> None:
        for position, waiter in enumerate(self._waiters):
            if not waiter.done and waiter.fits(entry.signal):
                if entry.expires_ms <= self._server_ms():
                    return
                del self._waiters[position]
                self._out.add(entry.signal.id)
                waiter.finish(entry)
                return
        self._by_type.setdefault(entry.signal.type, {})[entry.signal.id] = entry
        self._shelved += 1
        if self._shelved >= self._sweep_at:
            self._sweep()

    def _sweep(self) -> None:
        """Forget what has expired and was never asked for. As rare as there is much to go through."""
        now = self._server_ms()
        entries = [entry for shelf in self._by_type.values() for entry in shelf.values()]
        expired = [entry for entry in entries if entry.expires_ms <= now]
        for entry in expired:
            self._drop(entry)
        self._shelved = 0
        self._sweep_at = max(_SWEEP, len(entries) - len(expired))

    # What is taken

    def wait(self, waiter: Waiter) -> None:
        """Finish ``waiter`` with the oldest entry that fits, or with the next one that arrives: one step."""
        with self._lock:
            entry = self._oldest(waiter)
            if entry is None:
                self._waiters.append(waiter)
            else:
                self._remove(entry)
                waiter.finish(entry)

    def cursors(self, waiter: Waiter) -> tuple[int, int] | None:
        """Return the orders of mail and broadcasts up to which nothing came for ``waiter``; ``None`` if its wait ends.

        One step: whatever has ended it, or has a higher order than these, is seen.
        """
        with self._lock:
            left = waiter.remaining()
            if waiter.done or (left is not None and left <= 0):
                return None
            return self.mail_order, self.broadcast_order

    def withdraw(self, waiter: Waiter) -> None:
        """Stop waiting; an entry that came meanwhile stays with the waiter."""
        with self._lock:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def end_waits(self) -> None:
        """Wake all who wait, with nothing: there is no sense in waiting any longer."""
        with self._lock:
            for waiter in self._waiters:
                waiter.finish(None)

    def break_off(self, ending: Ending) -> None:
        """End all waits before their time."""
        with self._lock:
            waiters = list(self._waiters)
        for waiter in waiters:
            waiter.break_off(ending)

    def take(self, wanted: Waiter) -> Entry | None:
        """Remove and return the oldest entry that fits, if there is one."""
        with self._lock:
            entry = self._oldest(wanted)
            if entry is not None:
                self._remove(entry)
            return entry

    def find(self, wanted: Waiter) -> list[Entry]:
        """Return the entries that fit, oldest first, without taking them."""
        with self._lock:
            found = [entry for kind in self._kinds(wanted) for entry in self._scan(kind, wanted)]
        return sorted(found, key=_by_order)

    def put_back(self, entry: Entry) -> None:
        """Put an entry back that was handed out and did not reach the user."""
        with self._lock:
            self._shelve([entry])

    def give_back(self, signals: Iterable[Signal]) -> None:
        """Put signals back that the user took in vain. A mark that was not sent yet is withdrawn."""
        with self._lock:
            marks = {entry.signal.id: entry for entry in self._pop_marks()}
            returned = []
            for signal in signals:
                again = evolve(signal, redelivered=True)
                mark = marks.pop(signal.id, None)
                known = Entry(again, "", 0, int(signal.expires_at * 1000))
                returned.append(known if mark is None else evolve(mark, signal=again))
            self._marks.extend(marks.values())
            self._shelve(returned)

    def _shelve(self, entries: list[Entry]) -> None:
        """Place entries that are older than what is there; who waits comes first."""
        for entry in sorted(entries, key=_by_order):
            self._out.discard(entry.signal.id)
            self._place(entry)
        for kind in {entry.signal.type for entry in entries} & self._by_type.keys():
            shelf = self._by_type[kind]
            self._by_type[kind] = dict(sorted(shelf.items(), key=lambda item: _by_order(item[1])))

    def mark(self, entry: Entry) -> None:
        """The entry has reached the user: the store will be told ahead of the agent's next command."""
        if entry.at == "":
            self._out.discard(entry.signal.id)
        else:
            self._marks.append(entry)

    def pop_marks(self) -> list[Entry]:
        """Return what has been marked, for the store to be told; see :meth:`confirm`."""
        if not self._marks:
            return []
        with self._lock:
            return self._pop_marks()

    def _pop_marks(self) -> list[Entry]:
        marks = []
        while self._marks:
            marks.append(self._marks.popleft())
        return marks

    def confirm(self, marks: Iterable[Entry]) -> None:
        """The store has been told; before, a look over a new link may find these entries once more."""
        for entry in marks:
            self._out.discard(entry.signal.id)

    def _kinds(self, wanted: Waiter) -> list[str]:
        return list(wanted.types or self._by_type)

    def _oldest(self, wanted: Waiter) -> Entry | None:
        kinds = self._kinds(wanted)
        if len(kinds) == 1:
            return next(iter(self._scan(kinds[0], wanted, most=1)), None)
        firsts = [entry for kind in kinds for entry in self._scan(kind, wanted, most=1)]
        return min(firsts, key=_by_order, default=None)

    def _scan(self, kind: str, wanted: Waiter, most: int = sys.maxsize) -> list[Entry]:
        """Return the first ``most`` entries of a type that fit, oldest first; what has expired goes."""
        shelf = self._by_type.get(kind)
        if not shelf:
            return []
        now, found, expired = self._server_ms(), [], []
        for entry in shelf.values():
            if entry.expires_ms <= now:
                expired.append(entry)
            elif not wanted.senders or entry.signal.source in wanted.senders:
                found.append(entry)
                if len(found) == most:
                    break
        for entry in expired:
            self._drop(entry)
        return found

    def _remove(self, entry: Entry) -> None:
        self._out.add(entry.signal.id)
        self._drop(entry)

    def _drop(self, entry: Entry) -> None:
        shelf = self._by_type[entry.signal.type]
        del shelf[entry.signal.id]
        if not shelf:
            del self._by_type[entry.signal.type]


def _by_order(entry: Entry) -> int:
    return entry.signal.order
