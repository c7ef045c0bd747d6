"""Which agents the ``agents`` command is asked about."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final, NamedTuple

from attune_dsl.cli import formats

if TYPE_CHECKING:
    from attune_dsl.model import AgentRecord

STATES: Final = ("starting", "running", "waiting", "stalled", "completed", "failed", "aborted", "cancelled", "lost")
"""Every state that an agent can be shown in: the statuses, and ``stalled``, which is derived."""


class Selection(NamedTuple):
    """Filters, all of which have to fit: states (empty: any), a workflow's name, and seconds without progress."""

    states: tuple[str, ...] = ()
    workflow: str | None = None
    stale: float | None = None

    def matches(self, agent: AgentRecord, elapsed: float = 0.0) -> bool:
        """Whether an agent is asked about, ``elapsed`` seconds after its record was read."""
        return (
            (not self.states or agent.state in self.states)
            and (self.workflow is None or agent.workflow == self.workflow)
            and (self.stale is None or is_stale(agent, self.stale, elapsed))
        )

    def as_options(self) -> str:
        """Return the filters as they are written on the command line; empty if there are none."""
        words = [f"--status {state}" for state in self.states]
        if self.workflow is not None:
            words.append(f"--workflow {shlex.quote(formats.one_line(self.workflow))}")
        if self.stale is not None:
            words.append(f"--stale {self.stale:g}")
        return " ".join(words)


def is_stale(agent: AgentRecord, threshold: float, elapsed: float = 0.0) -> bool:
    """Whether an agent is alive and has made no progress for ``threshold`` seconds."""
    if agent.status.is_final or agent.progress_age is None:
        return False
    return agent.progress_age + elapsed >= threshold


def is_trouble(agent: AgentRecord, stale: float | None = None) -> bool:
    """Whether an agent is lost or stalled, or, where ``stale`` is given, without progress for that many seconds."""
    return agent.state in ("lost", "stalled") or (stale is not None and is_stale(agent, stale))
