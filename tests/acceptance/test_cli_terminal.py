"""What the commands draw on a terminal, wide and narrow."""

from __future__ import annotations

import json
import re
import signal

import pytest
from cli_support import Cli, cli  # noqa: F401 (a fixture)
from terminal_support import Terminal, on_terminal, plain

FLOWS = """
    from attune_dsl import Context, stage, workflow

    @stage(tier="cheap")
    def build(ctx: Context, version: str) -> str:
        ctx.progress(0.5, "a note that is much too long for a narrow terminal, whatever one does with it")
        print("a line of the user")
        return f"app-{version}.whl"

    @stage
    def refuse(): raise ValueError("an error that is much too long for a narrow terminal")

    @workflow(heartbeat=True)
    def release(version: str) -> str: return build(version)

    @workflow
    def fails(): refuse()
"""

LOGS = """
    import structlog
    from attune_dsl import stage, workflow

    @stage
    def work() -> None: structlog.get_logger().info("work.done", text="a\\x1b[2Jb")

    @workflow
    def flow() -> None: work()
"""


@pytest.fixture
def terminal(cli: Cli) -> Cli:  # noqa: F811
    """A command line in a folder with a module of workflows."""
    cli.write("flows.py", FLOWS)
    return cli


@pytest.mark.parametrize("columns", [40, 60, 120])
def test_the_live_view_fits_and_its_last_frame_stays(terminal: Cli, columns: int) -> None:
    seen, _ = on_terminal(terminal, columns, "run", "flows:release", "version=1")
    lines = plain(seen)
    assert max(map(len, lines)) <= columns
    assert any(re.fullmatch(r"✓  build .*", line) for line in lines)
    assert any(line.startswith("✓ completed in ") for line in lines)
    assert "a line of the user" in lines
    assert [line for line in lines if line][-1] == "app-1.whl"


def test_a_wide_terminal_names_its_columns(terminal: Cli) -> None:
    seen, _ = on_terminal(terminal, 120, "run", "flows:release", "version=1")
    assert any(line.split() == ["stage", "state", "try", "tier", "time"] for line in plain(seen))
    assert any(line.startswith("release   agent release   namespace default   store embedded") for line in plain(seen))


def test_redirected_output_stays_the_users_own(terminal: Cli) -> None:
    seen, piped = on_terminal(terminal, 80, "run", "flows:release", "version=1", pipe=True)
    assert piped == "a line of the user\napp-1.whl\n"
    assert "a line of the user" not in seen
    assert "app-1.whl" not in seen


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(terminal: Cli) -> None:
    seen, _ = on_terminal(terminal, 80, "run", "flows:release", "version=1", kind="dumb")
    assert "[  0%] build: running (cheap)" in plain(seen)
    assert "\x1b[" not in seen


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_table_of_agents_fits(terminal: Cli, columns: int) -> None:
    terminal("run", "flows:release", "version=1")
    seen, _ = on_terminal(terminal, columns, "agents")
    lines = plain(seen)
    assert max(map(len, lines)) <= columns
    assert any(line.startswith("✓  release  ") for line in lines)


def test_watch_redraws_until_ctrl_c_and_gives_the_screen_back(terminal: Cli) -> None:
    terminal("run", "flows:release", "version=1")
    with Terminal(terminal, 80, "agents", "--watch") as watch:
        watch.until("0 live, 1 ended")
        terminal("run", "flows:release", "version=1", "--agent-id", "other")
        watch.until("0 live, 2 ended")
        watch.process.send_signal(signal.SIGINT)
        seen = watch.until(None)
        assert watch.process.wait() == 0
    assert "Traceback" not in seen
    assert seen.rindex("\x1b[?1049l") > seen.rindex("ended")


def test_watch_outlives_the_store_and_says_that_it_is_not_up_to_date(terminal: Cli) -> None:
    with Terminal(terminal, 80, "agents", "--watch") as watch:
        watch.until("no agents")
        assert terminal("store", "stop", "--force").code == 0
        watch.until("not up to date")
        assert terminal("store", "start").code == 0
        watch.seen = ""
        watch.until("0 live, 0 ended")
        watch.process.send_signal(signal.SIGINT)
        watch.until(None)
        assert watch.process.wait() == 0
    assert terminal("store", "stop").code == 0


@pytest.mark.parametrize("columns", [40, 60, 120])
def test_the_page_of_one_agent_fits(terminal: Cli, columns: int) -> None:
    terminal("run", "flows:release", "version=1")
    seen, _ = on_terminal(terminal, columns, "agents", "show", "release")
    lines = plain(seen)
    assert max(map(len, lines)) <= columns
    assert any(re.fullmatch(r"status +✓ completed", line) for line in lines)
    assert any(re.fullmatch(r"✓  build  completed .*", line) for line in lines)


def test_watch_on_a_terminal_that_cannot_move_its_cursor_writes_lines(terminal: Cli) -> None:
    terminal("run", "flows:release", "version=1")
    with Terminal(terminal, 80, "agents", "--watch", kind="dumb") as watch:
        assert "\x1b[" not in watch.until("listed   release  completed")
        watch.process.send_signal(signal.SIGINT)
        watch.until(None)
        assert watch.process.wait() == 0


def test_on_a_terminal_log_lines_are_for_people_and_above_the_view(terminal: Cli) -> None:
    """§3 logging: a line each with where it was, and no control characters of others."""
    terminal.write("logs.py", LOGS)
    seen, out = on_terminal(terminal, 250, "run", "logs:flow", pipe=True)
    lines = [line for line in plain(seen) if "work.done" in line]
    assert out == ""
    assert len(lines) == 1
    assert re.search(r"\[info +\] work\.done +text=a�\[2Jb agent_id=flow workflow=flow stage=work", lines[0])
    assert re.search(r" attempt=1 run_id=[0-9a-f]{32}$", lines[0])


def test_json_on_a_terminal_is_json_alone(terminal: Cli) -> None:
    """§3 logging: no view is drawn where --log-format json was asked for."""
    terminal.write("logs.py", LOGS)
    seen, _ = on_terminal(terminal, 40, "run", "logs:flow", "--log-format", "json", pipe=True)
    events = [json.loads(line)["event"] for line in seen.splitlines()]
    assert events == ["run.started", "stage.started", "work.done", "stage.ended", "run.ended"]
