"""Declaring a signal type: what is refused, and that it costs nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from attune_dsl import DeclarationError, InvalidName, SignalType
from attune_dsl.coordination import typed

PROJECT = Path(__file__).parents[3]


@attrs.frozen
class Decision:
    approved: bool


@attrs.frozen
class Secretive:
    _hidden: int = 0


@attrs.frozen
class Outer:
    inner: dict[str, list[Secretive]]


@attrs.frozen
class Unresolved:
    field: Nowhere  # type: ignore[name-defined]  # noqa: F821


def test_what_it_is() -> None:
    approved = SignalType("approved", Decision)

    assert (approved.name, approved.payload) == ("approved", Decision)
    assert repr(approved) == "SignalType('approved', Decision)"
    assert repr(SignalType("names", list[str])) == "SignalType('names', list[str])"


def test_two_that_say_the_same_are_the_same() -> None:
    """Sender and receiver may each declare it."""
    assert SignalType("approved", Decision) == SignalType("approved", Decision)
    assert hash(SignalType("approved", Decision)) == hash(SignalType("approved", Decision))
    assert SignalType("approved", Decision) != SignalType("approved", Outer)
    assert SignalType("approved", Decision) != SignalType("declined", Decision)
    assert SignalType("approved", Decision) != "approved"


@pytest.mark.parametrize("name", ["", "x" * 129, "a\nb", 3])
def test_its_name_is_a_name(name: Any) -> None:
    with pytest.raises(InvalidName, match="signal type"):
        SignalType(name, Decision)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (3, "takes the class of the payload, such as int"),
        ("Decision", "takes the class of the payload, such as str"),
        (None, r"type\(None\) for no payload"),
    ],
)
def test_a_payload_that_is_no_class(payload: Any, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        SignalType("approved", payload)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (Path, "JSON has nothing for Path"),
        (list[Path], "JSON has nothing for Path"),
        (dict[str, tuple[int, Path]], "JSON has nothing for Path"),
        (Secretive, "the field '_hidden' of Secretive is private and would be left out"),
        (Outer, "the field '_hidden' of Secretive"),
        (Unresolved, "'Nowhere' is not defined; its annotations have to make sense at the top level"),
    ],
)
def test_a_class_that_json_cannot_carry_is_refused_when_it_is_first_used(payload: Any, message: str) -> None:
    """Both at a send and before a wait: an object that never arrives would be the worse surprise."""
    kind = SignalType("approved", payload)

    with pytest.raises(DeclarationError, match=message):
        typed.to_json(kind, payload)
    with pytest.raises(DeclarationError, match=message):
        typed.by_name(["other", kind])


def test_declaring_loads_nothing_dear() -> None:
    code = (
        "import sys; from attune_dsl import SignalType; SignalType('go', int)\n"
        "print(*({'asyncio', 'attrs', 'inspect', 'msgspec', 'redis', 'structlog', 'dataclasses'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)

    assert done.stdout.split() == []
