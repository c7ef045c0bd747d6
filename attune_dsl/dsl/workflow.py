"""``@workflow``: a plain function that calls stages, and can be run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from attune_dsl.dsl import checks, listed, scope
from attune_dsl.dsl.declared import Declared, P, R, refuse_declared
from attune_dsl.dsl.injection import Injectable
from attune_dsl.dsl.spec import WorkflowSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self, Unpack

    from attune_dsl.dsl.plan import PlannedStage
    from attune_dsl.dsl.spec import WorkflowOptions, WorkflowRunOptions

__all__ = ["Workflow", "WorkflowSpec", "workflow"]

Q = ParamSpec("Q")
V = TypeVar("V")
I = TypeVar("I", bound=Injectable)  # noqa: E741

_CHECKS: dict[str, checks.Check] = {
    "name": checks.name,
    "heartbeat": checks.policy("Heartbeat", "interval=5, ttl=15"),
    "coordination": checks.policy("Coordination", "ttl=60"),
    "stages": checks.optional(listed.stages),
    "agent_id": checks.optional(checks.identifier),
    "timeout": checks.optional(checks.timeout),
    "display_name": checks.optional(checks.identifier),
    "metadata": checks.optional(checks.metadata),
}
_RUN_CHECKS = _CHECKS | {
    "store": checks.optional(checks.text),
    "namespace": checks.optional(checks.text),
    "takeover": checks.flag,
}

_current_run = scope.current.get


class Workflow(Declared[P, R]):
    """A function marked with :func:`workflow`.

    Calling it runs it with its options and returns its value or raises its error; called inside a run it
    runs inside that run. ``run(workflow, ...)`` returns a ``RunResult`` instead.
    """

    noun = "workflow"
    spec: WorkflowSpec
    plans: dict[type | None, tuple[PlannedStage, ...]]

    def __init__(self, fn: Any, options: dict[str, Any]) -> None:
        super().__init__(fn, options, WorkflowSpec)
        self.plans = {}

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the workflow; of an async workflow await what this returns."""
        run = _current_run()
        if run is None:
            return scope.entry().call_workflow(self, args, kwargs)  # type: ignore[no-any-return]
        return run.call_workflow(self, args, kwargs)  # type: ignore[no-any-return]

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(
        self: Workflow[Concatenate[Any, Q], V], instance: object, owner: type | None = None
    ) -> Workflow[Q, V]: ...
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Return the workflow as a method of ``instance``."""
        return self if instance is None else self.bind(instance)

    def options(self, **options: Unpack[WorkflowRunOptions]) -> Self:
        """Return a copy with other options: of :func:`workflow`, ``store``, ``namespace`` and ``takeover``.

        ``takeover=True`` takes the agent id from its live owner, whose run ends as aborted. Raises
        :class:`DeclarationError` for an option that cannot work.
        """
        copy = self._configured(options, _RUN_CHECKS)
        if "stages" in options:
            copy.plans = {}
        return copy


class WorkflowDecorator(Protocol):
    """What ``workflow(...)`` with options returns."""

    @overload
    def __call__(self, fn: Callable[Concatenate[I, P], R], /) -> Workflow[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Workflow[P, R]: ...


@overload
def workflow(fn: Callable[Concatenate[I, P], R], /) -> Workflow[P, R]: ...
@overload
def workflow(fn: Callable[P, R], /) -> Workflow[P, R]: ...
@overload
def workflow(**options: Unpack[WorkflowOptions]) -> WorkflowDecorator: ...
def workflow(fn: Any = None, /, **options: Any) -> Any:
    """Mark a function as a workflow, bare (``@workflow``) or with options (``@workflow(heartbeat=True)``).

    ``name`` is the function's by default, and the agent id too if it is free; ``agent_id`` asks for a
    certain one. ``heartbeat`` publishes status and progress, ``coordination`` adds the mailbox for
    signals; each is ``True`` or a policy. ``stages`` is the exact plan, which is otherwise read from the
    source. ``timeout`` is how long a run may take, in seconds; only for async functions. ``display_name`` is
    what people are shown beside the agent id (1-128 characters, need not be unique), ``metadata`` a mapping
    with string keys that travels with the agent: JSON, up to 8 KiB. A workflow that runs inside another run
    is no agent of its own, so these of its options are not used then. Raises :class:`DeclarationError` for
    anything that cannot work; metadata that is not JSON or too large is refused when a run joins, with
    :class:`NotAJsonValue` or :class:`PayloadTooLarge`.
    """
    options = checks.checked("@workflow", options, _CHECKS)

    def mark(fn: Any) -> Workflow[..., Any]:
        refuse_declared(fn, "workflow")
        return Workflow(fn, dict(options))

    return mark if fn is None else mark(fn)
