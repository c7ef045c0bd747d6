"""Which events of a timeline somebody wants."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from attrs import frozen

from attune_dsl.events import Event, EventKind


@frozen(kw_only=True)
class Selection:
    """``kinds`` are kinds or families of them; ``None`` is no limit. Gaps are told to everybody."""

    kinds: frozenset[str] | None = None
    agent: str | None = None
    run: str | None = None

    @classmethod
    def of(cls, kinds: str | Collection[str] | None, agent: str | None, run: str | None) -> Selection:
        """Return what the arguments of :meth:`attune_dsl.coordination.timeline.Timeline.read` select."""
        chosen = (kinds,) if isinstance(kinds, str) else kinds
        return cls(kinds=None if chosen is None else frozenset(map(str, chosen)), agent=agent, run=run)

    def wants(self, event: Event) -> bool:
        """Whether an event is selected."""
        if event.kind == EventKind.GAP:
            return True
        if self.kinds is not None and event.kind not in self.kinds and event.kind.partition(".")[0] not in self.kinds:
            return False
        return (self.agent is None or event.agent == self.agent) and (self.run is None or event.run == self.run)

    @property
    def is_all(self) -> bool:
        """Whether every event is selected."""
        return self == ALL

    def arguments(self) -> dict[str, Any]:
        """Return what :meth:`attune_dsl.coordination.timeline.Timeline.read` calls it."""
        return {"kinds": self.kinds, "agent": self.agent, "run": self.run}


ALL: Final = Selection()
