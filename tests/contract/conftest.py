"""Agents on each of the two servers, and a bad network before them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from peers import Peers
from proxy import Proxy

from attune_dsl.hub import link
from attune_dsl.store import limits, scripts

if TYPE_CHECKING:
    from conftest import Store


@pytest.fixture
def peers(store: Store) -> Iterator[Peers]:
    """Agents in the test's namespace; all leave at the end."""
    peers = Peers(store)
    yield peers
    peers.close()


@pytest.fixture
def proxy(store: Store, peers: Peers) -> Iterator[Proxy]:
    """A proxy before the store; agents that join through ``proxy.url`` have a hub of their own."""
    proxy = Proxy(store.address)
    yield proxy
    peers.close()  # while they still can
    proxy.close()


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
    scripts._take_head.cache_clear()
