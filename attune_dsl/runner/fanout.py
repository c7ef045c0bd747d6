"""``map``: one call for every item, in threads or in tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from attune_dsl.dsl.spec import StageSpec
from attune_dsl.exceptions import MapError
from attune_dsl.model import Outcome
from attune_dsl.runner.outcome import describe, is_abort

if TYPE_CHECKING:
    from concurrent.futures import Future

THREADS = 32
"""How many items of a sync stage run at the same time where ``limit`` does not say; they mostly wait for others."""


class Fan:
    """The calls of one ``map``: ``one(index, item)`` for every item.

    All items finish before an error is raised; one that asks the run to stop keeps further items from starting,
    because every call looks for that first.
    """

    def __init__(
        self,
        spec: StageSpec,
        items: Iterable[Any],
        one: Callable[[int, Any], Any],
    ) -> None:
        self._spec = spec
        self._items = list(items)
        self._one = one

    def in_threads(self) -> list[Any]:
        """Run a sync ``one`` in threads and block until all items finished."""
        with self._submitted() as futures:
            return self._conclude([future.result() for future in futures])

    async def await_threads(self) -> list[Any]:
        """Run a sync ``one`` in threads and await them."""
        from asyncio import wrap_future

        with self._submitted() as futures:
            return self._conclude([await wrap_future(future) for future in futures])

    async def in_tasks(self) -> list[Any]:
        """Run an async ``one`` in tasks and await them."""
        from asyncio import Semaphore, TaskGroup

        gate = Semaphore(self._spec.limit or max(1, len(self._items)))

        async def gated(index: int, item: Any) -> Outcome[Any]:
            async with gate:
                return await self._awaited(index, item)

        async with TaskGroup() as group:
            tasks = [group.create_task(gated(index, item)) for index, item in enumerate(self._items)]
        return self._conclude([task.result() for task in tasks])

    @contextmanager
    def _submitted(self) -> Iterator[list[Future[Outcome[Any]]]]:
        """Hand the items to threads of their own; context variables follow, an interruption drops what waits."""
        from concurrent.futures import ThreadPoolExecutor

        workers = min(self._spec.limit or THREADS, max(1, len(self._items)))
        pool = ThreadPoolExecutor(workers, thread_name_prefix=self._spec.name)
        try:
            yield [pool.submit(copy_context().run, self._called, index, item) for index, item in enumerate(self._items)]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _called(self, index: int, item: Any) -> Outcome[Any]:
        try:
            return Outcome(index=index, item=item, value=self._one(index, item))
        except Exception as error:
            return Outcome(index=index, item=item, error=error)

    async def _awaited(self, index: int, item: Any) -> Outcome[Any]:
        try:
            return Outcome(index=index, item=item, value=await self._one(index, item))
        except Exception as error:
            return Outcome(index=index, item=item, error=error)

    def _conclude(self, outcomes: list[Outcome[Any]]) -> list[Any]:
        failed = [outcome for outcome in outcomes if outcome.error is not None]
        for outcome in failed:
            if outcome.error is not None and is_abort(outcome.error):
                raise outcome.error
        if self._spec.on_error == "collect":
            return outcomes
        if failed:
            raise self._error(failed, {o.index: o.value for o in outcomes if o.error is None})
        return [outcome.value for outcome in outcomes]

    def _error(self, failed: list[Outcome[Any]], successes: dict[int, Any]) -> MapError:
        failures = [(o.index, o.item, o.error) for o in failed if o.error is not None]
        first = failures[0]
        return MapError(
            f"{len(failed)} of {len(self._items)} items of stage {self._spec.name!r} failed, "
            f"first item {first[0]} with {describe(first[2])}",
            failures,
            successes,
        )
