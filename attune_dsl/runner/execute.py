"""The two drivers of a run, which differ only in how they wait."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attune_dsl.exceptions import BlockingCallInLoop
from attune_dsl.model import AgentStatus
from attune_dsl.runner.interrupts import awake, sigterm
from attune_dsl.runner.loops import running_loop

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from attune_dsl.runner.result import RunResult
    from attune_dsl.runner.run import Run


def _drive(operation: Coroutine[Any, Any, None]) -> None:
    from attune_dsl.hub.drive import drive

    drive(operation)


def execute(run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]) -> RunResult[Any]:
    """Run a sync workflow on this thread. Raises :class:`BlockingCallInLoop` if it would block a running loop."""
    if run.takes_lease and running_loop() is not None:
        name = run.workflow.name
        raise BlockingCallInLoop(
            f"workflow {name!r} uses the store, and would block the event loop that runs on this thread: "
            f"write 'await arun({name}, ...)', which runs it in a thread"
        )
    with sigterm() as settled:
        if run.takes_lease:
            _drive(run.join())
        scope = run.begin()
        try:
            with scope.inside():
                value = run.call(args, kwargs)
        except BaseException as error:
            run.settle(None, error)
        else:
            run.settle(value)
        settled()
        try:
            if run.takes_lease:
                _drive(run.leave())
        finally:  # a second Ctrl-C may come while it leaves
            result = run.conclude()
        return result


async def aexecute(run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]) -> RunResult[Any]:
    """Run an async workflow in this task. A request to stop cancels the task; the run then ends as it was asked to."""
    from asyncio import current_task, get_running_loop

    loop, task = get_running_loop(), current_task()
    assert task is not None
    cancelled = 0

    def cancel() -> None:
        nonlocal cancelled
        if not run.stop.ended:
            cancelled += 1
            task.cancel()

    def interrupt(*_: object) -> None:
        with suppress(RuntimeError):  # the run has ended at this moment, and so has its loop
            loop.call_soon_threadsafe(cancel)

    with awake(loop), sigterm(lambda: run.stop.request("SIGTERM", AgentStatus.CANCELLED), loop) as settled:
        if run.takes_lease:
            await run.join()
        scope = run.begin()
        run.stop.on_request(interrupt)
        try:
            with scope.inside():
                value = await run.call(args, kwargs)
        except GeneratorExit as closed:  # the coroutine may await nothing any more; the lease lapses by itself
            run.settle(None, closed)
            return run.conclude()
        except BaseException as error:
            run.settle(None, error)
        else:
            run.settle(value)
        settled()
        for _ in range(cancelled):
            task.uncancel()
        try:
            if run.takes_lease:
                await run.leave()
        finally:
            result = run.conclude()
        return result
