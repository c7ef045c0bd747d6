"""From a word on the command line, or a JSON value, to what a parameter's annotation asks for."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import PurePath
from typing import Any, Final, Literal, Union

import msgspec

from attune_dsl.cli.errors import either
from attune_dsl.cli.formats import one_line

UNKNOWN: Final = object()
"""The annotation of a parameter that has none, or one that cannot be resolved."""


class ConversionError(ValueError):
    """A value does not fit the annotation; the message says what was expected and what came."""


def from_text(text: str, annotation: Any) -> Any:
    """Convert one word: text as it is for ``str`` and paths, by name or value for enums, else JSON.

    Where JSON does not fit, the plain text is tried (dates, decimals, literals). Without an annotation, JSON that
    parses is taken as JSON and everything else as text. Raises :class:`ConversionError`.
    """
    members = _members(annotation)
    if annotation is UNKNOWN or any(member is Any or member is object for member in members):
        return _json(text) if _is_json(text) else text
    problem: ConversionError | None = None
    for member in members:
        try:
            return _member_from_text(text, member)
        except ConversionError as error:
            problem = problem or error
    raise _unless_alone(problem, members, f"expected {type_name(annotation)}, got {_shown(text)}")


def from_json(value: Any, annotation: Any) -> Any:
    """Convert a value that was JSON already, strictly. Raises :class:`ConversionError`."""
    members = _members(annotation)
    if annotation is UNKNOWN or any(member is Any or member is object for member in members):
        return value
    problem: ConversionError | None = None
    for member in members:
        try:
            return _convert(value, member, strict=True)
        except ConversionError as error:
            problem = problem or error
    raise _unless_alone(problem, members, f"expected {type_name(annotation)}, got {_shown(value)}")


def _unless_alone(problem: ConversionError | None, members: list[Any], message: str) -> ConversionError:
    """The converter's own message is the better one, unless it speaks of one member of a union only."""
    return problem if problem is not None and len(members) == 1 else ConversionError(message)


def _members(annotation: Any) -> list[Any]:
    """Return the members of a union, plain text last, because everything is text."""
    annotation = _bare(annotation)
    if typing.get_origin(annotation) not in (Union, types.UnionType):
        return [annotation]
    flat = [inner for member in typing.get_args(annotation) for inner in _members(member)]
    return sorted(flat, key=lambda member: 2 if member is str else 1 if _is_path(member) else 0)


def _bare(annotation: Any) -> Any:
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = annotation.__origin__
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        else:
            return annotation


def _is_path(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, PurePath)


def _member_from_text(text: str, member: Any) -> Any:
    if member is str or _is_path(member):
        return member(text)
    if isinstance(member, type) and issubclass(member, Enum):
        return _enum_from_text(text, member)
    return _json_or_text(text, member)


def _json_or_text(text: str, member: Any) -> Any:
    if not _is_json(text):
        return _convert(text, member, strict=False)
    try:
        return _convert(_json(text), member, strict=False)
    except ConversionError as error:
        try:
            return _convert(text, member, strict=False)
        except ConversionError:
            raise error from None


def _enum_from_text(text: str, enum: type[Enum]) -> Enum:
    for member in enum:
        if text in (str(member.value), member.name):
            return member
    raise ConversionError(f"expected {type_name(enum)}, got {_shown(text)}")


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeEncodeError):
        return False
    return True


def _json(text: str) -> Any:
    return msgspec.json.decode(text.encode())


def _convert(value: Any, annotation: Any, *, strict: bool) -> Any:
    try:
        return msgspec.convert(value, annotation, strict=strict, dec_hook=_build)
    except msgspec.ValidationError as error:
        raise ConversionError(_message(value, annotation, str(error))) from None
    except (TypeError, NotImplementedError):
        name = type_name(annotation)
        raise ConversionError(f"a value of type {name} cannot be given on the command line") from None


def _build(annotation: type[Any], value: Any) -> Any:
    """Make what msgspec does not know: paths."""
    if _is_path(annotation) and isinstance(value, str):
        return annotation(value)
    if _is_path(annotation):
        raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
    raise NotImplementedError(annotation)


def _message(value: Any, annotation: Any, detail: str) -> str:
    """Say what was expected; for a part of a bigger value, where."""
    problem, _, path = detail.replace("`", "").partition(" - at ")
    if path or not problem.startswith(("Expected", "Invalid")):
        where = f" at {path}" if path else ""
        return f"expected {type_name(annotation)};{where} {problem[0].lower()}{problem[1:]}"
    as_json = " as JSON" if isinstance(value, str) and _is_written_as_json(annotation) else ""
    return f"expected {type_name(annotation)}{as_json}, got {_shown(value)}"


def _is_written_as_json(annotation: Any) -> bool:
    kind = typing.get_origin(annotation) or annotation
    if not isinstance(kind, type):
        return False
    is_record = any(hasattr(kind, mark) for mark in ("__attrs_attrs__", "__dataclass_fields__", "__struct_fields__"))
    return is_record or issubclass(kind, list | tuple | dict | set | frozenset)


def _shown(value: Any) -> str:
    return one_line(repr(value), 60)


def type_name(annotation: Any) -> str:
    """Return an annotation as people write it: ``int | None``, ``list[str]``, ``'fast' or 'slow'``."""
    annotation = _bare(annotation)
    if annotation is UNKNOWN:
        return "any"
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return f"{annotation.__name__} ({either([str(member.value) for member in annotation])})"
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return either([repr(value) for value in args])
    if origin in (Union, types.UnionType):
        return " | ".join(type_name(arg) for arg in args)
    return _generic_name(origin, args) if origin else _plain_name(annotation)


def _generic_name(origin: Any, args: tuple[Any, ...]) -> str:
    inner = ", ".join("..." if arg is Ellipsis else type_name(arg) for arg in args)
    return f"{_plain_name(origin)}[{inner}]" if inner else _plain_name(origin)


def _plain_name(annotation: Any) -> str:
    name = getattr(annotation, "__name__", None)
    return name if isinstance(name, str) else str(annotation).removeprefix("typing.")


def resolve(annotations: dict[str, Any], namespace: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each parameter's annotation with its strings resolved, :data:`UNKNOWN` where that is not possible."""
    for name, annotation in annotations.items():
        holder: Callable[..., Any] = types.SimpleNamespace(__annotations__={name: annotation})  # type: ignore[assignment]
        try:
            yield name, typing.get_type_hints(holder, globalns=namespace, include_extras=True)[name]
        except Exception:
            yield name, UNKNOWN  # for example a name that is imported for type checkers only
