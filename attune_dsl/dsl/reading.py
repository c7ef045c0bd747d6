"""Reads from a workflow's source which stages it calls, in the order in which the calls complete."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterable, Iterator
from types import FunctionType
from typing import Any

from attune_dsl.dsl import resolve
from attune_dsl.dsl.callables import function_of
from attune_dsl.dsl.declared import Declared
from attune_dsl.dsl.stage import Stage

_WAYS_TO_CALL = ("map", "amap", "acall")
_PARSES_AT_MOST = 20
_UNREADABLE = (SyntaxError, ValueError, SystemError)
"""What ``ast.parse`` raises; SystemError where several threads parse at a time before Python 3.12.2."""

_FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_Scope = dict[str, tuple[Any, ...]]


def called_by(fn: Any) -> Iterable[Declared[..., Any]]:
    """Return the stages and workflows that ``fn`` calls; from its code object where there is no source."""
    function, instance = function_of(fn)
    if function is None:
        return ()
    node = _node_of(function)
    if node is None:
        from attune_dsl.dsl.bytecode import called_by_code

        return called_by_code(function, instance)
    reader = _Reader(function, instance)
    for statement in node.body:
        reader.visit(statement)
    return reader.found


class _Reader(ast.NodeVisitor):
    """Walks a function in the order in which it runs: arguments before the call, branches as written.

    ``scopes`` holds the local names, innermost last, with the stages that each may stand for.
    """

    def __init__(self, function: FunctionType, instance: Any) -> None:
        self.function = function
        self.found: list[Declared[..., Any]] = []
        code = function.__code__
        self.scopes: list[_Scope] = [dict.fromkeys((*code.co_varnames, *code.co_cellvars), ())]
        if instance is not None and code.co_argcount:
            self.scopes[0][code.co_varnames[0]] = (instance,)

    def visit_Call(self, node: ast.Call) -> None:
        called = self._called(node.func)
        if not called:
            called = tuple(each for each in self._declared(node) if isinstance(each, Stage))
        if called:
            self._visit_options(node.func)
        else:
            self.visit(node.func)
        for argument in (*node.args, *node.keywords):
            self.visit(argument)
        self.found.extend(called)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._refer(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if self._refer(node):
            return
        if not self._declared(node.value):
            self.visit(node.value)
        elif node.attr in _WAYS_TO_CALL:
            self._refer(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        named = [target.id for target in node.targets if isinstance(target, ast.Name)]
        meant = self._declared(node.value)
        if not meant or len(named) != len(node.targets) or not self._alias(named, meant):
            self.visit(node.value)
            for target in node.targets:
                self.visit(target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit_Assign(ast.Assign(targets=[node.target], value=node.value))

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit_Assign(ast.Assign(targets=[node.target], value=node.value))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_function(node, node.decorator_list, node.body)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_function(node, node.decorator_list, node.body)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_function(node, [], [node.body])

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._visit_comprehension(node.generators, node.elt)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._visit_comprehension(node.generators, node.elt)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._visit_comprehension(node.generators, node.elt)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._visit_comprehension(node.generators, node.key, node.value)

    def _visit_function(
        self, node: _FunctionNode | ast.Lambda, decorators: list[ast.expr], body: Iterable[ast.AST]
    ) -> None:
        """Count what an inner function calls where it is written; its own calls are not followed."""
        for each in (*decorators, *node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(each)
        self._visit_scope(_local_names(node), body)

    def _visit_comprehension(self, generators: list[ast.comprehension], *values: ast.expr) -> None:
        targets = [name for each in generators for name in _stored_names(each.target)]
        self._visit_scope(targets, (*generators, *values))

    def _visit_scope(self, names: Iterable[str], body: Iterable[ast.AST]) -> None:
        self.scopes.append(dict.fromkeys(names, ()))
        for each in body:
            self.visit(each)
        self.scopes.pop()

    def _visit_options(self, func: ast.expr) -> None:
        """Visit the arguments of ``.options(...)`` in what is called; they come before those of the call."""
        for node in ast.walk(func):
            if isinstance(node, ast.Call):
                for argument in (*node.args, *node.keywords):
                    self.visit(argument)

    def _refer(self, node: ast.expr) -> bool:
        """Count a stage that is handed on, as in ``submit(build, x)``; a workflow would be its own run."""
        meant = self._declared(node)
        self.found.extend(each for each in meant if isinstance(each, Stage))
        return bool(meant)

    def _alias(self, names: list[str], meant: tuple[Any, ...]) -> bool:
        scope = self.scopes[-1]
        if not all(name in scope for name in names):
            return False
        for name in names:
            scope[name] = (*scope[name], *meant)
        return True

    def _called(self, func: ast.expr) -> tuple[Declared[..., Any], ...]:
        if isinstance(func, ast.Attribute) and func.attr in _WAYS_TO_CALL:
            stages = self._declared(func.value)
            if stages:
                return stages
        return self._declared(func)

    def _declared(self, node: ast.expr) -> tuple[Declared[..., Any], ...]:
        return tuple(each for each in self._resolve(node) if isinstance(each, Declared))

    def _resolve(self, node: ast.expr) -> tuple[Any, ...]:
        """Return what ``node`` may stand for: several things after branches, nothing if unknown."""
        if isinstance(node, ast.Name):
            for scope in reversed(self.scopes):
                if node.id in scope:
                    return scope[node.id]
            return _known(resolve.variable(self.function, node.id))
        if isinstance(node, ast.Attribute):
            owners = [each for each in self._resolve(node.value) if not isinstance(each, Declared)]
            return tuple(value for each in owners for value in _known(resolve.attribute(each, node.attr)))
        if isinstance(node, ast.IfExp):
            return (*self._resolve(node.body), *self._resolve(node.orelse))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "options":
            return tuple(_renamed(each, node) for each in self._declared(node.func.value))
        return ()


def _known(value: Any) -> tuple[Any, ...]:
    return () if value is resolve.MISSING else (value,)


def _renamed(declared: Declared[..., Any], call: ast.Call) -> Declared[..., Any]:
    """Return what ``declared.options(...)`` returns as far as the plan cares: its name."""
    for keyword in call.keywords:
        if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
            copy: Declared[..., Any] = declared.options(name=keyword.value.value)  # type: ignore[attr-defined]
            return copy
    return declared


def _local_names(node: _FunctionNode | ast.Lambda) -> Iterator[str]:
    arguments = node.args
    for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        yield each.arg
    for rest in (arguments.vararg, arguments.kwarg):
        if rest is not None:
            yield rest.arg
    for part in node.body if isinstance(node.body, list) else [node.body]:
        yield from _stored_names(part)


def _stored_names(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            yield each.id


def _node_of(function: FunctionType) -> _FunctionNode | None:
    """Return the function's node in its source; ``None`` for a lambda, and where there is no source."""
    code = function.__code__
    lines = linecache.getlines(code.co_filename, function.__globals__)
    if code.co_name == "<lambda>" or not 0 < code.co_firstlineno <= len(lines):
        return None
    node = _parse_block(lines[code.co_firstlineno - 1 :])
    if node is None or node.name != code.co_name:
        node = _find_in_file(lines, function)
    return node


def _parse_block(lines: list[str]) -> _FunctionNode | None:
    """Parse the function that starts at the first line; a whole file takes many times longer."""
    indent = _indent(lines[0])
    prefix = "if 1:\n" if indent else ""
    ends = [
        number
        for number, line in enumerate(lines[1:], start=1)
        if line.strip() and _indent(line) <= indent and line.lstrip()[0] != "#"
    ]
    for end in (*ends[:_PARSES_AT_MOST], len(lines)):
        try:
            tree = ast.parse(prefix + "".join(lines[:end]))
        except _UNREADABLE:  # the function goes on: a decorator, an open bracket, a long string
            continue
        first: ast.stmt = tree.body[0]
        if isinstance(first, ast.If) and prefix:
            first = first.body[0]
        return first if isinstance(first, _FunctionNode) else None
    return None


def _find_in_file(lines: list[str], function: FunctionType) -> _FunctionNode | None:
    code = function.__code__
    try:
        tree = ast.parse("".join(lines))
    except _UNREADABLE:
        return None
    for node in ast.walk(tree):
        if isinstance(node, _FunctionNode) and node.name == code.co_name:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first == code.co_firstlineno:
                return node
    return None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
