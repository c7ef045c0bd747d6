"""The page of the contract names for each promise the tests that prove it: they exist, and no file is left out."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from documents import PROJECT

CONTRACT = PROJECT / "docs" / "coordination-contract.md"
NUMBERS = range(1, 13)
_LINK = re.compile(r"\[`(test_\w+)`\]\(([^)#]+)\)")


def sections() -> dict[int, str]:
    """Return the text of each promise by its number."""
    parts = re.split(r"^## (?=§5\.)", CONTRACT.read_text(), flags=re.M)[1:]
    return {int(re.match(r"§5\.(\d+) ", part)[1]): part for part in parts}  # type: ignore[index]


def named(text: str) -> list[tuple[str, Path]]:
    """Return the tests that a text names: their names and their files."""
    return [(name, (CONTRACT.parent / file).resolve()) for name, file in _LINK.findall(text)]


@cache
def said_by_tests(file: Path) -> dict[str, str]:
    """Return the names of the tests of a file, with what they and their file say of themselves."""
    module = ast.parse(file.read_text())
    about = ast.get_docstring(module) or ""
    found = {
        each.name: f"{about}\n{ast.get_docstring(each) or ''}"
        for each in ast.walk(module)
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name.startswith("test_")
    }
    cases = re.findall(r"^(Test\w+|test_\w+) = ", file.read_text(), re.M)
    return found | dict.fromkeys(cases, about)


def test_all_twelve_promises_are_there_in_order() -> None:
    """§5: their numbers are part of the design; code and tests cite them."""
    assert list(sections()) == list(NUMBERS)


@pytest.mark.parametrize("number", NUMBERS)
def test_every_promise_has_proofs_and_limits(number: int) -> None:
    """§5: the promise comes first, then the tests, then what is not promised."""
    text = sections()[number]
    promise, table, limits = text.find("\n\n"), text.find("| what | test |"), text.find("\nNot promised")
    assert 0 < promise < table < limits
    assert len(text[promise:table].split()) > 10
    assert named(text[table:limits])
    assert re.findall(r"^- \*\*", text[limits:], re.M)


@pytest.mark.parametrize("number", NUMBERS)
def test_every_test_that_is_named_exists(number: int) -> None:
    """§5: a test that was renamed or removed proves nothing any more."""
    absent = [
        f"{file.name}::{name}"
        for name, file in named(sections()[number])
        if not file.exists() or name not in said_by_tests(file)
    ]
    assert absent == []


@pytest.mark.parametrize("number", NUMBERS)
def test_every_promise_is_proved_by_tests_that_cite_it(number: int) -> None:
    """§5: at least one of the tests of a promise is about that promise by its own words."""
    cited = re.compile(rf"§5\.{number}\b")
    proofs = [name for name, file in named(sections()[number]) if cited.search(said_by_tests(file).get(name, ""))]
    assert proofs


def test_every_file_of_the_contract_is_named() -> None:
    """§5: tests/contract and what is under fire in tests/acceptance, or a reader would not find them."""
    tests = PROJECT / "tests"
    files = {*(tests / "contract").glob("test_*.py"), *(tests / "acceptance").glob("test_fire_*.py")}
    seen = {file for _, file in named(CONTRACT.read_text())}
    assert sorted(file.name for file in files - seen) == []
