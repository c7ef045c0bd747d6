"""Ctrl-C, SIGTERM and cancelled tasks end a run as cancelled; tried in processes of their own."""

import asyncio
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from attune_dsl import AgentStatus, Runner, stage, workflow
from attune_dsl.runner import interrupts
from attune_dsl.runner.outcome import Terminated

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

PROLOGUE = """
import asyncio, os, signal, sys, threading, time
from attune_dsl import Runner, run, stage, workflow
from attune_dsl.runner import events

def show(event):
    if isinstance(event, events.RunEnded):
        print(event.status, flush=True)

def kill_me():
    os.kill(os.getpid(), signal.{signal})

@workflow
def sync_flow():
    kill_me()
    time.sleep(30)

@workflow
async def async_flow():
    kill_me()
    await asyncio.sleep(30)

@workflow
async def patient_flow():
    await asyncio.sleep(30)

runner = Runner(observer=show)
"""

WAYS = {
    "run of a sync flow": "runner.run(sync_flow)",
    "run of an async flow": "runner.run(async_flow)",
    "arun": "asyncio.run(runner.arun(async_flow))",
    "several aruns": """
        async def main():
            await asyncio.gather(runner.arun(patient_flow), runner.arun(async_flow))
        asyncio.run(main())
    """,
    "a block with threads": """
        with runner:
            runner.start(patient_flow)
            time.sleep(0.1)
            kill_me()
            time.sleep(30)
    """,
    "the wait at the end of a block": """
        with runner:
            runner.start(patient_flow)
            threading.Timer(0.1, kill_me).start()
    """,
    "an async block": """
        async def main():
            async with runner:
                runner.start(patient_flow)
                runner.start(async_flow)
        asyncio.run(main())
    """,
}


def interrupted(body, signal_name="SIGTERM"):
    code = PROLOGUE.format(signal=signal_name) + textwrap.dedent(body)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("way", WAYS)
def test_sigterm_ends_runs_as_cancelled_and_then_the_process(way):
    ended = interrupted(WAYS[way])
    assert set(ended.stdout.split()) == {"cancelled"}, ended.stderr
    assert (ended.returncode, ended.stderr) == (143, "")


@pytest.mark.parametrize("way", WAYS)
def test_ctrl_c_ends_runs_as_cancelled_and_goes_on(way):
    ended = interrupted(WAYS[way], "SIGINT")
    assert set(ended.stdout.split()) == {"cancelled"}, ended.stderr
    assert ended.stderr.rstrip().endswith("KeyboardInterrupt")
    assert ended.returncode in (130, -signal.SIGINT)


@pytest.mark.parametrize(("signal_name", "code"), [("SIGINT", -signal.SIGINT), ("SIGTERM", 143)])
@pytest.mark.parametrize("way", ["runner.run(asleep)", "asyncio.run(runner.arun(asleep))"])
def test_a_signal_is_heard_while_the_loop_sleeps_wherever_it_arrives(way, signal_name, code):
    """Also by another thread, or in the moment in which the loop falls asleep: neither wakes it by itself."""
    ended = interrupted(
        f"""
        def kill_this_thread():
            time.sleep(0.2)  # the loop is asleep by then
            signal.pthread_kill(threading.get_ident(), signal.{signal_name})

        @workflow
        async def asleep():
            threading.Thread(target=kill_this_thread).start()
            await asyncio.sleep(60)

        {way}
        """,
        signal_name,
    )
    assert (ended.stdout.split(), ended.returncode) == (["cancelled"], code)


async def test_a_run_leaves_what_wakes_the_loop_as_it_was():
    async def flow():
        waking.append(signal.set_wakeup_fd(-1))
        signal.set_wakeup_fd(waking[-1])

    waking = []
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    named = workflow(flow)
    await asyncio.gather(Runner().arun(named), Runner().arun(named))
    assert len(waking) == 2
    assert min(waking) >= 0
    assert signal.set_wakeup_fd(before) == before
    assert interrupts._wakers == {}


def test_the_result_of_an_interrupted_run_can_still_be_had():
    ended = interrupted("""
        try:
            runner.run(sync_flow)
        except SystemExit as exit:
            result = runner.results["sync_flow"]
            print(exit.code, result.status, result.success, type(result.error).__name__)
    """)
    assert ended.stdout.split() == ["cancelled", "143", "cancelled", "False", "Terminated"]


def test_a_handler_of_the_application_is_left_alone():
    ended = interrupted("""
        signal.signal(signal.SIGTERM, lambda *_: print("mine", flush=True))

        @workflow
        def flow():
            kill_me()
            return "went on"

        print(run(flow).value)
        print(signal.getsignal(signal.SIGTERM).__name__)
    """)
    assert ended.stdout.splitlines() == ["mine", "went on", "<lambda>"]


def test_after_a_run_sigterm_kills_as_ever():
    ended = interrupted("""
        @workflow
        def flow():
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL

        print(run(flow).success)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        kill_me()
    """)
    assert (ended.stdout, ended.returncode) == ("True\n", -signal.SIGTERM)


def test_sigterm_while_the_run_is_leaving_waits_until_it_has_left():
    left = []

    def leaving():
        with interrupts.sigterm() as settled:
            settled()
            signal.raise_signal(signal.SIGTERM)
            left.append(True)

    with pytest.raises(Terminated):
        leaving()
    assert left == [True]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_outside_the_main_thread_no_handler_is_installed():
    seen = []

    def work():
        with interrupts.sigterm():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]


def test_a_stage_interrupted_by_ctrl_c_is_recorded_as_cancelled():
    @stage
    def interrupted_stage():
        raise KeyboardInterrupt

    @workflow
    def flow():
        interrupted_stage()

    runner = Runner()
    with pytest.raises(KeyboardInterrupt):
        runner.run(flow)
    assert [record.status for record in runner.results["flow"].stages] == ["cancelled"]


async def test_a_cancelled_task_ends_its_run_as_cancelled():
    @workflow
    async def flow():
        asyncio.get_running_loop().call_soon(task.cancel)
        await asyncio.Event().wait()

    runner = Runner()
    task = asyncio.create_task(runner.arun(flow))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert runner.results["flow"].status is AgentStatus.CANCELLED


def test_a_coroutine_that_is_closed_ends_its_run_as_cancelled():
    @workflow
    async def flow():
        await asyncio.Event().wait()

    runner = Runner()

    async def main():
        running = runner.arun(flow)
        running.send(None)
        running.close()

    asyncio.run(main())
    assert runner.results["flow"].status is AgentStatus.CANCELLED


def test_what_outlives_a_failed_run_is_stopped_at_its_next_call():
    threads, caught = [], []

    @stage
    def step():
        pass

    @workflow(stages=[step])
    def flow():
        import contextvars

        def late():
            go.wait(10)
            try:
                step()
            except Exception as error:
                caught.append(str(error))

        threads.append(threading.Thread(target=contextvars.copy_context().run, args=(late,)))
        threads[0].start()
        raise ValueError

    go = threading.Event()
    Runner().run(flow)
    go.set()
    threads[0].join()
    assert caught == ["the run has failed"]
