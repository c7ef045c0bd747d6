"""What one client is sent: first the past, then what happens, without a gap and without a duplicate."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("starlette")

from telling import tell

from attune_dsl.coordination.selection import ALL, Selection
from attune_dsl.coordination.timeline import AsyncTimeline
from attune_dsl.dashboard import feed as feed_module
from attune_dsl.dashboard import ring as ring_module
from attune_dsl.dashboard import stream as stream_module
from attune_dsl.dashboard.feed import Feed, TooManyClients
from attune_dsl.dashboard.frames import WEB_SOCKET
from attune_dsl.dashboard.stream import Over, Stream
from attune_dsl.events import Emit, StageStart
from attune_dsl.exceptions import StoreUnavailable

if TYPE_CHECKING:
    from conftest import Store

PATIENCE = 20


class Client:
    """What a client was sent, as the objects that it reads."""

    def __init__(self, feed: Feed, after: str | None = None, selection: Selection = ALL) -> None:
        self.stream = Stream(feed, WEB_SOCKET, selection, after)
        self._frames = self.stream.frames()
        self.heard: list[dict[str, Any]] = []

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            self.heard.append(json.loads(await anext(self._frames)))
        return self.heard[-1]

    async def until(self, kind: str) -> dict[str, Any]:
        """Listen until there is a message of this type."""
        while (await self.hear())["type"] != kind:
            continue
        return self.heard[-1]

    async def until_id(self, event_id: str) -> None:
        """Listen until an event was told."""
        while event_id not in self.ids:
            await self.hear()

    async def end(self) -> Over:
        """Listen until it is over."""
        while True:
            try:
                await self.hear()
            except Over as over:
                return over

    @property
    def ids(self) -> list[str]:
        return [event["id"] for message in self.heard if message["type"] == "events" for event in message["events"]]


def note(store: Store, number: int = 0) -> str:
    return tell(store, "emit", Emit(kind="note", data=number))


def notes(store: Store, count: int) -> list[str]:
    return [note(store, number) for number in range(count)]


@pytest.fixture
async def feed(store: Store) -> AsyncIterator[Feed]:
    timeline = AsyncTimeline(store.url, store.namespace)
    feed = Feed(timeline)
    yield feed
    await feed.close("the test ends")
    await timeline.close()


async def test_the_past_then_what_happens(store: Store, feed: Feed) -> None:
    """§5.1 of the timeline: all there is, then the word that a client is up to date, then what comes."""
    told = notes(store, 3)
    client = Client(feed, "0")

    assert (await client.until("live"))["last_id"] == told[-1]
    assert client.ids == told
    more = notes(store, 3)
    await client.until_id(more[-1])

    assert client.ids == told + more


async def test_no_message_is_larger_than_clients_take(
    store: Store, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries take a MiB, if nothing else is said; neither the past nor much at once is a larger message."""
    monkeypatch.setattr(ring_module, "BATCH_BYTES", 2_000)
    told = [tell(store, "emit", Emit(kind="note", data="x" * 500)) for _ in range(20)]
    client = Client(feed, "0")
    await client.until("live")
    told += [tell(store, "emit", Emit(kind="note", data="x" * 500)) for _ in range(20)]
    await client.until_id(told[-1])

    assert client.ids == told
    assert max(len(json.dumps(message)) for message in client.heard) < 4_000


async def test_without_a_place_it_begins_now(store: Store, feed: Feed) -> None:
    notes(store, 3)
    client = Client(feed)
    await client.until("live")
    more = notes(store, 2)
    await client.until_id(more[-1])

    assert client.ids == more


async def test_it_goes_on_behind_an_event(store: Store, feed: Feed) -> None:
    told = notes(store, 5)
    client = Client(feed, told[1])
    await client.until("live")

    assert client.ids == told[2:]


async def test_nobody_misses_anything_or_is_told_twice(
    store: Store, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients join at any place while much happens: what is read as history and what is live fit together."""
    monkeypatch.setattr(stream_module, "CHUNK", 40)
    monkeypatch.setattr(feed_module, "WINDOW", 0.005)
    chance = random.Random(5)
    told = notes(store, 100)
    clients: list[tuple[str, Client, asyncio.Task[None]]] = []
    last = asyncio.get_running_loop().create_future()

    async def listen(client: Client) -> None:
        while not last.done() or last.result() not in client.ids:
            await client.hear()

    for number in range(600):
        told.append(note(store, number))
        if number % 20 == 0:
            after = chance.choice(["0", *told])
            client = Client(feed, after)
            clients.append((after, client, asyncio.create_task(listen(client))))
        if number % 3 == 0:
            await asyncio.sleep(0)
    told.append(note(store))
    last.set_result(told[-1])
    await asyncio.gather(*(task for _, _, task in clients))

    missed = {
        after: client.ids
        for after, client, _ in clients
        if client.ids != told[told.index(after) + 1 if after != "0" else 0 :]
    }
    assert len(clients) == 30
    assert missed == {}


async def test_a_client_gets_what_it_asked_for_and_how_far_that_holds(
    store: Store, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "QUIET", 0.02)
    client = Client(feed, "0", Selection(kinds=frozenset({"stage"}), agent="release"))
    wanted = [tell(store, "stage.started", StageStart(call=1), stage="build")]
    tell(store, "stage.started", StageStart(call=1), agent="deploy")
    other = note(store)
    await client.until("live")
    wanted.append(tell(store, "stage.started", StageStart(call=2), stage="build"))
    await client.until_id(wanted[1])
    other = note(store)
    while client.heard[-1].get("last_id") != other:
        await client.hear()

    assert client.ids == wanted
    assert client.heard[-1] == {"type": "events", "events": [], "last_id": other}


async def test_one_that_is_too_slow_is_let_go_and_resumes(
    store: Store, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept is bounded; whoever falls behind that is told where to resume, and others go on."""
    monkeypatch.setattr(ring_module, "EVENTS", 20)
    monkeypatch.setattr(ring_module, "BATCH_BYTES", 1)
    told = notes(store, 2)
    slow, quick = Client(feed, "0"), Client(feed, "0")
    await slow.until("live")
    await quick.until("live")
    for _ in range(10):
        told += notes(store, 5)
        await quick.until_id(told[-1])
    over = await slow.end()

    assert quick.ids == told
    assert slow.ids == told[:2]
    assert (over.code, over.reason) == (1013, f"too slow; resume with after={told[1]}")
    assert feed.ring.end - feed.ring.begin <= 20
    again = Client(feed, told[1])
    await again.until_id(told[-1])
    assert again.ids == told[2:]


async def test_what_a_stalled_client_did_not_take_it_is_told_again(store: Store, feed: Feed) -> None:
    """Only what is followed by another request counts as sent."""
    told = notes(store, 1)
    client = Client(feed, "0")
    await client.until("live")
    told += notes(store, 1)
    await client.until_id(told[1])

    assert client.stream.stalled().reason == f"too slow; resume with after={told[0]}"


async def test_the_end_is_told_to_all(store: Store, feed: Feed) -> None:
    told = notes(store, 1)
    early, late = Client(feed, "0"), Client(feed)
    await early.until("live")
    await late.until("live")
    await feed.close("the server ends")

    assert [(over.code, over.reason) for over in (await early.end(), await late.end())] == [
        (1001, f"the server ends; resume with after={told[0]}"),
        (1001, f"the server ends; resume with after={told[0]}"),
    ]


async def test_events_that_come_close_together_travel_together(
    store: Store, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that comes alone is told at once, those behind it a moment later, all at once."""
    monkeypatch.setattr(feed_module, "WINDOW", 0.5)
    client = Client(feed)
    await client.until("live")
    told = notes(store, 1)
    await client.until_id(told[0])
    told += notes(store, 30)
    await client.until_id(told[-1])

    assert [len(message["events"]) for message in client.heard if message["type"] == "events"] == [1, 30]


async def test_clients_are_counted(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "CLIENTS", 2)
    async with feed.client(), feed.client():
        with pytest.raises(TooManyClients):
            async with feed.client():
                pass
        assert feed.clients == 2
    await feed.emptied()
    assert feed.clients == 0


class Away:
    """A timeline whose store is away until it is let in."""

    def __init__(self, timeline: AsyncTimeline) -> None:
        self._timeline = timeline
        self.is_away = True

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def ask(*args: Any, **kwargs: Any) -> Any:
            if self.is_away:
                raise StoreUnavailable("the store cannot be reached")
            return await getattr(self._timeline, name)(*args, **kwargs)

        return ask


@pytest.mark.parametrize("store", ["memory"], indirect=True)
@pytest.mark.parametrize("after", ["0", None])
async def test_without_a_store_a_client_is_told_so_and_comes_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, after: str | None
) -> None:
    """§5.11: nobody waits for a store of which nobody knows when it comes."""
    monkeypatch.setattr(feed_module, "_RETRY", 0.01)
    timeline = AsyncTimeline(store.url, store.namespace)
    away = Away(timeline)
    feed = Feed(away)  # type: ignore[arg-type]
    over = await Client(feed, after).end()
    assert (over.code, over.reason.partition(";")[0]) == (1013, "the store is away")

    away.is_away = False
    told = notes(store, 1)
    async with asyncio.timeout(PATIENCE):
        while feed.is_away:
            await feed.ring.news(feed.ring.end, PATIENCE)
    client = Client(feed, "0")
    await client.until("live")
    assert client.ids == told
    await feed.close("the test ends")
    await timeline.close()
