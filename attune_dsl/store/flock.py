"""Advisory file locks, which the kernel releases when their holder dies, however it dies.

A lock belongs to the open file: a child that inherits the descriptor holds it too, until both have closed it. Where the
platform has no ``flock`` (Windows) :data:`SUPPORTED` is false and the embedded server is not offered.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attune_dsl import clock

try:
    import fcntl
except ImportError:  # pragma: no cover (Windows)
    SUPPORTED = False
else:
    SUPPORTED = True

PAUSE = 0.002
"""Seconds between two looks at something that another process is about to do."""


def open_locked(path: Path) -> int:
    """Create ``path``, take its lock and return the descriptor; waits for whoever is probing it at the moment."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def try_lock(path: Path) -> int | None:
    """Take the lock of ``path`` and return its descriptor, or ``None`` if somebody holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock of ``path``.

    The probe is a shared lock, so that two probes at the same time do not take each other for a holder.
    """
    if not SUPPORTED:
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def exclusive(path: Path, timeout: float) -> Iterator[None]:
    """Hold the lock of ``path`` for a block; ``TimeoutError`` if it is not free within ``timeout`` seconds."""
    deadline = clock.monotonic() + timeout
    while (descriptor := try_lock(path)) is None:
        if clock.monotonic() >= deadline:
            raise TimeoutError(f"{path} is held by another process for more than {timeout:g} s")
        time.sleep(PAUSE)
    try:
        yield
    finally:
        os.close(descriptor)
