"""What ``progress`` understands."""

from __future__ import annotations

import pytest

from attune_dsl.cli.errors import UsageError
from attune_dsl.cli.progress import Said, read


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("0.4",), Said(0.4, None)),
        (("40%",), Said(0.4, None)),
        ((" 40% ",), Said(0.4, None)),
        (("0",), Said(0.0, None)),
        (("1",), Said(1.0, None)),
        (("100%",), Said(1.0, None)),
        ((".5",), Said(0.5, None)),
        (("0.5", "half"), Said(0.5, "half")),
        (("0.5", "7"), Said(0.5, "7")),
        (("half way",), Said(None, "half way")),
        (("50% of it",), Said(None, "50% of it")),
        (("nan",), Said(None, "nan")),
        (("",), Said(None, "")),
    ],
)
def test_a_fraction_a_note_or_both(words: tuple[str, ...], expected: Said) -> None:
    assert read(words) == expected


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((), "takes a fraction, a note, or both"),
        (("0.1", "a", "b"), "takes a fraction, a note, or both"),
        (("a", "b"), "'a' is no fraction from 0 to 1; write a note of several words in quotes"),
        (("40",), r"not '40'; did you mean 40%\?"),
        (("1.5",), r"not '1.5'; did you mean 1.5%\?"),
        (("-0.5",), "not '-0.5'$"),
        (("101%",), "not '101%'$"),
        (("1000",), "not '1000'$"),
    ],
)
def test_what_is_neither_is_a_wrong_use(words: tuple[str, ...], error: str) -> None:
    with pytest.raises(UsageError, match=error):
        read(words)
