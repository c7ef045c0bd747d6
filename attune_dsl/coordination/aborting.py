"""Asking agents to stop: one of them, or all that live now (§5.9)."""

from __future__ import annotations

from typing import Any

from attune_dsl import log
from attune_dsl.hub.hub import Hub
from attune_dsl.hub.member import Member
from attune_dsl.store import limits, scripts
from attune_dsl.store.names import check_name, check_reason


async def abort(
    hub: Hub, reason: str, target: str | None, *, sender: Member | None, by: str, but: str | None = None
) -> list[str] | None:
    """Ask ``target`` to stop (``None``: all that live now, but the sender, or ``but``); return who was asked.

    ``None`` means that the store did not confirm it; of many, it may have confirmed some: asking again does no harm.
    ``sender`` is ``None`` where no agent of this process asks. Raises as :func:`check`.
    """
    check(reason, target)
    names = [target] if target is not None else await _others(hub, sender, but)
    if names is None:
        return None
    asked: list[str] = []
    for start in range(0, len(names), limits.ABORT_CHUNK):
        chunk = names[start : start + limits.ABORT_CHUNK]
        reply = await _ask(hub, chunk, reason, sender, by, leases=target is None)
        if not isinstance(reply, list):
            return None
        asked += [agent_id.decode(errors="replace") for agent_id in reply]
    return asked


def check(reason: str, target: str | None) -> None:
    """Raise ``ValueError`` as :func:`check_reason`, and :class:`InvalidName`, before anybody is asked."""
    check_reason(reason)
    if target is not None:
        check_name("target", target)


async def _ask(hub: Hub, names: list[str], reason: str, sender: Member | None, by: str, *, leases: bool) -> Any:
    def owner() -> tuple[str, str] | None:
        return None if sender is None else (sender.agent_id, sender.owner)

    request = hub.request(lambda _: scripts.abort(hub.keys, names, sender=owner(), by=by, reason=reason, leases=leases))
    reply = await hub.ask([*([] if sender is None else hub.unsaid(sender)), request])
    if reply == b"fenced":
        log.warning("abort.fenced", agent_id=by, advice="the agent id has another owner now")
    return reply


async def _others(hub: Hub, sender: Member | None, but: str | None) -> list[str] | None:
    """Return the leases of all that live now: who takes one of these ids later is not meant."""
    now = int(hub.server_ms())
    leases = await hub.ask([hub.request(lambda _: ("ZRANGEBYSCORE", hub.keys.leases, now, "+inf"))])
    if not isinstance(leases, list):
        return None
    own = None if sender is None else sender.lease
    names = [name for lease in leases if (name := lease.decode(errors="replace")) != own]
    return [name for name in names if name.rpartition("#")[0] != but]
