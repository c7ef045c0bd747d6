"""``Metrics``: what is left out of an answer, because it is not known, or not yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("starlette")

from proxy import Proxy
from telling import tell

from attune_dsl.dashboard import metrics as module
from attune_dsl.dashboard.metrics import Metrics
from attune_dsl.events import RunEnd
from attune_dsl.hub import link

if TYPE_CHECKING:
    from conftest import Store

ENDED = RunEnd(status="completed", duration=0.5)
COUNTED = 'attune_runs_total{status="completed",workflow="release"} 1.0'


@pytest.fixture
async def proxy(store: Store) -> AsyncIterator[Proxy]:
    with closing(Proxy(store.address)) as proxy:
        yield proxy


async def test_while_the_store_is_away_only_what_was_counted_is_told(
    store: Store, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§5.11: a scraper is answered all the same, and counters do not go back."""
    tell(store, "run.ended", ENDED, run="1a2b", agent="release", workflow="release")
    monkeypatch.setattr(module, "MOMENT", 60.0)
    async with Metrics(proxy.url, store.namespace) as metrics:
        before = (await metrics.render()).decode().splitlines()
        monkeypatch.setattr(link, "GRACE", 0.05)
        proxy.die()
        after = (await metrics.render()).decode().splitlines()

    assert ["attune_store_up 1.0" in before, COUNTED in before] == [True, True]
    assert ["attune_store_up 0.0" in after, COUNTED in after] == [True, True]
    assert [line for line in after if line.startswith(("attune_agents{", "attune_timeline"))] == []


async def test_counters_are_left_out_until_all_is_counted(
    store: Store, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is too low at first would look like one that has gone up since."""

    async def count(_: Metrics) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Metrics, "_count", count)
    monkeypatch.setattr(module, "MOMENT", 0.01)
    async with Metrics(proxy.url, store.namespace) as metrics:
        text = (await metrics.render()).decode()

    assert "attune_store_up" in text
    assert "attune_runs" not in text
