"""Attempts: how many, after which errors, and what they see."""

import asyncio
import contextlib
import subprocess
import sys

import pytest
import stamina

from attune_dsl import (
    AsyncContext,
    Context,
    DeclarationError,
    MapError,
    RunAborted,
    Runner,
    StageStatus,
    StageTimeout,
    run,
    stage,
    workflow,
)
from attune_dsl.runner import calls, events
from attune_dsl.runner.calls import interruptible
from attune_dsl.runner.stop import Stop


@pytest.fixture(autouse=True)
def quiet():
    """stamina's own hooks print through structlog; nothing here is about them."""
    stamina.instrumentation.set_on_retry_hooks([])
    yield
    stamina.instrumentation.set_on_retry_hooks(None)


def failing(times, error=ValueError, **options):
    """Return a stage that fails so many times, and the list of its attempts."""
    attempts = []

    @stage(name="failing", **{"backoff": 0.001, **options})
    def attempt(ctx: Context):
        attempts.append(ctx.attempt)
        if len(attempts) <= times:
            raise error(f"attempt {ctx.attempt}")
        return "done"

    return attempt, attempts


def run_stage(attempt):
    @workflow(stages=[attempt])
    def flow():
        return attempt()

    return run(flow)


def test_retries_count_the_attempts_after_the_first():
    attempt, attempts = failing(times=9, retries=3)
    result = run_stage(attempt)
    assert attempts == [1, 2, 3, 4]
    assert str(result.error) == "attempt 4"
    (record,) = result.stages
    assert (record.status, record.attempts, record.error) == (StageStatus.FAILED, 4, "ValueError: attempt 4")


def test_a_stage_that_recovers_is_one_completed_record():
    attempt, _ = failing(times=2, retries=3)
    result = run_stage(attempt)
    assert result.value == "done"
    (record,) = result.stages
    assert (record.status, record.attempts, record.error) == (StageStatus.COMPLETED, 3, None)


def test_only_what_retry_on_names_is_retried():
    attempt, attempts = failing(times=1, retries=3, retry_on=(OSError,))
    assert isinstance(run_stage(attempt).error, ValueError)
    assert attempts == [1]
    attempt, attempts = failing(times=1, retries=3, retry_on=(OSError, ValueError))
    assert run_stage(attempt).value == "done"


@pytest.mark.parametrize("error", [RunAborted, DeclarationError, KeyboardInterrupt])
def test_what_another_attempt_cannot_change_is_not_retried(error):
    attempt, attempts = failing(times=1, retries=3, error=error)
    with contextlib.suppress(KeyboardInterrupt):
        run_stage(attempt)
    assert attempts == [1]


def test_pauses_grow_from_the_backoff_with_jitter(monkeypatch):
    slept = []
    monkeypatch.setattr(Stop, "pause", lambda _, seconds: slept.append(seconds))
    attempt, _ = failing(times=9, retries=3, backoff=2.0)
    run_stage(attempt)
    assert [low <= pause <= low + 2 for low, pause in zip([2, 4, 8], slept, strict=True)] == [True] * 3
    assert slept != [2, 4, 8]


def test_the_longest_pause_is_bounded_unless_the_backoff_is_longer(monkeypatch):
    slept = []
    monkeypatch.setattr(Stop, "pause", lambda _, seconds: slept.append(seconds))
    run_stage(failing(times=9, retries=3, backoff=40.0)[0])
    assert slept[1:] == [calls.MAX_PAUSE] * 2
    slept.clear()
    run_stage(failing(times=9, retries=2, backoff=100.0)[0])
    assert slept == [100.0] * 2


def test_stamina_s_testing_mode_bounds_attempts_and_pauses():
    attempt, attempts = failing(times=9, retries=5, backoff=100)
    with stamina.set_testing(True, attempts=2):
        result = run_stage(attempt)
    assert attempts == [1, 2]
    assert str(result.error) == "attempt 2"
    assert [(r.status, r.attempts) for r in result.stages] == [(StageStatus.FAILED, 2)]


def test_stamina_s_hooks_see_the_stage_s_name():
    seen = []
    stamina.instrumentation.set_on_retry_hooks([lambda details: seen.append(details.name)])
    run_stage(failing(times=1, retries=1)[0])
    assert seen == ["failing"]


async def test_async_stages_are_retried_alike():
    attempts = []

    @stage(retries=2, backoff=0.001)
    async def flaky(ctx: AsyncContext):
        attempts.append(ctx.attempt)
        await asyncio.sleep(0)
        raise ValueError(f"attempt {ctx.attempt}")

    @workflow
    async def flow():
        await flaky()

    result = await Runner().arun(flow)
    assert attempts == [1, 2, 3]
    assert [(r.status, r.attempts) for r in result.stages] == [(StageStatus.FAILED, 3)]


async def test_a_timeout_ends_one_attempt_and_names_the_stage():
    attempts = []

    @stage(retries=1, backoff=0.001, timeout=0.02)
    async def slow():
        attempts.append(1)
        await asyncio.Event().wait()

    @workflow
    async def flow():
        await slow()

    result = await Runner().arun(flow)
    assert len(attempts) == 2
    assert isinstance(result.error, StageTimeout)
    assert str(result.error) == "stage 'slow' took longer than its timeout of 0.02 s"


async def test_a_timeout_of_the_code_itself_stays_what_it_is():
    error = TimeoutError("own")

    @stage(timeout=10)
    async def own():
        raise error

    @workflow
    async def flow():
        await own()

    assert (await Runner().arun(flow)).error is error


async def test_a_workflow_s_timeout_covers_the_whole_run():
    @workflow(timeout=0.02)
    async def flow():
        await asyncio.Event().wait()

    result = await Runner().arun(flow)
    assert str(result.error) == "workflow 'flow' took longer than its timeout of 0.02 s"


async def test_a_task_cancelled_in_the_pause_is_recorded_as_cancelled():
    @stage(retries=3, backoff=100)
    async def flaky():
        asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)
        raise ValueError

    @workflow
    async def flow():
        with contextlib.suppress(asyncio.CancelledError):
            await flaky()

    assert [r.status for r in (await Runner().arun(flow)).stages] == [StageStatus.CANCELLED]


def test_items_of_a_map_are_retried_one_by_one():
    tried = []

    @stage(retries=1, backoff=0.001)
    def fragile(item):
        tried.append(item)
        if item == "b":
            raise ValueError

    @workflow
    def flow():
        fragile.map(["a", "b", "c"])

    result = run(flow)
    assert isinstance(result.error, MapError)
    assert sorted(tried) == ["a", "b", "b", "c"]
    assert sorted((r.item, r.attempts) for r in result.stages) == [(0, 1), (1, 2), (2, 1)]


def test_a_retry_is_announced_before_its_pause(monkeypatch):
    told = []
    monkeypatch.setattr(Stop, "pause", lambda *_: told.append("pause"))
    attempt, _ = failing(times=1, retries=1, backoff=3.0)

    @workflow(stages=[attempt])
    def flow():
        attempt()

    Runner(observer=told.append).run(flow)
    (position,) = [at for at, event in enumerate(told) if isinstance(event, events.StageRetried)]
    retried = told[position]
    assert (retried.stage, retried.attempt, retried.error, retried.pause) == ("failing", 1, "ValueError: attempt 1", 3)
    assert told[position + 1] == "pause"


RETRYING = """
{before}
from attune_dsl import run, stage, workflow

tried = []

@stage(retries=1, backoff=0)
def flaky():
    tried.append(1)
    if len(tried) == 1:
        raise ValueError

@workflow
def flow():
    flaky()

assert run(flow).success
"""


@pytest.mark.parametrize(
    ("before", "out"),
    [
        ("", ""),
        ("import stamina; stamina.instrumentation.set_on_retry_hooks([lambda details: print('mine')])", "mine\n"),
    ],
    ids=["stamina unknown", "hooks of the application"],
)
def test_a_retry_prints_nothing_of_its_own_on_standard_output(before, out):
    code = RETRYING.format(before=before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == (out, "")


def test_a_stamina_that_does_not_let_its_pauses_be_made_elsewhere_is_used_as_it_is():
    """§5.9: an abort does not end the pause then, but everything else works."""
    paused = []
    interruptible(object(), paused.append)

    context = stamina.retry_context(on=ValueError, attempts=2, wait_initial=3, wait_jitter=0)
    interruptible(context, paused.append)

    def try_in_vain():
        for attempt in context:
            with attempt:
                raise ValueError("again")

    with pytest.raises(ValueError, match="again"):
        try_in_vain()
    assert paused == [3.0]
