"""The signal operations of an agent that takes part: contract §5, numbers 1 to 7, 11 and 12."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import evolve

from attune_dsl import clock, log
from attune_dsl.coordination import aborting, outgoing, typed
from attune_dsl.coordination.advice import describe, on_timeout
from attune_dsl.coordination.meeting import meet
from attune_dsl.coordination.outgoing import Outgoing
from attune_dsl.coordination.signal_type import Named
from attune_dsl.coordination.terms import ANYBODY, checked, deadline_of, how_many, wanted
from attune_dsl.exceptions import PayloadInvalid, UsageError
from attune_dsl.hub.commands import Request
from attune_dsl.hub.drive import give_way
from attune_dsl.hub.endings import Abort, Ending, Gone
from attune_dsl.hub.hub import Hub
from attune_dsl.hub.mailbox import Entry, Waiter
from attune_dsl.hub.member import Member
from attune_dsl.model import Broken, Collected, NoSignal, Reason, Released, Signal
from attune_dsl.store.names import check_name


class MailOperations:
    """Operations on a member's mailbox; what is taken is appended to ``taken`` too, if that is given."""

    def __init__(
        self,
        hub: Hub,
        member: Member,
        ttl: float,
        taken: list[Signal] | None,
        is_alone: Callable[[], bool],
        *,
        stage: str | None = None,
    ) -> None:
        """``is_alone`` tells whether the caller is all that the agent does at the moment, ``stage`` what it is in."""
        self._hub = hub
        self._member = member
        self._ttl = ttl
        self._taken = taken
        self._is_alone = is_alone
        self._stage = stage

    # Sending

    async def send(self, type_: Named, target: str | None, payload: Any, *, ttl: float | None, key: str | None) -> str:
        """See :meth:`Signals.send`."""
        if target is None:
            return await self.broadcast(type_, payload, ttl=ttl, late=True, key=key)
        check_name("target", target)
        type_, payload = typed.outgoing(type_, payload)
        message = self._encode(type_, target, payload, ttl, key)
        self._member.doing.did("sent", type_, "to", target)
        return await self._post(message)

    async def broadcast(self, type_: Named, payload: Any, *, ttl: float | None, late: bool, key: str | None) -> str:
        """See :meth:`Signals.broadcast`."""
        type_, payload = typed.outgoing(type_, payload)
        message = self._encode(type_, None, payload, ttl, key, late=late)
        self._member.doing.did("broadcast", type_)
        return await self._post(message)

    def _encode(
        self, type_: str, target: str | None, payload: Any, ttl: float | None, key: str | None, *, late: bool = True
    ) -> Outgoing:
        seconds = self._ttl if ttl is None else ttl
        me, stage = self._member.agent_id, self._stage
        return outgoing.encode(me, type_, target, payload, ttl=seconds, key=key, late=late, stage=stage)

    async def _post(self, message: Outgoing) -> str:
        """Send a message and return its id once it is stored, else ``""``."""
        hub, member = self._hub, self._member
        if self._is_cut_off():
            return ""
        request = hub.request(lambda request: message.command(hub.keys, request, member.owner), numbered=True)
        reply = await hub.ask([*hub.unsaid(member), request])
        signal_id = outgoing.stored_id(reply, message.target, hub.namespace)
        if signal_id is None:
            log.warning("signal.fenced", agent_id=member.agent_id, advice="the agent id has another owner now")
        return signal_id or ""

    # Taking

    async def wait(
        self,
        types: Sequence[Named],
        *,
        source: str | None,
        timeout: float | None,
        require_alive: bool = False,
        deadlock: bool = True,
    ) -> Signal | NoSignal:
        """See :meth:`Signals.wait`."""
        deadline = deadline_of(timeout)
        names, kinds = typed.by_name(types)
        senders = () if source is None else (source,)
        waiter = self._waiter(names, senders, deadline)
        if require_alive and self._member.aborted.value is None and not await self._is_alive(source):
            there = await self.check(types, source=source)
            return there or NoSignal(reason=Reason.PEER_GONE, detail=f"no agent {source!r} is alive")
        while await self._await(waiter, is_alone=self._is_alone if deadlock and source is not None else None):
            assert waiter.value is not None
            if (signal := self._fitting(waiter.value, kinds)) is not None:
                return self._received(waiter.value, signal, self._member.recorder.wait_ended(waiter, "received"))
            waiter = self._waiter(names, senders, deadline)
        if waiter.ending is not None and (waiter.is_aborted or not self._is_pointless()):
            return self._nothing(waiter, self._ended(waiter.ending))
        if waiter.done or timeout is None or not self._hub.link.up:
            return self._nothing(waiter, self._unavailable())
        return self._nothing(waiter, on_timeout(names, source, timeout, await self._agents_seen(source)))

    def _nothing(self, waiter: Waiter, why: NoSignal) -> NoSignal:
        self._member.recorder.wait_ended(waiter, why.reason.value, why.detail)
        return why

    async def _is_alive(self, source: str | None) -> bool:
        if source is None:
            raise UsageError("wait(require_alive=True) has to name a source: who must be alive?")
        return self._is_pointless() or await self._hub.sources.is_alive(source)

    async def _await(self, waiter: Waiter, *, is_alone: Callable[[], bool] | None = None) -> bool:
        """Wait for what the waiter wants; return whether it has come. It is never lost, also when cancelled.

        ``is_alone`` tells whether the agent does nothing else meanwhile, so that the wait may be part of a cycle.
        """
        member, mailbox = self._member, self._member.mailbox
        if self._is_cut_off():
            waiter.finish(None)
            await give_way()
            return False
        mailbox.wait(waiter)
        if waiter.done:
            return True
        waiter.began_at, waiter.stage = clock.monotonic(), self._stage
        member.recorder.wait_began()
        if self._is_pointless():
            mailbox.end_waits()
            await give_way()
        about = wanted(waiter)
        member.doing.wait_began(*about)
        if member.aborted.value is not None:
            waiter.break_off(member.aborted.value)
        self._hub.blocks.begin(member, waiter, is_alone)
        if waiter.watched:
            self._hub.sources.add(member, waiter)
        try:
            await waiter
            has_looked = True
            if not waiter.done and not self._is_pointless() and not self._is_halted(waiter):
                has_looked = await self._hub.look([member])  # every wait ends with one more look into the store
            if not has_looked and not self._hub.link.up and not waiter.is_aborted:
                waiter.ending = None  # there may be mail: only the store knows
        except BaseException:
            mailbox.withdraw(waiter)
            if waiter.value is not None:
                mailbox.put_back(waiter.value)
            member.recorder.wait_ended(waiter, "interrupted")
            raise
        finally:
            if waiter.watched:
                self._hub.sources.remove(waiter)
            self._hub.blocks.end(member)
            member.doing.wait_ended(*about)
        if waiter.value is None:
            mailbox.withdraw(waiter)  # from here on it is certain whether anything has come
        return waiter.value is not None

    def _is_cut_off(self) -> bool:
        """Whether this is no agent any more, or a forked child's copy of one: what is in its mailbox is not its own."""
        return self._hub.is_foreign or bool(self._member.gone)

    def _is_pointless(self) -> bool:
        return self._is_cut_off() or self._hub.link.is_given_up

    def _is_halted(self, waiter: Waiter) -> bool:
        """Whether its own process stops the agent while the store is away: nobody waits for that any longer."""
        return isinstance(waiter.ending, Abort) and waiter.ending.is_own and not self._hub.link.up

    async def check(self, types: Sequence[Named], *, source: str | None) -> Signal | None:
        """See :meth:`Signals.check`."""
        names, kinds = typed.by_name(types)
        wanted = self._waiter(names, () if source is None else (source,), None)
        if self._is_cut_off():
            return None
        found = self._take(wanted, kinds)
        if found is None:
            await self._look()
            found = self._take(wanted, kinds)
        return found

    def _take(self, wanted: Waiter, kinds: typed.Kinds) -> Signal | None:
        while (entry := self._member.mailbox.take(wanted)) is not None:
            if (signal := self._fitting(entry, kinds)) is not None:
                return self._received(entry, signal)
        return None

    async def peek(self, types: Sequence[Named], *, source: str | None) -> Signal | None:
        """See :meth:`Signals.peek`."""
        return next(await self._find(types, source), None)

    async def pending(self, types: Sequence[Named], *, source: str | None) -> list[Signal]:
        """See :meth:`Signals.pending`."""
        return list(await self._find(types, source))

    async def _find(self, types: Sequence[Named], source: str | None) -> Iterator[Signal]:
        names, kinds = typed.by_name(types)
        wanted = self._waiter(names, () if source is None else (source,), None)
        if self._is_cut_off():
            return iter(())
        await self._look()
        found = (self._converted(entry.signal, kinds) for entry in self._member.mailbox.find(wanted))
        return (signal for signal in found if signal is not None)

    async def clear(self, types: Sequence[Named], *, source: str | None) -> int:
        """See :meth:`Signals.clear`."""
        names, _ = typed.by_name(types)
        wanted = self._waiter(names, () if source is None else (source,), None)
        if self._is_cut_off():
            return 0
        await self._look()
        mailbox, cleared = self._member.mailbox, 0
        while (entry := mailbox.take(wanted)) is not None:
            mailbox.mark(entry)
            cleared += 1
        self._member.marked()
        return cleared

    async def collect(
        self,
        types: Sequence[Named],
        *,
        count: int | None,
        sources: Sequence[str] | None,
        timeout: float | None,
    ) -> Collected:
        """See :meth:`Signals.collect`."""
        wanted, missing = how_many(count, sources)
        deadline = deadline_of(timeout)
        names, kinds = typed.by_name(types)
        entries: list[tuple[Entry, Signal, float | None]] = []
        gone: dict[str, Gone] = {}
        nothing = None
        try:
            while len(entries) < wanted and nothing is None:
                waiter = self._waiter(names, missing, deadline)
                waiter.watched -= gone.keys()  # a successor may still send
                is_last = bool(missing) and not waiter.watched  # nobody is left who could send: look once more
                if is_last:
                    waiter.deadline = clock.monotonic()
                if await self._await(waiter):
                    assert waiter.value is not None
                    waited = self._member.recorder.wait_ended(waiter, "received")
                    if (fitting := self._fitting(waiter.value, kinds)) is not None:
                        entries.append((waiter.value, fitting, waited))
                        missing = [source for source in missing if source != fitting.source]
                elif waiter.is_aborted and waiter.ending is not None:
                    nothing = self._ended(waiter.ending)
                elif self._is_pointless() or not (is_last or waiter.all_gone):
                    got = f"{len(entries)} of {wanted} signals {describe(names)} came"
                    nothing = self._why_incomplete(got, timeout, gave_up=waiter.done)
                elif waiter.all_gone:
                    gone |= waiter.all_gone
                    self._member.recorder.wait_ended(waiter, "interrupted")
                else:
                    detail = "; ".join(str(gone[source]) for source in missing)
                    nothing = NoSignal(reason=Reason.PEER_GONE, detail=detail)
        except BaseException:
            for entry, *_ in entries:  # nobody has seen them
                self._member.mailbox.put_back(entry)
            raise
        signals = tuple(self._received(*each) for each in entries)
        if nothing is None:
            return Collected(signals=signals, wanted=wanted)
        reason, detail = nothing.reason, self._nothing(waiter, nothing).detail
        return Collected(signals=signals, wanted=wanted, missing=tuple(missing), reason=reason, detail=detail)

    def _why_incomplete(self, got: str, timeout: float | None, *, gave_up: bool) -> NoSignal:
        if gave_up or timeout is None or not self._hub.link.up:
            return self._unavailable()
        return NoSignal(reason=Reason.TIMEOUT, detail=f"{got} within {timeout:g} s")

    # Together

    async def barrier(self, name: str, *, parties: int | Sequence[str], timeout: float | None) -> Released | Broken:
        """See :meth:`Signals.barrier`."""
        deadline = deadline_of(timeout)
        if self._is_cut_off():
            await give_way()
            return Broken(reason=Reason.UNAVAILABLE, by=None, detail=self._unavailable().detail)
        how = {"timeout": timeout, "deadline": deadline}
        return await meet(self._hub, self._member, name, parties, **how, stage=self._stage)

    async def abort(self, reason: str, target: str | None) -> list[str]:
        """See :meth:`Signals.abort`."""
        aborting.check(reason, target)
        if self._is_cut_off():
            return []
        self._member.doing.did("asked", target or "all others", "to stop")
        sender = self._member
        return await aborting.abort(self._hub, reason, target, sender=sender, by=sender.agent_id) or []

    # Shared

    def _waiter(self, types: Sequence[str], sources: Sequence[str], deadline: float | None) -> Waiter:
        senders = checked("source", *sources) if sources else ANYBODY
        return Waiter(self._hub.reader.pump, deadline, checked("signal type", *types), senders)

    async def _look(self) -> None:
        self._member.doing.did("looked into its mailbox")
        if not self._is_pointless():
            await self._hub.look([self._member])

    def _fitting(self, entry: Entry, kinds: typed.Kinds) -> Signal | None:
        """Return the signal as it was asked for; one that does not fit is marked as taken, or it would come again."""
        signal = self._converted(entry.signal, kinds)
        if signal is None:
            self._member.mailbox.mark(entry)
            self._member.marked()
        return signal

    def _converted(self, signal: Signal, kinds: typed.Kinds) -> Signal | None:
        """Return the signal with the payload that the receiver declared, if it declared one and if it fits."""
        kind = kinds.get(signal.type)
        if kind is None:
            return signal
        try:
            return evolve(signal, payload=typed.from_json(kind, signal.payload))
        except PayloadInvalid as error:
            self._hub.entries.unfit(self._member.agent_id, signal, str(error))
            return None

    def _received(self, entry: Entry, signal: Signal, waited: float | None = None) -> Signal:
        """The signal reaches the user, who ``waited`` for it: from here on it counts as taken (§5.7)."""
        member = self._member
        told = (signal.id, signal.type, signal.source, signal.target, waited, signal.redelivered or None)
        member.recorder.note("signal.received", self._stage, told)
        member.mailbox.mark(entry)
        member.marked()
        member.doing.did("took", signal.type, "from", signal.source)
        if self._taken is not None:
            self._taken.append(entry.signal)  # not converted: who gets it next may name another type, or none
        return signal

    def _ended(self, ending: Ending) -> NoSignal:
        if isinstance(ending, Abort):
            self._member.has_heeded = True
        return NoSignal(reason=ending.reason, detail=str(ending))

    def _unavailable(self) -> NoSignal:
        hub = self._hub
        if self._member.gone:
            detail = self._member.gone
        elif hub.is_foreign:
            detail = "this process was forked from the one whose agent this is; join() again in the child"
        else:
            detail = f"the store {hub.server.label} cannot be reached: {hub.link.error}"
        return NoSignal(reason=Reason.UNAVAILABLE, detail=detail)

    async def _agents_seen(self, source: str | None) -> list[str] | None:
        """Return the live agents if ``source`` was never one, for the advice after a time-out; else ``None``."""
        if source is None:
            return None
        hub = self._hub
        known: Request = hub.request(lambda _: ("EXISTS", hub.keys.agent(source)))
        now = int(hub.server_ms())
        live = hub.request(lambda _: ("ZRANGEBYSCORE", hub.keys.leases, now, "+inf", "LIMIT", 0, 1000))
        leases = await hub.ask([known, live])
        if leases is None or known.value:
            return None
        return [lease.decode().rpartition("#")[0] for lease in leases]
