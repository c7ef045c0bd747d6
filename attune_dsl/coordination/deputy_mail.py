"""Taking the mail of an agent that lives in another process, which takes none itself: a command under ``exec``."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import closing
from typing import Final

from attune_dsl import clock
from attune_dsl.coordination.advice import on_timeout
from attune_dsl.coordination.arrivals import Arrival, Arrivals
from attune_dsl.coordination.asking import ask
from attune_dsl.coordination.deputy import Deputy
from attune_dsl.coordination.handing import Hand
from attune_dsl.coordination.stored_mail import StoredMail, Wanted, number, wanted
from attune_dsl.events import SignalReceived
from attune_dsl.exceptions import StoreUnavailable, UsageError
from attune_dsl.hub.drive import Ticket, drive
from attune_dsl.hub.endings import ABORT_FIELDS, Abort, Gone
from attune_dsl.hub.link import SLEEPING
from attune_dsl.hub.mailbox import Entry
from attune_dsl.hub.watch import Entry as Event
from attune_dsl.hub.watch import parse
from attune_dsl.model import NoSignal, Reason, Signal
from attune_dsl.store import codec, event_codec, scripts
from attune_dsl.store.scripts import Story

TURN: Final = 10.0
"""Seconds for which one process may hand mail on before another one that acts for the same agent may."""
_PAUSE: Final = 0.05
"""Seconds between two attempts to get a turn."""
_ENDS: Final = frozenset({"ended", "lost"})
_OWN_ENDS: Final = _ENDS | {"fenced"}
_NEWS: Final = "updated"
"""The kind of event that, among others, an abort is."""


class DeputyMail(Deputy):
    """Takes mail in an agent's name. Its methods of its own block, and are not for event loops.

    Several processes may act for one agent; between them, too, each signal is taken once. Errors as with
    :class:`Deputy`.
    """

    is_confirmed = True
    """Whether the store knows of everything that was taken; what it does not know of comes again."""

    def wait(
        self,
        types: Sequence[str],
        *,
        source: str | None,
        timeout: float | None,
        require_alive: bool,
        hand: Hand,
    ) -> Signal | NoSignal:
        """Take the oldest signal that fits, now or when it comes; see :meth:`Signals.wait`.

        It counts as taken once ``hand`` has returned; if that raises, it stays where it was. The agent does not count
        as waiting, so it is never part of a deadlock: its other processes may be at work.
        """
        if require_alive and source is None:
            raise UsageError("a wait that requires its source to be alive has to name a source")
        deadline = None if timeout is None else clock.monotonic() + timeout
        these = wanted(types, source)
        try:
            outcome = self._wait(these, hand, deadline, require_alive=require_alive)
        except StoreUnavailable as error:
            return NoSignal(reason=Reason.UNAVAILABLE, detail=str(error))
        return on_timeout(types, source, timeout, None) if outcome is None else outcome

    def clear(self, types: Sequence[str], *, source: str | None) -> int:
        """Take all signals that fit and forget them; return how many there were."""
        return len(drive(self._take(wanted(types, source), None)))

    def _wait(
        self, these: Wanted, hand: Hand, deadline: float | None, *, require_alive: bool
    ) -> Signal | NoSignal | None:
        """Return ``None`` for a time-out."""
        since = self._epoch()
        mail = StoredMail(self._hub, self._agent_id)
        with closing(Arrivals(self._hub, (*mail.streams, self._hub.keys.timeline))) as arrivals:
            gone = self._aborted()
            if gone is None:
                gone = self._gone(these.source, since, require_alive=require_alive)
            while True:
                is_over = deadline is not None and clock.monotonic() >= deadline
                if taken := drive(self._take(these, hand)):
                    return taken[0].signal
                if gone is not None:
                    return gone
                if is_over:
                    return None
                gone = self._until_news(mail, arrivals, these, deadline)

    def _until_news(
        self, mail: StoredMail, arrivals: Arrivals, these: Wanted, deadline: float | None
    ) -> NoSignal | None:
        """Return when something has come that fits, or the time is over; and why to wait no longer, if so."""
        while arrived := arrivals.next(deadline):
            ends = [gone for each in arrived if (gone := self._ended(each, these.source)) is not None]
            gone = ends[0] if ends else None
            entries = [mail.arrived(each) for each in arrived if each.stream in mail.streams]
            if ends or any(entry is not None and these.fits(entry.signal) for entry in entries):
                return gone
        return None

    def _ended(self, arrival: Arrival, source: str | None) -> NoSignal | None:
        """Return how the source ended, or that the agent shall stop, if that is what has come.

        Raises :class:`UsageError` where the agent itself has ended.
        """
        if arrival.stream != self._hub.keys.timeline:
            return None
        for event in parse([(arrival.at, arrival.raw)]):
            if event.agent_id == self._agent_id and event.kind in _OWN_ENDS:
                self._epoch()
            if event.agent_id == self._agent_id and event.kind == _NEWS and (aborted := self._aborted()) is not None:
                return aborted
            if event.agent_id == source and event.kind in _ENDS:
                return _peer_gone(self._how(event))
        return None

    def _epoch(self) -> int:
        """Return the epoch of the agent. Raises :class:`UsageError` if it has ended, or has another owner."""
        owner = drive(self._tell([]))[1]
        return number(owner.partition(b"@")[0])

    def _aborted(self) -> NoSignal | None:
        """Return why the agent shall stop, and who asked, if somebody did."""
        (told,) = drive(ask(self._hub, [("HMGET", self._hub.keys.agent(self._agent_id), *ABORT_FIELDS)]))
        abort = Abort.read(*told) if isinstance(told, list) else None
        return None if abort is None else NoSignal(reason=Reason.ABORTED, detail=str(abort))

    def _gone(self, source: str | None, since: int, *, require_alive: bool) -> NoSignal | None:
        """Return how the source ended, if that was since the agent joined; or that it does not live, if it has to."""
        if source is None:
            return None
        if require_alive and not drive(self._hub.sources.is_alive(source)):
            return NoSignal(reason=Reason.PEER_GONE, detail=f"no agent {source!r} is alive")
        gone = self._last_end(source)
        return None if gone is None or gone.ended_order < since else _peer_gone(gone)

    def _last_end(self, agent_id: str) -> Gone | None:
        names = ("ended_at", "ended_order", "status", "stage", "error")
        (values,) = drive(ask(self._hub, [("HMGET", self._hub.keys.agent(agent_id), *names)]))
        if not isinstance(values, list) or not values[0]:
            return None
        at, order, *how = values
        return Gone(agent_id, number(at), number(order), *((word or b"").decode(errors="replace") for word in how))

    def _how(self, event: Event) -> Gone:
        """Return how the agent of an event ended; if it was started again by now, what the event itself tells."""
        gone = self._last_end(event.agent_id)
        if gone is not None:
            return gone
        said = (event.fields.get(name, b"").decode(errors="replace") for name in (b"status", b"stage"))
        status, stage = said
        return Gone(event.agent_id, int(event.at * 1000), 0, status or event.kind, stage, "")

    async def _take(self, these: Wanted, hand: Hand | None) -> list[Entry]:
        """Hand the oldest signal that fits on and take it; without ``hand`` take all."""
        mail = StoredMail(self._hub, self._agent_id)
        if not (await mail.look(these)).entries:
            return []
        until = await self._begin_turn()
        try:
            entries = (await mail.look(these)).entries  # others had their turn meanwhile
            if hand is not None and entries:
                del entries[1:]
                hand(entries[0].signal)
            if entries:
                await self._confirm(entries, is_handed_on=hand is not None)
            return entries
        finally:
            if clock.monotonic() < until:
                await self._hub.ask([self._hub.request(lambda _: ("DEL", self._key))])

    @property
    def _key(self) -> str:
        return self._hub.keys.reading(self._agent_id)

    async def _begin_turn(self) -> float:
        """Wait until no other process takes this agent's mail; return until when that is certain."""
        command = ("SET", self._key, uuid.uuid4().hex, "NX", "PX", int(TURN * 1000))
        while True:
            asked_at = clock.monotonic()
            (reply,) = await ask(self._hub, [command])
            if reply is not None:
                return asked_at + TURN - 1.0
            await Ticket[None](SLEEPING, asked_at + _PAUSE)

    async def _confirm(self, entries: Sequence[Entry], *, is_handed_on: bool) -> None:
        """Tell the store what was taken. What was handed on is not given back because that fails."""
        hub, last = self._hub, entries[-1].signal
        mail = [(entry.at, entry.size) for entry in entries if entry.at is not None]
        seen = [(entry.signal.order, entry.expires_ms) for entry in entries if entry.at is None]
        did = ["took", last.type, "from", last.source] if is_handed_on else ["cleared its mailbox"]
        story = self._story(last) if is_handed_on else None

        async def attempt() -> bool:
            owner = (await self._tell(["did", codec.encode_payload(did)]))[1].decode()
            request = hub.request(
                lambda _: scripts.record(hub.keys, self._agent_id, owner, mail=mail, broadcasts=seen, story=story),
            )
            return bool(await hub.ask([request]) == b"noted")

        try:
            self.is_confirmed = bool(await self._again(attempt, bool))
            if not self.is_confirmed:
                raise StoreUnavailable(f"the store {hub.server.label} did not confirm that the signals were taken")
        except (StoreUnavailable, UsageError):
            self.is_confirmed = False
            if not is_handed_on:
                raise

    def _story(self, signal: Signal) -> Story:
        """Return what the timeline tells: that the agent received the signal."""
        received = SignalReceived(
            id=signal.id,
            type=signal.type,
            source=signal.source,
            target=signal.target,
            redelivered=signal.redelivered,
        )
        entry = ("signal.received", int(self._hub.server_ms()), "", event_codec.encode(received))
        return Story("", "", 0, [entry])


def _peer_gone(gone: Gone) -> NoSignal:
    return NoSignal(reason=Reason.PEER_GONE, detail=str(gone))
