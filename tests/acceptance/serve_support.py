"""``attune-dsl serve`` as a process, and clients that talk to it over real sockets."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest
from cli_support import Cli, Running, cli  # noqa: F401 (a fixture)
from telling import entry
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from attune_dsl.events import Emit

if TYPE_CHECKING:
    from conftest import Store
    from redis import Redis

TOKEN = "a-token-of-24-characters"
PATIENCE = 20


class Serving:
    """A server under way. What it printed when it started is read already."""

    def __init__(self, cli: Cli, *options: str, token: str = TOKEN) -> None:  # noqa: F811
        cli.environment["ATTUNE_TOKEN"] = token
        self.running: Running = cli.start("serve", "--json", *options)
        self._clients = ExitStack()

    def __enter__(self) -> Self:
        try:
            said = json.loads(self.running.says("login"))
        except BaseException:
            self.running.__exit__(None, None, None)
            raise
        self.url: str = said["url"].rstrip("/")
        self.login: str = said["login"]
        self.namespace: str = said["namespace"]
        self.port = int(self.url.rpartition(":")[2])
        self.http = self._clients.enter_context(httpx.Client(base_url=self.url, headers=bearer(), trust_env=False))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clients.close()
        self.running.__exit__(kind, error, trace)

    def visitor(self) -> httpx.Client:
        """Somebody who has nothing yet."""
        return self._clients.enter_context(httpx.Client(base_url=self.url, trust_env=False))

    def socket(self, query: str = "", **options: Any) -> Listener:
        """Open ``/ws/events`` with the token, or with other ``headers``."""
        headers = options.pop("headers", bearer())
        address = f"{self.url.replace('http', 'ws', 1)}/ws/events{query}"
        options = {"max_size": None, "proxy": None, "compression": None, "close_timeout": 1} | options
        return Listener(self._clients.enter_context(connect(address, additional_headers=headers, **options)))


def bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKEN}"}


class Listener:
    """What one WebSocket was told."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.heard: list[dict[str, Any]] = []

    @property
    def ids(self) -> list[str]:
        return [event["id"] for message in self.heard if message["type"] == "events" for event in message["events"]]

    @property
    def last_id(self) -> str:
        """Of the last event that was told, or how far that holds."""
        return str(self.heard[-1].get("last_id", "")) if self.heard else ""

    def hear(self) -> dict[str, Any]:
        self.heard.append(json.loads(self.connection.recv(timeout=PATIENCE)))
        return self.heard[-1]

    def until(self, kind: str) -> dict[str, Any]:
        """Listen until there is a message of this type."""
        while (message := self.hear())["type"] != kind:
            continue
        return message

    def until_id(self, event_id: str) -> None:
        """Listen until an event was told."""
        while not any(event["id"] == event_id for event in self.hear().get("events", [])):
            continue

    def until_closed(self) -> tuple[int, str]:
        """Listen until the server closes; return with which code and reason."""
        while True:
            try:
                self.hear()
            except ConnectionClosed as closed:
                frame = closed.rcvd
                return (frame.code, frame.reason) if frame else (0, "")


def notes(redis: Redis, namespace: str, count: int, text: str = "") -> list[str]:
    """Write events into a timeline; return their ids."""
    timeline = f"attune:{{{namespace}}}:timeline"
    pipeline = redis.pipeline(transaction=False)
    for number in range(count):
        pipeline.xadd(timeline, entry("emit", Emit(kind="note", data=f"{number}{text}")))  # type: ignore[arg-type]
    pipeline.expire(timeline, 3600)
    return [entry_id.decode() for entry_id in pipeline.execute()[:-1]]


class Scene:
    """A server on the namespace of a test, and the events that were told there."""

    def __init__(self, serving: Serving, store: Store) -> None:
        self.serving = serving
        self.store = store
        self.told: list[str] = []

    def tell(self, count: int, text: str = "") -> list[str]:
        told = notes(self.store.redis, self.store.namespace, count, text)
        self.told += told
        return told


@pytest.fixture
def scene(cli: Cli, store: Store) -> Iterator[Scene]:  # noqa: F811
    """A server on a fresh namespace, on both kinds of store."""
    options = ("--port", "0", "--store", store.address, "--namespace", store.namespace)
    with Serving(cli, *options) as serving:
        yield Scene(serving, store)


def resumes_after(reason: str) -> str:
    """Return the place that the reason of a close names."""
    found = re.search(r"resume with after=(\S+)$", reason)
    assert found, reason
    return found[1]


def memory_of(pid: int) -> int:
    """Return the bytes of memory that a process takes."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
