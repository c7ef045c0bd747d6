"""Which run a name on the command line means, and what is said where it means none or several."""

from __future__ import annotations

import pytest

from attune_dsl.cli.errors import CliError
from attune_dsl.cli.timelines import has_dropped, run_named
from attune_dsl.events import AgentJoin, Event, Gap

WHERE = "namespace n, store s"


def joined(run_id: str, agent: str, workflow: str = "release") -> Event:
    data = AgentJoin(epoch=1)
    return Event(
        id="1-1", kind="agent.joined", at=1.0, namespace="n", agent=agent, run=run_id, workflow=workflow, data=data
    )


GAP = Event(id="1-0", kind="timeline.gap", at=1.0, namespace="n", data=Gap(why="the oldest were dropped"))
TOLD = [joined("abcd1111aa", "one"), joined("abcd1111bb", "two"), joined("ef01234567", "one", "deploy")]


@pytest.mark.parametrize(("name", "run_id"), [("ef01", "ef01234567"), ("one", "ef01234567"), ("two", "abcd1111bb")])
def test_a_run_is_found_by_its_id_and_by_its_agent(name: str, run_id: str) -> None:
    """§3 events replay: RUN is a run's id, its beginning, or an agent id, which means its latest run."""
    assert run_named(name, TOLD, WHERE).run_id == run_id


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("abcd", f"2 runs in {WHERE} begin with 'abcd': abcd1111a (one), abcd1111b (two)"),
        ("ab", f"there is no run 'ab' in {WHERE}; a run's id can be shortened to 4 characters"),
        ("release", f"there is no run 'release' in {WHERE}; it is the workflow of abcd1111b (two), abcd1111a (one)"),
        ("twoo", f"there is no run 'twoo' in {WHERE}; did you mean two?"),
        ("zzzz", f"there is no run 'zzzz' in {WHERE}; to see which there are: attune-dsl runs list"),
    ],
)
def test_what_is_no_run_or_several_is_said_with_what_may_have_been_meant(name: str, said: str) -> None:
    """§3 events replay: errors name the candidates, or the nearest."""
    with pytest.raises(CliError) as raised:
        run_named(name, TOLD, WHERE)
    assert (str(raised.value), raised.value.exit_code) == (said, 1)


def test_very_many_candidates_are_not_all_named() -> None:
    """§3 events replay: an error is one line."""
    told = [joined(f"abcd{n:028x}", f"agent-{n}") for n in range(20)]
    with pytest.raises(CliError, match=r"^20 runs in .*: (abcd0+[0-9a-f]+ \(agent-\d\), ){5}15 more$"):
        run_named("abcd", told, WHERE)


def test_a_timeline_that_has_dropped_its_beginning_may_have_had_the_run() -> None:
    """§5.12: what was dropped is never silently missing."""
    with pytest.raises(CliError, match=r"; older ones may have been dropped from the timeline$"):
        run_named("zzzz", [GAP, *TOLD], WHERE)
    assert has_dropped([GAP, *TOLD])
    assert not has_dropped([*TOLD, GAP])
    assert not has_dropped([])


def test_hostile_names_in_an_error_are_harmless() -> None:
    """§5.12: what others wrote cannot move the cursor."""
    told = [joined(f"abcd\x1b[2J{n}", "\x1b[2J") for n in range(2)]
    with pytest.raises(CliError) as raised:
        run_named("abcd", told, WHERE)
    assert str(raised.value).isprintable()
