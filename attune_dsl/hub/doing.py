"""What an agent does and last did, and since when it has made no progress."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

from attune_dsl import clock
from attune_dsl.model import AgentStatus
from attune_dsl.store.scripts import Part

Fields = dict[str, Part]


class Listener(Protocol):
    """Whom to tell that there is something to publish, or to look after."""

    def status_soon(self) -> None:
        """Publish soon what has changed."""

    def stall_at(self, due: float) -> None:
        """Look then (:func:`clock.monotonic`) whether there was progress."""

    def server_ms(self) -> float:
        """The server's time in milliseconds."""


class _Slot(NamedTuple):
    """The latest of what an agent does; an older one that was not sent yet is simply replaced."""

    stage: str | None = None
    progress: float = 0.0
    attempt: int = 1
    tier: str | None = None
    note: str | None = None
    since: float | None = None
    act: str = ""


class Doing:
    """Fills a slot and remembers what is to be said of it. Never blocks; safe on any thread.

    Progress is whatever :meth:`touch` and :meth:`did` are called for. Without any for as long as the stage or the agent
    allows, the agent is *stalled*, until the next. The time of a wait does not count: a wait has a limit of its own.
    """

    def __init__(self, listener: Listener, *, is_published: bool, stall_after: float | None) -> None:
        """``stall_after`` is the agent's own limit in seconds; ``is_published`` whether anything is said at all."""
        self._listener = listener
        self._is_published = is_published
        self._own_limit = stall_after if is_published else None
        self._limit = self._own_limit
        self._stage_limit: float | None = None
        self._slot = _Slot()
        self._did: tuple[str, ...] = ()
        self._cost = 0.0
        self._began = False
        self._waiting = 0
        self._moved_at = clock.monotonic()
        self._was_stalled = False
        self.is_changed = False
        """Whether there is something to publish soon."""
        self.is_touched = False
        """Whether that is what the agent's next command must not overtake."""
        self.has_moved = False
        """Whether there was progress since it was last published."""

    def touch(  # noqa: PLR0917 (positional, because it is called at each stage boundary)
        self,
        stage: str | None,
        progress: float,
        attempt: int = 1,
        tier: str | None = None,
        note: str | None = None,
        stall_after: float | None = None,
        act: str = "",
    ) -> None:
        """Say what the agent does now; ``stall_after`` is the stage's own limit in seconds, if it has one.

        ``act`` says if the stage ``began`` or ``ended``; a stage that is another than before began in any case.
        """
        slot = self._slot
        self._moved_at = now = clock.monotonic()
        since = slot.since if stage == slot.stage and attempt == slot.attempt and act != "began" else now
        self._slot = _Slot(stage, progress, attempt, tier, note, since, act)
        self._began = True
        self.has_moved = self._is_published
        if self._did:
            self._did = ()
        self._stage_limit = stall_after
        limit = (stall_after or self._own_limit) if self._is_published else None
        if limit != self._limit:
            self._limit = limit
            self._listener.stall_at(self.stall_due)
        self._say()
        self.is_touched = self.is_changed

    def advance(self, fraction: float | None, note: str | None) -> None:
        """Say how far the agent is, from 0 to 1, and in words; it never moves back."""
        slot = self._slot
        progress = max(slot.progress, fraction or 0.0)
        self.touch(slot.stage, progress, slot.attempt, slot.tier, note or slot.note, self._stage_limit)

    def did(self, *what: str) -> None:
        """The agent did something with signals: ``("sent", type, target)``. It is published with the next beat."""
        self._moved_at = clock.monotonic()
        self._did = what
        self.has_moved = self._is_published
        if self._was_stalled:
            self._say()

    def spent(self, cost: float) -> None:
        """The run's cost so far."""
        self._cost = cost
        self.did("used", f"{cost:g} in all")
        self._say()

    def wait_began(self, *what: str) -> None:
        """A wait of the agent blocks; its status is ``waiting`` until :meth:`wait_ended`. ``what`` says for what."""
        self._waiting += 1
        self._did = ("waits for", *what)
        self._say()

    def wait_ended(self, *what: str) -> None:
        """See :meth:`wait_began`."""
        self._waiting -= 1
        self._did = ("waited for", *what)
        self._moved_at = clock.monotonic()
        self.has_moved = self._is_published
        if self._limit is not None:
            self._listener.stall_at(self.stall_due)
        self._say()

    def say_again(self) -> None:
        """Publish everything once more, so that it does not expire, or what has moved since.

        What says nothing of itself lives in the store as well, and must not expire there either.
        """
        if not self.is_changed:
            self.is_changed = True
            self._listener.status_soon()

    def start_over(self) -> None:
        """The agent is another incarnation: that it is stalled was told of the one before, and is to be told anew."""
        self._was_stalled = False
        self._say()

    @property
    def progress(self) -> float:
        """How far the agent is, from 0 to 1."""
        return self._slot.progress

    @property
    def stall_due(self) -> float:
        """When the agent counts as stalled unless there is progress before; infinity for never."""
        if self._limit is None or self._waiting or self._was_stalled:
            return math.inf
        return self._moved_at + self._limit

    def pop_kind(self) -> str:
        """Return what followers are to be told: ``updated``, ``stalled`` or ``resumed``; empty for nothing."""
        is_stalled = self._is_stalled()
        kind = "updated" if self.is_changed else ""
        if is_stalled != self._was_stalled:
            kind = "stalled" if is_stalled else "resumed"
            self._was_stalled = is_stalled
            if not is_stalled:
                self._listener.stall_at(self.stall_due)
        if kind:  # else what has moved is still to be published, with the next beat
            self.is_changed = self.is_touched = self.has_moved = False
        if self._was_stalled and not self._is_stalled():
            self._say()  # it moved just now, and did not know yet that it had to be said
        return kind

    @property
    def stalled_at(self) -> Part:
        """Since when the agent is stalled, by the server's time in milliseconds; empty while it is not told to be."""
        return self._server_ms_of(self._moved_at) if self._was_stalled else ""

    def fields(self) -> Fields:
        """Return what changes over an agent's life, as it is now."""
        slot = self._slot
        return {
            "status": self._status(),
            "progress": repr(slot.progress),
            "attempt": slot.attempt,
            "stage": slot.stage or "",
            "tier": slot.tier or "",
            "note": slot.note or "",
            "activity": self._activity(),
            "cost": repr(self._cost) if self._cost else "",
            "progress_at": self._server_ms_of(self._moved_at),
            "stalled_at": self.stalled_at,
            "stall_after": "" if self._limit is None else int(self._limit * 1000),
            "stage_started_at": "" if slot.since is None else self._server_ms_of(slot.since),
        }

    def _say(self) -> None:
        if not self.is_changed and self._is_published:
            self.is_changed = True
            self._listener.status_soon()

    def _is_stalled(self) -> bool:
        if self._limit is None or self._waiting:
            return False
        return clock.monotonic() - self._moved_at >= self._limit

    def _status(self) -> AgentStatus:
        if self._waiting:
            return AgentStatus.WAITING
        return AgentStatus.STARTING if self._is_published and not self._began else AgentStatus.RUNNING

    def _activity(self) -> str:
        if self._did:
            return " ".join(self._did)
        slot = self._slot
        if not self._began:
            return ""
        where = "" if slot.stage is None else f" stage {slot.stage}" + (f", try {slot.attempt}" * (slot.attempt > 1))
        if slot.note:
            return f"said: {slot.note}"
        if slot.act == "ended":
            return f"ended{where}"
        if self._moved_at == slot.since or (slot.stage is None and not slot.progress):
            return f"began{where or ' work'}"
        return f"reached {slot.progress:.0%}" + (f" at{where}" if where else "")

    def _server_ms_of(self, moment: float) -> int:
        return int(self._listener.server_ms() - (clock.monotonic() - moment) * 1000)
