"""From ``key=value`` words and a JSON object to the arguments of a workflow."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from inspect import Parameter
from pathlib import Path
from typing import Any

from attune_dsl.cli import conversion
from attune_dsl.cli.conversion import UNKNOWN, ConversionError
from attune_dsl.cli.errors import UsageError, did_you_mean
from attune_dsl.cli.formats import one_line
from attune_dsl.dsl.workflow import Workflow


class Arguments:
    """The parameters of a workflow that a caller fills, and their conversion.

    ``bind`` returns what the workflow is called with. All problems are reported together in one
    :class:`UsageError`, so nobody mends them one by one.
    """

    def __init__(self, flow: Workflow[..., Any]) -> None:
        self._flow = flow.name
        injected = flow.slot.name if flow.slot else None
        parameters = inspect.signature(flow.fn).parameters.values()
        self._parameters = {p.name: p for p in parameters if p.name != injected}
        annotations = {p.name: _annotation(p) for p in self._parameters.values()}
        self._types = dict(conversion.resolve(annotations, _namespace(flow.fn)))
        self._rest = next((p.name for p in self._parameters.values() if p.kind is Parameter.VAR_KEYWORD), None)

    def bind(self, words: Sequence[str], data: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return positional and keyword arguments from ``key=value`` words, which win over ``data``."""
        problems: list[str] = []
        texts = self._split(words, problems)
        values: dict[str, Any] = {}
        for key, value in {**data, **texts}.items():
            if not self._knows(key):
                problems.append(self._unknown(key))
                continue
            try:
                values[key] = self._convert(key, value, is_text=key in texts)
            except ConversionError as error:
                problems.append(f"argument {key}: {error}")
        problems += self._missing({*data, *texts})
        if problems:
            raise UsageError(f"{self._flow}: {'; '.join(problems)}")
        return self._arrange(values)

    def _split(self, words: Sequence[str], problems: list[str]) -> dict[str, str]:
        texts: dict[str, str] = {}
        for word in words:
            key, equals, value = word.partition("=")
            if not equals:
                problems.append(f"{word!r} is not key=value{self._perhaps(word)}")
            elif key in texts:
                problems.append(f"argument {key} is given twice")
            else:
                texts[key] = value
        return texts

    def _perhaps(self, word: str) -> str:
        names = list(self._parameters)
        return f"; did you mean {names[0]}={one_line(word, 40)}?" if len(names) == 1 else self._takes()

    def _knows(self, key: str) -> bool:
        return self._rest is not None or key in self._parameters

    def _unknown(self, key: str) -> str:
        nearest = did_you_mean(key, self._parameters, show="{}=…")
        return f"there is no argument {key!r}{nearest or self._takes()}"

    def _takes(self) -> str:
        if not self._parameters:
            return "; it takes no arguments"
        return f"; it takes {', '.join(self._described(name) for name in self._parameters)}"

    def _described(self, name: str) -> str:
        annotation = self._types[name]
        return name if annotation is UNKNOWN else f"{name} ({conversion.type_name(annotation)})"

    def _convert(self, key: str, value: Any, *, is_text: bool) -> Any:
        name = key if key in self._parameters else self._rest
        assert name is not None, "unknown keys were refused"
        annotation = self._types[name]
        if self._parameters[name].kind is Parameter.VAR_POSITIONAL:
            annotation = list if annotation is UNKNOWN else list[annotation]  # type: ignore[valid-type]
        return conversion.from_text(value, annotation) if is_text else conversion.from_json(value, annotation)

    def _missing(self, given: set[str]) -> list[str]:
        optional = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        missing = [
            p.name
            for p in self._parameters.values()
            if p.default is Parameter.empty and p.kind not in optional and p.name not in given
        ]
        if not missing:
            return []
        what = "argument is" if len(missing) == 1 else "arguments are"
        example = " ".join(f"{name}=…" for name in missing)
        return [f"{what} missing: {', '.join(map(self._described, missing))}; give {example}"]

    def _arrange(self, values: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Pass by position only what cannot be passed by name."""
        names = list(self._parameters)
        many = next((n for n in names if self._parameters[n].kind is Parameter.VAR_POSITIONAL), None)
        if many is not None and values.get(many):
            before = names[: names.index(many)]
        else:
            only = [n for n in names if self._parameters[n].kind is Parameter.POSITIONAL_ONLY]
            last = max((i for i, n in enumerate(only) if n in values), default=-1)
            before = only[: last + 1]
        args = [values.pop(n, self._parameters[n].default) for n in before]
        return [*args, *(values.pop(many, []) if many else [])], values


def _annotation(parameter: Parameter) -> Any:
    """The annotation; without one, a default that is text says that text is meant."""
    if parameter.annotation is not Parameter.empty:
        return parameter.annotation
    return str if isinstance(parameter.default, str) else Any


def _namespace(fn: Callable[..., Any]) -> dict[str, Any]:
    """Return the module namespace in which the annotations of ``fn`` were written."""
    while True:
        inner = fn.func if isinstance(fn, functools.partial) else getattr(fn, "__func__", None)
        if inner is None:
            break
        fn = inner
    return getattr(inspect.unwrap(fn), "__globals__", {})


def read_input(source: str, stdin: Callable[[], str]) -> dict[str, Any]:
    """Read the JSON object that ``--input`` names: a file, or ``-`` for standard input. Raises :class:`UsageError`."""
    import json

    try:
        text = stdin() if source == "-" else Path(source).read_text(encoding="utf-8")
        data = json.loads(text)
    except OSError as error:
        raise UsageError(f"--input {source}: {error.strerror or error}") from None
    except ValueError as error:
        raise UsageError(f"--input {source}: not JSON: {error}") from None
    if not isinstance(data, dict):
        raise UsageError(f"--input {source}: expected a JSON object of arguments, got {one_line(repr(data), 60)}")
    return data
