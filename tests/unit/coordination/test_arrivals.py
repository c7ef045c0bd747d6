"""What comes on streams from now on, read without an inbox; also over a connection that breaks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from awaiting import Awaited

from attune_dsl import clock
from attune_dsl.coordination import arrivals as module
from attune_dsl.coordination.arrivals import Arrivals
from attune_dsl.exceptions import StoreUnavailable
from attune_dsl.hub.drive import drive
from attune_dsl.hub.hub import Hub
from attune_dsl.hub.registry import open_hub, release_hub

if TYPE_CHECKING:
    from conftest import Store


@pytest.fixture
def hub(store: Store) -> Iterator[Hub]:
    hub = open_hub(store.url, store.namespace)
    drive(hub.require_store())
    yield hub
    drive(release_hub(hub))


def add(store: Store, stream: str, text: str) -> None:
    store.redis.xadd(store.prefix + stream, {"text": text})
    store.redis.expire(store.prefix + stream, 60)


def texts(arrived: list[module.Arrival]) -> list[str]:
    return [arrival.raw[1].decode() for arrival in arrived]


def soon() -> float:
    return clock.monotonic() + 10


@pytest.fixture
def arrivals(store: Store, hub: Hub) -> Iterator[Arrivals]:
    """Of two streams, of which one exists."""
    add(store, "one", "before")
    with closing(Arrivals(hub, (f"{store.prefix}one", f"{store.prefix}two"))) as arrivals:
        yield arrivals


def test_only_what_comes_from_now_on_is_seen(store: Store, arrivals: Arrivals) -> None:
    add(store, "one", "after")

    (arrival,) = arrivals.next(soon())
    assert (arrival.stream, arrival.raw) == (f"{store.prefix}one", [b"text", b"after"])


def test_a_stream_may_begin_later(store: Store, arrivals: Arrivals) -> None:
    waiting = Awaited(arrivals.next, soon())
    add(store, "two", "first")

    assert texts(waiting.result()) == ["first"]


def test_nothing_is_missed_between_two_calls(store: Store, arrivals: Arrivals) -> None:
    for number in range(5):
        add(store, "one", str(number))
    seen: list[str] = []
    while len(seen) < 5:
        seen += texts(arrivals.next(soon()))

    assert seen == ["0", "1", "2", "3", "4"]


def test_it_ends_at_its_deadline_with_nothing(arrivals: Arrivals) -> None:
    assert arrivals.next(clock.monotonic() + 0.05) == []
    assert arrivals.next(clock.monotonic() - 1) == []


def test_a_connection_that_breaks_is_made_again_and_nothing_is_missed(store: Store, arrivals: Arrivals) -> None:
    connection = arrivals._connection
    assert connection is not None
    connection.break_off()
    add(store, "one", "meanwhile")

    assert texts(arrivals.next(soon())) == ["meanwhile"]


def test_ids_that_have_become_smaller_do_not_make_it_deaf(store: Store, arrivals: Arrivals) -> None:
    """The server's clock was set back, and the stream made anew: at the latest the next connection knows."""
    arrivals._cursors[f"{store.prefix}one"] = "9999999999999-0"
    assert arrivals._connection is not None
    arrivals._connection.break_off()
    assert arrivals.next(clock.monotonic() + 0.2) == []
    add(store, "one", "after")

    assert texts(arrivals.next(soon())) == ["after"]


def test_a_server_that_does_not_answer_any_more_is_dead(
    store: Store, arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = arrivals._connection
    monkeypatch.setattr(module, "SILENCE", 0.05)
    assert arrivals.next(clock.monotonic() + 0.2) == []

    assert arrivals._connection is not before


def test_a_store_that_stays_away_is_told(arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise StoreUnavailable("refused")

    monkeypatch.setattr(module, "Connection", refuse)
    monkeypatch.setattr(module, "GRACE", 0.2)
    connection = arrivals._connection
    assert connection is not None
    connection.break_off()

    with pytest.raises(StoreUnavailable, match="cannot be reached: refused"):
        arrivals.next(soon())


@pytest.mark.parametrize("store", ["embedded"], indirect=True)
def test_something_else_in_the_place_of_a_stream_is_told(store: Store, hub: Hub) -> None:
    store.redis.set(f"{store.prefix}one", "hostile", ex=60)

    with pytest.raises(StoreUnavailable, match="refused to be read"):
        Arrivals(hub, (f"{store.prefix}one",))
