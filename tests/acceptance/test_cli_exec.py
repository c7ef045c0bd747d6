"""``exec``: a command runs as an agent, its streams and its exit code are its own, and its end is published."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cli_support import PATIENCE, Cli, cli  # noqa: F401 (a fixture)
from exec_support import Exec, ex  # noqa: F401 (a fixture)

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_spawnp"), reason="exec is for Linux and macOS")
WAITS = "print('here', flush=True); import time; time.sleep(20)"
embedded = pytest.mark.parametrize("store", ["embedded"], indirect=True)


@embedded
@pytest.mark.parametrize(
    ("command", "code", "status", "error", "line"),
    [
        (("sh", "-c", "exit 0"), 0, "completed", None, ""),
        (("sh", "-c", "exit 3"), 3, "failed", "exit code 3", ""),
        (("sh", "-c", "kill -9 $$"), 137, "failed", "killed by SIGKILL", ""),
        (("no-such-command",), 127, "failed", "the command 'no-such-command' was not found in PATH", "error"),
        (("./no-such-file",), 127, "failed", "the command './no-such-file' was not found", "error"),
        (("./plain",), 126, "failed", "the command './plain' cannot be run: Permission denied", "error"),
        (("./lost",), 127, "failed", "'./lost' cannot be run: its interpreter was not found", "error"),
    ],
)
def test_the_exit_code_is_the_commands_and_its_end_is_published(  # noqa: PLR0917
    ex: Exec,  # noqa: F811
    command: tuple[str, ...],
    code: int,
    status: str,
    error: str | None,
    line: str,
) -> None:
    ex.cli.write("plain", "text")
    ex.cli.write("lost", "#!/no/such/interpreter")
    (ex.cli.folder / "lost").chmod(0o755)

    ended = ex.cli(*ex(*command))
    record = ex.record()

    assert (ended.code, ended.out) == (code, "")
    assert ended.err == (f"error: {error}\n" if line else "")
    assert record is not None
    assert (record.status.value, record.error, record.exit_code) == (status, error, code)


def test_the_agent_is_seen_while_the_command_runs(ex: Exec) -> None:  # noqa: F811
    options = ("--display-name", "The job", "--metadata", '{"team": "data"}', "--stall-after", "60")

    with ex.cli.start(*ex.script(WAITS, options=options)) as running:
        running.says("here")
        record = ex.until(lambda record: record.status.value == "running")

        assert (record.pid, record.host) == (running.pid, socket.gethostname())
        assert (record.display_name, record.metadata, record.stall_after) == ("The job", {"team": "data"}, 60.0)
        running.interrupt(signal.SIGTERM)
        running.end()


@embedded
def test_what_goes_in_and_out_is_untouched(ex: Exec) -> None:  # noqa: F811
    """Streams are not even copied: the command has the very files that exec was given."""
    data = bytes(range(256)) * 4096
    script = "import os, sys; sys.stdout.buffer.write(sys.stdin.buffer.read()); os.write(2, bytes(range(256)))"

    done = subprocess.run(
        [sys.executable, "-m", "attune_dsl", *ex.script(script)],
        cwd=ex.cli.folder,
        env=os.environ | ex.cli.environment,
        input=data,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )

    assert done.stdout == data
    assert done.stderr == bytes(range(256))


@embedded
def test_much_output_is_not_kept_on_its_way(ex: Exec) -> None:  # noqa: F811
    """A reader that is slow slows the command itself down: nothing in between takes 40 MB in."""
    script = """
        import os
        chunk, written = bytes(1 << 20), 0
        os.set_blocking(1, False)
        try:
            while written < 40 << 20:
                written += os.write(1, chunk)
        except BlockingIOError:
            print(written, file=__import__("sys").stderr, flush=True)
        os.set_blocking(1, True)
        while written < 40 << 20:
            written += os.write(1, chunk[: (40 << 20) - written])
    """
    command = [sys.executable, "-m", "attune_dsl", *ex.script(script)]
    with subprocess.Popen(
        command, env=os.environ | ex.cli.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        taken_unread = int(process.stderr.readline())
        read = sum(len(chunk) for chunk in iter(lambda: process.stdout.read(1 << 20), b""))  # type: ignore[union-attr]

    assert taken_unread <= 1 << 20
    assert (process.returncode, read) == (0, 40 << 20)


@embedded
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux shows what a process ignores")
def test_the_command_blocks_and_ignores_no_more_than_without_exec(ex: Exec) -> None:  # noqa: F811
    def masks(*arguments: str) -> list[int]:
        done = subprocess.run(
            arguments, env=os.environ | ex.cli.environment, capture_output=True, text=True, check=True, timeout=PATIENCE
        )
        lines = [line.split() for line in done.stdout.splitlines() if line.startswith(("SigBlk", "SigIgn"))]
        return [int(mask, 16) & ~of_the_c_library for _, mask in lines]

    of_the_c_library = 3 << 31  # signals 32 and 33, which no program sees
    command = ("cat", "/proc/self/status")

    assert masks(sys.executable, "-m", "attune_dsl", *ex(*command)) == masks(*command)


def test_without_a_store_the_command_runs_all_the_same(cli: Cli) -> None:  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}"

    ended = cli("exec", "--agent-id", "job", "--store", url, "--", "sh", "-c", "echo done; exit 4")

    assert (ended.code, ended.out) == (4, "done\n")
    assert len(ended.err.splitlines()) == 1
    line = json.loads(ended.err)  # not on a terminal
    assert (line["event"], line["level"], line["store"][:8]) == ("store.unreachable", "warning", "redis://")


def test_a_taken_agent_id_runs_nothing(ex: Exec) -> None:  # noqa: F811
    with ex.cli.start(*ex.script(WAITS)) as first:
        first.says("here")

        second = ex.cli(*ex("sh", "-c", "echo here"))

        assert (second.code, second.out) == (1, "")
        assert f"(pid {first.pid} on {socket.gethostname()}): nothing was run" in second.error
        assert "--takeover" in second.error
        first.interrupt(signal.SIGTERM)
        first.end()


def test_a_takeover_ends_the_other_command(ex: Exec) -> None:  # noqa: F811
    script = """
        import signal, sys, time
        def end(*_):
            print("asked to end", flush=True)
            sys.exit(0)
        signal.signal(signal.SIGTERM, end)
        print("here", flush=True)
        time.sleep(20)
    """
    with ex.cli.start(*ex.script(script)) as first:
        first.says("here")

        second = ex.cli(*ex("sh", "-c", "exit 5", options=("--takeover",)))
        ended = first.end()

    assert second.code == 5
    assert (ended.code, ended.out) == (3, "asked to end\n")
    (error,) = (line for line in ended.err.splitlines() if line.startswith("error:"))
    assert error.startswith("error: the agent id 'job' was taken over by pid ")
    assert error.endswith("; the command was ended: exit code 0")
    record = ex.record()
    assert record is not None
    assert (record.status.value, record.exit_code) == ("failed", 5)


LARGE = json.dumps({"a": "x" * 9000})


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("exec", "--", "true"), "missing option '--agent-id'"),
        (("exec", "--agent-id", "job"), "missing argument 'COMMAND...'"),
        (("exec", "--agent-id", "job", "--metadata", "{", "--", "true"), "--metadata: not JSON: "),
        (("exec", "--agent-id", "job", "--metadata", "[1]", "--", "true"), "--metadata: [1] is not a JSON object"),
        (("exec", "--agent-id", "job", "--metadata", '{"a": NaN}', "--", "true"), "--metadata: not JSON: $.a is nan"),
        (("exec", "--agent-id", "job", "--metadata", LARGE, "--", "true"), "--metadata: the metadata is 9,008 bytes"),
        (("exec", "--agent-id", "job", "--ttl", "0", "--", "true"), "--ttl: this is a number of seconds above 0"),
        (("exec", "--agent-id", "job", "--ttl", "2", "--interval", "3", "--", "true"), "Heartbeat ttl (2 s) must be"),
        (("exec", "--agent-id", "job", "--stall-after", "0", "--", "true"), "--stall-after: this is a number of"),
        (("exec", "--agent-id", "a\nb", "--", "true"), "agent id 'a\\nb' must be"),
        (("exec", "--agent-id", "job", "--json", "--", "true"), "exec prints nothing of its own"),
        (("exec", "--agent-id", "job", "--namespace", "{", "--", "true"), "namespace '{' must not contain"),
    ],
)
def test_a_wrong_command_line_runs_nothing(cli: Cli, arguments: tuple[str, ...], error: str) -> None:  # noqa: F811
    ended = cli(*arguments)

    assert (ended.code, ended.out) == (2, "")
    assert ended.error.startswith(f"error: {error}")


@embedded
def test_options_of_the_command_are_its_own(ex: Exec) -> None:  # noqa: F811
    """Also without ``--`` nothing behind the command's name is taken for an option of exec."""
    ended = ex.cli("exec", "--agent-id", "job", "echo", "--help", "--ttl", "x")

    assert (ended.code, ended.out) == (0, "--help --ttl x\n")


@embedded
def test_one_of_ttl_and_interval_is_enough(ex: Exec) -> None:  # noqa: F811
    assert ex.cli(*ex("true", options=("--ttl", "2"))).code == 0
    assert ex.cli(*ex("true", options=("--interval", "30"))).code == 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux shows what a process blocks")
def test_the_embedded_server_that_it_starts_blocks_no_signal(cli: Cli) -> None:  # noqa: F811
    """A server that could not be ended by SIGTERM would be awful. It is started while exec holds its signals back."""
    script = """
        import subprocess, sys
        from pathlib import Path
        from attune_dsl.store import embedded
        print(Path(f"/proc/{embedded.status().pid}/status").read_text())
    """

    ended = cli("exec", "--agent-id", "job", "--", sys.executable, "-c", "\n".join(map(str.strip, script.splitlines())))

    assert [line.split() for line in ended.out.splitlines() if line.startswith("SigBlk")] == [["SigBlk:", "0" * 16]]


def test_its_processes_find_the_same_embedded_server_from_anywhere(cli: Cli) -> None:  # noqa: F811
    """The address that is exported does not depend on the folder, and there the command itself is listed."""
    os.environ["ATTUNE_HOME"] = os.path.relpath(os.environ["ATTUNE_HOME"], cli.folder)

    ended = cli("exec", "--agent-id", "job", "--", "sh", "-c", f"cd / && {sys.executable} -m attune_dsl agents --json")

    assert ended.code == 0, ended.err
    assert [row["agent_id"] for row in json.loads(ended.out)] == ["job"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_that_still_waits_for_its_store_can_be_interrupted(cli: Cli, number: signal.Signals) -> None:  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        with cli.start("exec", "--agent-id", "job", "--store", url, "--", "echo", "ran") as running:
            link, _ = silent.accept()
            running.interrupt(number)
            ended = running.end()
            link.close()

    assert (ended.code, ended.out) == (128 + number, "")
    assert ended.err.startswith(f"error: {number.name} came before the command was started")
