"""What a time-out says."""

from __future__ import annotations

import pytest

from attune_dsl.coordination.advice import describe, on_timeout
from attune_dsl.model import Reason


@pytest.mark.parametrize(
    ("types", "words"),
    [((), "of any type"), (("go",), "'go'"), (("go", "stop", "it's"), "'go' or 'stop' or \"it's\"")],
)
def test_types_are_named_as_a_reader_would(types: tuple[str, ...], words: str) -> None:
    assert describe(types) == words


@pytest.mark.parametrize(
    ("types", "source", "timeout", "live", "detail"),
    [
        (("go",), None, 30.0, None, "no signal 'go' within 30 s"),
        ((), "ann", 0.25, None, "no signal of any type from 'ann' within 0.25 s"),
        (("go",), "ann", 1.0, [], "no signal 'go' from 'ann' within 1 s; no agent 'ann' was ever seen"),
        (("go",), "ann", 1.0, ["zoe"], "no signal 'go' from 'ann' within 1 s; no agent 'ann' was ever seen"),
        (
            ("go",),
            "reviwer",
            1.0,
            ["reviver", "reviewer", "zoe"],
            "no signal 'go' from 'reviwer' within 1 s; no agent 'reviwer' was ever seen, "
            "did you mean 'reviewer' or 'reviver'?",
        ),
    ],
)
def test_a_timeout_says_what_was_waited_for_and_what_may_be_wrong(
    types: tuple[str, ...], source: str | None, timeout: float, live: list[str] | None, detail: str
) -> None:
    nothing = on_timeout(types, source, timeout, live)

    assert (nothing.reason, nothing.detail) == (Reason.TIMEOUT, detail)
    assert not nothing


def test_no_more_than_three_are_proposed() -> None:
    nothing = on_timeout((), "agent", 1.0, [f"agent{number}" for number in range(9)])

    assert nothing.detail.partition("mean ")[2].count("'agent") == 3
