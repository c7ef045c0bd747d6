"""Payloads of declared signal types: from their class to JSON and back, strictly at both ends."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final, TypeAlias, cast

import msgspec

from attune_dsl.coordination.signal_type import Named, SignalType, label
from attune_dsl.exceptions import DeclarationError, PayloadInvalid, UsageError
from attune_dsl.store import codec

Kinds: TypeAlias = Mapping[str, SignalType[Any]]
"""The declared ones among the types that were named, by their names."""

_NONE: Final[Kinds] = {}
"""For all waits that declare none: thousands may wait at a time."""

Fit: TypeAlias = Callable[[Any], Any]
"""Turns a value into what is declared, or raises."""

_ERROR: Final = re.compile(r"(?P<what>.*?)(?: - at (?P<key>`key` in )?`(?P<place>\$[^`]*)`)?", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_STEP: Final = re.compile(r"\[\.\.\.\]|\[\d+\]|\.[^.\[]+")
_LONGEST_KEY: Final = 64


def by_name(types: Sequence[Named]) -> tuple[Sequence[str], Kinds]:
    """Return the names of the types, and those that are declared.

    Raises :class:`UsageError` for two meanings of one name, and :class:`DeclarationError` as :func:`to_json`.
    """
    if len(types) == 1 and type(types[0]) is str:  # as nearly always
        return cast("Sequence[str]", types), _NONE
    kinds = {each.name: each for each in types if isinstance(each, SignalType)} or _NONE
    if not kinds:
        return cast("Sequence[str]", types), kinds
    names = []
    for each in types:
        name = each.name if isinstance(each, SignalType) else each
        if name in kinds and kinds[name] != each:
            raise UsageError(f"the signal type {name!r} is named as {kinds[name]!r} and as {each!r}; name it once")
        names.append(name)
    for kind in kinds.values():
        _check_class(kind)
    return names, kinds


def outgoing(type_: Named, payload: Any) -> tuple[str, Any]:
    """Return the name of a type, and the payload as it is sent. Raises as :func:`to_json`, if it is a declared one."""
    return (type_.name, to_json(type_, payload)) if isinstance(type_, SignalType) else (type_, payload)


def to_json(kind: SignalType[Any], payload: Any) -> Any:
    """Return the payload as JSON.

    Raises :class:`PayloadInvalid` if it is not what is declared, :class:`NotAJsonValue` for what has no place in JSON,
    and :class:`DeclarationError` if nothing of the declared class can be had from JSON.
    """
    _check_class(kind)
    if not _is_instance(payload, kind.payload):
        raise _invalid(kind, "$", f"expected `{label(kind.payload)}`, got `{type(payload).__qualname__}`")
    value = codec.to_plain(payload, as_text=False)  # a date where text is declared is wrong, so it is no text yet
    _fit(kind, value, as_text=False)
    return codec.to_plain(value)


def from_json(kind: SignalType[Any], value: Any) -> Any:
    """Return what is declared for a payload that was received. Raises :class:`PayloadInvalid`."""
    return _fit(kind, value, as_text=True)


def _fit(kind: SignalType[Any], value: Any, *, as_text: bool) -> Any:
    fit = partial(codec.fit, kind=kind.payload, as_text=as_text)
    try:
        return fit(value)
    except msgspec.ValidationError as error:
        path, what = _explained(fit, value, str(error))
    except Exception as error:  # whatever the class's own code objects to
        path, what = "$", f"{type(error).__name__}: {error}"
    raise _invalid(kind, path, what)


def _invalid(kind: SignalType[Any], path: str, what: str) -> PayloadInvalid:
    where = "" if path == "$" else f"{path}: "
    return PayloadInvalid(f"the payload of signal type {kind.name!r} is no {label(kind.payload)}: {where}{what}", path)


def _is_instance(payload: Any, wanted: Any) -> bool:
    """Whether the payload is of the class, as far as that can be asked; its JSON is looked at in any case."""
    if not isinstance(wanted, type) or wanted is Any or typing.is_typeddict(wanted):
        return True
    return isinstance(payload, (int, float) if wanted is float else wanted)


# Whether a class can be a payload


def _check_class(kind: SignalType[Any]) -> None:
    payload: Any = kind.payload
    why = _objection(payload)
    if why:
        raise DeclarationError(f"{kind!r} cannot be sent as JSON: {why}")


@lru_cache(1024)
def _objection(payload: Any) -> str:
    """Return why nothing of the class can be had from JSON; empty if it can."""
    try:
        described = msgspec.inspect.type_info(payload)
    except NameError as error:
        return f"{error}; its annotations have to make sense at the top level of its module"
    except Exception as error:
        return str(error)
    return next(_objections(described, set()), "")


def _objections(described: Any, seen: set[int]) -> Iterator[str]:
    if id(described) in seen:
        return
    seen.add(id(described))
    if isinstance(described, msgspec.inspect.CustomType):
        yield f"JSON has nothing for {label(described.cls)}"
    for field in getattr(described, "fields", ()):
        if field.name.startswith("_") and hasattr(described.cls, "__attrs_attrs__"):
            yield f"the field {field.name!r} of {label(described.cls)} is private and would be left out"
        yield from _objections(field.type, seen)
    for name in ("item_type", "key_type", "value_type", "type"):
        if isinstance(inner := getattr(described, name, None), msgspec.inspect.Type):
            yield from _objections(inner, seen)
    for name in ("types", "item_types"):
        for inner in getattr(described, name, ()):
            yield from _objections(inner, seen)


# What is wrong with a payload, and where


def _explained(fit: Fit, value: Any, error: str) -> tuple[str, str]:
    """Return the path of what does not fit, and what is wrong there."""
    match = _ERROR.fullmatch(error)
    assert match is not None
    what, place = match["what"], match["place"] or "$"
    try:
        path = _path(fit, value, error, place)
    except (LookupError, TypeError):
        path = place
    if missing := _MISSING.fullmatch(what):
        return f"{path}.{missing[1]}", "it is missing"
    what = what[0].lower() + what[1:] if what.startswith(("Expected", "Invalid")) else what
    return path, f"has a key that is wrong: {what}" if match["key"] else what


def _path(fit: Fit, value: Any, error: str, place: str) -> str:
    """Return the path with the keys of objects, which msgspec writes as ``[...]``."""
    path, steps, here = "$", list[Any](), value
    key: Any
    for step in _STEP.findall(place):
        if step == "[...]":
            key = _culprit(fit, value, error, steps, here)
        else:
            key = int(step[1:-1]) if step[0] == "[" else step[1:]
        steps.append(key)
        here = here[key]
        path += _written(key)
    return path


def _culprit(fit: Fit, value: Any, error: str, steps: list[Any], here: dict[str, Any]) -> str:
    """Return the key of the first item that causes the error: of the shortest beginning of ``here`` that still does."""
    items = list(here.items())
    low, high = 1, len(items)
    while low < high:
        middle = (low + high) // 2
        if _causes(fit, _replaced(value, steps, dict(items[:middle])), error):
            high = middle
        else:
            low = middle + 1
    return items[low - 1][0]


def _causes(fit: Fit, value: Any, error: str) -> bool:
    try:
        fit(value)
    except Exception as other:
        return str(other) == error
    return False


def _replaced(value: Any, steps: list[Any], part: Any) -> Any:
    """Return a copy of ``value`` that has ``part`` at the place to which ``steps`` lead."""
    if not steps:
        return part
    copy = value.copy() if isinstance(value, dict) else list(value)
    copy[steps[0]] = _replaced(value[steps[0]], steps[1:], part)
    return copy


def _written(key: Any) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    if 0 < len(key) <= _LONGEST_KEY and key.isprintable():
        return f".{key}"
    return f"[{key[:_LONGEST_KEY]!r}{'…' if len(key) > _LONGEST_KEY else ''}]"
