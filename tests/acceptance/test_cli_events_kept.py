"""``attune-dsl events export``, ``trim`` and ``stats``."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from cli_support import Cli, cli  # noqa: F401 (a fixture)
from events_support import Place, place, talked  # noqa: F401 (fixtures)

embedded = pytest.mark.parametrize("store", ["embedded"], indirect=True)  # what is printed depends on no server

BEGINNINGS = {"html": b"<!doctype html>", "jsonl": b'{"', "mermaid": b"sequencediagram", "perfetto": b"{"}
ENDINGS = {"html": "html", "jsonl": "jsonl", "mermaid": "mmd", "perfetto": "json"}


@embedded
@pytest.mark.parametrize("form", list(BEGINNINGS))
def test_a_run_is_exported_into_a_file_named_after_it(talked: Place, form: str) -> None:  # noqa: F811
    """§3 events export: it says where it wrote, and does not overwrite."""
    run_id = talked.run_of("release")
    name = f"release-{run_id[:8]}.{ENDINGS[form]}"
    ended = talked("events", "export", "release", "--format", form)
    assert (ended.code, ended.out) == (0, f"{name}\n")
    written = (talked.folder / name).read_bytes()
    assert BEGINNINGS[form] in written.lower()[:200]
    again = talked("events", "export", run_id, "--format", form)
    assert (again.code, again.out) == (1, "")
    assert again.err == f"error: '{name}' exists; to overwrite it: --force\n"
    assert talked("events", "export", run_id, "--format", form, "--force").code == 0
    assert (talked.folder / name).read_bytes() == written


@embedded
def test_what_goes_to_standard_output_is_what_goes_into_a_file(talked: Place) -> None:  # noqa: F811
    """§3 events export: byte for byte, and nothing else."""
    talked("events", "export", "release", "--format", "jsonl", "--output", "story")
    piped = subprocess.run(
        [
            *(sys.executable, "-m", "attune_dsl", "events", "export", "release", "--format", "jsonl"),
            *("--output", "-", *talked.options),
        ],
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert piped.stdout == (talked.folder / "story").read_bytes()
    assert piped.stderr == b""
    story = [json.loads(line) for line in piped.stdout.splitlines()]
    assert {event["agent"] for event in story} == {"release", "deploy"}
    assert [event["kind"] for event in story if event["agent"] == "deploy"] == ["signal.received"]


@embedded
def test_the_whole_timeline_is_exported_in_its_order(talked: Place) -> None:  # noqa: F811
    """§3 events export --all: as events tail tells it."""
    ended = talked("events", "export", "--all", "--format", "jsonl", "--json")
    path = talked.folder / f"timeline-{talked.store.namespace}.jsonl"
    told = talked.told("-n", "1000")
    assert [json.loads(line) for line in path.read_text().splitlines()] == told
    assert ended.json == {"path": str(path), "size": path.stat().st_size, "events": len(told)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "jsonl"], "name a run, or export the whole timeline with --all; not both"),
        (["x", "--all", "--format", "jsonl"], "name a run, or export the whole timeline with --all; not both"),
        (["x"], "missing option '--format'. Choose from: jsonl, html, mermaid, perfetto"),
        (["x", "--format", "pdf"], "--format: 'pdf' is not one of 'jsonl', 'html', 'mermaid', 'perfetto'"),
    ],
)
def test_what_is_wrong_with_the_command_line_is_one_clear_line(cli: Cli, arguments: list[str], message: str) -> None:  # noqa: F811
    """§3 events export: nothing is contacted then."""
    ended = cli("events", "export", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {message}")
    assert len(ended.err.splitlines()) == 1


@embedded
def test_a_file_that_cannot_be_written_is_said(talked: Place) -> None:  # noqa: F811
    """§3 events export: one line, exit code 1."""
    ended = talked("events", "export", "release", "--format", "jsonl", "--output", "nowhere/story")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "error: 'nowhere/story' could not be written: No such file or directory\n"


@embedded
def test_names_of_workflows_make_harmless_names_of_files(place: Place) -> None:  # noqa: F811
    """§5.12: a name may have anything in it but control characters."""
    source = """
        from attune_dsl import workflow

        @workflow(name="..a b:c", heartbeat=True)
        def odd(): pass
    """
    place.cli.write("odd.py", source)
    assert place("run", "odd:odd", "--agent-id", "odd").code == 0
    ended = place("events", "export", "odd", "--format", "jsonl")
    assert ended.out == f"a-b-c-{place.run_of('odd')[:8]}.jsonl\n"
    assert (place.folder / ended.out.strip()).is_file()


@embedded
def test_trim_keeps_the_last_ones_and_says_how_many_went(talked: Place) -> None:  # noqa: F811
    """§3 events trim: and the timeline says from then on that there was more."""
    before = talked.told("-n", "1000")
    ended = talked("events", "trim", "--keep", "5")
    assert (ended.code, ended.err) == (0, "")
    assert int(ended.out) > 0
    kept = [event for event in talked.told("-n", "1000") if event["kind"] != "timeline.gap"]
    assert kept == before[-len(kept) :]
    assert 0 < len(kept) <= 5
    assert talked("events", "trim", "--keep", "5", "--json").json == {"dropped": 0}
    assert talked("events", "trim", "--keep", "-1").code == 2


@embedded
def test_stats_say_how_much_there_is_and_how_far_it_reaches_back(talked: Place) -> None:  # noqa: F811
    """§3 events stats: count, cap, the span of time, what was dropped."""
    told = talked.told("-n", "1000")
    found = talked("events", "stats", "--json").json
    assert (found["cap"], found["dropped"]) == (100_000, 0)
    assert found["last_id"] == talked.store.redis.xrevrange(f"{talked.store.prefix}timeline", count=1)[0][0].decode()
    shown = talked("events", "stats").out
    assert [line.split()[0] for line in shown.splitlines()][:3] == ["events", "from", "to"]
    assert told[0]["id"] >= found["first_id"]
    assert f"{found['count']:,} of 100,000 at most" in shown
    talked("events", "trim", "--keep", "5")
    assert talked("events", "stats", "--json").json["dropped"] > 0


@embedded
def test_how_many_are_kept_can_be_said(place: Place) -> None:  # noqa: F811
    """§3 events cap: for a namespace, from now on."""
    ended = place("events", "cap", "5000")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith("about 5,000 events are kept in namespace test-")
    assert place("events", "stats", "--json").json["cap"] == 5000
    assert place("events", "cap", "1000", "--json").json == {"cap": 1000}
    assert place("events", "cap", "999").err.startswith("error: 999 is not in the range 1000<=x<=10000000")


@embedded
def test_stats_of_an_empty_timeline(place: Place) -> None:  # noqa: F811
    """§3 events stats: nothing happened yet."""
    assert place("events", "stats").out.splitlines()[0].split() == ["events", "0", "of", "100,000", "at", "most"]
    assert place("events", "trim", "--keep", "0").out == "0\n"
