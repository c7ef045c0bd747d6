"""``agents --watch``: a live table on a terminal, one line a change in a pipe.

The store is not asked again and again: changes come as they happen, and ages tick here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

import click
from attrs import evolve
from rich.console import Console
from rich.live import Live
from rich.text import Text

from attune_dsl import clock
from attune_dsl.cli import agent_table, style
from attune_dsl.cli.agent_json import agent_object, encode
from attune_dsl.cli.options import say
from attune_dsl.exceptions import StoreUnavailable

if TYPE_CHECKING:
    from attune_dsl.cli.agent_select import Selection
    from attune_dsl.coordination.monitor import Changes
    from attune_dsl.model import AgentChange, AgentRecord

Key = tuple[str, int]
"""Agent id and epoch: one incarnation of an agent."""

TICK: Final = 1.0
"""Seconds after which ages are drawn anew though nothing has changed."""

FRAME: Final = 0.1
"""Seconds between two drawings, however many changes there are."""


class Roster:
    """The agents that changes tell of, each with how old what is known of it has become."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._read: dict[str, tuple[AgentRecord, float]] = {}
        self._is_noted = False
        self.trouble = ""
        """Why all this is not up to date; empty if it is."""
        self._noted()

    def next(self, timeout: float) -> list[AgentChange]:
        """Wait ``timeout`` seconds at most for changes. A store that is out of reach is :attr:`trouble`, no error."""
        begun = clock.monotonic()
        try:
            news = self._changes.next(timeout)
        except StoreUnavailable as error:
            self.trouble = f"not up to date: {error}"
            _pause(timeout - (clock.monotonic() - begun))
            return []
        self.trouble = ""
        self._is_noted = False
        return news

    def _noted(self) -> dict[str, tuple[AgentRecord, float]]:
        """Return each record with when it was read; one that is still the same object was not read again.

        Of an agent id that has been used again only the latest incarnation counts, as in a listing.
        """
        if not self._is_noted:
            now, old = clock.monotonic(), self._read
            agents = {agent_id: agent for (agent_id, _), agent in sorted(self._changes.agents.items(), key=_by_epoch)}
            self._read = {
                agent_id: known if (known := old.get(agent_id)) and known[0] is agent else (agent, now)
                for agent_id, agent in agents.items()
            }
            self._is_noted = True
        return self._read

    def selected(self, selection: Selection) -> list[AgentRecord]:
        """Return those that fit now, as they were read, in order."""
        now = clock.monotonic()
        return agent_table.in_order(agent for agent, at in self._noted().values() if selection.matches(agent, now - at))

    def aged(self, agent: AgentRecord) -> AgentRecord:
        """Return a record with its ages as they are now.

        How long ago one that lives last beat is not known here, because a beat is no change.
        """
        elapsed = clock.monotonic() - self._noted()[agent.agent_id][1]
        beat = _later(agent.beat_age, elapsed) if agent.status.is_final else None
        return evolve(agent, beat_age=beat, progress_age=_later(agent.progress_age, elapsed))


def _by_epoch(item: tuple[Key, AgentRecord]) -> int:
    return item[0][1]


def _key(agent: AgentRecord) -> Key:
    return agent.agent_id, agent.epoch


def _later(age: float | None, elapsed: float) -> float | None:
    return None if age is None else age + elapsed


def _pause(seconds: float) -> None:
    """Let time pass where the store was given up on early, so that asking again is not a busy loop."""
    if seconds > 0:
        import threading

        threading.Event().wait(seconds)


def draw(changes: Changes, selection: Selection, where: str) -> NoReturn:
    """Draw the table on the whole terminal until Ctrl-C: at each change, and once a second.

    A terminal that cannot move its cursor gets lines instead.
    """
    console = Console(highlight=False)
    if console.is_dumb_terminal:
        write(changes, selection, as_json=False)
    unicode = style.has_unicode(console)
    roster = Roster(changes)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            agents = roster.selected(selection)
            title = _title(agents, selection, where, roster.trouble)
            width, height = console.size
            drawn = agent_table.screen(agents, title, width, height, unicode=unicode, now=roster.aged)
            live.update(drawn, refresh=True)
            _until_worth_drawing(roster)


def _until_worth_drawing(roster: Roster) -> None:
    drawn = clock.monotonic()
    due = drawn + TICK
    while (left := due - clock.monotonic()) > 0:
        if roster.next(left):
            due = min(due, drawn + FRAME)


def _title(agents: list[AgentRecord], selection: Selection, where: str, trouble: str) -> Text:
    facts = [agent_table.summary(agents), selection.as_options(), where, "Ctrl-C ends"]
    text = trouble or "   ".join(fact for fact in facts if fact)
    return Text(text, style="yellow" if trouble else "dim", no_wrap=True, overflow="ellipsis")


def write(changes: Changes, selection: Selection, *, as_json: bool) -> NoReturn:
    """Write a line for each agent that is there, then for each change, until Ctrl-C."""
    roster = Roster(changes)
    lines = Lines(selection, as_json=as_json)
    while True:
        lines.catch_up(roster)
        for change in roster.next(TICK):
            lines.tell(change)
        lines.say_trouble(roster.trouble)


class Lines:
    """Writes changes of the agents that are asked about, one a line; also the change with which one ceases to be."""

    def __init__(self, selection: Selection, *, as_json: bool) -> None:
        self._selection = selection
        self._as_json = as_json
        self._fitting: set[Key] | None = None
        self._said = ""

    def catch_up(self, roster: Roster) -> None:
        """Write those that fit without a change: at the beginning, and once they have not moved for long enough."""
        told = self._fitting
        if told is not None and self._selection.stale is None:
            return
        agents = roster.selected(self._selection)
        for agent in agents:
            if told is None:
                self._write(clock.wall(), "listed", agent)
            elif _key(agent) not in told:
                self._write(clock.wall(), "stale", roster.aged(agent))
        self._fitting = {_key(agent) for agent in agents}

    def tell(self, change: AgentChange) -> None:
        """Write a change if its agent fits, or did so until now."""
        fitting = self._fitting = self._fitting or set()
        fits = self._selection.matches(change.agent)
        if fits or _key(change.agent) in fitting:
            self._write(change.at, change.kind.value, change.agent)
        (fitting.add if fits else fitting.discard)(_key(change.agent))

    def say_trouble(self, trouble: str) -> None:
        """Say on standard error that the store is out of reach, and when it is back, each once."""
        if bool(trouble) != bool(self._said):
            say(trouble or "up to date again")
        self._said = trouble

    def _write(self, at: float, kind: str, agent: AgentRecord) -> None:
        if self._as_json:
            click.echo(encode({"kind": kind, "at": at, "agent": agent_object(agent)}))
        else:
            click.echo(agent_table.change_line(at, kind, agent))
