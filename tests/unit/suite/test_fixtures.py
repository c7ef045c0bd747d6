"""The suite's own fixtures fail a test that leaves something behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]

INNER = """
import os
import pytest
from attune_dsl import join
from attune_dsl.store import embedded

def test_expiring_and_capped_keys_are_fine(store):
    store.redis.set(store.prefix + "mail:a", 1, ex=60)
    store.redis.set(store.prefix + "order", 1)
    assert store.keys() == ["mail:a", "order"]

def test_key_for_ever(store):
    store.redis.set(store.prefix + "mail:a", 1)

def test_other_namespaces_are_not_ours(store, servers):
    other = servers.store(store.kind)
    other.redis.set(other.prefix + "mail:a", 1)
    assert store.keys() == []
    other.clear()
    other.close()

def test_leaked_server():
    embedded.start(keep=True)

def test_leaked_hub(store):
    join("leaked", store=store.url, namespace=store.namespace).__enter__()

def test_environment_is_clean():
    assert [name for name in os.environ if name.startswith("ATTUNE_")] == ["ATTUNE_HOME"]
"""


def test_what_is_left_behind_fails_the_test_that_left_it(tmp_path: Path) -> None:
    (tmp_path / "test_inner.py").write_text(INNER)
    # Where CI is set, pytest words its summary differently.
    outside = {name: value for name, value in os.environ.items() if name not in ("CI", "BUILD_NUMBER")}

    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-rA", "--tb=line", "-p", "conftest", "-p", "no:cacheprovider"),
            *("--rootdir", str(tmp_path), "-c", str(TESTS.parent / "pyproject.toml"), str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=outside | {"PYTHONPATH": f"{TESTS}:{TESTS.parent}", "ATTUNE_NAMESPACE": "from-outside"},
    )

    lines = done.stdout.splitlines()
    errors = {line.rpartition("::")[2].partition("[")[0] for line in lines if line.startswith("ERROR ")}
    assert errors == {"test_key_for_ever", "test_leaked_server", "test_leaked_hub"}, done.stdout
    assert done.stdout.count("AssertionError: keys without a TTL or a declared cap") == 2
    assert done.stdout.count("AssertionError: left running by the test") == 3
    assert "10 passed, 5 errors" in lines[-1]
