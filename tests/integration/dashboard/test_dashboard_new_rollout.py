"""A new rollout on the page, in a browser: the form and its YAML, where it begins, check, tests and start."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from rollout.adapters.planfile import load_plan, plan_document
from rollout.adapters.planfile.examples import example_plans
from rollout.domain.lifecycle.commands import By
from tests.integration.dashboard.conftest import PHONE
from tests.integration.dashboard.world import AGENT, World

pytestmark = pytest.mark.browser


def opened(page: Page, service: World, query: str = "") -> None:
    page.goto(f"{service.url}/new{query}")
    expect(page.locator("#fields")).to_be_enabled()


def test_the_yaml_follows_the_form_and_the_form_follows_the_yaml(service: World, operator: Page) -> None:
    opened(operator, service, "?example=canary-basic")
    operator.fill("#f-name", "from-the-form")
    named = example_plans()["canary-basic"].replace("frontdesk-v7", "from-the-form")
    expect(operator.locator("#plan")).to_have_value(named)
    operator.click("[data-button='ladder.careful']")
    expect(operator.locator(".rungs tbody tr")).to_have_count(4)
    expect(operator.locator(".ladder rect")).to_have_count(4)
    assert [step.weight for step in load_plan(operator.input_value("#plan")).steps] == [0.05, 0.2, 0.5, 1]
    operator.fill("#plan", example_plans()["ab-test"])
    expect(operator.locator("#f-name")).to_have_value("greeting-test")
    expect(operator.locator(".arm")).to_have_count(2)
    expect(operator.locator("[name='step.1.weight.1']")).to_have_value("30")
    operator.check("[name='channel.outbound']")
    expect(operator.locator("#plan")).to_have_value(
        example_plans()["ab-test"].replace("channels: [inbound]", "channels: [inbound, outbound]")
    )


def test_a_complaint_marks_its_line_and_its_field(service: World, operator: Page) -> None:
    opened(operator, service, "?example=canary-basic")
    operator.fill("[name='step.1.hold']", "soon")
    expect(operator.locator("[name='step.1.hold']")).to_have_attribute("aria-invalid", "true")
    expect(operator.locator("#lines .bad")).to_have_text("  - {weight: 0.5, hold: soon}\n")
    operator.click("#complaints a")
    expect(operator.locator("#plan")).to_be_focused()
    operator.fill("[name='step.1.hold']", "2h")
    expect(operator.locator("#lines .bad")).to_have_count(0)
    expect(operator.locator("[aria-invalid]")).to_have_count(0)
    operator.fill("#plan", "version: 1\nname: [")
    expect(operator.locator("#complaints")).to_contain_text("broken YAML")
    expect(operator.locator("[name='step.1.hold']")).to_have_value("2h")


def test_start_from_a_number(service: World, operator: Page) -> None:
    number = service.number()
    service.sandbox.edit(number, nickname="Night desk")
    operator.goto(f"{service.url}/numbers?fresh=1&q=Night")
    operator.check(f"input[value='{number}']")
    operator.click("#new-with-selected")
    expect(operator.locator("#plan")).to_be_visible()
    document = plan_document(operator.input_value("#plan"))
    assert document["name"] == "night-desk-v8"
    assert document["numbers"] == [number]
    assert document["canary"] == {"agent_id": AGENT, "agent_version": 8}
    expect(operator.locator("#complaints li")).to_have_count(0)


def test_numbers_are_found_and_added_by_pattern_or_one_by_one(service: World, operator: Page) -> None:
    one, two = service.number(), service.number()
    for number, nickname in ((one, "Choice one"), (two, "Choice two")):
        service.sandbox.edit(number, nickname=nickname)
    operator.goto(f"{service.url}/numbers?fresh=1")
    opened(operator, service)
    operator.click("#choose summary")
    operator.fill("#find", "Choice *")
    operator.click(f"[data-add='{one}']")
    expect(operator.locator("#f-numbers")).to_have_value(one)
    operator.click("text=Add all that match")
    expect(operator.locator("#f-numbers")).to_have_value(f"{one}\nnickname: Choice *")
    operator.fill("[data-agent='0']", AGENT)
    operator.press("[data-agent='0']", "Tab")
    operator.select_option("[data-versions='0']", "7")
    expect(operator.locator("[name='arm.0.version']")).to_have_value("7")
    expect(operator.locator("#plan")).to_have_value(
        "version: 1\n"
        f'numbers:\n  - "{one}"\n  - {{nickname: "Choice *"}}\n'
        "channels: [inbound]\n"
        f"canary: {{agent_id: {AGENT}, agent_version: 7}}\n"
        "steps:\n  - {weight: 0.1, hold: 30m, min_calls: 50}\n  - {weight: 0.5, hold: 2h}\n  - {weight: 1.0, hold: 1d}\n"
    )


def test_from_the_form_to_the_start_and_once_more(service: World, operator: Page) -> None:
    number = service.number()
    operator.goto(f"{service.url}/numbers?fresh=1")
    opened(operator, service, f"?number=%2B{number[1:]}")
    operator.fill("#f-name", "by-the-form")
    operator.select_option("#f-gates\\.profile", "none")
    operator.fill("[name='step.0.min_calls']", "")
    expect(operator.locator("#plan")).to_have_value(
        re.compile(r"name: by-the-form\n.*hold: 30m}.*profile: none", re.DOTALL)
    )
    operator.click("#check")
    expect(operator.locator("#report")).to_contain_text("fits")
    expect(operator.locator("#difference")).to_be_visible()
    expect(operator.locator("#rehearsal")).not_to_contain_text("Rehearsing")
    operator.fill("#reason", "tried by form")
    operator.click("#start")
    expect(operator.locator("h1")).to_contain_text("by-the-form")
    service.until(lambda: service.served(number) == [(8, 0.1), (6, 0.9)])
    id_ = operator.url.split("/rollouts/")[1].partition("?")[0]
    service.app.commands.rollback(id_, By("cli:test", "end"))
    service.until(lambda: service.phase(id_) == "rolled_back")
    operator.click("#again")
    expect(operator.locator("#f-name")).to_have_value("by-the-form")
    assert load_plan(operator.input_value("#plan")) == service.app.store.load(id_)[0].plan


def test_a_check_is_out_of_date_once_the_plan_changes(service: World, operator: Page) -> None:
    opened(operator, service, f"?number=%2B{service.number()[1:]}")
    operator.click("#check")
    expect(operator.locator("#h-check")).to_be_focused()
    operator.fill("#f-name", "something-else")
    expect(operator.locator("#report")).to_contain_text("has changed since it was checked")
    expect(operator.locator("#start")).to_have_count(0)


def test_a_check_after_the_session_has_ended_says_so(service: World, operator: Page) -> None:
    """The report stayed blank: the answer to a script without a session has no text."""
    opened(operator, service, f"?number=%2B{service.number()[1:]}")
    operator.context.clear_cookies()
    operator.click("#check")
    expect(operator.locator("#report")).to_contain_text("Your session has ended")


def test_a_viewer_writes_a_plan_and_cannot_check_it(service: World, page: Page) -> None:
    service.sign_in(page, "viewer")
    opened(page, service, "?example=business-hours")
    page.fill("#f-name", "mine")
    expect(page.locator("#plan")).to_have_value(example_plans()["business-hours"].replace("sales-desk-v4", "mine"))
    expect(page.locator("#check")).to_be_disabled()


def test_without_javascript_there_is_the_yaml(service: World, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        service.sign_in(page, "operator")
        page.goto(f"{service.url}/new?example=canary-basic")
        expect(page.locator("#fields")).to_be_hidden()
        page.click("#check")
        expect(page.locator("#report")).to_contain_text("Retell does not know this number")
        expect(page.locator("#plan")).to_have_value(example_plans()["canary-basic"])
    finally:
        context.close()


def test_the_form_fits_a_phone(service: World, browser: Browser) -> None:
    context = browser.new_context(**PHONE)
    try:
        page = context.new_page()
        service.sign_in(page, "operator")
        for example in ("ab-test", "business-hours", "outbound-and-sms"):
            opened(page, service, f"?example={example}")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, example
    finally:
        context.close()


def test_the_form_is_used_by_keyboard_alone(service: World, operator: Page) -> None:
    opened(operator, service)
    operator.focus("#f-name")
    operator.keyboard.type("typed")
    operator.keyboard.press("Tab")
    operator.keyboard.type("nickname: Front*")
    operator.focus("[data-button='step.add']")
    operator.keyboard.press("Enter")
    expect(operator.locator(".rungs tbody tr")).to_have_count(4)
    expect(operator.locator("[data-button='step.add']")).to_be_focused()
    expect(operator.locator("#plan")).to_have_value(
        'version: 1\nname: typed\nnumbers:\n  - {nickname: "Front*"}\nchannels: [inbound]\n'
        "steps:\n  - {weight: 0.1, hold: 30m, min_calls: 50}\n  - {weight: 0.5, hold: 2h}\n"
        "  - {weight: 1.0, hold: 1d}\n  - {weight: 1.0, hold: 1d}\n"
    )


@pytest.mark.parametrize(("version", "outcome"), [(7, "✓"), (8, "✗")])
def test_the_tests_are_run_from_the_page_and_told_on_the_way(
    service: World, operator: Page, version: int, outcome: str
) -> None:
    agent = f"agent_tested_{version}"
    service.sandbox.add_agent(agent, [{"version": v, "test_s": 0} for v in (6, 7, 8)])
    service.sandbox.add_test_case(f"case_{version}", agent_id=agent, name="Books a table", pass_rates={7: 1, 8: 0})
    number = f"+1415998{version:04}"
    service.sandbox.add_number(number, inbound_agents=[{"agent_id": agent, "agent_version": 6, "weight": 1}])
    opened(operator, service, f"?number=%2B{number[1:]}")
    operator.fill("[name='arm.0.version']", str(version))
    operator.check("[name=tests]")
    text = re.compile(rf"agent_version: {version}}}.*tests: {{}}", re.DOTALL)
    expect(operator.locator("#plan")).to_have_value(text)
    operator.fill("#plan", operator.input_value("#plan").replace("tests: {}", "tests: {runs: 2, max_failed: 0}"))
    operator.click("#check")
    operator.click("#run-tests")
    expect(operator.locator("#run-tests + [role=status]")).to_contain_text(outcome)
    expect(operator.locator("#run-tests")).to_be_enabled()
