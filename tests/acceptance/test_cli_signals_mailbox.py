"""``signals pending``, ``clear`` and ``tail``: what waits for an agent, away with it, and what is being sent."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from cli_support import Cli, Ended, Running, cli  # noqa: F401 (a fixture)
from exec_support import Exec, ex  # noqa: F401 (a fixture)
from terminal_support import Terminal, on_terminal, plain

from attune_dsl.coordination.join import Joined, join
from attune_dsl.model import AgentStatus

if TYPE_CHECKING:
    from conftest import Store

embedded = pytest.mark.parametrize("store", ["embedded"], indirect=True)
unix = pytest.mark.skipif(not hasattr(os, "posix_spawnp"), reason="exec is for Linux and macOS")
ATTUNE = f'attune() {{ {sys.executable} -m attune_dsl "$@"; }}\n'


@pytest.fixture
def ann(store: Store) -> Iterator[Joined]:
    """Somebody who sends."""
    with join("ann", store.address, store.namespace) as ann:
        yield ann


READY = "are you there"


@pytest.fixture
def dead_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"redis://127.0.0.1:{server.getsockname()[1]}"


def pending(ex: Exec, *arguments: str, agent_id: str = "bob") -> Ended:  # noqa: F811
    return ex.cli("signals", "pending", *arguments, "--agent", agent_id)


def clear(ex: Exec, *arguments: str, agent_id: str = "bob") -> Ended:  # noqa: F811
    return ex.cli("signals", "clear", *arguments, "--agent", agent_id)


def payloads(ended: Ended) -> list[object]:
    return [each["payload"] for each in json.loads(ended.out)]


def test_what_waits_is_shown_and_stays(ex: Exec, ann: Joined, store: Store) -> None:  # noqa: F811
    """Whether the agent lives or not."""
    sent = ann.signals.send("go", "bob", {"n": 1}, ttl=50)
    ann.signals.broadcast("news", "late edition")

    before = pending(ex, "--json")
    with join("bob", store.address, store.namespace) as bob:
        during = pending(ex)
        assert [each.type for each in bob.signals.pending()] == ["go", "news"]

    first, second = json.loads(before.out)
    assert (before.code, during.code) == (0, 0)
    assert list(first) == ["id", "type", "source", "target", "payload", "sent_at", "expires_at", "size"]
    assert (first["id"], first["type"], first["target"], first["payload"]) == (sent, "go", "bob", {"n": 1})
    assert first["expires_at"] - first["sent_at"] == pytest.approx(50)
    assert (second["type"], second["target"], second["payload"]) == ("news", None, "late edition")
    header, *rows = during.out.splitlines()
    assert header.split() == ["type", "source", "to", "age", "expires", "in", "size", "payload"]
    assert [row.split()[:2] for row in rows] == [["go", "ann"], ["news", "ann"]]
    assert rows[0].endswith('{"n":1}')


@embedded
def test_types_and_source_choose(ex: Exec, ann: Joined, store: Store) -> None:  # noqa: F811
    with join("cid", store.address, store.namespace) as cid:
        for number, (sender, type_) in enumerate([(ann, "go"), (cid, "go"), (cid, "stop"), (ann, "else")]):
            sender.signals.send(type_, "bob", number)

    assert payloads(pending(ex, "go", "stop", "--json")) == [0, 1, 2]
    assert payloads(pending(ex, "--source", "cid", "--json")) == [1, 2]
    assert clear(ex, "go", "--source", "cid", "--yes").out == "1\n"
    assert payloads(pending(ex, "--json")) == [0, 2, 3]


def test_that_nothing_waits_is_said(ex: Exec) -> None:  # noqa: F811
    ended = pending(ex)
    chosen = pending(ex, "go", "stop", "--source", "ann")
    as_json = pending(ex, "--json")

    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith(f"nothing waits for 'bob' in namespace {ex.store.namespace}, store ")
    assert chosen.err.startswith("nothing of type 'go' or 'stop' from 'ann' waits for 'bob'")
    assert (as_json.code, as_json.out, as_json.err) == (0, "[]\n", "")


@embedded
def test_what_cannot_be_read_is_mentioned(ex: Exec, ann: Joined) -> None:  # noqa: F811
    ann.signals.send("go", "bob")
    ex.store.redis.xadd(f"{ex.store.prefix}mail:bob", {"head": "nonsense", "signal": "{"})

    ended = pending(ex)

    assert (ended.code, ended.err) == (0, "warning: 1 could not be read and is left out\n")
    assert len(ended.out.splitlines()) == 2


@pytest.mark.parametrize("columns", [40, 80, 150])
@embedded
def test_the_table_fits_any_terminal(ex: Exec, ann: Joined, columns: int) -> None:  # noqa: F811
    ann.signals.send("a_type_with_a_long_name", "bob", "x" * 300)
    seen, _ = on_terminal(ex.cli, columns, "signals", "pending", "--agent-id", "bob")
    header, row = [line for line in plain(seen) if line]

    assert max(len(header), len(row)) <= columns
    assert header.split()[:2] == ["type", "source"]
    assert "age" in header
    assert ("payload" in header, "expires in" in header) == (columns > 40, columns > 40)


def test_clearing_takes_for_one_that_does_not_live(ex: Exec, ann: Joined, store: Store) -> None:  # noqa: F811
    ann.signals.send("go", "bob")
    ann.signals.broadcast("news")

    cleared, again = clear(ex, "--yes", "--json"), clear(ex, "--yes")

    assert (cleared.code, cleared.json, cleared.err) == (0, {"cleared": 2}, "")
    assert (again.code, again.out, again.err) == (0, "0\n", "")
    assert ex.until(lambda record: record.status is AgentStatus.COMPLETED, "bob")
    with join("bob", store.address, store.namespace) as bob:
        assert bob.signals.pending() == []


@embedded
def test_one_that_lives_clears_its_own(ex: Exec, ann: Joined, store: Store) -> None:  # noqa: F811
    with join("bob", store.address, store.namespace) as bob:
        ann.signals.send("go", "bob")
        ended = clear(ex, "--yes")

        assert (ended.code, ended.out) == (1, "")
        assert f"agent id 'bob' is taken by a live agent (pid {os.getpid()} on" in ended.error
        assert ended.error.endswith("which alone can clear its mailbox, from its own process")
        assert bob.signals.check("go")


@unix
def test_inside_exec_the_commands_own_mailbox_is_meant(ex: Exec, ann: Joined) -> None:  # noqa: F811
    ann.signals.send("go", "job", 1)
    script = "attune signals pending --json; attune signals clear --yes; attune signals pending --json"

    ended = ex.cli(*ex("sh", "-c", ATTUNE + script))
    *before, count, after = ended.out.splitlines()

    assert (ended.code, ended.err, count, after) == (0, "", "1", "[]")
    assert [each["payload"] for each in json.loads("\n".join(before))] == [1]


@embedded
def test_clearing_asks(ex: Exec, ann: Joined) -> None:  # noqa: F811
    for _ in range(2):
        ann.signals.send("go", "bob")
    refused = clear(ex)
    assert (refused.code, refused.out) == (2, "")
    assert refused.error == "error: clear forgets signals for good; say so with --yes"

    for answer, code in (("n", 130), ("y", 0)):
        with Terminal(ex.cli, 80, "signals", "clear", "--agent-id", "bob") as terminal:
            terminal.until("Forget what waits for 'bob' (2)? [y/N]:")
            os.write(terminal._master, f"{answer}\n".encode())
            terminal.until(None)
            assert (answer, terminal.process.wait(30)) == (answer, code)
    assert pending(ex, "--json").json == []


@embedded
def test_tail_shows_what_is_sent_from_now_on(ex: Exec, ann: Joined, store: Store) -> None:  # noqa: F811
    ann.signals.send("early", "bob")
    with ex.cli.start("signals", "tail", "--agent", "bob", "--json") as tail:
        _until_it_reads(ex)
        with join("bob", store.address, store.namespace) as bob:
            ann.signals.send("go", "bob", {"n": 1})
            assert bob.signals.wait("go", timeout=10)
            bob.signals.broadcast("own")
            ann.signals.send("go", "cid")
            ann.signals.broadcast("news")
            tail.says('"type":"news"')
            assert [each.type for each in bob.signals.pending()] == ["early", "news"]
        tail.interrupt(signal.SIGINT)
        ended = tail.end()

    first, second = (json.loads(line) for line in tail.heard)
    assert (ended.code, ended.err) == (0, "")
    assert list(first) == ["id", "type", "source", "target", "payload", "sent_at", "expires_at"]
    assert (first["type"], first["source"], first["target"], first["payload"]) == ("go", "ann", "bob", {"n": 1})
    assert (second["type"], second["target"]) == ("news", None)


@embedded
def test_tail_of_one_type_as_lines(ex: Exec, ann: Joined) -> None:  # noqa: F811
    with ex.cli.start("signals", "tail", "--agent", "bob", "--type", "go", "--type", "stop") as tail:
        _until_it_reads(ex)
        for type_ in ("else", "go", "stop"):
            ann.signals.send(type_, "bob", [1])
        tail.says("stop")

    assert [line.split("  ")[1:] for line in tail.heard] == [
        ["go", "ann → bob", "[1]\n"],
        ["stop", "ann → bob", "[1]\n"],
    ]


@embedded
def test_tail_of_a_whole_namespace(ex: Exec, ann: Joined, store: Store) -> None:  # noqa: F811
    """Whoever sends to whomever; of a long signal how large it is; no other event, and no other namespace."""
    ann.signals.send("early", "bob")
    with ex.cli.start("signals", "tail", "--json") as tail, join("cid", store.address, store.namespace) as cid:
        _until_it_follows(tail, ann)
        with join("ann", store.address, "elsewhere") as other:
            other.signals.send("else", "bob")
        sent = [ann.signals.send("go", "bob", {"n": 1}), cid.signals.send("big", "ann", "x" * 2000)]
        sent.append(ann.signals.broadcast("end"))
        tail.says('"type":"end"')
        assert [each.type for each in cid.signals.pending()] == ["end"]
        tail.interrupt(signal.SIGINT)
        ended = tail.end()

    told = [each for each in map(json.loads, tail.heard) if each["type"] != READY]
    assert (ended.code, ended.err) == (0, "")
    assert [each["id"] for each in told] == sent
    assert list(told[0]) == ["id", "type", "source", "target", "payload", "sent_at", "size"]
    assert [(each["source"], each["target"]) for each in told] == [("ann", "bob"), ("cid", "ann"), ("ann", None)]
    assert (told[0]["payload"], "payload" in told[1], told[1]["size"] > 2000) == ({"n": 1}, False, True)


@embedded
def test_tail_of_a_whole_namespace_as_lines(ex: Exec, ann: Joined) -> None:  # noqa: F811
    with ex.cli.start("signals", "tail", "--type", "go", "--type", "stop", "--type", READY) as tail:
        _until_it_follows(tail, ann)
        ex.store.redis.xadd(f"{ex.store.prefix}timeline", {"kind": "signal.sent", "agent": "eve", "data": "{"})
        ann.signals.send("else", "bob")
        ann.signals.send("go", "bob", "x" * 2000)
        ann.signals.broadcast("stop", [1])
        tail.says("stop")

    assert [line.split("  ")[1:] for line in tail.heard if READY not in line] == [
        ["go", "ann → bob", "2.0 KiB\n"],
        ["stop", "ann → all", "[1]\n"],
    ]


@embedded
def test_tail_fits_a_narrow_terminal(ex: Exec, ann: Joined) -> None:  # noqa: F811
    with Terminal(ex.cli, 40, "signals", "tail", "--agent", "bob") as terminal:
        terminal.until("Ctrl-C ends")
        ann.signals.send("go", "bob", "[bold]" + "x" * 300)
        ann.signals.send("finish", "bob")
        lines = plain(terminal.until("finish"))

    (line,) = [line for line in lines if "  go  " in line]
    assert len(line) <= 40
    assert line.endswith("…")


@embedded
def test_whose_signals_has_to_be_said(ex: Exec) -> None:  # noqa: F811
    for command in ("pending", "clear"):
        ended = ex.cli("signals", command)
        assert (ended.code, ended.out) == (2, "")
        assert ended.error.startswith("error: whose mailbox? Name the agent: --agent NAME")


@embedded
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("pending", "--agent-id", ""), "agent id '' must be"),
        (("pending", "", "--agent-id", "bob"), "signal type '' must be"),
        (("clear", "--agent-id", "bob", "--source", "a\nb"), "source 'a\\nb' must be"),
        (("tail", "--agent", "bob", "--type", ""), "signal type '' must be"),
        (("tail", "--type", ""), "signal type '' must be"),
    ],
)
def test_a_wrong_use_is_told(ex: Exec, arguments: tuple[str, ...], error: str) -> None:  # noqa: F811
    ended = ex.cli("signals", *arguments)

    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
    assert ended.error.startswith(f"error: {error}")


@pytest.mark.parametrize("option", ["--agent", "--agent-id"])
@pytest.mark.parametrize("command", ["pending", "clear", "tail"])
def test_without_a_store_there_is_nothing_to_see(cli: Cli, dead_url: str, command: str, option: str) -> None:  # noqa: F811
    ended = cli("signals", command, option, "bob", "--store", dead_url)

    assert (ended.code, ended.out, len(ended.err.splitlines())) == (7, "", 1)
    assert f"the mailbox of 'bob' was not read: the store {dead_url} cannot be reached" in ended.error


def test_without_a_store_nothing_is_sent_that_could_be_seen(cli: Cli, dead_url: str) -> None:  # noqa: F811
    ended = cli("signals", "tail", "--store", dead_url)

    assert (ended.code, ended.out, len(ended.err.splitlines())) == (7, "", 1)
    assert f"the signals were not read: the store {dead_url} cannot be reached" in ended.error


def _until_it_reads(ex: Exec) -> None:  # noqa: F811
    """Wait until three read: the hub of this process, that of ``tail``, and ``tail`` for the mailbox."""
    ex._wait_until(lambda: ex.store.redis.info("clients")["blocked_clients"] == 3)  # type: ignore[index]


def _until_it_follows(tail: Running, ann: Joined) -> None:
    """Send until ``tail`` has shown one."""
    is_over = threading.Event()

    def send() -> None:
        while not is_over.wait(0.05):
            ann.signals.send(READY, "nobody", ttl=5)

    sending = threading.Thread(target=send)
    sending.start()
    tail.says(READY)
    is_over.set()
    sending.join()
