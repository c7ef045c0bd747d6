"""Running one workflow."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from attune_dsl.runner.runner import Runner

if TYPE_CHECKING:
    from attune_dsl.dsl.workflow import Workflow
    from attune_dsl.runner.result import RunResult

P = ParamSpec("P")
R = TypeVar("R")


@overload
def run(flow: Workflow[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> RunResult[R]: ...
@overload
def run(flow: Workflow[P, R], /, *args: P.args, **kwargs: P.kwargs) -> RunResult[R]: ...
def run(flow: Workflow[..., Any], /, *args: Any, **kwargs: Any) -> RunResult[Any]:
    """Run ``flow`` with its own options and return how it ended; see :meth:`Runner.run`."""
    return Runner().run(flow, *args, **kwargs)


@overload
async def arun(flow: Workflow[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> RunResult[R]: ...
@overload
async def arun(flow: Workflow[P, R], /, *args: P.args, **kwargs: P.kwargs) -> RunResult[R]: ...
async def arun(flow: Workflow[..., Any], /, *args: Any, **kwargs: Any) -> RunResult[Any]:
    """Run ``flow`` with its own options and return how it ended; see :meth:`Runner.arun`."""
    return await Runner().arun(flow, *args, **kwargs)
