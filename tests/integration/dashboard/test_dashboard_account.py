"""The account's numbers on the page: found, sorted, drifted, and taken into a new rollout."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from rollout.adapters.store.interface_queries import LeftLists
from rollout.domain.lifecycle.commands import By
from rollout.domain.writes.answers import Failure, Reading, Trouble
from rollout.engine.ports import NumberOwner
from rollout.interfaces.auth.roles import Caller, Role
from rollout.interfaces.dashboard.account_page import AccountSnapshot, account_number, account_numbers, in_order
from tests.integration.dashboard.conftest import PHONE
from tests.integration.dashboard.world import AGENT, World
from tests.support.clock import FakeClock

SPLIT = [{"agent_id": AGENT, "agent_version": 6, "weight": 1}]
OTHER = [{"agent_id": AGENT, "agent_version": 8, "weight": 1}]


def reading(number: str, nickname: str | None = None, entries: Any = SPLIT, modified: int = 1) -> Reading:
    return Reading(number, {"inbound_agents": entries}, modified, "", nickname)


def owner(name: str, phase: str = "progressing") -> NumberOwner:
    return NumberOwner("id-" + name, name, phase)


def left(entries: Any) -> LeftLists:
    return LeftLists("id-a", {"inbound_agents": entries})


class Listing:
    """PhoneNumbers as far as the snapshot asks; counts the walks."""

    def __init__(self, *found: Reading | Failure) -> None:
        self.found: list[Reading | Failure] = list(found)
        self.walks = 0

    def all(self) -> Iterator[Reading | Failure]:
        self.walks += 1
        return iter(self.found)


def test_drift_is_what_differs_from_what_the_newest_rollout_left() -> None:
    assert account_number(reading("+1"), None, left(OTHER)).drift == ("inbound_agents",)
    assert account_number(reading("+1"), None, left(SPLIT)).drift == ()
    assert account_number(reading("+1"), None, None).drift == ()


@pytest.mark.parametrize(
    "text", ["front", "+1415", "frontdesk v6", "100 % agent", "evening", "Front*", "?ront desk", ""]
)
def test_a_search_finds_by_number_nickname_split_and_driver(text: str) -> None:
    assert account_number(reading("+14150001", "Front desk"), owner("evening-v7"), None).matches(text)


@pytest.mark.parametrize("text", ["front*", "*desks", "back", "v7*"])
def test_a_search_leaves_out_what_does_not_fit(text: str) -> None:
    assert not account_number(reading("+14150001", "Front desk"), owner("evening-v7"), None).matches(text)


def test_every_column_sorts_both_ways_and_blanks_come_last() -> None:
    a = account_number(reading("+1", "Zebra", modified=3), owner("b"), left(OTHER))
    b = account_number(reading("+2", "ant", OTHER, modified=1), owner("a"), left(OTHER))
    c = account_number(reading("+3", None, None, modified=2), None, None)
    orders = "number 123, -number 321, nickname 213, -nickname 123, serves 123, -serves 213, driver 213, -driver 123"
    for expected in (orders + ", changed 231, -changed 132, drift 123, unknown 123").split(", "):
        sort, order = expected.split()
        assert "".join(row.number[1:] for row in in_order([c, b, a], sort)) == order, sort


def test_retell_is_asked_once_for_many_views_and_its_silence_keeps_the_last_list() -> None:
    clock, listing = FakeClock(), Listing(reading("+1"))
    snapshot = AccountSnapshot(lambda: listing, clock)
    assert [len(snapshot.read()[0]) for _ in range(3)] == [1, 1, 1]
    assert listing.walks == 1
    snapshot.read(fresh=True)
    clock.advance(60)
    listing.found = [Failure(Trouble.UNREACHABLE, "no answer")]
    found, at, trouble = snapshot.read()
    assert (len(found), trouble, listing.walks) == (1, "no answer", 3)
    assert at is not None


def test_a_limited_token_sees_its_numbers_alone(service: World) -> None:
    mine, other = service.number(), service.number()
    service.start(mine, other)
    caller = Caller("x", "x", Role.VIEWER, frozenset({mine}))
    readings = [r for r in service.app.numbers.all() if isinstance(r, Reading)]
    rows = account_numbers(service_of(service), caller, readings)
    assert [row.number for row in rows] == [mine]
    assert rows[0].driver is None, "the rollout has numbers that are not theirs"


def service_of(service: World) -> Any:
    from rollout.interfaces.api.service import ApiService

    return ApiService(service.app)


# ------------------------------------------------------------------ in a browser


@pytest.mark.browser
def test_numbers_are_searched_sorted_and_their_drift_is_shown(service: World, operator: Page) -> None:
    one, two = service.number(), service.number()
    for number, nickname in ((one, "Account B"), (two, "Account A")):
        service.sandbox.edit(number, nickname=nickname)
    id_ = service.start(one, name="account-view")
    operator.goto(f"{service.url}/numbers?fresh=1")
    operator.click("nav >> text=Numbers")
    operator.fill("#q", "Account ?")
    rows = operator.locator(".account tbody tr")
    expect(rows).to_have_count(2)
    operator.click("th >> text=Nickname")
    expect(rows.first).to_contain_text(two)
    operator.click("th >> text=Nickname")
    expect(rows.first).to_contain_text(one)
    expect(operator.locator("th[aria-sort=descending]")).to_contain_text("Nickname")
    row = operator.locator(f"#n-{one[1:]}")
    expect(row).to_contain_text("account-view")
    expect(row).to_contain_text("10 % v7, 90 % v6")
    service.app.commands.stop(id_, By("cli:test", "so that nobody repairs it"))
    service.until(lambda: service.phase(id_) == "stopped")
    service.sandbox.edit(one, inbound_agents=OTHER)
    operator.click("#read-again")
    expect(row.locator(".badge.alarm")).to_contain_text("inbound")
    expect(row).to_contain_text("no rollout")
    operator.fill("#q", "nothing like it")
    expect(operator.locator(".empty")).to_contain_text("No number fits")


@pytest.mark.browser
def test_a_number_that_no_rollout_has_had_is_shown_all_the_same(service: World, operator: Page) -> None:
    number = service.number()
    operator.goto(f"{service.url}/numbers?fresh=1&q={number[1:]}")
    operator.click(f"#n-{number[1:]} .c-name a")
    expect(operator.locator("h1")).to_have_text(number)
    expect(operator.locator("#main")).to_contain_text("100 % agent_frontdesk v6")


@pytest.mark.browser
def test_the_account_fits_a_phone(service: World, browser: Browser) -> None:
    service.number()
    context = browser.new_context(**PHONE)
    try:
        page = context.new_page()
        service.sign_in(page, "viewer")
        page.goto(f"{service.url}/numbers?fresh=1")
        expect(page.locator(".account tbody tr").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert re.search("number", page.locator(".summary").inner_text())
    finally:
        context.close()
