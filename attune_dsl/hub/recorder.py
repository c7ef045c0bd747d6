"""What an agent has to add to the timeline, until the store is told."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import msgspec
from attrs import fields as fields_of

from attune_dsl import clock
from attune_dsl.events import DATA
from attune_dsl.store.limits import EMIT_BYTES
from attune_dsl.store.scripts import Part, Story

MOST: Final = 10_000
"""Events that an agent keeps for a store that is away, or slower than it; what comes then is dropped, and counted."""
RUSH: Final = 1_000
"""Events with which it does not wait for its next command, or for the next time at which its status is published."""
CHUNK: Final = 250
"""Events that one script call writes, at most, so that it stays below a millisecond."""
SHORT: Final = 0.05
"""Seconds up to which a wait is not told by events of its own, unless its end is one of :data:`_TELLING`."""
_TELLING: Final = frozenset({"peer_gone", "deadlock", "aborted", "unavailable"})

_NAMES: Final = {kind: tuple(one.name for one in fields_of(data)) for kind, data in DATA.items()}
_ENCODER: Final = msgspec.json.Encoder()

Noted = tuple[str, float, str | None, Any]
"""Kind, time by the monotonic clock, stage, and the values of the kind's data in the order of its fields."""


class Blocked(Protocol):
    """A wait of the agent. Times are of :func:`clock.monotonic`."""

    began_at: float
    """When it began to block; infinity before."""
    deadline: float | None
    stage: str | None
    is_told: bool

    @property
    def terms(self) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """What it is, and for what and from whom: the first fields of :class:`WaitStart`."""


class Recorder:
    """Notes what happens, and hands it over in order. Never blocks for long, never raises; safe on any thread.

    A stage boundary costs little more than an append; all else is done when the events are written.
    """

    def __init__(
        self,
        run: Part,
        workflow: Part,
        *,
        server_ms: Callable[[], float],
        soon: Callable[[], None],
        now: Callable[[], None],
        blocked: Callable[[], Iterable[Blocked]],
    ) -> None:
        """``soon`` asks that this is told with the next news of the agent, ``now`` that it is not to wait for these.

        ``run`` and ``workflow`` are empty where the agent is none; ``blocked`` returns its waits.
        """
        self._run, self._workflow = str(run), str(workflow)
        self._server_ms = server_ms
        self._soon = soon
        self._now = now
        self._blocked = blocked
        self._noted: list[Noted] = []
        self._lock = threading.Lock()
        self._open: Noted | None = None
        self._dropped = 0
        self._number = 0
        self._asked = False

    def note(self, kind: str, stage: str | None, values: Any, at: float | None = None) -> None:
        """Note that something happened, now or ``at`` (:func:`clock.monotonic`).

        ``values`` are those of the kind's data, in the order of its fields; ``None`` is left out.
        """
        noted = self._noted
        if len(noted) >= RUSH:
            if len(noted) >= MOST:
                with self._lock:
                    self._dropped += 1
                return
            self._now()
        noted.append((kind, clock.monotonic() if at is None else at, stage, values))
        if not self._asked:
            self._asked = True
            self._soon()

    def progressed(self, stage: str | None, fraction: float | None, note: str | None, run_progress: float) -> None:
        """Note progress; of what comes in a row before it is written only the latest."""
        with self._lock:
            cell = self._last("stage.progressed", stage)
            if cell is None:
                cell = self._begin("stage.progressed", stage, [None, None, run_progress])
            cell[:] = (
                cell[0] if fraction is None else fraction,
                cell[1] if note is None else note,
                run_progress,
            )

    def emitted(self, stage: str | None, kind: str, data: Any, encoded: bytes) -> None:
        """Note what the user's code emitted; texts of the kind ``chunk`` that come in a row are joined."""
        if kind != "chunk" or not isinstance(data, str):
            self.note("emit", stage, (kind, msgspec.Raw(encoded)))
            return
        with self._lock:
            cell = self._last("emit", stage)
            if cell is None or cell[2] + len(encoded) > EMIT_BYTES:
                cell = self._begin("emit", stage, [kind, [], 0])
            cell[1].append(data)
            cell[2] += len(encoded)

    def _last(self, kind: str, stage: str | None) -> Any:
        """Return what more can be added to, if that is the last that was noted."""
        last = self._open
        if last is None or last[0] != kind or last[2] != stage or not self._noted or self._noted[-1] is not last:
            return None
        return last[3]

    def _begin(self, kind: str, stage: str | None, cell: list[Any]) -> list[Any]:
        self._open = noted = (kind, clock.monotonic(), stage, cell)
        if len(self._noted) >= MOST:
            self._dropped += 1
            return cell
        self._noted.append(noted)
        if not self._asked:
            self._asked = True
            self._soon()
        return cell

    # Waits

    def wait_began(self) -> None:
        """A wait blocks: it is noted if it is not over soon."""
        if not self._asked:
            self._asked = True
            self._soon()

    def wait_ended(self, wait: Blocked, outcome: str, detail: str = "") -> float | None:
        """A wait is over, and how; return for how many seconds it blocked, ``None`` if it did not."""
        if wait.began_at == math.inf:
            return None
        now = clock.monotonic()
        waited = now - wait.began_at
        with self._lock:
            was_told, wait.is_told = wait.is_told, True
        if was_told or waited >= SHORT or outcome in _TELLING:
            if not was_told:
                self._note_wait(wait)
            what, names, _ = wait.terms
            self.note("wait.ended", wait.stage, (what, outcome, waited, names, detail or None), now)
        return waited

    def _note_wait(self, wait: Blocked) -> None:
        timeout = None if wait.deadline is None else wait.deadline - wait.began_at
        self.note("wait.started", wait.stage, (*wait.terms, timeout), wait.began_at)

    def _note_long_waits(self) -> None:
        untold = [wait for wait in self._blocked() if not wait.is_told and wait.began_at != math.inf]
        if not untold:
            return
        with self._lock:
            now = clock.monotonic()
            due = [wait for wait in untold if not wait.is_told and now - wait.began_at >= SHORT]
            for wait in due:
                wait.is_told = True
        for wait in due:
            self._note_wait(wait)
        if len(due) < len(untold):
            self.wait_began()

    # What is handed over

    @property
    def chunks(self) -> int:
        """How many times :meth:`pop` has to be called for all that was noted until now."""
        self._asked = False
        self._note_long_waits()
        return -(-len(self._noted) // CHUNK) or int(self._dropped > 0)

    def pop(self) -> Story | None:
        """Hand over the oldest events, at most :data:`CHUNK`; ``None`` if there are none.

        Called only by whoever writes to the store, so that events are numbered in the order in which they are written.
        """
        with self._lock:
            taken = self._noted[:CHUNK]
            del self._noted[: len(taken)]
            if self._dropped and not self._noted:
                why = "they could not be told to the store"
                taken.append(("timeline.gap", clock.monotonic(), None, (why, self._dropped)))
                self._dropped = 0
            if not self._noted:
                self._open = None
        if not taken:
            return None
        first = self._number + 1
        self._number += len(taken)
        ahead = self._server_ms() - clock.monotonic() * 1000
        entries = [
            (kind, int(at * 1000 + ahead), stage or "", _encoded(kind, values)) for kind, at, stage, values in taken
        ]
        return Story(self._run, self._workflow, first, entries)

    def refused(self, story: Story) -> None:
        """The store did not take these: their agent was lost meanwhile, say."""
        with self._lock:
            self._dropped += len(story.entries)


def _encoded(kind: str, values: Any) -> bytes:
    if kind == "emit" and isinstance(values, list):
        values = (values[0], "".join(values[1]))
    data = {name: value for name, value in zip(_NAMES[kind], values, strict=False) if value is not None}
    try:
        return _ENCODER.encode(data)
    except UnicodeEncodeError:
        return _ENCODER.encode({name: _readable(value) for name, value in data.items()})


def _readable(value: Any) -> Any:
    """Return text without what is not Unicode."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value
