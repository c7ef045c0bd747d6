"""``memory://``: fakeredis behind a real socket in this process, so that the code of the hub is the same.

All users of one name in a process share one server, for the life of the process. Other processes cannot use it: it
listens on the loopback address alone and asks for a password that only this process knows, because whoever can run Lua
in fakeredis can run anything in this process.
"""

from __future__ import annotations

import os
import secrets
import threading
from typing import TYPE_CHECKING, Literal

from attune_dsl.exceptions import StoreConfigError, StoreUnavailable

if TYPE_CHECKING:
    from attune_dsl.store.fake import FakeServer

_servers: dict[str, FakeServer] = {}
_guard = threading.Lock()


class MemoryServer:
    """The store that lives in this process; ``memory://name`` gives one apart."""

    kind: Literal["memory"] = "memory"

    def __init__(self, name: str) -> None:
        if not all(character.isalnum() or character in "-_." for character in name):
            raise StoreConfigError(f"store 'memory://{name}': a name is of letters, digits, '-', '_' and '.'")
        _require_fakeredis()
        self._name = name

    @property
    def identity(self) -> str:
        """The same for all openers of one server."""
        return self.label

    @property
    def url(self) -> str:
        """What redis-py connects to. Raises ``StoreUnavailable`` before :meth:`start`."""
        with _guard:
            server = _servers.get(self._name)
        if server is None:
            raise StoreUnavailable(f"{self.label} has not been started")
        return server.url

    @property
    def label(self) -> str:
        """What people are shown."""
        return f"memory://{self._name}"

    def start(self) -> None:
        """Start the server, if this process does not have it yet."""
        from attune_dsl.store.fake import FakeServer

        with _guard:
            if self._name not in _servers:
                _servers[self._name] = FakeServer(secrets.token_hex(16))

    def close(self) -> None:
        """Leave; the server keeps its data for the next user in this process."""


def shut_down(name: str | None = None) -> None:
    """End the server of that name, or all of this process, and forget what they hold. For tests."""
    with _guard:
        names = list(_servers) if name is None else [name]
        servers = [_servers.pop(each) for each in names if each in _servers]
    for server in servers:
        server.close()


def _require_fakeredis() -> None:
    import importlib.util

    if importlib.util.find_spec("fakeredis") is None or importlib.util.find_spec("lupa") is None:
        raise StoreConfigError(
            'memory:// needs fakeredis with Lua: pip install "attune-dsl[memory]"; '
            "or name a server (redis://host:6379) in ATTUNE_STORE_URL"
        )


def _forget_after_fork() -> None:
    """In a forked child: the parent's threads are not here, so its servers answer nothing."""
    global _guard  # noqa: PLW0603 (another thread of the parent may have held it)
    _guard = threading.Lock()
    for server in _servers.values():
        server.abandon()
    _servers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
