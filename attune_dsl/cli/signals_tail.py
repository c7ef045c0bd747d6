"""``attune-dsl signals tail``: signals as they are sent, to one agent or in a whole namespace."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import click

from attune_dsl.cli.acting import explained, token_for
from attune_dsl.cli.errors import OK
from attune_dsl.cli.options import Common, common_options, say
from attune_dsl.cli.signals_look import agent_option, look, mailbox

if TYPE_CHECKING:
    from attune_dsl.cli.signal_table import Told


@click.command(short_help="Show signals as they are sent.")
@agent_option("Those to this agent, broadcasts too; else all of the namespace, under exec the command's own.")
@click.option("--type", "types", metavar="TYPE", multiple=True, help="Only of this type; may be given several times.")
@common_options
def tail(common: Common, agent_id: str | None, types: tuple[str, ...]) -> int:
    """Show signals as they are sent, until Ctrl-C. None is taken.

    With an agent they are those that it may take; without one all of the namespace, payloads only where the signal is
    short (1 KiB). What waits already is shown by "signals pending".

    Exit codes: 0 ended by Ctrl-C; 2 wrong usage, 7 the store cannot be reached.
    """
    acted_for = token_for(agent_id)
    agent_id = acted_for[0] if acted_for else agent_id
    with suppress(KeyboardInterrupt):
        if agent_id is None:
            _tail_all(common, types)
        else:
            _tail_agent(common, agent_id, types)
    return OK


def _tail_agent(common: Common, agent_id: str, types: Sequence[str]) -> None:
    from attune_dsl.cli.signal_table import told_of
    from attune_dsl.coordination.arrivals import Arrivals

    with mailbox(common, agent_id) as mail:
        look(mail, types, None)  # names are checked, and what the agent may see is known
        with closing(Arrivals(mail.hub, mail.streams)) as arrivals:
            write = _writer(common, f"signals to {agent_id!r}", mail.hub.namespace, mail.hub.server.label)
            while arrived := arrivals.next(None):
                entries = [entry for each in arrived if (entry := mail.arrived(each)) is not None]
                for entry in sorted(entries, key=lambda entry: entry.signal.order):
                    if not types or entry.signal.type in types:
                        write(told_of(entry.signal))


def _tail_all(common: Common, types: Sequence[str]) -> None:
    from attune_dsl.cli.logs import show_warnings
    from attune_dsl.cli.signal_table import told_sent
    from attune_dsl.coordination.stored_mail import wanted
    from attune_dsl.coordination.timeline import Timeline

    wanted(types, None)
    show_warnings(quiet=not common.verbose)  # what goes wrong is said by this command itself
    with (
        explained("the signals were not read", "see them"),
        Timeline(common.store, common.namespace) as timeline,
        timeline.follow(kinds="signal.sent") as events,
    ):
        write = _writer(common, "signals", timeline.namespace, timeline.store_label)
        for told in map(told_sent, events):
            if told is not None and (not types or told.type in types):
                write(told)


def _writer(common: Common, what: str, namespace: str, store: str) -> Callable[[Told], None]:
    """Say what is shown from where, and return what shows it."""
    from rich.console import Console

    from attune_dsl.cli.signal_json import encode
    from attune_dsl.cli.signal_table import sent_line
    from attune_dsl.cli.style import has_unicode

    if sys.stderr.isatty():
        say(f"{what} in namespace {namespace}, store {store}; Ctrl-C ends")
    console = Console(highlight=False)
    unicode = has_unicode(console)

    def write(told: Told) -> None:
        if common.as_json:
            click.echo(encode(told.facts))
        elif console.is_terminal:
            console.print(
                sent_line(told, unicode=unicode, dated=False), markup=False, no_wrap=True, overflow="ellipsis"
            )
        else:
            click.echo(sent_line(told, unicode=unicode))

    return write
