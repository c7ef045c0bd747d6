"""attune_dsl: workflows stay plain functions; agents in many processes see and signal each other.

Every name is loaded when it is first used, so that importing this package to declare stages costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attune_dsl.dsl import scope as _scope

if TYPE_CHECKING:
    from attune_dsl.coordination.async_signals import AsyncSignals
    from attune_dsl.coordination.join import join
    from attune_dsl.coordination.monitor import AsyncChanges, AsyncMonitor, Changes, Monitor
    from attune_dsl.coordination.signal_type import SignalType
    from attune_dsl.coordination.signals import Signals
    from attune_dsl.coordination.timeline import AsyncEvents, AsyncTimeline, Events, Timeline, TimelineStats
    from attune_dsl.dsl.injection import INJECTED
    from attune_dsl.dsl.scope import Entry
    from attune_dsl.dsl.stage import Stage, stage
    from attune_dsl.dsl.workflow import Workflow, workflow
    from attune_dsl.events import Event, EventKind
    from attune_dsl.exceptions import (
        AgentIdTaken,
        AttuneError,
        BlockingCallInLoop,
        DeclarationError,
        InvalidName,
        MailboxFull,
        MapError,
        NotAJsonValue,
        PayloadInvalid,
        PayloadTooLarge,
        RunAborted,
        StageTimeout,
        StoreConfigError,
        StoreUnavailable,
        UsageError,
    )
    from attune_dsl.model import (
        AgentChange,
        AgentRecord,
        AgentStatus,
        Broken,
        ChangeKind,
        Collected,
        Coordination,
        Heartbeat,
        NoSignal,
        Outcome,
        Reason,
        Released,
        Signal,
        StageRecord,
        StageStatus,
        StageSummary,
        Tier,
    )
    from attune_dsl.runner.api import arun, run
    from attune_dsl.runner.context import AsyncContext, Context
    from attune_dsl.runner.handle import RunHandle
    from attune_dsl.runner.result import RunResult, Usage
    from attune_dsl.runner.runner import Runner

__version__ = "0.1.0"

__all__ = [
    "INJECTED",
    "AgentChange",
    "AgentIdTaken",
    "AgentRecord",
    "AgentStatus",
    "AsyncChanges",
    "AsyncContext",
    "AsyncEvents",
    "AsyncMonitor",
    "AsyncSignals",
    "AsyncTimeline",
    "AttuneError",
    "BlockingCallInLoop",
    "Broken",
    "ChangeKind",
    "Changes",
    "Collected",
    "Context",
    "Coordination",
    "DeclarationError",
    "Event",
    "EventKind",
    "Events",
    "Heartbeat",
    "InvalidName",
    "MailboxFull",
    "MapError",
    "Monitor",
    "NoSignal",
    "NotAJsonValue",
    "Outcome",
    "PayloadInvalid",
    "PayloadTooLarge",
    "Reason",
    "Released",
    "RunAborted",
    "RunHandle",
    "RunResult",
    "Runner",
    "Signal",
    "SignalType",
    "Signals",
    "Stage",
    "StageRecord",
    "StageStatus",
    "StageSummary",
    "StageTimeout",
    "StoreConfigError",
    "StoreUnavailable",
    "Tier",
    "Timeline",
    "TimelineStats",
    "Usage",
    "UsageError",
    "Workflow",
    "arun",
    "join",
    "run",
    "stage",
    "workflow",
]

_HOMES = {
    "coordination.join": ("join",),
    "coordination.monitor": ("AsyncChanges", "AsyncMonitor", "Changes", "Monitor"),
    "coordination.async_signals": ("AsyncSignals",),
    "coordination.signal_type": ("SignalType",),
    "coordination.signals": ("Signals",),
    "coordination.timeline": ("AsyncEvents", "AsyncTimeline", "Events", "Timeline", "TimelineStats"),
    "dsl.injection": ("INJECTED",),
    "dsl.stage": ("Stage", "stage"),
    "dsl.workflow": ("Workflow", "workflow"),
    "events": ("Event", "EventKind"),
    "exceptions": (
        "AgentIdTaken",
        "AttuneError",
        "BlockingCallInLoop",
        "DeclarationError",
        "InvalidName",
        "MailboxFull",
        "MapError",
        "NotAJsonValue",
        "PayloadInvalid",
        "PayloadTooLarge",
        "RunAborted",
        "StageTimeout",
        "StoreConfigError",
        "StoreUnavailable",
        "UsageError",
    ),
    "model": (
        "AgentChange",
        "AgentRecord",
        "AgentStatus",
        "Broken",
        "ChangeKind",
        "Collected",
        "Coordination",
        "Heartbeat",
        "NoSignal",
        "Outcome",
        "Reason",
        "Released",
        "Signal",
        "StageRecord",
        "StageStatus",
        "StageSummary",
        "Tier",
    ),
    "runner.api": ("arun", "run"),
    "runner.context": ("AsyncContext", "Context"),
    "runner.handle": ("RunHandle",),
    "runner.result": ("RunResult", "Usage"),
    "runner.runner": ("Runner",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load an exported name from its home; it stays here, so that this is asked once for each."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _load_entry() -> Entry:
    from attune_dsl.runner.entry import entry

    return entry


_scope.install(_load_entry)
