"""``@stage``: a plain function that a run tracks, retries and times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, overload

from attune_dsl.dsl import checks, scope
from attune_dsl.dsl.declared import Declared, P, R, refuse_declared
from attune_dsl.dsl.injection import Injectable, how_to_pass, was_passed
from attune_dsl.dsl.spec import StageSpec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable
    from typing import Self, Unpack

    from attune_dsl.dsl.spec import StageCallOptions, StageOptions

__all__ = ["Stage", "StageSpec", "stage"]

Q = ParamSpec("Q")
T = TypeVar("T")
V = TypeVar("V")
I = TypeVar("I", bound=Injectable)  # noqa: E741

_CHECKS: dict[str, checks.Check] = {
    "name": checks.name,
    "tier": checks.optional(checks.tier),
    "retries": checks.retries,
    "backoff": checks.pause,
    "retry_on": checks.retry_on,
    "timeout": checks.optional(checks.timeout),
    "stall_after": checks.optional(checks.stall_after),
}
_CALL_CHECKS = _CHECKS | {"limit": checks.optional(checks.limit), "on_error": checks.on_error}

_current_run = scope.current.get

_COPIES_KEPT = 64
"""How many ``.options(...)`` copies a stage remembers, so that a loop that configures a call makes one, not many."""


class Stage(Declared[P, R]):
    """A function marked with :func:`stage`; call it like the function.

    Inside a run the call is the run's: tracked, retried, timed and recorded. Outside it is the plain
    function.
    """

    noun = "stage"
    spec: StageSpec
    _copies: dict[tuple[tuple[str, Any], ...], Any]

    def __init__(self, fn: Any, options: dict[str, Any]) -> None:
        super().__init__(fn, options, StageSpec)
        self._copies = {}

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the stage; of an async stage await what this returns."""
        run = _current_run()
        if run is None:
            return self._call_plain(args, kwargs)
        return run.call_stage(self, args, kwargs)  # type: ignore[no-any-return]

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self: Stage[Concatenate[Any, Q], V], instance: object, owner: type | None = None) -> Stage[Q, V]: ...
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Return the stage as a method of ``instance``."""
        return self if instance is None else BoundStage(self, instance)

    @overload
    def options(
        self, *, on_error: Literal["collect"], **options: Unpack[StageCallOptions]
    ) -> CollectingStage[P, R]: ...
    @overload
    def options(self, *, on_error: Literal["raise"] = ..., **options: Unpack[StageCallOptions]) -> Self: ...
    def options(self, **options: Any) -> Any:
        """Return a copy with other options: those of :func:`stage`, ``limit`` and ``on_error``.

        ``limit`` is how many items of a ``map`` run at the same time. ``on_error="collect"`` makes a
        ``map`` return outcomes instead of raising ``MapError``. Raises :class:`DeclarationError` for an
        option that cannot work.
        """
        key = tuple(options.items())
        try:
            copy = self._copies.get(key)
        except TypeError:  # an option that cannot be hashed, such as a list of exceptions
            return self._configured(options, _CALL_CHECKS)
        if copy is None:
            copy = self._configured(options, _CALL_CHECKS)
            if len(self._copies) < _COPIES_KEPT:
                self._copies[key] = copy
        return copy

    @overload
    def map(  # type: ignore[misc, overload-overlap]
        self: Callable[Concatenate[T, ...], Coroutine[Any, Any, V]], items: Iterable[T]
    ) -> Awaitable[list[V]]: ...
    @overload
    def map(self: Callable[Concatenate[T, ...], V], items: Iterable[T]) -> list[V]: ...
    def map(self, items: Iterable[Any]) -> Any:
        """Call the stage for every item and return the values in the items' order.

        A sync stage runs in threads and this returns a list; an async stage runs in tasks and this returns an
        awaitable of one. All items finish; then ``MapError`` is raised if any of them failed.
        """
        run = _current_run()
        if run is None:
            scope.warn_outside(self.name)
            return scope.entry().map_stage(self, items)
        return run.map_stage(self, items)

    @overload
    def amap(  # type: ignore[misc]
        self: Callable[Concatenate[T, ...], Coroutine[Any, Any, V]], items: Iterable[T]
    ) -> Awaitable[list[V]]: ...
    @overload
    def amap(self: Callable[Concatenate[T, ...], V], items: Iterable[T]) -> Awaitable[list[V]]: ...
    def amap(self, items: Iterable[Any]) -> Any:
        """Like :meth:`map`, and awaitable whatever the stage's colour; a sync stage runs in threads."""
        run = _current_run()
        if run is None:
            scope.warn_outside(self.name)
            return scope.entry().amap_stage(self, items)
        return run.amap_stage(self, items)

    @overload
    def acall(self: Stage[Q, Coroutine[Any, Any, V]], *args: Q.args, **kwargs: Q.kwargs) -> Coroutine[Any, Any, V]: ...
    @overload
    def acall(self: Stage[Q, V], *args: Q.args, **kwargs: Q.kwargs) -> Coroutine[Any, Any, V]: ...
    def acall(self, *args: Any, **kwargs: Any) -> Any:
        """Call the stage and return an awaitable of its value; a sync stage runs in a thread."""
        run = _current_run()
        if run is not None:
            return run.acall_stage(self, args, kwargs)
        if self.is_async:
            return self._call_plain(args, kwargs)
        from asyncio import to_thread

        return to_thread(self._call_plain, args, kwargs)

    def _copy(self) -> Self:
        copy = super()._copy()
        copy._copies = {}
        return copy

    def _call_plain(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        slot = self.slot
        if slot is not None and slot.required and not was_passed(slot, args, kwargs):
            raise TypeError(how_to_pass(slot, self.name))
        scope.warn_outside(self.name)
        return self.fn(*args, **kwargs)


class BoundStage(Stage[P, R]):
    """A stage as a method of ``instance``; equal to another one of the same stage and instance.

    Python makes a new one at each access. So that a run has not to keep each of them, what it is asked to call is
    ``origin``, the stage of the class, with the instance as the first argument.
    """

    def __init__(self, origin: Stage[..., R], instance: object) -> None:
        self.__dict__.update(origin.__dict__)
        self._become_method(instance)
        self.origin = origin
        self.instance = instance

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the stage's method."""
        return self.origin(self.instance, *args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BoundStage) and self.origin is other.origin and self.instance is other.instance

    def __hash__(self) -> int:
        return hash((id(self.origin), id(self.instance)))

    def options(self, **options: Any) -> Any:
        """Return the method with other options; see :meth:`Stage.options`."""
        return BoundStage(self.origin.options(**options), self.instance)

    def acall(self, *args: Any, **kwargs: Any) -> Any:
        """Call the stage's method and return an awaitable of its value; see :meth:`Stage.acall`."""
        return self.origin.acall(self.instance, *args, **kwargs)


if TYPE_CHECKING:
    from attune_dsl.model import Outcome

    class CollectingStage(Stage[P, R]):
        """A stage with ``on_error="collect"``, for type checkers alone: its ``map`` returns outcomes."""

        @overload  # type: ignore[override]
        def map(  # type: ignore[misc]
            self: Callable[Concatenate[T, ...], Coroutine[Any, Any, V]], items: Iterable[T]
        ) -> Awaitable[list[Outcome[V]]]: ...
        @overload
        def map(self: Callable[Concatenate[T, ...], V], items: Iterable[T]) -> list[Outcome[V]]: ...
        def map(self, items: Iterable[Any]) -> Any: ...
        @overload  # type: ignore[override]
        def amap(  # type: ignore[misc]
            self: Callable[Concatenate[T, ...], Coroutine[Any, Any, V]], items: Iterable[T]
        ) -> Awaitable[list[Outcome[V]]]: ...
        @overload
        def amap(self: Callable[Concatenate[T, ...], V], items: Iterable[T]) -> Awaitable[list[Outcome[V]]]: ...
        def amap(self, items: Iterable[Any]) -> Any: ...


class StageDecorator(Protocol):
    """What ``stage(...)`` with options returns."""

    @overload
    def __call__(self, fn: Callable[Concatenate[I, P], R], /) -> Stage[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Stage[P, R]: ...


@overload
def stage(fn: Callable[Concatenate[I, P], R], /) -> Stage[P, R]: ...
@overload
def stage(fn: Callable[P, R], /) -> Stage[P, R]: ...
@overload
def stage(**options: Unpack[StageOptions]) -> StageDecorator: ...
def stage(fn: Any = None, /, **options: Any) -> Any:
    """Mark a function as a stage, bare (``@stage``) or with options (``@stage(retries=3)``).

    ``name`` is the function's by default. ``tier`` (cheap, capable, premium) says what the work may cost.
    ``retries`` is how often a failed attempt is repeated (0), ``backoff`` the first pause before that in
    seconds (0.1), ``retry_on`` which exceptions are worth it (``Exception``). ``timeout`` is how long one
    attempt may take, in seconds; only for async functions. ``stall_after`` is how long it may run without
    progress before others see its agent as stalled, in seconds; while it runs, it holds in place of what the
    workflow's heartbeat says. Raises :class:`DeclarationError` for anything that cannot work.
    """
    options = checks.checked("@stage", options, _CHECKS)

    def mark(fn: Any) -> Stage[..., Any]:
        refuse_declared(fn, "stage")
        return Stage(fn, dict(options))

    return mark if fn is None else mark(fn)
