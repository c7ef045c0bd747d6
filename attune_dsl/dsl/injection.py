"""Which parameter of a stage or workflow the runner fills, and whether the caller filled it already.

The facades themselves live above this layer; they derive from :class:`Injectable`, and that is all that is
known of them here.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

from attune_dsl.dsl.callables import Shape, shape_of
from attune_dsl.exceptions import DeclarationError

Kind = Literal["signals", "context"]


class Injectable:
    """Base of what the runner passes to a function that asks for it by annotation."""

    kind: ClassVar[Kind]
    is_async: ClassVar[bool]


class _Injected:
    """The type of :data:`INJECTED`."""

    def __repr__(self) -> str:
        return "INJECTED"


INJECTED: Any = _Injected()
"""Default of a parameter that the runner fills and that is not the first: ``signals: Signals = INJECTED``."""


class Slot(NamedTuple):
    """The parameter that the runner fills.

    ``position`` is its position among the positional parameters (-1: keyword only) and ``first`` says that
    it is 0, so that ``fn(facade, *args, **kwargs)`` fills it. One that ``vanishes`` is no part of the
    call: callers leave it out. ``required`` means that a call outside a run has to pass it. ``others`` are
    the other positional parameters.
    """

    name: str
    kind: Kind
    is_async: bool
    first: bool
    position: int
    vanishes: bool
    required: bool
    others: tuple[str, ...]
    varargs: bool


_BY_NAME: dict[str, tuple[Kind, bool]] = {
    "Signals": ("signals", False),
    "AsyncSignals": ("signals", True),
    "Context": ("context", False),
    "AsyncContext": ("context", True),
}
_NAMES: dict[tuple[Kind, bool], str] = {wanted: name for name, wanted in _BY_NAME.items()}


def find_slot(fn: Any, shape: Shape | None = None) -> Slot | None:
    """Return the parameter of ``fn`` that the runner fills, or ``None`` if it asks for nothing.

    Raises :class:`DeclarationError` if ``fn`` asks for two, or for the facade of the other colour.
    """
    shape = shape_of(fn) if shape is None else shape
    if shape.function is None:
        return None
    wanted = _wanted(shape)
    if not wanted:
        return None
    label = shape.function.__qualname__.rpartition("<locals>.")[2]
    if len(wanted) > 1:
        raise DeclarationError(
            f"{label} asks for {' and '.join(repr(name) for name in wanted)}, but only one parameter is "
            f"filled: ask for {'AsyncContext' if shape.is_async else 'Context'}, whose .signals are the same"
        )
    name, (kind, is_async) = next(iter(wanted.items()))
    if is_async is not shape.is_async:
        raise DeclarationError(_wrong_colour(label, name, kind, is_async))
    return _slot(shape, name, kind)


def was_passed(slot: Slot, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call with these arguments passes the slot's value itself; then that value wins.

    By keyword this is plain. By position a facade is recognised by its type, and any other object (a mock)
    by there being one argument more than the other parameters can take.
    """
    if slot.name in kwargs:
        return kwargs[slot.name] is not INJECTED
    given = len(args)
    if not 0 <= slot.position < given:
        return False
    if not slot.vanishes or isinstance(args[slot.position], Injectable):
        return True
    if given > len(slot.others):
        return not slot.varargs
    return bool(kwargs) and not kwargs.keys().isdisjoint(slot.others[:given])


def fill(
    slot: Slot, args: tuple[Any, ...], kwargs: dict[str, Any], facade: object
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of the call with ``facade`` in the slot; only for a call that did not pass one."""
    if slot.vanishes and 0 <= slot.position <= len(args) and slot.name not in kwargs:
        return (*args[: slot.position], facade, *args[slot.position :]), kwargs
    return args, {**kwargs, slot.name: facade}


def bound(slot: Slot | None) -> Slot | None:
    """Return the slot of the method that a function becomes once its first argument is given."""
    if slot is None or slot.position < 0:
        return slot
    if slot.position == 0:
        return None
    index = slot.position - 1
    return slot._replace(position=index, first=index == 0, others=slot.others[1:])


def how_to_pass(slot: Slot, call: str) -> str:
    """Say how to call a stage outside a run, where nothing fills its slot."""
    sample = "FakeSignals()" if slot.kind == "signals" else "my_context"
    where = " (FakeSignals is in attune_dsl.testing)" if slot.kind == "signals" else ""
    return (
        f"{call}() was called outside a run, where nothing fills its parameter {slot.name!r}: "
        f"pass one, {call}({slot.name}={sample}, ...){where}, or call it from a workflow"
    )


def _wanted(shape: Shape) -> dict[str, tuple[Kind, bool]]:
    """Return the parameters that ask for a facade, with the facade that each asks for."""
    assert shape.function is not None
    annotations: dict[str, Any] = shape.function.__annotations__
    wanted: dict[str, tuple[Kind, bool]] = {}
    for name in (*shape.positional, *shape.keyword_only):
        if name not in annotations:
            if name == "signals":
                wanted[name] = ("signals", shape.is_async)
            continue
        facade = _facade(annotations[name], shape)
        if facade is not None:
            wanted[name] = facade
    return wanted


def _facade(annotation: Any, shape: Shape) -> tuple[Kind, bool] | None:
    if isinstance(annotation, str):
        text = annotation.strip().strip("'\"")
        if not all(part.isidentifier() for part in text.split(".")):
            return None
        annotation = _resolve(text, shape.function)
        if annotation is None:
            return _BY_NAME.get(text.rpartition(".")[2])
    if isinstance(annotation, type) and issubclass(annotation, Injectable):
        return annotation.kind, annotation.is_async
    return None


def _resolve(text: str, function: Any) -> Any:
    """Return what the dotted name ``text`` means inside ``function``; ``None`` if it means nothing yet."""
    first, *rest = text.split(".")
    value = _closed_over(function, first)
    if value is None:
        value = function.__globals__.get(first)
    if value is None:
        value = function.__builtins__.get(first)
    for part in rest:
        value = getattr(value, part, None)
    return value


def _closed_over(function: Any, name: str) -> Any:
    if name not in function.__code__.co_freevars:
        return None
    cell = function.__closure__[function.__code__.co_freevars.index(name)]
    try:
        return cell.cell_contents
    except ValueError:  # the variable is assigned later
        return None


def _slot(shape: Shape, name: str, kind: Kind) -> Slot:
    index = shape.positional.index(name) if name in shape.positional else -1
    has_default = name in shape.defaults
    if index > 0 and has_default and name in shape.positional_only:
        raise DeclarationError(
            f"the parameter {name!r} cannot be filled because it is positional-only: write it before the '/' "
            "as the first parameter, or after it"
        )
    return Slot(
        name,
        kind,
        shape.is_async,
        first=index == 0,
        position=index,
        vanishes=index == 0 or (index > 0 and not has_default),
        required=shape.defaults.get(name, INJECTED) is INJECTED,
        others=tuple(other for other in shape.positional if other != name),
        varargs=shape.varargs,
    )


def _wrong_colour(label: str, name: str, kind: Kind, is_async: bool) -> str:
    asked, right = _NAMES[kind, is_async], _NAMES[kind, not is_async]
    what = "methods" if kind == "signals" else "signals"
    if is_async:
        return (
            f"{label} is a plain 'def' and asks for {asked}, whose {what} must be awaited: "
            f"write '{name}: {right}', or make it 'async def'"
        )
    return (
        f"{label} is an 'async def' and asks for {asked}, whose {what} would block the event loop: "
        f"write '{name}: {right}', or make it a plain 'def'"
    )
