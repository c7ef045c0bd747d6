"""Reads the same from a function's code object, where there is no source: ``exec``, ``python -c``, lambdas.

The compiler keeps the columns of what it compiled. A call starts where the expression starts that it calls,
so the last call at the place of a stage's name is the one that runs it. Without columns
(``-X no_debug_ranges``) the order is that in which the names appear.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from attune_dsl.dsl import resolve
from attune_dsl.dsl.declared import Declared
from attune_dsl.dsl.stage import Stage

_LOAD_VARIABLE = ("LOAD_GLOBAL", "LOAD_DEREF", "LOAD_NAME", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF")
_LOAD_LOCAL = ("LOAD_FAST", "LOAD_FAST_BORROW", "LOAD_FAST_CHECK")
_LOAD_ATTRIBUTE = ("LOAD_ATTR", "LOAD_METHOD")


def called_by_code(function: FunctionType, instance: Any) -> list[Declared[..., Any]]:
    """Return the stages and workflows that the code of ``function`` calls, in the order of completion."""
    return list(_read(function, function.__code__, instance))


def _read(function: FunctionType, code: CodeType, instance: Any) -> Iterator[Declared[..., Any]]:
    instructions = list(dis.get_instructions(code))
    last_calls = {
        _start(each): index
        for index, each in enumerate(instructions)
        if each.opname.startswith("CALL") and "INTRINSIC" not in each.opname
    }
    found: list[tuple[int, Declared[..., Any]]] = []
    meant: Any = resolve.MISSING
    for index, each in enumerate(instructions):
        done = max(index, last_calls.get(_start(each), -1))
        meant = _meaning(function, code, instance, each, meant)
        if isinstance(meant, Declared):
            if done > index or isinstance(meant, Stage):
                found.append((done, meant))
        elif isinstance(each.argval, CodeType):
            found.extend((done, inner) for inner in _read(function, each.argval, instance))
    yield from (declared for _, declared in sorted(found, key=lambda item: item[0]))


def _meaning(function: FunctionType, code: CodeType, instance: Any, instruction: dis.Instruction, before: Any) -> Any:
    """Return what ``instruction`` loads, where ``before`` is what the instruction before it loaded."""
    if instruction.opname in _LOAD_VARIABLE:
        return resolve.variable(function, instruction.argval)
    if instruction.opname in _LOAD_LOCAL and instance is not None and code.co_argcount:
        is_self = code is function.__code__ and instruction.argval == code.co_varnames[0]
        return instance if is_self else resolve.MISSING
    if instruction.opname in _LOAD_ATTRIBUTE and before is not resolve.MISSING and not isinstance(before, Declared):
        return resolve.attribute(before, instruction.argval)
    return resolve.MISSING


def _start(instruction: dis.Instruction) -> tuple[int, int] | int:
    """Return where the instruction's expression starts; something unique if the compiler did not keep it."""
    where = instruction.positions
    if where is None or where.lineno is None or where.col_offset is None:
        return instruction.offset
    return where.lineno, where.col_offset
