"""Looking into the mailbox of an agent from outside: what is there, and that nothing is taken."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from peers import Peers

from attune_dsl.coordination.stored_mail import StoredMail, wanted
from attune_dsl.exceptions import InvalidName, StoreUnavailable
from attune_dsl.hub.drive import drive
from attune_dsl.model import Signal

if TYPE_CHECKING:
    from conftest import Store


@pytest.fixture
def mail(store: Store) -> Iterator[StoredMail]:
    mail = drive(StoredMail.open("bob", store.url, store.namespace))
    yield mail
    drive(mail.close())


def found(mail: StoredMail, *types: str, source: str | None = None) -> list[Signal]:
    return [entry.signal for entry in drive(mail.look(wanted(types, source))).entries]


def payloads(mail: StoredMail, *types: str, source: str | None = None) -> list[object]:
    return [signal.payload for signal in found(mail, *types, source=source)]


def test_mail_and_broadcasts_are_found_oldest_first_and_stay(peers: Peers, mail: StoredMail) -> None:
    ann = peers.join("ann")
    ann.signals.send("go", "bob", 1)
    ann.signals.broadcast("news", 2)
    ann.signals.send("go", "bob", 3)
    ann.signals.send("go", "cid", 4)

    assert payloads(mail) == payloads(mail) == [1, 2, 3]
    assert [signal.payload for signal in peers.join("bob").signals.pending()] == [1, 2, 3]


def test_types_and_source_choose(peers: Peers, mail: StoredMail) -> None:
    ann, cid = peers.join("ann"), peers.join("cid")
    for sender in (ann, cid):
        for type_ in ("go", "stop", "else"):
            sender.signals.send(type_, "bob", f"{sender.id} {type_}")

    assert payloads(mail, "go", "stop") == ["ann go", "ann stop", "cid go", "cid stop"]
    assert payloads(mail, source="cid") == ["cid go", "cid stop", "cid else"]
    assert payloads(mail, "go", source="ann") == ["ann go"]


def test_what_the_agent_took_or_sent_itself_is_not_there(peers: Peers, mail: StoredMail) -> None:
    ann, bob = peers.join("ann"), peers.join("bob")
    ann.signals.broadcast("news")
    bob.signals.broadcast("own")
    assert bob.signals.check("news")
    bob.signals.send("flush", "ann")  # what was taken is told ahead of it

    assert found(mail) == []


def test_a_broadcast_that_is_not_for_newcomers_is_for_who_lives(peers: Peers, mail: StoredMail) -> None:
    ann, bob = peers.join("ann"), peers.join("bob")
    ann.signals.broadcast("now", late=False)
    assert [signal.type for signal in found(mail)] == ["now"]

    bob.leave()

    assert found(mail) == []


def test_what_has_expired_is_not_shown(
    peers: Peers, mail: StoredMail, store: Store, wait_until: Callable[..., Any]
) -> None:
    """Not even before anybody has removed it from the store."""
    ann = peers.join("ann")
    ann.signals.send("long", "bob")
    ann.signals.send("short", "bob", ttl=0.001)

    wait_until(lambda: [signal.type for signal in found(mail)] == ["long"])
    assert store.redis.xlen(f"{store.prefix}mail:bob") == 2


def test_what_is_malformed_is_left_out_alone(peers: Peers, mail: StoredMail, store: Store) -> None:
    peers.join("ann").signals.send("go", "bob")
    store.redis.xadd(f"{store.prefix}mail:bob", {"head": "nonsense", "signal": "{"})

    assert [signal.type for signal in found(mail)] == ["go"]
    assert mail.hub.entries.skipped == 1


def test_it_says_what_time_it_is_in_the_store(peers: Peers, mail: StoredMail) -> None:
    peers.join("ann").signals.send("go", "bob")
    look = drive(mail.look(wanted((), None)))

    assert 0 <= look.now - look.entries[0].signal.sent_at < 10


@pytest.mark.parametrize(("types", "source"), [(("",), None), ((), "\n")])
def test_names_are_checked(types: tuple[str, ...], source: str | None) -> None:
    with pytest.raises(InvalidName):
        wanted(types, source)


@pytest.mark.parametrize("store", ["embedded"], indirect=True)
@pytest.mark.parametrize("key", ["agent:bob", "mail:bob"])
def test_something_else_in_its_place_is_told(store: Store, mail: StoredMail, key: str) -> None:
    store.redis.set(store.prefix + key, "hostile", ex=60)

    with pytest.raises(StoreUnavailable, match="refused to be read"):
        found(mail)


def test_without_a_store_nothing_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"

    with pytest.raises(StoreUnavailable, match=url):
        drive(StoredMail.open("bob", url))
    with pytest.raises(InvalidName):
        drive(StoredMail.open("", url))
