"""``attune-dsl signals tail``: signals as they are sent, to one agent or in a whole namespace."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

import click

from attune_dsl.cli.acting import explained, token_for
from attune_dsl.cli.errors import OK
from attune_dsl.cli.options import Common, common_options, say
from attune_dsl.cli.signals_look import agent_option, look, mailbox

if TYPE_CHECKING:
    from attune_dsl.cli.signal_table import Told
    from attune_dsl.coordination.arrivals import Arrival
    from attune_dsl.coordination.stored_mail import StoredMail
    from attune_dsl.hub.hub import Hub

    Read = Callable[[Sequence[Arrival]], list[Told]]
    """What has come, as it is shown."""


class Shown(NamedTuple):
    """What is shown, in words, of which types (none: all), and whether to programs."""

    what: str
    types: Sequence[str]
    as_json: bool


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
    with mailbox(common, agent_id) as mail:
        look(mail, types, None)  # names are checked, and what the agent may see is known
        shown = Shown(f"signals to {agent_id!r}", types, common.as_json)
        _tail(mail.hub, mail.streams, _mail_reader(mail), shown)


def _tail_all(common: Common, types: Sequence[str]) -> None:
    from attune_dsl.coordination.stored_mail import wanted

    wanted(types, None)
    with _connected(common) as hub:
        _tail(hub, [hub.keys.timeline], _timeline_reader(hub), Shown("signals", types, common.as_json))


@contextmanager
def _connected(common: Common) -> Iterator[Hub]:
    """Connect to the store."""
    from attune_dsl.cli.logs import show_warnings
    from attune_dsl.hub.drive import drive
    from attune_dsl.hub.registry import connect_hub, release_hub

    show_warnings(quiet=not common.verbose)  # what goes wrong is said by this command itself
    with explained("the signals were not read", "see them"):
        hub = drive(connect_hub(common.store, common.namespace))
        try:
            yield hub
        finally:
            drive(release_hub(hub))


def _tail(hub: Hub, streams: Sequence[str], read: Read, shown: Shown) -> None:
    from attune_dsl.coordination.arrivals import Arrivals

    with closing(Arrivals(hub, streams)) as arrivals:
        if sys.stderr.isatty():
            say(f"{shown.what} in namespace {hub.namespace}, store {hub.server.label}; Ctrl-C ends")
        write = _writer(as_json=shown.as_json)
        while arrived := arrivals.next(None):
            for told in read(arrived):
                if not shown.types or told.type in shown.types:
                    write(told)


def _mail_reader(mail: StoredMail) -> Read:
    from attune_dsl.cli.signal_table import told_of

    def read(arrived: Sequence[Arrival]) -> list[Told]:
        entries = [entry for each in arrived if (entry := mail.arrived(each)) is not None]
        return [told_of(entry.signal) for entry in sorted(entries, key=lambda entry: entry.signal.order)]

    return read


def _timeline_reader(hub: Hub) -> Read:
    from attune_dsl.cli.signal_table import told_sent
    from attune_dsl.store import event_codec

    def told(arrival: Arrival) -> Told | None:
        try:
            event = event_codec.decode(arrival.at.decode(), arrival.raw, hub.namespace)
        except ValueError as error:
            hub.entries.skip("", {b"at": arrival.at}, str(error))
            return None
        return None if event is None else told_sent(event)

    return lambda arrived: [each for arrival in arrived if (each := told(arrival)) is not None]


def _writer(*, as_json: bool) -> Callable[[Told], None]:
    from rich.console import Console

    from attune_dsl.cli.signal_json import encode
    from attune_dsl.cli.signal_table import sent_line
    from attune_dsl.cli.style import has_unicode

    console = Console(highlight=False)
    unicode = has_unicode(console)

    def write(told: Told) -> None:
        if as_json:
            click.echo(encode(told.facts))
        elif console.is_terminal:
            console.print(
                sent_line(told, unicode=unicode, dated=False), markup=False, no_wrap=True, overflow="ellipsis"
            )
        else:
            click.echo(sent_line(told, unicode=unicode))

    return write
