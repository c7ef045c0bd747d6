"""The page about serving names everything that is served, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("starlette")

from attune_dsl.dashboard import api, create_app, feed, ring, sockets, stream
from attune_dsl.dashboard.tally import LIMIT, WORKFLOWS, Tally

TEXT = (Path(__file__).parents[3] / "docs" / "serving.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table whose first column has this heading."""
    table = TEXT.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()[2:]]


def test_every_path_is_described() -> None:
    described = {path for row in rows("path") for path in re.findall(r"`(/[\w/]*)", row[0])}
    routes = {getattr(route, "path", "") for route in create_app("memory://").routes}
    assert described == {route.partition("{")[0] for route in routes}


def test_every_metric_is_described_with_its_type_and_labels() -> None:
    described = {row[0].strip("`"): row[1] for row in rows("metric")}
    for metric in Tally().collect():
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        assert described.get(name) == metric.type, name
    # These are of the store, and not counted.
    assert len(described) - len(list(Tally().collect())) == 5


def test_every_close_code_and_kind_of_message_is_described() -> None:
    assert [row[0] for row in rows("close code")] == [
        str(stream.GOING_AWAY),
        str(sockets._POLICY),
        str(stream.TRY_AGAIN_LATER),
    ]
    assert [row[0] for row in rows("`type`")] == ["`events`", "`live`", "`store`", "`closing`"]


def test_limits_are_those_of_the_code() -> None:
    text = " ".join(TEXT.split())
    for said in (
        f"1 to {api.MOST:,}; {api.LIMIT:,} if",
        f"{feed.CLIENTS} sockets and streams",
        f"{feed.WINDOW * 1000:g} ms after",
        f"{ring.BYTES // 2**20} MiB or {ring.EVENTS:,} events behind",
        f"more than {sockets.HEARD} were sent",
        f"nothing was read for {sockets.PATIENCE:g} seconds",
        f"{WORKFLOWS} workflows and {LIMIT} stages",
    ):
        assert said in text
