"""``attune-dsl agents``: who is alive and how far each one is."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from attune_dsl.cli.errors import OK
from attune_dsl.cli.options import Common, common_options, say
from attune_dsl.exceptions import StoreUnavailable

if TYPE_CHECKING:
    from attune_dsl.model import AgentRecord

    Look = Callable[[], list[AgentRecord]]

PERIOD = 1.0
"""Seconds between two looks of ``--watch``."""


@click.command()
@click.option("--watch", is_flag=True, help="Look again every second, until Ctrl-C.")
@common_options
def command(common: Common, watch: bool) -> int:
    """Show the agents of a namespace that are alive, and those that ended lately.

    "beat" is how long ago the agent last proved that it lives, "moved" how long ago it last made progress.
    """
    with _listing(common) as (look, where):
        agents = look()  # a store that is out of reach now is an error, also with --watch
        if watch:
            return _watch(agents, look, where, as_json=common.as_json)
    if common.as_json:
        click.echo(_json(agents, pretty=True))
    elif agents:
        _print_table(agents)
    else:
        say(f"no agents are alive or ended lately in {where}")
    return OK


@contextmanager
def _listing(common: Common) -> Iterator[tuple[Look, str]]:
    """Connect to the store; yield how to look, and where that is."""
    from attune_dsl.cli.agent_table import in_order
    from attune_dsl.cli.logs import show_warnings
    from attune_dsl.coordination.listing import Listing
    from attune_dsl.hub.drive import drive

    show_warnings(quiet=not common.verbose)  # what goes wrong is said by this command itself
    listing = drive(Listing.open(common.store, common.namespace))
    try:
        where = f"namespace {listing.namespace}, store {listing.store_label}"
        yield lambda: in_order(drive(listing.agents())), where
    finally:
        drive(listing.close())


def _json(value: Any, *, pretty: bool = False) -> bytes:
    import msgspec

    encoded = msgspec.json.encode(value)
    return msgspec.json.format(encoded, indent=2) if pretty else encoded


def _print_table(agents: Sequence[AgentRecord]) -> None:
    from rich.console import Console

    from attune_dsl.cli.agent_table import agent_table
    from attune_dsl.cli.style import has_unicode

    console = Console(highlight=False)
    if console.is_terminal:
        console.print(agent_table(agents, console.width, unicode=has_unicode(console)))
        return
    wide = Console(width=10_000, highlight=False, color_system=None)
    with wide.capture() as captured:
        wide.print(agent_table(agents, wide.width, unicode=has_unicode(console)))
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def _watch(agents: list[AgentRecord], look: Look, where: str, *, as_json: bool) -> int:
    try:
        if sys.stdout.isatty() and not as_json:
            _redraw(agents, look, where)
        else:
            _follow(agents, look, as_json=as_json)
    except KeyboardInterrupt:
        pass  # it is how one ends it
    return OK


def _redraw(agents: list[AgentRecord], look: Look, where: str) -> None:
    from rich.console import Console
    from rich.live import Live

    from attune_dsl.cli import agent_table, style

    console = Console(highlight=False)
    unicode = style.has_unicode(console)
    trouble = ""
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            size = console.size
            title = trouble or f"{agent_table.summary(agents)}   {where}   Ctrl-C ends"
            live.update(agent_table.screen(agents, title, size.width, size.height, unicode=unicode), refresh=True)
            agents, trouble = _look_again(agents, look)


def _look_again(agents: list[AgentRecord], look: Look) -> tuple[list[AgentRecord], str]:
    """Wait, then list anew; while the store is out of reach, keep what was known and say so."""
    threading.Event().wait(PERIOD)
    try:
        return look(), ""
    except StoreUnavailable as error:
        return agents, f"not up to date: {error}"


def _follow(agents: list[AgentRecord], look: Look, *, as_json: bool) -> None:
    from attune_dsl.cli.agent_table import change_line, state

    known: dict[tuple[str, int], Any] = {}
    said = ""
    while True:
        for agent in agents:
            if known.get((agent.agent_id, agent.epoch)) != state(agent):
                click.echo(_json(agent) if as_json else change_line(agent))
        known = {(agent.agent_id, agent.epoch): state(agent) for agent in agents}
        agents, trouble = _look_again(agents, look)
        if trouble and trouble != said:
            say(trouble)
        said = trouble
