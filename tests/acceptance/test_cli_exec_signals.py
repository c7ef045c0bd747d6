"""The operating system's signals reach a command under ``exec`` once, from wherever they come."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_support import PATIENCE, PROJECT, Cli, cli  # noqa: F401 (a fixture)
from exec_support import Exec, ex  # noqa: F401 (a fixture)

pty = pytest.importorskip("pty")
fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "posix_spawnp"), reason="exec is for Linux and macOS"),
    pytest.mark.parametrize("store", ["embedded"], indirect=True),
]

REPORTS = """
import os, signal, sys
counts = {}
def report(number, _):
    counts[number] = counts.get(number, 0) + 1
    os.write(1, f"got {signal.Signals(number).name} {counts[number]}\\n".encode())  # whole, also in a nested handler
    if number == signal.SIGUSR2:
        sys.exit(9)
for name in ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "ALRM", "WINCH", "CONT"):
    signal.signal(getattr(signal, "SIG" + name), report)
print("here", flush=True)
for line in sys.stdin:
    print("read", line.strip(), flush=True)
while True:
    signal.pause()
"""


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "TERM", "USR1", "ALRM", "WINCH"])
def test_a_signal_is_passed_on_once(ex: Exec, name: str) -> None:  # noqa: F811
    number = signal.Signals[f"SIG{name}"]
    with ex.cli.start(*ex.script(REPORTS)) as running:
        running.says("here")
        running.interrupt(number)
        running.says(f"got SIG{name} 1")
        running.interrupt(signal.SIGUSR2)
        ended = running.end()

    assert (ended.code, ended.out, ended.err) == (9, "got SIGUSR2 1\n", "")
    assert [line for line in running.heard if name in line] == [f"got SIG{name} 1\n"]


@pytest.mark.parametrize(
    ("number", "status", "error"),
    [
        (signal.SIGHUP, "cancelled", "cancelled by SIGHUP"),
        (signal.SIGINT, "cancelled", "cancelled by SIGINT"),
        (signal.SIGQUIT, "cancelled", "cancelled by SIGQUIT"),
        (signal.SIGTERM, "cancelled", "cancelled by SIGTERM"),
        (signal.SIGUSR1, "failed", "killed by SIGUSR1"),
    ],
)
def test_a_command_that_was_asked_to_end_is_cancelled(
    ex: Exec,  # noqa: F811
    number: signal.Signals,
    status: str,
    error: str,
) -> None:
    with ex.cli.start(*ex("sh", "-c", "ulimit -c 0; echo here; exec sleep 20")) as running:
        running.says("here")
        running.interrupt(number)
        ended = running.end()
    record = ex.record()

    assert (ended.code, ended.err) == (128 + number, "")
    assert record is not None
    assert (record.status.value, record.error, record.exit_code) == (status, error, 128 + number)


@pytest.mark.parametrize(
    ("code", "status", "error"), [(0, "completed", None), (5, "cancelled", "cancelled by SIGTERM, exit code 5")]
)
def test_a_command_may_answer_a_signal_itself(ex: Exec, code: int, status: str, error: str | None) -> None:  # noqa: F811
    with ex.cli.start(*ex("sh", "-c", f"trap 'exit {code}' TERM; echo here; while :; do sleep 0.1; done")) as running:
        running.says("here")
        running.interrupt(signal.SIGTERM)
        ended = running.end()
    record = ex.record()

    assert ended.code == code
    assert record is not None
    assert (record.status.value, record.error) == (status, error)


def pause(process: subprocess.Popen[Any]) -> None:
    """Stop ``exec`` itself, so that it looks at a signal only after its command has handled its own."""
    process.send_signal(signal.SIGSTOP)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)


def test_a_signal_that_the_command_sent_to_its_group_does_not_come_back(ex: Exec) -> None:  # noqa: F811
    """``kill 0``, as the traps of many scripts have it."""
    script = REPORTS.replace('print("read", line.strip(), flush=True)', "os.kill(0, signal.SIGUSR1)")
    with subprocess.Popen(
        [sys.executable, "-m", "attune_dsl", *ex.script(script)],
        env=os.environ | ex.cli.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        pause(process)
        process.stdin.write("kill 0\n")
        process.stdin.flush()
        assert process.stdout.readline() == "got SIGUSR1 1\n"
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGUSR2)
        assert process.stdout.read() == "got SIGUSR2 1\n"

    assert process.returncode == 9


class OnTerminal:
    """A process that leads a session of its own on a terminal of its own, as a login does."""

    def __init__(self, cli: Cli, *arguments: str) -> None:  # noqa: F811
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "attune_dsl", *arguments],
            cwd=cli.folder,
            env=os.environ | {"PYTHONPATH": str(PROJECT)},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 (no threads here)
        )
        os.close(slave)
        self.seen = ""

    def until(self, text: str) -> None:
        while text not in self.seen:
            self.seen += os.read(self.master, 65536).decode()

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def terminal(ex: Exec) -> Iterator[Callable[..., OnTerminal]]:  # noqa: F811
    made: list[OnTerminal] = []

    def make(script: str) -> OnTerminal:
        made.append(OnTerminal(ex.cli, *ex.script(script)))
        return made[-1]

    yield make
    for one in made:
        if one.process.poll() is None:
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.wait(PATIENCE)
        if one.master >= 0:
            os.close(one.master)


@pytest.mark.parametrize(("key", "name"), [("\x03", "SIGINT"), ("\x1c", "SIGQUIT")])
def test_a_key_of_the_terminal_reaches_the_command_once(
    ex: Exec,  # noqa: F811
    terminal: Callable[..., OnTerminal],
    key: str,
    name: str,
) -> None:
    """The terminal sends it to the whole foreground group, so exec must not send it again."""
    shown = terminal(REPORTS)
    shown.until("here")

    pause(shown.process)
    shown.type(key)
    shown.until(f"got {name} 1")
    shown.process.send_signal(signal.SIGCONT)
    # Were the key's passed on, then before this one.
    shown.process.send_signal(signal.SIGUSR2)
    shown.until("got SIGUSR2 1")

    assert shown.process.wait(PATIENCE) == 9
    assert shown.seen.count(f"got {name}") == 1
    record = ex.record()
    assert record is not None
    assert record.error == f"cancelled by {name}, exit code 9"


def test_ctrl_c_ends_command_and_agent(ex: Exec, terminal: Callable[..., OnTerminal]) -> None:  # noqa: F811
    shown = terminal("import time; print('here', flush=True); time.sleep(20)")
    shown.until("here")

    shown.type("\x03")

    assert shown.process.wait(PATIENCE) == 130
    record = ex.record()
    assert record is not None
    assert (record.status.value, record.error) == ("cancelled", "cancelled by SIGINT")


def test_a_hang_up_reaches_the_command(
    ex: Exec,  # noqa: F811
    terminal: Callable[..., OnTerminal],
    wait_until: Callable[..., Any],
) -> None:
    """It is sent to the leader of the session alone, which is exec here."""
    shown = terminal("""
        import pathlib, signal
        signal.signal(signal.SIGHUP, lambda *_: pathlib.Path("hung-up").touch())
        print("here", flush=True)
        signal.pause()
    """)
    shown.until("here")

    os.close(shown.master)
    shown.master = -1

    assert wait_until((ex.cli.folder / "hung-up").exists)
    shown.process.wait(PATIENCE)


class Job:
    """``exec`` in a process group of its own, as a shell with job control starts it."""

    def __init__(self, cli: Cli, *arguments: str) -> None:  # noqa: F811
        self.process = subprocess.Popen(
            [sys.executable, "-m", "attune_dsl", *arguments],
            cwd=cli.folder,
            env=os.environ | cli.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self.pid = self.process.pid
        assert self.process.stdout is not None
        self.out = self.process.stdout

    def stopped_by(self) -> int:
        """Wait, as a shell does, until the job stops."""
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        return os.WSTOPSIG(status)

    def is_stopped(self, pid: int) -> bool:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.fixture
def job(ex: Exec) -> Iterator[Job]:  # noqa: F811
    job = Job(ex.cli, *ex.script(f"import os; print(os.getpid(), flush=True)\n{REPORTS}"))
    with job.process:
        yield job
        if job.process.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
@pytest.mark.parametrize("to_the_group", [True, False])
def test_a_job_is_stopped_and_continued_as_a_whole(
    job: Job, to_the_group: bool, wait_until: Callable[..., Any]
) -> None:
    """Ctrl-Z and ``fg`` go to the whole group; ``kill`` of the job's pid must do the same."""
    send = os.killpg if to_the_group else os.kill
    command = int(job.out.readline())
    assert job.out.readline() == "here\n"

    for turn in (1, 2):
        send(job.pid, signal.SIGTSTP)
        assert job.stopped_by() == signal.SIGTSTP
        assert job.is_stopped(command)

        send(job.pid, signal.SIGCONT)
        assert job.out.readline() == f"got SIGCONT {turn}\n"
        wait_until(lambda: not job.is_stopped(job.pid))

    os.kill(job.pid, signal.SIGUSR2)
    assert job.out.readline() == "got SIGUSR2 1\n"
    assert job.process.wait(PATIENCE) == 9


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_a_command_that_is_stopped_alone_does_not_stop_its_agent(
    ex: Exec,  # noqa: F811
    job: Job,
    wait_until: Callable[..., Any],
) -> None:
    """Somebody looks at it with a debugger, say: the agent lives on."""
    command = int(job.out.readline())
    assert job.out.readline() == "here\n"

    os.kill(command, signal.SIGSTOP)
    wait_until(lambda: job.is_stopped(command))
    os.kill(job.pid, signal.SIGUSR1)  # exec passes it on, so it has seen the stop; the command gets it later
    os.kill(command, signal.SIGCONT)

    assert sorted(job.out.readline() for _ in range(2)) == ["got SIGCONT 1\n", "got SIGUSR1 1\n"]
    os.kill(job.pid, signal.SIGUSR2)
    assert job.process.wait(PATIENCE) == 9


def test_what_exec_ignores_is_not_passed_on(ex: Exec) -> None:  # noqa: F811
    """``nohup`` asks for that."""
    command = [sys.executable, "-m", "attune_dsl", *ex.script(REPORTS)]
    with subprocess.Popen(
        command,
        env=os.environ | ex.cli.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # noqa: PLW1509 (no threads here)
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGUSR2)
        assert process.stdout.read() == "got SIGUSR2 1\n"

    assert process.returncode == 9
