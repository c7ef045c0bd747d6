"""Why a wait ends before its time: its sender has ended, it would close a circle, or its agent was asked to stop."""

from __future__ import annotations

from typing import Final, NamedTuple, Self

from attune_dsl.model import Reason

ABORT_FIELDS: Final = ("abort_reason", "abort_by")
"""The fields of an agent's hash that :meth:`Abort.read` reads."""


class Gone(NamedTuple):
    """An agent that has ended: when, in ms of the server's clock and in the namespace's order, how, where and why."""

    agent_id: str
    ended_ms: int
    ended_order: int
    status: str
    stage: str
    error: str

    @property
    def reason(self) -> Reason:
        """Why a wait for it ends."""
        return Reason.PEER_GONE

    def __str__(self) -> str:
        text = f"agent {self.agent_id!r} {'' if self.status in {'completed', 'failed'} else 'was '}{self.status}"
        if self.stage and self.status != "completed":
            text += f" on stage {self.stage!r}"
        return f"{text} ({self.error})" if self.error else text


class Cycle(NamedTuple):
    """Agents that wait for each other in a circle, spelled out."""

    path: str

    @property
    def reason(self) -> Reason:
        """Why a wait that would close it ends."""
        return Reason.DEADLOCK

    def __str__(self) -> str:
        return self.path


class Abort(NamedTuple):
    """Somebody asked the agent to stop; ``by`` is empty where its own process did."""

    why: str
    by: str = ""

    @classmethod
    def read(cls, why: bytes | None, by: bytes | None) -> Self | None:
        """Return the abort that the store has of an agent; ``None`` where it has none."""
        return cls(why.decode(errors="replace"), (by or b"").decode(errors="replace")) if why else None

    @property
    def reason(self) -> Reason:
        """Why all waits of the agent end."""
        return Reason.ABORTED

    @property
    def is_own(self) -> bool:
        """Whether the agent's own process asked: while the store is away nobody waits for it any longer."""
        return not self.by

    def __str__(self) -> str:
        return f"{self.why} (asked by {self.by})" if self.by else self.why


Ending = Gone | Cycle | Abort
