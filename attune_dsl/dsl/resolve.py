"""What a name or an attribute inside a function stands for, without running any of it."""

from __future__ import annotations

from types import FunctionType, ModuleType
from typing import Any

from attune_dsl.dsl.declared import Declared


class _Missing:
    """The type of :data:`MISSING`."""


MISSING: Any = _Missing()
"""What a name stands for that cannot be told before the function runs."""


def variable(function: FunctionType, name: str) -> Any:
    """Return what the variable ``name``, which is not local to ``function``, stands for; else ``MISSING``."""
    free = function.__code__.co_freevars
    if name in free and function.__closure__ is not None:
        try:
            return function.__closure__[free.index(name)].cell_contents
        except ValueError:  # the enclosing function has not assigned it yet
            return MISSING
    return function.__globals__.get(name, MISSING)


def attribute(owner: Any, name: str) -> Any:
    """Return ``owner.name`` without running properties; ``MISSING`` if there is none.

    A module is asked in the plain way, because lazy modules make their attributes when they are asked.
    """
    if isinstance(owner, ModuleType):
        try:
            return getattr(owner, name, MISSING)
        except Exception:  # whatever a lazy module's import raises, the run will show it in its place
            return MISSING
    if isinstance(owner, type):
        return _in_class(owner, name)
    own = getattr(owner, "__dict__", {})
    if name in own:
        return own[name]
    value = _in_class(type(owner), name)
    return value.bind(owner) if isinstance(value, Declared) else value


def _in_class(owner: type, name: str) -> Any:
    for each in owner.__mro__:
        if name in each.__dict__:
            value = each.__dict__[name]
            return value.__func__ if isinstance(value, staticmethod | classmethod) else value
    return MISSING
