"""Which events of a timeline somebody wants."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from attrs import frozen

from attune_dsl.events import Event, EventKind
from attune_dsl.exceptions import UsageError

KINDS: Final = frozenset(kind.value for kind in EventKind)
FAMILIES: Final = frozenset(kind.partition(".")[0] for kind in KINDS)


@frozen(kw_only=True)
class Selection:
    """``kinds`` are kinds or families of them; ``None`` is no limit. Gaps are told to everybody."""

    kinds: frozenset[str] | None = None
    agent: str | None = None
    run: str | None = None

    @classmethod
    def of(cls, kinds: str | Collection[str] | None, agent: str | None, run: str | None) -> Selection:
        """Return what the arguments of :meth:`attune_dsl.coordination.timeline.Timeline.read` select.

        Raises :class:`UsageError` for a kind that does not exist: it would select nothing, for ever.
        """
        if kinds is None:
            return cls(agent=agent, run=run)
        chosen = frozenset(map(str, (kinds,) if isinstance(kinds, str) else kinds))
        if unknown := sorted(chosen - KINDS - FAMILIES):
            raise UsageError(
                f"there is no kind {unknown[0]!r}; there are {', '.join(sorted(KINDS))}, and their families"
            )
        return cls(kinds=chosen, agent=agent, run=run)

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
