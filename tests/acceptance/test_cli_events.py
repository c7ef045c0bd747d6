"""``attune-dsl events tail`` and ``replay``: what happened, for people and for programs."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from cli_support import Cli, Ended, cli  # noqa: F401 (a fixture)
from events_support import Place, place, talked  # noqa: F401 (fixtures)
from telling import tell

from attune_dsl.events import AgentJoin, Emit, SignalSent

if TYPE_CHECKING:
    from conftest import Store

embedded = pytest.mark.parametrize("store", ["embedded"], indirect=True)  # what is printed depends on no server

TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  (.*)")


def said(ended: Ended) -> list[str]:
    """What lines say behind the time; of times and pauses only that there are some."""
    assert (ended.code, ended.err) == (0, "")
    found = [TIME.fullmatch(line) for line in ended.out.splitlines()]
    texts = [re.sub(r"\d+ ms|\d+\.\d s|\b[0-9a-f]{8}\b", "…", match[1] if match else "no time") for match in found]
    return [" ".join(text.split()) for text in texts]


@embedded
def test_the_story_of_a_run_in_plain_words(talked: Place) -> None:  # noqa: F811
    """§3 events tail: one line for each event: whose, on which stage, and what happened."""
    assert said(talked("events", "tail", "--agent", "release")) == [
        "+ release joined",
        "▶ release run … of release started, planned: build, announce",
        "● release build started (cheap)",
        "↻ release build attempt 1 failed, again in …: ConnectionError: the index did not answer",
        "● release build attempt 2 started (cheap)",
        '» release build note: {"files":12}',
        "✓ release build completed in … after 2 attempts",
        "● release announce started",
        '→ release announce sent task_complete to deploy {"artifact":"app-1.2.whl"}',
        "✓ release announce completed in …",
        "✓ release run completed in …",
        "– release left as completed",  # noqa: RUF001
    ]


@embedded
def test_the_last_ones_are_shown_oldest_first(talked: Place) -> None:  # noqa: F811
    """§3 events tail: 20 unless -n says otherwise."""
    assert said(talked("events", "tail", "-n", "3")) == [
        "✗ deploy ship failed in …: ValueError: the index refused app-1.2.whl",
        "✗ deploy run failed in …: ValueError: the index refused app-1.2.whl",
        "– deploy left as failed",  # noqa: RUF001
    ]
    for _ in range(2):
        talked("run", "flows:release")
    assert len(said(talked("events", "tail"))) == 20


@embedded
def test_filters_combine(talked: Place) -> None:  # noqa: F811
    """§3 events tail: kinds and families, an agent, a run by its id, its beginning or its agent."""
    talked("run", "flows:release", "version=2")
    first, second = (run["run_id"] for run in talked.runs("--agent", "release")[::-1])
    assert [event["kind"] for event in talked.told("--kind", "signal.sent", "--kind", "run")] == [
        *("run.started", "signal.sent", "run.ended"),
        *("run.started", "run.ended"),
        *("run.started", "signal.sent", "run.ended"),
    ]
    for name, meant in (("release", second), (second[:8], second), (first, first)):
        runs = {event["run"] for event in talked.told("--run", name, "-n", "100")}
        assert runs == {meant}
    assert talked.told("--run", "release", "--agent", "deploy") == []


@embedded
def test_reading_goes_on_behind_an_event(talked: Place) -> None:  # noqa: F811
    """§3 events tail: --after gives all that follows, or the first ones of it."""
    everything = talked.told("-n", "1000")
    third = everything[2]["id"]
    assert talked.told("--after", third) == everything[3:]
    assert talked.told("--after", third, "-n", "2") == everything[3:5]
    assert talked.told("--after", everything[-1]["id"]) == []


@embedded
def test_following_tells_everything_once(talked: Place) -> None:  # noqa: F811
    """§5.12 events tail --follow: from the last ones on without a gap and without a duplicate, until Ctrl-C."""
    with talked.start("events", "tail", "--follow", "-n", "5", "--json") as tail:
        tail.says('"kind":"agent.ended"')
        for _ in range(3):
            talked("run", "flows:release")
            tail.says('"kind":"agent.ended"')
        tail.interrupt()
        ended = tail.end()
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    seen = [json.loads(line)["id"] for line in tail.heard]
    assert seen == [event["id"] for event in talked.told("-n", "1000")][-len(seen) :]
    assert len(seen) > 5 + 3 * 10


@embedded
def test_following_an_empty_namespace_begins_with_its_first_event(place: Place) -> None:  # noqa: F811
    """§3 events tail --follow: with filters, and without anything from before."""
    with place.start("events", "tail", "--follow", "--kind", "run") as tail:
        place("run", "flows:release")
        assert tail.says("run completed").endswith(" ms")
        tail.interrupt()
        assert tail.end().code == 0
    assert [re.sub(r".*  ", "", line.strip())[:4] for line in tail.heard] == ["run ", "run "]


@embedded
def test_nothing_that_fits_is_said(place: Place) -> None:  # noqa: F811
    """§3 events tail: on standard error, so that programs read nothing."""
    ended = place("events", "tail")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith("nothing is told in namespace test-")
    place("run", "flows:release")
    assert place("events", "tail", "--agent", "ops").err.startswith("nothing of that is told in namespace test-")
    assert place.told("--agent", "ops") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tail", "--kind", "stages"], "--kind: there is no kind 'stages'; did you mean stage"),
        (["tail", "--kind", "x"], "--kind: there is no kind 'x'; there are run, stage, signal, wait, agent, emit, "),
        (["tail", "--after", "yesterday"], "--after: this is the id of an event, such as 1763971918123-0"),
        (["tail", "-n", "-1"], "-n: -1 is not in the range x>=0"),
        (["replay", "x", "--speed", "fast"], "--speed: this is a factor, such as 10, or max"),
        (["replay", "x", "--speed", "-1"], "--speed: this is a factor, such as 10, or max"),
        (["replay", "x", "--max-pause", "nan"], "--max-pause: this is a number of seconds, such as 2"),
        (["replay"], "missing argument 'RUN'"),
    ],
)
def test_what_is_wrong_with_the_command_line_is_one_clear_line(cli: Cli, arguments: list[str], message: str) -> None:  # noqa: F811
    """§3 events: nothing is contacted then."""
    ended = cli("events", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {message}")
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize("command", [["tail"], ["tail", "--follow"], ["replay", "x"], ["stats"]])
def test_a_store_out_of_reach_is_one_line_and_exit_code_1(cli: Cli, command: list[str]) -> None:  # noqa: F811
    """§5.11: as for the other commands that look."""
    ended = cli("events", *command, "--store", "redis://localhost:1")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: the store redis://localhost:1 cannot be reached")
    assert len(ended.err.splitlines()) == 1


@embedded
def test_hostile_data_is_shown_harmlessly_and_malformed_entries_are_left_out(place: Place, store: Store) -> None:  # noqa: F811
    """§5.12: neither reaches the terminal as it is, nor stops what follows."""
    tell(store, "emit", Emit(kind="\x1b[2J", data="\x9b2J\r\nx"), agent="\x1b]0;x\x07", run="dead" * 8)
    store.redis.xadd(f"{store.prefix}timeline", {"kind": "emit", "at": "soon", "data": "{"})
    tell(store, "signal.sent", SignalSent(id="1", type="\x1b[31m", target="bob"), run="dead" * 8)
    tell(store, "agent.joined", AgentJoin(epoch=1), agent="\u202emoc", run="dead" * 8)
    for command in (["tail"], ["replay", "dead", "--speed", "max"]):
        ended = place("events", *command)
        assert ended.code == 0
        assert ended.out.replace("\n", "").isprintable()
    assert [event["kind"] for event in place.told()] == ["emit", "signal.sent", "agent.joined"]


@embedded
def test_a_replay_has_both_ends_of_each_signal(talked: Place) -> None:  # noqa: F811
    """§3 events replay: the run's own events, and where its signals came from."""
    run_id = talked.run_of("deploy")
    ended = talked("events", "replay", run_id[:8], "--speed", "max")
    assert (ended.code, ended.err) == (0, "")
    header, *lines, footer = ended.out.splitlines()
    assert re.fullmatch(rf"deploy   run {run_id[:8]}   [-\d]+ [:\d]+   ✗ failed after \d+ ms", header)
    assert re.fullmatch(r"✗ failed after \d+ ms   stages 1/2   signals 0 sent, 1 received.*", footer)
    assert all(re.match(r" *\+\d+\.\d\ds  \S ", line) for line in lines)
    told = [" ".join(line.split()[1:]) for line in lines]
    assert told[0].startswith("→ release announce sent task_complete to deploy")
    assert told[-2] == "– deploy left as failed" or told[-1] == "– deploy left as failed"  # noqa: RUF001
    assert sum("received task_complete from release" in line for line in told) == 1


@embedded
def test_a_replay_for_programs_is_the_events_alone(talked: Place) -> None:  # noqa: F811
    """§3 events replay --json: no header and no footer."""
    ended = talked("events", "replay", "release", "--speed", "max", "--json")
    kinds = [json.loads(line)["kind"] for line in ended.out.splitlines()]
    assert (kinds[0], kinds[-2:]) == ("agent.joined", ["agent.ended", "signal.received"])


@embedded
def test_a_replay_ends_with_ctrl_c(talked: Place) -> None:  # noqa: F811
    """§3 events replay: in the middle of a pause, with exit code 0 and without a footer."""
    with talked.start("events", "replay", "release", "--speed", "0.00001", "--max-pause", "600") as replay:
        replay.says("joined")
        replay.interrupt()
        ended = replay.end()
    assert (ended.code, ended.out, ended.err) == (0, "", "")


@embedded
@pytest.mark.parametrize("command", [["events", "replay"], ["runs", "show"], ["events", "tail", "--run"]])
def test_a_run_that_there_is_not(talked: Place, command: list[str]) -> None:  # noqa: F811
    """§3 events replay: an error that names the nearest."""
    ended = talked(*command, "relaese")
    assert (ended.code, ended.out) == (1, "")
    assert ended.error.startswith("error: there is no run 'relaese' in namespace test-")
    assert ended.error.endswith("; did you mean release?")
