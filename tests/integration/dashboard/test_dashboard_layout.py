"""Pages that list things fit the screen and have no serious finding of axe-core, in both widths and schemes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from rollout.adapters.planfile.calendar_file import calendars_at
from rollout.interfaces.auth.roles import create_token
from tests.integration.dashboard.accessibility import findings
from tests.integration.dashboard.conftest import PHONE
from tests.integration.dashboard.test_dashboard_states import keep
from tests.integration.dashboard.world import World, world
from tests.support.values import plan

PAGES = (
    "/",
    "/?group=agent&sort=name",
    "/bulk/pause",
    "/bulk/rollback?q=x",
    "/bulk/resume",
    "/numbers",
    "/new",
    "/calendars",
    "/journal",
    "/tokens",
    "/system",
)
CALENDARS = Path(__file__).parents[3] / "config" / "calendars.example.toml"
WIDE = {"viewport": {"width": 1280, "height": 800}}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Sixty rollouts with long names, a limited token, a replica in trouble."""
    with world(tmp_path_factory.mktemp("full"), ticking=False) as found:
        found.app.__dict__["calendars"] = calendars_at(CALENDARS)
        phases = ("held", "progressing", "paused", "pending", "promoted", "stopped")
        for i in range(60):
            number = f"+141577400{i:02}"
            of = plan([number], name=f"{'a-long-name-without-end-' * 3}{i}"[:80], calendar="office")
            keep(found, i, [number], of, phase=phases[i % 6], **({"reason": "drift"} if i % 6 == 0 else {}))
        create_token(found.app.store, "viewer", "n" * 80, None, [f"+1415774{i:04}" for i in range(40)], "cli:test")
        found.app.store.heartbeats.beat("h" * 70, started=True, trouble="the API key is refused " * 5)
        yield found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.browser
def test_nothing_is_wider_than_the_screen_and_everybody_can_use_it(
    full: World, browser: Browser, screen: dict[str, Any], scheme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(**screen, color_scheme=scheme)
    page = context.new_page()
    full.sign_in(page, "admin")
    for path in PAGES:
        page.goto(full.url + path)
        too_wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert too_wide <= 0, path
        assert findings(page) == [], path
    context.close()


@pytest.mark.browser
def test_what_a_form_answers_has_no_serious_finding(full: World, page: Page) -> None:
    full.sign_in(page, "admin")
    page.goto(f"{full.url}/bulk/pause")
    page.fill("#reason", "a test")
    page.click("#confirm")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Pause: 20 ordered")
    assert findings(page) == []
    page.goto(f"{full.url}/tokens")
    page.click("text=Create a token")
    page.fill("#name", "somebody")
    page.click("text=Create token")
    expect(page.locator("#secret")).to_be_visible()
    page.locator(".revoke summary").first.click()
    assert findings(page) == []
