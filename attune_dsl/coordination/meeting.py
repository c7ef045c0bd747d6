"""Meeting at a barrier: all parties go on together, or all learn that it broke and because of whom."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from attune_dsl.exceptions import UsageError
from attune_dsl.hub.barriers import Stand
from attune_dsl.hub.commands import Request
from attune_dsl.hub.endings import Abort, Gone
from attune_dsl.hub.hub import Hub
from attune_dsl.hub.member import Member
from attune_dsl.model import Broken, Reason, Released
from attune_dsl.store import limits
from attune_dsl.store.names import check_name


async def meet(
    hub: Hub, member: Member, name: str, parties: int | Sequence[str], *, timeout: float | None, deadline: float | None
) -> Released | Broken:
    """See :meth:`Signals.barrier`; ``deadline`` is when ``timeout`` is over."""
    check_name("barrier", name)
    meant = _parties(parties, member.agent_id)
    others = meant - {member.agent_id} if isinstance(meant, frozenset) else frozenset()
    stand = Stand(hub.reader.pump, deadline, name, meant, others)
    if member.stands.setdefault(name, stand) is not stand:
        raise UsageError(f"agent {member.agent_id!r} waits at the barrier {name!r} already; one wait at a time")
    try:
        how = await _stand(hub, member, stand, timeout)
    finally:
        del member.stands[name]
    if stand.others:
        meet_others = "others" if stand.others == stand.count else f"not by {stand.count}"
        raise UsageError(f"the barrier {name!r} is waited at by {stand.others} parties, {meet_others}")
    if how is None:
        how = Broken(reason=Reason.UNAVAILABLE, by=None, detail=_why_unavailable(hub, member))
    if not how and member.aborted.value is not None:
        # Another one that was asked to stop may have broken it first.
        member.has_heeded |= how.reason is Reason.ABORTED or isinstance(stand.ending, Abort)
    return how


def _parties(parties: int | Sequence[str], me: str) -> int | frozenset[str]:
    """Return how many parties there are, or their names."""
    if isinstance(parties, bool | str) or not isinstance(parties, int | Collection):
        raise UsageError(f"barrier(parties=) takes a number, or the agent ids of all parties, not {parties!r}")
    count = parties if isinstance(parties, int) else len(parties)
    if not 1 <= count <= limits.PARTIES:
        raise ValueError(f"there are {count:,} parties; it must be from 1 to {limits.PARTIES:,}")
    if isinstance(parties, int):
        return parties
    names = frozenset(check_name("party", party) for party in parties)
    if me not in names:
        raise UsageError(f"the parties {sorted(names)} do not include this agent, {me!r}")
    return names


async def _stand(hub: Hub, member: Member, stand: Stand, timeout: float | None) -> Released | Broken | None:
    try:
        await hub.barriers.has_departed(member, stand.name)
        if not await _post(hub, member, hub.barriers.arrival(member, stand)):
            _depart_late(hub, member, stand, "the store did not confirm its arrival")
            return None
        if not stand.done:
            await _wait(hub, member, stand)
        if stand.done:
            return _how(hub, member, stand)
        broken = _why(member, stand, timeout)
        if broken.reason is Reason.ABORTED and not hub.link.up:
            hub.post([hub.barriers.departure(member, stand, broken, keep=True)])
            return broken
        if not await _post(hub, member, hub.barriers.departure(member, stand, broken, keep=False)):
            hub.post([hub.barriers.departure(member, stand, broken, keep=True)])
            return None
    except BaseException as error:
        _depart_late(hub, member, stand, f"its wait was ended by {type(error).__name__}")
        raise
    return stand.value


def _how(hub: Hub, member: Member, stand: Stand) -> Released | Broken | None:
    if stand.value is None and not stand.others:
        _depart_late(hub, member, stand, "its link to the store broke")
    return stand.value


async def _wait(hub: Hub, member: Member, stand: Stand) -> None:
    if member.aborted.value is not None:
        stand.break_off(member.aborted.value)
    member.doing.wait_began("barrier", stand.name)
    hub.blocks.begin(member, None, None)
    if stand.watched:
        hub.sources.add(member, stand)
    try:
        await stand
    finally:
        if stand.watched:
            hub.sources.remove(stand)
        hub.blocks.end(member)
        member.doing.wait_ended("barrier", stand.name)


def _why(member: Member, stand: Stand, timeout: float | None) -> Broken:
    """Return why the barrier breaks, as the others will learn it."""
    ending = stand.ending
    if isinstance(ending, Gone):
        return Broken(reason=Reason.PEER_GONE, by=ending.agent_id, detail=str(ending))
    if isinstance(ending, Abort):
        return Broken(reason=Reason.ABORTED, by=member.agent_id, detail=str(ending))
    detail = f"agent {member.agent_id!r} waited {timeout:g} s for all {stand.count} parties"
    return Broken(reason=Reason.TIMEOUT, by=member.agent_id, detail=detail)


def _depart_late(hub: Hub, member: Member, stand: Stand, why: str) -> None:
    """Have the store told when it can be, that the others do not wait for one who has gone on."""
    if not stand.done or stand.value is None:
        detail = f"agent {member.agent_id!r} does not wait any more: {why}"
        broken = Broken(reason=Reason.UNAVAILABLE, by=member.agent_id, detail=detail)
        hub.post([hub.barriers.departure(member, stand, broken, keep=True)])


async def _post(hub: Hub, member: Member, request: Request) -> bool:
    return await hub.ask([*hub.unsaid(member), request]) is not None


def _why_unavailable(hub: Hub, member: Member) -> str:
    return member.gone or f"the store {hub.server.label} cannot be reached: {hub.link.error}"
