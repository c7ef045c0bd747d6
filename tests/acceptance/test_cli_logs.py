"""What is logged, as the command line shows it: to people on a terminal, as JSON elsewhere."""

from __future__ import annotations

import json
import re
import socket
from typing import Any

import pytest
from cli_support import Cli, cli  # noqa: F401 (a fixture)

FLOWS = """
    import logging, structlog
    from attune_dsl import Context, stage, workflow

    log = structlog.get_logger().bind(who="user")

    @stage(retries=1, backoff=0.0)
    def build(ctx: Context) -> None:
        log.info("artifact.built", text="a\\x1b[2Jb\\nc", kind=dict)
        ctx.log.info("artifact.signed")
        if ctx.attempt == 1: raise ValueError("once more")

    @stage
    def check() -> None: log.warning("artifact.checked")

    @workflow
    def child() -> None: check()

    @workflow
    def release() -> int:
        build(); child()
        logging.getLogger("of.the.user").warning("by the standard library")
        return 5

    @workflow
    def fails() -> None:
        try: 1 / 0
        except ZeroDivisionError: log.exception("it.failed")
        raise ValueError("in the end")

    @workflow(coordination=True)
    def joins() -> None: pass
"""

WHERE = {"run_id", "agent_id", "workflow", "stage", "attempt"}


@pytest.fixture
def run(cli: Cli) -> Cli:  # noqa: F811
    """A command line in a folder with a module of workflows."""
    cli.write("flows.py", FLOWS)
    return cli


def objects(text: str) -> list[dict[str, Any]]:
    """The lines that are JSON."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_in_a_pipe_the_users_lines_are_json_and_say_where(run: Cli) -> None:
    """§3 logging: by structlog or by the context; standard output has the value alone."""
    ended = run("run", "flows:release", "--agent-id", "r1")
    assert (ended.code, ended.out) == (0, "5\n")
    lines = objects(ended.err)
    where = [(line["event"], line["level"], line["stage"], line["attempt"]) for line in lines]
    once = [("artifact.built", "info", "build"), ("artifact.signed", "info", "build")]
    assert where == [
        *[(*line, 1) for line in once],
        *[(*line, 2) for line in once],
        ("artifact.checked", "warning", "child/check", 1),
    ]
    assert {(line["agent_id"], line["workflow"]) for line in lines} == {("r1", "release")}
    assert len({line["run_id"] for line in lines}) == 1
    assert (lines[0]["who"], lines[0]["text"], lines[0]["kind"]) == ("user", "a\x1b[2Jb\nc", "<class 'dict'>")
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{6}Z", line["timestamp"]) for line in lines)
    assert "by the standard library" in ended.err.splitlines()  # untouched
    assert "[ 99%] child/check: completed" in ended.err


def test_all_of_standard_error_is_json_where_that_was_asked_for(run: Cli) -> None:
    """§3 logging: what happens, what is logged, tracebacks and errors; each line parses and says which run it was."""
    ended = run("run", "flows:fails", "--log-format", "json")
    assert ended.code == 1
    lines = [json.loads(line) for line in ended.err.splitlines()]
    assert [line["event"] for line in lines] == ["run.started", "it.failed", "run.ended", "cli.traceback", "cli.error"]
    assert all(set(line) >= WHERE for line in lines)
    assert len({line["run_id"] for line in lines}) == 1
    assert lines[1]["exception"].endswith("ZeroDivisionError: division by zero")
    assert (lines[2]["status"], lines[2]["error"]) == ("failed", "ValueError: in the end")
    assert lines[4]["error"] == "fails failed: ValueError: in the end"


def test_stages_have_events_of_their_own_then(run: Cli) -> None:
    """§3 logging: in the order in which it happens, among the user's lines."""
    run.write("quiet.py", "from flows import *\nlogging.getLogger('of.the.user').addHandler(logging.NullHandler())\n")
    ended = run("run", "quiet:release", "--log-format", "json")
    lines = [json.loads(line) for line in ended.err.splitlines()]
    seen = [(line["event"], line["stage"], line["attempt"]) for line in lines if line["event"][:8] != "artifact"]
    assert seen == [
        ("run.started", None, 1),
        ("stage.started", "build", 1),
        ("stage.retried", "build", 1),
        ("stage.started", "build", 2),
        ("stage.ended", "build", 2),
        ("stage.started", "child/check", 1),
        ("stage.ended", "child/check", 1),
        ("run.ended", None, 1),
    ]


def test_quiet_leaves_errors(run: Cli) -> None:
    """§3 logging: of what the user logs only what went wrong."""
    assert objects(run("run", "flows:release", "--quiet").err) == []
    assert [line["event"] for line in objects(run("run", "flows:fails", "--quiet").err)] == ["it.failed"]


@pytest.mark.parametrize("asked", ["human", None])
def test_the_packages_own_warnings_have_the_same_form(run: Cli, asked: str | None) -> None:
    """§3 logging: for people as they always were, as JSON in a pipe."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}"
    ended = run("run", "flows:joins", "--store", url, *(["--log-format", asked] if asked else []))
    if asked:
        assert f"warning: store.unreachable store={url}" in ended.err
        return
    (line,) = objects(ended.err)
    assert (line["event"], line["level"], line["store"]) == ("store.unreachable", "warning", url)


def test_other_commands_take_the_option_before_their_name_or_after(run: Cli) -> None:
    """§3 logging: errors are lines too."""
    for words in (
        ["agents", "--log-format", "json", "show", "nobody"],
        ["agents", "show", "--log-format", "json", "x"],
    ):
        ended = run(*words, "--store", "memory://")
        assert ended.code == 1
        assert json.loads(ended.error)["event"] == "cli.error"


def test_a_wrong_format_is_refused(run: Cli) -> None:
    """§3 logging: with the two that there are."""
    ended = run("run", "flows:release", "--log-format", "xml")
    assert ended.code == 2
    assert "--log-format: 'xml' is not one of 'human', 'json'" in ended.error


def test_what_the_users_module_configures_stays(run: Cli) -> None:
    """§3 logging: structlog as the standard library's logging."""
    run.write(
        "own.py",
        """
        import logging, structlog
        from attune_dsl import Context, workflow

        structlog.configure(processors=[structlog.contextvars.merge_contextvars, structlog.processors.LogfmtRenderer()])
        logging.basicConfig(format="own %(message)s")

        @workflow(coordination=True)
        def flow(ctx: Context) -> None:
            structlog.get_logger().info("it.happened")
            ctx.log.info("it.happened.too")
        """,
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}"
    ended = run("run", "own:flow", "--store", url)
    assert ended.code == 0
    assert re.search(r"^own event=store.unreachable ", ended.err, re.M)
    assert objects(ended.err) == []
    mine = [line for line in (ended.out + ended.err).splitlines() if "event=it.happened" in line]
    assert len(mine) == 2
    assert all({"stage=", "attempt=1", "workflow=flow", "agent_id=flow"} <= {*line.split()} for line in mine)


def test_structlog_is_not_imported_for_a_workflow_that_does_not_log(run: Cli) -> None:
    """§3 logging: nor is logging prepared in any other way that costs something."""
    run.write(
        "silent.py",
        """
        import sys
        from attune_dsl import stage, workflow

        @workflow
        def flow() -> bool: return "structlog" in sys.modules
        """,
    )
    assert run("run", "silent:flow").out == "false\n"


def test_a_module_may_import_structlog_late(run: Cli) -> None:
    """§3 logging: in the middle of a stage, say."""
    run.write(
        "late.py",
        """
        from attune_dsl import stage, workflow

        @stage
        def work() -> None:
            import structlog
            structlog.get_logger().info("work.done")

        @workflow
        def flow() -> None: work()
        """,
    )
    ended = run("run", "late:flow")
    assert [(line["event"], line["stage"]) for line in objects(ended.err)] == [("work.done", "work")]
    assert ended.out == ""
