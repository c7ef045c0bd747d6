"""Which processes use the embedded server: one locked file a process, named by its pid.

The kernel drops the lock when the process ends, so a file without a lock is a leftover of a crash. Files are made and
removed only under the state folder's ``lock``.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

from attune_dsl.store import flock


class Use:
    """The use of one server by this process, shared by all who need it here."""

    __slots__ = ("count", "descriptor", "path", "pid")

    def __init__(self, folder: Path) -> None:
        self.pid = os.getpid()
        self.path = folder / f"{self.pid}-{os.urandom(4).hex()}"
        self.descriptor = flock.open_locked(self.path)
        self.count = 0


_uses: dict[Path, Use] = {}
_guard = threading.RLock()


def acquire(folder: Path) -> Use:
    """Count one more user in this process; the first one makes the process's file. Call it under the lock."""
    with _guard:
        use = _uses.get(folder)
        if use is None or not use.path.exists():
            use = _uses[folder] = Use(folder)
        use.count += 1
        return use


def is_current(folder: Path, use: Use) -> bool:
    """Whether ``use`` still stands: not inherited by a fork, and its file not removed with the folder."""
    with _guard:
        return _uses.get(folder) is use and use.path.exists()


def release(folder: Path, use: Use) -> bool:
    """Count one user less; true if it was the process's last. Call it under the lock.

    What a forked child got from its parent is not its own: releasing it there does nothing.
    """
    with _guard:
        if use.pid != os.getpid() or use.count == 0:
            return False
        use.count -= 1
        if use.count:
            return False
        if _uses.get(folder) is use:
            del _uses[folder]
        with suppress(FileNotFoundError):
            use.path.unlink()
        os.close(use.descriptor)
        return True


def others(folder: Path) -> tuple[int, ...]:
    """Pids of the other processes that use the server, ascending."""
    with _guard:
        own = {use.path.name for use in _uses.values()}
    return _pids(path for path in _files(folder) if path.name not in own and flock.is_held(path))


def everybody(folder: Path) -> tuple[int, ...]:
    """Pids of all processes that use the server, this one included, ascending."""
    return _pids(path for path in _files(folder) if flock.is_held(path))


def sweep(folder: Path) -> None:
    """Remove the files that crashed processes left. Call it under the lock."""
    for path in _files(folder):
        if not flock.is_held(path):
            with suppress(FileNotFoundError):
                path.unlink()


def _files(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _pids(paths: object) -> tuple[int, ...]:
    numbers = (path.name.partition("-")[0] for path in paths)  # type: ignore[attr-defined]
    return tuple(sorted(int(number) for number in numbers if number.isdecimal()))


def _forget_after_fork() -> None:
    """In a forked child: close the copies of the parent's files. The parent's own descriptor keeps its lock."""
    global _guard  # noqa: PLW0603 (another thread of the parent may have held it)
    _guard = threading.RLock()
    for use in _uses.values():
        os.close(use.descriptor)
    _uses.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
