"""``attune-dsl run``: who the run is towards others, and taking an agent id from its live owner."""

from __future__ import annotations

import pytest
from cli_support import Cli, cli  # noqa: F401 (a fixture)

from attune_dsl import Monitor

FLOWS = """
    import asyncio
    from attune_dsl import Context, workflow

    @workflow(heartbeat=True, display_name="Declared", metadata={"by": "declaration"})
    def quick(ctx: Context): return ctx.agent_id

    @workflow(heartbeat=True)
    async def patient():
        print("running", flush=True)
        await asyncio.Event().wait()

    @workflow(heartbeat=True, metadata={"odd": {1, 2}})
    def odd(): return 1

    @workflow
    def alone(): return 1
"""


@pytest.fixture
def run(cli: Cli) -> Cli:  # noqa: F811
    """A command line in a folder with a module of workflows."""
    cli.write("flows.py", FLOWS)
    return cli


@pytest.mark.timeout(120)
def test_a_run_takes_the_id_from_another_process_whose_run_is_aborted(run: Cli) -> None:
    with run.start("run", "flows:patient", "--agent-id", "worker") as first:
        first.says("running")
        refused = run("run", "flows:quick", "--agent-id", "worker")
        assert (refused.code, refused.out) == (1, "")
        assert refused.error.startswith(f"error: agent id 'worker' is taken by a live agent (pid {first.pid} on ")
        assert refused.error.endswith(
            "choose another --agent-id, wait for it to end, or take the id from it with --takeover"
        )
        second = run("run", "flows:quick", "--agent-id", "worker", "--takeover")
        assert (second.code, second.out) == (0, "worker\n")
        ended = first.end()
    assert ended.code == 3
    assert "was aborted: the agent id 'worker' was taken over by pid" in ended.error


def test_the_names_and_the_metadata_of_the_command_line_replace_the_declared_ones(run: Cli) -> None:
    with Monitor() as monitor:
        assert run("run", "flows:quick").code == 0
        declared = monitor.agent("quick")
        assert declared is not None
        assert (declared.display_name, declared.metadata) == ("Declared", {"by": "declaration"})
        named = ("--display-name", "By hand", "--metadata", '{"team": "data", "n": 1}')
        assert run("run", "flows:quick", *named).code == 0
        seen = monitor.agent("quick")
    assert seen is not None
    assert (seen.display_name, seen.metadata) == ("By hand", {"team": "data", "n": 1})


EXAMPLE = """; write it as in --metadata '{"team": "data"}'"""


@pytest.mark.parametrize("flow", ["quick", "alone"])
@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--metadata", "[1]", f"--metadata: [1] is not a JSON object{EXAMPLE}"),
        ("--metadata", "null", f"--metadata: null is not a JSON object{EXAMPLE}"),
        ("--metadata", "team=data", f"--metadata: not JSON: Expecting value: line 1 column 1 (char 0){EXAMPLE}"),
        ("--metadata", '{"x": NaN}', "--metadata: not JSON: $.x is nan, which JSON does not have"),
        (
            "--metadata",
            '{"x": "%s"}' % ("x" * 9000),
            "--metadata: the metadata is 9,008 bytes of JSON, the limit is 8,192",
        ),
        ("--display-name", "", "display name '' must be 1-128 characters without control characters"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_runs(
    run: Cli, flow: str, option: str, value: str, said: str
) -> None:
    ended = run("run", f"flows:{flow}", option, value)
    assert (ended.code, ended.out) == (2, "")
    assert ended.error.startswith(f"error: {said}")


def test_declared_metadata_that_is_not_json_says_where(run: Cli) -> None:
    ended = run("run", "flows:odd")
    assert (ended.code, ended.out) == (1, "")
    assert "$.odd is a set, not a JSON value" in ended.error
