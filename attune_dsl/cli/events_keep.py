"""``attune-dsl events export``, ``trim``, ``cap`` and ``stats``: what is kept of the timeline."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from attune_dsl.cli import formats
from attune_dsl.cli.errors import OK, CliError, UsageError
from attune_dsl.cli.options import Common, common_options, say
from attune_dsl.cli.timelines import opened, run_named
from attune_dsl.store.limits import TIMELINE_LEAST, TIMELINE_MOST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from attune_dsl.coordination.timeline import TimelineStats
    from attune_dsl.events import Event

_ENDINGS: Final = {"jsonl": "jsonl", "html": "html", "mermaid": "mmd", "perfetto": "json"}
_TITLES: Final = 9
"""Cells of the widest title, and a gap."""


@click.command(short_help="Write a run's story, or the whole timeline, into a file.")
@click.argument("run", metavar="RUN", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(tuple(_ENDINGS)),
    required=True,
    help="A page for browsers (html), events as lines of JSON (jsonl), a sequence diagram (mermaid), or a trace for "
    "ui.perfetto.dev (perfetto).",
)
@click.option("--output", metavar="FILE", help="Where to; - is standard output; else a file here, named after the run.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
@click.option("--all", "is_whole", is_flag=True, help="The whole timeline instead of one run.")
@common_options
def export(common: Common, run: str | None, *, form: str, output: str | None, force: bool, is_whole: bool) -> int:
    """Write the story of a run, or with --all the whole timeline, into a file, and say where that is.

    Exit codes: 0 written; 1 there is no such run, the file exists (--force overwrites it) or cannot be written, or
    the store cannot be reached; 2 if the command line is wrong.
    """
    if is_whole == (run is not None):
        raise UsageError("name a run, or export the whole timeline with --all; not both")
    from attune_dsl.export.forms import export as exported
    from attune_dsl.export.story import story_of

    with opened(common) as (timeline, where):
        told: Sequence[Event] = timeline.read()
        stem = f"timeline-{timeline.namespace}"
    if run is not None:
        found = run_named(run, told, where)
        told = story_of(found.run_id, told)
        stem = f"{found.workflow or found.agent_id or 'run'}-{found.run_id[:8]}"
    content = exported(told, form)
    if output == "-":
        click.echo(content, nl=False)
        return OK
    path = Path(output or f"{_safe(stem)}.{_ENDINGS[form]}")
    _write(path, content, force=force)
    _say_written(path, content, told, as_json=common.as_json)
    return OK


def _safe(stem: str) -> str:
    """Return a name for a file: names of workflows may have anything in them."""
    return re.sub(r"[^\w.-]+", "-", stem).strip(".-")[:100] or "run"


def _write(path: Path, content: bytes, *, force: bool) -> None:
    try:
        with path.open("wb" if force else "xb") as file:
            file.write(content)
    except FileExistsError:
        raise CliError(f"{str(path)!r} exists; to overwrite it: --force") from None
    except OSError as error:
        raise CliError(f"{str(path)!r} could not be written: {error.strerror}") from None


def _say_written(path: Path, content: bytes, told: Sequence[Event], *, as_json: bool) -> None:
    if as_json:
        _print_json({"path": str(path.resolve()), "size": len(content), "events": len(told)})
        return
    click.echo(str(path))
    say(f"{len(told):,} events, {formats.size(len(content))}")


@click.command(short_help="Drop all but the last events.")
@click.option("--keep", type=click.IntRange(min=0), metavar="N", required=True, help="How many are kept.")
@common_options
def trim(common: Common, keep: int) -> int:
    """Drop the oldest events until N are left, and print how many were dropped.

    Exit codes: 0, also if there were no more; 1 if the store cannot be reached; 2 if the command line is wrong.
    """
    with opened(common) as (timeline, _):
        dropped = timeline.trim(keep=keep)
    if common.as_json:
        _print_json({"dropped": dropped})
    else:
        click.echo(dropped)
    return OK


@click.command(short_help="Say how many events are kept from now on.")
@click.argument("count", metavar="N", type=click.IntRange(TIMELINE_LEAST, TIMELINE_MOST))
@common_options
def cap(common: Common, count: int) -> int:
    """Keep about the last N events of this namespace from now on; 100,000 are kept where nobody says otherwise.

    What is more is dropped at once. An event takes about 250 bytes of the store's memory.

    Exit codes: 0; 1 if the store cannot be reached; 2 if the command line is wrong.
    """
    with opened(common) as (timeline, where):
        timeline.set_cap(count)
    if common.as_json:
        _print_json({"cap": count})
    else:
        say(f"about {count:,} events are kept in {where}")
    return OK


@click.command(short_help="Show how much the timeline holds, and how far it reaches back.")
@common_options
def stats(common: Common) -> int:
    """Show how many events the timeline holds, from when to when, how many it has dropped, and its size.

    Exit codes: 0; 1 if the store cannot be reached; 2 if the command line is wrong.
    """
    with opened(common) as (timeline, _):
        found = timeline.stats()
    if common.as_json:
        _print_json(found)
        return OK
    for title, text in _lines(found).items():
        if text:
            click.echo(f"{click.style(title.ljust(_TITLES), dim=True)}{text}")
    return OK


def _lines(found: TimelineStats) -> dict[str, str]:
    return {
        "events": f"{found.count:,} of {found.cap:,} at most",
        "from": _moment(found.first_id),
        "to": _moment(found.last_id),
        "dropped": f"{found.dropped:,}" if found.dropped else "",
        "size": "" if found.size_bytes is None else formats.size(found.size_bytes),
    }


def _moment(event_id: str | None) -> str:
    if event_id is None:
        return ""
    return f"{formats.moment(int(event_id.partition('-')[0]) / 1000)}  {click.style(event_id, dim=True)}"


def _print_json(value: Any) -> None:
    import msgspec

    encoded = msgspec.json.encode(value)
    click.echo(msgspec.json.format(encoded, indent=2) if sys.stdout.isatty() else encoded)
