"""What the declarations reach outside of all runs: calling a workflow starts one, ``map`` makes plain calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from attune_dsl.dsl import scope
from attune_dsl.runner.execute import aexecute, execute
from attune_dsl.runner.fanout import Fan
from attune_dsl.runner.run import Place, Run, active

if TYPE_CHECKING:
    from attune_dsl.dsl.stage import Stage
    from attune_dsl.dsl.workflow import Workflow


class RunnerEntry:
    """Implements :class:`attune_dsl.dsl.scope.Entry`."""

    def call_workflow(self, workflow: Workflow[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run ``workflow`` with its own options and return its value; of an async one return a coroutine."""
        if workflow.is_async:
            calling = _await_value(workflow, args, kwargs)
            calling.__qualname__ = workflow.name  # type: ignore[attr-defined]  # coroutine objects have one
            return calling
        return execute(Run(workflow, Place()), args, kwargs).unwrap()

    def map_stage(self, stage: Stage[..., Any], items: Iterable[Any]) -> Any:
        """Call ``stage`` for every item; a list for a sync stage, a coroutine of one for an async stage."""
        fan = _plain_fan(stage, items)
        return fan.in_tasks() if stage.is_async else fan.in_threads()

    def amap_stage(self, stage: Stage[..., Any], items: Iterable[Any]) -> Any:
        """Return a coroutine of the list of values, whatever the stage's colour."""
        fan = _plain_fan(stage, items)
        return fan.in_tasks() if stage.is_async else fan.await_threads()

    def runs_are_active(self) -> bool:
        """Whether this process has any run at the moment."""
        return bool(active)


def _plain_fan(stage: Stage[..., Any], items: Iterable[Any]) -> Fan:
    return Fan(stage.spec, items, lambda index, item: stage(item))


async def _await_value(workflow: Workflow[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = await aexecute(Run(workflow, Place()), args, kwargs)
    return result.unwrap()


entry = RunnerEntry()
scope.provide(entry)
