"""The operating system's signals, held back so that this process can pass them on instead of obeying them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple


def _known(*names: str) -> frozenset[int]:
    return frozenset(getattr(signal, name) for name in names if hasattr(signal, name))


ENDING: Final = _known("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM")
"""What people and systems send to end a program."""
STOPPING: Final = _known("SIGTSTP", "SIGTTIN", "SIGTTOU")
"""Job control: what stops a program until SIGCONT."""
_OTHERS: Final = _known("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCONT", "SIGWINCH", "SIGINFO", "SIGPWR")
_FROM_TERMINAL: Final = _known("SIGINT", "SIGQUIT", "SIGTSTP", "SIGWINCH", "SIGINFO")
_DROPPED_UNLESS_CAUGHT: Final = _known("SIGCHLD", "SIGCONT", "SIGWINCH", "SIGINFO")
"""Some systems throw these away, although they are blocked, unless there is a handler."""


class Interrupted(Exception):
    """A signal asked this process to end while it held none back. ``number`` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(name_of(number))
        self.number = number


class Received(NamedTuple):
    """A signal that came. ``sender`` is a pid, 0 if unknown; ``from_terminal`` says that a whole group has got it."""

    number: int
    sender: int
    from_terminal: bool


class HeldSignals:
    """Blocks the signals that are passed on, and SIGCHLD, and takes them one by one.

    Made on the main thread before any other thread starts, because these inherit what is blocked: otherwise one of them
    would obey. What this process was told to ignore (``nohup``) stays ignored.
    """

    def __init__(self) -> None:
        real_time = range(signal.SIGRTMIN, signal.SIGRTMAX + 1) if hasattr(signal, "SIGRTMIN") else ()
        wanted = ENDING | STOPPING | _OTHERS | frozenset(real_time)
        self._numbers = {number for number in wanted if signal.getsignal(number) is not signal.SIG_IGN}
        for number in _DROPPED_UNLESS_CAUGHT & (self._numbers | {signal.SIGCHLD}):
            signal.signal(number, _nothing)
        self._numbers.add(signal.SIGCHLD)
        self.original = signal.pthread_sigmask(signal.SIG_BLOCK, self._numbers)
        """What was blocked before: a child starts with that."""

    def next(self) -> Received:
        """Wait for the next signal."""
        if not hasattr(signal, "sigwaitinfo"):
            return _guess(int(signal.sigwait(self._numbers)))
        info = signal.sigwaitinfo(self._numbers)
        is_from_kernel = info.si_code > 0
        return Received(info.si_signo, 0 if is_from_kernel else info.si_pid, is_from_kernel)

    def nudge(self) -> None:
        """Let :meth:`next` return with a SIGCHLD; from any thread."""
        os.kill(os.getpid(), signal.SIGCHLD)

    @staticmethod
    def is_pending(numbers: frozenset[int]) -> bool:
        """Whether one of ``numbers`` has come and was not taken yet."""
        return bool(signal.sigpending() & numbers)

    @staticmethod
    def stop_this_process() -> None:
        """Stop like a program that job control stops; returns when it is continued."""
        # In this order one that is pending already and this one are the same.
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})

    @contextmanager
    def obeyed(self) -> Iterator[None]:
        """Within the block a signal that asks to end raises :class:`Interrupted` on this, the main thread."""
        numbers = ENDING & self._numbers
        before = {number: signal.signal(number, _interrupt) for number in numbers}
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
            try:
                yield
            finally:
                signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def name_of(number: int) -> str:
    """Return ``SIGTERM``, or ``signal 35`` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _nothing(number: int, frame: object) -> None:
    """Never called: the signal is blocked."""


def _interrupt(number: int, frame: object) -> None:
    raise Interrupted(number)


def _guess(number: int) -> Received:
    """Who sent it is unknown: a key of the terminal is more likely than anything else, where we have the terminal."""
    return Received(number, 0, number in _FROM_TERMINAL and _has_terminal())


def _has_terminal() -> bool:
    """Whether this process is in the foreground of its terminal."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
