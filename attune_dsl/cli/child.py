"""A command as a child process that shares our streams, our terminal and our process group."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from attune_dsl.cli.held_signals import ENDING, STOPPING, HeldSignals, Received, name_of

NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
KILLED: Final = 128
"""Exit codes as shells number them; the last one is a base to which a signal's number is added."""


class CannotStart(Exception):
    """The command cannot be started; the message says why, ``exit_code`` is what a shell would end with."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Ended(NamedTuple):
    """How a command ended. ``exit_code`` is 128 + ``killed_by`` if a signal did it.

    ``asked_by`` is the first signal that asked it to end, if one did.
    """

    exit_code: int
    killed_by: int | None
    asked_by: int | None

    def __str__(self) -> str:
        return f"exit code {self.exit_code}" if self.killed_by is None else f"killed by {name_of(self.killed_by)}"


class Child:
    """A running command. :meth:`wait` passes on to it what this process is sent, until it ends."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], held: HeldSignals) -> None:
        """Start ``command``, which is looked for in PATH. Raises :class:`CannotStart`."""
        self._held = held
        self._orders: deque[int] = deque()
        self._asked_by: int | None = None
        self._is_stopped = False
        self._was_asked_to_stop = False
        self._was_continued = False
        try:
            self.pid: Final = os.posix_spawnp(
                command[0],
                list(command),
                environment,
                setsigmask=held.original,
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # Python ignores them
            )
        except (OSError, ValueError) as error:
            raise _cannot_start(command[0], error) from error

    def end(self, grace: float) -> None:
        """Have the command ended by SIGTERM, and by SIGKILL if it has not ended ``grace`` seconds later.

        From any thread; :meth:`wait` does it.
        """
        self._order(signal.SIGTERM, signal.SIGCONT)  # one that is stopped could not end
        timer = threading.Timer(grace, self._order, [signal.SIGKILL])
        timer.daemon = True
        timer.start()

    def _order(self, *numbers: int) -> None:
        self._orders.extend(numbers)
        self._held.nudge()

    def wait(self) -> Ended:
        """Pass signals on until the command has ended."""
        while (status := self._look()) is None:
            if self._was_continued and self._is_stopped:
                self._send(signal.SIGCONT)  # nobody has sent it to the whole group, as shells do
            self._was_continued = False
            received = self._held.next()
            if received.number != signal.SIGCHLD:
                self._take(received)
            while self._orders:
                self._send(self._orders.popleft())
        code = os.waitstatus_to_exitcode(status)
        killed_by = -code if code < 0 else None
        return Ended(code if killed_by is None else KILLED + killed_by, killed_by, self._asked_by)

    def _look(self) -> int | None:
        """Return the command's status once it has ended; stop with it if job control has stopped it."""
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            if not pid:
                return None
            if os.WIFSTOPPED(status):
                self._is_stopped = True
                self._stop_as_well(os.WSTOPSIG(status))
            elif os.WIFCONTINUED(status):
                self._is_stopped = False
            else:
                return status

    def _stop_as_well(self, number: int) -> None:
        """Stop, so that the shell gets its terminal back; but not if somebody stopped the command alone."""
        asked = self._was_asked_to_stop or self._held.is_pending(frozenset({signal.SIGTSTP}))
        if number in STOPPING or asked:
            self._was_asked_to_stop = False
            self._held.stop_this_process()

    def _take(self, received: Received) -> None:
        number = received.number
        if received.sender == self.pid:
            return  # it sent this to its whole group
        if number in ENDING:
            self._asked_by = self._asked_by or number
        if number == signal.SIGTSTP:
            self._was_asked_to_stop = True
        if number == signal.SIGCONT:
            self._was_asked_to_stop = False
            self._was_continued = True
        elif not self._has_got(received):
            self._send(number)

    def _has_got(self, received: Received) -> bool:
        """Whether the terminal has sent the signal to the command too."""
        if not received.from_terminal:
            return False
        if received.number in (signal.SIGTTIN, signal.SIGTTOU):
            return True  # it concerns whoever used the terminal
        # A hang-up is sent to the leader of the session alone.
        is_ours_alone = received.number == signal.SIGHUP and os.getsid(0) == os.getpid()
        return not is_ours_alone and os.getpgid(self.pid) == os.getpgrp()

    def _send(self, number: int) -> None:
        try:
            os.kill(self.pid, number)
        except PermissionError:
            return  # it has become somebody else's, as sudo does


def _cannot_start(name: str, error: OSError | ValueError) -> CannotStart:
    if isinstance(error, ValueError):
        return CannotStart(f"the command {name!r} cannot be run: {error}", NOT_EXECUTABLE)
    if error.errno == errno.ENOENT and shutil.which(name) is not None:
        return CannotStart(f"{name!r} cannot be run: its interpreter was not found", NOT_FOUND)
    if error.errno == errno.ENOENT:
        where = "" if os.sep in name else " in PATH"
        return CannotStart(f"the command {name!r} was not found{where}", NOT_FOUND)
    return CannotStart(f"the command {name!r} cannot be run: {os.strerror(error.errno or 0)}", NOT_EXECUTABLE)
