"""Neutral coroutines: the same operation blocks a thread or suspends a task."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from moved import MovedClock
from peers import until

from attune_dsl.exceptions import BlockingCallInLoop
from attune_dsl.hub.drive import Ticket, drive, running_loop
from attune_dsl.hub.link import SLEEPING

WaitUntil = Callable[..., Any]


class Source:
    """Does at every block what a test says; remembers who watched."""

    def __init__(self, *deeds: Callable[[Ticket[Any]], object]) -> None:
        self.deeds = list(deeds)
        self.watched: list[object] = []

    def block(self, ticket: Ticket[Any]) -> None:
        self.deeds.pop(0)(ticket)

    def watch(self, loop: object) -> None:
        self.watched.append(loop)


def fail(error: BaseException) -> Callable[[Ticket[Any]], object]:
    def deed(_: Ticket[Any]) -> None:
        raise error

    return deed


async def value_of(ticket: Ticket[Any]) -> tuple[bool, Any]:
    return await ticket, ticket.value


def in_thread(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


# Driving


def test_an_operation_without_tickets_is_just_called() -> None:
    async def operation() -> str:
        return "done"

    assert drive(operation()) == "done"


def test_the_thread_blocks_until_the_answer_is_known() -> None:
    source = Source(lambda ticket: ticket.finish("first"), lambda ticket: ticket.finish("second"))

    async def operation() -> list[Any]:
        return [await value_of(Ticket(source)), await value_of(Ticket(source))]

    assert drive(operation()) == [(True, "first"), (True, "second")]


def test_what_is_known_already_is_not_waited_for() -> None:
    ticket: Ticket[str] = Ticket(Source())
    ticket.finish("known")

    assert drive(value_of(ticket)) == (True, "known")


def test_only_the_first_answer_counts() -> None:
    ticket: Ticket[str] = Ticket(Source())
    ticket.finish("first")
    ticket.finish("second")

    assert ticket.value == "first"


def test_a_ticket_that_the_source_gave_up_is_not_known() -> None:
    assert drive(value_of(Ticket(Source(lambda _: None)))) == (False, None)


def test_what_interrupts_the_wait_is_raised_in_the_operation() -> None:
    steps: list[str] = []
    source = Source(fail(KeyboardInterrupt()), lambda ticket: ticket.finish("after all"))

    async def operation() -> Any:
        try:
            await Ticket(source)
        except KeyboardInterrupt:
            steps.append("interrupted")
        return await value_of(Ticket(source))

    assert drive(operation()) == (True, "after all")
    assert steps == ["interrupted"]


def test_what_the_operation_does_not_catch_is_raised_by_drive() -> None:
    steps: list[str] = []

    async def operation() -> None:
        try:
            await Ticket(Source(fail(KeyboardInterrupt("now"))))
        finally:
            steps.append("cleaned up")

    with pytest.raises(KeyboardInterrupt, match="now"):
        drive(operation())
    assert steps == ["cleaned up"]


async def test_a_loops_thread_is_not_blocked() -> None:
    began: list[bool] = []

    async def operation() -> None:
        began.append(True)

    coroutine = operation()
    with pytest.raises(BlockingCallInLoop, match="take AsyncSignals or AsyncContext"):
        drive(coroutine)

    assert began == []
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        coroutine.send(None)


async def test_another_thread_is_blocked_while_a_loop_runs() -> None:
    source = Source(lambda ticket: ticket.finish("there"))

    assert await asyncio.to_thread(lambda: drive(value_of(Ticket(source)))) == (True, "there")


async def test_the_running_loop_is_this_threads() -> None:
    assert running_loop() is asyncio.get_running_loop()
    assert await asyncio.to_thread(running_loop) is None


# Sleeping


def test_another_thread_finishes_what_a_thread_sleeps_for(wait_until: WaitUntil) -> None:
    ticket: Ticket[str] = Ticket(SLEEPING)
    found: list[Any] = []
    thread = in_thread(lambda: found.append(drive(value_of(ticket))))
    wait_until(lambda: ticket.wake)

    ticket.finish("woken")
    thread.join()

    assert found == [(True, "woken")]
    assert ticket.wake is None


def test_a_nudge_wakes_without_an_answer(wait_until: WaitUntil) -> None:
    ticket: Ticket[str] = Ticket(SLEEPING)
    thread = in_thread(ticket.sleep)
    wait_until(lambda: ticket.wake)

    ticket.nudge()
    thread.join()

    assert not ticket.done


def test_a_nudge_that_came_before_the_sleep_is_not_lost() -> None:
    ticket: Ticket[str] = Ticket(SLEEPING)
    ticket.nudge()

    ticket.sleep()  # returns

    assert ticket.wake is None


def test_a_nudge_counts_for_one_sleep(wait_until: WaitUntil) -> None:
    ticket: Ticket[str] = Ticket(SLEEPING)
    ticket.nudge()
    ticket.sleep()
    thread = in_thread(ticket.sleep)

    wake = wait_until(lambda: ticket.wake)  # it sleeps again

    wake()
    thread.join()


def test_two_who_wake_at_once_do_no_harm(wait_until: WaitUntil) -> None:
    ticket: Ticket[str] = Ticket(SLEEPING)
    thread = in_thread(ticket.sleep)
    wake = wait_until(lambda: ticket.wake)

    wake()
    wake()
    thread.join()

    assert not ticket.done


def test_who_has_no_time_left_does_not_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = MovedClock(monkeypatch)
    ticket: Ticket[str] = Ticket(SLEEPING, clock.now + 5)
    assert ticket.remaining() == 5.0

    clock.move(5)

    ticket.sleep()
    assert drive(value_of(ticket)) == (False, None)
    clock.move(1)
    assert ticket.remaining() == -1.0


def test_a_deadline_beyond_what_a_lock_can_wait_for(wait_until: WaitUntil) -> None:
    ticket: Ticket[str] = Ticket(SLEEPING, 1e300)
    thread = in_thread(ticket.sleep)
    wait_until(lambda: ticket.wake)
    ticket.finish("x")
    thread.join()

    assert ticket.done


# Under asyncio


async def test_a_task_is_suspended_and_its_loop_does_the_reading() -> None:
    source = Source()
    ticket: Ticket[str] = Ticket(source)
    task = asyncio.create_task(value_of(ticket))
    await until(lambda: ticket.wake)

    ticket.finish("here")

    assert await task == (True, "here")
    assert source.watched == [asyncio.get_running_loop()]
    assert ticket.wake is None


async def test_another_thread_finishes_what_a_task_waits_for() -> None:
    ticket: Ticket[str] = Ticket(SLEEPING)
    task = asyncio.create_task(value_of(ticket))
    await until(lambda: ticket.wake)

    await asyncio.to_thread(ticket.finish, "from afar")

    assert await task == (True, "from afar")


async def test_what_is_known_already_suspends_nobody() -> None:
    source = Source()
    ticket: Ticket[str] = Ticket(source)
    ticket.finish("known")

    assert await value_of(ticket) == (True, "known")
    assert source.watched == []


async def test_what_becomes_known_while_the_loop_begins_to_read_suspends_nobody() -> None:
    source = Source()
    ticket: Ticket[str] = Ticket(source)
    source.watch = lambda _: ticket.finish("just now")  # type: ignore[method-assign]

    assert await value_of(ticket) == (True, "just now")


async def test_a_task_waits_until_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = MovedClock(monkeypatch)

    assert await value_of(Ticket(SLEEPING, clock.now - 1)) == (False, None)
    assert await value_of(Ticket(SLEEPING, clock.now + 0.001)) == (False, None)


async def test_a_task_that_was_nudged_looks_around() -> None:
    ticket: Ticket[str] = Ticket(SLEEPING)
    task = asyncio.create_task(value_of(ticket))
    await until(lambda: ticket.wake)

    ticket.nudge()

    assert await task == (False, None)


async def test_a_cancelled_task_leaves_nothing_behind() -> None:
    ticket: Ticket[str] = Ticket(SLEEPING, 1e9)
    task = asyncio.create_task(value_of(ticket))
    await until(lambda: ticket.wake)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ticket.wake is None
    ticket.finish("too late")


@pytest.mark.parametrize("is_seen", [True, False], ids=["before", "just now"])
def test_a_loop_that_was_closed_is_not_woken(monkeypatch: pytest.MonkeyPatch, is_seen: bool) -> None:
    """Nor does it matter if it closes right between the look and the word: others are told after it."""
    loop = asyncio.new_event_loop()
    ticket: Ticket[str] = Ticket(SLEEPING)
    operation: Coroutine[Any, Any, Any] = value_of(ticket)
    task = loop.create_task(operation)
    loop.run_until_complete(until(lambda: ticket.wake))
    wake = ticket.wake
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    assert wake is not None

    with monkeypatch.context() as patch:
        if not is_seen:
            patch.setattr(loop, "is_closed", lambda: False)
        in_thread(wake).join()  # a thread that raised would fail the test

    assert not ticket.done
