"""The exported page in a real browser: what it shows, what hands and keys do, and that hostile events are harmless."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from a_story import HOSTILE, RELEASE, a_loss, a_release, a_tiny_run, hostile, many

from attune_dsl.export import export, story_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from attune_dsl.events import Event

Open = Callable[..., "Page"]


@pytest.fixture
def opened(page: Page, tmp_path: Path) -> Open:
    """Export events, open the file, and wait until it is drawn; nothing may be asked of any network."""

    def open_page(events: list[Event], width: int = 1400, scheme: str = "light") -> Page:
        file = tmp_path / "story.html"
        file.write_bytes(export(events, "html"))
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.goto(file.as_uri())
        page.wait_for_selector(".bar, body.none", state="attached")
        assert asked == [file.as_uri()]
        return page

    return open_page


def ticks(page: Page) -> list[str]:
    return page.locator("#axis .tick text").all_text_contents()


def wait_for(page: Page, condition: str, argument: Any = None) -> None:
    page.wait_for_function(condition, arg=argument)


def drawn(page: Page) -> None:
    """Wait until what was done is drawn: it is asked for with the next frame."""
    page.evaluate("new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")


def test_it_shows_lanes_bars_marks_and_arrows(opened: Open) -> None:
    """A lane for each agent, with bars for what lasted, marks for what happened, and arrows with both ends."""
    page = opened(a_release())

    assert page.locator(".lane-name").all_text_contents() == ["release", "reviewer", "deploy", "docs", "ops"]
    assert page.locator("#plot .bar.run").count() == 4
    assert page.locator("#plot .bar.wait").count() == 4
    assert page.locator("#plot .bar.stage").count() == 24
    assert page.locator("#plot .arrow").count() == 10
    assert page.locator("#plot .mark").count() > 20
    assert page.title() == "release and 3 more · attune_dsl"
    facts = page.locator("#facts").inner_text()
    assert "3 completed, 1 failed" in facts
    assert "0.2478" in facts


def test_arrows_go_from_the_sender_s_lane_to_the_receiver_s(opened: Open) -> None:
    """The tip of a signal's arrow is in the lane of whom it reached, to the right of where it began."""
    page = opened(a_release())
    arrow = (
        page.locator("#plot .arrow[aria-label^='review_request from release to reviewer'] .way").get_attribute("d")
        or ""
    )
    numbers = [float(one) for one in re.findall(r"-?[\d.]+", arrow)]
    (from_x, from_y), (to_x, to_y) = numbers[:2], numbers[-2:]
    edges = page.locator(".lane .edge").evaluate_all("lines => lines.map(line => Number(line.getAttribute('y1')))")

    assert from_x < to_x
    assert 0 < from_y < edges[0] < to_y < edges[1]


def test_a_single_run_is_headed_by_how_it_ended(opened: Open) -> None:
    """A run's story says which run it is, when it was, how it ended, and what it cost."""
    page = opened(story_of(RELEASE, a_release()))

    assert page.locator("#title").inner_text() == "release"
    assert page.locator("#status").inner_text() == "completed"
    assert page.locator("#when").inner_text() == "24 Nov 2026, 06:14:00 UTC"
    assert RELEASE in page.locator("#facts").inner_text()
    assert "33.2 s" in page.locator("#facts").inner_text()
    assert "0.0021" in page.locator("#facts").inner_text()
    assert page.locator("#plot .arrow").count() == 5


def test_gaps_and_losses_are_said_above_everything(opened: Open) -> None:
    """What is missing is said in words and drawn as a line through all lanes; a loss is a mark."""
    page = opened(a_loss())

    assert page.locator("#warning").inner_text().startswith("1,284 events are missing from this history")
    assert page.locator(".gap-line").count() == 1
    assert page.locator("#plot .mark.lost").count() == 1
    assert page.locator("#plot .arrow.expired").count() == 1


def test_a_click_on_a_stage_shows_all_of_it(opened: Open) -> None:
    """The side panel has the stage's status, times, and everything that its events say."""
    page = opened(a_release())
    page.locator("#plot .bar.stage[aria-label*='publish, stage, failed']").click()
    said = page.locator("#about").inner_text()

    assert page.locator("#about h2").inner_text() == "publish"
    assert page.locator("#about .pill").inner_text() == "failed"
    for part in ("24.700 s · 06:14:24.700", "1.6 s", "PermissionError: no right to write to the site", "stage.ended"):
        assert part in said


def test_a_click_on_a_signal_leads_to_its_other_end(opened: Open) -> None:
    """Arrow and ends know each other: from what was sent one comes to what was taken."""
    page = opened(a_release())
    page.locator("#plot .mark[aria-label*='sent review_request']").click()
    assert '"diff": "1.1..1.2"' in page.locator("#about pre").inner_text()
    page.locator("#about .jump").click()

    assert page.locator("#about h2").inner_text() == "took review_request from release after 50 ms"
    assert page.locator("#list [aria-current=true] .said").inner_text().startswith("took review_request")


def test_zooming_changes_the_axis(opened: Open) -> None:
    """Buttons, the wheel and keys zoom, around the place where the wheel turns; Fit shows everything again."""
    page = opened(a_release())
    everything = ticks(page)
    for zoom in (
        lambda: page.locator("#zoom-in").click(),
        lambda: page.mouse.wheel(0, -400),
        lambda: page.keyboard.press("+"),
    ):
        page.mouse.move(700, 300)
        page.locator("#chart").focus()
        zoom()
        wait_for(page, "before => document.querySelector('#axis .tick text').textContent !== before", everything[0])
        assert ticks(page) != everything
        page.locator("#zoom-fit").click()
        wait_for(page, "before => document.querySelector('#axis .tick text').textContent === before", everything[0])
        assert ticks(page) == everything


def test_dragging_moves_the_time(opened: Open) -> None:
    """A drag to the left brings later times in, and chooses nothing."""
    page = opened(a_release())
    page.locator("#zoom-in").click()
    page.locator("#zoom-in").click()
    drawn(page)
    before = float(ticks(page)[0].removesuffix(" s"))
    page.mouse.move(800, 300)
    page.mouse.down()
    page.mouse.move(400, 300, steps=4)
    page.mouse.up()
    drawn(page)

    assert float(ticks(page)[0].removesuffix(" s")) > before + 3
    assert page.locator("#about h2").inner_text() == "Click anything to see all of it"


def test_keys_go_from_one_thing_to_the_next(opened: Open) -> None:
    """The chart is one stop of Tab; arrow keys choose, and say to a screen reader what was chosen."""
    page = opened(a_release())
    page.locator("#chart").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#about h2").inner_text() == "joined as incarnation 7"
    page.keyboard.press("ArrowRight")
    assert page.locator("#about h2").inner_text() == "joined as incarnation 1"
    active = page.locator("#chart").get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").get_attribute("aria-selected") == "true"
    page.keyboard.press("ArrowDown")
    assert "reviewer" in page.locator("#about dl").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("#chart").get_attribute("aria-activedescendant") is None
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"


def test_everything_drawn_has_a_name(opened: Open) -> None:
    """Whatever can be chosen has words for those who do not see it, and so has every button."""
    page = opened(a_release())
    unnamed = "all => all.filter(one => !one.getAttribute('aria-label') && !one.textContent.trim()).length"

    assert page.locator("[role=option]").count() > 50
    assert page.locator("[role=option]:not([aria-label])").count() == 0
    assert page.locator("button, input").evaluate_all(unnamed) == 1  # the search field, which its label names


def test_searching_and_filtering(opened: Open) -> None:
    """A search keeps what says it, a switch hides a kind, and the list says how many there are."""
    page = opened(a_release())
    page.locator("#search").fill("PermissionError")
    assert page.locator("#matches").inner_text() == "2 of 136"
    wait_for(page, "() => document.querySelectorAll('.bar:not(.dim)[role=option]').length === 2")
    page.locator("#search").fill("")
    page.locator("[data-name=wait]").click()
    wait_for(page, "() => document.querySelectorAll('.bar.wait[role=option]').length === 0")

    assert page.locator("#matches").inner_text() == "128 of 136"
    assert page.locator("[data-name=wait]").get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 420])
def test_it_is_legible_in_light_and_dark_wide_and_narrow(opened: Open, scheme: str, width: int) -> None:
    """Text stands out from its ground by at least 4.5 to 1, and nothing sticks out of the page."""
    page = opened(a_release(), width, scheme)
    contrasts = page.evaluate(CONTRASTS)

    assert len(contrasts) == 4
    assert [one for one in contrasts if one < 4.5] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(16, 21, 27)" if scheme == "dark" else "rgb(244, 246, 248)")


CONTRASTS = """() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map((one) => one / 255)
      .map((one) => one <= .03928 ? one / 12.92 : ((one + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ratio = (one, other) => {
    const [high, low] = [light(one), light(other)].sort((a, b) => b - a);
    return (high + .05) / (low + .05);
  };
  const of = (selector, name) => getComputedStyle(document.querySelector(selector))[name];
  const surface = of('.stage', 'backgroundColor');
  return [ratio(of('.lane-name', 'fill'), surface), ratio(of('.tick text', 'fill'), surface),
    ratio(of('.lane-about', 'fill'), surface), ratio(of('#when', 'color'), of('.top', 'backgroundColor'))];
}"""


def test_hostile_events_are_text(opened: Open) -> None:
    """§5.12: markup, scripts, marks of direction and control characters in events are shown, and do nothing."""
    page = opened(hostile())
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))

    def walk() -> str:
        told = [page.locator("body").inner_text()]
        page.locator("#chart").focus()
        for _ in range(60):
            page.keyboard.press("ArrowRight")
            told.append(page.locator("#about").inner_text())
        return "\n".join(told)

    text = walk()
    assert HOSTILE[0] in text
    assert page.locator("img, iframe, body script ~ script ~ script, a, object").count() == 0
    assert "⟨U+202E⟩right to left⟨U+202C⟩" in text
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u0000-\u0008\u001b\u2028\u2029]", text)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1400


def test_very_long_text_is_shown_on_request(opened: Open) -> None:
    """§5.12: a huge string is cut, until somebody asks for all of it."""
    page = opened(hostile())
    page.locator("#search").fill("x" * 500)
    page.locator("#list button:visible", has_text="emit").first.click()
    assert len(page.locator("#about pre").last.inner_text()) == 4_001
    page.locator("#about .more").last.click()

    assert len(page.locator("#about pre").last.inner_text()) == 20_000


def test_the_page_obeys_its_policy(browser: Browser, tmp_path: Path) -> None:
    """§5.12: even code on the page could neither load anything nor run another script."""
    file = tmp_path / "story.html"
    file.write_bytes(export(a_tiny_run(), "html"))
    page = browser.new_page()
    page.goto(file.as_uri())
    refused = page.evaluate(
        """async () => {
          const refused = [];
          document.addEventListener('securitypolicyviolation', (event) => refused.push(event.effectiveDirective));
          const script = document.createElement('script');
          script.textContent = 'window.ran = true';
          document.body.append(script, Object.assign(new Image(), { src: 'https://127.0.0.1:9/x.png' }));
          await fetch('https://127.0.0.1:9/').catch(() => {});
          await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
          return [window.ran ?? false, ...refused.sort()];
        }"""
    )
    page.close()
    assert refused == [False, "connect-src", "img-src", "script-src-elem"]


@pytest.mark.timeout(120)
def test_ten_thousand_events_stay_quick(opened: Open) -> None:
    """Only what is to be seen is drawn: few elements, and a frame in far less than a second."""
    page = opened(many(10_000))
    assert page.locator("#matches").inner_text() == "10,016"
    frames = page.evaluate(
        """async () => {
          const took = [];
          for (let turn = 0; turn < 6; turn += 1) {
            const began = performance.now();
            document.getElementById('zoom-in').click();
            await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
            took.push(performance.now() - began);
          }
          return took;
        }"""
    )

    assert page.locator("#plot *").count() < 12_000
    assert sorted(frames)[3] < 1_000


def test_no_events_are_said_to_be_none(opened: Open) -> None:
    """An empty story is a page that says so."""
    page = opened([])

    assert page.locator("#empty").inner_text() == "There are no events to show."
    assert not page.locator("#chart").is_visible()


def test_on_a_narrow_page_details_come_from_below(opened: Open) -> None:
    """On a telephone the details lie over the page, and can be closed."""
    page = opened(a_release(), 420)
    assert not page.locator("#details").is_visible()
    page.locator("#plot .bar.stage[aria-label*='build']").click()
    assert page.locator("#about h2").inner_text() == "build"
    page.locator("#close").click()

    assert not page.locator("#details").is_visible()
