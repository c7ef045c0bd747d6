"""``attune-dsl agents``: who is alive, who works, and who is gone."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

import click

from attune_dsl.cli.agent_select import STATES, Selection, is_trouble
from attune_dsl.cli.errors import FAILED, OK, CliError, UsageError, did_you_mean
from attune_dsl.cli.options import Common, common_options, say

if TYPE_CHECKING:
    from attune_dsl.coordination.monitor import Monitor
    from attune_dsl.model import AgentRecord


class AgentsGroup(click.Group):
    """A group that is a command as well; a word it does not know is most likely an agent id."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is named first; for an unknown one say how an agent is shown."""
        name = args[0]
        if name not in self.commands and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"there is no command 'agents {name}'; for one agent: agents show {name}", ctx)
        return super().resolve_command(ctx, args)


def _seconds(ctx: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise click.BadParameter("this is a number of seconds, such as 60", ctx, parameter)
    return value


@click.group("agents", cls=AgentsGroup, invoke_without_command=True, subcommand_metavar="[show ID]")
@click.option("--watch", is_flag=True, help="Show changes as they happen, until Ctrl-C.")
@click.option("--check", is_flag=True, help="Print and exit with 1 only if an agent is lost or stalled; for cron.")
@click.option(
    "--status",
    "states",
    metavar="STATE",
    multiple=True,
    type=click.Choice(STATES, case_sensitive=False),
    help=f"Only agents in this state; may be given several times. One of: {', '.join(STATES)}.",
)
@click.option("--workflow", metavar="NAME", help="Only agents that run this workflow.")
@click.option(
    "--stale",
    metavar="SECONDS",
    type=float,
    callback=_seconds,
    help="Only agents that live and made no progress for so long; with --check, these count too.",
)
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    common: Common,
    *,
    watch: bool,
    check: bool,
    states: tuple[str, ...],
    workflow: str | None,
    stale: float | None,
) -> int | None:
    """Show the agents of a namespace that are alive, and those that ended lately: trouble first.

    "beat" is how long ago the agent last proved that it lives, "moved" how long ago it last made progress. An agent
    that lives without progress for longer than its stall_after is "stalled".

    Exit codes: 0; 1 if the store cannot be reached, and with --check if an agent is lost or stalled; 2 if the command
    line is wrong.
    """
    selection = Selection(tuple(dict.fromkeys(states)), workflow, stale)
    if ctx.invoked_subcommand is not None:
        _refuse_filters(watch=watch, check=check, selection=selection, subcommand=ctx.invoked_subcommand)
        return None
    if check:
        return _check(common, selection, watch=watch)
    if watch:
        return _watch(common, selection)
    return _list(common, selection)


@command.command("show", short_help="Show everything about one agent, and what its run did so far.")
@click.argument("agent_id", metavar="ID")
@common_options
def show(common: Common, agent_id: str) -> int:
    """Show everything about one agent, and the history of its stages.

    Exit codes: 0; 1 if there is no such agent, or the store cannot be reached; 2 if the command line is wrong.
    """
    with _monitor(common) as (monitor, where):
        agent = monitor.agent(agent_id)
        if agent is None:
            _report_unknown(agent_id, monitor.agents(), where)
        ran = monitor.stages(agent_id)
    if common.as_json:
        from attune_dsl.cli.agent_json import agent_object, encode, stage_object

        page_object = {"agent": agent_object(agent), "history": [stage_object(summary) for summary in ran]}
        click.echo(encode(page_object, pretty=True))
    else:
        from attune_dsl.cli.agent_show import page
        from attune_dsl.cli.columns import print_fitting

        print_fitting(lambda width, unicode: page(agent, ran, width, unicode=unicode))
    return OK


def _refuse_filters(*, watch: bool, check: bool, selection: Selection, subcommand: str) -> None:
    given = " ".join(["--watch"] * watch + ["--check"] * check + [selection.as_options()]).strip()
    if given:
        raise UsageError(f"agents {subcommand} does not take {given}; leave it out")


def _report_unknown(agent_id: str, agents: list[AgentRecord], where: str) -> NoReturn:
    named = [agent.agent_id for agent in agents if agent_id in (agent.display_name, agent.run_id)]
    hint = f"; it is the name of {', '.join(named)}" if named else did_you_mean(agent_id, [a.agent_id for a in agents])
    raise CliError(f"there is no agent {agent_id!r} in {where}{hint or '; to see which there are: attune-dsl agents'}")


@contextmanager
def _monitor(common: Common) -> Iterator[tuple[Monitor, str]]:
    """Connect to the store; yield what looks, and where that is."""
    from attune_dsl.cli.logs import show_warnings
    from attune_dsl.coordination.monitor import Monitor

    show_warnings(quiet=not common.verbose)  # what goes wrong is said by this command itself
    with Monitor(common.store, common.namespace) as monitor:
        yield monitor, f"namespace {monitor.namespace}, store {monitor.store_label}"


def _list(common: Common, selection: Selection) -> int:
    from attune_dsl.cli.agent_table import agent_table, in_order
    from attune_dsl.cli.columns import print_fitting

    with _monitor(common) as (monitor, where):
        everybody = monitor.agents()
    agents = in_order(agent for agent in everybody if selection.matches(agent))
    if common.as_json:
        _print_json(agents)
    elif agents:
        print_fitting(lambda width, unicode: agent_table(agents, width, unicode=unicode))
    elif everybody:
        say(f"none of {len(everybody):,} agents in {where} fits {selection.as_options()}")
    else:
        say(f"no agents are alive or ended lately in {where}")
    return OK


def _check(common: Common, selection: Selection, *, watch: bool) -> int:
    """Say who is in trouble. Nothing is printed if nobody is, because cron mails what is printed."""
    if watch or selection.states:
        raise UsageError("--check looks once for what is lost or stalled; leave out --watch and --status")
    from attune_dsl.cli.agent_check import trouble_line
    from attune_dsl.cli.agent_table import in_order

    with _monitor(common) as (monitor, _):
        agents = monitor.agents(workflow=selection.workflow)
    trouble = in_order(agent for agent in agents if is_trouble(agent, selection.stale))
    if common.as_json:
        _print_json(trouble)
    else:
        for agent in trouble:
            click.echo(trouble_line(agent))
    return FAILED if trouble else OK


def _print_json(agents: list[AgentRecord]) -> None:
    from attune_dsl.cli.agent_json import agent_object, encode

    click.echo(encode([agent_object(agent) for agent in agents], pretty=True))


def _watch(common: Common, selection: Selection) -> int:
    from attune_dsl.cli import agent_watch

    # Ctrl-C is how one ends it. A store that is out of reach at the beginning is an error, as everywhere.
    with _monitor(common) as (monitor, where), suppress(KeyboardInterrupt), monitor.follow() as changes:
        if common.as_json or not sys.stdout.isatty():
            agent_watch.write(changes, selection, as_json=common.as_json)
        else:
            agent_watch.draw(changes, selection, where)
    return OK
