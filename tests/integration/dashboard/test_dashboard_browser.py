"""The page in a browser: every page, every button, roles, phones, a lost connection, two people at once."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from rollout.domain.lifecycle.commands import By
from tests.integration.dashboard.conftest import PHONE
from tests.integration.dashboard.world import AGENT, World
from tests.support.service import wait_until

pytestmark = pytest.mark.browser


def shows(page: Page, service: World, id_: str) -> None:
    page.goto(f"{service.url}/rollouts/{id_}")


def press(page: Page, button: str, reason: str = "because of a test") -> None:
    """A button of the rollout's page, its reason, and the confirmation."""
    page.click(button)
    page.fill("#reason", reason)
    page.click("#confirm")
    expect(page.locator("#live")).to_be_visible()


def test_a_wrong_token_is_told_and_a_right_one_leads_to_where_one_wanted_to_be(service: World, page: Page) -> None:
    id_ = service.start()
    shows(page, service, id_)
    expect(page).to_have_url(f"{service.url}/sign-in?next=%2Frollouts%2F{id_}")
    page.fill("#token", "rlt_" + "x" * 43)
    page.click("main button[type=submit]")
    expect(page.locator("#trouble")).to_contain_text("not valid")
    page.fill("#token", service.tokens["viewer"])
    page.click("main button[type=submit]")
    expect(page).to_have_url(f"{service.url}/rollouts/{id_}")
    page.click("text=Sign out")
    expect(page).to_have_url(re.compile("/sign-in$"))
    page.goto(service.url)
    expect(page).to_have_url(re.compile("/sign-in"))


def test_the_overview_is_live_and_filters(service: World, operator: Page) -> None:
    id_ = service.start(name="overview-live")
    operator.goto(service.url)
    row = operator.locator(f"#r-{id_}")
    expect(row).to_contain_text("progressing")
    expect(row).to_contain_text("10 %")
    expect(row.locator("svg.stairs")).to_have_attribute("aria-label", "step 1 of 3, weight 10 %")
    operator.evaluate("window.sameDocument = true")
    service.app.commands.pause(id_, By("cli:test", "look at it"))
    expect(row).to_contain_text("paused")
    operator.fill("#q", "no such name")
    expect(operator.locator(".empty")).to_contain_text("No live rollout fits")
    operator.fill("#q", "overview-l")
    expect(row).to_be_visible()
    expect(operator.locator("table.rollouts >> nth=0 >> tbody tr")).to_have_count(1)
    assert operator.evaluate("window.sameDocument"), "the page was loaded anew"
    service.app.commands.rollback(id_, By("cli:test", "done"))


def test_a_number_in_the_search_leads_to_its_page(service: World, operator: Page) -> None:
    number = service.number()
    service.start(number)
    operator.goto(service.url)
    operator.fill("#q", number)
    operator.press("#q", "Enter")
    expect(operator).to_have_url(f"{service.url}/numbers/{number}")
    expect(operator.locator("#main")).to_contain_text("agent_frontdesk: 10 % v7, 90 % v6")
    expect(operator.locator("#main")).to_contain_text("No drift")
    entry = {"agent_id": AGENT, "agent_version": 8, "weight": 1}
    service.sandbox.edit(number, inbound_agents=[entry])
    operator.click("#read-now")
    expect(operator.locator("#main")).to_contain_text("Drift on inbound")
    expect(operator.locator("#main")).to_contain_text("100 % agent_frontdesk v8")


def test_the_rollout_moves_without_reloading(service: World, operator: Page) -> None:
    id_ = service.start()
    shows(operator, service, id_)
    expect(operator.locator(".facts")).to_contain_text("step 1 of 3")
    operator.evaluate("window.sameDocument = true")
    listen(operator)
    operator.click("details.plan summary")
    service.app.commands.promote(id_, By("cli:test", "from elsewhere"))
    expect(operator.locator(".facts")).to_contain_text("step 2 of 3")
    expect(operator.locator(".facts")).to_contain_text("50 %")
    expect(operator.locator(".journal")).to_contain_text("from elsewhere")
    is_told(operator)
    assert operator.evaluate("window.sameDocument")
    assert operator.locator("details.plan").get_attribute("open") is not None, "what was open was closed"


def listen(page: Page) -> None:
    """Note it when the stream of events tells of an entry."""
    page.evaluate("document.getElementById('stream').addEventListener('entry', () => { window.told = true })")


def is_told(page: Page) -> None:
    """Wait until it does. Not wait_for_function: that evaluates a string, which the page's policy forbids."""
    wait_until(lambda: page.evaluate("window.told === true"), 20)


def test_the_stream_of_events_opens_when_its_script_comes_late(service: World, operator: Page) -> None:
    def late(route: Route) -> None:
        operator.wait_for_timeout(1000)
        route.continue_()

    operator.route("**/hx-sse*", late)
    id_ = service.start()
    with operator.expect_request(re.compile(rf"/rollouts/{id_}/events")):
        shows(operator, service, id_)


def test_the_stream_of_events_opens_after_its_first_request_failed(service: World, operator: Page) -> None:
    failed = iter([True])

    def first_fails(route: Route) -> None:
        if next(failed, False):
            route.abort()
        else:
            route.continue_()

    operator.route("**/events?*", first_fails)
    id_ = service.start()
    with operator.expect_response(re.compile(rf"/rollouts/{id_}/events")):
        shows(operator, service, id_)
    listen(operator)
    service.app.commands.promote(id_, By("cli:test", "from elsewhere"))
    is_told(operator)
    assert next(failed, None) is None


def test_promote(service: World, operator: Page) -> None:
    number = service.number()
    id_ = service.start(number)
    shows(operator, service, id_)
    operator.click("#do-promote")
    expect(operator.locator(".order")).to_contain_text(f"PATCH /update-phone-number/{number}")
    shown = json.loads(operator.locator(".order pre").inner_text())
    operator.click("#confirm")  # the browser itself asks for the reason
    expect(operator.locator("#reason:invalid")).to_have_count(1)
    operator.fill("#reason", "numbers look fine")
    operator.click("#confirm")
    expect(operator.locator(".banner.good")).to_contain_text("Promoted")
    service.until(lambda: service.served(number) == [(7, 0.5), (6, 0.5)])
    assert shown == {"inbound_agents": service.sandbox.number(number).inbound_agents}
    assert service.position(id_) == "1.2"
    actor, reason = service.reasons(id_, "promote")[0]
    assert actor.startswith("token:")
    assert reason == "numbers look fine"


def test_set_weights(service: World, operator: Page) -> None:
    number = service.number()
    id_ = service.start(number)
    shows(operator, service, id_)
    operator.click("#do-set")
    expect(operator.locator("#confirm")).to_have_count(0)  # nothing is confirmed before its body is shown
    operator.locator("input[type=range]").fill("0.35")
    expect(operator.locator("#w_canary")).to_have_value("0.35")
    operator.fill("#w_canary", "2")
    operator.locator("form.weights").evaluate("form => { form.noValidate = true; form.submit(); }")
    expect(operator.locator("#trouble")).to_contain_text("2 is above 1")
    operator.fill("#w_canary", "0.3333")
    operator.click("text=Show what will be written")
    shown = json.loads(operator.locator(".order pre").inner_text())
    operator.fill("#reason", "slower for a while")
    operator.click("#confirm")
    expect(operator.locator(".banner.good")).to_contain_text("Set.")
    service.until(lambda: service.served(number) == [(7, 0.3333), (6, 0.6667)])
    assert shown == {"inbound_agents": service.sandbox.number(number).inbound_agents}
    assert service.position(id_) == "1.1"
    assert service.reasons(id_, "set")[0][1] == "slower for a while"


def test_ship_a_version(service: World, operator: Page) -> None:
    number = service.number()
    id_ = service.start(number)
    shows(operator, service, id_)
    operator.click("#do-ship")
    expect(operator.locator("#confirm")).to_have_count(0)  # nothing is confirmed before its body is shown
    operator.click("text=Show what will be written")
    expect(operator.locator("#missing")).to_contain_text("No gate has judged canary yet")
    shown = json.loads(operator.locator(".order pre").inner_text())
    operator.fill("#reason", "it is the best")
    operator.click("#confirm")
    expect(operator.locator(".banner.good")).to_contain_text("Shipped.")
    service.until(lambda: service.served(number) == [(7, 1)])
    assert shown == {"inbound_agents": service.sandbox.number(number).inbound_agents}
    assert service.reasons(id_, "shipped")[0][1] == "it is the best"


def test_promote_all_the_way(service: World, operator: Page) -> None:
    number = service.number()
    id_ = service.start(number)
    shows(operator, service, id_)
    press(operator, "#do-promote-full")
    service.until(lambda: service.served(number) == [(7, 1)])
    assert service.position(id_) == "1.3"
    operator.wait_for_selector("text=End the bake")
    press(operator, "#do-promote")
    expect(operator.locator(".standing .badge")).to_contain_text("promoted")


def test_pause_and_resume(service: World, operator: Page) -> None:
    id_ = service.start()
    shows(operator, service, id_)
    press(operator, "#do-pause", "wait for the morning")
    expect(operator.locator(".standing .badge")).to_contain_text("paused")
    expect(operator.locator("section.now")).to_contain_text("wait for the morning")
    expect(operator.locator("#do-promote")).to_have_count(0)
    press(operator, "#do-resume")
    expect(operator.locator(".standing .badge")).to_contain_text("progressing")


def test_stop_leaves_the_split(service: World, operator: Page) -> None:
    number = service.number()
    id_ = service.start(number)
    shows(operator, service, id_)
    operator.click("#do-stop")
    expect(operator.locator("#main")).to_contain_text("Nothing is written.")
    operator.fill("#reason", "enough")
    operator.click("#confirm")
    expect(operator.locator(".standing .badge")).to_contain_text("stopped")
    assert service.served(number) == [(7, 0.1), (6, 0.9)]
    expect(operator.locator("#rollback")).to_be_visible()


@pytest.mark.parametrize(("button", "version"), [("#do-adopt", 8), ("#do-restore", 7)])
def test_answers_to_drift(service: World, operator: Page, button: str, version: int) -> None:
    number = service.number()
    id_ = service.start(number)
    service.sandbox.edit(number, inbound_agents=[{"agent_id": AGENT, "agent_version": 8, "weight": 1}])
    shows(operator, service, id_)
    expect(operator.locator(".standing .badge")).to_contain_text("held: drift")
    expect(operator.locator(".targets")).to_contain_text("differs")
    press(operator, button)
    expect(operator.locator(".standing .badge")).to_contain_text("progressing")
    service.until(lambda: version in [v for v, _ in service.served(number)])


def test_rollback_on_a_phone(service: World, browser: Browser) -> None:
    context = browser.new_context(**PHONE)
    try:
        page = context.new_page()
        service.sign_in(page, "responder")
        number = service.number()
        id_ = service.start(number)
        shows(page, service, id_)
        button = page.locator("#rollback")
        expect(button).to_be_in_viewport()
        sizes = {b: page.locator(b).bounding_box() for b in ("#rollback", "#do-pause")}
        assert all(size is not None for size in sizes.values())
        areas = {b: size["width"] * size["height"] for b, size in sizes.items() if size}
        assert areas["#rollback"] > areas["#do-pause"], "rollback must be the largest"
        assert sizes["#rollback"] is not None
        assert sizes["#rollback"]["height"] >= 44
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        button.tap()
        expect(page.locator("#confirm")).to_be_in_viewport()
        page.locator("#confirm").tap()  # no reason is needed at night
        expect(page.locator("section.now")).to_contain_text("read back at its baseline")
        assert service.served(number) == [(6, 1)]
        assert service.phase(id_) in ("rolling_back", "rolled_back")
    finally:
        context.close()


@pytest.mark.parametrize("state", ["paused", "held", "promoted", "stopped", "rolled_back"])
def test_rollback_is_never_disabled(service: World, operator: Page, state: str) -> None:
    number = service.number()
    id_ = service.start(number)
    by, commands = By("cli:test", "a test"), service.app.commands
    if state == "paused":
        commands.pause(id_, by)
    elif state == "held":
        service.sandbox.edit(number, inbound_agents=[{"agent_id": AGENT, "agent_version": 8, "weight": 1}])
    elif state == "promoted":
        commands.promote(id_, by, full=True)
        service.until(lambda: service.app.store.load(id_)[0].confirmed_at)
        commands.promote(id_, by)
    elif state == "stopped":
        commands.stop(id_, by)
    else:
        commands.rollback(id_, by)
    service.until(lambda: service.phase(id_) == state)
    shows(operator, service, id_)
    expect(operator.locator("#rollback")).to_be_enabled()
    press(operator, "#rollback", f"from {state}")
    service.until(lambda: service.phase(id_) == "rolled_back")
    assert service.served(number) == [(6, 1)]


def test_two_browsers_press_promote_at_the_same_step(service: World, browser: Browser) -> None:
    id_ = service.start()
    first, second = browser.new_context(), browser.new_context()
    try:
        one, two = first.new_page(), second.new_page()
        for page in (one, two):
            service.sign_in(page, "operator")
            page.goto(f"{service.url}/rollouts/{id_}/promote")
            page.fill("#reason", "both of us")
        one.click("#confirm")
        expect(one.locator(".banner.good")).to_contain_text("Promoted")
        service.until(lambda: service.app.store.load(id_)[0].confirmed_at)
        with two.expect_response(lambda r: r.request.method == "POST") as answer:
            two.click("#confirm")
        assert answer.value.status == 409
        expect(two.locator("#trouble")).to_contain_text("Nothing was changed")
        expect(two.locator("#trouble")).to_contain_text("The rest of this page is for position 1.2.")
        expect(two.locator("h1")).to_contain_text("to 1.3")  # pressing again is a new decision
        assert two.input_value("#reason") == "both of us"
        assert service.position(id_) == "1.2"
        assert len(service.reasons(id_, "promote")) == 1
    finally:
        first.close()
        second.close()


@pytest.mark.real_time
def test_a_lost_connection_and_its_return(service: World, operator: Page) -> None:
    id_ = service.start()
    shows(operator, service, id_)
    expect(operator.locator("#offline")).to_be_hidden()
    service.go()
    try:
        expect(operator.locator("#offline")).to_be_visible(timeout=9000)
        expect(operator.locator("#offline")).to_contain_text("does not answer since")
        expect(operator.locator("#offline")).to_contain_text(f"rollout rollback {id_}")
        service.app.commands.pause(id_, By("cli:test", "while it was away"))
    finally:
        service.come()
    operator.click("#offline-again")
    expect(operator.locator("#offline")).to_be_hidden()
    expect(operator.locator(".standing .badge")).to_contain_text("paused")
    service.app.commands.resume(id_, By("cli:test", "it is back"))
    expect(operator.locator(".standing .badge")).to_contain_text("progressing")


def test_a_new_rollout_from_paste_to_start(service: World, operator: Page) -> None:
    number = service.number()
    operator.goto(f"{service.url}/new")
    operator.fill("#plan", json.dumps(service.plan(number, canary={"agent_id": AGENT, "agent_version": 99})))
    operator.click("#check")
    expect(operator.locator("#report")).to_contain_text("version 99 does not exist")
    expect(operator.locator("#start")).to_have_count(0)
    operator.fill("#plan", 'version: 1\nname: x\nnumbers: ["+14159990000"]\nchannel: [inbound]\n')
    operator.click("#check")
    expect(operator.locator("#trouble")).to_contain_text("line 4")
    operator.fill("#plan", json.dumps(service.plan(number, name="from-the-page", gates={"profile": "low-traffic"})))
    operator.click("#check")
    expect(operator.locator("#report")).to_contain_text("fits")
    expect(operator.locator("#report")).to_contain_text("an equal canary is promoted in")
    operator.locator("details.step summary").first.click()
    expect(operator.locator("details.step").first).to_contain_text('"weight": 0.1')
    operator.fill("#reason", "it is time")
    operator.click("#start")
    expect(operator.locator("h1")).to_contain_text("from-the-page")
    service.until(lambda: service.served(number) == [(7, 0.1), (6, 0.9)])
    id_ = operator.url.split("/rollouts/")[1].partition("?")[0]
    assert service.reasons(id_, "created")[0][1] == "it is time"


def test_a_plan_as_a_file(service: World, operator: Page) -> None:
    operator.goto(f"{service.url}/new")
    content = json.dumps(service.plan(name="from-a-file")).encode()
    operator.set_input_files("#file", {"name": "plan.json", "mimeType": "application/json", "buffer": content})
    operator.click("#check")
    expect(operator.locator("#report h2")).to_contain_text("from-a-file")
    assert "from-a-file" in operator.input_value("#plan")


@pytest.mark.parametrize(
    ("role", "there", "absent"),
    [
        ("viewer", ["#rollback-hint"], ["#rollback", "#do-promote", "#do-pause", "#do-stop"]),
        ("responder", ["#rollback", "#do-pause"], ["#do-promote", "#do-stop", "#rollback-hint"]),
        ("operator", ["#rollback", "#do-pause", "#do-promote", "#do-stop"], ["#rollback-hint"]),
    ],
)
def test_who_sees_which_buttons(service: World, page: Page, role: str, there: list[str], absent: list[str]) -> None:
    id_ = service.start()
    service.sign_in(page, role)
    shows(page, service, id_)
    for button in there:
        expect(page.locator(button)).to_be_visible()
    for button in absent:
        expect(page.locator(button)).to_have_count(0)


def test_the_keyboard_is_enough(service: World, operator: Page) -> None:
    id_ = service.start()
    shows(operator, service, id_)
    operator.keyboard.press("Tab")
    expect(operator.locator(".skip")).to_be_focused()
    expect(operator.locator(".skip")).to_be_in_viewport()
    operator.keyboard.press("Enter")
    for _ in range(4):
        operator.keyboard.press("Tab")
        if operator.evaluate("document.activeElement.id") == "rollback":
            break
    expect(operator.locator("#rollback")).to_be_focused()
    assert operator.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    operator.keyboard.press("Enter")
    expect(operator.locator("#reason")).to_be_focused()


def test_without_javascript_it_reads_and_rolls_back(service: World, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        service.sign_in(page, "responder")
        number = service.number()
        id_ = service.start(number)
        shows(page, service, id_)
        expect(page.locator(".standing .badge")).to_contain_text("progressing")
        press(page, "#rollback")
        expect(page.locator("section.now")).to_contain_text("read back at its baseline")
        assert service.served(number) == [(6, 1)]
    finally:
        context.close()


def test_a_link_from_another_site_keeps_the_session(service: World, operator: Page) -> None:
    id_ = service.start()
    # 127.0.0.1 and localhost are different sites to a browser.
    elsewhere = service.url.replace("127.0.0.1", "localhost")
    operator.goto(f"{elsewhere}/sign-in")
    operator.evaluate("url => { location.href = url }", f"{service.url}/rollouts/{id_}")
    expect(operator.locator(".standing .badge")).to_contain_text("progressing")


def test_nothing_is_blocked_or_logged_by_the_browser(service: World, page: Page) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    service.sign_in(page, "operator")
    number = service.number()
    id_ = service.start(number)
    for path in ("/", f"/rollouts/{id_}", f"/rollouts/{id_}/rollback", f"/numbers/{number}", "/new"):
        page.goto(service.url + path)
        expect(page.locator("h1").first).to_be_visible()
    page.goto(f"{service.url}/rollouts/{id_}")
    service.app.commands.pause(id_, By("cli:test", "so that something is swapped"))
    expect(page.locator(".standing .badge")).to_contain_text("paused")
    assert said == []


def test_the_theme_is_chosen_and_the_next_page_comes_in_it(service: World, page: Page) -> None:
    service.sign_in(page, "viewer")
    page.emulate_media(color_scheme="light")
    page.goto(f"{service.url}/")
    shade = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(shade)
    button = page.locator("#theme")
    expect(button).to_have_text("Theme: system")
    button.click()
    expect(button).to_have_text("Theme: light")
    button.click()
    expect(button).to_have_text("Theme: dark")
    dark = page.evaluate(shade)
    assert dark != light
    page.goto(f"{service.url}/new")
    assert page.evaluate(shade) == dark
    assert 'data-theme="dark"' in page.request.get(f"{service.url}/new").text(), "sent so, and not changed afterwards"
    page.locator("#theme").click()
    page.goto(f"{service.url}/")
    assert page.evaluate(shade) == light


def test_times_are_local_and_tell_utc_when_pointed_at(service: World, browser: Browser) -> None:
    context = browser.new_context(timezone_id="Asia/Tokyo")
    try:
        page = context.new_page()
        service.sign_in(page, "viewer")
        shows(page, service, service.start())
        expect(page.locator("footer .zone")).to_have_text("Asia/Tokyo")
        time = page.locator("time[data-at]").first
        moment = datetime.fromisoformat(str(time.get_attribute("datetime")))
        expect(time).to_contain_text(moment.astimezone(ZoneInfo("Asia/Tokyo")).strftime("%H:%M:%S"))
        expect(time).to_have_attribute("title", re.compile(moment.astimezone(UTC).strftime("%H:%M:%S UTC")))
    finally:
        context.close()
