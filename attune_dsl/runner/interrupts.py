"""SIGTERM ends runs as cancelled, with a terminal heartbeat, before it ends the process.

A handler is installed only while something runs in the main thread, and only where the signal would otherwise kill
the process: an application that handles SIGTERM itself keeps doing so.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attune_dsl.runner.outcome import Terminated

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


class _Listener:
    """Something that runs in the main thread: with a ``loop`` a task, which ``stop`` ends; else plain code."""

    def __init__(self, stop: Callable[[], object], loop: AbstractEventLoop | None) -> None:
        self.stop = stop
        self.loop = loop
        self.fired = False
        self.settled = False


_listeners: list[_Listener] = []


@contextmanager
def sigterm(
    stop: Callable[[], object] | None = None, loop: AbstractEventLoop | None = None
) -> Iterator[Callable[[], None]]:
    """On SIGTERM interrupt the block, and end the process with exit code 143 once the block has been left.

    Plain code is interrupted by :class:`Terminated`, like by Ctrl-C. Where a ``loop`` runs, ``stop`` is called instead,
    and the loop itself exits when the last of its blocks has been left. The block calls what it gets once there is
    nothing left to interrupt: from then on the signal only waits for the block's end.
    """
    listener = _Listener(stop or _interrupt, loop)
    if not _listen(listener):
        yield lambda: None
        return
    try:
        yield lambda: setattr(listener, "settled", True)
    finally:
        _unlisten(listener)
        if listener.fired:
            _exit_after(listener)


class _Waker:
    """Has signals wake a loop, as long as somebody uses it."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        from socket import socketpair

        self.users = 0
        self._loop = loop
        self._near, self._far = socketpair()
        for end in (self._near, self._far):
            end.setblocking(False)
        loop.add_reader(self._near, self._near.recv, 4096)
        signal.set_wakeup_fd(self._far.fileno(), warn_on_full_buffer=False)

    def close(self) -> None:
        signal.set_wakeup_fd(-1)
        self._loop.remove_reader(self._near)
        for end in (self._near, self._far):
            end.close()


_wakers: dict[AbstractEventLoop, _Waker] = {}


@contextmanager
def awake(loop: AbstractEventLoop) -> Iterator[None]:
    """Have Ctrl-C and SIGTERM heard at once while the block runs in a task of ``loop``.

    Python handles a signal between two steps of the main thread. Without this, one that comes in the moment in which
    the loop falls asleep, or to another thread, is not handled before something else wakes the loop.
    """
    if loop not in _wakers and not _is_deaf():
        yield
        return
    waker = _wakers.get(loop) or _wakers.setdefault(loop, _Waker(loop))
    waker.users += 1
    try:
        yield
    finally:
        waker.users -= 1
        if not waker.users:
            del _wakers[loop]
            waker.close()


def _is_deaf() -> bool:
    """Whether this is the main thread, and nobody has seen to it yet that signals wake it."""
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        return False  # on Windows asyncio itself does
    present = signal.set_wakeup_fd(-1)
    if present >= 0:
        signal.set_wakeup_fd(present)
    return present < 0


def _interrupt() -> None:
    raise Terminated


def _exit_after(listener: _Listener) -> None:
    if listener.loop is None:
        raise Terminated from None
    if not any(other.loop is listener.loop for other in _listeners):
        # Raised by a callback of the loop, because a task that raises it would be reported as never retrieved.
        listener.loop.call_soon(_interrupt)


def _listen(listener: _Listener) -> bool:
    if threading.current_thread() is not threading.main_thread():
        return False
    if not _listeners:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return False
        signal.signal(signal.SIGTERM, _handle)
    _listeners.append(listener)
    return True


def _unlisten(listener: _Listener) -> None:
    _listeners.remove(listener)
    if not _listeners and signal.getsignal(signal.SIGTERM) is _handle:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _handle(signum: int, frame: object) -> None:
    """The innermost listener is what the main thread is doing now; all tasks of its loop stop together."""
    for listener in _listeners:
        listener.fired = True
    running = _listeners[-1].loop
    innermost = [one for one in _listeners if one.loop is running] if running is not None else _listeners[-1:]
    for listener in innermost:
        if not listener.settled:
            listener.stop()
