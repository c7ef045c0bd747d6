"""Signals that count as taken only once they were handed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from peers import Peers

from attune_dsl.coordination.agent import Agent
from attune_dsl.hub.drive import drive
from attune_dsl.model import AgentStatus, NoSignal, Reason, Signal

if TYPE_CHECKING:
    from conftest import Store


def refuse(signal: Signal) -> None:
    raise OSError("a closed pipe")


def test_the_store_still_has_what_is_being_handed_on(peers: Peers, store: Store) -> None:
    ann, bob = peers.join("ann"), peers.join("bob", url=peers.elsewhere())
    ann.signals.send("go", "bob", 1)
    stored: list[object] = []

    def hand(signal: Signal) -> None:
        bob.signals.send("flush", "ann")  # what has been taken by now would be told ahead of this
        stored.append(store.redis.xlen(f"{store.prefix}mail:bob"))

    signal = drive(bob.agent.handing(hand).wait("go", timeout=10))
    bob.leave()

    assert signal
    assert (signal.payload, stored) == (1, [1])
    assert store.redis.xlen(f"{store.prefix}mail:bob") == 0


def test_what_could_not_be_handed_on_is_not_taken(peers: Peers) -> None:
    ann, bob = peers.join("ann"), peers.join("bob", url=peers.elsewhere())
    ann.signals.send("go", "bob", 1)

    with pytest.raises(OSError, match="a closed pipe"):
        drive(bob.agent.handing(refuse).wait("go", timeout=10))
    bob.leave()

    again = peers.join("bob").signals.check("go")
    assert again
    assert again.payload == 1


def test_an_agent_that_refused_it_may_take_it_itself(peers: Peers) -> None:
    peers.join("ann").signals.send("go", "bob", 1)
    bob = peers.join("bob")

    with pytest.raises(OSError, match="a closed pipe"):
        drive(bob.agent.handing(refuse).wait("go", timeout=10))

    assert bob.signals.check("go")
    assert bob.signals.check("go") is None


def test_without_a_store_nothing_comes() -> None:
    nothing = drive(Agent("bob").handing(refuse).wait("go", timeout=0))

    assert isinstance(nothing, NoSignal)
    assert nothing.reason is Reason.UNAVAILABLE


def test_leaving_tells_whether_the_store_knows(peers: Peers) -> None:
    bob = peers.join("bob")
    bob.left = True

    assert drive(bob.agent.leave(AgentStatus.COMPLETED)) is True
    assert drive(Agent("bob").leave(AgentStatus.COMPLETED)) is False
