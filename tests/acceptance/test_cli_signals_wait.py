"""``signals wait``: shell scripts that take part with the command line alone, and how each outcome is told."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cli_support import PATIENCE, Cli, Ended, cli  # noqa: F401 (a fixture)
from exec_support import Exec, ex  # noqa: F401 (a fixture)

from attune_dsl.coordination.join import join
from attune_dsl.model import AgentStatus

if TYPE_CHECKING:
    from conftest import Store

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_spawnp"), reason="exec is for Linux and macOS")
embedded = pytest.mark.parametrize("store", ["embedded"], indirect=True)
ATTUNE = f'attune() {{ {sys.executable} -m attune_dsl "$@"; }}\n'
FIELDS = ["id", "type", "source", "target", "payload", "sent_at", "expires_at", "redelivered"]


def send(ex: Exec, *arguments: str, target: str = "bob") -> str:  # noqa: F811
    """Send a signal and return its id."""
    ended = ex.cli("signals", "send", *arguments, "--target", target)
    assert ended.code == 0, ended.err
    return ended.out.strip()


def wait(ex: Exec, *arguments: str, agent_id: str = "bob") -> Ended:  # noqa: F811
    return ex.cli("signals", "wait", *arguments, "--agent-id", agent_id)


def waits(ex: Exec, agent_id: str = "bob") -> None:  # noqa: F811
    """Wait until an agent waits."""
    ex.until(lambda record: record.status is AgentStatus.WAITING, agent_id)


def ends(ex: Exec, agent_id: str) -> AgentStatus:  # noqa: F811
    """Wait until an agent has ended, and return how."""
    return ex.until(lambda record: record.status.is_final, agent_id).status


def inside(ex: Exec, script: str, agent_id: str = "job") -> Ended:  # noqa: F811
    """Run a shell script under ``exec``; ``attune`` in it is the command line."""
    return ex.cli(*ex("sh", "-c", ATTUNE + script, agent_id=agent_id))


def test_the_oldest_that_fits_is_printed_and_does_not_come_again(ex: Exec) -> None:  # noqa: F811
    first = send(ex, "go", "--payload", '{"n": [1, "ä"]}', "--agent-id", "ann", "--ttl", "50")
    send(ex, "else")
    second = send(ex, "stop")

    ended = wait(ex, "stop", "go")
    taken = ended.json

    assert (ended.code, ended.err, len(ended.out.splitlines())) == (0, "", 1)
    assert list(taken) == FIELDS
    assert [taken[name] for name in FIELDS[:5]] == [first, "go", "ann", "bob", {"n": [1, "ä"]}]
    assert taken["expires_at"] - taken["sent_at"] == pytest.approx(50)
    assert taken["redelivered"] is False
    assert wait(ex, "stop", "go").json["id"] == second
    assert wait(ex, "stop", "go", "--timeout", "0").code == 4
    assert wait(ex, "else").code == 0


def test_it_waits_for_what_comes(ex: Exec) -> None:  # noqa: F811
    with ex.cli.start("signals", "wait", "go", "--agent-id", "bob", "--timeout", "inf") as waiting:
        waits(ex)
        sent = ex.cli("signals", "broadcast", "go", "--agent-id", "ann").out.strip()
        ended = waiting.end()

    assert (ended.code, ended.err) == (0, "")
    assert (ended.json["id"], ended.json["target"]) == (sent, None)
    assert ends(ex, "bob") is AgentStatus.COMPLETED


def test_a_signal_that_does_not_come_in_time_is_exit_code_4(ex: Exec) -> None:  # noqa: F811
    ended = wait(ex, "go", "--timeout", "0.1")
    as_json = wait(ex, "go", "--timeout", "0", "--json")

    assert (ended.code, ended.out, ended.err) == (4, "", "timeout: no signal 'go' within 0.1 s\n")
    assert (as_json.code, as_json.err) == (4, "timeout: no signal 'go' within 0 s\n")
    assert as_json.json == {"reason": "timeout", "detail": "no signal 'go' within 0 s"}


def test_a_source_that_ends_is_exit_code_5(ex: Exec, store: Store) -> None:  # noqa: F811
    with ex.cli.start("signals", "wait", "go", "--agent-id", "bob", "--source", "ann", "--json") as waiting:
        waits(ex)
        with suppress(ValueError), join("ann", store.address, store.namespace) as ann:
            ann.signals.send("else", "bob")
            raise ValueError("no flour")
        ended = waiting.end()

    detail = "agent 'ann' failed (ValueError: no flour)"
    assert (ended.code, ended.err) == (5, f"peer_gone: {detail}\n")
    assert ended.json == {"reason": "peer_gone", "detail": detail}


def test_an_abort_is_exit_code_3(ex: Exec) -> None:  # noqa: F811
    """§5.9: a wait whose agent is asked to stop ends at once and says why on one line; the agent ends as aborted."""
    with ex.cli.start("signals", "wait", "go", "--agent-id", "bob", "--timeout", "inf", "--json") as waiting:
        waits(ex)
        inside(ex, "attune abort bob --reason 'no\nflour'", "ann")
        ended = waiting.end()
    record = ex.record("bob")

    why = "no\nflour (asked by ann)"
    assert (ended.code, ended.err) == (3, "aborted: no flour (asked by ann)\n")
    assert ended.json == {"reason": "aborted", "detail": why}
    assert record is not None
    assert (record.status, record.error, record.abort) == (AgentStatus.ABORTED, why, why)


@embedded
def test_what_has_come_is_taken_before_an_abort(ex: Exec) -> None:  # noqa: F811
    """§5.8: mail that is there is delivered first; the next wait under the name is not aborted any more."""
    with ex.cli.start("signals", "wait", "go", "--agent-id", "bob", "--timeout", "inf") as waiting:
        waits(ex)
        waiting.interrupt(signal.SIGSTOP)
        sent = send(ex, "go")
        assert ex.cli("abort", "bob", "--reason", "too late").code == 0
        waiting.interrupt(signal.SIGCONT)
        ended = waiting.end()

    assert (ended.code, ended.json["id"], ended.err) == (0, sent, "")
    assert ends(ex, "bob") is AgentStatus.COMPLETED
    assert wait(ex, "go", "--timeout", "0").code == 4


def test_inside_an_abort_ends_the_wait_so_that_a_script_can_clean_up(ex: Exec) -> None:  # noqa: F811
    """§5.9: a shell handles SIGTERM only when its command has ended, so that does not wait for SIGKILL."""
    script = """
        trap 'heard=SIGTERM' TERM
        attune signals wait go >/dev/null && echo begun
        attune signals wait go --timeout inf; echo "code $? $heard"
    """
    send(ex, "go", "--agent-id", "ann", target="job")
    with ex.cli.start(*ex("sh", "-c", ATTUNE + script)) as running:
        running.says("begun")
        assert inside(ex, "attune abort job --reason 'no flour'", "ann").code == 0
        ended = running.end()

    why = "no flour (asked by ann)"
    assert (ended.code, ended.out) == (3, "code 3 SIGTERM\n")
    assert ended.err.splitlines() == [
        f"aborted: {why}",
        f"error: agent 'job' was aborted: {why}; the command was ended: exit code 0",
    ]


def test_a_source_that_must_live_is_not_waited_for(ex: Exec) -> None:  # noqa: F811
    ended = wait(ex, "go", "--source", "ann", "--require-alive")

    assert (ended.code, ended.out, ended.err) == (5, "", "peer_gone: no agent 'ann' is alive\n")


@embedded
def test_a_wait_that_would_close_a_circle_is_exit_code_6(ex: Exec) -> None:  # noqa: F811
    with ex.cli.start("signals", "wait", "x", "--agent-id", "a", "--source", "b", "--timeout", "inf") as first:
        ex._wait_until(lambda: ex.store.redis.hexists(f"{ex.store.prefix}waits", "a"))
        ended = wait(ex, "y", "--source", "a", agent_id="b")
        send(ex, "x", "--agent-id", "b", target="a")

        assert (ended.code, ended.out) == (6, "")
        assert ended.err == 'deadlock: b waits for a: "y" → a waits for b: "x"\n'
        assert first.end().code in (0, 5)  # b left, and came back to send


def test_a_store_that_cannot_be_reached_is_exit_code_7(ex: Exec, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}"
    outside = ex.cli("signals", "wait", "go", "--agent-id", "bob", "--store", url, "--json")
    monkeypatch.setenv("ATTUNE_AGENT_ID", "bob")
    inside = ex.cli("signals", "wait", "go", "--store", url, "--json")

    for ended in (outside, inside):
        assert (ended.code, ended.json["reason"], len(ended.err.splitlines())) == (7, "unavailable", 1)
        assert ended.err.startswith(f"unavailable: the store {url} cannot be reached")


def test_the_name_of_a_live_agent_is_its_own(ex: Exec, store: Store) -> None:  # noqa: F811
    with join("bob", store.address, store.namespace) as bob:
        bob.signals.send("go", "bob")
        ended = wait(ex, "go")

        assert (ended.code, ended.out) == (1, "")
        assert f"agent id 'bob' is taken by a live agent (pid {os.getpid()} on" in ended.error
        assert bob.signals.check("go")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--agent-id", "bob"), "missing argument 'TYPE...'"),
        (("go",), "whose mailbox? Name the agent: --agent-id NAME"),
        (("go", "--agent-id", ""), "agent id '' must be"),
        (("", "--agent-id", "bob"), "signal type '' must be"),
        (("go", "--agent-id", "bob", "--source", ""), "source '' must be"),
        (("go", "--agent-id", "bob", "--timeout", "-1"), "--timeout is -1; it must be a number of seconds from 0 up"),
        (("go", "--agent-id", "bob", "--timeout", "nan"), "--timeout is nan; it must be"),
        (("go", "--agent-id", "bob", "--timeout", "soon"), "--timeout: 'soon' is not a valid float"),
        (("go", "--agent-id", "bob", "--require-alive"), "--require-alive needs --source"),
    ],
)
@embedded
def test_a_wrong_use_is_told(ex: Exec, arguments: tuple[str, ...], error: str) -> None:  # noqa: F811
    ended = ex.cli("signals", "wait", *arguments)

    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
    assert ended.error.startswith(f"error: {error}")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@embedded
def test_an_interrupted_wait_leaves(ex: Exec, number: signal.Signals, code: int) -> None:  # noqa: F811
    with ex.cli.start("signals", "wait", "go", "--agent-id", "bob") as waiting:
        waits(ex)
        waiting.interrupt(number)
        ended = waiting.end()

    assert (ended.code, ended.out, ended.err) == (code, "", "")
    assert ends(ex, "bob") is AgentStatus.CANCELLED


def nobody_reads() -> int:
    """A pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def nowhere() -> int:
    """A full disk."""
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux")
@pytest.mark.parametrize("output", [nobody_reads, nowhere])
@pytest.mark.parametrize("acting", [False, True], ids=["joined", "exec"])
@embedded
def test_what_cannot_be_printed_is_not_lost(ex: Exec, output: object, acting: bool) -> None:  # noqa: F811
    send(ex, "go", "--ttl", "600", target="job")
    command = [sys.executable, "-m", "attune_dsl", "signals", "wait", "go"]
    whole = [*command[:3], *ex(*command)] if acting else [*command, "--agent-id", "job"]
    writer = output()  # type: ignore[operator]
    done = subprocess.run(
        whole,
        env=os.environ | ex.cli.environment,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    os.close(writer)

    assert done.returncode == 1
    assert "could not be printed" in done.stderr
    assert done.stderr.endswith("; it was not taken\n")
    assert len(done.stderr.splitlines()) == 1
    assert wait(ex, "go", agent_id="job").code == 0


@embedded
def test_without_standard_output_nothing_is_taken(ex: Exec) -> None:  # noqa: F811
    send(ex, "go")
    script = f"{ATTUNE} attune signals wait go --agent-id bob >&-"
    done = subprocess.run(
        ["sh", "-c", script],
        env=os.environ | ex.cli.environment,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert (done.returncode, "standard output is closed" in done.stderr) == (1, True)
    assert wait(ex, "go").code == 0


def test_two_scripts_talk_with_each_other(ex: Exec) -> None:  # noqa: F811
    """Each under exec; one asks, the other answers, and both know how the other ended."""
    cook = """
        order=$(attune signals wait order --timeout 20) || exit $?
        attune progress 50% cooking
        attune signals send soup --target guest --payload '{"for": "guest"}' >/dev/null
        attune signals wait thanks --source guest --timeout 20 >/dev/null
    """
    guest = """
        attune signals send order --target cook --payload '{"dish": "soup"}' >/dev/null
        attune signals wait soup --source cook --timeout 20 || exit $?
        attune signals broadcast thanks >/dev/null
        attune signals wait more --source cook --timeout 20; echo "exit code $?"
    """
    with ex.cli.start(*ex("sh", "-c", ATTUNE + cook, agent_id="cook")) as cooking:
        dined = inside(ex, guest, "guest")
        cooked = cooking.end()

    assert (cooked.code, cooked.out, cooked.err) == (0, "", "")
    assert (dined.code, dined.err) == (0, "peer_gone: agent 'cook' completed\n")
    soup, code = dined.out.splitlines()
    assert '"payload":{"for":"guest"}' in soup
    assert code == "exit code 5"


@embedded
def test_scripts_without_exec_talk_too(ex: Exec) -> None:  # noqa: F811
    """Each command joins for itself; what is sent in between waits in the mailbox."""
    ask = f"""{ATTUNE}
        attune signals send ask --target there --agent-id here
        attune signals wait answer --agent-id here --timeout 20
    """
    answer = f"""{ATTUNE}
        attune signals wait ask --agent-id there --timeout 20 &&
        attune signals send answer --target here --agent-id there --payload 42
    """
    run = {"env": os.environ | ex.cli.environment, "stdout": subprocess.PIPE, "text": True}
    with (
        subprocess.Popen(["sh", "-c", ask], **run) as here,  # type: ignore[call-overload]
        subprocess.Popen(["sh", "-c", answer], **run) as there,  # type: ignore[call-overload]
    ):
        asked, _ = here.communicate(timeout=PATIENCE)
        answered, _ = there.communicate(timeout=PATIENCE)

    assert (here.returncode, there.returncode) == (0, 0)
    assert '"payload":42' in asked.splitlines()[1]
    assert '"source":"here"' in answered.splitlines()[0]


def test_inside_it_takes_the_mail_of_the_live_agent(ex: Exec) -> None:  # noqa: F811
    first = send(ex, "go", "--payload", "1", target="job")
    second = send(ex, "go", "--payload", "2", target="job")

    ended = inside(ex, "attune signals wait go; attune signals wait go; attune signals wait go --timeout 0; echo $?")
    again = inside(ex, "attune signals wait go --timeout 0.1")
    one, two, code = ended.out.splitlines()

    assert (first in one, second in two, code) == (True, True, "4")
    assert ended.err == "timeout: no signal 'go' within 0 s\n"
    assert again.code == 4


@embedded
def test_inside_several_wait_at_once(ex: Exec) -> None:  # noqa: F811
    """Each signal is printed by one of them."""
    script = """
        for number in 1 2 3; do attune signals wait go --timeout 20 & done
        for number in 1 2 3; do attune signals send go --target job --payload $number >/dev/null; done
        wait; attune signals pending
    """
    ended = inside(ex, script)
    taken = sorted(line.partition('"payload":')[2][:1] for line in ended.out.splitlines())

    assert taken == ["1", "2", "3"]
    assert ended.err.startswith("nothing waits for 'job'")


@embedded
def test_inside_another_name_joins(ex: Exec) -> None:  # noqa: F811
    send(ex, "go", target="ann")
    ended = inside(ex, "attune signals wait go --agent-id ann; attune signals wait go --agent-id job --timeout 0")

    assert (ended.code, ended.json["target"]) == (4, "ann")


@embedded
def test_inside_a_wait_ends_with_the_agent(ex: Exec, store: Store) -> None:  # noqa: F811
    """Somebody else has the name now: what waits is theirs."""
    script = "attune signals wait go --timeout inf; code=$?; echo said; trap '' TERM; exit $code"
    with ex.cli.start(*ex("sh", "-c", ATTUNE + script)) as running:
        ex.until(lambda record: record.status is AgentStatus.RUNNING)
        with join("job", store.address, store.namespace, takeover=True) as job:
            job.signals.send("go", "job")
            ended = running.end()
            assert job.signals.check("go")

    assert ended.code == 3
    assert '"type":"go"' not in ended.out
