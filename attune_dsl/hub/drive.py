"""Neutral coroutines: operations written once, awaited under asyncio or driven on a blocking thread.

A *ticket* is what an operation waits for. An ``async def`` that awaits nothing but tickets is neutral:

- under asyncio, awaiting a ticket suspends the task on a future of its loop;
- outside of any loop, :func:`drive` runs the coroutine and blocks the thread at every ticket, reading the socket that
  the answer will come from. That is why a blocking round trip costs no hand-over between threads.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from attune_dsl import clock
from attune_dsl.exceptions import BlockingCallInLoop

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


class Source(Protocol):
    """Where the answer to a ticket comes from: lets the waiting thread, or its loop, do the reading."""

    def block(self, ticket: Ticket[Any]) -> None:
        """Block this thread until the ticket is done or its deadline has passed."""

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have ``loop`` read the socket from now on; returns at once if it does already."""


class Ticket(Generic[T]):
    """Something that will be known. ``await ticket`` returns whether it was known before ``deadline``.

    ``deadline`` is a time of :func:`clock.monotonic`, or ``None`` for no limit. ``finish`` may come from any thread.
    """

    __slots__ = ("_nudged", "deadline", "done", "source", "value", "wake")

    def __init__(self, source: Source, deadline: float | None = None) -> None:
        self.source = source
        self.deadline = deadline
        self.done = False
        self.value: T | None = None
        self._nudged = False
        self.wake: Callable[[], object] | None = None

    # ``wake`` says how to wake who waits; whoever waits sets it, and takes it back.

    def finish(self, value: T) -> None:
        """Make the answer known and wake whoever waits for it. Only the first call counts."""
        if self.done:
            return
        self.value = value
        self.done = True
        self.nudge()

    def nudge(self) -> None:
        """Wake the waiting thread or task without an answer, so that it looks around."""
        self._nudged = True
        wake = self.wake
        if wake is not None:
            wake()

    def remaining(self) -> float | None:
        """Seconds to the deadline, possibly negative; ``None`` for no limit."""
        return None if self.deadline is None else self.deadline - clock.monotonic()

    def sleep(self) -> None:
        """Block this thread until :meth:`finish`, :meth:`nudge` or the deadline. May return early."""
        lock = threading.Lock()
        lock.acquire()
        self.wake = lambda: _release(lock)
        remaining = self.remaining()
        if not self._nudged and (remaining is None or remaining > 0):
            lock.acquire(timeout=-1 if remaining is None else min(remaining, threading.TIMEOUT_MAX))
        self.wake = None
        self._nudged = False

    def __await__(self) -> Generator[Any, None, bool]:
        # One generator, because thousands may wait at a time.
        if self.done:
            return True
        loop = running_loop()
        if loop is None:
            yield self
            return self.done
        self.source.watch(loop)
        self.wake = rouser = _Rouser(loop)
        remaining = self.remaining()
        timer = None if remaining is None else loop.call_later(max(0.0, remaining), rouser)
        try:
            if not self.done:
                yield from rouser.future
        finally:
            self.wake = None
            if timer is not None:
                timer.cancel()
        return self.done


class _Rouser:
    """Wakes the task that waits for ``future``, from any thread. An object: closures would take twice as much."""

    __slots__ = ("_loop", "_thread", "future")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._thread = loop, threading.get_ident()
        self.future: asyncio.Future[None] = loop.create_future()

    def resolve(self) -> None:
        """Wake it; on the loop's own thread."""
        if not self.future.done():
            self.future.set_result(None)

    def __call__(self) -> None:
        if threading.get_ident() == self._thread:
            self.resolve()
        elif not self._loop.is_closed():
            with suppress(RuntimeError):  # it has been closed since: nobody waits there, and others have to be told
                self._loop.call_soon_threadsafe(self.resolve)


class Strand:
    """A thread and, where a loop runs on it, a task: those on which this was made."""

    __slots__ = ("_task", "_thread")

    def __init__(self) -> None:
        self._thread, self._task = threading.get_ident(), _running_task()

    def is_here(self) -> bool:
        """Whether the caller is on the same thread, and in the same task."""
        return threading.get_ident() == self._thread and _running_task() is self._task


def _running_task() -> object | None:
    if running_loop() is None:
        return None
    from asyncio import current_task

    return current_task()


async def give_way() -> None:
    """Let the other tasks of the loop run, should this be called again and again; on a plain thread do nothing."""
    await Ticket[None](_Nowhere(), clock.monotonic())


class _Nowhere(Source):
    """The source of what nobody waits for."""

    def block(self, ticket: Ticket[Any]) -> None:
        """Return at once."""

    def watch(self, loop: object) -> None:
        """Nothing to read."""


def _release(lock: threading.Lock) -> None:
    try:
        lock.release()
    except RuntimeError:
        return  # two wakers: the first one was enough


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs on this thread; asyncio is not imported to find out that there is none."""
    # Another thread may be importing asyncio at this moment: no loop runs here before it is complete.
    running = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)
    return None if running is None else running()


def drive(operation: Coroutine[Any, Any, T]) -> T:
    """Run a neutral coroutine on this thread, blocking at its tickets; return what it returns.

    Raises :class:`BlockingCallInLoop` on a thread whose event loop is running.
    """
    if running_loop() is not None:
        operation.close()
        raise BlockingCallInLoop(
            "a blocking call on the thread of a running event loop would freeze it; "
            "take AsyncSignals or AsyncContext and await the call, or make the call from a thread"
        )
    try:
        ticket: Ticket[Any] = operation.send(None)
        while True:
            try:
                ticket.source.block(ticket)
            except BaseException as error:
                ticket = operation.throw(error)
            else:
                ticket = operation.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
