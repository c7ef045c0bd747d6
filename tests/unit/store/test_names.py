"""What a name may look like (contract §5.12)."""

from __future__ import annotations

import pytest

from attune_dsl.exceptions import InvalidName
from attune_dsl.store.names import check_name, check_namespace


@pytest.mark.parametrize(
    "name", ["a", "x" * 128, "two words", "deploy:eu", "*?[a]", "бот", "👩\u200d💻", "{tag}", "a/b"]
)
def test_any_text_of_up_to_128_characters_is_a_name(name: str) -> None:
    assert check_name("agent id", name) == name


@pytest.mark.parametrize("name", ["", "x" * 129, "a\nb", "\x00", "tab\t", "\x7f", "\x85", "\ud800", None, 5, b"a"])
def test_what_is_no_name_is_refused_and_named(name: object) -> None:
    with pytest.raises(InvalidName, match="agent id"):
        check_name("agent id", name)


@pytest.mark.parametrize("name", ["{", "a}", "{team}"])
def test_a_namespace_has_no_braces(name: str) -> None:
    with pytest.raises(InvalidName, match=r"\{|brace"):
        check_namespace(name)


def test_a_namespace_is_a_name() -> None:
    assert check_namespace("team a") == "team a"
    with pytest.raises(InvalidName, match="namespace"):
        check_namespace("")
