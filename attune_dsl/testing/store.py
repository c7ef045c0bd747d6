"""The store of the fixture ``attune_store``."""

from __future__ import annotations

import importlib.util
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import frozen

from attune_dsl.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    import pytest


@frozen(kw_only=True)
class IsolatedStore:
    """Where one test's agents meet: pass these as ``store=`` and ``namespace=``, or let the environment say so."""

    url: str
    namespace: str


@contextmanager
def isolated_store(folders: pytest.TempPathFactory) -> Iterator[IsolatedStore]:
    """Give a store that no other test and no other process uses; its data are gone afterwards."""
    namespace = f"test-{uuid.uuid4().hex[:12]}"
    if _has_fakeredis():
        # A server of its own for each test: nothing that a test leaves behind reaches the next one.
        from attune_dsl.store import memory

        url = f"memory://{namespace}"
        try:
            yield IsolatedStore(url=url, namespace=namespace)
        finally:
            memory.shut_down(namespace)
        return
    server = EmbeddedServer(folders.mktemp("attune-store"))
    server.start()
    try:
        yield IsolatedStore(url=server.url, namespace=namespace)
    finally:
        server.close()


def _has_fakeredis() -> bool:
    return importlib.util.find_spec("fakeredis") is not None
