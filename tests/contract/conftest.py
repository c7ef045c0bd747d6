"""Agents on each of the two servers, and a bad network before them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from aborting import Place
from cut_scene import Scene
from cutting import CuttingProxy
from following import Follow, Following
from peers import Peer, Peers
from proxy import Proxy

from attune_dsl import Runner, clock
from attune_dsl.coordination.mail import MailOperations
from attune_dsl.hub import link, reader
from attune_dsl.hub.mailbox import Waiter
from attune_dsl.store import limits, scripts

if TYPE_CHECKING:
    from conftest import Servers, Store


@pytest.fixture(autouse=True)
def slept_on() -> Iterator[list[Waiter]]:
    """No wait of more than four seconds ends by its timeout: tests name such a one only where they expect a signal.

    A wait that was not woken gets its signal all the same, when it looks once more at its end, and would hide it.
    """
    slept: list[Waiter] = []
    original = MailOperations._await

    async def watched(self: MailOperations, waiter: Waiter, **how: Any) -> bool:
        deadline = waiter.deadline  # its own: one that is broken off has an earlier one afterwards
        patient = deadline is not None and deadline - clock.monotonic() > 4
        found = await original(self, waiter, **how)
        is_over = deadline is not None and deadline <= clock.monotonic()
        if patient and is_over and not waiter.ending:
            slept.append(waiter)
        return found

    with pytest.MonkeyPatch.context() as patch:  # one of its own, which no test undoes
        patch.setattr(MailOperations, "_await", watched)
        yield slept
    assert slept == [], "waits that were not woken"


@pytest.fixture(autouse=True)
def short_reads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Reads of hubs that are gone soon end.

    fakeredis notices only at the end of a blocking read that its client has left, and until then each write wakes it.
    """
    with pytest.MonkeyPatch.context() as patch:
        if "memory" in request.node.name:
            patch.setattr(reader, "BLOCK", 0.5)
        yield


@pytest.fixture
def peers(store: Store) -> Iterator[Peers]:
    """Agents in the test's namespace; all leave at the end. No key is without a TTL while they are there either."""
    peers = Peers(store)
    yield peers
    for_ever = store.keys_for_ever()
    peers.close()
    assert for_ever == []


@pytest.fixture
def proxy(store: Store, peers: Peers) -> Iterator[Proxy]:
    """A proxy before the store; agents that join through ``proxy.url`` have a hub of their own."""
    proxy = Proxy(store.address)
    yield proxy
    peers.close()  # while they still can
    proxy.close()


@pytest.fixture
def scene(servers: Servers) -> Iterator[Scene]:
    """Two agents, one behind a proxy that cuts. On the real server: fakeredis notices late that a client is gone."""
    store = servers.store("embedded")
    peers, proxy = Peers(store), CuttingProxy(store.address)
    yield Scene(store, peers, proxy)
    for_ever = store.keys_for_ever()
    proxy.revive()
    peers.close()
    proxy.close()
    store.clear()
    store.close()
    assert for_ever == []


@pytest.fixture
def follow(store: Store, peers: Peers) -> Iterator[Follow]:
    """Followers of the test's namespace; each is closed at the end, if it is not yet."""
    followers: list[Following] = []

    def start(url: str | None = None) -> Following:
        followers.append(Following(url or peers.elsewhere(), store.namespace))
        return followers[-1]

    yield start
    for follower in followers:
        follower.close()


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> float:
    """What cannot be confirmed is given up after a quarter of a second instead of two."""
    monkeypatch.setattr(link, "GRACE", 0.25)
    return 0.25


@pytest.fixture
def shrink(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, int], None]]:
    """Make a bound of the scripts smaller, for hubs that connect from then on: ``shrink("MAIL_COUNT", 10)``."""

    def shrink(name: str, value: int) -> None:
        for script in scripts._ALL:
            text = script.text.replace(f"local {name} = {getattr(limits, name)}\n", f"local {name} = {value}\n")
            assert text != script.text
            monkeypatch.setattr(script, "text", text)
            monkeypatch.setattr(script, "sha", hashlib.sha1(text.encode()).hexdigest())
        _forget_shas()

    yield shrink
    _forget_shas()


def _forget_shas() -> None:
    scripts._send_head.cache_clear()
    scripts._record_head.cache_clear()


# Runs, and who asks them to stop


@pytest.fixture
def ops(peers: Peers) -> Peer:
    """Who asks, over a link of its own."""
    return peers.join("ops", url=peers.elsewhere())


@pytest.fixture
def runner(store: Store) -> Iterator[Runner]:
    """Runs the test's workflows; what it started has ended behind the test."""
    with Runner(store=store.url, namespace=store.namespace) as runner:
        yield runner


@pytest.fixture
def place() -> Iterator[Place]:
    """Where code of a run waits for the test."""
    place = Place()
    yield place
    place.opened.set()
