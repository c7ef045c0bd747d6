"""The table of agents, and the lines that say what changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from attune_dsl.cli import formats, style
from attune_dsl.cli.columns import Column, table
from attune_dsl.model import AgentRecord

_COLUMNS = (
    Column("", 0),
    Column("agent", 0, least=24),
    Column("workflow", 5),
    Column("status", 0),
    Column("stage", 2, least=12),
    Column("progress", 1, justify="right"),
    Column("beat", 3, justify="right"),
    Column("moved", 4, justify="right"),
    Column("host", 7),
    Column("pid", 6, justify="right"),
    Column("remark", 8, least=16),
)


def in_order(agents: Sequence[AgentRecord]) -> list[AgentRecord]:
    """Sort for people: the living by name, then the lost, who did not end, then the ended, the latest first."""
    return sorted(agents, key=lambda a: (a.status.is_final, -_ended_at(a) if a.status.is_final else 0, a.agent_id))


def _ended_at(agent: AgentRecord) -> float:
    return math.inf if agent.ended_at is None else agent.ended_at


def agent_table(agents: Sequence[AgentRecord], width: int, *, unicode: bool = True) -> Table:
    """Build the table for ``width`` cells; ages are since the last beat and the last progress."""
    return table(_COLUMNS, [_cells(agent, unicode=unicode) for agent in agents], width)


def _cells(agent: AgentRecord, *, unicode: bool) -> list[Text]:
    ended = "dim" if agent.status.is_final else ""
    colour = style.colour(agent.status)
    return [
        Text(style.sign(agent.status, unicode=unicode), style=colour),
        Text(agent.agent_id, style=ended or "bold"),
        Text(agent.workflow or "", style=ended),
        Text(agent.status, style=colour),
        Text(agent.stage or "", style=ended),
        Text(formats.percent(agent.progress), style=ended),
        Text(formats.age(agent.beat_age), style=ended),
        Text(formats.age(agent.progress_age), style=ended),
        Text(agent.host or "", style="dim"),
        Text("" if agent.pid is None else str(agent.pid), style="dim"),
        Text(formats.one_line(agent.error or agent.note or ""), style="red" if agent.error else "dim"),
    ]


def summary(agents: Sequence[AgentRecord]) -> str:
    """Return ``2 live, 1 ended``."""
    live = sum(not agent.status.is_final for agent in agents)
    return f"{live:,} live, {len(agents) - live:,} ended"


def screen(agents: Sequence[AgentRecord], title: str, width: int, height: int, *, unicode: bool) -> RenderableType:
    """Return what ``--watch`` shows: a title, the table as far as there is room, and what was left out."""
    room = max(height - 3, 1)  # the title, the table's header, and one line to say how many are left out
    shown = agents[:room] if len(agents) > room else agents
    parts: list[RenderableType] = [Text(title, style="dim", no_wrap=True, overflow="ellipsis")]
    if not agents:
        parts.append(Text("no agents"))
    else:
        parts.append(agent_table(shown, width, unicode=unicode))
    if len(shown) < len(agents):
        parts.append(Text(f"{len(agents) - len(shown):,} more", style="dim"))
    return Group(*parts)


State = tuple[Any, ...]


def state(agent: AgentRecord) -> State:
    """What has to differ for a change to be worth a line."""
    return agent.status, agent.stage, agent.attempt, formats.percent(agent.progress), agent.note, agent.error


def change_line(agent: AgentRecord) -> str:
    """Describe an agent on one line, for ``--watch`` into a pipe."""
    attempt = f"try {agent.attempt}" if (agent.attempt or 1) > 1 else ""
    parts = [agent.agent_id, str(agent.status), agent.stage, attempt, formats.percent(agent.progress)]
    remark = formats.one_line(agent.error or agent.note or "")
    return "  ".join(part for part in [*parts, remark] if part)
