"""``events tail``: events as lines, once or as they happen."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NoReturn

import click

from attune_dsl import clock
from attune_dsl.cli.options import say
from attune_dsl.exceptions import StoreUnavailable

if TYPE_CHECKING:
    from rich.text import Text

    from attune_dsl.coordination.timeline import Events
    from attune_dsl.events import Event

TICK: Final = 1.0
"""Seconds after which a store that is away is asked again."""

_NARROW: Final = 100
"""Cells of a terminal below which an event may take two lines."""


class Writer:
    """Writes events on standard output: lines for people, fitted on a terminal, or JSON, one object a line."""

    def __init__(self, *, as_json: bool, rows: int | None = None, since: float | None = None) -> None:
        self._as_json = as_json
        self.unicode = True
        if as_json:
            return
        from rich.console import Console

        from attune_dsl.cli.event_lines import Lines
        from attune_dsl.cli.style import has_unicode

        self._console = console = Console(highlight=False)
        self._width = width = console.width if console.is_terminal else None
        rows = rows or (2 if console.width < _NARROW else 1)
        self.unicode = has_unicode(console)
        self._lines = Lines(width, unicode=self.unicode, since=since, rows=rows)

    def make_room(self, told: Sequence[Event]) -> None:
        """These events will be written one after the other."""
        if not self._as_json:
            self._lines.make_room(told)

    def write(self, told: Sequence[Event]) -> None:
        """Write events that come together."""
        if not told:
            return
        if self._as_json:
            from attune_dsl.export.event_json import event_json

            click.echo(b"\n".join(map(event_json, told)))
        else:
            self._write_lines(self._lines.of(told))

    def facts(self, facts: Sequence[Text]) -> None:
        """Write facts beside each other, as many on a line as fit; programs are not told."""
        if self._as_json:
            return
        from attune_dsl.cli.event_lines import packed

        self._write_lines(packed(facts, self._width))

    def _write_lines(self, lines: Iterable[Text]) -> None:
        if self._width is None:
            click.echo("\n".join(line.plain.rstrip() for line in lines))
            return
        for line in lines:
            self._console.print(line, soft_wrap=True)


def follow(events: Events, writer: Writer) -> NoReturn:
    """Write events as they happen, until Ctrl-C. A store that is away is said, and waited for."""
    trouble = ""
    while True:
        begun = clock.monotonic()
        said, trouble = trouble, ""
        told: Sequence[Event] = ()
        try:
            told = events.next(TICK)
        except StoreUnavailable as error:
            trouble = f"not up to date: {error}"
        if bool(trouble) != bool(said):
            say(trouble or "up to date again")
        writer.write(told)
        sys.stdout.flush()
        if trouble:
            pause(TICK - (clock.monotonic() - begun))


def pause(seconds: float) -> None:
    """Let time pass; Ctrl-C ends it."""
    if seconds > 0:
        import threading

        threading.Event().wait(seconds)
