"""Meeting at a barrier: all parties go on together, or all learn that it broke and because of whom."""

from __future__ import annotations

from collections.abc import Sequence

from attune_dsl import clock
from attune_dsl.coordination.terms import parties_of
from attune_dsl.exceptions import UsageError
from attune_dsl.hub.barriers import Stand
from attune_dsl.hub.drive import give_way
from attune_dsl.hub.endings import Abort, Gone
from attune_dsl.hub.hub import Hub
from attune_dsl.hub.member import Member
from attune_dsl.model import Broken, Reason, Released
from attune_dsl.store.names import check_name


async def meet(
    hub: Hub,
    member: Member,
    name: str,
    parties: int | Sequence[str],
    *,
    timeout: float | None,
    deadline: float | None,
    stage: str | None,
) -> Released | Broken:
    """See :meth:`Signals.barrier`; ``deadline`` is when ``timeout`` is over, ``stage`` where the agent waits."""
    check_name("barrier", name)
    meant, others = parties_of(parties), frozenset[str]()
    if isinstance(meant, frozenset):
        others = meant - {member.agent_id}
        if len(others) == len(meant):
            raise UsageError(f"the parties {sorted(meant)} do not include this agent, {member.agent_id!r}")
    stand = Stand(hub.reader.pump, deadline, name, meant, others)
    stand.stage = stage
    if member.stands.setdefault(name, stand) is not stand:
        raise UsageError(f"agent {member.agent_id!r} waits at the barrier {name!r} already; one wait at a time")
    if member.aborted.value is not None:
        stand.break_off(member.aborted.value)
    try:
        how = await _stand(hub, member, stand, timeout)
    except BaseException:
        member.recorder.wait_ended(stand, "interrupted")
        raise
    finally:
        del member.stands[name]
    if stand.parties_of_others:
        raise UsageError(_disagreement(stand))
    if how is None:
        how = Broken(reason=Reason.UNAVAILABLE, by=None, detail=_why_unavailable(hub, member))
    if isinstance(how, Broken):
        member.recorder.wait_ended(stand, how.reason.value, how.detail)
    else:
        member.recorder.wait_ended(stand, "released")
    if not how and member.aborted.value is not None:
        # Another one that was asked to stop may have broken it first.
        member.has_heeded |= how.reason is Reason.ABORTED or isinstance(stand.ending, Abort)
    return how


def _disagreement(stand: Stand) -> str:
    there = f"those who stand at the barrier {stand.name!r} wait for {stand.parties_of_others} parties"
    if stand.parties_of_others != stand.count:
        return f"{there}, not for {stand.count}; all have to agree on who comes"
    return f"{there}, as this call does, but not for the same; all have to give the same names, or all just the number"


async def _stand(hub: Hub, member: Member, stand: Stand, timeout: float | None) -> Released | Broken | None:
    if hub.link.is_given_up or not await hub.barriers.has_departed(member, stand.name):
        await give_way()
        return None
    try:
        has_arrived = await hub.ask([*hub.unsaid(member), hub.barriers.arrival(member, stand)]) is not None
        if has_arrived and not stand.done:
            await _wait(hub, member, stand)
        if stand.value is None and not stand.parties_of_others:
            return await _depart(hub, member, stand, _why(member, stand, timeout, has_arrived=has_arrived))
    except BaseException as error:
        if stand.value is None:
            why = _late(member, f"its wait was ended by {type(error).__name__}")
            hub.post([hub.barriers.departure(member, stand, why)])
        raise
    return stand.value


async def _depart(hub: Hub, member: Member, stand: Stand, broken: Broken) -> Released | Broken | None:
    """Have the others told that they need not wait for one who goes on; return what that one learns."""
    departure = hub.barriers.departure(member, stand, broken)
    is_halted = isinstance(stand.ending, Abort) and stand.ending.is_own and not hub.link.up
    if is_halted or broken.reason is Reason.UNAVAILABLE:
        hub.post([departure])
        return broken if is_halted else None
    requests = [*hub.unsaid(member), departure]
    hub.post(requests)
    await hub.barriers.has_departed(member, stand.name)
    return None if await hub.settle(requests) is None else stand.value


async def _wait(hub: Hub, member: Member, stand: Stand) -> None:
    member.doing.wait_began("barrier", stand.name)
    stand.began_at = clock.monotonic()
    member.recorder.wait_began()
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


def _why(member: Member, stand: Stand, timeout: float | None, *, has_arrived: bool) -> Broken:
    """Return why the barrier breaks, as the others will learn it."""
    ending = stand.ending
    if stand.done:
        return _late(member, "its link to the store broke")
    if isinstance(ending, Abort):
        return Broken(reason=Reason.ABORTED, by=member.agent_id, detail=str(ending))
    if not has_arrived:
        return _late(member, "the store did not confirm its arrival")
    if isinstance(ending, Gone):
        return Broken(reason=Reason.PEER_GONE, by=ending.agent_id, detail=str(ending))
    detail = f"agent {member.agent_id!r} waited {timeout:g} s for all {stand.count} parties"
    return Broken(reason=Reason.TIMEOUT, by=member.agent_id, detail=detail)


def _late(member: Member, why: str) -> Broken:
    """Return how it breaks because of one that has gone on before anybody could be told."""
    detail = f"agent {member.agent_id!r} does not wait any more: {why}"
    return Broken(reason=Reason.UNAVAILABLE, by=member.agent_id, detail=detail)


def _why_unavailable(hub: Hub, member: Member) -> str:
    if member.gone:
        return member.gone
    store = f"the store {hub.server.label}"
    return f"{store} did not confirm it" if hub.link.up else f"{store} cannot be reached: {hub.link.error}"
