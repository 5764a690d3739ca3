"""Every page is usable with a screen reader and by keyboard, on a desk and on a phone, in light and dark."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.integration.dashboard.accessibility import findings
from tests.integration.dashboard.conftest import PHONE
from tests.integration.dashboard.world import World

pytestmark = pytest.mark.browser
DESK = {"viewport": {"width": 1280, "height": 800}}
COMMANDS = ("rollback", "promote", "pause", "stop", "adopt", "set", "ship?variant=canary")
LOOKS = [(DESK, "light"), (DESK, "dark"), (PHONE, "light")]


@pytest.fixture(scope="module")
def started(service: World) -> tuple[str, str]:
    """A rollout's id and its number."""
    number = service.number()
    return service.start(number, gates={"profile": "low-traffic"}), number


def context_of(browser: Browser, look: tuple[dict[str, object], str]) -> BrowserContext:
    return browser.new_context(**{**look[0], "color_scheme": look[1]})


def fits(page: Page) -> None:
    """Nothing is wider than the screen."""
    assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("innerWidth")


@pytest.mark.parametrize("look", LOOKS, ids=["desk-light", "desk-dark", "phone"])
def test_no_page_has_a_serious_finding(
    service: World, browser: Browser, started: tuple[str, str], look: tuple[dict[str, object], str]
) -> None:
    id_, number = started
    paths = [
        "/",
        "/new",
        f"/rollouts/{id_}",
        f"/rollouts/{id_}/report",
        f"/numbers/{number}",
        "/rollouts/nothing",
        f"/numbers/{number}x",
    ]
    paths += [f"/rollouts/{id_}/{command}" for command in COMMANDS]
    context = context_of(browser, look)
    try:
        page = context.new_page()
        page.goto(f"{service.url}/sign-in")
        assert findings(page) == []
        service.sign_in(page, "admin")
        for path in paths:
            page.goto(service.url + path)
            assert findings(page) == [], path
            fits(page)
        page.goto(f"{service.url}/new")
        page.fill("#plan", json.dumps(service.plan(number)))
        page.click("#check")
        expect(page.locator("#report")).to_be_visible()
        assert findings(page) == []
        fits(page)
    finally:
        context.close()


def test_a_finding_is_seen(service: World, page: Page) -> None:
    service.sign_in(page, "viewer")
    page.goto(service.url)
    page.evaluate("document.querySelector('html').removeAttribute('lang')")
    assert any(found.startswith("html-has-lang") for found in findings(page))
