"""The table of runs, and the page about one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from attune_dsl import clock
from attune_dsl.cli import event_lines, formats, style
from attune_dsl.cli.agent_show import LONG, NOT_RUN, PENDING
from attune_dsl.cli.columns import Column, table
from attune_dsl.cli.event_words import short
from attune_dsl.coordination.runs import RunSummary
from attune_dsl.events import Event
from attune_dsl.model import AgentStatus, StageStatus, StageSummary

_COLUMNS: Final = (
    Column("", 0),
    Column("run", 0),
    Column("agent", 0, least=10),
    Column("workflow", 7, least=8),
    Column("status", 0),
    Column("started", 4),
    Column("took", 1, justify="right"),
    Column("stages", 2, justify="right"),
    Column("cost", 5, justify="right"),
    Column("error", 3, least=12),
)
_STAGES: Final = (
    Column("", 0),
    Column("stage", 0, least=12),
    Column("status", 0),
    Column("calls", 4, justify="right"),
    Column("failed", 3, justify="right"),
    Column("tries", 5, justify="right"),
    Column("tier", 7),
    Column("started", 6, justify="right"),
    Column("took", 1, justify="right"),
    Column("error", 2, least=16),
)
_WIDE: Final = 110
"""Cells of a terminal in which there is room for whole times."""
_SHOWN: Final = 50
"""Signals and waits that the page has at most: the first of them."""
_ROWS: Final = 3


def run_table(runs: Sequence[RunSummary], width: int, *, unicode: bool = True) -> Table:
    """Build the table for ``width`` cells."""
    is_wide = width >= _WIDE
    return table(_COLUMNS, [_cells(run, unicode=unicode, is_wide=is_wide) for run in runs], width)


def _cells(run: RunSummary, *, unicode: bool, is_wide: bool) -> list[Text]:
    colour = style.colour(run.status.value)
    texts = [
        (style.sign(run.status.value, unicode=unicode), colour),
        (short(run.run_id), "dim"),
        (run.agent_id or "", "bold"),
        (run.workflow or "", ""),
        (run.status.value, colour),
        (formats.moment(run.started_at) if is_wide else f"{formats.age(clock.wall() - run.started_at)} ago", "dim"),
        (took(run), ""),
        (f"{run.done}/{run.total}" if run.total else "", ""),
        (formats.cost(run.cost) if run.cost else "", ""),
        (run.error or run.abort or "", "red" if run.error else "dim"),
    ]
    return [Text(formats.one_line(text), style=look) for text, look in texts]


def took(run: RunSummary) -> str:
    """Return how long a run took, or has taken by this machine's clock."""
    return formats.duration(max(clock.wall() - run.started_at, 0.0) if run.duration is None else run.duration)


def page(run: RunSummary, told: Sequence[Event], width: int, *, unicode: bool = True) -> RenderableType:
    """Return everything about a run, fitted into ``width`` cells; ``told`` are its own events."""
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(no_wrap=True, style="dim")
    facts.add_column(overflow="fold")
    for title, text in _facts(run, unicode=unicode):
        if text:  # a plain string would be read as markup
            facts.add_row(title, text if isinstance(text, Text) else Text(formats.one_line(text, LONG)))
    parts: list[RenderableType] = [facts]
    rows = [*(_stage(run, each, unicode=unicode) for each in run.stages), *_not_begun(run, unicode=unicode)]
    if rows:
        parts += [Text(""), table(_STAGES, rows, width)]
    talk = list(_talk(run, told, width, unicode=unicode))
    if talk:
        parts += [Text(""), *talk]
    return Group(*parts)


def _facts(run: RunSummary, *, unicode: bool) -> list[tuple[str, Text | str]]:
    status = run.status.value
    return [
        ("run", Text(formats.one_line(run.run_id), style="bold")),
        ("agent", run.agent_id or ""),
        ("workflow", run.workflow or ""),
        ("status", Text(f"{style.sign(status, unicode=unicode)} {status}", style=style.colour(status))),
        ("error", Text(formats.one_line(run.error or "", LONG), style="red")),
        ("abort asked", run.abort or ""),
        ("progress", formats.percent(run.progress)),
        ("started", formats.moment(run.started_at)),
        ("ended", "" if run.ended_at is None else formats.moment(run.ended_at)),
        ("took" if run.ended_at is not None else "for", took(run)),
        ("planned", ", ".join(run.plan)),
        ("signals", _signals(run)),
        ("waits", f"{run.waits:,}, {formats.duration(run.waited)} in all" if run.waits else ""),
        ("emitted", f"{run.emits:,}" if run.emits else ""),
        ("cost", formats.cost(run.cost) if run.cost else ""),
        ("tokens", f"{run.tokens_in:,} in, {run.tokens_out:,} out" if run.tokens_in or run.tokens_out else ""),
        ("missing", "" if run.is_whole else "some of its events are not in the timeline"),
    ]


def _signals(run: RunSummary) -> str:
    return ", ".join(f"{count:,} {how}" for count, how in ((run.sent, "sent"), (run.received, "received")) if count)


def _stage(run: RunSummary, stage: StageSummary, *, unicode: bool) -> list[Text]:
    """One that was under way when its run ended shows how that ended."""
    state = run.status.value if stage.status is StageStatus.RUNNING else stage.status.value
    colour = style.colour(state)
    return [
        Text(style.sign(state, unicode=unicode), style=colour),
        Text(formats.one_line(stage.name)),
        Text(state, style=colour),
        Text(f"{stage.calls:,}"),
        Text(f"{stage.failures:,}" if stage.failures else "", style="red"),
        Text(f"{stage.attempts:,}"),
        Text(formats.one_line(stage.tier or ""), style="dim"),
        Text(event_lines.after(stage.started_at - run.started_at), style="dim"),
        Text(_lasted(run, stage)),
        Text(formats.one_line(stage.error or ""), style="red"),
    ]


def _lasted(run: RunSummary, stage: StageSummary) -> str:
    """Return how long the calls took that ended; for a stage under way for the first time, how long it has taken."""
    if stage.duration or stage.status is not StageStatus.RUNNING:
        return formats.duration(stage.duration)
    is_under_way = run.status is AgentStatus.RUNNING
    return formats.duration(max(clock.wall() - stage.started_at, 0.0)) if is_under_way else ""


def _not_begun(run: RunSummary, *, unicode: bool) -> Iterator[list[Text]]:
    state = PENDING if run.status is AgentStatus.RUNNING else NOT_RUN
    begun = {stage.name for stage in run.stages}
    for name in dict.fromkeys(run.plan):
        if name not in begun:
            texts = [style.sign(state, unicode=unicode), formats.one_line(name), state]
            yield [Text(text, style="dim") for text in texts] + [Text("")] * (len(_STAGES) - len(texts))


def _talk(run: RunSummary, told: Sequence[Event], width: int, *, unicode: bool) -> Iterator[Text]:
    """Yield the run's signals and waits, one a line."""
    talk = [event for event in told if event.kind.startswith(("signal.", "wait."))]
    lines = event_lines.Lines(width, unicode=unicode, since=run.started_at, rows=_ROWS, agents=False)
    yield from lines.of(talk[:_SHOWN])
    if len(talk) > _SHOWN:
        yield Text(f"{len(talk) - _SHOWN:,} more: attune-dsl events replay {short(run.run_id)} --speed max", "dim")
