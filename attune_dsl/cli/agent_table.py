"""The table of agents, and the lines that say what changed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from attune_dsl.cli import formats, style
from attune_dsl.cli.columns import Column, table
from attune_dsl.model import AgentRecord, AgentStatus

_COLUMNS = (
    Column("", 0),
    Column("agent", 0, least=16),
    Column("name", 8, least=12),
    Column("workflow", 6, least=8),
    Column("status", 0),
    Column("stage", 2, least=14),
    Column("progress", 1, justify="right"),
    Column("beat", 5, justify="right"),
    Column("moved", 3, justify="right"),
    Column("cost", 7, justify="right"),
    Column("host", 10, least=16),
    Column("pid", 9, justify="right"),
    Column("remark", 4, least=28),
)

_WIDE: Final = 100
"""Cells of a window in which there is room for whole words."""

_LIVE: Final = 3
_RANKS: Final = {"lost": 0, "stalled": 1, "failed": 2, "aborted": 4, "cancelled": 5, "completed": 6}
"""Where a state stands in the order of trouble; those that are not named are alive and well."""


def in_order(agents: Iterable[AgentRecord]) -> list[AgentRecord]:
    """Sort for people, trouble first: the lost, the stalled, the failed, the living by name, the others that ended.

    Those that ended stand with the latest first, the stalled with the one first that has stood still for longest.
    """
    return sorted(agents, key=_place)


def _place(agent: AgentRecord) -> tuple[int, float, str, int]:
    rank = _RANKS.get(agent.state, _LIVE)
    when = 0.0
    if agent.is_stalled:
        when = agent.stalled_at or 0.0
    elif agent.status.is_final:
        when = -math.inf if agent.ended_at is None else -agent.ended_at
    return rank, when, agent.agent_id, agent.epoch


def agent_table(agents: Sequence[AgentRecord], width: int, *, unicode: bool = True) -> Table:
    """Build the table for ``width`` cells; ages are since the last beat and the last progress."""
    is_wide = width >= _WIDE
    return table(_COLUMNS, [_cells(agent, unicode=unicode, is_wide=is_wide) for agent in agents], width)


def _cells(agent: AgentRecord, *, unicode: bool, is_wide: bool) -> list[Text]:
    ended = "dim" if agent.status.is_final else ""
    colour = style.colour(agent.state)
    texts = [
        (style.sign(agent.state, unicode=unicode), colour),
        (agent.agent_id, ended or "bold"),
        (agent.display_name, ended),
        (agent.workflow, ended),
        (_state(agent, is_wide=is_wide), colour),
        (agent.stage, ended),
        (formats.percent(agent.progress), ended),
        (formats.age(agent.beat_age), ended),
        (formats.age(agent.progress_age), ended),
        (formats.cost(agent.cost), ended),
        (agent.host, "dim"),
        ("" if agent.pid is None else str(agent.pid), "dim"),
        (remark(agent), "red" if agent.error else "dim"),
    ]
    return [Text(formats.one_line(text or ""), style=look) for text, look in texts]


def _state(agent: AgentRecord, *, is_wide: bool) -> str:
    """Return the state; where it is trouble that lasts, with for how long; and whether it should have stopped."""
    age = {"lost": agent.beat_age, "stalled": agent.progress_age}.get(agent.state)
    state = f"{agent.state} {formats.about(age)}".rstrip()
    if not _should_stop(agent):
        return state
    return f"{state}, abort asked" if is_wide else f"{state}, abort"


def _should_stop(agent: AgentRecord) -> bool:
    """Whether the agent was asked to stop and has not ended yet."""
    return agent.abort is not None and not agent.status.is_final


def remark(agent: AgentRecord) -> str:
    """Return what there is to say: an abort that it has not followed yet, an error, what it last did, or its note.

    What it last did is of interest where it moves no more.
    """
    if _should_stop(agent):
        return f"abort: {agent.abort}"
    if agent.error or (agent.status in (AgentStatus.STARTING, AgentStatus.RUNNING) and not agent.is_stalled):
        return agent.error or agent.note or ""
    if agent.status.is_final and agent.status is not AgentStatus.LOST:
        return agent.note or ""
    return agent.activity or agent.note or ""


def summary(agents: Iterable[AgentRecord]) -> str:
    """Return ``1 lost, 1 stalled, 2 live, 1 ended``; trouble is named only where there is some."""
    states = Counter(agent.state for agent in agents)
    trouble = [(states.pop(state, 0), state) for state in ("lost", "stalled", "failed")]
    ended = sum(states.pop(state, 0) for state in ("aborted", "cancelled", "completed"))
    counts = [pair for pair in trouble if pair[0]] + [(states.total(), "live"), (ended, "ended")]
    return ", ".join(f"{count:,} {state}" for count, state in counts)


def screen(
    agents: Sequence[AgentRecord],
    title: Text,
    width: int,
    height: int,
    *,
    unicode: bool,
    now: Callable[[AgentRecord], AgentRecord] = lambda agent: agent,
) -> RenderableType:
    """Return what ``--watch`` shows: a title, the table as far as there is room, and what was left out.

    ``now`` brings the ages of a record up to date; it is asked only for those that are shown.
    """
    room = max(height - 3, 1)  # the title, the table's header, and one line to say how many are left out
    shown = [now(agent) for agent in (agents[:room] if len(agents) > room + 1 else agents)]
    parts: list[RenderableType] = [title]
    if not agents:
        parts.append(Text("no agents"))
    else:
        parts.append(agent_table(shown, width, unicode=unicode))
    if len(shown) < len(agents):
        parts.append(Text(f"{len(agents) - len(shown):,} more", style="dim"))
    return Group(*parts)


def change_line(at: float, kind: str, agent: AgentRecord) -> str:
    """Describe a change on one line, for ``--watch`` into a pipe; ``at`` is in seconds since the epoch."""
    attempt = f"try {agent.attempt}" if (agent.attempt or 1) > 1 else ""
    facts = [agent.agent_id, agent.state, agent.stage, attempt, formats.percent(agent.progress), remark(agent)]
    return "  ".join([formats.moment(at), f"{kind:<7}", *(formats.one_line(fact) for fact in facts if fact)])
