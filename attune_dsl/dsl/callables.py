"""What a callable looks like, read from its code object.

``inspect.signature`` would say the same, but importing ``inspect`` costs a third of the time that
declaring may take.
"""

from __future__ import annotations

import sys
from functools import partial
from types import FunctionType, MethodType
from typing import Any, NamedTuple

_VARARGS = 0x04
_GENERATOR = 0x20
_COROUTINE = 0x80
_ASYNC_GENERATOR = 0x200


class Shape(NamedTuple):
    """The parameters that a caller still fills, and the colour of the callable."""

    function: FunctionType | None
    positional: tuple[str, ...]
    positional_only: frozenset[str]
    keyword_only: tuple[str, ...]
    defaults: dict[str, Any]
    varargs: bool
    is_async: bool
    is_generator: bool


def shape_of(fn: Any) -> Shape:
    """Describe ``fn``: a function, a method, a partial of either, or an object with ``__call__``."""
    outer, _, _ = _unpack(fn)
    flags = outer.__code__.co_flags if outer is not None else 0
    inner, filled, named = _unpack(_unwrap(fn))
    colour = {
        "is_async": bool(flags & _COROUTINE) or _is_marked_async(fn),
        "is_generator": bool(flags & (_GENERATOR | _ASYNC_GENERATOR)),
    }
    if inner is None:
        return Shape(None, (), frozenset(), (), {}, varargs=True, **colour)
    code = inner.__code__
    names = code.co_varnames[: code.co_argcount]
    return Shape(
        inner,
        tuple(name for name in names[filled:] if name not in named),
        frozenset(names[: code.co_posonlyargcount]),
        code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount],
        _defaults_of(inner, names),
        varargs=bool(code.co_flags & _VARARGS),
        **colour,
    )


def function_of(fn: Any) -> tuple[FunctionType | None, Any]:
    """Return the innermost function behind ``fn`` and the object that it is bound to, else ``None``."""
    bound = None
    while True:
        if isinstance(fn, MethodType):
            bound, fn = fn.__self__, fn.__func__
        elif isinstance(fn, partial):
            fn = fn.func
        elif hasattr(fn, "__wrapped__"):
            fn = fn.__wrapped__
        else:
            break
    function, _, _ = _unpack(fn)
    if bound is None and function is not None and function is not fn:
        bound = fn
    return function, bound


def _is_marked_async(fn: Any) -> bool:
    """Whether ``inspect.markcoroutinefunction`` was used; nobody can have who has not imported ``inspect``."""
    mark = getattr(sys.modules.get("inspect"), "_is_coroutine_mark", None)
    return mark is not None and getattr(fn, "_is_coroutine_mark", None) is mark


def _unwrap(fn: Any) -> Any:
    """Follow ``functools.wraps`` to the function whose signature a caller sees."""
    while not isinstance(fn, partial | MethodType) and hasattr(fn, "__wrapped__"):
        fn = fn.__wrapped__
    return fn


def _unpack(fn: Any) -> tuple[FunctionType | None, int, frozenset[str]]:
    """Return the function behind ``fn``, how many arguments are filled by position, and which by name."""
    filled = 0
    named: frozenset[str] = frozenset()
    while not isinstance(fn, FunctionType):
        if isinstance(fn, partial):
            filled, named, fn = filled + len(fn.args), named.union(fn.keywords), fn.func
        elif isinstance(fn, MethodType):
            filled, fn = filled + 1, fn.__func__
        elif isinstance(called := getattr(type(fn), "__call__", None), FunctionType):  # noqa: B004 (the function)
            filled, fn = filled + 1, called
        else:
            return None, filled, named
    return fn, filled, named


def _defaults_of(function: FunctionType, names: tuple[str, ...]) -> dict[str, Any]:
    values = function.__defaults__ or ()
    defaults = dict(zip(names[len(names) - len(values) :], values, strict=True))
    defaults.update(function.__kwdefaults__ or {})
    return defaults
