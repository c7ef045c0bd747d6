"""The package root: every name, loaded when it is first used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import attune_dsl


def test_every_exported_name_can_be_had():
    missing = [name for name in attune_dsl.__all__ if not hasattr(attune_dsl, name)]
    assert missing == []


def test_exports_are_sorted_listed_and_unique():
    assert len(set(attune_dsl.__all__)) == len(attune_dsl.__all__)
    assert set(attune_dsl.__all__) <= set(dir(attune_dsl))


def test_type_checkers_are_told_the_same_homes():
    """The imports under TYPE_CHECKING are what is loaded late."""
    tree = ast.parse(Path(attune_dsl.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    told = {
        alias.name: node.module.removeprefix("attune_dsl.")
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module.startswith("attune_dsl.")
        for alias in node.names
    }
    told.pop("Entry")
    assert told == attune_dsl._HOME_OF
    assert set(told) == set(attune_dsl.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'attune_dsl' has no attribute 'flow'"):
        _ = attune_dsl.flow


def test_declaring_imports_nothing_that_only_running_needs():
    code = """
import sys
before = set(sys.modules)  # measuring coverage brings some of them
from attune_dsl import Context, stage, workflow
print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    loaded = set(ast.literal_eval(done.stdout))
    assert "attune_dsl.dsl.stage" in loaded
    assert loaded.isdisjoint({"attrs", "asyncio", "inspect", "redis", "structlog", "stamina", "attune_dsl.runner.run"})
