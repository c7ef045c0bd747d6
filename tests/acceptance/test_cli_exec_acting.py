"""Inside ``exec``, ``progress`` and ``signals`` act as the agent that the command runs as; ``signals`` elsewhere."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from cli_support import Cli, Ended, cli  # noqa: F401 (a fixture)
from exec_support import Exec, ex  # noqa: F401 (a fixture)

from attune_dsl.coordination.join import Joined, join

if TYPE_CHECKING:
    from conftest import Store

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_spawnp"), reason="exec is for Linux and macOS")
embedded = pytest.mark.parametrize("store", ["embedded"], indirect=True)
US = f"{sys.executable} -m attune_dsl"


@pytest.fixture
def bob(store: Store) -> Iterator[Joined]:
    """Somebody to send to."""
    with join("bob", store.address, store.namespace) as bob:
        yield bob


def inside(ex: Exec, script: str) -> Ended:  # noqa: F811
    """Run a shell script under ``exec``; ``attune`` in it is the command line."""
    return ex.cli(*ex("sh", "-c", f'attune() {{ {US} "$@"; }}; {script}'))


@pytest.fixture
def dead_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"redis://127.0.0.1:{server.getsockname()[1]}"


def test_a_command_says_how_far_it_is(ex: Exec) -> None:  # noqa: F811
    script = f"{US} progress 40% 'parsed all'; echo \"said $?\"; exec sleep 20"
    with ex.cli.start(*ex("sh", "-c", script)) as running:
        running.says("said 0")
        record = ex.until(lambda record: record.progress == 0.4)
        assert record.note == "parsed all"
        running.interrupt(signal.SIGTERM)
        assert running.end().code == 143


def test_what_it_said_last_stays_when_it_fails(ex: Exec) -> None:  # noqa: F811
    ended = inside(ex, "attune progress 0.4 && attune progress 'almost there' && exit 3")
    record = ex.record()

    assert (ended.code, ended.out, ended.err) == (3, "", "")
    assert record is not None
    assert (record.progress, record.note, record.error) == (0.4, "almost there", "exit code 3")


def test_what_it_sends_comes_from_the_agent(ex: Exec, bob: Joined) -> None:  # noqa: F811
    send = "attune signals send go --target bob --payload '{\"n\": [1]}' --ttl 9"
    ended = inside(ex, f"{send} && attune signals broadcast all --json")
    sent, all_ = bob.signals.wait("go", timeout=10), bob.signals.wait("all", timeout=10)

    assert ended.code == 0, ended.err
    assert sent
    assert all_
    assert (sent.source, sent.payload) == ("job", {"n": [1]})
    assert sent.expires_at - sent.sent_at == pytest.approx(9)
    assert (all_.source, all_.payload, all_.target) == ("job", None, None)
    first, second = ended.out.splitlines()
    assert first == sent.id
    assert json.loads(second) == {"id": all_.id, "source": "job", "type": "all", "target": None}


def test_what_options_named_is_known_inside(
    cli: Cli,  # noqa: F811
    ex: Exec,  # noqa: F811
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The store with its password (the one in memory has one) and the namespace; an inner command is an agent too."""
    monkeypatch.delenv("ATTUNE_STORE_URL")
    monkeypatch.delenv("ATTUNE_NAMESPACE")
    where = ("--store", store.address, "--namespace", store.namespace)
    script = f"{US} progress 0.4; {US} exec --agent-id inner -- sh -c '{US} progress 0.3; exit 2'"

    ended = cli(*ex("sh", "-c", script, options=where))
    outer, inner = ex.record(), ex.record("inner")

    assert (ended.code, ended.err) == (2, "")
    assert outer is not None
    assert inner is not None
    assert (outer.progress, inner.progress) == (0.4, 0.3)


def test_a_store_in_memory_is_shared_with_the_command(cli: Cli) -> None:  # noqa: F811
    """It lives in the process of exec, whose command is handed the way in."""
    script = f"{US} progress 0.4 && {US} agents --json"

    ended = cli("exec", "--agent-id", "job", "--store", "memory://", "--", "sh", "-c", script)

    assert (ended.code, ended.err) == (0, "")
    assert [(row["agent_id"], row["progress"]) for row in ended.json] == [("job", 0.4)]


@embedded
def test_inside_another_name_is_another_agent(ex: Exec, bob: Joined) -> None:  # noqa: F811
    ended = inside(ex, "attune signals send go --target bob --agent-id ann && attune signals send go --target bob")
    sources = [signal.source for signal in bob.signals.collect("go", count=2, timeout=10)]

    assert ended.code == 0, ended.err
    assert sources == ["ann", "job"]


def test_a_token_is_worth_nothing_once_the_command_has_ended(ex: Exec, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    shown = ex.cli(*ex("sh", "-c", "echo $ATTUNE_AGENT_TOKEN"))
    monkeypatch.setenv("ATTUNE_AGENT_ID", "job")
    monkeypatch.setenv("ATTUNE_AGENT_TOKEN", shown.out.strip())

    for arguments in (("progress", "0.4"), ("signals", "send", "go", "--target", "bob")):
        ended = ex.cli(*arguments)
        assert (ended.code, ended.out) == (1, "")
        assert "the token is not, or no longer, that of a live agent 'job'" in ended.error


@embedded
def test_a_wrong_token_is_refused(ex: Exec, bob: Joined) -> None:  # noqa: F811
    ended = inside(
        ex,
        "export ATTUNE_AGENT_TOKEN=wrong; attune progress 0.4; echo $?; attune signals send go --target bob; echo $?",
    )

    assert ended.out.split() == ["1", "1"]
    assert ended.error.startswith("error: the token is not, or no longer, that of a live agent 'job'")
    assert bob.signals.pending() == []


@embedded
def test_one_agent_cannot_speak_for_another(ex: Exec, bob: Joined) -> None:  # noqa: F811
    ended = inside(ex, "export ATTUNE_AGENT_ID=bob; attune progress 0.4")

    assert ended.code == 1
    assert "that of a live agent 'bob'" in ended.error


def test_progress_outside_of_exec_says_what_to_do(cli: Cli) -> None:  # noqa: F811
    ended = cli("progress", "0.4")

    assert (ended.code, ended.out) == (1, "")
    assert ended.error.endswith("run it under: attune-dsl exec --agent-id NAME -- COMMAND")


@pytest.mark.parametrize("arguments", [(), ("40",), ("a", "b"), ("0.4", "--no-such-option")])
def test_a_wrong_use_of_progress_is_told(cli: Cli, arguments: tuple[str, ...]) -> None:  # noqa: F811
    ended = cli("progress", *arguments)

    assert (ended.code, ended.out) == (2, "")
    assert len(ended.err.splitlines()) == 1


def test_without_a_store_nothing_can_be_said(cli: Cli, dead_url: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("ATTUNE_STORE_URL", dead_url)
    send = ("signals", "send", "go", "--target", "bob")
    outside = cli(*send)
    monkeypatch.setenv("ATTUNE_AGENT_ID", "job")

    for ended in (outside, cli(*send), cli("progress", "0.4")):
        assert (ended.code, ended.out) == (7, "")
        assert ended.err.splitlines()[-1] == ended.err.strip()
        assert f"the store {dead_url} cannot be reached" in ended.err


@embedded
def test_outside_a_signal_comes_from_a_name_of_the_moment(ex: Exec, bob: Joined) -> None:  # noqa: F811
    ended = ex.cli("signals", "send", "go", "--target", "bob", "--payload", '"now"', "--json")
    signal_ = bob.signals.wait("go", timeout=10)

    assert ended.code == 0, ended.err
    assert signal_
    assert re.fullmatch(r"cli-[0-9a-f]{8}", signal_.source)
    assert ended.json == {"id": signal_.id, "source": signal_.source, "type": "go", "target": "bob"}
    assert signal_.payload == "now"


@embedded
def test_outside_a_name_may_be_chosen(ex: Exec, bob: Joined) -> None:  # noqa: F811
    ended = ex.cli("signals", "broadcast", "go", "--agent-id", "ann", "--no-late")
    with join("late", ex.store.address, ex.store.namespace) as late:
        assert late.signals.check() is None
    signal_ = bob.signals.wait("go", timeout=10)

    assert ended.code == 0, ended.err
    assert signal_
    assert (signal_.id, signal_.source) == (ended.out.strip(), "ann")


@embedded
def test_the_name_of_a_live_agent_is_its_own(ex: Exec, bob: Joined) -> None:  # noqa: F811
    ended = ex.cli("signals", "send", "go", "--target", "ann", "--agent-id", "bob")

    assert (ended.code, ended.out) == (1, "")
    assert f"agent id 'bob' is taken by a live agent (pid {os.getpid()} on {socket.gethostname()})" in ended.error


@embedded
def test_the_same_key_is_the_same_signal(ex: Exec, bob: Joined) -> None:  # noqa: F811
    send = ("signals", "send", "go", "--target", "bob", "--agent-id", "ann", "--key", "once")

    assert ex.cli(*send).out == ex.cli(*send).out != ""
    assert len(bob.signals.pending()) == 1


@embedded
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("send", "go"), "missing option '--target'"),
        (("send", "--target", "bob"), "missing argument 'TYPE'"),
        (("send", "go", "--target", "bob", "--payload", "text"), "--payload is not JSON: "),
        (("send", "go", "--target", "bob", "--ttl", "0"), "ttl is 0.0; it must be a positive number"),
        (("send", "", "--target", "bob"), "signal type '' must be"),
        (("send", "go", "--target", "a\nb"), "target 'a\\nb' must be"),
        (("broadcast", "go", "--key", ""), "key '' must be"),
        (("broadcast", "go", "--agent-id", ""), "agent id '' must be"),
        (("broadcast", "go", "--ttl", "-1"), "ttl is -1.0; it must be a positive number"),
        (("sned",), "no such command 'sned'"),
    ],
)
def test_a_wrong_use_of_signals_is_told(ex: Exec, arguments: tuple[str, ...], error: str) -> None:  # noqa: F811
    ended = ex.cli("signals", *arguments)

    assert (ended.code, ended.out) == (2, "")
    assert ended.error.startswith(f"error: {error}")


@embedded
def test_what_is_too_large_is_refused(ex: Exec, bob: Joined) -> None:  # noqa: F811
    ex.store.redis.hset(f"{ex.store.prefix}mail-info:full", mapping={"bytes": 64 << 20, "due": 10**15})
    ex.store.redis.expire(f"{ex.store.prefix}mail-info:full", 60)

    full = ex.cli("signals", "send", "go", "--target", "full")
    not_a_number = ex.cli("signals", "send", "go", "--target", "bob", "--payload", "[NaN]")

    assert (full.code, not_a_number.code) == (1, 2)
    assert "the mailbox of 'full' is full" in full.error
    assert "--payload is not JSON: there is no number NaN" in not_a_number.error


def test_a_group_without_a_command_shows_what_there_is(cli: Cli) -> None:  # noqa: F811
    ended = cli("signals")

    assert ended.code == 2
    assert "broadcast" in ended.err
