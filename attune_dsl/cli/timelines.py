"""What the commands about the timeline share: opening it, and finding the run that is meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from attune_dsl.cli.errors import CliError, did_you_mean
from attune_dsl.cli.formats import one_line

if TYPE_CHECKING:
    from attune_dsl.cli.options import Common
    from attune_dsl.coordination.runs import RunSummary
    from attune_dsl.coordination.timeline import Timeline
    from attune_dsl.events import Event

_NAMED: Final = 5
"""Runs that an error names at most."""


@contextmanager
def opened(common: Common) -> Iterator[tuple[Timeline, str]]:
    """Connect to the store; yield the timeline, and where that is."""
    from attune_dsl.cli.logs import show_warnings
    from attune_dsl.coordination.timeline import Timeline

    show_warnings(quiet=not common.verbose)  # what goes wrong is said by this command itself
    with Timeline(common.store, common.namespace) as timeline:
        yield timeline, f"namespace {timeline.namespace}, store {timeline.store_label}"


def run_named(name: str, told: Sequence[Event], where: str) -> RunSummary:
    """Return the run that is meant: by its id, the beginning of that, or its agent. Raises :class:`CliError`."""
    from attune_dsl.coordination.runs import matching, summaries

    runs = summaries(told)
    found = matching(name, runs)
    if len(found) == 1:
        return found[0]
    if found:
        raise CliError(f"{len(found):,} runs in {where} begin with {name!r}: {_named(found)}")
    raise CliError(f"there is no run {name!r} in {where}{_hint(name, runs)}{_older(told)}")


def has_dropped(told: Sequence[Event]) -> bool:
    """Whether what a timeline was read from the beginning lacks events that it once had."""
    return bool(told) and told[0].kind == "timeline.gap" and told[0].run is None


def _older(told: Sequence[Event]) -> str:
    return "; older ones may have been dropped from the timeline" if has_dropped(told) else ""


def _hint(name: str, runs: Sequence[RunSummary]) -> str:
    """Say which runs may have been meant, and else how to see which there are."""
    from attune_dsl.coordination.runs import SHORTEST

    if len(name) < SHORTEST and any(run.run_id.startswith(name) for run in runs):
        return f"; a run's id can be shortened to {SHORTEST} characters"
    of_workflow = [run for run in runs if run.workflow == name]
    if of_workflow:
        return f"; it is the workflow of {_named(of_workflow[::-1])}"
    known = [run.agent_id or "" for run in runs] + [run.run_id for run in runs]
    return did_you_mean(name, known) or "; to see which there are: attune-dsl runs list"


def _named(runs: Sequence[RunSummary]) -> str:
    ids = [run.run_id for run in runs]
    length = next((n for n in range(8, 64) if len({run_id[:n] for run_id in ids}) == len(ids)), 64)
    named = [f"{one_line(run.run_id[:length])} ({one_line(run.agent_id or '')})" for run in runs[:_NAMED]]
    more = [f"{len(runs) - _NAMED:,} more"] if len(runs) > _NAMED else []
    return ", ".join(named + more)
