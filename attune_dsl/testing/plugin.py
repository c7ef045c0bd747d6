"""The pytest plugin. pytest imports it at every start, so it imports nothing before it is asked for something."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from attune_dsl.testing.store import IsolatedStore


@pytest.fixture
def attune_store(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedStore]:
    """A store and a namespace of its own for one test.

    ``ATTUNE_STORE_URL`` and ``ATTUNE_NAMESPACE`` point to it, so workflows that name no store use it. It is in memory
    if fakeredis is installed (``pip install "attune-dsl[memory]"``), else the embedded server. The value has ``url``
    and ``namespace``.
    """
    from attune_dsl.testing.store import isolated_store

    with isolated_store(tmp_path_factory) as store:
        monkeypatch.setenv("ATTUNE_STORE_URL", store.url)
        monkeypatch.setenv("ATTUNE_NAMESPACE", store.namespace)
        yield store
