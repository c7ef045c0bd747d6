"""A story as things that last, happen and reach over: what every picture of it is drawn from."""

from __future__ import annotations

from typing import Literal, TypeAlias

from attrs import frozen

from attune_dsl.events import Event

What: TypeAlias = Literal["run", "stage", "attempt", "wait"]


@frozen(kw_only=True)
class Bar:
    """Something that lasted. Times are seconds since the scene's origin; ``events`` are places in its events.

    ``status`` is that of the run or stage, or a wait's outcome; ``running`` (``waiting``) if its end is not told.
    ``item`` is the index within a ``map``; ``part_of`` is the place of the bar that it happened in.
    """

    what: What
    name: str
    agent: str
    run: str | None
    start: float
    end: float
    status: str
    events: tuple[int, ...]
    call: int | None = None
    attempt: int | None = None
    item: int | None = None
    part_of: int | None = None


@frozen(kw_only=True)
class Arrow:
    """A signal on its way. ``sent`` and ``received`` are places in the scene's events; ``None`` where that is not told.

    ``end`` is ``received``, ``expired``, or ``open`` if nothing is told of what became of it.
    """

    type: str
    source: str
    target: str | None
    sent: int | None
    received: int | None
    end: str


@frozen(kw_only=True)
class RunFacts:
    """What is known of a run. Times are seconds since the epoch, ``duration`` seconds; ``None`` is not told."""

    run: str
    agent: str | None
    workflow: str | None
    status: str
    started_at: float | None
    ended_at: float | None
    duration: float | None
    cost: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    error: str | None = None


@frozen(kw_only=True)
class Scene:
    """A story to draw.

    ``times`` has the time of each event in seconds since ``origin`` (seconds since the epoch); no two are equal, and
    those of one millisecond follow each other as in the timeline. ``agents`` are in the order of their lanes. ``end``
    is when the last thing happened.
    """

    events: tuple[Event, ...]
    times: tuple[float, ...]
    origin: float
    end: float
    agents: tuple[str, ...]
    bars: tuple[Bar, ...]
    arrows: tuple[Arrow, ...]
    runs: tuple[RunFacts, ...]

    @property
    def gaps(self) -> tuple[Event, ...]:
        """Where events are missing."""
        return tuple(event for event in self.events if event.kind == "timeline.gap")
