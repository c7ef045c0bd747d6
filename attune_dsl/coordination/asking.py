"""Questions to the store by those who only look. All raise :class:`StoreUnavailable` if it does not answer in time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from attune_dsl.exceptions import StoreUnavailable
from attune_dsl.hub import link
from attune_dsl.hub.commands import Request
from attune_dsl.hub.hub import Hub
from attune_dsl.store.connection import Batch, batch
from attune_dsl.store.scripts import Command


async def ask(hub: Hub, commands: Sequence[Command]) -> list[Any]:
    """Return the replies to commands that are sent in one write."""
    return await settled(hub, post(hub, batch(commands)))


async def replies(hub: Hub, batches: Iterable[Batch]) -> AsyncIterator[list[Any]]:
    """Ask batch after batch, one ahead: the server is at work while the last answer is taken in."""
    ahead: Request | None = None
    for many in batches:
        request = post(hub, many)
        if ahead is not None:
            yield await settled(hub, ahead)
        ahead = request
    if ahead is not None:
        yield await settled(hub, ahead)


def post(hub: Hub, many: Batch) -> Request:
    """Ask, and let :func:`settled` wait for the replies."""
    request = hub.request(lambda _: ())
    request.many = many
    hub.post([request])
    return request


async def settled(hub: Hub, request: Request) -> list[Any]:
    """Return the replies to what was asked by :func:`post`."""
    await hub.settle([request])
    if not isinstance(request.value, list):
        raise unanswered(hub)
    return request.value


def unanswered(hub: Hub) -> StoreUnavailable:
    """Return what is raised where the store did not answer: why, if the link knows, else that it took too long."""
    why = f": {hub.link.error}" if hub.link.error else f" within {link.GRACE:g} s"
    return StoreUnavailable(f"the store {hub.server.label} did not answer{why}")
