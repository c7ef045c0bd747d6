"""§5.12: malformed or hostile data in the store is skipped alone, counted and logged; what is buffered is bounded."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from peers import Peer, Peers
from proxy import Proxy

from attune_dsl.exceptions import MailboxFull
from attune_dsl.store import limits, scripts

if TYPE_CHECKING:
    from conftest import Servers, Store

WaitUntil = Callable[..., Any]
Shrink = Callable[[str, int], None]
LATER = 4_000_000_000_000
"""Milliseconds since the epoch, in the year 2096."""


def signal(**fields: Any) -> dict[str, Any]:
    """An entry of a mailbox as a plain client could write it, sound unless ``fields`` say otherwise."""
    body = {"type": "job", "source": "stranger", "target": "victim", "payload": 0} | fields
    head = fields.pop("head", "1 1 {later} 1 x.1.1").format(later=LATER)
    text = fields.pop("text", None)
    if text is None:
        text = json.dumps({name: value for name, value in body.items() if name not in ("head", "text")})
    return {"head": head, "signal": text}


HOSTILE: dict[str, dict[str, Any]] = {
    "not JSON": signal(text="{'type'"),
    "not UTF-8": signal(text=b'{"type":"\xff","source":"x","target":"victim"}'),
    "a list": signal(text="[1]"),
    "nested too deeply": signal(text='{"type":"a","source":"b","target":"victim","payload":' + "[" * 100_000),
    "no type": signal(text='{"source":"x","target":"victim"}'),
    "a type that is none": signal(type=""),
    "a type with control characters": signal(type="a\nb"),
    "a source that is no string": signal(source=3),
    "a source that is too long": signal(source="x" * 129),
    "oversized": signal(payload="x" * limits.SIGNAL_BYTES),
    "another target": signal(target="somebody"),
    "no head": {"signal": signal()["signal"]},
    "no signal": {"head": signal()["head"]},
    "nothing known": {"kind": "surprise"},
    "half a head": signal(head="1 1"),
    "a head of words": signal(head="a b c d e"),
    "order 0": signal(head="0 1 {later} 1 x"),
    "a negative order": signal(head="-3 1 {later} 1 x"),
    "an order beyond all": signal(head="9" * 5000 + " 1 {later} 1 x"),
    "an order far ahead": signal(head="4000000000000 1 {later} 1 x"),
    "a time beyond all": signal(head="1 1 " + "9" * 400 + " 1 x"),
    "a sending time beyond all": signal(head="1 " + "9" * 400 + " {later} 1 x"),
    "binary": {b"\xff\x00": b"\x00\xff", "head": b"\xff\xfe", "signal": b"\x80"},
}


@pytest.fixture
def victim(peers: Peers) -> Peer:
    return peers.join("victim")


@pytest.fixture
def friend(peers: Peers) -> Peer:
    return peers.join("friend", url=peers.elsewhere())


def inbox(store: Store, peer: Peer) -> str:
    return f"{store.prefix}inbox:{peer.hub.commands.link}"


def still_works(victim: Peer, friend: Peer) -> None:
    """Mail, big mail and broadcasts go on, in order, and the link never broke."""
    for n in range(2):
        assert friend.signals.send("fine", "victim", n) != ""
        assert friend.signals.send("fine", "victim", "x" * (limits.INLINE_BYTES + 1)) != ""
        assert friend.signals.broadcast("fine", n) != ""
    got = victim.signals.collect("fine", count=6, timeout=5)
    assert [s.payload if isinstance(s.payload, int) else "big" for s in got] == [0, "big", 0, 1, "big", 1]
    assert victim.signals.pending() == []
    assert victim.hub.link.outages == 0


def stumbles(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "stumbled" in record.getMessage()]


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_copy_in_the_inbox(
    store: Store, victim: Peer, friend: Peer, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """§5.12: written straight into the stream that the hub reads, between two sound ones."""
    friend.signals.send("fine", "victim", "before")
    store.redis.xadd(inbox(store, victim), {"agent": "victim", "at": "1-1", **HOSTILE[kind]})

    assert friend.signals.send("fine", "victim", "after") != ""

    got = victim.signals.collect("fine", count=2, timeout=5)
    assert [s.payload for s in got] == ["before", "after"]
    still_works(victim, friend)
    assert stumbles(caplog) == []


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_entry_in_the_mailbox(
    store: Store, peers: Peers, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """§5.12: found by an agent that joins, by its looks and by its reconnects."""
    boss = peers.join("boss")
    boss.signals.send("fine", "victim", "before")
    store.redis.xadd(f"{store.prefix}mail:victim", HOSTILE[kind])
    boss.signals.send("fine", "victim", "after")

    victim = peers.join("victim", url=peers.elsewhere())

    assert [s.payload for s in victim.signals.pending("fine")] == ["before", "after"]
    skipped = victim.hub.entries.skipped
    assert skipped >= 1
    assert "signal.skipped" in caplog.text
    assert [s.payload for s in victim.signals.collect("fine", count=2, timeout=5)] == ["before", "after"]
    assert victim.signals.pending() == []
    still_works(victim, boss)
    assert victim.hub.entries.skipped == skipped
    assert stumbles(caplog) == []


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_broadcast(
    peers: Peers, victim: Peer, friend: Peer, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """§5.12: read by everybody at once, and by who joins later."""
    friend.signals.broadcast("fine", "before")
    peers.store.redis.xadd(f"{peers.store.prefix}broadcast", HOSTILE[kind])
    friend.signals.broadcast("fine", "after")

    late = peers.join("late", url=peers.elsewhere())
    for peer in (victim, late):
        assert [s.payload for s in peer.signals.collect("fine", count=2, timeout=5)] == ["before", "after"]
        assert peer.signals.pending() == []
    still_works(victim, friend)
    assert victim.hub.entries.skipped + late.hub.entries.skipped >= 1
    assert stumbles(caplog) == []


def test_skipping_is_counted_and_logged_once_an_entry(
    store: Store, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    """§5.12: an agent that looks again and again does not fill the log."""
    for n in range(3):
        store.redis.xadd(f"{store.prefix}mail:victim", signal(text=f"bad {n}"), id=f"{n + 1}-1")
        store.redis.expire(f"{store.prefix}mail:victim", 60)
    victim = peers.join("victim")
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            assert victim.signals.check() is None

    assert victim.hub.entries.skipped == 3
    assert caplog.text.count("signal.skipped") == 3


@pytest.mark.parametrize(
    "entry",
    [
        {"agent": "victim", "at": "no-id", "signal": signal()["signal"]},
        {"resync": "1"},
        {"agent": "victim"},
        {"agent": "nobody", "head": "1", "signal": "x"},
        {"surprise": "1"},
    ],
)
def test_a_forged_inbox_entry_keeps_nobody_from_marking(
    peers: Peers, victim: Peer, friend: Peer, wait_until: WaitUntil, entry: dict[str, str]
) -> None:
    """§5.12: what the agent takes afterwards leaves the mailbox."""
    redis, prefix = peers.store.redis, peers.store.prefix
    friend.signals.send("elsewhere", "somebody")  # has an order that the victim never sees
    order: Any = redis.get(f"{prefix}order")
    head = f"{int(order)} 1 {LATER} 1 x.1.1"
    redis.xadd(inbox(peers.store, victim), {**entry, "head": head} if "at" in entry else entry)
    if "at" in entry:  # a look that finds later mail first would leave it out
        wait_until(lambda: victim.member.mailbox.mail_order >= int(order))

    for n in range(3):
        friend.signals.send("fine", "victim", n)

    wait_until(lambda: len(victim.signals.pending()) == 3 + ("at" in entry))
    assert [s.payload for s in victim.signals.pending("fine")] == [0, 1, 2]
    assert victim.signals.clear() == 3 + ("at" in entry)
    wait_until(lambda: redis.xlen(f"{prefix}mail:victim") == 0)


def test_an_order_far_ahead_does_not_deafen(store: Store, victim: Peer, friend: Peer, wait_until: WaitUntil) -> None:
    """§5.12: a copy with an order that the store has not reached is no reason to take all others for old."""
    for key in (inbox(store, victim), f"{store.prefix}broadcast"):
        store.redis.xadd(key, {"agent": "victim", "at": "1-1", **signal(head=f"{2**52} 1 {LATER} 1 x")})

    still_works(victim, friend)


def test_a_full_mailbox_refuses_the_next_by_count(
    store: Store, peers: Peers, shrink: Shrink, wait_until: WaitUntil
) -> None:
    """§5.12: 10,000 signals (in a small model), nothing stored, room again when some were taken."""
    shrink("MAIL_COUNT", 20)
    boss, worker = peers.join("boss"), peers.join("worker")
    for n in range(20):
        assert boss.signals.send("job", "worker", n) != ""

    for _ in range(2):
        with pytest.raises(MailboxFull, match="mailbox of 'worker' is full") as caught:
            boss.signals.send("job", "worker", 20)
    assert "10,000 signals" in str(caught.value)
    assert store.redis.xlen(f"{store.prefix}mail:worker") == 20
    assert boss.signals.send("job", "other") != ""
    assert boss.signals.broadcast("job") != ""

    assert worker.signals.wait("job", source="boss", timeout=5)
    wait_until(lambda: store.redis.xlen(f"{store.prefix}mail:worker") == 19)
    assert boss.signals.send("job", "worker", 20) != ""
    assert [s.payload for s in worker.signals.pending("job") if s.target] == list(range(1, 21))


def test_the_real_bound_is_ten_thousand(servers: Servers) -> None:
    """§5.12: a mailbox filled by a plain client in one go (fakeredis would take four seconds for it)."""
    store = servers.store("embedded")
    peers = Peers(store)
    boss = peers.join("boss")
    boss.signals.send("job", "worker")  # makes the keys with their TTLs
    fill = store.redis.pipeline(transaction=False)
    for n in range(limits.MAIL_COUNT - 2):
        fill.xadd(f"{store.prefix}mail:worker", {"head": f"1 1 {LATER} 1 x.{n}", "signal": "{}"})
    fill.execute()

    assert boss.signals.send("job", "worker") != ""
    with pytest.raises(MailboxFull):
        boss.signals.send("job", "worker")

    peers.close()
    store.clear()
    store.close()


def test_a_full_mailbox_refuses_the_next_by_bytes(store: Store, peers: Peers, shrink: Shrink) -> None:
    """§5.12: 64 MiB (in a small model)."""
    shrink("MAIL_BYTES", 10_000)
    boss = peers.join("boss")
    assert boss.signals.send("job", "worker", "x" * 6_000) != ""

    with pytest.raises(MailboxFull):
        boss.signals.send("job", "worker", "x" * 6_000)

    assert boss.signals.send("job", "worker", "x" * 2_000) != ""


def test_the_byte_count_is_what_the_mailbox_holds(store: Store, peers: Peers) -> None:
    """§5.12: 64 MiB are reached by a count that grows and shrinks with the mail."""
    boss = peers.join("boss")
    boss.signals.send("job", "worker", "x" * 1_000)
    store.redis.hset(f"{store.prefix}mail-info:worker", "bytes", limits.MAIL_BYTES - 1_000)

    with pytest.raises(MailboxFull):
        boss.signals.send("job", "worker", "x" * 1_000)
    assert boss.signals.send("job", "worker", "x" * 900) != ""


def test_a_full_broadcast_stream_refuses_and_drops_nothing(store: Store, peers: Peers, shrink: Shrink) -> None:
    """§5.12: the error says which; targeted signals are not concerned."""
    shrink("MAIL_COUNT", 5)
    boss, worker = peers.join("boss"), peers.join("worker")
    for n in range(5):
        boss.signals.broadcast("all", n)

    with pytest.raises(MailboxFull, match=f"broadcast stream of namespace '{store.namespace}' is full"):
        boss.signals.broadcast("all", 5)

    assert boss.signals.send("job", "worker", 5) != ""
    assert [s.payload for s in worker.signals.collect(count=6, timeout=5)] == [0, 1, 2, 3, 4, 5]


def test_a_refusal_whose_reply_is_lost_is_a_refusal_again(
    store: Store, peers: Peers, shrink: Shrink, proxy: Proxy
) -> None:
    """§5.12 and §5.1: the retry hears the same answer, though there is room by now."""
    shrink("MAIL_COUNT", 2)
    boss, other = peers.join("boss", url=proxy.url), peers.join("other")
    for _ in range(2):
        other.signals.send("job", "worker")
    opened = boss.hub.commands.open

    def make_room_and_open(*args: Any) -> None:
        store.redis.xtrim(f"{store.prefix}mail:worker", maxlen=0, approximate=False)
        opened(*args)

    boss.hub.commands.open = make_room_and_open  # type: ignore[method-assign]
    proxy.swallow(scripts._SEND.sha.encode())

    with pytest.raises(MailboxFull):
        boss.signals.send("job", "worker")
    assert proxy.swallowed == 1
    assert boss.signals.send("job", "worker") != ""
