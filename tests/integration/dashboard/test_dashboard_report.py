"""The report in a browser: on the page and as a file, on a desk, a phone and paper, without a request to elsewhere."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from rollout.domain.lifecycle.commands import By
from tests.integration.dashboard.conftest import PHONE
from tests.integration.dashboard.world import World

pytestmark = pytest.mark.browser


def test_the_page_leads_to_the_report_which_says_what_was_done(service: World, operator: Page) -> None:
    id_ = service.start(name="report-on-the-page")
    service.app.commands.stop(id_, By("token:ab12:Maria", "the campaign is over"))
    service.until(lambda: service.phase(id_) == "stopped")
    operator.goto(f"{service.url}/rollouts/{id_}")
    operator.get_by_role("link", name="Report", exact=True).click()
    expect(operator).to_have_url(f"{service.url}/rollouts/{id_}/report")
    expect(operator.locator(".report h1")).to_have_text("report-on-the-page")
    expect(operator.locator(".report-lead")).to_contain_text("Stopped by Maria: the campaign is over.")
    expect(operator.locator(".report-events")).to_contain_text("10 % canary on 1 number, read back")


def test_the_report_is_one_file_that_asks_for_nothing_and_fits_a_phone(
    service: World, operator: Page, browser: Browser
) -> None:
    id_ = service.start(name="report-as-a-file-with-a-name-that-is-as-long-as-names-may-be-for-a-phone")
    operator.goto(f"{service.url}/rollouts/{id_}/report")
    with operator.expect_download() as begun:
        operator.click("text=Download as one file")
    assert begun.value.suggested_filename == f"report-{id_}.html"
    kept = begun.value.path().read_text(encoding="utf-8")
    for size in ({"viewport": {"width": 1280, "height": 900}}, PHONE):
        context = browser.new_context(**size)
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))  # noqa: B023 - closed with its page
        page.set_content(kept, wait_until="load")
        expect(page.locator(".report-lead")).to_contain_text("Recommendation")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert asked == []
        context.close()
    service.app.commands.rollback(id_, By("cli:test", "done"))


def test_on_paper_the_report_stands_alone(service: World, operator: Page) -> None:
    id_ = service.start()
    operator.goto(f"{service.url}/rollouts/{id_}/report")
    operator.emulate_media(media="print")
    for chrome in ("header.top", "body > footer", ".back"):
        expect(operator.locator(chrome)).to_be_hidden()
    expect(operator.locator(".report footer")).to_be_visible()
    service.app.commands.rollback(id_, By("cli:test", "done"))


def test_what_is_printed_is_dark_on_white_whatever_the_theme(service: World, operator: Page) -> None:
    operator.goto(service.url)
    operator.evaluate("document.documentElement.dataset.theme = 'dark'")
    expect(operator.locator("h1")).to_have_css("color", "rgb(229, 232, 236)")
    operator.emulate_media(media="print")
    expect(operator.locator("h1")).to_have_css("color", "rgb(23, 26, 31)")


def test_who_may_not_read_a_rollout_gets_no_report(service: World) -> None:
    id_ = service.start()
    assert service.ask("GET", f"/rollouts/{id_}/report").status == 303, "to the sign-in"
    assert service.ask("GET", "/rollouts/none-such/report", cookie=service.session("viewer")).status == 404
    answer = service.ask("GET", f"/rollouts/{id_}/report.html", cookie=service.session("viewer"))
    assert answer.headers["content-disposition"] == f'attachment; filename="report-{id_}.html"'
    service.app.commands.rollback(id_, By("cli:test", "done"))
