"""The pytest plugin: what users of the package get in their own tests."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import attune_dsl.testing
from attune_dsl import join
from attune_dsl.exceptions import StoreUnavailable
from attune_dsl.store.server import open_server
from attune_dsl.testing import store
from attune_dsl.testing.store import IsolatedStore, isolated_store

USERS_TEST = """
import os
from attune_dsl import join

def test_one(attune_store):
    assert os.environ["ATTUNE_STORE_URL"] == attune_store.url
    assert os.environ["ATTUNE_NAMESPACE"] == attune_store.namespace
    with join("receiver") as receiver, join("sender") as sender:
        assert sender.signals.send("hello", target="receiver", payload=1) != ""
        assert receiver.signals.wait("hello", timeout=5).payload == 1

def test_two(attune_store):
    assert attune_store.url.startswith("memory://")

def test_three():
    assert "ATTUNE_STORE_URL" not in os.environ
"""


def test_the_fixture_in_a_users_suite(tmp_path: Path) -> None:
    """A suite elsewhere, as a user has it: the plugin's fixture works and cleans up."""
    (tmp_path / "test_users.py").write_text(USERS_TEST)
    installed = any(point.name == "attune_dsl" for point in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", "attune_dsl.testing.plugin"]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:asyncio", *plugin, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )

    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_agents_meet_in_the_store(attune_store: IsolatedStore) -> None:
    with join("receiver") as receiver, join("sender") as sender:
        sender.signals.send("hello", target="receiver")

        assert receiver.signals.wait("hello", source="sender", timeout=5)


def test_each_store_is_its_own(attune_store: IsolatedStore, tmp_path_factory: pytest.TempPathFactory) -> None:
    with isolated_store(tmp_path_factory) as other:
        assert other.url != attune_store.url
        assert other.namespace != attune_store.namespace
        server = open_server(other.url)
        server.start()
        assert server.url.startswith("redis://")
    with pytest.raises(StoreUnavailable, match="has not been started"):
        _ = server.url


def test_without_fakeredis_the_store_is_a_real_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(store, "_has_fakeredis", lambda: False)

    with isolated_store(tmp_path_factory) as found:
        assert found.url.startswith("unix://")
        with join("me", store=found.url, namespace=found.namespace) as me:
            assert me.signals.send("note", target="me") != ""
            assert me.signals.wait("note", timeout=5)


def test_the_plugin_imports_nothing_heavy() -> None:
    """pytest imports it at every start, also for suites that never use it."""
    script = (
        "import sys, pytest; before = set(sys.modules); import attune_dsl.testing.plugin; "
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "['attune_dsl']"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = attune_dsl.testing.Nothing
