"""What is logged inside a run says where it was; nothing is configured for that, and nothing outside a run changes."""

import asyncio
import gc
import logging
import subprocess
import sys
import textwrap
import threading
from contextvars import copy_context
from pathlib import Path

import pytest
import structlog

from attune_dsl import AsyncContext, Context, Runner, arun, run, stage, workflow

WHERE = ("run_id", "agent_id", "workflow", "stage", "attempt")
log = structlog.get_logger()


@pytest.fixture
def lines():
    """The lines of an application that configures structlog in the usual way."""
    seen = []

    def keep(logger, method, values):
        if not values["event"].startswith("stamina."):  # its own hook, where another test imported it first
            seen.append(dict(values))
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.contextvars.merge_contextvars, keep])
    yield seen
    structlog.reset_defaults()


def where(lines):
    """Event, stage and attempt of each line."""
    return [(line["event"], line.get("stage", ...), line.get("attempt", ...)) for line in lines]


@stage
def inner():
    log.info("inner.done")


@stage
def outer():
    log.info("outer.began")
    inner()
    log.info("outer.ended")


def test_a_line_carries_where_it_was_logged(lines):
    """§3 logging: run_id, agent_id, workflow, stage and attempt, in the body of the workflow and in its stages."""

    @workflow(agent_id="porter")
    def move():
        log.info("flow.began")
        outer()
        log.info("flow.ended", size=3)

    result = run(move)
    assert {(line["run_id"], line["agent_id"], line["workflow"]) for line in lines} == {
        (result.run_id, "porter", "move")
    }
    assert where(lines) == [
        ("flow.began", None, 1),
        ("outer.began", "outer", 1),
        ("inner.done", "inner", 1),
        ("outer.ended", "outer", 1),
        ("flow.ended", None, 1),
    ]
    assert lines[-1]["size"] == 3


def test_nothing_is_added_outside_of_a_run(lines):
    """§3 logging: neither before nor after a run, nor for a stage that is called as a plain function."""

    @workflow
    def fails():
        outer()
        raise ValueError

    log.info("before")
    inner()
    assert not run(fails).success
    log.info("after")
    inner()
    plain = [line for line in lines if not set(line) & {*WHERE}]
    assert [line["event"] for line in plain] == ["before", "inner.done", "after", "inner.done"]


def test_every_attempt_has_its_number(lines):
    """§3 logging: also for what a later attempt calls, whose own attempt is the first."""
    failures = iter([ValueError(), ValueError(), None])

    @stage(retries=2, backoff=0.0)
    def shaky(ctx: Context):
        log.info("try", same=ctx.attempt)
        inner()
        if error := next(failures):
            raise error

    @workflow
    def flow():
        inner()
        shaky()
        log.info("flow.ended")

    assert run(flow).success
    tries = [line for n in (1, 2, 3) for line in (("try", "shaky", n), ("inner.done", "inner", 1))]
    assert where(lines) == [("inner.done", "inner", 1), *tries, ("flow.ended", None, 1)]
    assert [line["same"] for line in lines if line["event"] == "try"] == [1, 2, 3]


async def test_an_async_stage_is_tried_and_logged_alike(lines):
    """§3 logging: the short path, retries and what they call, for async stages."""
    failures = iter([ValueError(), None])

    @stage
    async def leaf():
        log.info("leaf")

    @stage(retries=1, backoff=0.0)
    async def shaky():
        log.info("try")
        await leaf()
        if error := next(failures):
            raise error

    @workflow
    async def flow():
        await shaky()
        await leaf()
        log.info("flow.ended")

    assert (await arun(flow)).success
    once = [("leaf", "leaf", 1)]
    assert where(lines) == [("try", "shaky", 1), *once, ("try", "shaky", 2), *once, *once, ("flow.ended", None, 1)]


def test_threads_of_a_map_carry_their_stage(lines):
    """§3 logging: every item's line, whichever thread it came from; the caller's own line stays as it was."""

    @stage
    def piece(n: int):
        log.info("piece", n=n)
        inner()

    @workflow
    def flow():
        piece.map(range(4))
        log.info("flow.ended")

    assert run(flow).success
    assert sorted(line["n"] for line in lines if line["event"] == "piece") == [0, 1, 2, 3]
    assert {line["stage"] for line in lines if line["event"] == "piece"} == {"piece"}
    assert {line["stage"] for line in lines if line["event"] == "inner.done"} == {"inner"}
    assert where(lines)[-1] == ("flow.ended", None, 1)
    assert len({line["run_id"] for line in lines}) == 1


async def test_tasks_side_by_side_carry_their_own_stage(lines):
    """§3 logging: two stages and a sync one in a thread that are under way at the same time, and a task of the user."""
    both = asyncio.Barrier(2)

    async def of_the_user():
        log.info("task")

    @stage
    async def left():
        await both.wait()
        await asyncio.create_task(of_the_user())
        log.info("left")

    @stage
    async def right(ctx: AsyncContext):
        await both.wait()
        log.info("right", same=ctx.stage)

    @workflow
    async def flow():
        await asyncio.gather(left(), right(), inner.acall())

    assert (await arun(flow)).success
    assert sorted(where(lines)) == [
        ("inner.done", "inner", 1),
        ("left", "left", 1),
        ("right", "right", 1),
        ("task", "left", 1),
    ]


def test_a_thread_of_the_user_carries_what_its_context_was_copied_from(lines):
    """§3 logging: context variables follow where the user copies them, and stay as they were there."""

    @stage
    def starts():
        thread = threading.Thread(target=copy_context().run, args=(log.info, "thread"))
        thread.start()
        return thread

    @workflow
    def flow():
        starts().join()

    assert run(flow).success
    assert where(lines) == [("thread", "starts", 1)]


def test_a_nested_workflow_names_its_stages_after_itself(lines):
    """§3 logging: ``child/stage``; the workflow is the run's."""

    @workflow
    def child():
        log.info("child")
        inner()

    @workflow
    def flow():
        child()
        child()

    assert run(flow).success
    body = ("child", None, 1)
    assert where(lines) == [body, ("inner.done", "child/inner", 1), body, ("inner.done", "child#2/inner", 1)]
    assert {line["workflow"] for line in lines} == {"flow"}


def test_runs_side_by_side_do_not_mix(lines):
    """§3 logging: each run's lines have its own ids, also where one is started inside a stage of another."""

    @workflow
    def small():
        inner()

    @stage
    def starts():
        with Runner() as runner:
            runner.start(small.options(agent_id="a"))
            runner.start(small.options(agent_id="b"))
        log.info("started")

    @workflow
    def big():
        starts()

    assert run(big).success
    found = {(line["event"], line["agent_id"], line["workflow"], line["stage"]) for line in lines}
    assert found == {
        ("inner.done", "a", "small", "inner"),
        ("inner.done", "b", "small", "inner"),
        ("started", "big", "big", "starts"),
    }


def test_names_that_the_application_has_bound_itself_come_back(lines):
    """§3 logging: within a run they are the run's, never by chance; everything else that is bound stays."""

    @workflow
    def flow():
        inner()

    mine = dict.fromkeys(WHERE, "mine") | {"request": "r1"}
    with structlog.contextvars.bound_contextvars(**mine):
        result = run(flow)
        log.info("after")
    theirs = {"run_id": result.run_id, "agent_id": "flow", "workflow": "flow", "stage": "inner", "attempt": 1}
    assert lines == [mine | theirs | {"event": "inner.done"}, mine | {"event": "after"}]


def test_a_stage_that_nobody_finishes_is_closed_in_silence(lines):
    """§3 logging: a coroutine that is thrown away in another context leaves no variable behind, and no complaint."""
    never = []

    @stage
    async def hangs():
        await asyncio.get_running_loop().create_future()

    @workflow
    async def flow():
        never.append(copy_context())
        calling = hangs()
        never.pop().run(calling.send, None)
        calling.close()
        log.info("flow.ended")

    assert run(flow).success
    gc.collect()
    assert where(lines) == [("flow.ended", None, 1)]


def test_the_log_of_the_context_is_the_applications(lines):
    """§3 logging: once structlog is configured, ``ctx.log`` goes where the application's own lines go."""

    @stage
    def work(ctx: Context):
        thread = threading.Thread(target=lambda: ctx.log.info("work.done", pieces=3))  # no context follows
        thread.start()
        thread.join()

    @workflow
    def flow(ctx: Context):
        work()
        ctx.log.info("flow.ended")

    result = run(flow)
    common = {"run_id": result.run_id, "agent_id": "flow", "workflow": "flow", "attempt": 1}
    assert lines == [
        common | {"event": "work.done", "stage": "work", "pieces": 3},
        common | {"event": "flow.ended", "stage": None},
    ]


def test_the_applications_logging_is_left_alone(lines):
    """§3 logging: a run changes neither structlog's configuration nor the standard library's."""
    configured = structlog.get_config()["processors"]
    root, ours = logging.getLogger(), logging.getLogger("attune_dsl")
    before = (root.level, list(root.handlers), ours.level, list(ours.handlers), ours.propagate, logging.lastResort)

    @workflow
    def flow(ctx: Context):
        ctx.log.info("flow.ended")

    assert run(flow).success
    assert structlog.get_config()["processors"] is configured
    after = (root.level, list(root.handlers), ours.level, list(ours.handlers), ours.propagate, logging.lastResort)
    assert before == after


def script(source: str) -> str:
    """What a script prints that has a process of its own."""
    project = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        env={"PYTHONPATH": str(project), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def test_a_script_that_configures_nothing_has_them_too():
    """§3 logging: structlog's default configuration merges them."""
    printed = script("""
        import structlog
        from attune_dsl import run, stage, workflow

        @stage
        def build(): structlog.get_logger().info("built")

        @workflow
        def flow(): build()

        print(run(flow).run_id, structlog.is_configured())
    """)
    line, ending = printed.splitlines()
    run_id = ending.split()[0]
    assert ending == f"{run_id} False"
    assert {f"run_id={run_id}", "agent_id=flow", "workflow=flow", "stage=build", "attempt=1"} <= {*line.split()}


def test_nobody_imports_structlog_until_somebody_logs():
    """§3 logging: a run that logs nothing pays nothing for it."""
    assert (
        script("""
        import sys
        from attune_dsl import Context, run, stage, workflow

        @stage
        def work(ctx: Context): pass

        @workflow
        def flow(): work()

        run(flow).unwrap()
        print("structlog" in sys.modules)
    """)
        == "False\n"
    )
