"""Starting a program that is to outlive us, and that is to have nothing of what happens to be open here."""

from __future__ import annotations

import os
import signal
from pathlib import Path

_ABOVE_STREAMS = 10
"""Descriptors are moved above this before the child's first ones are set, so that none overwrites another."""
_KEPT = 3


def run(command: list[str], output: int, keep: int) -> int:
    """Run ``command`` to its end and return its exit code (negative: the signal that killed it).

    It gets a session of its own, no signal blocked, nothing to read, ``output`` as standard output and error, and the
    open file ``keep``: none of what else is open here, so that nobody waits for the end of a pipe in vain. Raises
    :class:`OSError` if it cannot be started.
    """
    import fcntl

    copies = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _ABOVE_STREAMS) for descriptor in (output, keep)]
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, copies[0], 1),
        (os.POSIX_SPAWN_DUP2, copies[0], 2),
        (os.POSIX_SPAWN_DUP2, copies[1], _KEPT),
        *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in _inheritable() if descriptor > _KEPT),
    ]
    try:
        # Not subprocess: there the child would inherit the signals that this thread blocks, and preexec_fn, which could
        # unblock them, may deadlock where there are threads.
        pid = os.posix_spawn(
            command[0],
            command,
            os.environ,
            file_actions=actions,
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )
    finally:
        for descriptor in copies:
            os.close(descriptor)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return 0  # the application reaps all children itself; whether it started is seen by what it does


def _inheritable() -> list[int]:
    """Return what a child would inherit beyond the streams: what Python itself opens is not among it."""
    found, folder = [], Path("/dev/fd")
    for entry in list(folder.iterdir()) if folder.is_dir() else ():
        try:
            if os.get_inheritable(int(entry.name)):
                found.append(int(entry.name))
        except OSError:
            continue  # it was the descriptor of the listing itself
    return found
