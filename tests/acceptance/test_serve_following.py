"""Clients of a real server: the past, then what happens, over reconnects, restarts, and beside those who stall."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx")

import redis
from cli_support import Cli, cli  # noqa: F401 (a fixture)
from serve_support import (  # noqa: F401 (a fixture)
    PATIENCE,
    TOKEN,
    Listener,
    Scene,
    Serving,
    memory_of,
    notes,
    resumes_after,
    scene,
)  # fmt: skip
from waiting import wait_until

from attune_dsl.store import embedded
from attune_dsl.store.embedded import EmbeddedServer

embedded_only = pytest.mark.parametrize("store", ["embedded"], indirect=True)


def test_a_socket_is_told_the_past_then_what_happens(scene: Scene) -> None:  # noqa: F811
    """Both kinds of store: nothing is missing where the two meet, and nothing comes twice."""
    scene.tell(1_200)
    old, new = scene.serving.socket("?after=0"), scene.serving.socket()
    assert old.until("live")["last_id"] == scene.told[-1]
    new.until("live")
    more = scene.tell(300)
    old.until_id(scene.told[-1])
    new.until_id(scene.told[-1])

    assert old.ids == scene.told
    assert new.ids == more


@embedded_only
def test_clients_that_come_while_much_happens(scene: Scene) -> None:  # noqa: F811
    """Each joins somewhere in the past while events go on being told."""
    scene.tell(500)
    listeners = []
    for number in range(10):
        after = scene.told[number * 7]
        listeners.append((after, scene.serving.socket(f"?after={after}")))
        scene.tell(100)
    for after, listener in listeners:
        listener.until_id(scene.told[-1])
        assert listener.ids == scene.told[scene.told.index(after) + 1 :]


CLIENT = textwrap.dedent(
    """
    import json, sys
    from websockets.sync.client import connect

    with connect(sys.argv[1], additional_headers={"Authorization": sys.argv[2]}, proxy=None) as socket:
        for message in socket:
            for event in json.loads(message).get("events", []):
                print(event["id"], flush=True)
    """
)


@contextmanager
def client_process(scene: Scene, after: str) -> Iterator[subprocess.Popen[str]]:  # noqa: F811
    address = f"ws://127.0.0.1:{scene.serving.port}/ws/events?after={after}"
    command = [sys.executable, "-c", CLIENT, address, f"Bearer {TOKEN}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@embedded_only
def test_a_client_that_is_killed_and_resumes_misses_nothing(scene: Scene) -> None:  # noqa: F811
    """Three lives of a client, each killed while it is told much: behind the last id that it noted, all goes on."""
    seen: list[str] = []
    for _ in range(3):
        with client_process(scene, seen[-1] if seen else "0") as process:
            assert process.stdout is not None
            scene.tell(400)
            for line in process.stdout:
                seen.append(line.strip())
                if len(seen) % 150 == 0:
                    process.send_signal(signal.SIGKILL)
                    break
            seen += [line.strip() for line in process.stdout]
    last = scene.serving.socket(f"?after={seen[-1]}")
    scene.tell(1)
    last.until_id(scene.told[-1])

    assert seen + last.ids == scene.told


def narrow(scene: Scene) -> socket.socket:  # noqa: F811
    """Return a connection that takes little at a time."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", scene.serving.port))
    connection.settimeout(PATIENCE)
    return connection


def until_all_have(listeners: list[Listener], event_id: str) -> None:
    wait_until(lambda: all(each.last_id == event_id for each in listeners), PATIENCE)


def descriptors(scene: Scene) -> int:  # noqa: F811
    """Return how many files and sockets the server has open."""
    return len(list(Path(f"/proc/{scene.serving.running.pid}/fd").iterdir()))


@embedded_only
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_one_that_stalls_is_let_go_and_slows_nobody(scene: Scene) -> None:  # noqa: F811
    """It is told why, and where to resume; others are told everything meanwhile, and memory stays bounded."""
    others = [scene.serving.socket() for _ in range(3)]
    for other in others:
        other.until("live")
    before = descriptors(scene)
    stalled = scene.serving.socket("?after=0", sock=narrow(scene), max_queue=1)
    deaf = narrow(scene)
    deaf.sendall(f"GET /sse/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
    readers = [threading.Thread(target=other.until_closed) for other in others]
    for reader in readers:
        reader.start()
    memory = memory_of(scene.serving.running.pid)
    for _ in range(24):
        until_all_have(others, scene.tell(100, "x" * 10_000)[-1])
    grown = memory_of(scene.serving.running.pid) - memory
    wait_until(lambda: scene.serving.http.get("/healthz").json()["clients"] == 3, PATIENCE)
    code, reason = stalled.until_closed()

    assert [other.ids == scene.told for other in others] == [True] * 3
    assert code == 1013
    assert reason.startswith("too slow; resume with after=")
    assert len(stalled.ids) < len(scene.told)
    again = scene.serving.socket(f"?after={stalled.ids[-1]}")
    again.until_id(scene.told[-1])
    assert stalled.ids + again.ids == scene.told
    assert resumes_after(reason) in stalled.ids
    assert grown < 80 * 2**20
    # The server has rid itself of the one that never reads, too: only that which came last is new.
    wait_until(lambda: descriptors(scene) == before + 1, PATIENCE)
    deaf.close()
    scene.serving.running.interrupt()
    for reader in readers:
        reader.join(PATIENCE)
    assert scene.serving.running.end().err.splitlines() == []


def stream(scene: Scene, count: int, query: str = "", **headers: str) -> list[dict[str, str]]:  # noqa: F811
    """Read Server-Sent Events until there were so many events, as a browser would."""
    found: list[dict[str, str]] = []
    message: dict[str, str] = {}
    with scene.serving.http.stream("GET", f"/sse/events{query}", headers=headers, timeout=PATIENCE) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name:
                message[name] = value
            else:
                found, message = [*found, message], {}
            if sum("data" in each and "event" not in each for each in found) >= count:
                return found
    raise AssertionError("the stream ended")


def test_a_stream_is_told_the_past_and_resumes_by_its_last_id(scene: Scene) -> None:  # noqa: F811
    """The header that browsers send goes before the parameter, which they repeat from the first time."""
    scene.tell(20)
    first = stream(scene, 20, "?after=0")
    events = [message for message in first if "data" in message]
    assert first[0] == {"retry": "1000"}
    assert [message["id"] for message in events] == scene.told
    assert [json.loads(message["data"])["id"] for message in events] == scene.told

    teller = threading.Timer(0.3, lambda: scene.tell(5))
    teller.start()
    again = stream(scene, 10, "?after=0", **{"Last-Event-ID": scene.told[14]})
    teller.join()
    events = [message for message in again if "data" in message and "event" not in message]
    assert [message["id"] for message in events] == scene.told[15:25]
    assert "live" in [message.get("event") for message in again]


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    """The embedded server of the test's own state folder, which nobody else uses."""
    server = EmbeddedServer()
    server.start()
    yield server
    server.close()


def kill_store() -> None:
    pid = embedded.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_the_store_is_killed_and_nothing_is_lost(server: EmbeddedServer, cli: Cli) -> None:  # noqa: F811
    """§5.1: sockets stay open meanwhile and say so; what was told before and afterwards is told once."""
    with Serving(cli, "--port", "0", "--namespace", "team") as serving, redis.Redis.from_url(server.url) as client:
        told = notes(client, "team", 50)
        listener = serving.socket("?after=0")
        listener.until("live")
        for _ in range(2):
            kill_store()
            server.start()
            wait_until(lambda: answers(client), PATIENCE)
            told += notes(client, "team", 50)
            listener.until_id(told[-1])
        late = serving.socket("?after=0")
        late.until_id(told[-1])
        health = serving.http.get("/healthz").json()["status"]

    assert listener.ids == told
    assert late.ids == told
    assert health == "ok"


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.exceptions.RedisError:
        return False


@embedded_only
def test_the_server_ends_and_comes_back_on_its_port(scene: Scene, cli: Cli) -> None:  # noqa: F811
    """Its clients are told that it ends, and where to resume with the next one."""
    scene.tell(10)
    listener = scene.serving.socket("?after=0")
    listener.until("live")
    scene.serving.running.interrupt()
    code, reason = listener.until_closed()
    assert (code, reason) == (1001, f"the server ends; resume with after={scene.told[-1]}")
    assert listener.heard[-1] == {"type": "closing", "reason": reason}
    assert scene.serving.running.end().code == 0
    scene.tell(10)
    options = ("--store", scene.store.address, "--namespace", scene.store.namespace)
    with Serving(cli, "--port", str(scene.serving.port), *options) as again:
        resumed = again.socket(f"?after={resumes_after(reason)}")
        resumed.until("live")
        assert resumed.ids == scene.told[10:]


@embedded_only
def test_what_is_dropped_is_said(scene: Scene) -> None:  # noqa: F811
    """§5.12: whoever resumes behind what is there no more is told of the gap, in its place."""
    scene.tell(20)
    timeline: Any = f"{scene.store.prefix}timeline"
    scene.store.redis.xtrim(timeline, maxlen=5, approximate=False)
    listener = scene.serving.socket(f"?after={scene.told[3]}")
    listener.until("live")
    events = [event for message in listener.heard[:-1] for event in message["events"]]

    assert [event["kind"] for event in events] == ["timeline.gap", *["emit"] * 5]
    assert [event["id"] for event in events[1:]] == scene.told[15:]
