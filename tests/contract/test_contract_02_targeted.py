"""§5.2: a targeted signal is seen by its target alone, once per incarnation, in sending order per sender."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from peers import Peer, Peers
from proxy import Proxy

from attune_dsl import clock
from attune_dsl.exceptions import AgentIdTaken, InvalidName
from attune_dsl.hub import keeper
from attune_dsl.model import Heartbeat
from attune_dsl.store import limits, scripts

if TYPE_CHECKING:
    from conftest import Store

WaitUntil = Callable[..., Any]
BIG = "x" * (limits.INLINE_BYTES + 1)


def numbers(peer: Peer, count: int, *types: str) -> list[int]:
    """Take ``count`` signals and return their numbers."""
    got = [peer.signals.wait(*types, timeout=5) for _ in range(count)]
    return [signal.payload["n"] if signal else -1 for signal in got]


def nothing_is_left(peer: Peer) -> bool:
    return peer.signals.pending() == []


def test_only_the_target_sees_it(peers: Peers) -> None:
    """§5.2: neither another agent of the same process nor one behind another link nor the sender sees it."""
    sender, target, neighbour = (peers.join(name) for name in ("sender", "target", "neighbour"))
    stranger = peers.join("stranger", url=peers.elsewhere())

    sender.signals.send("job", "target", {"n": 1})

    assert numbers(target, 1) == [1]
    for peer in (sender, neighbour, stranger, target):
        assert nothing_is_left(peer)


@pytest.mark.parametrize(
    "name",
    ["*", "?", "[a]", "wor*", "{worker}", "}", "a:b", "a#1", "a@b", "mail:worker", "\\", "ä ö", "$", "a b", "%s", "'"],
)
def test_nothing_in_a_name_acts_as_a_pattern(peers: Peers, name: str) -> None:
    """§5.2: names of agents, types and keys are taken as they are."""
    sender, odd, worker = peers.join("sender"), peers.join(name), peers.join("worker")

    assert sender.signals.send(name, name, {"n": 1}, key=name) != ""
    assert sender.signals.send("worker", "worker", {"n": 2}) != ""

    assert nothing_is_left(sender)
    assert worker.signals.check(name) is None
    assert odd.signals.check("worker") is None
    got = odd.signals.wait(name, source="sender", timeout=5)
    assert got
    assert (got.type, got.source, got.target, got.payload) == (name, "sender", name, {"n": 1})
    assert numbers(worker, 1) == [2]
    assert odd.signals.send("reply", "sender") != ""
    reply = sender.signals.wait("reply", source=name, timeout=5)
    assert reply
    assert reply.source == name


def test_one_sender_with_an_odd_name_is_found_by_exactly_its_name(peers: Peers) -> None:
    """§5.2: ``source="*"`` is an agent of that name."""
    star, other, receiver = peers.join("*"), peers.join("other"), peers.join("receiver")
    other.signals.send("job", "receiver", {"n": 1})
    star.signals.send("job", "receiver", {"n": 2})

    got = receiver.signals.wait("job", source="*", timeout=5)

    assert got
    assert got.payload == {"n": 2}


@pytest.mark.parametrize("name", ["", "x" * 129, "a\nb", "a\x00b", "\x7f", "\ud800", None, 3, ["a"]])
def test_a_name_that_is_none_is_refused(peers: Peers, name: Any) -> None:
    """§5.12: 1-128 characters without control characters, for agents, targets, types, sources and keys."""
    me = peers.join("me")

    with pytest.raises(InvalidName):
        peers.join(name)
    with pytest.raises(InvalidName):
        me.signals.send(name, "you")
    with pytest.raises(InvalidName):
        me.signals.wait(name, timeout=0)
    if name is not None:
        with pytest.raises(InvalidName):
            me.signals.send("job", name)
        with pytest.raises(InvalidName):
            me.signals.send("job", "you", key=name)
        with pytest.raises(InvalidName):
            me.signals.check("job", source=name)


def test_a_name_of_128_characters_is_fine(peers: Peers) -> None:
    """§5.12: also where each of them takes four bytes."""
    name = "\U0001f40d" * 128
    peer = peers.join(name)

    assert peers.join("sender").signals.send("job", name, {"n": 1}) != ""
    assert numbers(peer, 1) == [1]


def test_namespaces_do_not_see_each_other(store: Store, peers: Peers) -> None:
    """§5.2: the same names in another namespace are other agents; also where one name is a part of the other."""
    other = f"{store.namespace}:mail"
    here, there = peers.join("worker"), peers.join("worker", namespace=other)
    boss, chief = peers.join("boss"), peers.join("boss", namespace=other)

    boss.signals.send("job", "worker", {"n": 1})
    boss.signals.broadcast("all", {"n": 2})
    chief.signals.send("job", "worker", {"n": 3})

    assert numbers(here, 2) == [1, 2]
    assert numbers(there, 1) == [3]
    assert nothing_is_left(there)
    assert nothing_is_left(here)
    peers.close()
    found = store.redis.keys(f"attune:{{{other}}}:*")
    store.redis.delete(*found)


def test_two_waiting_threads_share_a_mailbox_and_each_signal_goes_to_one(peers: Peers) -> None:
    """§5.2: exactly once, while threads of one agent wait and check at the same time."""
    receiver, sender = peers.join("receiver"), peers.join("sender", url=peers.elsewhere())
    got: list[int] = []

    def take_until_end() -> None:
        while (signal := receiver.signals.wait("job", "end", timeout=5)) and signal.type == "job":
            got.append(signal.payload["n"])
            if another := receiver.signals.check("job"):
                got.append(another.payload["n"])

    threads = [threading.Thread(target=take_until_end) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(90):
        assert sender.signals.send("job", "receiver", {"n": n}) != ""
    for _ in threads:
        sender.signals.send("end", "receiver")
    for thread in threads:
        thread.join()

    assert sorted(got) == list(range(90))


async def test_two_waiting_tasks_share_a_mailbox_and_each_signal_goes_to_one(peers: Peers) -> None:
    """§5.2: exactly once, with tasks of one agent."""
    receiver = await peers.ajoin("receiver")
    sender = await peers.ajoin("sender", url=peers.elsewhere())
    waits = [asyncio.create_task(receiver.async_signals.wait("job", timeout=5)) for _ in range(40)]

    await asyncio.gather(*(sender.async_signals.send("job", "receiver", {"n": n}) for n in range(40)))

    got = [signal.payload["n"] for signal in await asyncio.gather(*waits) if signal]
    assert sorted(got) == list(range(40))
    assert await receiver.async_signals.check() is None
    for peer in (receiver, sender):
        await peer.aleave()


def test_order_per_sender_whatever_the_size(peers: Peers) -> None:
    """§5.2: what is too big for the inbox comes in a second step, and still in its turn."""
    receiver, sender = peers.join("receiver"), peers.join("sender", url=peers.elsewhere())

    for n in range(60):
        body = BIG if n % 3 == 0 else ""
        sender.signals.send(f"t{n % 2}", "receiver", {"n": n, "body": body})

    assert numbers(receiver, 60) == list(range(60))


def test_order_per_sender_over_mail_and_broadcasts(peers: Peers) -> None:
    """§5.2: the namespace's counter orders what comes over two streams."""
    receiver, sender = peers.join("receiver"), peers.join("sender", url=peers.elsewhere())

    for n in range(60):
        target = "receiver" if n % 2 else None
        sender.signals.send("job", target, {"n": n, "body": BIG if n % 7 == 0 else ""})

    assert numbers(receiver, 60) == list(range(60))


def test_order_while_receiver_checks_all_the_time(peers: Peers) -> None:
    """§5.2: looks into the store run side by side with copies and pointers, and nothing is lost or overtakes."""
    receiver, sender = peers.join("receiver"), peers.join("sender", url=peers.elsewhere())
    got: list[int] = []
    count = 120

    def check() -> None:
        while len(got) < count:
            if signal := receiver.signals.check():
                got.append(signal.payload["n"])

    thread = threading.Thread(target=check)
    thread.start()
    for n in range(count):
        sender.signals.send("job", "receiver", {"n": n, "body": BIG if n % 4 == 0 else ""})
    thread.join(20)

    assert got == list(range(count))


async def test_order_when_nobody_read_for_more_than_a_thousand_signals(
    store: Store, peers: Peers, shrink: Callable[[str, int], None]
) -> None:
    """§5.2: an overfull inbox becomes one resync entry; everything is found in the mailbox, in order."""
    bound = 40 if store.kind == "memory" else 1_000  # the first is slow
    shrink("INBOX_COUNT", bound)
    receiver = await peers.ajoin("receiver")
    assert not await receiver.async_signals.wait("nothing", timeout=0.01)  # from here on the loop reads
    sender, count = await peers.ajoin("sender", url=peers.elsewhere()), bound + 150

    def send_all() -> None:
        for n in range(count):
            sender.signals.send("job", "receiver", {"n": n})

    thread = threading.Thread(target=send_all)
    thread.start()
    thread.join()  # blocks the loop

    got = await receiver.async_signals.collect("job", count=count, timeout=10)
    assert [signal.payload["n"] for signal in got] == list(range(count))
    assert await receiver.async_signals.check() is None
    for peer in (receiver, sender):
        await peer.aleave()


def test_exactly_once_when_the_link_breaks_between_take_and_mark(
    peers: Peers, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    """§5.2: what was taken, and is not yet marked in the store, is not delivered again after the reconnect."""
    monkeypatch.setattr(keeper, "TICK", 3600.0)  # marks travel with the next command only
    receiver, sender = peers.join("receiver", url=proxy.url), peers.join("sender")
    for n in range(6):
        sender.signals.send("job", "receiver", {"n": n})
    taken = numbers(receiver, 3)

    proxy.cut()
    wait_until(lambda: receiver.hub.link.outages == 1 and receiver.hub.link.up)

    assert taken + numbers(receiver, 3) == list(range(6))
    assert nothing_is_left(receiver)


def test_exactly_once_when_the_marks_reply_is_lost(peers: Peers, proxy: Proxy, wait_until: WaitUntil) -> None:
    """§5.2: the mark is repeated over the next link."""
    receiver, sender = peers.join("receiver", url=proxy.url), peers.join("sender")
    for n in range(4):
        sender.signals.send("job", None if n % 2 else "receiver", {"n": n})
    proxy.swallow(scripts._RECORD.sha.encode())
    began = clock.monotonic()
    taken = numbers(receiver, 2)
    wait_until(lambda: receiver.hub.link.outages == 1 and receiver.hub.link.up)
    assert clock.monotonic() - began < 1  # the hub's thread did not wait for the answer first

    assert taken + numbers(receiver, 2) == list(range(4))
    assert nothing_is_left(receiver)


def test_exactly_once_over_many_reconnects(peers: Peers, proxy: Proxy) -> None:
    """§5.2: signals are sent and taken while the receiver's link breaks again and again."""
    receiver, sender = peers.join("receiver", url=proxy.url), peers.join("sender")
    got: list[int] = []
    count = 100

    def take() -> None:
        while len(got) < count:
            if signal := receiver.signals.wait("job", timeout=30):
                got.append(signal.payload["n"])

    thread = threading.Thread(target=take)
    thread.start()
    for n in range(count):
        sender.signals.send("job", None if n % 5 == 0 else "receiver", {"n": n, "body": BIG if n % 9 == 0 else ""})
        if n % 10 == 9:
            proxy.cut()
    thread.join(40)

    assert Counter(got) == Counter(range(count))
    assert got == list(range(count))
    assert nothing_is_left(receiver)


def test_one_live_owner_per_id(store: Store, peers: Peers) -> None:
    """§5.2, §3: a second owner is refused, from another process as from the same, and learns who it is."""
    owner = peers.join("worker")

    for url in (None, peers.elsewhere()):
        with pytest.raises(AgentIdTaken, match="'worker' is taken by a live agent") as caught:
            peers.join("worker", url=url)
        assert f"pid {caught.value.pid} on {caught.value.host}" in str(caught.value)
        fields: Any = store.redis.hgetall(f"{store.prefix}agent:worker")
        assert (fields[b"host"].decode(), int(fields[b"pid"])) == (caught.value.host, caught.value.pid)
    assert owner.agent.degraded is False


def test_a_refused_owner_gets_an_alternative(peers: Peers) -> None:
    """§3: the default id is given way for another one."""
    peers.join("worker")

    assert peers.join("worker", alternative="worker-2", url=peers.elsewhere()).id == "worker-2"
    assert peers.join("worker", alternative="worker-3").id == "worker-3"


@pytest.mark.parametrize("same_process", [True, False])
def test_takeover_fences_the_old_owner(store: Store, peers: Peers, wait_until: WaitUntil, same_process: bool) -> None:
    """§5.2: the old owner can neither send nor take nor write a status; the new one gets the mail."""
    quick = Heartbeat(interval=0.05, ttl=30)
    old, boss = peers.join("worker", heartbeat=quick), peers.join("boss")
    boss.signals.send("job", "worker", {"n": 1})
    wait_until(lambda: old.signals.peek("job"))

    new = peers.join("worker", url=None if same_process else peers.elsewhere(), takeover=True, heartbeat=quick)

    assert new.member.epoch > old.member.epoch
    assert old.signals.send("late", "boss") == ""
    assert numbers(new, 1) == [1]
    boss.signals.send("job", "worker", {"n": 2})
    if same_process:
        assert old.signals.check("job") is None
        assert "taken over" in getattr(old.signals.wait("job", timeout=None), "detail", "")
    old.leave()
    assert numbers(new, 1) == [2]
    assert new.signals.send("fine", "boss") != ""
    got = boss.signals.wait(timeout=5)
    assert got
    assert got.type == "fine"
    assert store.redis.hget(f"{store.prefix}agent:worker", "ended_at") is None
    leases: Any = store.redis.zrange(f"{store.prefix}leases", 0, -1)
    assert sum(lease.startswith(b"worker#") for lease in leases) == 1


def test_an_owner_that_was_replaced_hears_of_it(peers: Peers, wait_until: WaitUntil) -> None:
    """§5.11: its waits end, its run counts as degraded."""
    old = peers.join("worker", heartbeat=Heartbeat(interval=0.05, ttl=30))
    got: list[Any] = []
    waiting = threading.Thread(target=lambda: got.append(old.signals.wait("job", timeout=None)))
    waiting.start()
    wait_until(lambda: old.member.mailbox._waiters)

    peers.join("worker", url=peers.elsewhere(), takeover=True)
    waiting.join(10)

    assert not got[0]
    assert got[0].reason == "unavailable"
    assert "taken over by pid" in got[0].detail
    assert old.agent.degraded is True
    assert old.signals.check("job") is None
    assert old.signals.send("late", "boss") == ""


def test_a_lapsed_lease_gives_the_id_free(store: Store, peers: Peers) -> None:
    """§5.2: an owner that has not beaten for its ttl is not live any more."""
    owner = peers.join("worker")
    store.redis.zadd(f"{store.prefix}leases", {f"worker#{owner.member.epoch}": 1})

    assert peers.join("worker", url=peers.elsewhere()).member.epoch > owner.member.epoch
