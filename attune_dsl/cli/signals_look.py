"""``attune-dsl signals pending``, ``clear`` and ``tail``: what waits for an agent, and what is sent to it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from typing import TYPE_CHECKING

import click

from attune_dsl.cli.acting import deputy, entered, explained, named, token_for
from attune_dsl.cli.errors import OK, UsageError
from attune_dsl.cli.options import Common, common_options, say

if TYPE_CHECKING:
    from attune_dsl.coordination.arrivals import Arrivals
    from attune_dsl.coordination.stored_mail import StoredMail
    from attune_dsl.hub.mailbox import Entry
    from attune_dsl.model import Signal

_types = click.argument("types", metavar="[TYPE]...", nargs=-1)
_agent_id = click.option("--agent-id", metavar="NAME", help="Whose mailbox; under exec, the command's own.")
_source = click.option("--source", metavar="AGENT", help="Only signals from this agent.")


@click.command(short_help="Show what waits for an agent.")
@_types
@_agent_id
@_source
@common_options
def pending(common: Common, types: tuple[str, ...], agent_id: str | None, source: str | None) -> int:
    """Show the signals that wait for an agent, oldest first, and take none. The agent need not live.

    Exit codes: 0, also if nothing waits; 2 wrong usage, 7 the store cannot be reached.
    """
    agent_id = named(agent_id)
    with _mailbox(common, agent_id) as mail:
        entries, now = _look(mail, types, source)
        skipped = mail.hub.entries.skipped
        where = f"{agent_id!r} in namespace {mail.hub.namespace}, store {mail.hub.server.label}"
    if common.as_json:
        from attune_dsl.cli.signal_json import encode, signal_object

        click.echo(encode([signal_object(each.signal) | {"size": each.size} for each in entries], pretty=True))
    elif entries:
        from attune_dsl.cli.columns import print_fitting
        from attune_dsl.cli.signal_table import signal_table

        print_fitting(lambda width, _: signal_table(entries, now, width))
    else:
        say(f"nothing{_of(types, source)} waits for {where}")
    if skipped:
        say(f"warning: {skipped:,} could not be read and {'is' if skipped == 1 else 'are'} left out")
    return OK


@click.command(short_help="Take what waits for an agent, and forget it.")
@_types
@_agent_id
@_source
@click.option("--yes", is_flag=True, help="Do not ask.")
@common_options
def clear(common: Common, types: tuple[str, ...], agent_id: str | None, source: str | None, yes: bool) -> int:
    """Take the signals that wait for an agent, forget them, and print how many there were.

    A live agent's own process alone can do this; for one that does not live, this joins as NAME for the moment.

    Exit codes: 0 cleared, also if nothing waited; 1 the agent lives, or you did not agree; 2 wrong usage, 7 the store
    cannot be reached.
    """
    agent_id = named(agent_id)
    acted_for = token_for(agent_id)
    with _mailbox(common, agent_id) as mail:
        found = _look(mail, types, source)[0]
        if found and not yes:
            _confirm(f"Forget what waits{_of(types, source)} for {agent_id!r} ({len(found):,})?")
        if not found:
            count = 0
        elif acted_for is not None:
            with deputy(*acted_for, common) as acting:
                count = acting.clear(types, source=source)
        else:
            count = _clear_as(agent_id, common, types, source)
    from attune_dsl.cli.signal_json import encode

    click.echo(encode({"cleared": count}) if common.as_json else count)
    return OK


@click.command(short_help="Show signals as they are sent to an agent.")
@click.option("--agent", metavar="NAME", help="Whose mailbox; under exec, the command's own.")
@click.option("--type", "types", metavar="TYPE", multiple=True, help="Only of this type; may be given several times.")
@common_options
def tail(common: Common, agent: str | None, types: tuple[str, ...]) -> int:
    """Show signals as they are sent to an agent, broadcasts too, until Ctrl-C. None is taken.

    What waits already is shown by "signals pending".

    Exit codes: 0 ended by Ctrl-C; 2 wrong usage, 7 the store cannot be reached.
    """
    if agent is None and token_for(None) is None:
        raise UsageError("whose signals? Name the agent: --agent NAME; a whole namespace cannot be followed yet")
    agent = named(agent, "--agent")
    with suppress(KeyboardInterrupt), _mailbox(common, agent) as mail:
        _look(mail, types, None)  # names are checked, and what the agent may see is known
        with _arrivals(mail) as arrivals:
            if sys.stderr.isatty():
                where = f"namespace {mail.hub.namespace}, store {mail.hub.server.label}"
                say(f"signals to {agent!r} in {where}; Ctrl-C ends")
            _tail(mail, arrivals, types, _writer(as_json=common.as_json))
    return OK


@contextmanager
def _mailbox(common: Common, agent_id: str) -> Iterator[StoredMail]:
    """Connect to look into an agent's mailbox."""
    from attune_dsl.cli.logs import show_warnings
    from attune_dsl.coordination.stored_mail import StoredMail
    from attune_dsl.hub.drive import drive

    show_warnings(quiet=not common.verbose)  # what goes wrong is said by this command itself
    with explained(f"the mailbox of {agent_id!r} was not read", "clear its mailbox, from its own process"):
        mail = drive(StoredMail.open(agent_id, common.store, common.namespace))
        try:
            yield mail
        finally:
            drive(mail.close())


def _look(mail: StoredMail, types: Sequence[str], source: str | None) -> tuple[list[Entry], float]:
    from attune_dsl.coordination.stored_mail import wanted
    from attune_dsl.hub.drive import drive

    return drive(mail.look(wanted(types, source)))


def _of(types: Sequence[str], source: str | None) -> str:
    """Return the selection as words, empty if there is none."""
    of_types = f" of type {' or '.join(map(repr, types))}" if types else ""
    return of_types + (f" from {source!r}" if source is not None else "")


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("clear forgets signals for good; say so with --yes")
    click.confirm(question, abort=True, err=True)


def _clear_as(agent_id: str, common: Common, types: Sequence[str], source: str | None) -> int:
    from attune_dsl.coordination.agent import Agent
    from attune_dsl.exceptions import StoreUnavailable
    from attune_dsl.hub.drive import drive
    from attune_dsl.model import AgentStatus

    async def cleared() -> int:
        agent: Agent = await entered(agent_id, common)
        count, left = 0, False
        try:
            count = await agent.async_signals().clear(*types, source=source)
        finally:
            left = await agent.leave(AgentStatus.COMPLETED)
        if not left:
            raise StoreUnavailable(f"the store {agent.store_label} did not confirm that the signals were taken")
        return count

    return drive(cleared())


def _writer(*, as_json: bool) -> Callable[[Signal], None]:
    from rich.console import Console

    from attune_dsl.cli.signal_json import encode, signal_object
    from attune_dsl.cli.signal_table import sent_line
    from attune_dsl.cli.style import has_unicode

    console = Console(highlight=False)
    unicode = has_unicode(console)

    def write(signal: Signal) -> None:
        if as_json:
            click.echo(encode(signal_object(signal)))
        elif console.is_terminal:
            console.print(
                sent_line(signal, unicode=unicode, dated=False), markup=False, no_wrap=True, overflow="ellipsis"
            )
        else:
            click.echo(sent_line(signal, unicode=unicode))

    return write


def _arrivals(mail: StoredMail) -> AbstractContextManager[Arrivals]:
    from attune_dsl.coordination.arrivals import Arrivals

    return closing(Arrivals(mail.hub, mail.streams))


def _tail(mail: StoredMail, arrivals: Arrivals, types: Sequence[str], write: Callable[[Signal], None]) -> None:
    while arrived := arrivals.next(None):
        entries = [entry for each in arrived if (entry := mail.arrived(each)) is not None]
        for entry in sorted(entries, key=lambda entry: entry.signal.order):
            if not types or entry.signal.type in types:
                write(entry.signal)
