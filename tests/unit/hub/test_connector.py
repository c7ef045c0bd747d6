"""Making a link, and what the hub's thread does about what goes wrong with it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from peers import Peer, Peers

from attune_dsl.hub.connector import Connector
from attune_dsl.hub.drive import drive
from attune_dsl.hub.keeper import Keeper
from attune_dsl.hub.registry import open_hub, release_hub
from attune_dsl.model import Heartbeat
from attune_dsl.store.connection import Connection, ReplyError

if TYPE_CHECKING:
    from conftest import Store

WaitUntil = Callable[..., Any]
QUICK = Heartbeat(interval=0.02, ttl=30)


def patch_replies(monkeypatch: pytest.MonkeyPatch, change: Callable[[list[Any]], list[Any]]) -> None:
    """Change what the server answers while connecting."""
    ask = Connection.ask
    monkeypatch.setattr(Connection, "ask", lambda self, commands: change(ask(self, commands)))


@pytest.mark.parametrize(
    "policy", [{b"maxmemory-policy": b"allkeys-lru"}, [b"maxmemory-policy", b"allkeys-lru"]], ids=["RESP3", "RESP2"]
)
def test_a_server_that_may_evict_is_warned_of_once(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wait_until: WaitUntil, policy: Any
) -> None:
    """HUB.md: signals might disappear before they are read. Once a hub, not at each of its connects."""
    patch_replies(monkeypatch, lambda replies: [*replies[:-2], policy, replies[-1]] if len(replies) > 2 else replies)

    with caplog.at_level(logging.WARNING):
        reconnect(peers.join("a"), wait_until)
        peers.join("b")

    assert caplog.text.count("event=store.may_evict") == 1
    assert "policy=allkeys-lru" in caplog.text


def reconnect(peer: Peer, wait_until: WaitUntil) -> None:
    """Have the hub think that its connection is dead."""
    peer.hub.reader._heard -= 13
    peer.hub.keeper.wake()
    wait_until(lambda: peer.hub.link.outages == 1 and peer.hub.link.up)


def test_no_agent_s_abort_is_asked_for_that_its_join_has_told(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    """§5.9: a thousand agents would cost a thousand questions at each connect."""
    peer = peers.join("a")
    asked: list[str] = []
    monkeypatch.setattr(peer.hub.aborts, "restart", lambda: asked.append("aborts"))
    monkeypatch.setattr(peer.hub.sources, "restart", lambda: asked.append("sources"))
    monkeypatch.setattr(peer.hub.barriers, "ask_again", lambda members: asked.extend(m.agent_id for m in members))

    reconnect(peer, wait_until)

    assert asked == ["sources", "a"]


def test_a_server_that_does_not_tell_its_policy_is_fine(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Managed servers often have no CONFIG."""
    refused = ReplyError("ERR unknown command 'CONFIG'")
    patch_replies(monkeypatch, lambda replies: [*replies[:-2], refused, replies[-1]] if len(replies) > 2 else replies)

    assert peers.join("a").signals.send("x", "y") != ""
    assert caplog.text == ""


def test_a_server_that_refuses_the_scripts_is_no_store(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent works degraded, and the error says why."""
    patch_replies(monkeypatch, lambda replies: [ReplyError("NOPERM scripts are off"), *replies[1:]])

    a = peers.join("a")

    assert a.agent.degraded is True
    assert "refused a script: NOPERM" in str(a.hub.link.error)
    assert a.signals.send("x", "y") == ""


def test_an_exception_in_the_hubs_thread_costs_a_link_and_no_more(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wait_until: WaitUntil
) -> None:
    """A bug of ours is logged with its traceback; the agents go on over the next link."""
    a = peers.join("a")
    flush = Keeper._flush
    failures = []

    def fail_once(keeper: Keeper, **options: Any) -> None:
        if not failures:
            failures.append(1)
            raise ZeroDivisionError("a bug")
        flush(keeper, **options)

    monkeypatch.setattr(Keeper, "_flush", fail_once)
    a.hub.keeper.wake()
    wait_until(lambda: failures and a.hub.link.outages == 1 and a.hub.link.up)

    assert "event=hub.stumbled" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert a.signals.send("x", "a") != ""
    assert a.signals.wait("x", timeout=5)


def test_a_silent_connection_is_replaced(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil, caplog: pytest.LogCaptureFixture
) -> None:
    """HUB.md: a half-open connection never tells; no answer to a read for 12 s does."""
    a = peers.join("a")

    reconnect(a, wait_until)

    wait_until(lambda: "no answer to a read" in caplog.text)
    assert a.signals.send("x", "a") != ""


def test_a_beat_that_is_not_answered_costs_the_link(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil, caplog: pytest.LogCaptureFixture
) -> None:
    """An error is no answer either."""
    a = peers.join("a", heartbeat=QUICK)
    wait_until(lambda: not a.member.doing.is_changed)
    monkeypatch.setattr("attune_dsl.store.scripts.beat", lambda *_, **__: ("NOSUCHCOMMAND",))
    wait_until(lambda: a.hub.link.outages >= 1)
    monkeypatch.undo()
    wait_until(lambda: a.hub.link.up)

    assert "a beat was not answered" in caplog.text
    assert a.signals.send("x", "a") != ""


def test_what_agents_say_is_said_again_now_and_then(store: Store, peers: Peers, wait_until: WaitUntil) -> None:
    """§6: hashes have long TTLs that are renewed hourly, so that a beat stays one command."""
    a = peers.join("a", heartbeat=QUICK)
    mute = peers.join("mute", heartbeat=None)
    wait_until(lambda: not a.member.doing.is_changed)
    keys = [f"{store.prefix}agent:{name}" for name in ("a", "mute")]
    for key in keys:
        store.redis.expire(key, 100)

    a.hub.keeper._beater._refresh_at = 0.0

    for key in keys:
        wait_until(lambda key=key: store.redis.ttl(key) > 100)
    assert mute.agent.degraded is False


def test_a_hub_without_agents_keeps_its_own_keys(
    store: Store, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    """A listing that is watched for long, say."""
    monkeypatch.setattr("attune_dsl.hub.beater.idle_interval", lambda: 0.02)
    hub = open_hub(store.url, store.namespace)
    try:
        wait_until(lambda: hub.link.up)
        inbox = f"{store.prefix}inbox:{hub.commands.link}"
        store.redis.expire(inbox, 10)
        wait_until(lambda: store.redis.ttl(inbox) > 10)
    finally:
        drive(release_hub(hub))


def test_a_join_that_the_server_refuses_is_logged(
    peers: Peers, wait_until: WaitUntil, caplog: pytest.LogCaptureFixture, store: Store
) -> None:
    """Something else lies where the agent's hash should be; the agent goes on without the store."""
    store.redis.set(f"{store.prefix}agent:a", "in the way", ex=60)

    a = peers.join("a")

    wait_until(lambda: "event=agent.refused" in caplog.text)  # a busy machine gives the join up before the answer
    assert a.agent.degraded is True
    assert a.signals.send("x", "y") == ""
    assert peers.join("b").signals.send("x", "y") != ""


def test_members_of_one_connect_come_in_chunks(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    """A rejoin of thousands does not become one huge write."""
    monkeypatch.setattr("attune_dsl.hub.connector._JOIN_CHUNK", 3)
    crowd = [peers.join(f"a{n}") for n in range(8)]
    accepted: list[str] = []
    accept = Connector._accept

    def note(connector: Connector, member: Any, reply: Any, known: int) -> bool:
        accepted.append(member.agent_id)
        return accept(connector, member, reply, known)

    monkeypatch.setattr(Connector, "_accept", note)
    reconnect(crowd[0], wait_until)

    assert sorted(accepted) == [peer.id for peer in crowd]
    assert all(peer.signals.send("x", peer.id) for peer in crowd)
