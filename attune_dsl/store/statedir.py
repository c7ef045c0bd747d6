"""Where the embedded server keeps its files, and where its socket can be."""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from attune_dsl.exceptions import StoreUnavailable
from attune_dsl.store import flock

MAX_SOCKET_PATH = 100
"""Bytes. The kernel's limit is 104 (macOS) or 108 (Linux) with the closing zero."""


class StateDir:
    """The files of one embedded server: everything lives in ``<home>/store``, which only its owner can enter.

    ``lock`` is held while somebody starts, joins, leaves or stops; ``alive`` is held by the server itself, for as long
    as it lives, whatever ends it; ``users`` has one locked file for each process that uses it. ``keep`` keeps it up
    without users, ``stopped`` says that a person stopped it.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.root = home / "store"
        self.data = self.root / "data"
        self.users = self.root / "users"
        self.lock = self.root / "lock"
        self.alive = self.root / "alive"
        self.keep = self.root / "keep"
        self.stopped = self.root / "stopped"
        self.record = self.root / "server.json"
        self.pidfile = self.root / "server.pid"
        self.log = self.root / "server.log"

    def prepare(self) -> None:
        """Make the folders. Raises :class:`~attune_dsl.exceptions.StoreUnavailable` if that is not possible."""
        if not flock.SUPPORTED:
            raise StoreUnavailable(
                "the embedded store needs Linux or macOS; set ATTUNE_STORE_URL to a server (redis://host:6379) or to "
                "memory://"
            )
        try:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            _make_private(self.root)
            self.data.mkdir(exist_ok=True)
            self.users.mkdir(exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(
                f"the embedded store cannot use {self.root}: {error}; set ATTUNE_HOME to a folder of your own"
            ) from error

    @property
    def socket(self) -> str:
        """The socket of the server that runs, else the one that a new server gets."""
        recorded = self.read_record().get("socket")
        return recorded if isinstance(recorded, str) else self.new_socket()

    def new_socket(self) -> str:
        """Return the path of a new server's socket: here, or in a short folder where this path is too long."""
        path = str(self.root / "sock")
        return path if len(os.fsencode(path)) <= MAX_SOCKET_PATH else str(self._short_folder() / "sock")

    def make_socket_folder(self, socket: str) -> None:
        """Make the folder of ``socket`` and see that nobody else can put anything there."""
        folder = Path(socket).parent
        if folder != self.root:
            try:
                folder.parent.mkdir(exist_ok=True, mode=0o700)
                _make_private(folder)
            except OSError as error:
                raise StoreUnavailable(
                    f"the embedded store cannot use {folder}: {error}; set ATTUNE_HOME to a shorter path"
                ) from error

    def remove_socket_folder(self, socket: str) -> None:
        """Remove the short folder of ``socket``, if it has one, after its server has ended."""
        folder = Path(socket).parent
        if folder != self.root:
            with suppress(OSError):
                folder.rmdir()

    def read_record(self) -> dict[str, Any]:
        """Return what the last starter wrote about its server; empty if there is nothing readable."""
        try:
            record = json.loads(self.record.read_bytes())
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def write_record(self, **values: object) -> None:
        """Replace the record in one step, so that nobody reads half of it."""
        draft = self.record.with_suffix(".new")
        draft.write_text(json.dumps(values))
        draft.replace(self.record)

    def _short_folder(self) -> Path:
        import hashlib

        name = hashlib.sha256(os.fsencode(self.root.resolve())).hexdigest()[:12]
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        if runtime and Path(runtime).is_dir() and len(os.fsencode(runtime)) <= MAX_SOCKET_PATH - 32:
            return Path(runtime) / "attune" / name
        return Path(f"/tmp/attune-{os.getuid()}-{name}")  # noqa: S108 (made private, its owner is checked)


def _make_private(folder: Path) -> None:
    """Make ``folder`` for its owner alone; ``OSError`` if it is anybody else's, or no folder."""
    folder.mkdir(exist_ok=True, mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{folder} is not a folder")
    if found.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user (uid {found.st_uid})")
    if found.st_mode & 0o077:
        folder.chmod(0o700)
