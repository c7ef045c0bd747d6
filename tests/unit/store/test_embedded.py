"""The embedded server seen from one process: its settings, its status, and what is said when it cannot start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

pytest.importorskip("fcntl")

from attune_dsl.exceptions import StoreConfigError, StoreUnavailable
from attune_dsl.store import embedded, flock, launcher, settings
from attune_dsl.store.embedded import EmbeddedServer
from attune_dsl.store.statedir import StateDir


@pytest.fixture
def directory() -> Iterator[StateDir]:
    """The state folder; whatever server a failing test leaves in it is ended by its socket."""
    directory = StateDir(settings.home())
    yield directory
    if flock.is_held(directory.alive):
        launcher.shut_down(directory, 10)


def test_several_users_in_one_process_are_one(directory: StateDir) -> None:
    first, second = EmbeddedServer(), EmbeddedServer()
    first.start()
    second.start()
    assert embedded.status().users == (os.getpid(),)

    first.close()
    first.close()
    assert embedded.status().running is True
    second.close()
    assert embedded.status().running is False


def test_starting_twice_is_one_use(directory: StateDir) -> None:
    server = EmbeddedServer()
    server.start()
    server.start()

    server.close()

    assert embedded.status().running is False


def test_start_without_keep_leaves_nothing_behind(directory: StateDir) -> None:
    assert embedded.start(keep=False).running is True

    assert embedded.status().running is False


def test_stopping_what_does_not_run_says_so_and_hinders_nobody(directory: StateDir) -> None:
    server = EmbeddedServer()
    server.start()
    server.close()

    assert embedded.stop().running is False

    server.start()
    server.close()


def test_status_looks_without_touching(directory: StateDir) -> None:
    status = embedded.status()

    assert (status.running, status.version, status.pid, status.users, status.keys) == (
        False,
        None,
        None,
        (),
        0,
    )
    assert not directory.home.exists()


def test_status_shows_what_the_server_holds(directory: StateDir) -> None:
    server = EmbeddedServer()
    server.start()
    with redis.Redis.from_url(server.url) as client:
        client.mset({"a": 1, "b": 2})

    status = embedded.status()
    server.close()

    assert (status.running, status.url, status.keys) == (True, server.url, 2)
    assert status.version is not None
    assert status.version[0].isdigit()
    assert status.data == str(directory.data)
    assert status.disk_bytes > 0
    assert status.memory_bytes > 0


@pytest.mark.parametrize("name", ["long" * 40, "with space and ümläut", "50%25 #?&"])
def test_any_home_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path / name))
    server = EmbeddedServer()
    server.start()

    with redis.Redis.from_url(server.url) as client:
        assert client.ping() is True
    folder = Path(embedded.status().socket).parent
    server.close()

    assert embedded.status().running is False
    assert folder == tmp_path / name / "store" or not folder.exists()


@pytest.mark.parametrize(("setting", "expected"), [(None, "no"), ("always", "always")])
def test_the_append_only_file_is_on_and_fsync_follows_the_setting(
    directory: StateDir, monkeypatch: pytest.MonkeyPatch, setting: str | None, expected: str
) -> None:
    if setting:
        monkeypatch.setenv("ATTUNE_FSYNC", setting)
    server = EmbeddedServer()
    server.start()
    with redis.Redis.from_url(server.url) as client:
        found = client.config_get("appendonly", "appendfsync", "save", "port", "unixsocketperm")
    server.close()

    assert found == {
        "appendonly": "yes",
        "appendfsync": expected,
        "save": "",
        "port": "0",
        "unixsocketperm": "700",
    }


def test_a_broken_append_only_file_is_reported_with_the_log(directory: StateDir) -> None:
    server = EmbeddedServer()
    server.start()
    server.close()
    for file in (directory.data / "appendonlydir").glob("*.manifest"):
        file.write_text("rubbish\n")

    with pytest.raises(StoreUnavailable) as caught:
        server.start()

    assert "did not start: it ended while it started" in str(caught.value)
    assert "ATTUNE_STORE_URL" in str(caught.value)
    assert "manifest" in str(caught.value)
    assert list(directory.users.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [("#!/bin/sh\necho broken library\nexit 3\n", "broken library"), ("not a program", "Exec format error")],
)
def test_a_binary_that_cannot_run_is_reported(
    directory: StateDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, reason: str
) -> None:
    binary = tmp_path / "valkey-server"
    binary.write_text(content)
    binary.chmod(0o755)
    monkeypatch.setattr(launcher, "find_binary", lambda: str(binary))

    with pytest.raises(StoreUnavailable, match=reason) as caught:
        EmbeddedServer().start()

    assert "ATTUNE_STORE_URL" in str(caught.value)
    assert embedded.status().users == ()


def test_a_wrong_setting_is_refused_when_the_store_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTUNE_FSYNC", "sometimes")

    with pytest.raises(StoreConfigError, match="ATTUNE_FSYNC"):
        EmbeddedServer()


def test_a_folder_that_cannot_be_used_says_what_to_set(directory: StateDir) -> None:
    directory.prepare()
    directory.lock.mkdir()

    with pytest.raises(StoreUnavailable, match="set ATTUNE_HOME"):
        EmbeddedServer().start()


def test_somebody_who_holds_the_lock_for_too_long_is_named(
    directory: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "LEAVE_TIMEOUT", 0)
    server = EmbeddedServer()
    server.start()
    with flock.exclusive(directory.lock, 1):
        with pytest.raises(StoreUnavailable, match="busy"), embedded._locked(directory, 0):
            pass
        server.close()

    assert (embedded.status().running, embedded.status().users) == (True, ())
    server.start()
    server.close()
    assert embedded.status().running is False


def test_no_binary_at_all_says_what_to_do(directory: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "find_binary", lambda: None)

    with pytest.raises(StoreUnavailable, match="install one, or set ATTUNE_STORE_URL"):
        EmbeddedServer().start()
