"""From ``key=value`` and ``--input`` to the arguments of a workflow."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NewType, Optional, Union

import attrs
import pytest

from attune_dsl.cli.arguments import Arguments, read_input
from attune_dsl.cli.errors import UsageError
from attune_dsl.dsl.workflow import workflow

if TYPE_CHECKING:
    from somewhere import Unknowable


class Colour(enum.Enum):
    RED = "red"
    GREEN = 2


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0
    file: Path | None = None


@attrs.define
class Job:
    name: str
    retries: int = 0


UserId = NewType("UserId", int)
OPTIONAL = Optional[int]  # noqa: UP045 (people write both)
UNION = Union[int, float, str]  # noqa: UP007


def bind(fn: Callable[..., Any], *words: str, **data: Any) -> tuple[list[Any], dict[str, Any]]:
    return Arguments(workflow(fn)).bind(words, data)


def refusal(fn: Callable[..., Any], *words: str, **data: Any) -> str:
    with pytest.raises(UsageError) as caught:
        bind(fn, *words, **data)
    return str(caught.value)


def converted(annotation: Any, text: str) -> Any:
    def flow(value): ...  # type: ignore[no-untyped-def]

    flow.__annotations__["value"] = annotation
    return bind(flow, f"value={text}")[1]["value"]


@pytest.mark.parametrize(
    ("annotation", "text", "expected"),
    [
        (str, "1.2", "1.2"),
        (str, '"quoted"', '"quoted"'),
        (str, "", ""),
        (int, "12", 12),
        (int, "-3", -3),
        (float, "1", 1.0),
        (bool, "true", True),
        (bool, "False", False),
        (bool, "0", False),
        (OPTIONAL, "null", None),
        (OPTIONAL, "5", 5),
        (str | None, "null", None),
        (str | None, "5", "5"),
        (str | None, '"a"', '"a"'),
        (int | str, "5", 5),
        (int | str, "five", "five"),
        (UNION, "1.5", 1.5),
        (Path, "a/b.py", Path("a/b.py")),
        (Path | None, "a", Path("a")),
        (int | Path, "5", 5),
        (int | Path, "five", Path("five")),
        (list[int], "[1, 2]", [1, 2]),
        (list[Path], '["a"]', [Path("a")]),
        (set[int], "[1, 1]", {1}),
        (tuple[int, str], '[1, "a"]', (1, "a")),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (dict, '{"a": 1}', {"a": 1}),
        (Colour, "red", Colour.RED),
        (Colour, "GREEN", Colour.GREEN),
        (Colour, "2", Colour.GREEN),
        (Literal["fast", "slow"], "fast", "fast"),
        (Literal[1, 2], "2", 2),
        (Literal["1"], "1", "1"),
        (Point, '{"x": 1, "file": "f"}', Point(1, 0, Path("f"))),
        (Job, '{"name": "a", "retries": 2}', Job("a", 2)),
        (Point | Job, '{"name": "a"}', Job("a")),
        (datetime.date, "2026-01-02", datetime.date(2026, 1, 2)),
        (Decimal, "1.50", Decimal("1.50")),
        (UserId, "7", 7),
        (Annotated[int, "a note"], "7", 7),
        (Any, "[1]", [1]),
        (Any, "text", "text"),
        (object, "1", 1),
    ],
)
def test_text_becomes_what_the_annotation_asks_for(annotation: Any, text: str, expected: Any) -> None:
    value = converted(annotation, text)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "text", "problem"),
    [
        (int, "abc", "expected int, got 'abc'"),
        (int, "1.5", "expected int, got 1.5"),
        (bool, "maybe", "expected bool, got 'maybe'"),
        (int | None, "abc", "expected int | None, got 'abc'"),
        (list[str], "a.py", "expected list[str] as JSON, got 'a.py'"),
        (list[int], '["a"]', "expected list[int]; at $[0] expected int, got str"),
        (Colour, "blue", "expected Colour (red or 2), got 'blue'"),
        (Literal["fast", "slow"], "quick", "expected 'fast' or 'slow', got 'quick'"),
        (Point, '{"y": 1}', "expected Point; object missing required field x"),
        (Point, '{"x": "a"}', "expected Point; at $.x expected int, got str"),
        (datetime.date, "tomorrow", "expected date, got 'tomorrow'"),
        (complex, "1", "a value of type complex cannot be given on the command line"),
    ],
)
def test_a_wrong_value_names_the_argument_and_the_expected_type(annotation: Any, text: str, problem: str) -> None:
    def flow(value): ...  # type: ignore[no-untyped-def]

    flow.__annotations__["value"] = annotation
    assert refusal(flow, f"value={text}") == f"flow: argument value: {problem}"


def flow(version: str, count: int = 1, *, dry: bool = False) -> None: ...


def test_arguments_are_passed_by_name() -> None:
    assert bind(flow, "version=1.2", "count=3", "dry=true") == ([], {"version": "1.2", "count": 3, "dry": True})


def test_a_missing_argument_is_named_with_its_type() -> None:
    assert refusal(flow) == "flow: argument is missing: version (str); give version=…"


def test_all_problems_are_reported_at_once() -> None:
    def pair(a: int, b: str, c: int) -> None: ...

    assert refusal(pair, "c=x", "bb=1") == (
        "pair: argument c: expected int, got 'x'; there is no argument 'bb'; did you mean b=…?; "
        "arguments are missing: a (int), b (str); give a=… b=…"
    )


def test_an_unknown_argument_suggests_the_nearest() -> None:
    assert refusal(flow, "version=1", "cuont=3") == "flow: there is no argument 'cuont'; did you mean count=…?"


def test_an_unknown_argument_with_nothing_near_lists_what_is_taken() -> None:
    assert refusal(flow, "version=1", "xyzzy=3") == (
        "flow: there is no argument 'xyzzy'; it takes version (str), count (int), dry (bool)"
    )


def test_a_flow_without_arguments_says_so() -> None:
    def bare() -> None: ...

    assert refusal(bare, "a=1") == "bare: there is no argument 'a'; it takes no arguments"


def test_a_word_that_is_not_key_and_value_is_refused_with_a_suggestion() -> None:
    def single(version: str = "") -> None: ...

    assert refusal(single, "1.2") == "single: '1.2' is not key=value; did you mean version=1.2?"


def test_an_argument_given_twice_is_refused() -> None:
    assert refusal(flow, "version=1", "version=2") == "flow: argument version is given twice"


def test_words_win_over_the_input() -> None:
    assert bind(flow, "count=3", version="1.2", count="many") == ([], {"version": "1.2", "count": 3})


def test_the_input_is_converted_strictly() -> None:
    assert refusal(flow, version=1.2) == "flow: argument version: expected str, got 1.2"


def test_without_an_annotation_json_is_read_and_text_is_taken() -> None:
    def loose(a, b, c="x"): ...  # type: ignore[no-untyped-def]

    assert bind(loose, "a=[1]", "b=word", "c=5")[1] == {"a": [1], "b": "word", "c": "5"}


def test_an_annotation_that_cannot_be_resolved_counts_as_none() -> None:
    def odd(a: Unknowable, b: int) -> None: ...

    assert bind(odd, "a=1", "b=2")[1] == {"a": 1, "b": 2}


def test_what_the_runner_injects_is_no_argument() -> None:
    def with_signals(signals, version: str) -> None: ...  # type: ignore[no-untyped-def]

    assert bind(with_signals, "version=1") == ([], {"version": "1"})
    assert refusal(with_signals, "signals=1", "version=1").startswith("with_signals: there is no argument 'signals'")


def test_positional_only_arguments_are_passed_by_position() -> None:
    def positional(a: int, b: int = 2, /, c: int = 3) -> None: ...

    assert bind(positional, "a=1", "c=5") == ([1], {"c": 5})


def test_variable_arguments_come_as_a_list_and_by_any_name() -> None:
    def many(first: int, *rest: int, **named: float) -> None: ...

    assert bind(many, "first=1", "rest=[2, 3]", "ratio=1") == ([1, 2, 3], {"ratio": 1.0})
    assert bind(many, "first=1") == ([], {"first": 1})


def test_a_method_needs_no_self() -> None:
    class Team:
        @workflow
        def release(self, version: str) -> None: ...

    assert Arguments(Team().release).bind(["version=1"], {}) == ([], {"version": "1"})


def test_a_partial_needs_only_what_is_open() -> None:
    partial = workflow(name="short")(functools.partial(flow, "1.2"))
    assert Arguments(partial).bind(["count=3"], {}) == ([], {"count": 3})


def test_input_is_read_from_a_file_and_from_standard_input(tmp_path: Path) -> None:
    file = tmp_path / "arguments.json"
    file.write_text('{"version": "1.2"}')
    assert read_input(str(file), str) == {"version": "1.2"}
    assert read_input("-", lambda: '{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1]", "expected a JSON object of arguments, got [1]"),
        ("{", "not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    ],
)
def test_input_that_is_no_object_is_refused(text: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_input("-", lambda: text)
    assert str(caught.value) == f"--input -: {problem}"


def test_a_missing_input_file_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        read_input("nowhere.json", str)
    assert str(caught.value) == "--input nowhere.json: No such file or directory"
