"""Commands are answered in order, and what a broken connection left unanswered is sent once more as it was."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moved import MovedClock
from peers import until
from wire import Wire

from attune_dsl.hub.commands import Commands, Request
from attune_dsl.hub.drive import drive
from attune_dsl.hub.parker import SelectParker
from attune_dsl.store.connection import Connection, ConnectionLost, ReplyError

LARGE = "x" * 8_000_000


class Rig:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lost: list[tuple[Connection, ConnectionLost]] = []
        self.writes = 0
        self.wires: list[Wire] = []
        self.commands = Commands(SelectParker(), lambda *what: self.lost.append(what), self._after_write, lane="hub.1")

    def _after_write(self) -> None:
        self.writes += 1

    def connect(self) -> Wire:
        """Open a new connection; the link is named after how many there were."""
        wire = Wire(self.folder)
        self.wires.append(wire)
        self.commands.open(wire.connection, f"link-{len(self.wires)}")
        return wire

    def request(self, word: str, **how: Any) -> Request:
        """A request for a command of one word and the link's name."""
        return self.commands.request(lambda _: (word, self.commands.link), **how)

    def message(self, word: str) -> Request:
        """A request for a command of one word, the message's lane and its number."""
        return self.commands.request(lambda request: (word, request.lane, request.seq), numbered=True)

    def submit(self, *requests: Request) -> None:
        self.commands.submit(requests)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.commands.close()
    for wire in rig.wires:
        wire.close()


def words(commands: list[list[bytes]]) -> list[bytes]:
    return [command[0] for command in commands]


async def value_of(request: Request) -> Any:
    await request
    return request.value


def test_answers_belong_to_requests_in_order(rig: Rig) -> None:
    wire = rig.connect()
    first, second, third = (rig.request(word) for word in ("A", "B", "C"))
    rig.submit(first, second)
    rig.submit(third)
    assert wire.commands(3) == [[b"A", b"link-1"], [b"B", b"link-1"], [b"C", b"link-1"]]
    wire.answer("+one", "-ERR two", ":3")

    assert drive(value_of(third)) == 3
    assert first.value == b"one"
    assert (type(second.value), str(second.value)) == (ReplyError, "ERR two")
    assert rig.writes == 2


def test_an_answer_takes_effect_before_who_waits_hears_of_it(rig: Rig) -> None:
    wire = rig.connect()
    first, second = rig.request("A"), rig.request("B")
    seen: list[Any] = []
    first.then = lambda reply: seen.append((reply, first.done, second.done))
    second.then = lambda reply: seen.append((reply, first.done, second.done))
    rig.submit(first, second)
    wire.answer("+one", "+two")

    drive(value_of(second))

    assert seen == [(b"one", False, False), (b"two", True, False)]


def test_what_comes_unasked_belongs_to_nobody(rig: Rig) -> None:
    wire = rig.connect()
    wire.answer("+unasked")
    wire.connection.wait(10)
    rig.commands.pump.pump()
    request = rig.request("A")
    rig.submit(request)
    wire.answer("+one")

    assert drive(value_of(request)) == b"one"


def test_messages_are_numbered_in_the_order_of_their_writing(rig: Rig) -> None:
    wire = rig.connect()
    later, first, plain = rig.message("LATER"), rig.message("FIRST"), rig.request("PLAIN")
    assert (first.lane, first.seq) == ("", 0)

    rig.submit(first, plain)
    rig.submit(later)

    assert wire.commands(3) == [[b"FIRST", b"hub.1", b"1"], [b"PLAIN", b"link-1"], [b"LATER", b"hub.1", b"2"]]
    assert (first.id, later.id) == ("hub.1.1", "hub.1.2")
    assert (plain.lane, plain.seq) == ("", 0)


# Before there is a connection, and after it broke


def test_what_is_submitted_without_a_connection_goes_over_the_next(rig: Rig) -> None:
    rig.submit(rig.request("A"), rig.message("B"))
    rig.submit(rig.request("C"))
    assert rig.writes == 0

    wire = rig.connect()

    assert wire.commands(3) == [[b"A", b"link-1"], [b"B", b"hub.1", b"1"], [b"C", b"link-1"]]


def test_what_was_unanswered_is_sent_again_and_keeps_its_number(rig: Rig) -> None:
    first = rig.connect()
    answered, unanswered, plain = rig.message("A"), rig.message("B"), rig.request("C")
    rig.submit(answered, unanswered, plain)
    first.answer("+one")
    drive(value_of(answered))

    rig.commands.close()
    after = rig.message("D")
    rig.submit(after)
    second = rig.connect()

    assert second.commands(3) == [[b"B", b"hub.1", b"2"], [b"C", b"link-2"], [b"D", b"hub.1", b"3"]]
    second.answer("+two", "+three", "+four")
    assert drive(value_of(after)) == b"four"
    assert [answered.value, unanswered.value, plain.value] == [b"one", b"two", b"three"]
    assert second.is_quiet


def test_numbers_go_on_over_several_breaks(rig: Rig) -> None:
    rig.connect()
    rig.submit(rig.message("A"))
    for _ in range(2):
        rig.commands.close()
        rig.connect()
    rig.submit(rig.message("B"))

    assert rig.wires[-1].commands(2) == [[b"A", b"hub.1", b"1"], [b"B", b"hub.1", b"2"]]


def test_what_was_given_up_is_not_sent_again(rig: Rig) -> None:
    rig.connect()
    given_up, wanted = rig.message("A"), rig.message("B")
    rig.submit(given_up, wanted)
    rig.commands.close()
    given_up.given_up = True

    wire = rig.connect()

    assert words(wire.commands(1)) == [b"B"]
    assert wire.is_quiet
    wire.answer("+two")
    assert drive(value_of(wanted)) == b"two"
    assert not given_up.done


class Interrupted(list[Request]):
    """Requests, between the first two of which, in whatever order they are looked at, a connection is made."""

    def __init__(self, rig: Rig, *requests: Request) -> None:
        super().__init__(requests)
        self._rig = rig

    def _each(self, requests: Iterator[Request]) -> Iterator[Request]:
        yield next(requests)
        self._rig.connect()
        yield from requests

    def __iter__(self) -> Iterator[Request]:
        return self._each(super().__iter__())

    def __reversed__(self) -> Iterator[Request]:
        return self._each(super().__reversed__())


def test_a_connection_made_while_it_is_given_up_gets_no_message_without_its_causes(rig: Rig) -> None:
    """§5.1: what the agent did before it sent would be missing in the timeline, or stand behind its effect."""
    cause, message = rig.request("A"), rig.message("B")
    rig.submit(cause, message)
    rig.commands.give_up(Interrupted(rig, cause, message))
    rig.submit(rig.request("C"))

    assert words(rig.wires[0].commands(2)) == [b"A", b"C"]


def test_an_answer_to_what_was_given_up_is_still_its_own(rig: Rig) -> None:
    wire = rig.connect()
    given_up, wanted = rig.request("A"), rig.request("B")
    rig.submit(given_up, wanted)
    given_up.given_up = True
    wire.answer("+one", "+two")

    assert drive(value_of(wanted)) == b"two"
    assert given_up.value == b"one"


def test_what_is_given_up_does_not_pile_up_without_a_store(rig: Rig) -> None:
    for _ in range(100):
        request = rig.request("A")
        rig.submit(request)
        request.given_up = True
    rig.submit(rig.request("B"))

    assert len(rig.commands._unanswered) == 1
    assert words(rig.connect().commands(1)) == [b"B"]


def test_what_is_fleeting_ends_with_its_connection_and_what_is_kept_does_not(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = MovedClock(monkeypatch)
    rig.connect()
    fleeting, kept, other = rig.request("A"), rig.request("B", keep=True), rig.request("C")
    fleeting.fleeting = True
    rig.submit(fleeting, kept, other)
    rig.commands.close()

    rig.commands.drop_fleeting()

    assert isinstance(fleeting.value, ReplyError)
    assert (kept.done, kept.deadline, other.done, other.deadline) == (False, clock.now, False, None)
    assert words(rig.connect().commands(2)) == [b"B", b"C"]


def test_nobody_waits_any_more_when_there_will_be_no_next_connection(rig: Rig) -> None:
    requests = [rig.request("A"), rig.message("B")]
    rig.submit(*requests)

    rig.commands.abandon()

    assert [str(request.value) for request in requests] == ["the hub was closed"] * 2
    wire = rig.connect()
    assert wire.is_quiet


@pytest.mark.parametrize("error", ["NOSCRIPT No matching script.", "LOADING Redis is loading the dataset in memory"])
def test_a_server_that_was_restarted_is_a_broken_connection(rig: Rig, error: str) -> None:
    wire = rig.connect()
    first, second = rig.request("A"), rig.message("B")
    rig.submit(first, second)
    wire.answer(f"-{error}", "+two")
    wire.connection.wait(10)
    rig.commands.pump.pump()

    assert [(wire.connection, f"the server was restarted: {error}")] == [(c, str(e)) for c, e in rig.lost]
    assert (first.done, second.done) == (False, False)
    rig.commands.close()
    assert rig.connect().commands(2) == [[b"A", b"link-2"], [b"B", b"hub.1", b"1"]]


def test_a_write_that_fails_is_told_and_sent_again(rig: Rig) -> None:
    wire = rig.connect()
    wire.far.close()
    request = rig.message("A")

    rig.submit(request)

    assert [wire.connection] == [connection for connection, _ in rig.lost]
    assert rig.writes == 0
    rig.commands.close()
    assert rig.connect().commands(1) == [[b"A", b"hub.1", b"1"]]


def test_a_write_that_is_interrupted_breaks_the_connection(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = rig.connect()

    def interrupt(_: bytes) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(wire.connection, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        rig.submit(rig.message("A"))

    assert [wire.connection] == [connection for connection, _ in rig.lost]
    rig.commands.close()
    assert rig.connect().commands(1) == [[b"A", b"hub.1", b"1"]]


def test_what_the_socket_does_not_take_at_once_is_sent_while_somebody_waits(rig: Rig) -> None:
    wire = rig.connect()
    request = rig.commands.request(lambda _: ("A", LARGE))
    rig.submit(request)
    assert not wire.connection.flush()

    received: list[list[bytes]] = []

    def serve() -> None:
        received.extend(wire.commands(1))
        wire.answer("+one")

    server = threading.Thread(target=serve)
    server.start()
    assert drive(value_of(request)) == b"one"
    server.join()
    assert received == [[b"A", LARGE.encode()]]


async def test_what_the_socket_does_not_take_at_once_is_sent_by_the_loop(rig: Rig) -> None:
    wire = rig.connect()
    rig.submit(rig.commands.request(lambda _: ("A", LARGE)))

    assert await asyncio.to_thread(wire.commands, 1) == [[b"A", LARGE.encode()]]
    await until(lambda: not asyncio.get_running_loop().remove_writer(wire.connection.fd))
