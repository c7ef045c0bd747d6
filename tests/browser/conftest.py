"""A real browser, for tests of what people look at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_REQUIRED = os.environ.get("ATTUNE_REQUIRE_BROWSER") == "1"  # read before tests are shielded from such variables
_NAMES = ("chromium", "chromium-browser", "google-chrome")


def _missing(what: str) -> None:
    """Skip the test; fail it where ``ATTUNE_REQUIRE_BROWSER`` says that there has to be a browser."""
    if _REQUIRED:
        pytest.fail(f"{what}, and ATTUNE_REQUIRE_BROWSER=1 asks for it", pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium.

    For one module only: playwright's loop would be in the way of asynchronous tests, so a module with this fixture has
    none of these.
    """
    executable = next(filter(None, map(shutil.which, _NAMES)), None)
    if executable is None:
        _missing("there is no chromium on PATH")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page, 1400 x 900; the test fails if anything on it raises or complains."""
    context = browser.new_context(viewport={"width": 1400, "height": 900}, locale="en-GB", timezone_id="UTC")
    page = context.new_page()
    page.set_default_timeout(20_000)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type in _BAD else None)
    yield page
    context.close()
    assert complaints == []


_BAD = ("error", "warning")
