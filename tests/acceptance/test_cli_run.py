"""``attune-dsl run``: values, errors and exit codes, as a script that calls it sees them."""

from __future__ import annotations

import pytest
from cli_support import Cli, Ended, cli  # noqa: F401 (a fixture)

FLOWS = """
    import sys
    from attune_dsl import Context, RunAborted, stage, workflow

    @stage(tier="cheap")
    def build(version: str) -> str:
        return f"app-{version}.whl"

    @stage
    def refuse(reason):
        raise ValueError(reason)

    @stage(retries=2, backoff=0.001)
    def shaky(ctx: Context):
        if ctx.attempt < 3:
            raise OSError("not yet")
        return ctx.attempt

    @workflow
    def release(version: str, count: int = 1): return build(version)

    @workflow
    def numbers(): return {"a": [1, 2], "ä": None}

    @workflow
    def odd(): return {"items": [1, {2}]}

    @workflow
    def nothing(): pass

    @workflow
    def chatty():
        print("a line of the user")
        return "value"

    @workflow
    def fails(): refuse("no version")

    @workflow
    def gives_up(): raise RunAborted("not today")

    @workflow
    def exits(): sys.exit(0)

    @workflow
    def persists(): return shaky()

    @workflow
    async def later(version: str): return build(version)

    @workflow
    def count(items: list[int]): return sum(items)
"""


@pytest.fixture
def run(cli: Cli) -> Cli:  # noqa: F811
    """A command line in a folder with a module of workflows."""
    cli.write("flows.py", FLOWS)
    return cli


def lines(ended: Ended) -> list[str]:
    return ended.err.splitlines()


@pytest.mark.parametrize("target", ["flows:release", "flows.py:release", "./flows.py:release", "flows:later"])
def test_the_value_is_on_standard_output_and_everything_else_is_not(run: Cli, target: str) -> None:
    ended = run("run", target, "version=1.2")
    assert (ended.code, ended.out) == (0, "app-1.2.whl\n")
    assert "[  0%] build: running (cheap)" in lines(ended)
    assert lines(ended)[0].endswith(": agent " + target.rpartition(":")[2] + ", no store")


@pytest.mark.parametrize(
    ("flow", "expected"),
    [
        ("numbers", '{\n  "a": [\n    1,\n    2\n  ],\n  "ä": null\n}\n'),
        ("odd", "{'items': [1, {2}]}\n"),
        ("nothing", ""),
        ("chatty", "a line of the user\nvalue\n"),
        ("persists", "3\n"),
    ],
)
def test_a_value_is_text_or_json_or_what_python_shows(run: Cli, flow: str, expected: str) -> None:
    ended = run("run", f"flows:{flow}")
    assert (ended.code, ended.out) == (0, expected)


def test_quiet_shows_the_value_only(run: Cli) -> None:
    assert run("run", "flows:release", "version=1.2", "--quiet") == (0, "app-1.2.whl\n", "")


def test_quiet_still_shows_errors(run: Cli) -> None:
    ended = run("run", "flows:fails", "--quiet")
    assert (ended.code, ended.out) == (1, "")
    assert ended.error == "error: fails failed in stage refuse: ValueError: no version"


def test_json_prints_one_object(run: Cli) -> None:
    ended = run("run", "flows:release", "version=1.2", "--json")
    assert ended.code == 0
    record = ended.json
    assert list(record) == [
        "run_id",
        "agent_id",
        "workflow",
        "status",
        "value",
        "error",
        "stages",
        "degraded",
        "started_at",
        "duration",
    ]
    assert (record["agent_id"], record["workflow"], record["status"]) == ("release", "release", "completed")
    assert (record["value"], record["error"], record["degraded"]) == ("app-1.2.whl", None, False)
    (stage,) = record["stages"]
    assert (stage["name"], stage["status"], stage["tier"], stage["attempts"]) == ("build", "completed", "cheap", 1)


def test_json_is_the_last_line_after_what_the_user_printed(run: Cli) -> None:
    ended = run("run", "flows:chatty", "--json")
    assert ended.out.splitlines()[0] == "a line of the user"
    assert ended.json["value"] == "value"


def test_json_of_a_value_that_is_not_json_names_the_place(run: Cli) -> None:
    ended = run("run", "flows:odd", "--json")
    assert ended.code == 1
    assert (ended.json["status"], ended.json["value"]) == ("completed", None)
    assert "$.items[1] is a set" in ended.json["error"]
    assert "$.items[1] is a set" in ended.error


def test_json_of_a_failure_has_its_error(run: Cli) -> None:
    ended = run("run", "flows:fails", "--json")
    assert ended.code == 1
    assert (ended.json["status"], ended.json["error"]) == ("failed", "ValueError: no version")


def test_a_failure_shows_the_users_frames_and_then_one_line(run: Cli) -> None:
    ended = run("run", "flows:fails")
    assert (ended.code, ended.out) == (1, "")
    assert ended.error == "error: fails failed in stage refuse: ValueError: no version"
    frames = [line for line in lines(ended) if line.lstrip().startswith("File ")]
    assert [frame.rpartition(" in ")[2] for frame in frames] == ["fails", "refuse"]


def test_verbose_shows_every_frame(run: Cli) -> None:
    ended = run("run", "flows:fails", "--verbose")
    assert "attune_dsl/runner/" in ended.err


def test_an_aborted_run_has_its_own_exit_code(run: Cli) -> None:
    ended = run("run", "flows:gives_up")
    assert (ended.code, ended.error) == (3, "error: gives_up was aborted: not today")
    assert "Traceback" not in ended.err


def test_a_flow_that_exits_has_failed(run: Cli) -> None:
    ended = run("run", "flows:exits")
    assert (ended.code, ended.error) == (1, "error: exits failed: it called exit(0)")
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["flow:release"], "there is no module 'flow' here or among the installed packages; did you mean flows?"),
        (["flows:relase"], "'flows' has no attribute 'relase'; did you mean release?"),
        (["flows:build"], "flows:build is not a workflow but a stage"),
        (["flow.py:release"], "there is no file 'flow.py'; did you mean flows.py?"),
        (["flows"], "module 'flows' has 11 workflows; say which: flows:release, "),
        (["flows:release"], "release: argument is missing: version (str); give version=…"),
        (["flows:release", "version=1", "count=x"], "release: argument count: expected int, got 'x'"),
        (["flows:release", "verzion=1"], "release: there is no argument 'verzion'; did you mean version=…?"),
        (["flows:count", "items=[1, true]"], "count: argument items: expected list[int]; at $[1] expected int"),
        (["flows:release", "version=1", "--jason"], "no such option '--jason'; did you mean --json?"),
        (["flows:release", "version=1", "--store", "http://x"], "store 'http://x' cannot be used"),
        (["flows:release", "version=1", "--agent-id", "a\nb"], "agent id 'a\\nb'"),
        (["flows:release", "version=1", "--namespace", "a{b"], "namespace 'a{b' must not contain"),
        (["flows:release", "--input", "nowhere.json"], "--input nowhere.json: No such file or directory"),
        ([], "missing argument 'MODULE:FLOW' (see attune-dsl run --help)"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(run: Cli, arguments: list[str], message: str) -> None:
    ended = run("run", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert len(lines(ended)) == 1
    assert ended.error.startswith(f"error: {message}")


def test_a_module_that_fails_shows_the_users_own_traceback(run: Cli) -> None:
    run.write("broken.py", "def prepare():\n    return undefined_name\n\nprepare()\n")
    ended = run("run", "broken:flow")
    assert (ended.code, ended.out) == (1, "")
    assert ended.error == "error: import of broken failed: NameError: name 'undefined_name' is not defined"
    assert lines(ended)[0] == "Traceback (most recent call last):"
    assert lines(ended)[1].endswith('broken.py", line 4, in <module>')
    assert "attune_dsl" not in ended.err


def test_a_syntax_error_shows_its_line(run: Cli) -> None:
    run.write("broken.py", "def prepare(:\n")
    ended = run("run", "broken.py:flow")
    assert ended.code == 1
    assert lines(ended)[0].endswith('broken.py", line 1')
    assert "importlib" not in ended.err


def test_a_wrong_declaration_points_to_its_line(run: Cli) -> None:
    run.write("wrong.py", "from attune_dsl import stage\n\n@stage(retries=-1)\ndef build(): ...\n")
    ended = run("run", "wrong:flow")
    assert ended.code == 1
    assert 'wrong.py", line 3, in <module>' in ended.err
    assert ended.error.startswith("error: import of wrong failed: DeclarationError: ")


def test_arguments_come_from_a_file_or_standard_input_too(run: Cli) -> None:
    run.write("arguments.json", '{"version": "1.0", "count": 2}')
    assert run("run", "flows:release", "--input", "arguments.json", "--quiet").out == "app-1.0.whl\n"
    ended = run("run", "flows:release", "version=2.0", "--input", "-", "--quiet", text='{"version": "1.0"}')
    assert ended.out == "app-2.0.whl\n"


def test_the_version_is_shown(run: Cli) -> None:
    assert run("--version").out.startswith("attune-dsl 0.")


@pytest.mark.parametrize("arguments", [[], ["store"]])
def test_a_group_without_a_command_shows_its_help_as_wrong_use(run: Cli, arguments: list[str]) -> None:
    ended = run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "Commands:" in ended.err


def test_an_unknown_command_suggests_the_nearest(run: Cli) -> None:
    ended = run("agent")
    assert (ended.code, ended.err) == (
        2,
        "error: there is no command 'agent'; did you mean agents? (see attune-dsl --help)\n",
    )


def test_help_imports_nothing_that_is_dear(run: Cli) -> None:
    run.write(
        "helped.py",
        """
        import atexit, sys
        dear = {"attrs", "msgspec", "redis", "rich", "structlog", "asyncio", "stamina"}
        atexit.register(lambda: print("imported", sorted(dear & set(sys.modules))))
        from attune_dsl.cli import main
        main(["--help"])
        """,
    )
    run.write("sitecustomize.py", "")
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "helped.py"],
        cwd=run.folder,
        env={"PYTHONPATH": run.environment["PYTHONPATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "imported []"
