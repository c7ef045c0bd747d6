"""Where a call of a stage or a workflow finds the run it is in.

The declarations do not import the runner: a run puts itself into :data:`current`, and the package root
hands the declarations a loader for everything that needs the runner outside a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from attune_dsl import log

if TYPE_CHECKING:
    from attune_dsl.dsl.stage import Stage
    from attune_dsl.dsl.workflow import Workflow


class RunScope(Protocol):
    """What a run offers to the stages and workflows that are called inside it."""

    def call_stage(self, stage: Stage[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one call of ``stage``; for an async stage return an awaitable of its value."""

    def acall_stage(self, stage: Stage[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return an awaitable of one call's value; a sync stage runs in a thread."""

    def map_stage(self, stage: Stage[..., Any], items: Iterable[Any]) -> Any:
        """Call ``stage`` for every item; a list for a sync stage, an awaitable of one for an async stage."""

    def amap_stage(self, stage: Stage[..., Any], items: Iterable[Any]) -> Any:
        """Return an awaitable of the list of values, whatever the stage's colour."""

    def call_workflow(self, workflow: Workflow[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run ``workflow`` inside this run; for an async workflow return an awaitable of its value."""


class Entry(Protocol):
    """What the runner offers outside of all runs."""

    def call_workflow(self, workflow: Workflow[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run ``workflow`` with defaults; its value, or an awaitable of it for an async workflow."""

    def map_stage(self, stage: Stage[..., Any], items: Iterable[Any]) -> Any:
        """Like :meth:`RunScope.map_stage`, over plain calls."""

    def amap_stage(self, stage: Stage[..., Any], items: Iterable[Any]) -> Any:
        """Like :meth:`RunScope.amap_stage`, over plain calls."""

    def runs_are_active(self) -> bool:
        """Whether this process has any run at the moment."""


current: ContextVar[RunScope | None] = ContextVar("attune_run", default=None)

_load_entry: Callable[[], Entry] | None = None
_entry: Entry | None = None
_warned: set[str] = set()


def install(load_entry: Callable[[], Entry]) -> None:
    """Tell the declarations how to load the runner; called once, by the package root."""
    global _load_entry  # noqa: PLW0603 (the one wire between the layers)
    _load_entry = load_entry


def provide(entry: Entry) -> None:
    """Tell the declarations that the runner is loaded; called by the runner when it is imported."""
    global _entry  # noqa: PLW0603 (see install)
    _entry = entry


def entry() -> Entry:
    """Return the runner's entry, loading the runner on first use."""
    if _entry is None:
        assert _load_entry is not None, "the package root installs the entry"
        provide(_load_entry())
    assert _entry is not None
    return _entry


def warn_outside(stage: str) -> None:
    """Warn once for each stage that is called outside of all runs in a process that has some.

    The usual cause is a thread that the user started: context variables do not follow into it.
    """
    if _entry is None or stage in _warned or not _entry.runs_are_active():
        return
    _warned.add(stage)
    log.warning(
        "stage.outside_run",
        stage=stage,
        hint="called outside of all runs, so it was neither tracked nor retried; start threads through "
        "stage.map or stage.acall, or run them in contextvars.copy_context()",
    )
