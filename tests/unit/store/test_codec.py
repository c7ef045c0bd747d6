"""What is JSON goes through unchanged; everything else is refused with the place where it is."""

from __future__ import annotations

import collections
import datetime
import enum
import math
import types
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attune_dsl.exceptions import NotAJsonValue, PayloadTooLarge
from attune_dsl.store import codec, limits

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
NAMES = st.text(min_size=1, max_size=128)


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ()


class Point(NamedTuple):
    x: int
    y: int


class Number(int):
    pass


@given(JSON)
def test_a_payload_comes_back_as_it_was(payload: Any) -> None:
    back = codec.decode_payload(codec.encode_payload(payload))

    assert payload == back
    assert type(payload) is type(back)


@given(type_=NAMES, source=NAMES, target=st.none() | NAMES, payload=JSON)
def test_a_signal_comes_back_as_it_was(type_: str, source: str, target: str | None, payload: Any) -> None:
    envelope = codec.decode_envelope(codec.encode_envelope(type_, source, target, payload))

    assert (type_, source, target, payload) == (envelope.type, envelope.source, envelope.target, envelope.payload)


@pytest.mark.parametrize(
    ("payload", "plain"),
    [
        ((1, (2,)), [1, [2]]),
        (Point(1, 2), [1, 2]),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (Name("ann"), "ann"),
        (Number(7), 7),
        ({Colour.RED: Level.HIGH}, {"red": 3}),
        ({Name("ann"): 1}, {"ann": 1}),
        (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (types.MappingProxyType({"a": types.MappingProxyType({"b": 1})}), {"a": {"b": 1}}),
        (types.MappingProxyType({Name("ann"): Name("bob")}), {"ann": "bob"}),
        (collections.ChainMap({"a": 1}, {"b": 2}), {"a": 1, "b": 2}),
    ],
)
def test_what_json_has_no_type_for_but_a_value_becomes_that(payload: Any, plain: Any) -> None:
    assert plain == codec.decode_payload(codec.encode_payload(payload))


@pytest.mark.parametrize(
    ("payload", "path", "what"),
    [
        (object(), "$", "is a object"),
        ({"items": [1, {"when": datetime.date(2026, 1, 1)}]}, "$.items[1].when", "is a date"),
        ([[], [0, b"bytes"]], "$[1][1]", "is a bytes"),
        ({"tags": {"a"}}, "$.tags", "is a set"),
        (({"a": 1j},), "$[0].a", "is a complex"),
        ({"score": math.nan}, "$.score", "is nan"),
        ([math.inf], "$[0]", "is inf"),
        (-math.inf, "$", "is -inf"),
        ({"n": 2**64}, "$.n", "beyond 64 bits"),
        ([-(2**63) - 1], "$[0]", "beyond 64 bits"),
        ({"n": Number(2**64)}, "$.n", "beyond 64 bits"),
        ({"a": {1: 2}}, "$.a", "has the key 1"),
        ({None: 2}, "$", "has the key None"),
        (types.MappingProxyType({"a": types.MappingProxyType({(): 1})}), "$.a", "has the key ()"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(payload: Any, path: str, what: str) -> None:
    with pytest.raises(NotAJsonValue) as caught:
        codec.encode_payload(payload)

    assert path == caught.value.path
    assert what in str(caught.value)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def endless() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["me"] = [value]
    return value


@pytest.mark.parametrize("payload", [nested(100_000), endless()], ids=["deep", "endless"])
def test_what_has_no_end_is_refused(payload: Any) -> None:
    with pytest.raises(NotAJsonValue, match="nested too deeply, or contains itself"):
        codec.encode_payload(payload)


@pytest.mark.parametrize("payload", ["\ud800", ["a", "\udfff"], {"\ud800": 1}, Name("\ud800")])
def test_text_that_is_not_unicode_is_refused(payload: Any) -> None:
    with pytest.raises(NotAJsonValue, match="not Unicode"):
        codec.encode_payload(payload)


def test_the_limit_is_in_bytes_of_json() -> None:
    fits = "x" * (limits.PAYLOAD_BYTES - 2)

    assert len(codec.encode_payload(fits)) == limits.PAYLOAD_BYTES
    with pytest.raises(PayloadTooLarge, match="262,145 bytes of JSON, the limit is 262,144"):
        codec.encode_payload(fits + "x")
    with pytest.raises(PayloadTooLarge):
        codec.encode_payload("ä" * (limits.PAYLOAD_BYTES // 2))


@given(type_=NAMES, source=NAMES, target=NAMES)
def test_a_signal_of_the_largest_payload_is_within_its_own_bound(type_: str, source: str, target: str) -> None:
    payload = "x" * (limits.PAYLOAD_BYTES - 2)

    assert len(codec.encode_envelope(type_, source, target, payload)) <= limits.SIGNAL_BYTES


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"type": "go"}',
        b'{"type": 1, "source": "ann"}',
        b'{"type": "go", "source": "ann", "target": 3}',
        b'{"type": "go", "source": "ann", "payload": NaN}',
        b'{"type": "\xff", "source": "ann"}',
        b'{"type": "go", "source": "ann"} x',
    ],
)
def test_what_is_no_signal_is_refused(data: bytes) -> None:
    with pytest.raises((msgspec.MsgspecError, ValueError)):
        codec.decode_envelope(data)


def test_fields_that_a_later_release_adds_are_left_alone() -> None:
    envelope = codec.decode_envelope(b'{"type": "go", "source": "ann", "trace": "00-1"}')

    assert (envelope.type, envelope.source, envelope.target, envelope.payload) == ("go", "ann", None, None)
