"""The page as a file: alone, closed, and with data that stays data. What it shows is tested in a browser."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from a_story import HOSTILE, a_release, hostile

from attune_dsl.export import export


class Reader(HTMLParser):
    """Reads a page as a browser does: its elements, and what is in scripts and styles."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": [], "title": []}
        self._in: str | None = None
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in = tag if tag in self.texts else None
        if self._in:
            self.texts[tag].append("")

    def handle_data(self, data: str) -> None:
        if self._in:
            self.texts[self._in][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._in = None


def data_of(page: bytes) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(Reader(page).texts["script"][0])
    return told


def test_a_page_is_one_file_that_asks_for_nothing() -> None:
    """No element names an address, and the policy forbids what is not in the file."""
    page = Reader(export(a_release(), "html"))
    addresses = [
        (tag, name) for tag, attributes in page.elements for name in attributes if name in ("src", "href", "action")
    ]

    assert addresses == []
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", "".join(page.texts["style"] + page.texts["script"][1:]))
    policy = next(
        one["content"] or "" for _, one in page.elements if one.get("http-equiv") == "Content-Security-Policy"
    )
    script, style = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (page.texts["script"][1], page.texts["style"][0])
    )
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; "
        "base-uri 'none'; form-action 'none'"
    )


def test_data_stays_data() -> None:
    """§5.12: hostile events neither end the block of data nor add an element; they come back as they were."""
    page = export(hostile(), "html")
    shape = [tag for tag, _ in Reader(page).elements]
    block = page.partition(b'id="data">')[2].partition(b"</script>")[0]

    assert shape == [tag for tag, _ in Reader(export([], "html")).elements]
    assert not set(block.decode()) & set("<>&\u2028\u2029")
    emitted = [one["data"]["kind"] for one in json.loads(block)["events"] if one["kind"] == "emit"]
    assert emitted == list(HOSTILE)


@pytest.mark.parametrize("text", ["</title><script>alert(1)</script>", "a\u202eb\x00", "x" * 1_000])
def test_a_title_is_text(text: str) -> None:
    """§5.12: a workflow's name is escaped in the title, cut, and has no characters that cannot be seen."""
    from attrs import evolve

    page = export([evolve(event, workflow=text) for event in a_release()], "html")
    (title,) = Reader(page).texts["title"]

    assert html.unescape(title).endswith(" and 3 more · attune_dsl")
    assert len(title) < 120
    assert not set(title) & set("\u202e\x00")


def test_the_data_has_every_event_and_what_is_drawn() -> None:
    """Bars, arrows and runs name their events by place."""
    data = data_of(export(a_release(), "html"))

    assert len(data["events"]) == len(data["at"]) == len(data["of"]) == len(data["said"]) == 136
    assert data["lanes"] == ["release", "reviewer", "deploy", "docs", "ops"]
    lane, row, what, name, _, _, status, events, _ = next(bar for bar in data["bars"] if bar[3] == "test [3]")
    assert (lane, row, what, name, status) == (0, 4, "stage", "test [3]", "failed")
    assert [data["events"][place]["kind"] for place in events] == ["stage.started", "stage.ended"]
    kind, source, target, sent, received, end = data["arrows"][0]
    assert (kind, source, target, end) == ("start", 4, 0, "received")
    assert (data["events"][sent]["agent"], data["events"][received]["agent"]) == ("ops", "release")
