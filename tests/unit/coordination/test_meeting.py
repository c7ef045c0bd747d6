"""What ``barrier`` takes and what it refuses, before anything is waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from meeting import standing, stands
from peers import Peer, Peers

from attune_dsl.exceptions import InvalidName, UsageError
from attune_dsl.model import Released
from attune_dsl.store import limits

if TYPE_CHECKING:
    from conftest import Store

pytestmark = pytest.mark.parametrize("store", ["memory"], indirect=True)


@pytest.fixture
def ann(peers: Peers) -> Peer:
    return peers.join("ann")


def refused(ann: Peer, store: Store, error: type[Exception], match: str, *args: Any, **how: Any) -> None:
    """It raises at once and leaves nothing, so that the agent can come as it should."""
    with pytest.raises(error, match=match):
        ann.signals.barrier(*args, **how)
    assert (ann.member.stands, standing(store)) == ({}, set())


@pytest.mark.parametrize("count", [0, -1, limits.PARTIES + 1])
def test_a_number_of_parties_that_makes_no_sense(store: Store, ann: Peer, count: int) -> None:
    """§5.8: from 1 to 10,000."""
    refused(ann, store, ValueError, rf"there are {count:,} parties; it must be from 1 to 10,000", "gate", count)


@pytest.mark.parametrize("parties", [True, False, "ann", "", None, 2.0, iter(["ann"])])
def test_parties_that_are_neither_a_number_nor_names(store: Store, ann: Peer, parties: Any) -> None:
    """§5.8: a bool is no number, a text no list of names, and an iterator could not be read again."""
    refused(ann, store, UsageError, "takes a number, or the agent ids of all parties, not", "gate", parties)


def test_named_parties_include_the_agent_itself(store: Store, ann: Peer) -> None:
    """§5.8: it would wait for others that do not wait for it."""
    refused(ann, store, UsageError, r"\['ben', 'cho'\] do not include this agent, 'ann'", "gate", ["cho", "ben"])


def test_as_many_may_be_named_as_may_be_counted(store: Store, ann: Peer) -> None:
    """§5.8: and at least one."""
    crowd = ["ann", *(f"a{n}" for n in range(limits.PARTIES))]
    refused(ann, store, ValueError, "there are 10,001 parties", "gate", crowd)
    refused(ann, store, ValueError, "there are 0 parties", "gate", [])


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 129, None, 7])
def test_names_are_names(store: Store, ann: Peer, name: Any) -> None:
    """§5.12: of the barrier, and of each party."""
    refused(ann, store, InvalidName, "barrier", name, 2)
    refused(ann, store, InvalidName, "party", "gate", ["ann", name])


@pytest.mark.parametrize("timeout", [-1, -0.001, float("nan")])
def test_a_timeout_is_a_number_from_zero_up(store: Store, ann: Peer, timeout: float) -> None:
    """§5.8: or None."""
    refused(ann, store, ValueError, "timeout is", "gate", 2, timeout=timeout)


def test_a_second_wait_at_the_same_barrier_is_refused(store: Store, ann: Peer, peers: Peers) -> None:
    """§5.8: an agent counts once; the first wait goes on."""
    waiting = stands(ann)

    with pytest.raises(UsageError, match="'ann' waits at the barrier 'gate' already"):
        ann.signals.barrier("gate", 2)

    assert standing(store) == {"ann"}
    assert peers.join("ben").signals.barrier("gate", 2) == waiting.result()


@pytest.mark.parametrize("parties", [["ann", "ann"], ("ben", "ann", "ben")])
def test_a_party_that_is_named_twice_is_refused(store: Store, ann: Peer, parties: list[str]) -> None:
    """§5.8: one of them was meant to be another, which nobody would wait for."""
    refused(ann, store, UsageError, r"the parties .* name '(ann|ben)' more than once", "gate", parties)


def test_parties_are_named_in_whatever_collection(store: Store, ann: Peer, peers: Peers) -> None:
    """§5.8: and in whatever order."""
    waiting = stands(ann, ["ben", "ann"])

    assert peers.join("ben").signals.barrier("gate", ("ann", "ben")) == waiting.result()
    assert ann.signals.barrier("gate", {"ann"}) == Released(generation=2, agents=("ann",))  # type: ignore[arg-type]


def test_names_of_the_longest_kind_are_kept_apart(ann: Peer, peers: Peers) -> None:
    """§5.12: with characters of any alphabet, colons and spaces."""
    other = peers.join("é :{" + "x" * 124)
    waiting = stands(ann, ["ann", other.id], name="ü" * 128)

    assert other.signals.barrier("ü" * 128, [other.id, "ann"]) == waiting.result()
    assert waiting.result().agents == ("ann", other.id)
