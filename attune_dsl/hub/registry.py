"""One hub per process, store and namespace, shared by all agents of the process and closed with the last of them."""

from __future__ import annotations

import os
import threading
from typing import NamedTuple

from attune_dsl.hub.hub import Hub
from attune_dsl.store.server import open_server
from attune_dsl.store.settings import namespace_of


class _Key(NamedTuple):
    kind: str
    identity: str
    namespace: str


_hubs: dict[_Key, Hub] = {}
_users: dict[_Key, int] = {}
_lock = threading.Lock()


def open_hub(store: str | None, namespace: str | None) -> Hub:
    """Return this process's hub for a store and a namespace; give it back with :func:`release_hub`.

    Contacts nothing on this thread and does not mind a store that is away. Raises :class:`StoreConfigError` and
    :class:`InvalidName`.
    """
    server = open_server(store)
    key = _Key(server.kind, server.identity, namespace_of(namespace))
    with _lock:
        hub = _hubs.get(key)
        if hub is None:
            hub = _hubs[key] = Hub(server, key.namespace)
            hub.keeper.start()
        _users[key] = _users.get(key, 0) + 1
    return hub


async def connect_hub(store: str | None, namespace: str | None) -> Hub:
    """Like :func:`open_hub`, and wait for the store. Raises :class:`StoreUnavailable` as well."""
    hub = open_hub(store, namespace)
    try:
        await hub.require_store()
    except BaseException:
        await release_hub(hub)
        raise
    return hub


async def release_hub(hub: Hub) -> None:
    """Give a hub back; the last user's call closes it and waits until it is closed."""
    with _lock:
        key = next((key for key, known in _hubs.items() if known is hub), None)
        if key is None:
            return  # a forked child: the hub is the parent's
        _users[key] -= 1
        if _users[key]:
            return
        del _hubs[key], _users[key]
    hub.keeper.stop()
    await hub.stopped


def open_hubs() -> list[Hub]:
    """Return the hubs of this process (for tests that look for leaks)."""
    return list(_hubs.values())


def _after_fork() -> None:
    """Leave the parent's links alone: no descriptor, no lock and no thread of theirs is used in the child."""
    global _lock  # noqa: PLW0603 (the parent's lock may be held by a thread that does not exist here)
    _lock = threading.Lock()
    for hub in _hubs.values():
        hub.is_foreign = True
    _hubs.clear()
    _users.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
