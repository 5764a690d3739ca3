"""Nothing is cut in silence: a list is whole, or says that there is more and how to see it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from rollout.adapters.clock import SystemClock
from rollout.adapters.store.engine import Database
from rollout.adapters.store.repository import Store
from rollout.domain.lifecycle.machine import Phase
from rollout.interfaces.backend.local import LocalBackend
from tests.support.hand import Hand
from tests.support.inside import Inside
from tests.support.values import target

ENDED, LIVE = 25, 2  # the live ones are the oldest


@pytest.fixture
def long(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: Inside) -> Inside:
    """Twenty-seven rollouts, of which the two that are live began before all others."""
    monkeypatch.setattr("rollout.adapters.store.repository.PAGE", 4)
    database = Database(sqlite_url, SystemClock())
    hand = Hand(Store(database))
    for i in range(LIVE + ENDED):
        phase = Phase.PROGRESSING if i < LIVE else Phase.ROLLED_BACK
        hand.create(f"r{i:02}", target(f"+141577700{i:02}"), name=f"n{i:02}", phase=phase)
    with database.write() as connection:
        connection.execute(text("UPDATE rollouts SET created_at = '2026-11-02 10:00:00.0000' || substr(id, 2)"))
    database.close()
    inside.environment["ROLLOUT_DATABASE_URL"] = sqlite_url
    return inside


def ids(done_out: str) -> list[str]:
    return [r["id"] for r in json.loads(done_out)]


EVERY = [f"r{i:02}" for i in range(LIVE + ENDED)][::-1]


def test_a_list_that_is_cut_says_so_and_hides_no_live_rollout(long: Inside) -> None:
    done = long("list", "--limit", "5", "--json")
    assert ids(done.out) == [*EVERY[:5], *EVERY[-LIVE:]]
    assert "rollout list --limit N, or --all" in done.err
    shown = long("list", "--limit", "5")
    assert all(id_ in shown.out for id_ in (*EVERY[:5], *EVERY[-LIVE:]))
    assert "there are more" in shown.err


def test_a_list_that_is_whole_says_nothing_of_more(long: Inside) -> None:
    for args in (("--all",), ("--limit", "27"), ("--limit", "1000"), ()):
        done = long("list", "--json", *args)
        assert (ids(done.out), done.err) == (EVERY, "")
    assert ids(long("list", "--live", "--limit", "1", "--json").out) == EVERY[-LIVE:]


def test_every_page_is_read_where_all_are_asked_for(long: Inside, sqlite_url: str) -> None:
    from rollout.app import build
    from rollout.settings import Settings

    app = build(Settings(database_url=sqlite_url, retell_api_key="key_x"))
    backend = LocalBackend(app)
    assert [r["id"] for r in backend.list()] == EVERY
    assert [r["id"] for r in backend.list(live=True)] == EVERY[-LIVE:]
    assert [r["id"] for r in backend.list(limit=9)] == EVERY[:9]
    assert [r["id"] for r in backend.list(name="n07")] == ["r07"]
    app.close()


def test_a_rollout_that_ends_while_the_list_is_read_is_in_it_once(
    long: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = LocalBackend.list

    def ends(self: LocalBackend, live: bool | None = None, **more: Any) -> list[dict[str, Any]]:
        found = read(self, live, **more)
        if live:
            with self.app.database.write() as connection:
                connection.execute(text("UPDATE rollouts SET phase = 'rolled_back' WHERE id = 'r01'"))
        return found

    monkeypatch.setattr(LocalBackend, "list", ends)
    found = json.loads(long("list", "--all", "--json").out)
    assert [(r["id"], r["phase"]) for r in found if r["id"] == "r01"] == [("r01", "rolled_back")]
    assert [r["id"] for r in found] == EVERY
