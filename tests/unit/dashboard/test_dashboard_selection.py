"""What the parameters of a request ask for."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette")

from starlette.datastructures import QueryParams

from attune_dsl.coordination.selection import ALL, Selection
from attune_dsl.dashboard.selection import event_id, selection
from attune_dsl.exceptions import UsageError


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("", ALL),
        ("kinds=&agent=&run=", ALL),
        ("kinds=stage,signal.sent", Selection(kinds=frozenset({"stage", "signal.sent"}))),
        ("kinds=stage&kinds=emit", Selection(kinds=frozenset({"stage", "emit"}))),
        ("agent=r%C3%A9lease&run=4b1f", Selection(agent="rélease", run="4b1f")),
    ],
)
def test_parameters_are_read(asked: str, wanted: Selection) -> None:
    assert selection(QueryParams(asked)) == wanted


@pytest.mark.parametrize(
    ("asked", "about"),
    [
        ("kinds=Stage", "kinds:"),
        ("kinds=*", "kinds:"),
        ("kinds=a.b.c", "kinds:"),
        ("kinds=" + ",".join(f"k{'x' * n}" for n in range(65)), "kinds:"),
        ("agent=a%00b", "agent"),
        ("run=" + "x" * 129, "run"),
    ],
)
def test_what_cannot_be_meant_is_refused(asked: str, about: str) -> None:
    with pytest.raises(UsageError, match=f"^{about}"):
        selection(QueryParams(asked))


@pytest.mark.parametrize(("asked", "found"), [("", None), ("after=", None), ("after=0", "0"), ("after=17-3", "17-3")])
def test_ids_are_read(asked: str, found: str | None) -> None:
    assert event_id(QueryParams(asked), "after") == found


@pytest.mark.parametrize("given", ["-", "+", "$", "17-", "-1", "1-2-3", "٣", "1" * 21, "17-3 ", "17-3\n", "(17-3"])
def test_what_is_no_id_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match="the id of an event, such as 1763971918123-0"):
        event_id(QueryParams({"after": given}), "after")
