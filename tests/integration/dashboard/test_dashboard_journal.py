"""The journal of all rollouts: filtered, page by page, as a file, and only what a reader may see."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from urllib.parse import urlencode

import pytest

from rollout.adapters.store.journal_search import JournalSearch, search_journal
from rollout.domain.lifecycle.commands import By
from rollout.domain.lifecycle.records import JournalEntry
from rollout.interfaces.auth.roles import create_token
from rollout.interfaces.dashboard.journal_page import MOST_EXPORTED
from tests.integration.dashboard.test_dashboard_states import keep
from tests.integration.dashboard.world import World, world

NUMBERS = ("+14157790001", "+14157790002")


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two rollouts, one of which Maria paused."""
    with world(tmp_path_factory.mktemp("journal"), ticking=False) as found:
        for index, number in enumerate(NUMBERS):
            keep(found, index, [number], phase="progressing", name=f"lobby-{index}")
        found.app.commands.pause("kept000001", By("cli:Maria", "=the line is down"), expect=None)
        yield found


def page(still: World, role: str = "admin", cookie: str = "", **query: str) -> str:
    answer = still.ask("GET", f"/journal?{urlencode(query)}", cookie=cookie or still.session(role))
    assert answer.status == 200, answer.text
    return unescape(answer.text)


def kinds(text: str) -> list[str]:
    return re.findall(r'<td data-label="What"><strong>([^<]*)', text)


def test_it_says_who_did_what_where_and_why(still: World) -> None:
    text = page(still, kind="pause")
    assert kinds(text) == ["pause"]
    for words in ("Maria", "=the line is down", 'href="/rollouts/kept000001"', "lobby-1"):
        assert words in text


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({"actor": "maria"}, ["pause"]),
        ({"actor": "nobody"}, []),
        ({"rollout": "LOBBY-1", "by": "people"}, ["pause", "created"]),
        ({"rollout": "kept000000"}, ["created"]),
        ({"rollout": "lobby", "by": "service"}, []),
        ({"rollout": "lobby", "from": "2093-01-01"}, []),
        ({"rollout": "lobby", "to": "2093-01-01", "kind": "pause"}, ["pause"]),
        ({"rollout": "lobby", "to": "2001-01-01"}, []),
    ],
)
def test_every_filter_narrows(still: World, query: dict[str, str], wanted: list[str]) -> None:
    assert kinds(page(still, **query)) == wanted


def test_a_day_that_is_none_is_refused(still: World) -> None:
    for name in ("from", "to"):
        answer = still.ask("GET", f"/journal?{name}=yesterday", cookie=still.session("viewer"))
        assert answer.status == 422 and "2026-12-01" in answer.text
    assert still.ask("GET", "/journal?before=x", cookie=still.session("viewer")).status == 422


def test_what_concerns_no_rollout_is_for_admins(still: World) -> None:
    assert "token created" in kinds(page(still))
    assert set(kinds(page(still, "viewer"))) <= {"pause", "created"}
    assert kinds(page(still, "viewer", kind="token_created")) == []


def test_a_token_of_some_numbers_sees_its_own_rollouts(still: World) -> None:
    for role in ("viewer", "admin"):
        _, token = create_token(still.app.store, role, "limited", None, [NUMBERS[0]], "cli:test")
        cookie = still.ask("POST", "/sign-in", {"token": token}).headers["set-cookie"].partition(";")[0]
        text = page(still, cookie=cookie)
        assert kinds(text) == ["created"] and "lobby-0" in text and "lobby-1" not in text


def test_pages_join_without_a_gap_also_where_moments_are_equal(still: World) -> None:
    database = still.app.database
    whole, end = search_journal(database, JournalSearch(system=True), None, 1_000)
    assert end is None and len(whole) > 5
    parts, before = [], None
    while True:
        found, before = search_journal(database, JournalSearch(system=True), before, 2)
        parts += found
        if before is None:
            break
    assert parts == whole
    assert [e.place for e in whole] == sorted((e.place for e in whole), reverse=True)


def test_the_bounds_are_a_day_with_its_end(still: World) -> None:
    today = still.app.store.now().date()
    text = page(still, kind="pause", **{"from": str(today), "to": str(today)})
    assert kinds(text) == ["pause"]
    assert kinds(page(still, kind="pause", to=str(today - timedelta(days=1)))) == []


def test_the_file_has_what_the_page_shows_and_no_formulas(still: World) -> None:
    answer = still.ask("GET", "/journal/export?rollout=lobby", cookie=still.session("viewer"))
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [r["kind"] for r in rows] == kinds(page(still, rollout="lobby"))
    assert rows[0]["text"] == "'=the line is down" and rows[0]["rollout"] == "lobby-1" and rows[0]["at"].endswith("Z")
    assert rows[0]["hash"] == still.app.store.history("kept000001")[-1].hash


def test_the_file_ends_where_it_says(still: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"{MOST_EXPORTED:,} entries" in page(still)
    monkeypatch.setattr("rollout.interfaces.dashboard.journal_page.MOST_EXPORTED", 2)
    answer = still.ask("GET", "/journal/export", cookie=still.session("admin"))
    assert len(list(csv.DictReader(io.StringIO(answer.text)))) == 2


def test_a_long_entry_is_listed_without_its_details(still: World) -> None:
    long = JournalEntry("signed_in", "cli:long", "why", {"x": "y" * 5_000})
    still.server.service.access.record(long)
    [found], _ = search_journal(still.app.database, JournalSearch(actor="cli:long", system=True))
    assert (found.data, found.reason) == ({}, "why")
