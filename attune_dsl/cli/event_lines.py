"""Events as aligned lines: when, whose, on which stage, and what happened."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from attune_dsl import events
from attune_dsl.cli import formats
from attune_dsl.cli.event_words import mark, words
from attune_dsl.events import Event

_GAP: Final = "  "
_APART: Final = "   "
_LEAST: Final = 16
"""Cells in which it is worth while to go on in another line."""
_STAGES: Final = 70
"""Cells of a terminal from which on stages have a column; else what happened to one names it."""
_MILLISECONDS: Final = 100
"""Cells of a terminal from which on times have milliseconds."""
_FINE: Final = 999.995
"""Seconds from the beginning up to which hundredths are of interest."""
_LEAD: Final = re.compile(r"(try \d+ )?[^ ,]*")
"""What is in colour of a line that is of no special interest."""
_LOUD: Final = frozenset({"agent.lost", "agent.fenced", "agent.aborted", "agent.stalled", "timeline.gap"})
_BAD: Final = frozenset({"failed", "aborted", "cancelled"})


class Lines:
    """Makes lines that stand under each other: columns grow with what comes, as far as ``width`` cells have room.

    ``width`` is ``None`` in a pipe, where nothing is left out and each line says its date. ``since`` is the moment, in
    seconds since the epoch, from which times are counted instead of by the clock on the wall. What does not fit into
    one line goes on below, in up to ``rows`` lines, and is cut there. Without ``agents`` they are not named.
    """

    def __init__(
        self,
        width: int | None,
        *,
        unicode: bool = True,
        since: float | None = None,
        rows: int = 1,
        agents: bool = True,
    ) -> None:
        self._width = width
        self._unicode = unicode
        self._since = since
        self._dots = "…" if unicode else "~"
        self._rows = rows
        self._has_agents = agents
        self._day = ""
        self._agents = self._stages = 0
        self._has_stages = width is None or width >= _STAGES

    def of(self, told: Sequence[Event]) -> Iterator[Text]:
        """Yield the lines of events that come together; on a terminal, also one for each new day."""
        self.make_room(told)
        for event in told:
            yield from self._new_day(event)
            yield from self._line(event)

    def make_room(self, told: Iterable[Event]) -> None:
        """Let columns be as wide as these events need it, if they are known before they are shown."""
        width = self._width
        agents, stages = (1_000, 1_000) if width is None else (max(width // 6, 8), max(width // 7, 8))
        for event in told:
            if self._has_agents:
                self._agents = max(self._agents, min(cell_len(_name(event.agent)), agents))
            if self._has_stages:
                self._stages = max(self._stages, min(cell_len(_name(event.stage)), stages))

    def _new_day(self, event: Event) -> Iterator[Text]:
        if self._width is None or self._since is not None:
            return
        day = formats.moment(event.at).partition(" ")[0]
        if day != self._day:
            self._day = day
            rule = "──" if self._unicode else "--"
            yield Text(f"{rule} {day} {rule}", style="dim")

    def _line(self, event: Event) -> Iterator[Text]:
        sign = mark(event)
        head = Text()
        head.append(self._when(event.at), style="dim").append(_GAP)
        head.append(sign.unicode if self._unicode else sign.ascii, style=sign.colour).append(" ")
        if self._agents:
            head.append(self._cell(_name(event.agent), self._agents), style="bold").append(_GAP)
        if self._stages:
            head.append(self._cell(_name(event.stage), self._stages)).append(_GAP)
        yield from self._joined(head, self._what(event, sign.colour))

    def _joined(self, head: Text, what: Text) -> Iterator[Text]:
        if self._width is None:
            yield head + what
            return
        indent = head.cell_len
        room = self._width - indent
        rows = list(what.wrap(Console(width=room), room)) if self._rows > 1 and room >= _LEAST else [what]
        if len(rows) > self._rows:
            rows[self._rows - 1 :] = [_rest(what, rows[: self._rows - 1])]
        for number, row in enumerate(rows):
            line = Text(" " * indent) + row if number else head + row
            line.rstrip()
            if line.cell_len > self._width:
                line.truncate(self._width - 1, overflow="crop")
                line.append(self._dots)
            yield line

    def _cell(self, text: str, width: int) -> str:
        if cell_len(text) > width:
            text = f"{set_cell_size(text, width - 1)}{self._dots}"
        return set_cell_size(text, width)

    def _when(self, at: float) -> str:
        if self._since is not None:
            return after(at - self._since).rjust(8)
        day, _, seconds = formats.moment(at).partition(" ")
        if self._width is None or self._width >= _MILLISECONDS:
            seconds = f"{seconds}.{int(at * 1000) % 1000:03d}"
        return f"{day} {seconds}" if self._width is None else seconds

    def _what(self, event: Event, colour: str) -> Text:
        """What happened, in colour as far as it is of interest: all of what is bad or big, else the first word."""
        said = words(event)
        text = Text(said)
        end = len(said) if _is_loud(event) else _lead(said)
        if colour not in ("", "default"):
            text.stylize(colour, 0, end)
        if isinstance(event.data, events.RunStart | events.RunEnd):
            text.stylize("bold")
        if not self._has_stages and event.stage and event.kind.startswith("stage."):
            return Text(f"{_name(event.stage)} ") + text
        return text


def after(seconds: float) -> str:
    """Return how long after the beginning something was."""
    since = max(seconds, 0.0)
    return f"+{since:.2f}s" if since < _FINE else f"+{formats.age(since)}"


def packed(facts: Sequence[Text], width: int | None) -> list[Text]:
    """Return facts on as few lines as ``width`` cells allow; a fact that is longer than a line has one of its own."""
    lines: list[Text] = []
    for fact in facts:
        if lines and (width is None or lines[-1].cell_len + len(_APART) + fact.cell_len <= width):
            lines[-1] = Text.assemble(lines[-1], _APART, fact)
        else:
            lines.append(fact)
    return lines


def _rest(text: Text, rows: Sequence[Text]) -> Text:
    """Return what follows in ``text`` behind rows that were wrapped off it, and have lost the spaces at their ends."""
    plain, at = text.plain, 0
    for row in rows:
        at += len(row.plain)
        at += len(plain[at:]) - len(plain[at:].lstrip(" "))
    return text[at:]


def _lead(said: str) -> int:
    found = _LEAD.match(said)
    return found.end() if found else 0


def _is_loud(event: Event) -> bool:
    match event.data:
        case events.RunStart():
            return True
        case events.RunEnd(status=status) | events.StageEnd(status=status):
            return status in _BAD or isinstance(event.data, events.RunEnd)
        case _:
            return event.kind in _LOUD


def _name(text: str | None) -> str:
    return formats.one_line(text or "")
