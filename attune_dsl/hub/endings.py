"""Why a wait ends before its time: its sender has ended, it would close a circle, or its agent was asked to stop."""

from __future__ import annotations

from typing import NamedTuple

from attune_dsl.model import Reason


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

    @property
    def reason(self) -> Reason:
        """Why all waits of the agent end."""
        return Reason.ABORTED

    def __str__(self) -> str:
        return f"{self.why} (asked by {self.by})" if self.by else self.why


Ending = Gone | Cycle | Abort
