"""What a run adds to a call of a stage: trivial stages, each against the bare call that it stands for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from attune_dsl import Context, Runner, stage, workflow
from tests.benchmarks.measure import Report, aalternate, alternate

CALLS = 10_000
SLOW_CALLS = 1_000


def bare(value: int) -> int:
    return value


async def abare(value: int) -> int:
    return value


@stage
def trivial(value: int) -> int:
    return value


@stage
def with_context(ctx: Context, value: int) -> int:
    return value


@stage(retries=3)
def with_retries(value: int) -> int:
    return value


@stage
async def atrivial(value: int) -> int:
    return value


@stage(timeout=60)
async def with_timeout(value: int) -> int:
    return value


def calling(call: Callable[[int], object], calls: int = CALLS) -> Callable[[], None]:
    """Return a function that makes so many calls."""

    def work() -> None:
        for value in range(calls):
            call(value)

    return work


def acalling(call: Callable[[int], Awaitable[object]], calls: int = CALLS) -> Callable[[], Awaitable[None]]:
    """Return an async function that awaits so many calls."""

    async def work() -> None:
        for value in range(calls):
            await call(value)

    return work


async def bare_timeout(value: int) -> int:
    async with asyncio.timeout(60):
        return await abare(value)


@workflow(stages=[])
def sync_calls() -> dict[str, list[float]]:
    fast = {"bare call": calling(bare), "sync stage": calling(trivial)}
    slow = {"sync stage with a context": calling(with_context), "sync stage with retries": calling(with_retries)}
    return alternate(fast, calls=CALLS) | alternate(slow, calls=CALLS, rounds=3)


@workflow(stages=[])
def published_calls() -> list[float]:
    return alternate({"stage": calling(trivial)}, calls=CALLS)["stage"]


@workflow(stages=[])
async def async_calls() -> dict[str, list[float]]:
    works = {
        "bare await": acalling(abare),
        "bare await with asyncio.timeout": acalling(bare_timeout),
        "async stage": acalling(atrivial),
        "async stage with a timeout": acalling(with_timeout),
    }
    return await aalternate(works, calls=CALLS)


@workflow(stages=[])
async def threaded_calls() -> dict[str, list[float]]:
    works: dict[str, Callable[[], Awaitable[Any]]] = {
        "asyncio.to_thread": acalling(lambda value: asyncio.to_thread(bare, value), SLOW_CALLS),
        "sync stage by acall": acalling(trivial.acall, SLOW_CALLS),
    }
    return await aalternate(works, calls=SLOW_CALLS, rounds=5)


def measure() -> Report:
    """Measure stages with heartbeat and coordination off, and on with an in-process store."""
    report = Report("a call of a stage")
    off = Runner().run(sync_calls).unwrap()
    on = Runner(store="memory://", namespace=f"bench-{uuid4().hex[:8]}")
    published = on.run(published_calls.options(heartbeat=True, coordination=True)).unwrap()
    awaited = Runner().run(async_calls).unwrap()
    threaded = Runner().run(threaded_calls).unwrap()
    report.add("bare call", off["bare call"])
    report.add("sync stage", off["sync stage"], floor="bare call", target=1e-6)
    report.add("sync stage, heartbeat and coordination on", published, floor="bare call", target=3e-6)
    for name in ("sync stage with a context", "sync stage with retries"):
        report.add(name, off[name], floor="bare call")
    report.add("bare await", awaited["bare await"])
    report.add("async stage", awaited["async stage"], floor="bare await", target=2e-6, over=True)
    report.add("bare await with asyncio.timeout", awaited["bare await with asyncio.timeout"], floor="bare await")
    report.add(
        "async stage with a timeout", awaited["async stage with a timeout"], floor="bare await", target=6e-6, over=True
    )
    report.add("asyncio.to_thread", threaded["asyncio.to_thread"])
    report.add("sync stage by acall", threaded["sync stage by acall"], floor="asyncio.to_thread")
    return report
