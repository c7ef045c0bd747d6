"""Payloads of declared types, to JSON and back: strict at both ends, and exact about what is wrong."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

import attrs
import msgspec
import pytest

from attune_dsl import NotAJsonValue, PayloadInvalid, SignalType, UsageError
from attune_dsl.coordination import typed
from attune_dsl.store import codec


@attrs.frozen
class Vote:
    score: float
    weight: int = attrs.field(default=1, validator=attrs.validators.ge(0))


@attrs.define
class Decision:
    approved: bool
    by: str = ""
    votes: dict[str, Vote] = attrs.Factory(dict)
    rounds: list[dict[str, list[Vote]]] = attrs.Factory(list)
    tags: set[int] = attrs.Factory(set)


APPROVED = SignalType("approved", Decision)


class Colour(enum.Enum):
    RED = "red"


@attrs.frozen
class Rich:
    at: datetime
    day: date
    took: timedelta
    id: UUID
    amount: Decimal
    raw: bytes
    colour: Colour
    by_number: dict[int, str]
    pair: tuple[int, str]
    tags: frozenset[str]
    maybe: int | None = None


RICH = Rich(
    at=datetime(2024, 1, 2, tzinfo=UTC),
    day=date(2024, 1, 2),
    took=timedelta(seconds=3),
    id=UUID(int=5),
    amount=Decimal("1.20"),
    raw=b"\x00\xff",
    colour=Colour.RED,
    by_number={1: "one"},
    pair=(1, "x"),
    tags=frozenset({"a"}),
)


@dataclass
class Plain:
    count: int
    votes: list[Vote] = field(default_factory=list)


class Packed(msgspec.Struct):
    count: int


@attrs.define(slots=False)
class Dicted:
    count: int


class Pair(NamedTuple):
    x: int
    y: str


class Loose(TypedDict):
    count: int


@attrs.frozen
class Tree:
    name: str
    children: list[Tree] = attrs.Factory(list)


@attrs.frozen
class Even:
    number: int

    def __attrs_post_init__(self) -> None:
        if self.number % 2:
            raise KeyError("odd")


def over_the_wire(payload: Any) -> Any:
    return codec.decode_payload(codec.encode_payload(payload))


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (Decision, Decision(True, "ann", {"ben": Vote(0.5)}, [{"first": [Vote(1.0, 2)]}], {3})),
        (Rich, RICH),
        (Plain, Plain(3, [Vote(0.5)])),
        (Packed, Packed(3)),
        (Dicted, Dicted(3)),
        (Pair, Pair(1, "y")),
        (Loose, {"count": 3}),
        (Tree, Tree("a", [Tree("b")])),
        (int, 3),
        (float, 3),
        (str, "x"),
        (type(None), None),
        (list[str], ["a"]),
        (dict[str, Vote], {"ben": Vote(0.5)}),
        (int | str, "x"),
        (Any, {"a": [1]}),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_there_and_back(kind: Any, payload: Any) -> None:
    declared: SignalType[Any] = SignalType("kind", kind)

    received = typed.from_json(declared, over_the_wire(typed.to_json(declared, payload)))

    assert received == payload
    assert type(received) is type(payload) or kind is float


def test_what_is_sent_is_plain_json() -> None:
    """Which is what a receiver gets that names the type by its name."""
    assert typed.to_json(APPROVED, Decision(True, votes={"ben": Vote(1.0)}, tags={2})) == {
        "approved": True,
        "by": "",
        "votes": {"ben": {"score": 1.0, "weight": 1}},
        "rounds": [],
        "tags": [2],
    }


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "a field": ({"by": 3}, "$.by", "expected `str`, got `int`"),
    "no coercion to a number": ({"votes": {"a": Vote("1")}}, "$.votes.a.score", "expected `float`, got `str`"),  # type: ignore[arg-type]
    "no coercion to a bool": ({"approved": 1}, "$.approved", "expected `bool`, got `int`"),
    "no coercion of a date": ({"by": date(2024, 1, 2)}, "$.by", "expected `str`, got `date`"),
    "no coercion of a key": ({"votes": {3: Vote(1.0)}}, "$.votes", "a key that is wrong: expected `str`, got `int`"),
    "the wrong one of many": (
        {"votes": {"ann": Vote(1.0), "ben": Vote(None), "carl": Vote(None)}},  # type: ignore[arg-type]
        "$.votes.ben.score",
        "expected `float`, got `null`",
    ),
    "deep inside": (
        {"rounds": [{}, {"x": [], "y": [Vote(1.0), Vote("1")]}]},  # type: ignore[arg-type]
        "$.rounds[1].y[1].score",
        "expected `float`, got `str`",
    ),
    "not the declared class inside": ({"votes": {"a": 3}}, "$.votes.a", "expected `object`, got `int`"),
    "an item of a set": ({"tags": {"x"}}, "$.tags[0]", "expected `int`, got `str`"),
    "a key that is hard to read": (
        {"votes": {"a\n": Vote("1")}},  # type: ignore[arg-type]
        r"$.votes['a\n'].score",
        "expected `float`",
    ),
    "a key that is long": (
        {"votes": {"k" * 200: Vote("1")}},  # type: ignore[arg-type]
        f"$.votes['{'k' * 64}'…].score",
        "expected `float`",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_refused_at_a_send_with_the_field_named(what: str) -> None:
    fields, path, message = WRONG[what]
    payload = attrs.evolve(Decision(True), **fields)

    with pytest.raises(PayloadInvalid) as refused:
        typed.to_json(APPROVED, payload)

    assert refused.value.path == path
    assert str(refused.value).startswith(f"the payload of signal type 'approved' is no Decision: {path}: ")
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "path"),
    [({"at": "2024-01-02T00:00:00Z"}, "$.at"), ({"raw": "AP8="}, "$.raw"), ({"amount": 1}, "$.amount")],
)
def test_what_would_look_the_same_as_json_is_refused_too(fields: dict[str, Any], path: str) -> None:
    """The receiver would get a date, but the sender has none."""
    with pytest.raises(PayloadInvalid) as refused:
        typed.to_json(SignalType("rich", Rich), attrs.evolve(RICH, **fields))

    assert refused.value.path == path


@pytest.mark.parametrize("wrong", range(9))
def test_the_first_wrong_key_is_found_wherever_it_is(wrong: int) -> None:
    votes = {f"k{number}": Vote("x" if number >= wrong else 1.0) for number in range(9)}  # type: ignore[arg-type]

    with pytest.raises(PayloadInvalid) as refused:
        typed.to_json(APPROVED, Decision(True, votes=votes))

    assert refused.value.path == f"$.votes.k{wrong}.score"


@pytest.mark.parametrize("payload", [{"approved": True}, Vote(1.0), None, "approved"])
def test_a_payload_of_another_class_is_refused(payload: Any) -> None:
    """Also a dict that looks like one: for those there are names."""
    with pytest.raises(PayloadInvalid, match=r"is no Decision: expected `Decision`, got `\w+`") as refused:
        typed.to_json(APPROVED, payload)

    assert refused.value.path == "$"


@pytest.mark.parametrize(
    ("kind", "payload"),
    [(int, "1"), (int, True), (int, 1.0), (float, "1"), (float, True), (bool, 1), (str, 1), (list[str], ("a", 1))],
)
def test_builtin_types_are_not_coerced_either(kind: Any, payload: Any) -> None:
    declared: SignalType[Any] = SignalType("kind", kind)

    with pytest.raises(PayloadInvalid, match="expected"):
        typed.to_json(declared, payload)
    with pytest.raises(PayloadInvalid, match="expected"):
        typed.from_json(declared, over_the_wire(payload))


def test_a_subclass_fits() -> None:
    """Its further fields are sent, and mean nothing to who does not know them."""

    @attrs.define
    class Signed(Decision):
        signature: str = "s"

    sent = typed.to_json(APPROVED, Signed(True))

    assert sent["signature"] == "s"
    assert typed.from_json(APPROVED, sent) == Decision(True)


def test_what_has_no_place_in_json_is_refused_with_its_path() -> None:
    for votes, path in [
        ({"a": Vote(float("nan"))}, "$.votes.a.score"),
        ({"a": Vote(object())}, "$.votes.a.score"),  # type: ignore[arg-type]
        ({"a": Vote(1.0, 2**70)}, "$.votes.a.weight"),
    ]:
        with pytest.raises(NotAJsonValue) as refused:
            codec.encode_payload(typed.to_json(APPROVED, Decision(True, votes=votes)))
        assert refused.value.path == path


def test_a_payload_that_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(NotAJsonValue, match="contains itself"):
        typed.to_json(SignalType("kind", list), endless)


@pytest.mark.parametrize(
    ("received", "path", "message"),
    [
        ({}, "$.approved", "it is missing"),
        ({"approved": True, "votes": {"a": {"weight": 2}}}, "$.votes.a.score", "it is missing"),
        ({"approved": "true"}, "$.approved", "expected `bool`, got `str`"),
        ({"approved": True, "votes": {"a": {"score": 1, "weight": -1}}}, "$.votes.a", "'weight' must be >= 0: -1"),
        ({"approved": True, "votes": {"": {"score": "x"}}}, "$.votes[''].score", "expected `float`, got `str`"),
        ([], "$", "expected `object`, got `array`"),
        (None, "$", "expected `object`, got `null`"),
    ],
)
def test_what_was_received_is_looked_at_as_strictly(received: Any, path: str, message: str) -> None:
    """The class's own validators too."""
    with pytest.raises(PayloadInvalid) as refused:
        typed.from_json(APPROVED, received)

    assert refused.value.path == path
    assert message in str(refused.value)


def test_a_value_that_looks_like_a_path_misleads_nobody() -> None:
    """msgspec quotes the value of an enumeration."""
    hostile = "x' - at `$.other` - at `$.by"

    with pytest.raises(PayloadInvalid) as refused:
        typed.from_json(SignalType("colours", dict[str, Colour]), {"a": "red", "b": hostile})

    assert refused.value.path == "$.b"
    assert hostile in str(refused.value)


def test_fields_that_are_not_known_mean_nothing() -> None:
    """A sender may be newer than its receiver."""
    assert typed.from_json(APPROVED, {"approved": False, "new": 1}) == Decision(False)


def test_an_error_of_the_class_itself_is_no_other_error() -> None:
    with pytest.raises(PayloadInvalid, match="is no Even: KeyError: 'odd'"):
        typed.from_json(SignalType("even", Even), {"number": 3})


def test_names_and_declarations() -> None:
    names, kinds = typed.by_name(["go", APPROVED, "go", SignalType("approved", Decision)])

    assert names == ["go", "approved", "go", "approved"]
    assert kinds == {"approved": APPROVED}
    assert typed.by_name(("go", "stop")) == (("go", "stop"), {})


@pytest.mark.parametrize("other", ["approved", SignalType("approved", Vote)])
def test_a_name_with_two_meanings_is_refused(other: Any) -> None:
    with pytest.raises(UsageError, match=r"'approved' is named as .*; name it once"):
        typed.by_name([APPROVED, other])
