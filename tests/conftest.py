"""What every test gets: an isolated environment, stores on both kinds of server, and checks of what it leaves."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from peers import Peers
from waiting import wait_until as _wait_until

from attune_dsl.store import keys, memory
from attune_dsl.store.embedded import EmbeddedServer
from attune_dsl.store.memory import MemoryServer

if TYPE_CHECKING:
    from redis import Redis
    from traced import Traced

# Whoever starts the tests in the background may have these ignored, and every process that they start would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)
for _name in ("SIGHUP", "SIGQUIT"):
    if hasattr(signal, _name) and signal.getsignal(getattr(signal, _name)) is signal.SIG_IGN:
        signal.signal(getattr(signal, _name), signal.SIG_DFL)
# How long an example takes says only how busy the machine is.
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("tests")

SERVERS = ("memory", "embedded")
_numbers = itertools.count()


class Store:
    """One namespace on one server, for one test.

    ``url`` is what a user writes (``store=`` or ``ATTUNE_STORE_URL``); ``address`` is the server's Redis URL, which
    other processes can use too.
    """

    def __init__(self, kind: str, url: str, address: str) -> None:
        self.kind = kind
        self.url = url
        self.address = address
        self.namespace = f"test-{uuid.uuid4().hex[:12]}"

    @cached_property
    def redis(self) -> Redis:
        """A plain client to look into the store."""
        import redis

        return redis.Redis.from_url(self.address)

    @property
    def prefix(self) -> str:
        return f"attune:{{{self.namespace}}}:"

    def keys(self) -> list[str]:
        """The namespace's keys, without their common prefix, in order."""
        found = self.redis.scan_iter(match=f"{self.prefix}*", count=1000)
        return sorted(key.decode().removeprefix(self.prefix) for key in found)

    def keys_for_ever(self) -> list[str]:
        """Keys without a TTL that are not declared as capped."""
        capped = keys.CAPPED
        found = [key for key in self.keys() if key not in capped and key.partition(":")[0] not in capped]
        return [key for key in found if self.redis.ttl(self.prefix + key) == -1]

    def clear(self) -> None:
        if found := self.keys():
            self.redis.delete(*(self.prefix + key for key in found))

    def close(self) -> None:
        if "redis" in self.__dict__:
            self.redis.close()


class Servers:
    """The servers that the tests of one session share; each is started when the first test asks for it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._embedded: EmbeddedServer | None = None

    def store(self, kind: str) -> Store:
        if kind == "memory":
            memory_server = MemoryServer("tests")
            memory_server.start()
            return Store(kind, "memory://tests", memory_server.url)
        if self._embedded is None:
            self._embedded = EmbeddedServer(self._home)
        self._embedded.start()
        return Store(kind, self._embedded.url, self._embedded.url)

    def close(self) -> None:
        if self._embedded is not None:
            self._embedded.close()
        memory.shut_down()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Both kinds of server, for tests that need another store than the one of the fixture ``store``."""
    servers = Servers(tmp_path_factory.mktemp("shared-home"))
    yield servers
    servers.close()


@pytest.fixture(params=SERVERS)
def store(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Store]:
    """A fresh namespace on fakeredis, and again on a real server. Every key left must have a TTL or a cap."""
    store = servers.store(request.param)
    try:
        yield store
        for_ever = store.keys_for_ever()
        assert for_ever == [], "keys without a TTL or a declared cap"
    finally:
        store.clear()
        store.close()


@pytest.fixture
def peers(store: Store) -> Iterator[Peers]:
    """Agents in the test's namespace; all leave at the end."""
    peers = Peers(store)
    yield peers
    peers.close()


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    """See :func:`waiting.wait_until`."""
    return _wait_until


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Traced:
    """This process is traced, as one is that has set a tracer provider, which can be done only once."""
    from opentelemetry import trace
    from traced import Traced

    traced = Traced()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: traced.provider)
    return traced


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting comes in from outside; no hub and no embedded server gets out to the next test."""
    for variable in [name for name in os.environ if name.startswith("ATTUNE_")]:
        monkeypatch.delenv(variable)
    home = tmp_path_factory.getbasetemp() / f"home-{next(_numbers)}"
    monkeypatch.setenv("ATTUNE_HOME", str(home))
    yield
    leaked = [*_leaked_hubs(), *_leaked_servers(home)]
    assert leaked == [], "left running by the test"


def _leaked_hubs() -> list[str]:
    registry = sys.modules.get("attune_dsl.hub.registry")
    if registry is None:
        return []
    from attune_dsl.hub.drive import drive

    leaked = []
    while hubs := registry.open_hubs():
        leaked.append(f"hub of namespace {hubs[0].namespace!r} with {sorted(hubs[0].members)}")
        drive(registry.release_hub(hubs[0]))
    return leaked


def _leaked_servers(home: Path) -> list[str]:
    from attune_dsl.store import flock, launcher
    from attune_dsl.store.statedir import StateDir

    directory = StateDir(home)
    if not flock.is_held(directory.alive):
        return []
    launcher.shut_down(directory, 10)
    return [f"embedded server in {home}"]


def pytest_configure(config: pytest.Config) -> None:
    """Without an installed package there is no entry point that brings the plugin in."""
    if not config.pluginmanager.has_plugin("attune_dsl"):
        from attune_dsl.testing import plugin

        config.pluginmanager.register(plugin, "attune_dsl")
