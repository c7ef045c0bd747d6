"""Exported diagrams are read by mermaid itself, in a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from a_story import HOSTILE, a_loss, a_release, a_tiny_run, hostile, many

from attune_dsl.export import export

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from attune_dsl.events import Event

MERMAID = Path(__file__).parents[1] / "vendor" / "mermaid" / "mermaid.tiny.js"

Draw = Callable[[str], str]


@pytest.fixture
def draw(page: Page) -> Draw:
    """Draw a diagram with mermaid as it is set by default; return what can be read in the picture."""
    page.set_content("<!doctype html><title>diagram</title><div id=picture></div>")
    page.add_script_tag(path=MERMAID)
    page.evaluate("mermaid.initialize({ startOnLoad: false })")

    def drawn(text: str) -> str:
        told = page.evaluate(
            """async (text) => {
              await mermaid.parse(text);
              const { svg } = await mermaid.render('diagram', text);
              const picture = document.getElementById('picture');
              picture.innerHTML = svg;
              return [...picture.querySelectorAll('text')].map((one) => one.textContent).join('\\n');
            }""",
            text,
        )
        assert isinstance(told, str)
        return told

    return drawn


@pytest.mark.parametrize("story", [a_release, a_tiny_run, a_loss, lambda: []], ids=["release", "tiny", "loss", "empty"])
def test_mermaid_draws_what_is_exported(draw: Draw, story: Callable[[], list[Event]]) -> None:
    """Each diagram is valid, and has as many arrows as the story."""
    assert draw(export(story(), "mermaid").decode()) != ""


def test_what_is_read_in_the_picture(draw: Draw) -> None:
    """Names, types of signals and notes are in the picture as they were written."""
    told = draw(export(a_loss(), "mermaid").decode())

    for part in ("crawler", "indexer", "page (expired)", "lost: its lease lapsed at 31%", "1,284 events are missing"):
        assert part in told


def test_hostile_names_are_text(draw: Draw, page: Page) -> None:
    """§5.12: quotes, semicolons, keywords, comments and markup in names are drawn, and mean nothing."""
    told = draw(export(hostile(), "mermaid").decode())

    assert HOSTILE[0] in told
    assert "quotes \" ' ` semicolon; hash #35; percent %% {brace} $$x$$" in told
    assert "\nend\n" in told
    assert page.locator("#picture img, #picture script, #picture a").count() == 0


@pytest.mark.timeout(120)
def test_a_long_story_is_still_drawn(draw: Draw) -> None:
    """Of more than mermaid takes by default the diagram has what matters, and says how much is missing."""
    text = export(many(10_000), "mermaid").decode()

    assert len(text) <= 50_000
    assert "more lines are left out" in draw(text)


def test_this_test_can_fail(draw: Draw) -> None:
    """What is no diagram is refused."""
    with pytest.raises(Exception, match="Parse error"):
        draw("sequenceDiagram\n    a->>b\n    end")
