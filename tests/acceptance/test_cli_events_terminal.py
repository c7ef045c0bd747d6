"""What the commands about the timeline draw on a terminal, wide and narrow."""

from __future__ import annotations

import re
import signal

import pytest
from cli_support import Cli, cli  # noqa: F401 (a fixture)
from events_support import FLOWS
from terminal_support import Terminal, on_terminal, plain

COMMANDS = (
    ["events", "tail"],
    ["events", "replay", "release", "--speed", "max"],
    ["runs", "list"],
    ["runs", "show", "release"],
)


@pytest.fixture
def terminal(cli: Cli) -> Cli:  # noqa: F811
    """A command line on an embedded server of its own, where a workflow has run."""
    cli.write("flows.py", FLOWS)
    assert cli("run", "flows:release").code == 0
    return cli


@pytest.mark.parametrize("columns", [40, 60, 160])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
def test_it_fits_and_is_in_colour(terminal: Cli, command: list[str], columns: int) -> None:
    """§3 events, runs: nothing is wider than the terminal, and what is good is green."""
    seen, _ = on_terminal(terminal, columns, *command)
    assert max(map(len, plain(seen))) <= columns
    assert re.search(r"\x1b\[(1;)?32m", seen)


def test_a_narrow_terminal_names_stages_in_the_text(terminal: Cli) -> None:
    """§3 events tail: there is no room for a column of them; long lines go on at a word."""
    seen, _ = on_terminal(terminal, 60, "events", "tail", "--kind", "stage", "--kind", "signal")
    assert [re.sub(r"\d\d:\d\d:\d\d|\d+ ms", "…", line) for line in plain(seen) if line][1:] == [
        "…  ● release  build started (cheap)",
        "…  ↻ release  build attempt 1 failed, again in …:",
        "                     ConnectionError: the index did not ans…",
        "…  ● release  build attempt 2 started (cheap)",
        "…  ✓ release  build completed in … after 2",
        "                     attempts",
        "…  ● release  announce started",
        "…  → release  sent task_complete to deploy",
        '                     {"artifact":"app-1.2.whl"}',
        "…  ✓ release  announce completed in …",
    ]


def test_following_outlives_the_store_and_says_that_it_is_away(terminal: Cli) -> None:
    """§5.11 events tail --follow: what happens once it is back is shown; Ctrl-C ends it."""
    with Terminal(terminal, 100, "events", "tail", "--follow") as tail:
        tail.until("Ctrl-C ends")
        assert terminal("store", "stop", "--force").code == 0
        tail.until("not up to date")
        assert terminal("store", "start").code == 0
        tail.until("up to date again")
        tail.seen = ""
        assert terminal("run", "flows:release", "--agent-id", "later").code == 0
        tail.until("run completed")
        tail.process.send_signal(signal.SIGINT)
        seen = tail.until(None)
        assert tail.process.wait() == 0
    assert terminal("store", "stop").code == 0
    told = [line for line in plain(seen) if "run" in line.split()]
    assert [line.split()[2] for line in told] == ["later", "later"]
    assert "Traceback" not in seen
