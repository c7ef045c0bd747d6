"""``attune-dsl runs``: what ran, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from attune_dsl.cli.errors import OK
from attune_dsl.cli.options import Common, common_options, require_subcommand, say
from attune_dsl.cli.timelines import has_dropped, opened, run_named

if TYPE_CHECKING:
    from attune_dsl.coordination.runs import RunSummary

_COUNT: Final = 20
STATUSES: Final = ("running", "completed", "failed", "aborted", "cancelled", "lost")


@click.group("runs", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show the runs that the timeline tells of, also those that ended long ago.

    RUN is a run's id, at least 4 characters of its beginning, or an agent id, which means its latest run.
    """
    require_subcommand(ctx)


@command.command("list", short_help="Show the latest runs.")
@click.option("--workflow", metavar="NAME", help="Only runs of this workflow.")
@click.option(
    "--status",
    "statuses",
    metavar="STATUS",
    multiple=True,
    type=click.Choice(STATUSES, case_sensitive=False),
    help=f"Only runs with this status; may be given several times. One of: {', '.join(STATUSES)}.",
)
@click.option("--agent", metavar="NAME", help="Only runs of this agent.")
@click.option("-n", "count", type=click.IntRange(min=0), default=_COUNT, metavar="N", help="How many; else 20.")
@common_options
def list_(common: Common, workflow: str | None, statuses: tuple[str, ...], agent: str | None, count: int) -> int:
    """Show the latest runs of a namespace, the newest first.

    Exit codes: 0, also if there are none; 1 if the store cannot be reached; 2 if the command line is wrong.
    """
    from attune_dsl.coordination.runs import summaries

    with opened(common) as (timeline, where):
        told = timeline.read()
    runs = summaries(told)[::-1]
    fitting = [
        run
        for run in runs
        if (workflow is None or run.workflow == workflow)
        and (not statuses or run.status.value in statuses)
        and (agent is None or run.agent_id == agent)
    ]
    _print_runs(fitting[:count], as_json=common.as_json)
    if not fitting and not common.as_json:
        say(f"none of {len(runs):,} runs in {where} fits" if runs else f"there are no runs in {where}")
    if len(fitting) > count > 0 and not common.as_json:
        say(f"{len(fitting) - count:,} older ones are not shown; for more: -n {len(fitting)}")
    if has_dropped(told) and len(fitting) <= count:
        say("older runs may be missing: the timeline has dropped its oldest events")
    return OK


def _print_runs(runs: Sequence[RunSummary], *, as_json: bool) -> None:
    if as_json:
        from attune_dsl.cli.agent_json import encode

        click.echo(encode([run_object(run) for run in runs], pretty=True))
    elif runs:
        from attune_dsl.cli.columns import print_fitting
        from attune_dsl.cli.run_table import run_table

        print_fitting(lambda width, unicode: run_table(runs, width, unicode=unicode))


@command.command(short_help="Show everything about one run.")
@click.argument("run", metavar="RUN")
@common_options
def show(common: Common, run: str) -> int:
    """Show everything about one run: its stages, its signals and waits, and how it ended.

    Exit codes: 0; 1 if there is no such run, or the store cannot be reached; 2 if the command line is wrong.
    """
    with opened(common) as (timeline, where):
        told = timeline.read()
    found = run_named(run, told, where)
    own = [event for event in told if event.run == found.run_id]
    if common.as_json:
        import msgspec

        from attune_dsl.cli.agent_json import encode
        from attune_dsl.export.event_json import event_json

        talk = [msgspec.Raw(event_json(event)) for event in own if event.kind.startswith(("signal.", "wait."))]
        click.echo(encode(run_object(found) | {"events": talk}, pretty=True))
    else:
        from attune_dsl.cli.columns import print_fitting
        from attune_dsl.cli.run_table import page

        print_fitting(lambda width, unicode: page(found, own, width, unicode=unicode))
    return OK


def run_object(run: RunSummary) -> dict[str, Any]:
    """Return all that is known of a run, in the order in which it is documented."""
    from attrs import fields

    from attune_dsl.cli.agent_json import stage_object

    known = {field.name: getattr(run, field.name) for field in fields(type(run))}
    known["stages"] = [stage_object(stage) for stage in run.stages]
    return known | {"done": run.done, "total": run.total}
