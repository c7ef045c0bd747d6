"""§5.1: a send that returns an id is stored, once; one that could not be confirmed returns an empty id."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from peers import Peers
from proxy import Proxy

from attune_dsl import clock
from attune_dsl.coordination.join import join
from attune_dsl.exceptions import NotAJsonValue, PayloadTooLarge
from attune_dsl.store import launcher, scripts
from attune_dsl.store.embedded import EmbeddedServer
from attune_dsl.store.statedir import StateDir

if TYPE_CHECKING:
    from conftest import Store

WaitUntil = Callable[..., Any]


def mail_ids(store: Store, agent_id: str) -> list[str]:
    """The ids of the signals that lie in an agent's mailbox."""
    entries: Any = store.redis.xrange(f"{store.prefix}mail:{agent_id}")
    return [fields[b"head"].decode().split(" ")[4] for _, fields in entries]


def broadcast_ids(store: Store) -> list[str]:
    entries: Any = store.redis.xrange(f"{store.prefix}broadcast")
    return [fields[b"head"].decode().split(" ")[4] for _, fields in entries]


def test_a_send_that_returns_an_id_is_stored(store: Store, peers: Peers) -> None:
    """§5.1: the id that a send returns is in the store when it returns."""
    sender = peers.join("sender")

    sent = [sender.signals.send("job", "worker", {"n": n}) for n in range(3)]
    told = sender.signals.broadcast("start")

    assert mail_ids(store, "worker") == sent
    assert broadcast_ids(store) == [told]
    assert len({*sent, told}) == 4


def test_send_without_a_target_is_a_broadcast(store: Store, peers: Peers) -> None:
    """§5.1: ``send(target=None)`` stores a broadcast."""
    sent = peers.join("sender").signals.send("start")

    assert broadcast_ids(store) == [sent]


def test_a_send_whose_reply_is_lost_is_stored_once(store: Store, peers: Peers, proxy: Proxy) -> None:
    """§5.1: the link breaks after the store has stored and before it can say so; the retry stores nothing."""
    sender = peers.join("sender", url=proxy.url)
    proxy.swallow(scripts._SEND.sha.encode())

    sent = sender.signals.send("job", "worker")

    assert proxy.swallowed == 1
    assert mail_ids(store, "worker") == [sent]
    assert sender.agent.degraded is True


def test_a_broadcast_whose_reply_is_lost_is_stored_once(store: Store, peers: Peers, proxy: Proxy) -> None:
    """§5.1: the same holds for a broadcast."""
    sender = peers.join("sender", url=proxy.url)
    proxy.swallow(scripts._BROADCAST.sha.encode())

    told = sender.signals.broadcast("start")

    assert proxy.swallowed == 1
    assert broadcast_ids(store) == [told]


def test_two_broken_links_in_a_row_store_nothing_twice(
    store: Store, peers: Peers, proxy: Proxy, wait_until: WaitUntil
) -> None:
    """§5.1: one send is repeated twice, and another one that first went out with it over the second link, once."""
    sender = peers.join("sender", url=proxy.url)
    commands, sent = sender.hub.commands, []
    wait_until(
        lambda: sender.hub.keeper._beater.next_look < float("inf") and not commands._unanswered
    )  # the first beat
    late = threading.Thread(target=lambda: sent.append(sender.signals.send("job", "worker")))
    opened = commands.open

    def open_and_swallow(*args: Any) -> None:
        commands.open = opened  # type: ignore[method-assign]
        late.start()
        wait_until(lambda: len(commands._unanswered) == 2)
        proxy.swallow(scripts._SEND.sha.encode())
        opened(*args)

    commands.open = open_and_swallow  # type: ignore[method-assign]
    proxy.swallow(scripts._SEND.sha.encode())

    sent.append(sender.signals.send("job", "worker"))
    late.join()

    assert proxy.swallowed == 2
    assert "" not in sent
    assert sorted(mail_ids(store, "worker")) == sorted(sent)


def test_what_was_not_confirmed_is_not_stored_later(
    store: Store, peers: Peers, proxy: Proxy, short_grace: float, wait_until: WaitUntil
) -> None:
    """§5.1: a send without a store returns an empty id after the grace time, and the hub does not send it later."""
    sender = peers.join("sender", url=proxy.url)
    proxy.die()
    wait_until(lambda: not sender.hub.link.up)
    began = clock.monotonic()

    assert sender.signals.send("job", "worker", {"lost": True}) == ""

    assert clock.monotonic() - began < short_grace + 0.5
    proxy.revive()
    wait_until(lambda: sender.hub.link.up)
    kept = sender.signals.send("job", "worker", {"lost": False})
    assert mail_ids(store, "worker") == [kept]


def test_a_stalled_store_is_given_up_after_the_grace_time(
    peers: Peers, proxy: Proxy, short_grace: float, store: Store
) -> None:
    """§5.1: the connection is there, but nothing comes back: not confirmed after the grace time."""
    sender = peers.join("sender", url=proxy.url)
    proxy.stall()
    began = clock.monotonic()

    assert sender.signals.send("job", "worker") == ""

    assert short_grace <= clock.monotonic() - began < short_grace + 0.5


def test_key_lets_the_users_own_retry_be_recognised(store: Store, peers: Peers) -> None:
    """§5.1: two sends with one ``key`` are one signal and return one id."""
    sender = peers.join("sender")

    first = sender.signals.send("job", "worker", {"try": 1}, key="job-7")
    second = sender.signals.send("job", "worker", {"try": 2}, key="job-7")
    other = sender.signals.send("job", "worker", {"try": 3}, key="job-8")

    assert second == first
    assert mail_ids(store, "worker") == [first, other]


def test_key_of_a_broadcast(store: Store, peers: Peers) -> None:
    """§5.1: a broadcast's ``key`` works as that of a send."""
    sender = peers.join("sender")

    assert sender.signals.broadcast("go", key="k") == sender.signals.broadcast("go", key="k")
    assert len(broadcast_ids(store)) == 1


def test_key_belongs_to_its_sender(store: Store, peers: Peers) -> None:
    """§5.1: the same key of another sender is another signal, also where name and key together look the same."""
    one, other = peers.join("a:b"), peers.join("a")

    sent = [one.signals.send("job", "worker", key="c"), other.signals.send("job", "worker", key="b:c")]

    assert mail_ids(store, "worker") == sent


def test_key_survives_the_senders_process(store: Store, peers: Peers) -> None:
    """§5.1: a user's retry after a restart, by a new incarnation, is recognised."""
    first = peers.join("sender")
    sent = first.signals.send("job", "worker", key="job-7")
    first.leave()

    assert peers.join("sender").signals.send("job", "worker", key="job-7") == sent
    assert mail_ids(store, "worker") == [sent]


def test_key_is_free_again_when_its_signal_has_expired(store: Store, peers: Peers, wait_until: WaitUntil) -> None:
    """§5.1: a key is remembered as long as its signal lives."""
    sender = peers.join("sender")
    first = sender.signals.send("job", "worker", key="k", ttl=0.05)
    wait_until(lambda: not store.redis.exists(f"{store.prefix}once:6:sender:k"))

    assert sender.signals.send("job", "worker", key="k") not in ("", first)


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({"items": [1, {2, 3}]}, "$.items[1]"),
        ({"at": object()}, "$.at"),
        ([1, float("nan")], "$[1]"),
        ({"a": {3: 4}}, "$.a"),
        ({"big": 2**64}, "$.big"),
        (b"bytes", "$"),
    ],
)
def test_a_payload_that_is_no_json_is_refused_with_its_path(
    store: Store, peers: Peers, payload: Any, path: str
) -> None:
    """§5.12 and §5.1: nothing is stored, and the error names the place."""
    sender = peers.join("sender")

    with pytest.raises(NotAJsonValue) as caught:
        sender.signals.send("job", "worker", payload)

    assert caught.value.path == path
    assert path in str(caught.value)
    assert mail_ids(store, "worker") == []


def test_a_payload_of_256_kib_is_sent_and_a_larger_one_refused(store: Store, peers: Peers) -> None:
    """§5.12: the limit is 256 KiB of encoded JSON."""
    sender, receiver = peers.join("sender"), peers.join("receiver")
    largest = "x" * (256 * 1024 - 2)

    assert sender.signals.send("big", "receiver", largest) != ""
    with pytest.raises(PayloadTooLarge, match="262,145 bytes"):
        sender.signals.send("big", "receiver", largest + "x")

    got = receiver.signals.wait("big", timeout=5)
    assert got
    assert got.payload == largest
    assert receiver.signals.check("big") is None


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), 1e15, "60", [60]])
def test_a_ttl_that_no_store_can_keep_is_refused(store: Store, peers: Peers, ttl: Any) -> None:
    """§5.1: it is refused before anything is stored."""
    sender = peers.join("sender")

    with pytest.raises(ValueError, match="must be a positive number of seconds"):
        sender.signals.send("job", "worker", ttl=ttl)

    assert mail_ids(store, "worker") == []


KILLED = """
import os, signal, sys
from attune_dsl.coordination.join import join
with join("sender", sys.argv[1], sys.argv[2]) as me:
    print(me.signals.send("job", "worker"), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_confirmed_send_survives_its_killed_sender(store: Store) -> None:
    """§5.1: the process that sent it is killed right after."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, store.address, store.namespace], check=False, capture_output=True, text=True
    )

    assert done.returncode == -signal.SIGKILL
    assert mail_ids(store, "worker") == done.stdout.split()


def test_confirmed_sends_survive_a_killed_server(tmp_path: Path, wait_until: WaitUntil) -> None:
    """§5.1: the embedded server is killed, and started again by whoever needs it; nothing confirmed is gone."""
    home = StateDir(tmp_path)
    server = EmbeddedServer(tmp_path)
    os.environ["ATTUNE_HOME"] = str(tmp_path)
    with join("receiver", "embedded://", "ns") as receiver, join("sender", "embedded://", "ns") as sender:
        sent = [sender.signals.send("job", "receiver", {"n": n}) for n in range(20)]
        os.kill(launcher.server_pid(home) or 0, signal.SIGKILL)

        sent += [sender.signals.send("job", "receiver", {"n": n}) for n in range(20, 40)]

        got = [receiver.signals.wait("job", timeout=5) for _ in range(40)]
        assert "" not in sent
        assert [json.dumps(one.payload) if one else one for one in got] == [f'{{"n": {n}}}' for n in range(40)]
        assert [one.id for one in got if one] == sent
    server.close()
