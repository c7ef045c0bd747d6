"""The rows of a run's stages reach the store, also where it did not get those that were sent before."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest
from peers import Peer, Peers, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from conftest import Store

    WaitUntil = Callable[..., Any]


class Rows:
    """Two stages; notes whether all rows were asked for, or only those that have changed."""

    def __init__(self) -> None:
        self.asked: list[bool] = []

    def __call__(self, *, everything: bool) -> Mapping[str, bytes]:
        self.asked.append(everything)
        return {"first": b"{}", "second": b"{}"} if everything else {"second": b"{}"}


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def peer(peers: Peers, rows: Rows, wait_until: WaitUntil) -> Peer:
    """An agent that has said what there was to say."""
    peer = peers.join("ann")
    peer.agent.stage_rows(rows)
    peer.agent.touch("first", 0.1)
    wait_until(lambda: rows.asked == [True])
    return peer


def test_at_first_all_and_then_what_has_changed(peer: Peer, rows: Rows, wait_until: WaitUntil) -> None:
    peer.agent.touch("second", 0.2)

    wait_until(lambda: rows.asked == [True, False])


def test_all_again_over_a_new_link(store: Store, peer: Peer, rows: Rows, wait_until: WaitUntil) -> None:
    """The server may have come back with less than it had."""
    store.redis.delete(f"{store.prefix}stages:ann")
    peer.hub.reader._heard -= 13
    peer.hub.keeper.wake()
    wait_until(lambda: peer.hub.link.outages == 1 and peer.hub.link.up)

    peer.agent.touch("second", 0.2)

    wait_until(lambda: store.redis.hlen(f"{store.prefix}stages:ann") == 2)
    assert rows.asked[-1] is True


def test_all_again_after_an_update_that_was_refused(
    store: Store, peer: Peer, rows: Rows, wait_until: WaitUntil
) -> None:
    owner = store.redis.hget(f"{store.prefix}agent:ann", "owner")
    store.redis.hset(f"{store.prefix}agent:ann", "owner", "somebody")
    peer.agent.touch("second", 0.2)
    wait_until(lambda: rows.asked == [True, False] and not peer.member._rows_are_sure)
    store.redis.hset(f"{store.prefix}agent:ann", "owner", owner)

    peer.agent.touch("second", 0.3)

    wait_until(lambda: rows.asked == [True, False, True])


async def test_waits_that_are_pointless_let_other_tasks_run(peers: Peers) -> None:
    """A loop around them would else keep even a cancellation from arriving."""
    peer = await peers.ajoin("bob")
    peer.hub.expel(peer.member, "somebody else")
    reasons = []

    async def ask_again_and_again() -> None:
        while True:
            reasons.append((await peer.async_signals.wait("go")).reason)

    asking = asyncio.create_task(ask_again_and_again())
    await until(lambda: len(reasons) > 2)
    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking
    assert set(reasons) == {"unavailable"}
