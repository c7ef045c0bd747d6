"""Agents at barriers, for tests: who stands where, and how it ended for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from awaiting import Awaited
from peers import Peer
from waiting import wait_until

from attune_dsl.model import Broken, Reason, Released

if TYPE_CHECKING:
    from conftest import Store


def standing(store: Store, name: str = "gate") -> set[str]:
    """Who stands at a barrier, as far as the store knows."""
    fields = store.redis.hkeys(f"{store.prefix}barrier:{name}")
    return {field.decode()[3:] for field in fields if field.startswith(b"at:")}  # type: ignore[union-attr]


def knows(peer: Peer, name: str = "gate") -> bool:
    """Whether the agent stands at a barrier and has learnt in which generation."""
    stand = peer.member.stands.get(name)
    return stand is not None and stand.generation is not None


def stands(
    peer: Peer, parties: int | Sequence[str] = 2, *, name: str = "gate", timeout: float | None = None
) -> Awaited:
    """Have an agent come to a barrier on a thread of its own; return once it stands there."""
    meeting = Awaited(peer.signals.barrier, name, parties, timeout=timeout)
    wait_until(lambda: knows(peer, name))
    return meeting


def meet(*peers: Peer, name: str = "gate") -> int:
    """Have these agents meet, and nobody else; return the generation."""
    meetings = [Awaited(peer.signals.barrier, name, len(peers)) for peer in peers]
    found = [meeting.result() for meeting in meetings]
    released = found[0]
    assert isinstance(released, Released), released
    assert sorted(released.agents) == sorted(peer.id for peer in peers)
    assert all(one == released for one in found)
    return released.generation


def broken(found: Awaited | Released | Broken, reason: Reason, by: str | None) -> str:
    """It broke for that reason, because of that agent; return the detail."""
    how = found.result() if isinstance(found, Awaited) else found
    assert isinstance(how, Broken), how
    assert (how.reason, how.by) == (reason, by), how
    return how.detail
