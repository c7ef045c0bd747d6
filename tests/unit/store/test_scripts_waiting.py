"""The script ``wait``, and what those are told who wait for an agent that ends, on both servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from console import CALM_MS, Console

from attune_dsl.store import codec, limits, scripts

if TYPE_CHECKING:
    from conftest import Store


class Waiting(Console):
    """With hubs that wait."""

    def inbox(self, link: str) -> str:
        """Open a hub's inbox."""
        self.run(scripts.open_inbox(self.keys, link, ttl_ms=CALM_MS))
        return self.keys.inbox(link)

    def wait(self, source: str, link: str = "w.1") -> list[Any]:
        reply: list[Any] = self.run(scripts.wait(self.keys, source, link))
        return reply

    def waited(self, source: str) -> set[str]:
        return {link.decode() for link in self.redis.smembers(self.keys.waited(source))}

    def heard(self, link: str = "w.1", kind: str = "gone") -> list[dict[str, str]]:
        """The notices in an inbox."""
        entries = self.redis.xrange(self.keys.inbox(link))
        found = [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in entries]
        return [fields for fields in found if kind in fields]


@pytest.fixture
def console(store: Store) -> Waiting:
    return Waiting(store)


# How it stands


def test_one_that_never_lived(console: Waiting) -> None:
    assert console.wait("ann") == [b"", b"", b"", b"", b"", b"", 0, b""]
    assert console.waited("ann") == {"w.1"}
    assert 0 < console.redis.ttl(console.keys.waited("ann")) <= limits.AGENT_TTL


def test_one_that_lives(console: Waiting) -> None:
    console.join("ann", stage="build")
    lease = console.lease("ann", 1)

    assert console.wait("ann") == [b"1", b"", b"", b"running", b"build", b"", 1, f"{lease:.0f}".encode()]


def test_one_that_has_ended_says_how_and_where_in_the_order(console: Waiting) -> None:
    console.join("ann", stage="build")
    console.join("ben")
    console.leave("ann", "failed", stage="build", error="no")

    epoch, at, *rest = console.wait("ann")

    assert (epoch, rest) == (b"1", [b"2", b"failed", b"build", b"no", 0, b""])
    assert abs(int(at) - console.now()) < 10_000


def test_one_whose_lease_has_lapsed_or_is_gone_does_not_live(console: Waiting) -> None:
    console.join("ann")
    lapsed = console.lapse("ann", 1)
    assert console.wait("ann")[-2:] == [0, str(lapsed).encode()]

    console.redis.zrem(console.keys.leases, "ann#1")
    assert console.wait("ann")[-2:] == [0, b""]


@pytest.mark.parametrize(("own_at", "alive"), [(0, 0), (1, 1)])
def test_one_that_was_excused_lives_once_somebody_came_back(console: Waiting, own_at: int, alive: int) -> None:
    console.join("ann")
    console.lapse("ann", 100)
    console.quiet(CALM_MS)
    console.sweep(own_at=own_at)

    assert console.field("ann", "extended") != ""
    assert console.wait("ann")[-2] == alive


def test_the_lease_of_an_earlier_incarnation_counts_for_nothing(console: Waiting) -> None:
    console.join("ann")
    console.leave("ann")
    console.join("ann", hub="other")
    console.redis.zadd(console.keys.leases, {"ann#1": console.now() + CALM_MS})
    console.redis.zrem(console.keys.leases, "ann#2")

    assert console.wait("ann")[0] == b"2"
    assert console.wait("ann")[-2] == 0


# Hubs that are gone


def test_hubs_that_are_gone_do_not_pile_up(console: Waiting) -> None:
    """A service is waited for by many processes that do not live long, and never ends itself."""
    console.inbox("lives.1")
    console.wait("ann", "lives.1")
    for n in range(100):
        console.wait("ann", f"gone-{n}.1")

    assert "lives.1" in console.waited("ann")
    assert len(console.waited("ann")) < 20


# What is told


@pytest.mark.parametrize("status", ["completed", "failed", "aborted", "cancelled"])
def test_an_end_is_told_to_each_hub_that_waits_once(console: Waiting, status: str) -> None:
    console.join("ann")
    for link in ("w.1", "w.2", "deaf.1"):
        console.inbox(link)
    for link in ("w.1", "w.2", "w.1"):
        console.wait("ann", link)

    assert console.leave("ann", status, stage="build", error="no") == b"left"

    told = {"gone": "ann", "epoch": "1", "order": "1", "status": status, "stage": "build", "error": "no"}
    for link in ("w.1", "w.2"):
        (notice,) = console.heard(link)
        assert notice == told | {"at": console.field("ann", "ended_at")}
    assert console.heard("deaf.1") == []
    assert not console.redis.exists(console.keys.waited("ann"))
    assert console.leave("ann", status, owner="1") == b"ended"
    assert len(console.heard("w.1")) == 1


@pytest.mark.parametrize("look", ["beat", "sweep", "join"])
def test_a_loss_is_told_whoever_finds_it(console: Waiting, look: str) -> None:
    console.inbox("w.1")
    console.join("ann", stage="build")
    console.wait("ann")
    console.lapse("ann", 100)

    if look == "join":
        console.join("ann", hub="other")
    else:
        getattr(console, look)()

    (notice,) = console.heard()
    assert [notice[name] for name in ("gone", "epoch", "order", "status", "stage", "error")] == [
        "ann",
        "1",
        "1",
        "lost",
        "build",
        "",
    ]


def test_a_takeover_and_a_rejoin_tell_nobody(console: Waiting) -> None:
    console.inbox("w.1")
    console.join("ann")
    console.wait("ann")

    old = console.field("ann", "owner")
    console.join("ann", known_epoch="1", link=2)
    console.join("ann", hub="other", takeover="1")
    assert console.leave("ann", owner=old) == b"fenced"

    assert (console.heard(), console.waited("ann")) == ([], {"w.1"})
    console.leave("ann")
    assert [notice["epoch"] for notice in console.heard()] == ["2"]


def test_those_who_wait_are_told_that_it_has_joined(console: Waiting) -> None:
    """They look when its lease lapses."""
    console.inbox("w.1")
    console.wait("ann")

    console.join("ann", ttl_ms=500)

    assert console.heard(kind="here") == [{"here": "ann", "ttl": "500"}]


def test_a_hub_that_is_gone_gets_no_inbox(console: Waiting) -> None:
    console.join("ann")
    console.wait("ann", "gone.1")

    console.leave("ann")

    assert not console.redis.exists(console.keys.inbox("gone.1"))


def test_a_full_inbox_is_replaced_by_a_word_to_look(console: Waiting) -> None:
    inbox = console.inbox("w.1")
    console.join("ann")
    console.wait("ann")
    with console.redis.pipeline(transaction=False) as pipeline:
        for _ in range(limits.INBOX_COUNT):
            pipeline.xadd(inbox, {"nudge": "1"})
        pipeline.execute()

    console.leave("ann")

    assert [fields for _, fields in console.redis.xrange(inbox)] == [{b"resync": b"1"}]


@pytest.mark.parametrize("look", ["leave", "sweep", "join"])
def test_what_stands_in_the_place_of_keys_hinders_nobody(console: Waiting, look: str) -> None:
    """§5.12: of the set of those who wait, and of an inbox."""
    console.inbox("w.1")
    for agent in ("ann", "ben"):
        console.join(agent)
    console.redis.set(console.keys.inbox("bad.1"), "hostile", ex=60)
    console.redis.sadd(console.keys.waited("ben"), "bad.1")
    console.wait("ben")
    console.redis.sadd(console.keys.waited("ben"), "bad.1")
    console.redis.set(console.keys.waited("ann"), "hostile", ex=60)

    for agent in ("ann", "ben"):
        if look == "leave":
            assert console.leave(agent) == b"left"
        else:
            console.lapse(agent, 100)
    if look == "sweep":
        console.sweep()
    elif look == "join":
        for agent in ("ann", "ben"):
            console.join(agent, hub="other")

    kind = "ended" if look == "leave" else "lost"
    assert [entry for entry in console.told() if entry[0] == kind] == [(kind, "ann#1"), (kind, "ben#2")]
    assert [notice["gone"] for notice in console.heard()] == ["ben"]
    console.redis.delete(console.keys.inbox("bad.1"))


@pytest.mark.parametrize("thing", ["inbox", "nothing"])
def test_one_whose_inbox_is_no_inbox_keeps_nobody_from_telling_of_its_wait(console: Waiting, thing: str) -> None:
    """§5.8, §5.12: the cycle is the other's to learn of, because that one's wait would be over first."""

    def block(agent_id: str, source: str, left_ms: int) -> list[bytes]:
        owner = console.field(agent_id, "owner")
        deadline = console.now() + left_ms if left_ms else 0
        told = {"epoch": owner.partition("@")[0], "since": 1, "wait": 1, "source": source, "types": ["x"]}
        record = codec.encode_payload({**told, "mail": 0, "broadcast": 0, "deadline": deadline})
        found: list[bytes] = console.run(scripts.block(console.keys, agent_id, owner=owner, record=record))
        return found

    for agent_id in ("ann", "ben"):
        console.owner(agent_id, hub=agent_id)
        console.inbox(f"{agent_id}.1")
    assert block("ann", "ben", CALM_MS) == []
    if thing == "inbox":
        console.redis.set(console.keys.inbox("ann.1"), "hostile", ex=60)

    assert block("ben", "ann", 0) == []

    assert console.redis.hkeys(console.keys.waits) == [b"ben"]
    if thing == "nothing":
        assert [fields["cycle"] for fields in console.heard("ann.1", "cycle")] == ["ann"]
