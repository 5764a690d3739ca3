"""The page of calendars: what each is, who uses it, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from html import unescape
from pathlib import Path

import pytest

from rollout.adapters.planfile.calendar_file import calendars_at
from rollout.domain.plan.calendar import Calendar
from rollout.engine.calendars import ClosedDays
from rollout.interfaces.auth.roles import create_token
from rollout.interfaces.dashboard.calendars_page import DAY_WIDTH, strips
from tests.integration.dashboard.test_dashboard_states import keep
from tests.integration.dashboard.world import World, world
from tests.support.values import plan

OFFICE = """
[office]
zone = "America/Los_Angeles"
holidays = "US-CA"
windows = { days = ["mon", "tue"], from = "09:00", to = "17:00" }

[[office.freezes]]
from = 2026-11-25
to = 2026-11-30
reason = "Black Friday <b>"
"""
HOURS = {"windows": [{"from": "08:00", "to": "09:00"}], "zone": "Europe/London"}


@pytest.fixture
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("calendars"), ticking=False) as found:
        yield found


def share(still: World, text: str, tmp_path: Path) -> Path:
    file = tmp_path / "calendars.toml"
    file.write_text(text)
    still.app.__dict__["calendars"] = calendars_at(file)
    return file


def page(still: World, cookie: str = "") -> str:
    answer = still.ask("GET", "/calendars", cookie=cookie or still.session("viewer"))
    assert answer.status == 200, answer.text
    return unescape(answer.text)


def test_without_any_it_says_how_to_have_some(still: World) -> None:
    text = page(still)
    assert "ROLLOUT_CALENDARS" in text and "No calendar is shared" in text


def test_a_shared_calendar_with_who_uses_it(still: World, tmp_path: Path) -> None:
    share(still, OFFICE, tmp_path)
    assert "No live rollout uses it" in page(still)
    keep(still, 1, ["+14157750001"], plan(["+14157750001"], name="lobby", calendar="office"), phase="progressing")
    text = page(still)
    for words in ("office", "Mon-Tue 09:00-17:00 America/Los_Angeles", "US-CA", "25 Nov 2026 to 30 Nov 2026", "lobby"):
        assert words in text
    assert (
        text.count("<svg viewBox") >= 4
        and "<b>" not in still.ask("GET", "/calendars", cookie=still.session("viewer")).text
    )


def test_hours_of_plans_are_shown_once_for_equal_ones(still: World) -> None:
    for i in range(2):
        number = f"+141577500{i:02}"
        keep(still, i, [number], plan([number], name=f"own-{i}", **HOURS), phase="progressing")
    text = page(still)
    assert text.count('<section class="cal">') == 1 and "own-0" in text and "own-1" in text
    assert "daily 08:00-09:00 Europe/London" in text


def test_a_calendar_that_is_gone_or_a_file_that_is_wrong_is_told(still: World, tmp_path: Path) -> None:
    file = share(still, OFFICE, tmp_path)
    keep(still, 1, ["+14157750001"], plan(["+14157750001"], calendar="shop"), phase="progressing")
    assert "has none of this name" in page(still)
    file.write_text("this is no TOML")
    assert "cannot be read" in page(still)


def test_a_token_of_some_numbers_sees_its_own_rollouts(still: World) -> None:
    for i in range(2):
        number = f"+141577500{i:02}"
        keep(still, i, [number], plan([number], name=f"own-{i}", **HOURS), phase="progressing")
    _, token = create_token(still.app.store, "viewer", "limited", None, ["+14157750000"], "cli:test")
    cookie = still.ask("POST", "/sign-in", {"token": token}).headers["set-cookie"].partition(";")[0]
    text = page(still, cookie)
    assert "own-0" in text and "own-1" not in text


def test_the_strips_are_a_whole_year_and_mark_today() -> None:
    found = strips(Calendar(), ClosedDays(), date(2027, 11, 17))
    assert sum(s.width for s in found) == 366 * DAY_WIDTH, "November 2027 to October 2028, with a leap day"
    assert [s.today for s in found] == [16 * DAY_WIDTH, None, None, None]
    assert [m.name for s in found for m in s.months][:3] == ["Nov", "Dec", "Jan"]
    for strip in found:
        assert sum(bar.width for bar in strip.bars) == strip.width
    assert re.match(r"November 2027 to January 2028: no holidays", found[0].label)
