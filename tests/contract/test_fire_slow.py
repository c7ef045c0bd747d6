"""§5 under fire: a slow server, full mailboxes, the largest payloads, and hosts whose clocks differ by an hour."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from awaiting import Awaited, end, is_told
from cut_scene import outcome
from cutting import SlowProxy
from following import Follow, timeline
from peers import Peers
from waiting import wait_until

from attune_dsl import clock
from attune_dsl.exceptions import MailboxFull, PayloadTooLarge
from attune_dsl.model import ChangeKind, Heartbeat, NoSignal, Reason
from attune_dsl.store import limits

if TYPE_CHECKING:
    from conftest import Servers, Store

DELAY = 0.5
"""Seconds that the slow server needs for a reply."""
Shrink = Callable[[str, int], None]


@pytest.fixture
def slow(store: Store, peers: Peers) -> Iterator[SlowProxy]:
    """Not slow before a test says so: to connect takes a dozen replies, one after the other."""
    proxy = SlowProxy(store.address)
    yield proxy
    proxy.delay = 0.0
    peers.close()
    proxy.close()


def test_a_slow_server_confirms_what_is_sent_and_wakes_who_waits(store: Store, peers: Peers, slow: SlowProxy) -> None:
    """§5.1, §5.5 and §5.6: half a second a reply is within the grace time: ids, signals, and no degradation."""
    one, other = peers.join("one", url=slow.url), peers.join("other", url=peers.elsewhere(slow.url))
    slow.delay = DELAY

    waiting = Awaited(other.signals.wait, "job", timeout=20)
    sent = [one.signals.send("job", "other", n) for n in range(3)]
    told = one.signals.broadcast("all")
    got = [waiting.result(10), *(other.signals.wait("job", timeout=20) for _ in range(2))]

    assert "" not in {*sent, told}
    assert [(signal.id, signal.payload) for signal in got] == list(zip(sent, range(3), strict=True))
    assert other.signals.wait("all", timeout=20)
    assert other.signals.check() is None
    wait_until(lambda: store.redis.xlen(f"{store.prefix}mail:other") == 0)
    nothing = other.signals.wait("job", timeout=0.1)
    assert isinstance(nothing, NoSignal)
    assert nothing.reason is Reason.TIMEOUT
    assert (one.agent.degraded, other.agent.degraded) == (False, False)


def test_a_slow_server_loses_nobody(store: Store, peers: Peers, slow: SlowProxy, follow: Follow) -> None:
    """§5.10: beats that are answered late renew leases all the same; three times as long as a lease lasts."""
    beat = Heartbeat(interval=0.5, ttl=1.5)
    agents = [peers.join(f"a-{n}", url=peers.elsewhere(slow.url), heartbeat=beat) for n in range(3)]
    epochs = [agent.member.epoch for agent in agents]
    peers.join("quick", url=peers.elsewhere(), heartbeat=beat)
    follower = follow()
    slow.delay = DELAY
    began = time.monotonic()

    wait_until(lambda: time.monotonic() - began > 3 * beat.ttl)

    assert timeline(store, ChangeKind.LOST) == []
    assert follower.told(ChangeKind.LOST) == []
    assert [agent.member.epoch for agent in agents] == epochs
    assert not any(agent.agent.degraded for agent in agents)


def test_a_slow_server_tells_of_an_end(store: Store, peers: Peers, slow: SlowProxy) -> None:
    """§5.8: a source that ends, ends the wait, and its last mail comes first."""
    waiter, source = peers.join("waiter", url=slow.url), peers.join("source", url=peers.elsewhere())
    slow.delay = DELAY
    waiting = Awaited(waiter.signals.wait, "job", source="source", timeout=30)
    wait_until(lambda: is_told(store, waiter, "source"))

    assert source.signals.send("job", "waiter", "last") != ""
    end(source)

    assert waiting.result(10).payload == "last"
    nothing = waiter.signals.wait("job", source="source", timeout=30)
    assert isinstance(nothing, NoSignal)
    assert nothing.reason is Reason.PEER_GONE


def test_a_mailbox_full_of_the_largest_payloads(servers: Servers) -> None:
    """§5.12: 64 MiB on the real server: the next is refused, nothing is lost, and there is room again."""
    store = servers.store("embedded")
    peers = Peers(store)
    sender, receiver = peers.join("sender"), peers.join("receiver", url=peers.elsewhere())
    largest, sent = "x" * (limits.PAYLOAD_BYTES - 2), []

    refused = None
    while not isinstance(refused := outcome(lambda: sender.signals.send("big", "worker", largest)), Exception):
        sent.append(refused)
    small = sender.signals.send("small", "worker", len(sent))

    assert isinstance(refused, MailboxFull)
    assert len(sent) == limits.MAIL_BYTES // (limits.PAYLOAD_BYTES + 50)
    assert small != ""
    worker = peers.join("worker", url=peers.elsewhere())
    assert [worker.signals.wait("big", timeout=10).id for _ in sent[:3]] == sent[:3]  # type: ignore[union-attr]
    wait_until(lambda: store.redis.xlen(f"{store.prefix}mail:worker") == len(sent) + 1 - 3)
    more = sender.signals.send("big", "worker", largest)
    assert more != ""
    rest = worker.signals.collect("big", count=len(sent) - 2, timeout=20)
    assert [signal.id for signal in rest] == [*sent[3:], more]
    assert all(signal.payload == largest for signal in rest)
    assert receiver.signals.check() is None
    peers.close()
    store.clear()
    store.close()


@pytest.mark.parametrize("unit", ["x", "é", "€"], ids=["one byte", "two bytes", "three bytes"])
def test_the_largest_payload_counts_in_bytes(store: Store, peers: Peers, unit: str) -> None:
    """§5.12: exactly 256 KiB of JSON are sent, to one and to all, one byte more is refused and nothing stored."""
    sender, receiver = peers.join("sender"), peers.join("receiver", url=peers.elsewhere())
    count, left = divmod(limits.PAYLOAD_BYTES - 2, len(unit.encode()))
    largest = unit * count + "x" * left

    assert sender.signals.send("big", "receiver", largest) != ""
    assert sender.signals.broadcast("big", largest) != ""
    for refused in (
        lambda: sender.signals.send("big", "receiver", largest + "x"),
        lambda: sender.signals.broadcast("big", largest + "x"),
    ):
        with pytest.raises(PayloadTooLarge, match="262,145 bytes"):
            refused()

    got = [receiver.signals.wait("big", timeout=10) for _ in range(2)]
    assert [signal.payload for signal in got if signal] == [largest, largest]
    assert receiver.signals.check() is None


SKEWED = """
import sys, time
from attune_dsl import clock
clock.wall = lambda: time.time() + float(sys.argv[3])
from attune_dsl.coordination.join import join
with join("skewed", sys.argv[1], sys.argv[2]) as me:
    for n in range(3):
        assert me.signals.send("job", "right", n, ttl=60)
    assert me.signals.send("brief", "right", ttl=0.2)
    print("sent", flush=True)
    got = [me.signals.wait("back", source="right", timeout=20) for _ in range(3)]
    print([signal.payload for signal in got], got[0].sent_at - time.time(), flush=True)
    nothing = me.signals.wait("back", source="right", timeout=0.3)
    print(nothing.reason, flush=True)
    gone = me.signals.wait("back", source="right", timeout=20)
    print(gone.reason, flush=True)
"""


@pytest.mark.parametrize("skew", [3600, -3600], ids=["ahead", "behind"])
def test_hosts_whose_clocks_differ_by_an_hour(store: Store, peers: Peers, follow: Follow, skew: int) -> None:
    """§5.3, §5.5, §5.8 and §5.10: the server's clock counts: TTLs, order, times, waits, ends and leases."""
    right, follower = peers.join("right"), follow()
    child = subprocess.Popen(
        [sys.executable, "-c", SKEWED, store.address, store.namespace, str(skew)], stdout=subprocess.PIPE, text=True
    )
    try:
        out: Any = child.stdout
        assert out.readline() == "sent\n"
        got = [right.signals.wait("job", source="skewed", timeout=10) for _ in range(3)]
        assert [signal.payload for signal in got if signal] == [0, 1, 2]
        assert all(abs(signal.sent_at - clock.wall()) < 60 for signal in got if signal)
        assert all(50 < signal.expires_at - signal.sent_at < 70 for signal in got if signal)
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 0.3)
        assert right.signals.check("brief") is None
        follower.until(ChangeKind.JOINED, "skewed")
        assert abs((follower.record("skewed").started_at or 0) - clock.wall()) < 60
        for n in range(3):
            assert right.signals.send("back", "skewed", n) != ""
        payloads, _, offset = out.readline().rpartition(" ")
        assert payloads == "[0, 1, 2]"
        assert abs(float(offset)) < 60
        assert out.readline() == "timeout\n"
        end(right)
        assert out.readline() == "peer_gone\n"
        assert child.wait(20) == 0
    finally:
        child.kill()
        child.wait()
        out.close()
    follower.until(ChangeKind.ENDED, "skewed")
    assert follower.kinds("skewed") == [ChangeKind.JOINED, ChangeKind.ENDED]
