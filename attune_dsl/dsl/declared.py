"""What a stage and a workflow have in common: a marked function that still looks like the function."""

from __future__ import annotations

from functools import partial, update_wrapper
from types import MethodType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, TypeVar, cast

from attune_dsl.dsl import checks
from attune_dsl.dsl.callables import shape_of
from attune_dsl.dsl.injection import Slot, bound, find_slot
from attune_dsl.exceptions import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

P = ParamSpec("P")
R = TypeVar("R")


class Declared(Generic[P, R]):
    """A function that was marked, with its options.

    ``fn`` is the original, ``spec`` the options, ``name`` its name in runs, ``is_async`` its colour and
    ``slot`` the parameter that the runner fills.
    """

    noun: ClassVar[str]
    fn: Callable[..., R]
    spec: Any
    name: str
    is_async: bool
    slot: Slot | None

    def __init__(self, fn: Any, options: dict[str, Any], make_spec: Callable[..., Any]) -> None:
        options.setdefault("name", None)
        name = options["name"] = options["name"] or _name_of(fn, self.noun)
        shape = shape_of(fn)
        if shape.is_generator:
            raise DeclarationError(_no_generators(name, self.noun))
        self._forbid_sync_timeout(name, options, shape.is_async)
        slot = find_slot(fn, shape)
        update_wrapper(cast("Any", self), fn)
        self.fn = fn
        self.spec = make_spec(**options)
        self.name = name
        self.is_async = shape.is_async
        self.slot = slot

    def __repr__(self) -> str:
        return f"<{self.noun} {self.name}>"

    def bind(self, instance: object) -> Self:
        """Return the method that this is on ``instance``."""
        copy = self._copy()
        copy._become_method(instance)
        return copy

    def _become_method(self, instance: object) -> None:
        self.fn = MethodType(self.fn, instance)
        self.slot = bound(self.slot)

    def _configured(self, options: Mapping[str, Any], table: Mapping[str, checks.Check]) -> Self:
        """Return a copy with other options."""
        changed = checks.checked(f"{self.name}.options", options, table)
        self._forbid_sync_timeout(self.name, changed, self.is_async)
        copy = self._copy()
        copy.spec = self.spec._replace(**changed)
        copy.name = copy.spec.name
        return copy

    def _copy(self) -> Self:
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        return copy

    def _forbid_sync_timeout(self, name: str, options: Mapping[str, Any], is_async: bool) -> None:
        if options.get("timeout") is not None and not is_async:
            raise DeclarationError(
                f"{self.noun} {name!r} is a plain 'def' and cannot have a timeout, because a running thread "
                "cannot be stopped: make it 'async def', or set the timeout on the client that it calls"
            )


def same(one: Declared[..., Any], other: Declared[..., Any]) -> bool:
    """Whether two were made from the same function, as ``.options(...)`` copies and bound methods are."""
    return _original(one.fn) is _original(other.fn)


def refuse_declared(fn: Any, noun: str) -> None:
    """Raise :class:`DeclarationError` if ``fn`` cannot be marked because of what it is."""
    if isinstance(fn, Declared):
        if fn.noun == noun:
            raise DeclarationError(
                f"{fn.name!r} is a {noun} already: mark it once, and change options with .options(...)"
            )
        raise DeclarationError(
            f"{fn.name!r} is a {fn.noun} already and cannot be a {noun} too: "
            "remove one decorator, or call it from a function of its own"
        )
    if isinstance(fn, classmethod | staticmethod):
        kind = type(fn).__name__
        raise DeclarationError(f"write @{kind} above @{noun}, not below: @{noun} marks the function itself")
    if isinstance(fn, type):
        raise DeclarationError(f"@{noun} marks functions, and {fn.__name__} is a class: mark one of its methods")
    if not callable(fn):
        raise DeclarationError(
            f"@{noun} marks functions, and {fn!r} is none; give options by name, as in @{noun}(name='build')"
        )


def _original(fn: Any) -> Any:
    return fn.__func__ if isinstance(fn, MethodType) else fn


def _name_of(fn: Any, noun: str) -> str:
    name: str | None = getattr(fn, "__name__", None)
    if name is None or name == "<lambda>":
        what = "a lambda" if name else "a partial" if isinstance(fn, partial) else f"{fn!r}"
        raise DeclarationError(f"{what} has no name of its own: write {noun}(name='...')(...)")
    return name


def _no_generators(name: str, noun: str) -> str:
    emit = "for chunk in source(): ctx.emit(chunk)"
    return (
        f"{name!r} is a generator and cannot be a {noun}, whose call has one result: consume inside the "
        f"stage and pass on what comes with ctx.emit(chunk), as in 'def {name}(ctx: Context): {emit}'"
    )
