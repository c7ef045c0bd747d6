"""``agents show``: everything about one agent, and what its run did so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from attune_dsl import clock
from attune_dsl.cli import formats, style
from attune_dsl.cli.agent_json import encode
from attune_dsl.cli.columns import Column, table
from attune_dsl.model import AgentRecord, StageSummary

_COLUMNS = (
    Column("", 0),
    Column("stage", 0, least=12),
    Column("status", 0),
    Column("calls", 4, justify="right"),
    Column("failed", 3, justify="right"),
    Column("tries", 5, justify="right"),
    Column("tier", 7),
    Column("started", 6),
    Column("took", 1, justify="right"),
    Column("error", 2, least=16),
)

LONG = 10_000
"""Characters of one line of a fact; metadata has 8 KiB at most."""

PENDING, NOT_RUN = "pending", "not run"


class Row(NamedTuple):
    """One stage of the history; ``ran`` is ``None`` for one that has not ended any call yet."""

    name: str
    state: str
    ran: StageSummary | None = None
    started_at: float | None = None
    attempt: int | None = None


def history(agent: AgentRecord, ran: Sequence[StageSummary]) -> list[Row]:
    """Return the stages that have run, then the one that runs now, then the planned ones that have not begun."""
    rows = [Row(summary.name, _state(agent, summary), summary, summary.started_at) for summary in ran]
    known = {row.name for row in rows}
    if agent.stage is not None and agent.stage not in known:
        rows.append(Row(agent.stage, _state_of_current(agent), None, agent.stage_started_at, agent.attempt))
        known.add(agent.stage)
    missing = NOT_RUN if agent.status.is_final else PENDING
    return rows + [Row(name, missing) for name in dict.fromkeys(agent.stages) if name not in known]


def _state(agent: AgentRecord, summary: StageSummary) -> str:
    """Return the status of a stage; one that was under way when its agent ended shows how that ended."""
    return _state_of_current(agent) if summary.status == "running" else summary.status.value


def _state_of_current(agent: AgentRecord) -> str:
    return agent.state if agent.status.is_final or agent.is_stalled else "running"


def page(agent: AgentRecord, ran: Sequence[StageSummary], width: int, *, unicode: bool = True) -> RenderableType:
    """Return everything about an agent, fitted into ``width`` cells."""
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(no_wrap=True, style="dim")
    facts.add_column(overflow="fold")
    for title, text in _facts(agent, unicode=unicode):
        if text:  # a plain string would be read as markup
            facts.add_row(title, text if isinstance(text, Text) else Text(_printable(text)))
    rows = history(agent, ran)
    if not rows:
        return facts
    return Group(facts, Text(""), table(_COLUMNS, [_cells(agent, row, unicode=unicode) for row in rows], width))


def _facts(agent: AgentRecord, *, unicode: bool) -> list[tuple[str, Text | str]]:
    pid = "" if agent.pid is None else f"pid {agent.pid}"
    return [
        ("agent", Text(formats.one_line(agent.agent_id), style="bold")),
        ("name", agent.display_name or ""),
        ("status", _status(agent, unicode=unicode)),
        ("stage", _stage(agent)),
        ("progress", formats.percent(agent.progress)),
        ("last did", agent.activity or ""),
        ("note", "" if agent.note and agent.note in (agent.activity or "") else agent.note or ""),
        ("error", Text(_printable(agent.error or ""), style="red")),
        ("abort asked", agent.abort or ""),
        ("exit code", "" if agent.exit_code is None else str(agent.exit_code)),
        ("beat", _ago(agent.beat_age)),
        ("moved", _moved(agent)),
        ("started", _moment(agent.started_at)),
        ("ended", _moment(agent.ended_at)),
        ("workflow", agent.workflow or ""),
        ("planned", ", ".join(agent.stages)),
        ("run id", agent.run_id or ""),
        ("epoch", str(agent.epoch)),
        ("tier", agent.tier or ""),
        ("cost", formats.cost(agent.cost)),
        ("host", ", ".join(part for part in (agent.host, pid) if part)),
        ("metadata", "\n".join(f"{key}: {encode(value).decode()}" for key, value in agent.metadata.items())),
    ]


def _printable(text: str) -> str:
    return "\n".join(formats.one_line(line, LONG) for line in text.splitlines())


def _status(agent: AgentRecord, *, unicode: bool) -> Text:
    colour = style.colour(agent.state)
    text = Text(f"{style.sign(agent.state, unicode=unicode)} {agent.state}", style=colour)
    since = _since(agent)
    if since is not None:
        text.append(f" since {formats.moment(since)}")
    return text


def _since(agent: AgentRecord) -> float | None:
    if agent.is_stalled:
        return agent.stalled_at
    if agent.state == "lost" and agent.beat_age is not None:
        return clock.wall() - agent.beat_age
    return None


def _stage(agent: AgentRecord) -> str:
    attempt = f" (try {agent.attempt})" if agent.stage and (agent.attempt or 1) > 1 else ""
    return f"{agent.stage or ''}{attempt}"


def _ago(age: float | None) -> str:
    return "" if age is None else f"{formats.age(age)} ago"


def _moved(agent: AgentRecord) -> str:
    limit = "" if agent.stall_after is None else f" (stalls after {formats.duration(agent.stall_after)})"
    return f"{_ago(agent.progress_age)}{'' if agent.status.is_final else limit}"


def _moment(at: float | None) -> str:
    return "" if at is None else formats.moment(at)


def _cells(agent: AgentRecord, row: Row, *, unicode: bool) -> list[Text]:
    colour = style.colour(row.state)
    has_begun = row.state not in (PENDING, NOT_RUN)
    ran = row.ran
    return [
        Text(style.sign(row.state, unicode=unicode), style=colour),
        Text(formats.one_line(row.name), style="" if has_begun else "dim"),
        Text(row.state, style=colour),
        Text("" if ran is None else f"{ran.calls:,}"),
        Text("" if ran is None or not ran.failures else f"{ran.failures:,}", style="red"),
        Text(_number(row.attempt if ran is None else ran.attempts)),
        Text((ran.tier if ran else agent.tier if has_begun else None) or "", style="dim"),
        Text(_moment(row.started_at), style="dim"),
        Text(_took(agent, row)),
        Text(formats.one_line(ran.error or "") if ran else "", style="red"),
    ]


def _number(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _took(agent: AgentRecord, row: Row) -> str:
    """Return how long the calls took that ended; for a stage under way for the first time, how long it has taken."""
    if row.ran is not None and row.ran.duration:
        return formats.duration(row.ran.duration)
    if row.started_at is None or agent.status.is_final:
        return "" if row.ran is None else formats.duration(row.ran.duration)
    return formats.duration(max(clock.wall() - row.started_at, 0.0))
