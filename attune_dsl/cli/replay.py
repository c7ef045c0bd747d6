"""``events replay``: a run's story in the terminal, as it happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from rich.text import Text

from attune_dsl import clock
from attune_dsl.cli import formats, style
from attune_dsl.cli.event_tail import pause
from attune_dsl.cli.event_words import short
from attune_dsl.cli.run_table import took
from attune_dsl.model import AgentStatus

if TYPE_CHECKING:
    from attune_dsl.coordination.runs import RunSummary
    from attune_dsl.events import Event

ROWS: Final = 12
"""Lines that one event of a story has at most."""

AT_ONCE: Final = 0.0
"""The speed that makes no pauses."""


def play(
    story: Sequence[Event],
    write: Callable[[Sequence[Event]], None],
    *,
    speed: float = 1.0,
    max_pause: float = 2.0,
    wait: Callable[[float], None] = pause,
) -> None:
    """Write a story's events, ``speed`` times as fast as they happened, with pauses of ``max_pause`` seconds at most.

    ``wait`` is called with the seconds that are left until the next one is due.
    """
    if speed == AT_ONCE:
        write(story)
        return
    due, last = clock.monotonic(), story[0].at
    for event in story:
        due += min(max(event.at - last, 0.0) / speed, max_pause)
        last = max(last, event.at)
        left = due - clock.monotonic()
        if left > 0:
            wait(left)
        write([event])


def header(run: RunSummary, *, unicode: bool = True) -> list[Text]:
    """Return what stands above a story: which run, when it began, and how it stands."""
    agent = "" if run.agent_id in {None, run.workflow} else f"agent {formats.one_line(run.agent_id or '')}"
    return [
        Text(formats.one_line(run.workflow or run.agent_id or "a workflow"), style="bold"),
        *_dim(f"run {short(run.run_id)}", agent, formats.moment(run.started_at)),
        _outcome(run, unicode=unicode),
    ]


def footer(run: RunSummary, *, unicode: bool = True) -> list[Text]:
    """Return what stands below a story: how it ended, and its sums."""
    sums = _dim(
        f"stages {run.done}/{run.total}" if run.total else "",
        f"signals {run.sent:,} sent, {run.received:,} received" if run.sent or run.received else "",
        f"waited {formats.duration(run.waited)}" if run.waits else "",
        f"cost {formats.cost(run.cost)}" if run.cost else "",
        "" if run.is_whole else "some of its events are not in the timeline",
    )
    return [_outcome(run, unicode=unicode), *sums]


def _dim(*facts: str) -> list[Text]:
    return [Text(fact, style="dim") for fact in facts if fact]


def _outcome(run: RunSummary, *, unicode: bool) -> Text:
    status = run.status.value
    lasted = f"for {took(run)}" if run.status is AgentStatus.RUNNING else f"after {took(run)}"
    return Text(f"{style.sign(status, unicode=unicode)} {status} {lasted}", style=style.colour(status))
