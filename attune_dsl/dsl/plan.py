"""The plan of a workflow: the stages that a run will probably meet, in the order in which they complete.

A plan is an expectation. It gives progress a denominator and shows people what is to come; a run adds the
stages that it meets besides, and marks as skipped those that it did not need.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import MethodType
from typing import Any, NamedTuple

from attune_dsl.dsl.declared import Declared, same
from attune_dsl.dsl.stage import Stage
from attune_dsl.dsl.workflow import Workflow
from attune_dsl.exceptions import DeclarationError


class PlannedStage(NamedTuple):
    """A stage that a run expects, under its name in the run (``child/stage`` in a nested workflow)."""

    name: str
    stage: Stage[..., Any]

    @property
    def tier(self) -> str | None:
        """The tier that the stage was declared with."""
        return self.stage.spec.tier


def plan_of(workflow: Workflow[..., Any]) -> tuple[PlannedStage, ...]:
    """Return the plan of ``workflow``: its ``stages=[...]`` exactly, else what its source calls.

    It is made at the first call and kept, for methods once for each class. Raises
    :class:`DeclarationError` if the workflow calls two different stages, or two workflows, of one name.
    """
    fn = workflow.fn
    owner = type(fn.__self__) if isinstance(fn, MethodType) else None
    plan = workflow.plans.get(owner)
    if plan is None:
        plan = workflow.plans[owner] = tuple(_expand(workflow, ()))
    return plan


def _expand(workflow: Workflow[..., Any], parents: tuple[Workflow[..., Any], ...]) -> Iterator[PlannedStage]:
    """Yield the stages of ``workflow``; one that calls a parent again is not followed into it."""
    parents = (*parents, workflow)
    for member in _members(workflow):
        if isinstance(member, Stage):
            yield PlannedStage(member.name, member)
        elif isinstance(member, Workflow) and not any(same(member, parent) for parent in parents):
            for name, stage in _expand(member, parents):
                yield PlannedStage(f"{member.name}/{name}", stage)


def _members(workflow: Workflow[..., Any]) -> Iterable[Declared[..., Any]]:
    if workflow.spec.stages is not None:
        return workflow.spec.stages
    from attune_dsl.dsl.reading import called_by

    unique: dict[tuple[str, str], Declared[..., Any]] = {}
    for member in called_by(workflow.fn):
        other = unique.setdefault((member.noun, member.name), member)
        if not same(other, member):
            raise DeclarationError(_two_of_one_name(workflow.name, other, member))
    return unique.values()


def _two_of_one_name(workflow: str, one: Declared[..., Any], other: Declared[..., Any]) -> str:
    return (
        f"workflow {workflow!r} calls two {one.noun}s named {one.name!r}, {_place(one)} and {_place(other)}: "
        f"give one of them another name, @{one.noun}(name='...') or .options(name='...')"
    )


def _place(member: Declared[..., Any]) -> str:
    module = getattr(member.fn, "__module__", "?")
    return f"{module}.{getattr(member.fn, '__qualname__', member.name)}"
