"""The embedded server: one for all of a user's processes, started by the first and shut down by the last.

Nothing is left stuck by a crash: that the server lives and that a process uses it are locks held by the kernel
(:mod:`attune_dsl.store.flock`), never pids in files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from attrs import frozen

from attune_dsl import log
from attune_dsl.exceptions import StoreUnavailable, UsageError
from attune_dsl.store import flock, launcher, settings, users
from attune_dsl.store.statedir import StateDir

LOCK_TIMEOUT = launcher.START_DEADLINE + 5
"""Seconds: longer than anybody may need to start the server while others wait for the lock."""

LEAVE_TIMEOUT = 3.0
"""Seconds: a process that ends does not wait longer for somebody who holds the lock."""

SHUTDOWN_TIMEOUT = 10.0
"""Seconds for the server to force its file to the disk and end."""


@frozen(kw_only=True)
class StoreStatus:
    """The embedded server as ``store status`` shows it.

    ``users`` are the pids of the processes that use it, ``kept`` says that it stays up without them. ``disk_bytes`` is
    the size of the files in ``data``, ``memory_bytes`` what the server has allocated. ``url`` is what a Redis client
    connects to. ``version`` and ``pid`` are ``None`` while no server runs.
    """

    running: bool
    url: str
    socket: str
    data: str
    version: str | None
    pid: int | None
    users: tuple[int, ...]
    keys: int
    disk_bytes: int
    memory_bytes: int
    kept: bool


class EmbeddedServer:
    """One opener's use of the embedded server. Several in one process count as one user of it."""

    kind: Literal["embedded"] = "embedded"

    def __init__(self, home: Path | None = None) -> None:
        """Raises :class:`~attune_dsl.exceptions.StoreConfigError` for settings that cannot be used."""
        settings.fsync()
        self._directory = StateDir(home or settings.home())
        self._use: users.Use | None = None
        self._opened = False

    @property
    def identity(self) -> str:
        """The same for all openers of one server."""
        return str(self._directory.root)

    @property
    def url(self) -> str:
        """What redis-py connects to; certain only once :meth:`start` has returned."""
        return _url(self._directory.socket)

    @property
    def label(self) -> str:
        """What people are shown."""
        return f"embedded ({_shortened(self._directory.home)})"

    def start(self) -> None:
        """Attach to the server, and start it if it does not run.

        Called again it restarts a server that crashed, but not one that ``store stop`` has stopped: only a server that
        is opened anew does. Raises :class:`~attune_dsl.exceptions.StoreUnavailable`.
        """
        directory = self._directory
        directory.prepare()
        with _locked(directory):
            if directory.stopped.exists():
                if self._opened:
                    raise StoreUnavailable(
                        "the embedded store was stopped with 'store stop'; start it again with 'store start'"
                    )
                directory.stopped.unlink()
            self._opened = True
            if self._use is None or not users.is_current(directory.users, self._use):
                self._use = users.acquire(directory.users)
            try:
                if not launcher.answers(directory.socket):
                    launcher.launch(directory)
            except BaseException:
                users.release(directory.users, self._use)
                self._use = None
                raise

    def close(self) -> None:
        """Leave; the last process that leaves shuts the server down, unless ``store start`` keeps it. Never raises."""
        use, self._use = self._use, None
        if use is None:
            return
        directory = self._directory
        try:
            with _locked(directory, LEAVE_TIMEOUT):
                if users.release(directory.users, use) and not directory.keep.exists():
                    users.sweep(directory.users)
                    if not users.everybody(directory.users):
                        launcher.shut_down(directory, SHUTDOWN_TIMEOUT)
        except (OSError, StoreUnavailable) as error:
            # The folder is gone or its lock is stuck: the server stays up and the next user finds it.
            users.release(directory.users, use)
            log.debug("store.leave_failed", error=str(error))


def status() -> StoreStatus:
    """Return how the embedded server stands, without starting it."""
    directory = StateDir(settings.home())
    running = flock.is_held(directory.alive)
    information = launcher.information(directory.socket) if running else {}
    return StoreStatus(
        running=running,
        url=_url(directory.socket),
        socket=directory.socket,
        data=str(directory.data),
        version=information.get("valkey_version") or information.get("redis_version"),
        pid=launcher.server_pid(directory),
        users=users.everybody(directory.users),
        keys=sum(_keys(value) for name, value in information.items() if name.startswith("db")),
        disk_bytes=_size(directory.data),
        memory_bytes=int(information.get("used_memory", 0)),
        kept=directory.keep.exists(),
    )


def start(keep: bool = True) -> StoreStatus:
    """Start the embedded server if it does not run; with ``keep`` it stays up when its last user leaves.

    Raises :class:`~attune_dsl.exceptions.StoreUnavailable`.
    """
    directory = StateDir(settings.home())
    server = EmbeddedServer()
    server.start()
    try:
        with _locked(directory):
            if keep:
                directory.keep.touch()
        return status()
    finally:
        server.close()


def stop(force: bool = False) -> StoreStatus:
    """Stop the embedded server, and keep those who use it from starting it again by themselves.

    Raises :class:`~attune_dsl.exceptions.UsageError` while other processes use it, unless ``force``, and
    :class:`~attune_dsl.exceptions.StoreUnavailable` if the server does not end.
    """
    directory = StateDir(settings.home())
    directory.prepare()
    with _locked(directory):
        busy = users.others(directory.users)
        if busy and not force:
            pids = ", ".join(map(str, busy))
            raise UsageError(f"the embedded store is used by pid {pids}; end them first, or stop it with --force")
        directory.keep.unlink(missing_ok=True)
        if flock.is_held(directory.alive):
            directory.stopped.touch()
            if not launcher.shut_down(directory, SHUTDOWN_TIMEOUT):
                pid = launcher.server_pid(directory)
                raise StoreUnavailable(f"the embedded store (pid {pid}) does not end; see {directory.log}")
    return status()


@contextmanager
def _locked(directory: StateDir, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
    try:
        with flock.exclusive(directory.lock, timeout):
            yield
    except StoreUnavailable:
        raise
    except TimeoutError as error:
        raise StoreUnavailable(f"the embedded store is busy: {error}") from error
    except OSError as error:
        raise StoreUnavailable(
            f"the embedded store cannot use {directory.root}: {error}; set ATTUNE_HOME to a folder of your own"
        ) from error


def _url(socket_path: str) -> str:
    return f"unix://{quote(socket_path)}"


def _shortened(path: Path) -> str:
    with suppress(RuntimeError, ValueError):
        return str(Path("~") / path.relative_to(Path.home()))
    return str(path)


def _keys(keyspace: str) -> int:
    fields = dict(part.partition("=")[::2] for part in keyspace.split(","))
    return int(fields.get("keys", 0))


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # the server replaces its files while we look
            total += path.stat().st_size
    return total
