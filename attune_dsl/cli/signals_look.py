"""``attune-dsl signals pending`` and ``clear``: what waits for an agent."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from attune_dsl.cli.acting import deputy, entered, explained, named, token_for
from attune_dsl.cli.errors import OK, UsageError
from attune_dsl.cli.options import Common, common_options, say

if TYPE_CHECKING:
    from attune_dsl.coordination.stored_mail import StoredMail
    from attune_dsl.hub.mailbox import Entry

Command = TypeVar("Command", bound=Callable[..., Any])

_types = click.argument("types", metavar="[TYPE]...", nargs=-1)


def agent_option(text: str) -> Callable[[Command], Command]:
    """Return the option that says whose mailbox is meant; its longer name is that of the commands that act as one."""
    return click.option("--agent", "--agent-id", "agent_id", metavar="NAME", help=text)


_agent = agent_option("Whose mailbox; under exec, the command's own.")
_source = click.option("--source", metavar="AGENT", help="Only signals from this agent.")


@click.command(short_help="Show what waits for an agent.")
@_types
@_agent
@_source
@common_options
def pending(common: Common, types: tuple[str, ...], agent_id: str | None, source: str | None) -> int:
    """Show the signals that wait for an agent, oldest first, and take none. The agent need not live.

    Exit codes: 0, also if nothing waits; 2 wrong usage, 7 the store cannot be reached.
    """
    agent_id = named(agent_id, "--agent")
    with mailbox(common, agent_id) as mail:
        entries, now = look(mail, types, source)
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
@_agent
@_source
@click.option("--yes", is_flag=True, help="Do not ask.")
@common_options
def clear(common: Common, types: tuple[str, ...], agent_id: str | None, source: str | None, yes: bool) -> int:
    """Take the signals that wait for an agent, forget them, and print how many there were.

    A live agent's own process alone can do this; for one that does not live, this joins as NAME for the moment.

    Exit codes: 0 cleared, also if nothing waited; 1 the agent lives, or you did not agree; 2 wrong usage, 7 the store
    cannot be reached.
    """
    agent_id = named(agent_id, "--agent")
    acted_for = token_for(agent_id)
    with mailbox(common, agent_id) as mail:
        found = look(mail, types, source)[0]
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


@contextmanager
def mailbox(common: Common, agent_id: str) -> Iterator[StoredMail]:
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


def look(mail: StoredMail, types: Sequence[str], source: str | None) -> tuple[list[Entry], float]:
    """Return the signals that wait, and the time by the server's clock. Raises :class:`InvalidName`."""
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
