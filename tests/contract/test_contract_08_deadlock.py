"""§5.8: a wait that would close a cycle of blocked agents ends at once; the others learn nothing and go on waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from awaiting import Awaited, end
from blocking import alone, blocked, closing, deadlock_of, flush, free, known, people, record
from peers import Peer, Peers, until
from proxy import Proxy
from waiting import wait_until

from attune_dsl.model import AgentStatus, Heartbeat, Reason

if TYPE_CHECKING:
    from conftest import Store

SHORT = Heartbeat(interval=0.1, ttl=0.5)


# What is a cycle


@pytest.mark.parametrize("far", [False, True])
def test_two_that_wait_for_each_other(store: Store, peers: Peers, far: bool) -> None:
    """§5.8: the second to come learns it, spelled out from itself on; the first gets what it waits for."""
    a, b = people(peers, "a", "b", far=far)
    waiting = blocked(store, a, "b", "x")

    assert closing(b, "a", "y") == 'b waits for a: "y" → a waits for b: "x"'

    assert not waiting.is_over
    free(b, a, "x", waiting)


def test_one_that_waits_for_itself(store: Store, peers: Peers) -> None:
    """§5.8: the shortest cycle; what it broadcast itself is no mail for it."""
    (a,) = people(peers, "a")
    a.signals.broadcast("x")

    assert closing(a, "a", "x", "y") == 'a waits for a: "x" or "y"'
    assert known(store) == set()


@pytest.mark.parametrize("far", [False, True])
def test_three_in_a_circle(store: Store, peers: Peers, far: bool) -> None:
    """§5.8: whoever comes last, with types as each wants them."""
    a, b, c = people(peers, "a", "b", "c", far=far)
    waits = [blocked(store, c, "a", "z", "y"), blocked(store, a, "b")]

    assert closing(b, "c", "q") == 'b waits for c: "q" → c waits for a: "y" or "z" → a waits for b: any signal'

    free(b, a, "anything", waits[1])
    free(a, c, "z", waits[0])


def test_the_longest_circle_that_is_looked_for(store: Store, peers: Peers, shrink: Callable[[str, int], None]) -> None:
    """§5.8: 64; one more is too long, and the wait is one like any other."""
    shrink("FRESH", 60_000)  # the machine may be slow
    names = [f"a{n:02}" for n in range(65)]
    ring = [peers.join(name) for name in names]
    for n in range(63):
        blocked(store, ring[n], names[n + 1], "x")

    detail = closing(ring[63], "a00", "x")
    assert [link.split(" ")[0] for link in detail.split(" → ")] == [names[63], *names[:63]]
    blocked(store, ring[63], "a64", "x")
    blocked(store, ring[64], "a00", "x")


def test_the_cycle_may_come_into_being_by_a_later_wait_of_the_same_agent(store: Store, peers: Peers) -> None:
    """§5.8: what counts is for whom each waits at that moment."""
    a, b, c = people(peers, "a", "b", "c")
    first = blocked(store, a, "c", "x")
    waiting = blocked(store, b, "a", "y")
    free(c, a, "x", first)
    assert closing(a, "b", "z") == 'a waits for b: "z" → b waits for a: "y"'
    free(a, b, "y", waiting)


def test_a_source_that_comes_later_may_close_it(store: Store, peers: Peers) -> None:
    """§5.8: one that does not exist yet is waited for; what it does when it comes is seen."""
    (a,) = people(peers, "a")
    waiting = blocked(store, a, "b", "x")
    (b,) = people(peers, "b")

    assert closing(b, "a", "y") == 'b waits for a: "y" → a waits for b: "x"'
    assert not waiting.is_over


def test_who_waits_again_learns_it_again(store: Store, peers: Peers) -> None:
    """§5.8: nothing of the first time is left; a loop of listen ends with it, too."""
    a, b = people(peers, "a", "b")
    waiting = blocked(store, a, "b", "x")

    for _ in range(3):
        assert closing(b, "a", "y") == 'b waits for a: "y" → a waits for b: "x"'
        assert known(store) == {"a"}
    assert Awaited(lambda: [list(alone(b).listen("y", source="a"))]).result() == [[]]
    free(b, a, "x", waiting)


def test_only_one_of_those_that_come_at_once(store: Store, peers: Peers) -> None:
    """§5.8: however they come, it is one of them; the others get what they wait for."""
    ring = people(peers, *"abcdef")
    for _ in range(5):
        waits = [Awaited(alone(p).wait, "x", source=ring[n - 1].id, timeout=None) for n, p in enumerate(ring)]
        wait_until(lambda waits=waits: any(waiting.is_over for waiting in waits))
        assert [waiting.is_over for waiting in waits].count(True) == 1
        at = next(n for n, waiting in enumerate(waits) if waiting.is_over)
        deadlock_of(waits[at].result())
        for step in range(len(ring) - 1):
            sender, waiter = (at + step) % len(ring), (at + step + 1) % len(ring)
            free(ring[sender], ring[waiter], "x", waits[waiter])


async def test_awaited_waits(store: Store, peers: Peers) -> None:
    """§5.8: the same for async code; each agent is the task in which it joined."""

    async def one(name: str, source: str) -> Any:
        peer = await peers.ajoin(name)
        return await peer.async_signals.wait("x", source=source, timeout=None)

    first = asyncio.create_task(one("a", "b"))
    await until(lambda: known(store) == {"a"})
    async with asyncio.timeout(5):
        assert deadlock_of(await one("b", "a")) == 'b waits for a: "x" → a waits for b: "x"'
    first.cancel()
    await until(lambda: not known(store))


# Mail comes first


@pytest.mark.parametrize("by_broadcast", [False, True])
def test_mail_that_was_not_received_yet_prevents_it(
    store: Store, peers: Peers, proxy: Proxy, by_broadcast: bool
) -> None:
    """§5.8: one whose signal is under way is not blocked for long."""
    a, b = peers.join("a", url=proxy.url), peers.join("b")
    blocked(store, a, "b", "x")
    a.member.mailbox.hold()  # copies are kept aside, as if they were still under way
    b.signals.send("x", None if by_broadcast else "a")

    waiting = blocked(store, b, "a", "y")

    assert not waiting.is_over


def test_mail_for_the_one_that_closes_it_is_delivered(store: Store, peers: Peers) -> None:
    """§5.8: also what it has not received when the cycle is looked for."""
    a, b = people(peers, "a", "b")
    wait_until(lambda: b.hub.keeper._beater._own_at)  # its first beat looks into the mailbox
    b.member.mailbox.hold()
    a.signals.send("y", "b", 1)
    blocked(store, a, "b", "x")
    waiting = blocked(store, b, "a", "y")

    b.hub.refresh(b.member)

    assert waiting.result().payload == 1


def test_mail_that_does_not_fit_prevents_nothing(store: Store, peers: Peers) -> None:
    """§5.8: of another type or sender, and broadcasts that are not for it, or that an earlier incarnation took."""
    a, b, c = people(peers, "a", "b", "c")
    assert b.signals.broadcast("x")
    assert alone(a).check("x", source="b")
    end(a)
    assert b.signals.broadcast("x", late=False)
    (a,) = people(peers, "a")
    blocked(store, a, "b", "x")
    assert record(store, "a")["broadcast"] == 0  # type: ignore[index]
    a.member.mailbox.hold()
    b.signals.send("other", "a")
    c.signals.send("x", "a")
    c.signals.broadcast("x")
    b.signals.send("x", "c")

    assert closing(b, "a", "y").startswith("b waits for a")


def test_mail_that_has_expired_prevents_it(store: Store, peers: Peers) -> None:
    """§5.8: it may have been taken before, by a wait of which the store was not told yet that it is over."""
    a, b = people(peers, "a", "b")
    blocked(store, a, "b", "x")
    a.member.mailbox.hold()
    b.signals.send("other", "a")  # or the mailbox would expire as a whole
    b.signals.send("x", "a", ttl=0.001)
    sent = store.redis.time()
    wait_until(lambda: store.redis.time() > (sent[0], sent[1] + 2000))  # type: ignore[index,operator]

    waiting = blocked(store, b, "a", "y")

    assert not waiting.is_over


def test_more_mail_than_is_looked_at_prevents_it(
    store: Store, peers: Peers, shrink: Callable[[str, int], None]
) -> None:
    """§5.8: the look is bounded; what it has not seen counts as mail."""
    shrink("CYCLE_SCAN", 10)
    a, b = people(peers, "a", "b")
    waiting = blocked(store, a, "b", "x")
    a.member.mailbox.hold()
    for _ in range(10):
        b.signals.send("other", "a")
    assert closing(b, "a", "y")
    b.signals.send("other", "a")
    blocked(store, b, "a", "y")
    assert not waiting.is_over


# Who may still act


def not_told(store: Store, peer: Peer, *waits: Callable[[], Any]) -> list[Awaited]:
    """Start waits, and return once the hub has told all that it will tell; of these it tells nothing."""
    waiting = [Awaited(wait) for wait in waits]
    wait_until(lambda: peer.member.waits == len(waits))
    flush(store, peer)
    assert peer.id not in known(store)
    return waiting


@pytest.mark.parametrize(
    "wait",
    [
        lambda a: alone(a).wait("x", timeout=None),
        lambda a: alone(a).collect("x", sources=["b", "c"], timeout=None),
        lambda a: alone(a).collect("x", sources=["b"], timeout=None),
        lambda a: alone(a).wait("x", source="b", timeout=None, deadlock=False),
        lambda a: a.signals.wait("x", source="b", timeout=None),  # on another thread than that on which it joined
    ],
    ids=["anyone", "several", "collect", "off", "thread"],
)
@pytest.mark.parametrize("first", [True, False])
def test_waits_that_are_never_part_of_one(store: Store, peers: Peers, wait: Callable[[Peer], Any], first: bool) -> None:
    """§5.8: whichever of the two is the one that would close it."""
    a, b = people(peers, "a", "b")
    if first:
        not_told(store, a, lambda: wait(a))
        blocked(store, b, "a", "y")
    else:
        blocked(store, b, "a", "y")
        not_told(store, a, lambda: wait(a))
    assert known(store) == {"b"}


def test_a_second_wait_takes_the_first_one_back(store: Store, peers: Peers) -> None:
    """§5.8: who can be waiting in two places may act in two."""
    a, b = people(peers, "a", "b")
    blocked(store, a, "b", "x")
    Awaited(alone(a).wait, "q", timeout=None)
    wait_until(lambda: "a" not in known(store))
    blocked(store, b, "a", "y")


@pytest.mark.parametrize("how", ["timeout", "taken", "cancelled"])
async def test_nothing_is_left_of_a_wait_that_is_over(store: Store, peers: Peers, how: str) -> None:
    """§5.8: however it ended, the agent is free from there on."""
    a, b = await peers.ajoin("a"), await peers.ajoin("b", url=peers.elsewhere())
    waiting = asyncio.create_task(
        a.agent.async_signals(is_alone=lambda: True).wait("x", source="b", timeout=0.3 if how == "timeout" else None)
    )
    await until(lambda: known(store) == {"a"})
    if how == "taken":
        await b.async_signals.send("x", "a")
    if how == "cancelled":
        waiting.cancel()
    await asyncio.wait([waiting])
    await until(lambda: not known(store))
    assert a.member.waits == 0
    await b.aleave()


def test_it_is_taken_back_ahead_of_what_the_agent_does_next(store: Store, peers: Peers, proxy: Proxy) -> None:
    """§5.8: in the same write, before the mark and the send, whoever of the process writes it."""
    a, b = peers.join("a", url=proxy.url), peers.join("b")
    waiting = blocked(store, a, "b", "x")
    a.hub.keeper.marks_soon = lambda member: None  # type: ignore[method-assign]  # nobody but the next command
    free(b, a, "x", waiting)
    ((at, _),) = store.redis.xrange(f"{store.prefix}mail:a")  # type: ignore[misc]  # what the mark will name
    del proxy.sent[:]
    a.signals.send("next", "b")

    # Not the first command perhaps: what the timeline is told meanwhile is nothing that anybody acts on.
    sent = bytes(proxy.sent)
    mark = sent.find(b"$1\r\n1\r\n$1\r\n0\r\n$%d\r\n%b\r\n" % (len(at), at))  # one signal, no broadcast
    assert 0 <= sent.find(b"HDEL") < mark < sent.find(b'"type":"next"')
    assert known(store) == set()


def test_one_that_was_lost_is_no_member(store: Store, peers: Peers, proxy: Proxy) -> None:
    """§5.8: its lease has lapsed, though nobody has said so yet."""
    a, b = peers.join("a", url=proxy.url, heartbeat=SHORT), peers.join("b")
    blocked(store, a, "b", "x")
    proxy.die()

    def has_lapsed() -> bool:
        seconds, micros = store.redis.time()  # type: ignore[misc]
        score = store.redis.zscore(f"{store.prefix}leases", a.member.lease)  # a beat may have been on its way
        return score is None or int(seconds) * 1000 + int(micros) // 1000 > float(score)  # type: ignore[arg-type]

    wait_until(has_lapsed)
    waiting = Awaited(alone(b).wait, "y", source="a", timeout=None)
    wait_until(lambda: waiting.is_over or "b" in known(store))
    assert not waiting.is_over or waiting.result().reason is Reason.PEER_GONE


def test_a_record_of_an_earlier_incarnation_counts_for_nothing(store: Store, peers: Peers) -> None:
    """§5.8: also if it should have stayed behind."""
    a, b = people(peers, "a", "b")
    blocked(store, a, "b", "x")
    left = store.redis.hget(f"{store.prefix}waits", "a")
    end(a)
    peers.join("a")
    assert known(store) == set()
    store.redis.hset(f"{store.prefix}waits", "a", left)  # type: ignore[arg-type]

    blocked(store, b, "a", "y")


@pytest.mark.parametrize("is_last", [True, False])
def test_a_wait_whose_source_has_ended_since_counts_for_nothing(store: Store, peers: Peers, is_last: bool) -> None:
    """§5.8: it is about to end as ``peer_gone``, though its process may not know yet; whoever closes the cycle."""
    a, b, c = people(peers, "a", "b", "c")
    blocked(store, a, "b", "x")
    a.hub.sources.ended = lambda fields: None  # type: ignore[method-assign]  # it has not come yet
    end(b)
    (b,) = people(peers, "b")

    for waiter, source in ((c, "a"), (b, "c")) if is_last else ((b, "c"), (c, "a")):
        blocked(store, waiter, source, "y")


def test_a_wait_for_a_successor_counts(store: Store, peers: Peers) -> None:
    """§5.8: what an earlier incarnation of its source did, before the wait, is nothing to it."""
    (b,) = people(peers, "b")
    end(b)
    a, b = people(peers, "a", "b")
    blocked(store, a, "b", "x")
    assert closing(b, "a", "y")


def test_a_wait_for_one_that_has_ended_is_not_kept(store: Store, peers: Peers) -> None:
    """§5.8: it ends as ``peer_gone``, even if the hub does not know yet."""
    a, b = people(peers, "a", "b")
    a.hub.sources.pop_unasked = list  # type: ignore[method-assign]
    end(b)
    waiting = Awaited(alone(a).wait, "x", source="b", timeout=None)
    wait_until(lambda: a.member.block_told is not None)
    flush(store, a)
    assert known(store) == set()
    assert not waiting.is_over


@pytest.mark.parametrize(
    "junk", ["7 0 0 0 {", "no order", "7 0 0 0 {}", '7 1 1 1 {"deadline": "soon", "source": 1}', "7 7 8 9 []", "7 {}"]
)
def test_what_makes_no_sense_is_no_member(store: Store, peers: Peers, junk: str) -> None:
    """§5.12: bad data in the place of a record stops nobody."""
    (b,) = people(peers, "b")
    store.redis.hset(f"{store.prefix}waits", "a", junk)
    blocked(store, b, "a", "y")


def test_an_extended_lease_proves_nothing(store: Store, peers: Peers) -> None:
    """§5.8: whoever has not come back since an outage may have given up, and is not blocked for certain."""
    a, b = people(peers, "a", "b")
    blocked(store, a, "b", "x")
    lease = f"{int(store.redis.zscore(f'{store.prefix}leases', a.member.lease))}.5"  # type: ignore[arg-type]
    store.redis.hset(f"{store.prefix}agent:a", "extended", lease)
    store.redis.zadd(f"{store.prefix}leases", {a.member.lease: float(lease)})

    blocked(store, b, "a", "y")


def test_nothing_is_left_of_those_that_left(store: Store, peers: Peers) -> None:
    """§5.8: and what there is has a limited life."""
    a, b = people(peers, "a", "b")
    blocked(store, a, "c", "x")
    blocked(store, b, "c", "x")
    assert store.redis.ttl(f"{store.prefix}waits") > 0
    end(a, AgentStatus.FAILED)
    assert known(store) == {"b"}
    end(b)
    assert known(store) == set()
