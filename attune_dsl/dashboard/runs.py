"""Runs, folded out of the whole timeline: on a thread, so that those who follow do not wait."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from attune_dsl.clock import monotonic
from attune_dsl.coordination.runs import RunSummary, summaries
from attune_dsl.coordination.timeline import Timeline

FRESH: Final = 2.0
"""Seconds for which an answer is given again."""


class Runs:
    """Answers what ran, one reading at a time."""

    def __init__(self, store: str | None, namespace: str | None) -> None:
        self._store = store
        self._namespace = namespace
        self._lock = asyncio.Lock()
        self._answer: list[dict[str, Any]] = []
        self._fresh_until = 0.0

    async def __call__(self) -> list[dict[str, Any]]:
        """Return the runs by their beginnings. Raises :class:`StoreUnavailable`."""
        async with self._lock:
            if monotonic() >= self._fresh_until:
                self._answer = await asyncio.to_thread(self._read)
                self._fresh_until = monotonic() + FRESH
            return self._answer

    def _read(self) -> list[dict[str, Any]]:
        with Timeline(self._store, self._namespace) as timeline:
            return [_run(run) for run in summaries(timeline.read())]


def _run(run: RunSummary) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(run)
    return told | {"done": run.done, "total": run.total}
