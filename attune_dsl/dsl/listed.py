"""The check of a plan that is written down: ``@workflow(stages=[...])``."""

from __future__ import annotations

from typing import Any

from attune_dsl.dsl.checks import Wrong
from attune_dsl.dsl.declared import Declared, same


def stages(value: Any) -> tuple[Any, ...]:
    """Accept the stages and nested workflows of a plan, each of its own name."""
    if not isinstance(value, tuple | list):
        raise Wrong("write a list of stages, as in stages=[build, announce]")
    seen: dict[tuple[type, str], Declared[..., Any]] = {}
    for each in value:
        if not isinstance(each, Declared):
            raise Wrong(f"{each!r} is not a stage: list functions marked @stage, or workflows that it calls")
        other = seen.setdefault((type(each), each.name), each)
        if other is not each and not same(other, each):
            raise Wrong(f"two {each.noun}s are named {each.name!r}; rename one with @{each.noun}(name='...')")
        if other is not each or value.count(each) > 1:
            raise Wrong(f"the {each.noun} {each.name!r} is listed twice; list it once, however often it runs")
    return tuple(value)
