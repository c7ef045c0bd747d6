"""``attune-dsl abort``: whoever can reach the store can ask agents to stop, and sees that they were asked (§5.9)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from cli_support import PATIENCE, Cli, Ended, Running, cli  # noqa: F401 (a fixture)
from exec_support import Exec, ex  # noqa: F401 (a fixture)

from attune_dsl.coordination.join import Joined, join
from attune_dsl.model import AgentStatus
from attune_dsl.store.server import open_server

if TYPE_CHECKING:
    from conftest import Store

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_spawnp"), reason="exec is for Linux and macOS")
embedded = pytest.mark.parametrize("store", ["embedded"], indirect=True)
ATTUNE = f'attune() {{ {sys.executable} -m attune_dsl "$@"; }}\n'
WHY = "the disk is full"
ASKED = f"{WHY} (asked by ann@{socket.gethostname()})"

FLOWS = """
    import asyncio, pathlib, time
    from attune_dsl import AsyncContext, Context, Signals, stage, workflow

    @stage(retries=3)
    def listen(signals: Signals):
        signal = signals.wait("go", timeout=60)
        return str(signal.reason if not signal else signal.type)

    @workflow(heartbeat=True, coordination=True)
    def waits():
        return listen()

    @stage(retries=3)
    def count(ctx: Context):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            time.sleep(0.01)
            ctx.progress(0.5, "counts")

    @workflow(heartbeat=True)
    def computes():
        count()

    @stage(retries=3)
    async def dawdle(ctx: AsyncContext):
        ctx.progress(0.5, "counts")
        await asyncio.sleep(60)

    @workflow(heartbeat=True)
    async def sleeps():
        await dawdle()

    @stage
    def reads(ctx: Context):
        ctx.progress(0.5, "counts")
        while not pathlib.Path("go-on").exists():
            time.sleep(0.01)
        ctx.progress(0.9)

    @workflow(heartbeat=True, display_name="The reader")
    def deaf():
        reads()
"""


@pytest.fixture
def flows(ex: Exec, monkeypatch: pytest.MonkeyPatch) -> Exec:  # noqa: F811
    """A folder with workflows, and a person at the keyboard."""
    monkeypatch.setenv("LOGNAME", "ann")
    ex.cli.write("flows.py", FLOWS)
    return ex


@pytest.fixture
def bob(store: Store) -> Iterator[Joined]:
    """A script that has joined; its process is that of the tests."""
    with join("bob", store.address, store.namespace) as bob:
        yield bob


def abort(ex: Exec, *arguments: str, reason: str = WHY) -> Ended:  # noqa: F811
    return ex.cli("abort", *arguments, "--reason", reason)


def waits(ex: Exec, agent_id: str) -> None:  # noqa: F811
    ex.until(lambda record: record.status is AgentStatus.WAITING, agent_id)


def counts(ex: Exec, agent_id: str) -> None:  # noqa: F811
    ex.until(lambda record: record.note == "counts", agent_id)


def ended_as_aborted(ex: Exec, running: Running, agent_id: str) -> Ended:  # noqa: F811
    """Wait for the end of a run, which others see as aborted, and return it."""
    ended = running.end()
    record = ex.record(agent_id)
    assert record is not None
    assert (record.status, record.error, record.abort) == (AgentStatus.ABORTED, f"RunAborted: {ASKED}", ASKED)
    return ended


def test_a_run_in_a_wait_ends(flows: Exec) -> None:
    """§5.9: an abort ends the wait at once, and the run as aborted, though it would return."""
    with flows.cli.start("run", "flows:waits") as running:
        waits(flows, "waits")
        asked = abort(flows, "waits")
        ended = ended_as_aborted(flows, running, "waits")

    assert (asked.code, asked.out, asked.err) == (0, "waits: asked to stop\n", "")
    assert (ended.code, ended.out) == (3, "")
    assert ended.error == f"error: waits was aborted: {ASKED}"


@pytest.mark.parametrize("flow", ["computes", "sleeps"])
def test_a_run_at_work_ends(flows: Exec, flow: str) -> None:
    """§5.9: a sync stage stops at its next call into the context, an async one is cancelled; neither is retried."""
    with flows.cli.start("run", f"flows:{flow}") as running:
        counts(flows, flow)
        asked = abort(flows, flow)
        ended = ended_as_aborted(flows, running, flow)

    assert (asked.code, asked.out) == (0, f"{flow}: asked to stop\n")
    assert ended.code == 3
    assert "retry" not in ended.err
    assert ended.error == f"error: {flow} was aborted: {ASKED}"


def test_who_was_asked_and_goes_on_is_shown(flows: Exec, monkeypatch: pytest.MonkeyPatch) -> None:
    """§5.9: what has not stopped yet is listed as asked to stop, with why and by whom."""
    with flows.cli.start("run", "flows:deaf") as running:
        counts(flows, "deaf")
        abort(flows, "deaf")
        abort(flows, "deaf", reason="another one")
        (listed,) = flows.cli("agents", "--json").json
        table = flows.cli("agents")
        page = flows.cli("agents", "show", "deaf")
        flows.cli.write("go-on", "")
        ended_as_aborted(flows, running, "deaf")

    assert (listed["status"], listed["abort"]) == ("running", ASKED)
    assert "  running, abort asked  " in table.out
    assert table.out.rstrip().endswith(f"  abort: {ASKED}")
    assert f"abort asked  {ASKED}\n" in page.out


def test_a_command_under_exec_is_ended(flows: Exec) -> None:
    """§5.9: exec ends its command with SIGTERM and says why on one line; its agent ends as aborted."""
    with flows.cli.start(*flows("sh", "-c", "echo here; exec sleep 60")) as running:
        running.says("here")
        asked = abort(flows, "job", reason="no\nroom")
        ended = running.end()
    record = flows.record()

    assert (asked.code, asked.out) == (0, "job: asked to stop\n")
    why = f"(asked by ann@{socket.gethostname()})"
    assert (ended.code, ended.out) == (3, "")
    assert ended.err == f"error: agent 'job' was aborted: no room {why}; the command was ended: killed by SIGTERM\n"
    assert record is not None
    assert (record.status, record.error, record.exit_code) == (AgentStatus.ABORTED, f"no\nroom {why}", 143)


@embedded
def test_a_command_that_ignores_it_is_killed(flows: Exec) -> None:
    """§5.9: what SIGTERM does not end, SIGKILL ends when the time that exec grants is over."""
    patched = "import sys; from attune_dsl.cli import app, exec; exec.GRACE = 0.2; app.call(sys.argv[1:])"
    arguments = flows("sh", "-c", "trap '' TERM; echo here; while :; do sleep 0.1; done")
    with subprocess.Popen(
        [sys.executable, "-c", patched, *arguments],
        env=os.environ | flows.cli.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        abort(flows, "job")
        _, err = process.communicate(timeout=PATIENCE)

    assert process.returncode == 3
    assert err == f"error: agent 'job' was aborted: {ASKED}; the command was ended: killed by SIGKILL\n"


@embedded
def test_a_command_is_asked_once_though_two_want_it_ended(flows: Exec, store: Store) -> None:
    """§5.9: an abort and a takeover that come together are one SIGTERM, and one line that says the first of them."""
    script = """
        import os, signal, sys, time
        asked = []
        def end(*_):
            asked.append(1)
            os.write(1, f"asked {len(asked)}\\n".encode())
        signal.signal(signal.SIGTERM, end)
        print("here", flush=True)
        while not asked:
            signal.pause()
        time.sleep(0.5)
    """
    with flows.cli.start(*flows.script(script)) as running:
        running.says("here")
        running.interrupt(signal.SIGSTOP)
        abort(flows, "job")
        with join("job", store.address, store.namespace, takeover=True):
            running.interrupt(signal.SIGCONT)
            ended = running.end()

    assert (ended.code, ended.out) == (3, "asked 1\n")
    errors = [line for line in ended.err.splitlines() if line.startswith("error:")]
    assert errors == [f"error: agent 'job' was aborted: {ASKED}; the command was ended: exit code 0"]


@embedded
def test_an_abort_that_a_crash_forestalled_reaches_the_next_command(flows: Exec) -> None:
    """§5.9: the agent's next incarnation does not run its command; that consumes the abort, and the one after runs."""
    with flows.cli.start(*flows("sh", "-c", "echo $$; exec sleep 60")) as running:
        command = int(running.says(""))
        running.interrupt(signal.SIGSTOP)
        try:
            abort(flows, "job")
        finally:
            os.kill(command, signal.SIGKILL)
            running.interrupt(signal.SIGKILL)
        running.end()

    second = flows.cli(*flows("echo", "ran"))
    third = flows.cli(*flows("echo", "ran"))

    assert (second.code, second.out) == (3, "")
    assert second.err == f"error: agent 'job' was aborted: {ASKED}; the command was not run\n"
    assert (third.code, third.out, third.err) == (0, "ran\n", "")


def test_of_several_those_that_live_are_asked(flows: Exec, store: Store, bob: Joined) -> None:
    """§5.9: an id that does not live is an error with near misses and exit code 1; the others are asked."""
    with join("carol", store.address, store.namespace) as carol:
        asked = abort(flows, "bob", "carl", "carol", "bob", "nobody-at-all")
        flows._wait_until(lambda: bob.aborted and carol.aborted)
        assert (bob.aborted, carol.aborted) == (ASKED, ASKED)

    where = f"namespace {store.namespace}, store {open_server(store.address).label}"
    assert (asked.code, asked.out) == (1, "bob: asked to stop\ncarol: asked to stop\n")
    assert asked.err.splitlines() == [
        f"error: no agent 'carl' is alive in {where}; did you mean carol?",
        f"error: no agent 'nobody-at-all' is alive in {where}; to see who is: attune-dsl agents",
    ]


@embedded
def test_one_that_ends_because_of_it_is_a_near_miss_too(flows: Exec) -> None:
    """§5.9: who was asked by the same command may have ended when the near misses are looked for."""
    with flows.cli.start(*flows("sh", "-c", "echo here; exec sleep 60")) as running:
        running.says("here")
        asked = abort(flows, "job", "jobb")
        running.end()

    assert (asked.code, asked.out) == (1, "job: asked to stop\n")
    assert asked.err.endswith("; did you mean job?\n")


@embedded
def test_one_that_has_ended_and_one_by_another_name_are_told_apart(flows: Exec, store: Store) -> None:
    """§5.9: an agent that ended is said to have ended; a workflow's or a shown name leads to the id."""
    with join("bob", store.address, store.namespace):
        pass
    with flows.cli.start("run", "flows:deaf", "--agent-id", "x-1") as running:
        counts(flows, "x-1")
        ended = abort(flows, "bob", "deaf", "The reader")
        flows.cli.write("go-on", "")
        assert running.end().code == 0

    where = f"namespace {store.namespace}, store {open_server(store.address).label}"
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.splitlines() == [
        f"error: agent 'bob' in {where} is not alive: it ended as completed",
        f"error: no agent 'deaf' is alive in {where}; it is the name of x-1",
        f"error: no agent 'The reader' is alive in {where}; it is the name of x-1",
    ]


def test_all_that_live_are_asked(flows: Exec, store: Store, bob: Joined) -> None:
    """§5.9: --all asks who lives now; nobody who joins later is meant."""
    with join("carol", store.address, store.namespace) as carol:
        asked = abort(flows, "--all")
        flows._wait_until(lambda: bob.aborted and carol.aborted)
    with join("carol", store.address, store.namespace) as carol:
        assert flows.cli("abort", "--all", "--reason", "again", "--json").json["asked"] == ["bob", "carol"]
        flows._wait_until(lambda: carol.aborted)
        assert carol.aborted.startswith("again (")
        assert bob.aborted == ASKED

    assert (asked.code, asked.out, asked.err) == (0, "bob: asked to stop\ncarol: asked to stop\n", "")


def test_all_of_nobody_is_no_error(flows: Exec, store: Store) -> None:
    """§5.9: where nobody lives there is nobody to ask, which is said on standard error."""
    ended = abort(flows, "--all")
    as_json = abort(flows, "--all", "--json")

    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith(f"nobody is alive in namespace {store.namespace}, store ")
    assert len(ended.err.splitlines()) == 1
    assert (as_json.code, as_json.json) == (0, {"asked": [], "not_alive": []})


@embedded
def test_programs_get_an_object(flows: Exec, bob: Joined) -> None:
    """§5.9: --json prints who was asked and who does not live; the errors stay on standard error."""
    ended = abort(flows, "bob", "bab", "--json")

    assert (ended.code, ended.json) == (1, {"asked": ["bob"], "not_alive": ["bab"]})
    assert len(ended.out.splitlines()) == 1
    assert ended.err.endswith("; did you mean bob?\n")


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "under exec"])
def test_without_a_store_nobody_is_asked(
    cli: Cli,  # noqa: F811
    inside: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """§5.11: a store that cannot be reached is one line and exit code 7."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}"
    if inside:
        monkeypatch.setenv("ATTUNE_AGENT_ID", "job")
    ended = cli("abort", "bob", "--reason", WHY, "--store", url)

    assert (ended.code, ended.out, len(ended.err.splitlines())) == (7, "", 1)
    assert ended.error.startswith(f"error: nobody was asked to stop: the store {url} cannot be reached")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("bob",), "missing option '--reason'"),
        (("bob", "--reason", ""), "--reason: the reason of an abort is a text of 1 to 1,000 characters, not ''"),
        (("bob", "--reason", " \n"), "--reason: the reason of an abort is a text of 1 to 1,000 characters, not ' \\n'"),
        (
            ("bob", "--reason", "x" * 1001),
            "--reason: the reason of an abort is a text of 1 to 1,000 characters, not 1,",
        ),
        (("--reason", WHY), "who is to stop? Name the agents, or ask all that live now with --all"),
        (("bob", "--all", "--reason", WHY), "--all asks all that live now; leave out the names, or --all"),
        (("bob", "", "--reason", WHY), "agent id '' must be"),
        (("bob", "--namespace", "{", "--reason", WHY), "namespace '{' must not contain"),
    ],
)
@embedded
def test_a_wrong_use_asks_nobody(flows: Exec, bob: Joined, arguments: tuple[str, ...], error: str) -> None:
    """§5.12: what is wrong with the command line is one line and exit code 2, before anybody is asked."""
    ended = flows.cli("abort", *arguments)

    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
    assert ended.error.startswith(f"error: {error}")
    record = flows.record("bob")
    assert record is not None
    assert record.abort is None


def inside(ex: Exec, script: str, agent_id: str = "job") -> Ended:  # noqa: F811
    """Run a shell script under ``exec``; ``attune`` in it is the command line."""
    return ex.cli(*ex("sh", "-c", ATTUNE + script, agent_id=agent_id))


def test_inside_it_is_the_agent_that_asks(flows: Exec, bob: Joined) -> None:
    """§5.9: under exec it is asked in the agent's name, as something that the agent did; --all leaves the agent out."""
    one = inside(flows, f"attune abort bob --reason '{WHY}'")
    flows._wait_until(lambda: bob.aborted)
    record = flows.record()
    everybody = inside(flows, f"attune abort --all --reason '{WHY}'; echo alone", "other")

    assert (one.code, one.out, one.err) == (0, "bob: asked to stop\n", "")
    assert bob.aborted == f"{WHY} (asked by job)"
    assert record is not None
    assert (record.status, record.activity) == (AgentStatus.COMPLETED, "asked bob to stop")
    assert (everybody.code, everybody.out, everybody.err) == (0, "bob: asked to stop\nalone\n", "")


@embedded
def test_inside_an_agent_may_end_itself(flows: Exec) -> None:
    """§5.9: an agent that is named is asked, also by its own command."""
    ended = inside(flows, f"attune abort job --reason '{WHY}'; exec sleep 60")

    assert (ended.code, ended.out) == (3, "job: asked to stop\n")
    assert (
        ended.err == f"error: agent 'job' was aborted: {WHY} (asked by job); the command was ended: killed by SIGTERM\n"
    )


@embedded
def test_who_is_no_longer_the_agent_asks_nobody(flows: Exec, bob: Joined, monkeypatch: pytest.MonkeyPatch) -> None:
    """§5.10: the token of an agent that has ended, or has another owner, is refused: exit code 1."""
    monkeypatch.setenv("ATTUNE_AGENT_ID", "job")
    monkeypatch.setenv("ATTUNE_AGENT_TOKEN", "0" * 32)
    ended = abort(flows, "bob")
    record = flows.record("bob")

    assert (ended.code, ended.out, len(ended.err.splitlines())) == (1, "", 1)
    assert ended.error.startswith(
        "error: nobody was asked to stop: the token is not, or no longer, that of a live agent"
    )
    assert record is not None
    assert record.abort is None


@embedded
def test_two_shells_agree_to_stop_with_these_commands_alone(flows: Exec) -> None:
    """§5.9: one shell waits for work, another one asks it to stop, and the first learns why and ends in good order."""
    worker = f"""{ATTUNE}
        while :; do
            attune signals wait work --agent-id worker --timeout inf; code=$?
            [ $code = 3 ] && echo "stopped in good order" && exit 0
            [ $code = 0 ] || exit 1
            attune signals send done --target boss --agent-id worker >/dev/null
        done
    """
    boss = f"""{ATTUNE}
        attune signals send work --target worker --agent-id boss --payload '"dishes"' >/dev/null
        attune signals wait done --agent-id boss >/dev/null || exit $?
        until attune abort worker --reason "closing time" 2>/dev/null; do :; done
    """
    run = {
        "env": os.environ | flows.cli.environment,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    }
    with (
        subprocess.Popen(["sh", "-c", worker], **run) as working,  # type: ignore[call-overload]
        subprocess.Popen(["sh", "-c", boss], **run) as bossing,  # type: ignore[call-overload]
    ):
        try:
            bossed, _ = bossing.communicate(timeout=PATIENCE)
            worked, err = working.communicate(timeout=PATIENCE)
        finally:
            for process in (working, bossing):
                with suppress(ProcessLookupError):
                    process.kill()

    assert (bossing.returncode, bossed) == (0, "worker: asked to stop\n")
    assert working.returncode == 0
    assert '"payload":"dishes"' in worked.splitlines()[0]
    assert worked.splitlines()[1:] == ["stopped in good order"]
    assert err == f"aborted: closing time (asked by ann@{socket.gethostname()})\n"
