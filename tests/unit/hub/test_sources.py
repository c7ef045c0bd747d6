"""Whom the agents of a process wait for: who is asked about, when, and whose waits an end ends."""

from __future__ import annotations

from typing import Any

import pytest

from attune_dsl.hub.drive import drive
from attune_dsl.hub.endings import Gone
from attune_dsl.hub.entries import EntryReader
from attune_dsl.hub.link import SLEEPING
from attune_dsl.hub.mailbox import Waiter
from attune_dsl.hub.sources import Sources
from attune_dsl.store.connection import ReplyError
from attune_dsl.store.keys import Keys

ALIVE = [b"1", b"", b"", b"running", b"", b"", 1, b""]
NEVER = [b"", b"", b"", b"", b"", b"", 0, b""]


class Request:
    """A command that a test answers."""

    def __init__(self, render: Any) -> None:
        self.source = render(self)[-2]
        self.then: Any = None


class Hub:
    """A hub whose clock and whose answers are the test's."""

    def __init__(self) -> None:
        self.keys = Keys("team")
        self.entries = EntryReader()
        self.commands = self.keeper = self.tick = self
        self.link = "hub.1"
        self.now = 1_000.0
        self.ticks = 0
        self.lapses: list[float] = []
        self.reply: Any = None

    def soon(self) -> None:
        self.ticks += 1

    def server_ms(self) -> float:
        return self.now

    def look_for_lapse(self, within: float) -> None:
        self.lapses.append(round(within, 3))

    def request(self, render: Any) -> Request:
        return Request(render)

    async def ask(self, _: list[Request]) -> Any:
        return self.reply


class Member:
    """An agent by when it joined."""

    def __init__(self, since: int = 5) -> None:
        self.since = since


def waiter(*senders: str) -> Waiter:
    return Waiter(SLEEPING, None, frozenset(), frozenset(senders or ("ann",)))


def notice(order: int = 9, at: int = 2_000, agent: str = "ann") -> dict[bytes, bytes]:
    fields = {"gone": agent, "epoch": 1, "at": at, "order": order, "status": "failed", "stage": "build", "error": "no"}
    return {name.encode(): str(value).encode() for name, value in fields.items()}


def ended(order: int = 9) -> list[Any]:
    return [b"1", b"2000", str(order).encode(), b"failed", b"build", b"no", 0, b""]


GONE = Gone("ann", 2_000, 9, "failed", "build", "no")


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def sources(hub: Hub) -> Sources:
    return Sources(hub)  # type: ignore[arg-type]


def wait_for(sources: Sources, *senders: str, since: int = 5) -> Waiter:
    waiting = waiter(*senders)
    sources.add(Member(since), waiting)  # type: ignore[arg-type]
    return waiting


def asked(sources: Sources) -> list[Any]:
    return sorted(sources.pop_unasked(), key=lambda request: request.source)  # type: ignore[attr-defined]


def names(sources: Sources) -> list[str]:
    return [request.source for request in asked(sources)]


# Asking


def test_the_store_is_asked_once_for_all_who_wait(sources: Sources, hub: Hub) -> None:
    for senders in (("ann",), ("ann", "ben"), ("ben",)):
        wait_for(sources, *senders)

    assert hub.ticks > 0
    assert (names(sources), names(sources)) == (["ann", "ben"], [])
    wait_for(sources, "ann")
    assert names(sources) == []


def test_a_wait_that_is_over_by_then_is_not_asked_about(sources: Sources) -> None:
    first = wait_for(sources)
    sources.remove(first)

    assert (names(sources), sources._waits) == ([], {})
    wait_for(sources)
    assert names(sources) == ["ann"]


def test_whom_a_wait_does_not_watch_is_not_asked_about(sources: Sources) -> None:
    waiting = waiter("ann", "ben")
    waiting.watched -= {"ann"}
    sources.add(Member(), waiting)  # type: ignore[arg-type]

    assert names(sources) == ["ben"]
    sources.remove(waiting)
    assert sources._waits == {}


def test_a_new_link_asks_about_all_again(sources: Sources, hub: Hub) -> None:
    wait_for(sources, "ann", "ben")
    over = wait_for(sources, "cid")
    names(sources)
    sources.remove(over)
    ticks = hub.ticks

    sources.restart()

    assert hub.ticks > ticks
    assert names(sources) == ["ann", "ben"]


# Answers


@pytest.mark.parametrize("reply", [ALIVE, NEVER, None, ReplyError("WRONGTYPE"), ended(order=4)])
def test_one_that_lives_or_has_not_started_is_waited_for(sources: Sources, reply: Any) -> None:
    waiting = wait_for(sources, since=5)
    (request,) = asked(sources)

    request.then(reply)

    assert waiting.ending is None
    assert names(sources) == []


@pytest.mark.parametrize("order", [5, 6])
def test_one_that_ended_since_the_waiter_joined_is_gone(sources: Sources, order: int) -> None:
    waiting = wait_for(sources, since=5)
    (request,) = asked(sources)

    request.then(ended(order))

    assert waiting.ending == GONE._replace(ended_order=order)
    assert waiting.remaining() <= 0  # type: ignore[operator]


def test_one_that_has_not_joined_yet_has_missed_nobody(sources: Sources) -> None:
    """It was made without a store; when there is one, it joins first."""
    waiting = wait_for(sources, since=0)
    (request,) = asked(sources)

    request.then(ended())

    assert waiting.ending is None


def test_an_answer_is_for_those_who_asked(sources: Sources) -> None:
    """Until it is here the one that ended may have been started again; who came meanwhile asks anew, once."""
    first = wait_for(sources)
    (request,) = asked(sources)
    second, newcomer = wait_for(sources), wait_for(sources, since=10)

    request.then(ended())
    assert (first.ending, second.ending, newcomer.ending) == (GONE, None, None)
    (request,) = asked(sources)
    request.then(ended())

    assert (second.ending, newcomer.ending) == (GONE, None)
    assert names(sources) == []


def test_one_that_is_gone_is_asked_about_by_each_new_wait(sources: Sources) -> None:
    """It may have been started again."""
    wait_for(sources)
    asked(sources)[0].then(ended())

    wait_for(sources)

    assert names(sources) == ["ann"]


@pytest.mark.parametrize("bad", [b"never", b"9" * 5000])
@pytest.mark.parametrize("field", [1, 2])
def test_an_answer_that_makes_no_sense_is_skipped(sources: Sources, hub: Hub, field: int, bad: bytes) -> None:
    waiting = wait_for(sources)
    reply = ended()
    reply[field] = bad

    asked(sources)[0].then(reply)

    assert (waiting.ending, hub.entries.skipped) == (None, 1)


def test_the_lapse_of_its_lease_is_looked_for(sources: Sources, hub: Hub) -> None:
    wait_for(sources)
    (request,) = asked(sources)

    request.then([*ALIVE[:7], b"4000"])
    sources.began({b"here": b"ann", b"ttl": b"500"})
    for ttl in (b"", b"soon", b"-1"):
        sources.began({b"here": b"ann", b"ttl": ttl})

    assert hub.lapses == [3.003, 0.503]


@pytest.mark.parametrize(("reply", "alive"), [(ALIVE, True), (NEVER, False), (ended(), False), (None, True)])
def test_who_is_alive(sources: Sources, hub: Hub, reply: Any, alive: bool) -> None:
    """A store that does not answer makes nobody dead."""
    hub.reply = reply

    assert drive(sources.is_alive("ann")) is alive
    assert names(sources) == []


# Notices


def test_a_notice_ends_all_waits_for_that_one(sources: Sources) -> None:
    waits = [wait_for(sources, *senders) for senders in (("ann",), ("ben", "ann"), ("ben",))]

    sources.ended(notice())

    assert [waiting.ending for waiting in waits] == [GONE, GONE, None]


def test_after_a_notice_the_store_is_asked_for_those_who_still_wait(sources: Sources) -> None:
    """They joined later, or began to wait later: for the next incarnation, of whose end nobody would tell them."""
    newcomer = wait_for(sources, since=10)
    asked(sources)
    sources._hub.now = 3_000.0  # type: ignore[attr-defined]
    later = wait_for(sources)

    sources.ended(notice(at=2_000))
    assert (newcomer.ending, later.ending) == (None, None)
    (request,) = asked(sources)
    request.then(ALIVE)
    assert (newcomer.ending, later.ending) == (None, None)

    sources.ended(notice(order=12, at=4_000))
    assert newcomer.ending == later.ending == GONE._replace(ended_order=12, ended_ms=4_000)


@pytest.mark.parametrize("name", [b"gone", b"at", b"order", b"status", b"stage", b"error"])
def test_a_notice_that_lacks_something_is_skipped(sources: Sources, hub: Hub, name: bytes) -> None:
    waiting, fields = wait_for(sources), notice()
    del fields[name]

    sources.ended(fields)

    assert (waiting.ending, hub.entries.skipped) == (None, 1)


def test_what_is_no_text_is_shown_all_the_same(sources: Sources) -> None:
    waiting = wait_for(sources)

    sources.ended(notice() | {b"error": b"\xff!"})

    assert str(waiting.ending) == "agent 'ann' failed on stage 'build' (\N{REPLACEMENT CHARACTER}!)"


# Words


@pytest.mark.parametrize(
    ("status", "stage", "error", "words"),
    [
        ("completed", "build", "", "agent 'ann' completed"),
        ("failed", "build", "ValueError: no", "agent 'ann' failed on stage 'build' (ValueError: no)"),
        ("aborted", "", "", "agent 'ann' was aborted"),
        ("cancelled", "build", "", "agent 'ann' was cancelled on stage 'build'"),
        ("lost", "build", "", "agent 'ann' was lost on stage 'build'"),
    ],
)
def test_an_end_in_words(status: str, stage: str, error: str, words: str) -> None:
    assert str(Gone("ann", 0, 0, status, stage, error)) == words
