"""``attune-dsl abort``: agents are asked to stop, from wherever the store can be reached."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import click

from attune_dsl.cli.acting import token_for
from attune_dsl.cli.errors import FAILED, OK, CliError, Unavailable, UsageError, did_you_mean, either
from attune_dsl.cli.options import Common, common_options, say, say_error
from attune_dsl.exceptions import StoreUnavailable
from attune_dsl.exceptions import UsageError as Refused

if TYPE_CHECKING:
    from attune_dsl.hub.hub import Hub
    from attune_dsl.model import AgentRecord

    Ask = Callable[[str | None], Awaitable[list[str] | None]]


class Answers(NamedTuple):
    """Who was asked, who does not live, and of whom the store has not confirmed it (``None``: of all that live)."""

    asked: list[str]
    not_alive: list[str]
    unconfirmed: list[str | None]


@click.command(short_help="Ask agents to stop.")
@click.argument("agent_ids", metavar="[AGENT]...", nargs=-1)
@click.option("--reason", metavar="TEXT", required=True, help="Why; it is their error, and others see it.")
@click.option("--all", "is_for_all", is_flag=True, help="All that live now, but not the one that asks.")
@common_options
def command(common: Common, agent_ids: tuple[str, ...], reason: str, is_for_all: bool) -> int:
    """Ask agents to stop, such as: attune-dsl abort nightly-1 nightly-2 --reason "the disk is full".

    Their waits end at once, an async stage is cancelled, a sync one stops at its next call into the context, and a
    command under "attune-dsl exec" gets SIGTERM, later SIGKILL. They end as aborted. This does not wait for that; to
    see it: attune-dsl agents --watch

    Under "attune-dsl exec" it is asked in the name of the agent that the command runs as, elsewhere of user@host.

    Exit codes: 0 all were asked; 1 one that was named does not live (the others were asked); 2 wrong usage; 7 the
    store cannot be reached, or did not confirm it.
    """
    from attune_dsl.cli.logs import show_warnings

    names = list(dict.fromkeys(agent_ids))
    _check(names, reason, is_for_all=is_for_all)
    show_warnings(quiet=not common.verbose)  # what goes wrong is said by this command itself
    with _connected(common) as (hub, where):
        answers = _answers(hub, common, reason, [None] if is_for_all else names)
        _print(answers, as_json=common.as_json)
        if answers.unconfirmed:
            raise Unavailable(_unconfirmed(answers.unconfirmed))
        if is_for_all and not answers.asked:
            say(f"nobody else is alive in {where}" if token_for(None) else f"nobody is alive in {where}")
        _report(hub, answers, where)
    return FAILED if answers.not_alive else OK


def _check(names: Sequence[str], reason: str, *, is_for_all: bool) -> None:
    """Raise for a wrong command line before anybody is asked."""
    from attune_dsl.store.names import check_name, check_reason

    if is_for_all and names:
        raise UsageError("--all asks all that live now; leave out the names, or --all")
    if not is_for_all and not names:
        raise UsageError("who is to stop? Name the agents, or ask all that live now with --all")
    for name in names:
        check_name("agent id", name)
    try:
        check_reason(reason)
    except ValueError as error:
        raise UsageError(f"--reason: {error}") from None


@contextmanager
def _connected(common: Common) -> Iterator[tuple[Hub, str]]:
    """Connect to the store; yield the hub, and where that is."""
    from attune_dsl.hub.drive import drive
    from attune_dsl.hub.registry import connect_hub, release_hub

    try:
        hub = drive(connect_hub(common.store, common.namespace))
    except StoreUnavailable as error:
        raise Unavailable(f"nobody was asked to stop: {error}") from error
    try:
        yield hub, f"namespace {hub.namespace}, store {hub.server.label}"
    finally:
        drive(release_hub(hub))


def _answers(hub: Hub, common: Common, reason: str, targets: Sequence[str | None]) -> Answers:
    from attune_dsl.coordination.aborting import abort
    from attune_dsl.coordination.deputy import Deputy
    from attune_dsl.hub.drive import drive

    acted_for = token_for(None)
    if acted_for is None:
        by = _person()
        return drive(_asked(lambda target: abort(hub, reason, target, sender=None, by=by), targets))
    deputy = drive(Deputy.open(*acted_for, common.store, common.namespace))
    try:
        return drive(_asked(lambda target: deputy.abort(reason, target), targets))
    except Refused as error:
        raise CliError(f"nobody was asked to stop: {error}") from error
    finally:
        drive(deputy.close())


async def _asked(ask: Ask, targets: Sequence[str | None]) -> Answers:
    """Ask one after the other, as long as the store confirms it (neutral coroutine)."""
    answers = Answers([], [], [])
    for index, target in enumerate(targets):
        try:
            reply = await ask(target)
        except StoreUnavailable:
            reply = None
        if reply is None:
            answers.unconfirmed.extend(targets[index:])
            break
        answers.asked.extend(sorted(reply))
        if target is not None and not reply:
            answers.not_alive.append(target)
    return answers


def _person() -> str:
    """Return ``user@host``: who asks, where no agent does."""
    import getpass
    import socket

    from attune_dsl.cli.formats import one_line

    try:
        user = getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container's user without a name, say
        user = "somebody"
    return one_line(f"{user}@{socket.gethostname()}")


def _print(answers: Answers, *, as_json: bool) -> None:
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode({"asked": answers.asked, "not_alive": answers.not_alive}))
        return
    for name in answers.asked:
        click.echo(f"{name}: asked to stop")


def _unconfirmed(targets: Sequence[str | None]) -> str:
    names = [repr(name) for name in targets if name is not None]
    whom = either(names) if names else "everybody"
    return f"the store did not confirm that {whom} was asked to stop; asking again does no harm"


def _report(hub: Hub, answers: Answers, where: str) -> None:
    """Say who could not be asked, why, and who may have been meant."""
    from attune_dsl.coordination.listing import Listing
    from attune_dsl.hub.drive import drive

    if not answers.not_alive:
        return
    try:
        agents = drive(Listing(hub).agents())
    except StoreUnavailable:
        agents = []  # no advice then
    # Those that were asked just now were alive, though they may have ended by now.
    live = [agent for agent in agents if not agent.status.is_final or agent.agent_id in answers.asked]
    for name in answers.not_alive:
        say_error(_not_alive(name, agents, live, where))


def _not_alive(name: str, agents: Sequence[AgentRecord], live: Sequence[AgentRecord], where: str) -> str:
    ended = next((agent for agent in agents if agent.agent_id == name and agent.status.is_final), None)
    namesakes = [agent.agent_id for agent in live if name in (agent.display_name, agent.workflow, agent.run_id)]
    hint = did_you_mean(name, [agent.agent_id for agent in live])
    if namesakes:
        hint = f"; it is the name of {', '.join(namesakes)}"
    if ended is not None:
        return f"agent {name!r} in {where} is not alive: it ended as {ended.status.value}{hint}"
    return f"no agent {name!r} is alive in {where}{hint or '; to see who is: attune-dsl agents'}"
