"""``attune-dsl events``: what happened in a namespace, and what happens."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import click

from attune_dsl.cli import events_keep
from attune_dsl.cli.errors import OK, did_you_mean
from attune_dsl.cli.options import Common, common_options, require_subcommand, say
from attune_dsl.cli.timelines import opened, run_named
from attune_dsl.store.names import is_event_id

if TYPE_CHECKING:
    from attune_dsl.coordination.timeline import Timeline
    from attune_dsl.events import Event

_COUNT: Final = 20


@click.group("events", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show, replay and export what happened: stages, signals, waits, losses, ends.

    RUN is a run's id, at least 4 characters of its beginning, or an agent id, which means its latest run.
    """
    require_subcommand(ctx)


for _each in (events_keep.export, events_keep.trim, events_keep.cap, events_keep.stats):
    command.add_command(_each)


def _kinds(ctx: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Check kinds and families; a kind that nobody knows would select nothing, for ever."""
    from attune_dsl.events import EventKind

    kinds = [kind.value for kind in EventKind]
    families = list(dict.fromkeys(kind.partition(".")[0] for kind in kinds))
    for each in given:
        if each not in kinds and each not in families:
            hint = did_you_mean(each, [*families, *kinds]) or f"; there are {', '.join(families)}, and kinds of these"
            raise click.BadParameter(f"there is no kind {each!r}{hint}", ctx, parameter)
    return tuple(dict.fromkeys(given))


def _event_id(ctx: click.Context, parameter: click.Parameter, given: str | None) -> str | None:
    if given is not None and not is_event_id(given):
        raise click.BadParameter("this is the id of an event, such as 1763971918123-0", ctx, parameter)
    return given


@command.command(short_help="Show what happened last, and what happens.")
@click.option("-n", "count", type=click.IntRange(min=0), metavar="N", help="How many; else 20, with --after all.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@click.option(
    "--kind",
    "kinds",
    metavar="KIND",
    multiple=True,
    callback=_kinds,
    help="Only of this kind, such as signal.sent, or of a family, such as stage; may be given several times.",
)
@click.option("--agent", metavar="NAME", help="Only what this agent did, and what happened to it.")
@click.option("--run", "run", metavar="RUN", help="Only of this run.")
@click.option("--after", metavar="ID", callback=_event_id, help="Only behind this event.")
@common_options
def tail(
    common: Common,
    *,
    count: int | None,
    follow: bool,
    kinds: tuple[str, ...],
    agent: str | None,
    run: str | None,
    after: str | None,
) -> int:
    """Show the last events, oldest first, one a line.

    With --follow the store is not asked again and again, and nothing is left out or shown twice when it was away.

    Exit codes: 0, also if nothing happened, or ended by Ctrl-C; 1 there is no such run, or the store cannot be
    reached; 2 if the command line is wrong.
    """
    from attune_dsl.cli import event_tail

    writer = event_tail.Writer(as_json=common.as_json)
    # Ctrl-C is how one ends it. A store that is out of reach at the beginning is an error, as everywhere.
    with suppress(KeyboardInterrupt), opened(common) as (timeline, where):
        wanted: dict[str, Any] = {"kinds": kinds or None, "agent": agent, "run": run}
        if run is not None:
            wanted["run"] = run_named(run, timeline.read(), where).run_id
        told, last_id = _history(timeline, count, after, wanted)
        writer.write(told)
        if not follow:
            if not told and count != 0 and not common.as_json:
                say(f"nothing {'of that ' if any(wanted.values()) or after else ''}is told in {where}")
            return OK
        sys.stdout.flush()
        if sys.stderr.isatty():
            say(f"events in {where}; Ctrl-C ends")
        with timeline.follow(after=last_id, **wanted) as events:
            event_tail.follow(events, writer)
    return OK


def _history(
    timeline: Timeline, count: int | None, after: str | None, wanted: dict[str, Any]
) -> tuple[Sequence[Event], str]:
    """Return what is shown of the past, and the id behind which the future begins."""
    if after is not None:
        told = timeline.read(after=after, limit=count, **wanted)
        return told, told[-1].id if told else after
    from attune_dsl.hub.watch import is_behind

    last_id = timeline.stats().last_id or "0"
    told = timeline.latest(_COUNT if count is None else count, **wanted) if count != 0 else []
    return told, told[-1].id if told and is_behind(told[-1].id, last_id) else last_id


def _speed(ctx: click.Context, parameter: click.Parameter, value: str) -> float:
    """Read a factor, or ``max``, which is the same as 0."""
    with suppress(ValueError):
        speed = 0.0 if value == "max" else float(value)
        if math.isfinite(speed) and speed >= 0:
            return speed
    raise click.BadParameter("this is a factor, such as 10, or max", ctx, parameter)


def _pause(ctx: click.Context, parameter: click.Parameter, value: float) -> float:
    if math.isnan(value) or value < 0:
        raise click.BadParameter("this is a number of seconds, such as 2", ctx, parameter)
    return value


@command.command(short_help="Tell a run's story in the terminal, as it happened.")
@click.argument("run", metavar="RUN")
@click.option("--speed", default="1", metavar="N", callback=_speed, help="So many times as fast; max: without pauses.")
@click.option("--max-pause", type=float, default=2.0, metavar="S", callback=_pause, help="Seconds at most between two.")
@common_options
def replay(common: Common, run: str, speed: float, max_pause: float) -> int:
    """Tell the story of a run as it happened: its events, and where its signals came from and went to.

    Of pauses those above 2 seconds are shortened to that, or to --max-pause. Ctrl-C ends it.

    Exit codes: 0, also if ended by Ctrl-C; 1 there is no such run, or the store cannot be reached; 2 if the command
    line is wrong.
    """
    from attune_dsl.cli import event_tail
    from attune_dsl.cli import replay as told_by
    from attune_dsl.export.story import story_of

    with opened(common) as (timeline, where):
        told = timeline.read()
    found = run_named(run, told, where)
    story = story_of(found.run_id, told)
    writer = event_tail.Writer(as_json=common.as_json, rows=told_by.ROWS, since=story[0].at)
    with suppress(KeyboardInterrupt):
        writer.facts(told_by.header(found, unicode=writer.unicode))
        writer.make_room(story)
        told_by.play(story, writer.write, speed=speed, max_pause=max_pause)
        writer.facts(told_by.footer(found, unicode=writer.unicode))
    return OK
