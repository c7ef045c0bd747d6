"""Who reads the socket: a waiting thread, a loop, or the hub's own thread; and what happens when it breaks."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from moved import MovedClock
from peers import until
from pumping import Rig, value_of

from attune_dsl.hub.drive import drive

LARGE = b"x" * 8_000_000


# Threads


def test_the_thread_that_waits_reads(rig: Rig) -> None:
    wire = rig.attach()
    ticket = rig.waiting(leads=True)

    wire.answer("+one")
    rig.join()

    assert ticket.value == b"one"
    assert rig.pump._leader is None


def test_a_leader_of_an_earlier_connection_does_not_keep_a_later_one_open(rig: Rig) -> None:
    """It is slow to let go, and meanwhile the next connection comes and goes."""
    goes_on = threading.Event()
    rig.on_reply = lambda _: goes_on.wait(10)
    first = rig.attach()
    rig.waiting(leads=True)
    first.answer("+one")
    rig.until(rig.pump._reading.locked)

    rig.pump.detach()
    second = rig.attach()
    rig.pump.detach()
    closed = second.connection._sock.fileno()
    goes_on.set()
    rig.join()

    assert (first.connection._sock.fileno(), closed) == (-1, -1)


def test_the_reading_is_handed_over_when_the_leader_leaves(rig: Rig) -> None:
    wire = rig.attach()
    first, second, third = rig.waiting(leads=True), rig.waiting(leads=False), rig.waiting(leads=False)

    wire.answer("+one")
    rig.until(lambda: rig.pump._leader is second)
    assert (first.value, second.done, third.done) == (b"one", False, False)
    wire.answer("+two")
    rig.until(lambda: rig.pump._leader is third)
    wire.answer("+three")
    rig.join()

    assert [first.value, second.value, third.value] == [b"one", b"two", b"three"]


def test_the_leader_brings_the_others_answers_too(rig: Rig) -> None:
    wire = rig.attach()
    leader, sleeper = rig.waiting(leads=True), rig.waiting(leads=False)
    rig.tickets.rotate(1)

    wire.answer("+for the sleeper")
    rig.until(lambda: sleeper.done)
    rig.threads[1].join(10)

    assert not rig.threads[1].is_alive()
    assert rig.pump._leader is leader
    wire.answer("+for the leader")


def test_an_answer_from_elsewhere_wakes_the_leader(rig: Rig) -> None:
    rig.attach()
    leader, sleeper = rig.waiting(leads=True), rig.waiting(leads=False)

    leader.finish("from elsewhere")
    rig.until(lambda: rig.pump._leader is sleeper)

    assert leader.value == "from elsewhere"
    sleeper.finish("as well")
    rig.join()


def test_a_leader_that_was_woken_in_vain_reads_on(rig: Rig) -> None:
    wire = rig.attach()
    leader = rig.waiting(leads=True)
    for _ in range(3):
        leader.nudge()

    wire.answer("+one")
    rig.join()

    assert leader.value == b"one"


def test_a_sleeper_that_leaves_when_it_was_to_lead_hands_it_on(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = rig.attach()
    first, second, third = rig.waiting(leads=True), rig.waiting(leads=False), rig.waiting(leads=False)
    nudge = second.wake
    second.wake = None  # it is nudged to lead, and finished before it does
    wire.answer("+one")
    rig.until(lambda: first.done and rig.pump._leader is None and second._nudged)
    rig.tickets.popleft()
    second.done = True
    assert nudge is not None
    nudge()

    rig.until(lambda: rig.pump._leader is third)
    wire.answer("+three")
    rig.join()

    assert third.value == b"three"


def test_a_wait_whose_time_is_over_reads_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = MovedClock(monkeypatch)
    rig.attach().answer("+one")
    ticket = rig.ticket(clock.now)

    rig.pump.block(ticket)

    assert (ticket.done, rig.replies) == (False, [])


def test_a_wait_ends_with_its_time(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = MovedClock(monkeypatch)
    rig.attach()
    ticket = rig.ticket(clock.now + 50)
    waits: list[float | None] = []

    def wait(timeout: float | None, also: int) -> bool:
        waits.append(timeout)
        clock.move(25)
        return False

    rig.wires[0].connection.wait = wait  # type: ignore[method-assign]

    rig.pump.block(ticket)

    assert (waits, ticket.done) == ([50.0, 25.0], False)


def test_what_is_owed_is_done_before_the_thread_blocks(rig: Rig) -> None:
    rig.attach()
    rig.waiting(leads=True)
    rig.until(lambda: rig.before)

    assert rig.before == [rig.threads[0].name]


def test_a_reader_that_is_interrupted_gives_the_connection_up(rig: Rig) -> None:
    wire = rig.attach()

    def interrupt(_: Any) -> None:
        raise KeyboardInterrupt

    rig.on_reply = interrupt
    ticket = rig.ticket()
    wire.answer("+one", "+two")

    with pytest.raises(KeyboardInterrupt):
        drive(value_of(ticket))

    assert [(wire.connection, "the reading was interrupted")] == [(lost, str(error)) for lost, error in rig.lost]
    assert wire.is_closed
    assert rig.pump._leader is None


# Breaks


def test_a_connection_that_ends_is_reported_and_closed(rig: Rig) -> None:
    wire = rig.attach()
    ticket = rig.waiting(leads=True)
    wire.far.close()
    rig.until(lambda: ticket in rig.pump._sleepers)

    assert [wire.connection] == [connection for connection, _ in rig.lost]
    assert wire.is_closed

    rig.attach().answer("+after all")
    rig.join()
    assert ticket.value == b"after all"


def test_who_waits_goes_on_with_the_next_connection(rig: Rig) -> None:
    first = rig.attach()
    leader, sleeper = rig.waiting(leads=True), rig.waiting(leads=False)

    rig.pump.detach()
    rig.until(lambda: leader in rig.pump._sleepers and sleeper in rig.pump._sleepers)
    rig.until(lambda: first.is_closed)
    second = rig.attach()
    second.answer("+one", "+two")
    rig.join()

    assert [leader.value, sleeper.value] == [b"one", b"two"]
    assert rig.lost == []


def test_a_break_of_an_earlier_connection_is_old_news(rig: Rig) -> None:
    first = rig.attach()
    rig.pump.detach()
    second = rig.attach()

    rig.pump.detach(first.connection)

    assert rig.pump._connection is second.connection
    assert not second.is_closed


def test_without_a_connection_there_is_nothing_to_read(rig: Rig) -> None:
    rig.pump.pump()
    rig.pump.detach()
    rig.pump.attend()

    assert rig.lost == []
    assert rig.parker.sleep(0) == set()


# The hub's thread


def test_the_hubs_thread_reads_when_nobody_waits(rig: Rig) -> None:
    wire = rig.attach()
    rig.pump.attend()
    rig.pump.attend()
    wire.answer("+one")

    (fd,) = rig.parker.sleep(50)

    assert rig.pump.ready(fd)
    assert rig.replies == [b"one"]
    assert rig.before == [threading.current_thread().name]
    wire.answer("+two")
    assert rig.parker.sleep(50) == {wire.connection.fd}  # armed once more


def test_another_descriptor_is_not_this_pumps(rig: Rig) -> None:
    wire = rig.attach()
    wire.answer("+one")

    assert not rig.pump.ready(wire.far.fileno())
    assert rig.replies == []


def test_the_hubs_thread_is_told_when_nobody_reads_any_more(rig: Rig) -> None:
    wire = rig.attach()
    assert rig.idle.acquire(blocking=False)
    first, _ = rig.waiting(leads=True), rig.waiting(leads=False)

    wire.answer("+one")
    rig.until(lambda: first.done and rig.pump._leader not in (None, first))
    assert not rig.idle.acquire(blocking=False)

    wire.answer("+two")
    rig.join()
    assert rig.idle.acquire(blocking=False)


def test_a_thread_that_waits_takes_the_reading_from_the_hubs(rig: Rig) -> None:
    wire = rig.attach()
    rig.pump.attend()
    rig.waiting(leads=True)
    rig.pump.attend()

    assert rig.parker._armed == set()
    wire.answer("+one")
    rig.join()


def test_a_connection_that_is_given_up_is_not_slept_on(rig: Rig) -> None:
    rig.attach()
    rig.pump.attend()

    rig.pump.detach()

    assert rig.parker._armed == set()
    second = rig.attach()
    rig.pump.attend()
    assert rig.parker._armed == {second.connection.fd}


# Loops


async def test_a_loop_reads_for_its_tasks(rig: Rig) -> None:
    wire = rig.attach()
    rig.pump.attend()
    tasks = [asyncio.create_task(value_of(rig.ticket())) for _ in range(2)]
    await until(lambda: all(ticket.wake for ticket in rig.tickets))

    wire.answer("+one", "+two")

    assert await asyncio.gather(*tasks) == [b"one", b"two"]
    assert rig.parker._armed == set()
    await until(lambda: rig.before)


async def test_a_loop_goes_on_with_the_next_connection(rig: Rig) -> None:
    first = rig.attach()
    task = asyncio.create_task(value_of(rig.ticket()))
    await until(lambda: rig.tickets[0].wake)

    await asyncio.to_thread(rig.pump.detach)
    await until(lambda: first.is_closed)
    second = await asyncio.to_thread(rig.attach)
    second.answer("+after all")

    assert await task == b"after all"


async def test_a_loop_notices_a_break(rig: Rig) -> None:
    first = rig.attach()
    task = asyncio.create_task(value_of(rig.ticket()))
    await until(lambda: rig.tickets[0].wake)

    first.far.close()
    await until(lambda: first.is_closed)

    assert [first.connection] == [connection for connection, _ in rig.lost]
    rig.attach().answer("+after all")
    assert await task == b"after all"


async def test_a_loop_that_watches_no_more_leaves_the_reading_to_others(rig: Rig) -> None:
    wire = rig.attach()
    rig.pump.watch(asyncio.get_running_loop())
    rig.pump.attend()
    assert rig.parker._armed == set()

    rig.pump.unwatch(asyncio.get_running_loop())
    rig.pump.unwatch(asyncio.get_running_loop())
    rig.pump.attend()

    assert rig.parker._armed == {wire.connection.fd}
    assert not asyncio.get_running_loop().remove_reader(wire.connection.fd)


def test_a_thread_and_a_loop_read_side_by_side(rig: Rig) -> None:
    wire = rig.attach()
    leader = rig.waiting(leads=True)

    async def beside() -> Any:
        task = asyncio.create_task(value_of(rig.ticket()))
        await until(lambda: rig.tickets[1].wake)
        wire.answer("+one", "+two")
        return await task

    assert asyncio.run(beside()) == b"two"
    rig.join()
    assert leader.value == b"one"


def test_a_loop_that_was_closed_is_forgotten(rig: Rig) -> None:
    wire = rig.attach()

    async def watch() -> None:
        rig.pump.watch(asyncio.get_running_loop())

    asyncio.run(watch())
    rig.pump.attend()
    assert rig.parker._armed == set()

    rig.pump.drop_closed_loops()
    rig.pump.attend()

    assert rig.parker._armed == {wire.connection.fd}


def test_a_closed_loop_does_not_keep_a_socket_open(rig: Rig) -> None:
    wire = rig.attach()

    async def watch() -> None:
        rig.pump.watch(asyncio.get_running_loop())

    asyncio.run(watch())
    rig.pump.detach()

    assert wire.is_closed


async def test_a_loop_sends_what_the_socket_did_not_take(rig: Rig) -> None:
    wire = rig.attach()
    assert not wire.connection.write(LARGE)
    rig.pump.drain_soon()

    def read_all() -> int:
        size = 0
        while size < len(LARGE):
            size += len(wire.far.recv(1 << 20))
        return size

    assert await asyncio.to_thread(read_all) == len(LARGE)
    await until(lambda: not asyncio.get_running_loop().remove_writer(wire.connection.fd))


async def test_a_break_while_a_loop_sends_is_reported(rig: Rig) -> None:
    wire = rig.attach()
    wire.connection.write(LARGE)
    rig.pump.drain_soon()

    wire.far.close()
    await until(lambda: rig.lost)

    assert rig.lost[0][0] is wire.connection
    assert not asyncio.get_running_loop().remove_writer(wire.connection.fd)
