"""The live page in a real browser: what it shows, what hands and keys do, and that hostile events are harmless."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("starlette")

from a_story import HOSTILE, a_loss, a_release, hostile, many
from live_support import Served

from attune_dsl.export.wording import say

if TYPE_CHECKING:
    from conftest import Store
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.parametrize("store", ["embedded"], indirect=True)


@pytest.fixture
def served(store: Store) -> Iterator[Served]:
    with Served(store) as served:
        yield served


@pytest.fixture
def page(served: Served, page: Page) -> Page:
    """The page is closed ahead of the server, which it would else miss."""
    return page


def opened(page: Page, served: Served, query: str = "") -> Page:
    """Log in, and wait until the page is up to date."""
    page.goto(served.login)
    if query:
        page.goto(f"{served.url}?{query}")
    until_state(page, "live")
    return page


def until_state(page: Page, state: str) -> None:
    page.wait_for_selector(f"#state[data-state={state}]")


def until_said(page: Page, text: str) -> None:
    """Wait until a row says this."""
    page.wait_for_function(
        "text => [...document.querySelectorAll('.row:not([hidden]) .said')].some(one => one.textContent === text)",
        arg=text,
    )


def said(page: Page) -> list[str]:
    """What the rows in view say, from top to bottom."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('.row:not([hidden])')]
            .sort((one, other) => Number(one.dataset.place) - Number(other.dataset.place))
            .map(row => row.querySelector('.said').textContent)"""
    )
    return found


def text_of(page: Page, selector: str) -> str:
    return page.locator(selector).inner_text()


def test_it_shows_the_past_then_what_happens(page: Page, served: Served) -> None:
    """The last of what happened is there, the newest at the end; what comes is added to it."""
    served.tell(a_release())
    opened(page, served)
    assert page.title() == f"{served.store.namespace} · attune_dsl"
    assert text_of(page, "h1") == served.store.namespace
    assert text_of(page, "#state") == "Live"
    assert text_of(page, "#count") == str(len(a_release()))
    assert text_of(page, "#agents-seen") == "5"
    assert said(page)[-1] == say(a_release()[-1])

    served.notes("a new one")
    until_said(page, "note: a new one")
    assert said(page)[-1] == "note: a new one"
    assert text_of(page, "#count") == str(len(a_release()) + 1)


def test_its_words_are_those_of_exported_pages(page: Page, served: Served) -> None:
    """Whoever knows one of them can read the other."""
    story = [*a_release(), *a_loss()]
    served.tell(story)
    opened(page, served)
    words = page.evaluate(
        """async () => {
            const { say } = await import('/static/words.js');
            const { events } = await (await fetch('/api/events?last=1000')).json();
            return events.map(say);
        }"""
    )
    assert [(event.kind, told) for event, told in zip(story, words, strict=True)] == [
        (event.kind, say(event)) for event in story
    ]


def test_a_click_shows_all_of_an_event(page: Page, served: Served) -> None:
    served.tell(a_release())
    opened(page, served)
    page.locator("#search").fill("sent review_request")
    page.locator(".row:not([hidden])").first.click()
    about = text_of(page, "#about")

    assert text_of(page, "#about h2") == "sent review_request to reviewer"
    for part in (
        "signal.sent",
        "release",
        "4b1f0c7a9d2e4f31",
        "24 November 2026",
        "Payload",
        '"diff": "1.1..1.2"',
    ):
        assert part in about
    page.locator("#about .jump").click()
    until_state(page, "live")
    assert page.locator("#agent").input_value() == "release"


def test_keys(page: Page, served: Served) -> None:
    """Arrows go from event to event, Escape lets go, a slash searches, the space bar pauses."""
    served.tell(a_release())
    opened(page, served)
    page.locator("#list").focus()
    page.keyboard.press("ArrowDown")
    assert text_of(page, "#about h2") == say(a_release()[-1])
    page.keyboard.press("ArrowUp")
    assert text_of(page, "#about h2") == say(a_release()[-2])
    page.keyboard.press("Home")
    assert text_of(page, "#about h2") == say(a_release()[0])
    assert page.locator("#list [aria-selected=true] .said").inner_text() == say(a_release()[0])
    assert page.locator("#list").get_attribute("aria-activedescendant") == page.locator(
        "[aria-selected=true]"
    ).get_attribute("id")
    page.keyboard.press("Escape")
    assert text_of(page, "#about h2") == "Choose an event"
    page.keyboard.press(" ")
    assert text_of(page, "#pause") == "Go on"
    page.keyboard.press(" ")
    assert text_of(page, "#pause") == "Pause"
    page.keyboard.press("/")
    page.keyboard.type("lost / x")
    assert page.locator("#search").input_value() == "lost / x"
    assert text_of(page, "#empty") == "No event matches."


def test_kinds_are_hidden_and_texts_are_found(page: Page, served: Served) -> None:
    served.tell(a_loss())
    opened(page, served)
    everything = len(a_loss())
    assert page.locator("#families button:not([hidden])").all_inner_texts()[0].split() == ["▶", "Runs", "2"]
    page.locator("#families button[data-family=signal]").click()
    signals = sum(event.kind.startswith("signal") for event in a_loss())
    assert text_of(page, "#matches") == f"{everything - signals} of {everything}"
    page.locator("#families button[data-family=signal]").click()
    page.locator("#search").fill("CRAWLER was lost")
    assert said(page) == ["waited 5.1 s for page: peer_gone: crawler was lost in fetch"]
    assert page.locator(".row.bad:not([hidden])").count() == 1


def test_one_agent_is_asked_for(page: Page, served: Served) -> None:
    """Its events are there however many others there are, and the address leads to them again."""
    served.notes("the only one", agent="rare")
    served.notes(*(f"noise {number}" for number in range(600)), agent="loud")
    opened(page, served)
    assert "note: the only one" not in said(page)
    page.locator("#agent").fill("rare")
    page.keyboard.press("Enter")
    until_said(page, "note: the only one")
    served.notes("more noise", agent="loud")
    served.notes("another", agent="rare")
    until_said(page, "note: another")
    assert said(page) == ["note: the only one", "note: another"]
    assert page.url.endswith("?agent=rare")
    page.reload()
    until_said(page, "note: another")
    assert page.locator("#agent").input_value() == "rare"


def test_a_pause_keeps_the_list_still(page: Page, served: Served) -> None:
    """What comes meanwhile is counted, and shown afterwards."""
    served.notes("before")
    opened(page, served)
    page.locator("#pause").click()
    served.notes("one", "two", "three")
    page.wait_for_function("() => document.getElementById('pause').textContent === 'Go on · 3 new'")
    assert said(page) == ["note: before"]
    page.locator("#search").fill("nothing like it")
    assert said(page) == []
    page.locator("#search").fill("")
    page.locator("#pause").click()
    assert said(page) == [f"note: {text}" for text in ("before", "one", "two", "three")]


def test_reading_in_the_past_is_not_disturbed(page: Page, served: Served) -> None:
    """Whoever has scrolled up, or has chosen an event, stays there; a button leads back."""
    served.notes(*(f"old {number}" for number in range(300)))
    opened(page, served)
    assert page.locator("#latest").is_hidden()
    page.locator("#list").evaluate("list => { list.scrollTop = 0; }")
    page.wait_for_selector("#latest:not([hidden])")
    before = said(page)
    served.notes("new")
    page.wait_for_function("() => document.getElementById('count').textContent === '301'")
    assert said(page) == before
    page.locator("#latest").click()
    until_said(page, "note: new")
    assert page.locator("#latest").is_hidden()


def test_what_is_kept_and_drawn_is_bounded(page: Page, served: Served) -> None:
    """Of many events the last stay, and the page has as many rows as there is room for."""
    served.notes("first")
    opened(page, served)
    for part in range(7):
        served.notes(*(f"{part}-{number}" for number in range(1_000)))
        until_said(page, f"note: {part}-999")
    assert 5_000 <= int(text_of(page, "#count").replace(",", "")) <= 5_500
    assert page.locator(".row").count() < 60
    page.locator("#list").focus()
    page.keyboard.press("Home")
    assert re.fullmatch(r"note: [12]-\d+", text_of(page, "#about h2"))


@pytest.mark.timeout(120)
def test_hostile_events_are_text(page: Page, served: Served) -> None:
    """§5.12: markup, scripts, control characters and marks of direction in all texts are shown, and do nothing."""
    served.tell(hostile())
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message) or dialog.dismiss())
    opened(page, served)
    tags = page.evaluate("() => document.querySelectorAll('*').length")
    page.locator("#list").focus()
    page.keyboard.press("Home")
    shown = set()
    for _ in range(len(hostile())):
        shown.add(text_of(page, "#about"))
        page.keyboard.press("ArrowDown")
    for part in ("<img src=x onerror=alert(1)>", "⟨U+202E⟩right to left⟨U+202C⟩", "null ⟨U+0000⟩ bell ⟨U+0007⟩"):
        assert any(part in text for text in shown), part
    page.locator("#agent").focus()
    page.wait_for_selector("#agents option", state="attached")
    page.locator("#search").fill(HOSTILE[0])
    assert dialogs == []
    assert page.locator("img, iframe, a, script:not([type=module]), svg").count() == 0
    assert page.evaluate("() => document.querySelectorAll('*').length") < tags + 400
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_a_narrow_window(page: Page, served: Served) -> None:
    """Nothing is wider than a phone; details come from below, and go again."""
    page.set_viewport_size({"width": 360, "height": 740})
    served.tell([*a_release(), *many(200)])
    opened(page, served)
    assert page.evaluate("() => document.documentElement.scrollWidth") == 360
    assert page.locator("#details").is_hidden()
    page.locator(".row:not([hidden])").last.click()
    assert page.locator("#details").is_visible()
    row, sheet = page.locator("[aria-selected=true]").bounding_box(), page.locator("#details").bounding_box()
    assert row is not None
    assert sheet is not None
    assert row["y"] + row["height"] <= sheet["y"] + 1
    page.locator("#close").click()
    assert page.locator("#details").is_hidden()


def test_it_comes_back_by_itself(browser: Browser, store: Store) -> None:
    """A server that is killed and started again: nothing is missing afterwards, and nothing is there twice."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.set_default_timeout(20_000)
    with Served(store) as first:
        first.notes("one")
        opened(page, first)
        until_said(page, "note: one")
        first.kill()
        until_state(page, "lost")
        assert text_of(page, "#state") == "Reconnecting"
        assert page.locator("#warning").is_visible()
        first.notes("two")
    with Served(store, first.port) as second:
        until_state(page, "live")
        until_said(page, "note: two")
        second.notes("three")
        until_said(page, "note: three")
        assert said(page) == ["note: one", "note: two", "note: three"]
        assert page.locator("#warning").is_hidden()
        second.kill()
    with Served(store, first.port, token="another-token-of-32-characters--") as third:
        until_state(page, "out")
        assert "Open the login link" in text_of(page, "#warning")
        third.notes("four")
        context.new_page().goto(third.login)
        until_state(page, "live")
        until_said(page, "note: four")
        assert said(page) == [f"note: {text}" for text in ("one", "two", "three", "four")]
    context.close()


def test_who_is_not_logged_in_is_told_so(browser: Browser, served: Served) -> None:
    page = browser.new_page()
    answer = page.goto(served.url)
    assert answer is not None
    assert answer.status == 401
    assert text_of(page, "h1") == "You are not logged in"
    assert page.evaluate("() => getComputedStyle(document.querySelector('h1')).fontSize") == "20px"
    page.close()


def test_scripts_of_others_do_not_run(browser: Browser, served: Served) -> None:
    """The page's policy: even markup that got in somehow would do nothing."""
    page = opened(browser.new_page(), served)
    told = page.evaluate(
        """() => new Promise((resolve) => {
            document.addEventListener('securitypolicyviolation', (event) => resolve(event.effectiveDirective));
            document.body.insertAdjacentHTML('beforeend', '<img src="data:," onerror="document.title = 1">');
        })"""
    )
    assert told in {"img-src", "script-src-attr"}
    assert page.title() != "1"
    page.close()
