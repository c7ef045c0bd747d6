"""One hub per process: forks, many agents, several loops and threads. The promises hold for each agent alone (§5.2)."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from peers import Peer, Peers
from proxy import Proxy

from attune_dsl.hub.registry import open_hubs
from attune_dsl.model import Heartbeat

if TYPE_CHECKING:
    from conftest import Store

WaitUntil = Callable[..., Any]

FORKED = """
import json, os, sys
from attune_dsl.coordination.join import join

url, namespace, how = sys.argv[1:]

def in_child(signals):
    '''What the parent's agent can still do in a forked child: nothing, without an error.'''
    got = signals.wait("job", timeout=None)
    seen = [signals.send("a", "other"), signals.broadcast("a"), got.reason, got.detail, signals.check("job"),
            signals.pending(), signals.clear(), len(signals.collect("job", count=1, timeout=None))]
    with join("child", url, namespace) as child:
        seen += [child.signals.send("hello", "parent") != "", child.degraded]
    print(json.dumps(seen), flush=True)

with join("parent", url, namespace) as me:
    me.signals.send("job", "parent", 1)
    assert me.signals.peek("job")
    if how == "fork":
        pid = os.fork()
        if pid == 0:
            in_child(me.signals)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    else:
        import multiprocessing
        child = multiprocessing.get_context("fork").Process(target=in_child, args=(me.signals,))
        child.start()
        child.join()
        assert child.exitcode == 0
    hello = me.signals.wait("hello", timeout=10)
    mine = me.signals.wait("job", timeout=10)
    print(json.dumps([hello.source, mine.payload, me.degraded, me.signals.pending() == []]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.parametrize("how", ["fork", "multiprocessing"])
def test_a_forked_child_leaves_its_parents_link_alone(store: Store, how: str) -> None:
    """HUB.md: in the child the parent's agent is unavailable, also for mail that the parent has; a new join works."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, store.address, store.namespace, how],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert done.stderr == ""
    child, parent = (json.loads(line) for line in done.stdout.splitlines())
    assert child == [
        "",
        "",
        "unavailable",
        "this process was forked from the one whose agent this is; join() again in the child",
        None,
        [],
        0,
        0,
        True,
        False,
    ]
    assert parent == ["child", 1, False, True]


FORKED_AND_LEFT = """
import os, sys
from attune_dsl.coordination.join import join

with join("parent", *sys.argv[1:]) as me:
    pid = os.fork()
    # Both leave the block here; only the parent's agent ends.
    if pid:
        assert os.waitpid(pid, 0)[1] == 0
        assert me.signals.send("still", "parent") != ""
        print(me.signals.wait("still", timeout=10).type)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_that_leaves_the_block_does_not_end_the_agent(store: Store) -> None:
    """HUB.md: neither its status nor its lease nor its connections."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED_AND_LEFT, store.address, store.namespace],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert (done.stdout, done.stderr) == ("still\n", "")


def test_two_hundred_agents_beat_with_one_command(peers: Peers, proxy: Proxy, wait_until: WaitUntil) -> None:
    """§4, §6: one script call renews all leases of a process, and each of them."""
    beat = Heartbeat(interval=0.15, ttl=30)
    crowd = [peers.join(f"agent-{n}", url=proxy.url, heartbeat=beat, coordination=None) for n in range(200)]
    redis, leases = peers.store.redis, f"{peers.store.prefix}leases"
    wait_until(lambda: not any(peer.member.doing.is_changed for peer in crowd))

    def scores() -> set[float]:
        return {score for _, score in redis.zrange(leases, 0, -1, withscores=True)}  # type: ignore[union-attr]

    wait_until(lambda: len(scores()) == 1, what="one command gives all of them the same expiry")
    began = len(proxy.sent)

    def beats() -> list[bytes]:
        """What was sent from one renewal to the next, in whole."""
        return bytes(proxy.sent[began:]).split(b"\r\nZADD\r\n")[1:-1]

    wait_until(lambda: len(beats()) >= 2)
    assert [(beat.count(b"agent-"), beat.count(b"EVALSHA")) for beat in beats()[:2]] == [(200, 1)] * 2
    assert len(scores()) == 1


def test_agents_of_one_process_share_one_hub(peers: Peers) -> None:
    """§2: the process's one link, whatever number of agents live in it; closed with the last of them."""
    first, second = peers.join("first"), peers.join("second")
    assert open_hubs() == [first.hub]
    assert second.hub is first.hub

    first.leave()
    assert open_hubs() == [second.hub]
    assert second.signals.send("a", "second") != ""
    second.leave()

    assert open_hubs() == []
    names = [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith("attune-hub") for name in names)


def test_a_closed_hub_takes_its_keys_along(store: Store, peers: Peers) -> None:
    """§6: the inbox of a hub that left is gone, and nothing is sent to it."""
    me, other = peers.join("me"), peers.join("other", url=peers.elsewhere())
    inbox = f"{store.prefix}inbox:{me.hub.commands.link}"
    assert store.redis.exists(inbox)
    me.leave()

    other.signals.send("a", "me")

    assert not store.redis.exists(inbox)


def test_sync_and_async_agents_in_one_process(peers: Peers) -> None:
    """§3: threads that block and loops that await, all on one hub, all talking to each other."""
    count, rounds = 6, 5
    ring = [peers.join(f"p{n}") for n in range(count)]
    log: list[str] = []

    def sync_player(me: Peer, to: str) -> None:
        for _ in range(rounds):
            token = me.signals.wait("token", timeout=10)
            log.append(token.payload if token else "")
            me.signals.send("token", to, me.id)

    async def async_player(me: Peer, to: str) -> None:
        for _ in range(rounds):
            token = await me.async_signals.wait("token", timeout=10)
            log.append(token.payload if token else "")
            await me.async_signals.send("token", to, me.id)

    async def two_players(*players: tuple[Peer, str]) -> None:
        await asyncio.gather(*(async_player(*player) for player in players))

    following = [(me, ring[(n + 1) % count].id) for n, me in enumerate(ring)]
    threads = [threading.Thread(target=sync_player, args=following[n]) for n in (0, 3)]
    threads += [
        threading.Thread(target=lambda pair=pair: asyncio.run(two_players(*(following[n] for n in pair))))
        for pair in ((1, 4), (2, 5))
    ]
    for thread in threads:
        thread.start()
    ring[5].signals.send("token", "p0", "p5")
    for thread in threads:
        thread.join()

    assert log == [f"p{(n - 1) % count}" for n in range(count * rounds)]


def test_joining_and_leaving_again_and_again(store: Store, peers: Peers) -> None:
    """§2: each join is a new incarnation with a higher epoch."""
    epochs = []
    for _ in range(10):
        me = peers.join("me")
        epochs.append(me.member.epoch)
        me.leave()

    assert epochs == sorted(set(epochs))


def test_many_threads_join_send_and_leave_at_once(peers: Peers) -> None:
    """§2: hubs are opened and closed under way; nothing hangs and nothing is lost."""
    sink = peers.join("sink", url=peers.elsewhere())
    errors: list[Exception] = []

    def live(n: int) -> None:
        try:
            for turn in range(3):
                me = peers.join(f"agent-{n}")
                assert me.signals.send("hello", "sink", [n, turn]) != ""
                me.leave()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=live, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    got = sink.signals.collect("hello", count=24, timeout=5)
    assert sorted(s.payload for s in got) == [[n, turn] for n in range(8) for turn in range(3)]


def test_a_lost_lease_is_taken_again(store: Store, peers: Peers, wait_until: WaitUntil) -> None:
    """HUB.md: whoever removed it, the agent joins again by itself and keeps its mail and its incarnation."""
    me = peers.join("me", heartbeat=Heartbeat(interval=0.02, ttl=30))
    other = peers.join("other", url=peers.elsewhere())
    epoch = me.member.epoch
    other.signals.send("a", "me", 1)
    wait_until(lambda: me.signals.peek("a"))
    store.redis.zrem(f"{store.prefix}leases", f"me#{epoch}")

    wait_until(lambda: store.redis.zscore(f"{store.prefix}leases", f"me#{epoch}"))

    assert me.member.epoch == epoch
    other.signals.send("a", "me", 2)
    assert [s.payload for s in me.signals.collect("a", count=2, timeout=5)] == [1, 2]
    assert me.signals.pending() == []


def test_a_lost_inbox_is_opened_again(store: Store, peers: Peers, wait_until: WaitUntil) -> None:
    """HUB.md: a hub whose inbox was removed would hear nothing; the next beat notices."""
    me = peers.join("me", heartbeat=Heartbeat(interval=0.02, ttl=30))
    other = peers.join("other", url=peers.elsewhere())
    link = me.hub.commands.link
    store.redis.delete(f"{store.prefix}inbox:{link}")
    other.signals.send("a", "me", 1)
    wait_until(lambda: me.hub.commands.link != link and me.hub.link.up)

    assert me.signals.wait("a", timeout=5)
    assert other.signals.send("a", "me", 2) != ""
    assert me.signals.wait("a", timeout=5)
