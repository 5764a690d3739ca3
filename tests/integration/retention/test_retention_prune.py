"""Pruning: by the limits of each table, never what is live or can be rolled back, and exported before it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Table, func, insert, select

from jobs.prune import Prune, limits
from rollout.adapters.store import archive, pruning
from rollout.adapters.store.audit import audit
from rollout.adapters.store.gate_records import StoredGateRecords, keep_look
from rollout.adapters.store.repository import Store
from rollout.adapters.store.requests import first_answer
from rollout.adapters.store.tables import (
    deliveries,
    looks,
    marks,
    meta,
    observations,
    outbox,
    requests,
    sessions,
    tokens,
)
from rollout.app import App, build
from rollout.domain.calls import CallRecord, FetchMark
from rollout.domain.errors import Refused
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.commands import By
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.records import JournalEntry, Request
from rollout.settings import Settings
from tests.support.clock import FakeClock
from tests.support.hand import Hand
from tests.support.values import ONE, TWO, confirmed, said

DAY = timedelta(days=1)
OVER = JournalEntry("ended", "service")


@pytest.fixture
def make_app(sqlite_url: str, clock: FakeClock) -> Iterator[Callable[..., App]]:
    made: list[App] = []

    def make(**settings: Any) -> App:
        given = Settings(database_url=sqlite_url, retell_api_key=SecretStr("key_of_a_test"), **settings)
        made.append(build(given, clock=clock))
        return made[-1]

    yield make
    for app in made:
        app.close()


def ended(hand: Hand, id_: str, number: str, phase: Phase = Phase.PROMOTED, **changes: Any) -> None:
    """A rollout that ends now."""
    hand.store.commit(hand.begun(id_, confirmed(number)), Change(rollout={"phase": phase, **changes}), [OVER])


def ids(store: Store) -> set[str]:
    return {r.id for r in store.summaries()}


def count(store: Store, table: Table) -> int:
    with store.database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def put(store: Store, table: Table, **values: Any) -> None:
    with store.database.write() as connection:
        connection.execute(insert(table), values)


@pytest.mark.parametrize("phase", [Phase.PROMOTED, Phase.ROLLED_BACK, Phase.STOPPED])
def test_ended_rollouts_go_after_keep_days(
    store: Store, hand: Hand, clock: FakeClock, make_app: Callable[..., App], phase: Phase
) -> None:
    job = Prune(make_app(keep_days=60))
    ended(hand, "old", ONE, phase)
    clock.advance(59 * 86_400)
    assert job.tick() == 0
    hand.begun("live", confirmed(TWO))
    clock.advance(2 * 86_400)
    assert job.tick() == 1
    assert ids(store) == {"live"}
    assert audit(store.database) == ([], 2), "and the entry that says it was pruned"
    clock.advance(9_000 * 86_400)
    assert job.tick() == 0, "a live rollout stays for ever"


def test_what_can_be_rolled_back_or_is_watched_stays(
    store: Store, hand: Hand, clock: FakeClock, make_app: Callable[..., App]
) -> None:
    job = Prune(make_app(keep_days=30, rollback_days=50))
    ended(hand, "r1", ONE)
    ended(hand, "watched", TWO, watch_until=clock.now() + 70 * DAY)
    clock.advance(49 * 86_400)
    assert job.tick() == 0
    clock.advance(2 * 86_400)
    assert job.tick() == 1
    assert ids(store) == {"watched"}


def test_what_is_kept_longer_can_be_rolled_back_longer(
    hand: Hand, clock: FakeClock, make_app: Callable[..., App]
) -> None:
    app = make_app(rollback_days=50)
    ended(hand, "r1", ONE)
    clock.advance(49 * 86_400)
    assert app.commands.rollback("r1", By("me")).phase == "rolling_back"
    ended(hand, "r2", TWO)
    clock.advance(51 * 86_400)
    with pytest.raises(Refused, match="more than 50 days ago"):
        app.commands.rollback("r2", By("me"))


def test_a_journal_is_exported_before_it_goes(
    store: Store, hand: Hand, clock: FakeClock, make_app: Callable[..., App], tmp_path: Path
) -> None:
    ended(hand, "r1", ONE)
    entries = [e.to_json() for e in store.history("r1")]
    clock.advance(500 * 86_400)
    assert Prune(make_app(export_dir=tmp_path / "kept")).tick() == 1
    assert ids(store) == set()
    (chain,) = archive.check_file(str(tmp_path / "kept" / "r1.jsonl"))
    assert (chain.entries, chain.hash, chain.faults) == (len(entries), entries[-1]["hash"], ())


def test_what_cannot_be_exported_stays(
    store: Store, hand: Hand, clock: FakeClock, make_app: Callable[..., App], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    ended(hand, "r1", ONE)
    clock.advance(500 * 86_400)
    assert Prune(make_app(export_dir=tmp_path / "file")).tick() == 0
    assert ids(store) == {"r1"}


def test_an_entry_added_after_the_export_keeps_it(store: Store, hand: Hand, clock: FakeClock) -> None:
    ended(hand, "r1", ONE)
    clock.advance(500 * 86_400)
    head = store.history("r1")[-1].hash
    assert not store.pruning.remove("r1", 400 * DAY, head="0" * 64)
    assert store.pruning.remove("r1", 400 * DAY, head)


def test_a_rollout_that_is_rolled_back_meanwhile_stays(store: Store, hand: Hand, clock: FakeClock) -> None:
    ended(hand, "r1", ONE)
    clock.advance(500 * 86_400)
    assert store.pruning.prunable(400 * DAY) == ["r1"]
    entry = JournalEntry("rollback", "cli:x")
    store.change("r1", lambda r, now: (Change({"phase": Phase.ROLLING_BACK}), entry, ""))
    assert not store.pruning.remove("r1", 400 * DAY)
    assert ids(store) == {"r1"}


def test_each_table_has_its_own_limit(store: Store, hand: Hand, clock: FakeClock, make_app: Callable[..., App]) -> None:
    now = clock.now()
    app = make_app()
    put(store, tokens, id="t", name="t", role="viewer", hash="h", created_at=now, created_by="x")
    put(store, sessions, hash="s", token_id="t", csrf_hash="c", created_at=now, seen_at=now, expires_at=now)
    put(store, deliveries, digest="w1", at=now)
    put(store, requests, actor="a", request_id="r", command="start", digest="d", answer={}, at=now)
    notice = {"channel": "c", "kind": "k", "severity": "info", "title": "", "body": "", "created_at": now}
    put(store, outbox, event="sent", **notice, tries=1, sent_at=now, trouble="")
    put(store, outbox, event="waiting", **notice, tries=9, sent_at=None, due_at=now, trouble="away")
    store.calls.observe([CallRecord("call", "a", 1, ONE, "inbound", now, None, "ended")])
    store.calls.mark(FetchMark(ONE, "inbound", now, now))

    def left(days: float) -> set[str]:
        clock.to(now + timedelta(days=days))
        Prune(app).tick()
        tables = (sessions, deliveries, requests, outbox, observations, marks)
        return {t.name for t in tables if count(store, t)}

    assert left(0.9) == {"sessions", "deliveries", "requests", "outbox", "observations", "marks"}
    assert left(1.1) == {"deliveries", "requests", "outbox", "observations", "marks"}
    assert left(7.1) == {"outbox", "observations", "marks"}
    assert left(29.9) == {"outbox", "observations", "marks"} and count(store, outbox) == 2
    assert left(30.1) == {"outbox", "observations", "marks"} and count(store, outbox) == 1
    assert left(90.1) == {"outbox"}, "a notice that was never delivered stays"
    assert count(store, tokens) == 1


def test_calls_that_a_live_rollout_may_ask_for_stay(
    store: Store, hand: Hand, clock: FakeClock, make_app: Callable[..., App]
) -> None:
    app = make_app(keep_observations_days=1)
    before = [clock.now() - timedelta(days=d) for d in (1, 3)]
    store.calls.observe([CallRecord(f"c{i}", "a", 1, ONE, "inbound", at, None, "ended") for i, at in enumerate(before)])
    held = hand.begun("r1", confirmed(ONE))
    clock.advance(300 * 86_400)
    Prune(app).tick()
    assert count(store, observations) == 1, "the day before its start is what its gates compare with"
    store.commit(held, Change(rollout={"phase": Phase.STOPPED}), [OVER])
    clock.advance(40 * 86_400)
    Prune(app).tick()
    assert count(store, observations) == 0


def test_looks_of_rollouts_that_matter_stay(
    store: Store, hand: Hand, clock: FakeClock, make_app: Callable[..., App]
) -> None:
    app = make_app(keep_looks_days=10)
    held = hand.begun("live", confirmed(ONE))
    ended(hand, "over", TWO)
    with store.database.write() as connection:
        for id_ in ("live", "over"):
            for _ in range(3):
                keep_look(connection, id_, clock.now(), (1, 1), said("undecided"))
    clock.advance(29 * 86_400)
    Prune(app).tick()
    assert count(store, looks) == 6, "over can still be rolled back"
    clock.advance(2 * 86_400)
    Prune(app).tick()
    assert (
        len(StoredGateRecords(store.database).looks("live")),
        len(StoredGateRecords(store.database).looks("over")),
    ) == (3, 0)
    store.commit(held, Change(rollout={"phase": Phase.STOPPED}), [OVER])
    clock.advance(401 * 86_400)
    Prune(app).tick()
    assert count(store, looks) == 0, "what belongs to a rollout goes with it"
    assert count(store, meta) == 1, "the head of the system's chain, which says that it was pruned"


def test_large_tables_go_in_batches(
    store: Store, clock: FakeClock, make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "BATCH", 10)
    monkeypatch.setattr("jobs.prune.BATCH", 10)
    app = make_app()
    now = clock.now()
    store.calls.observe([CallRecord(f"c{i}", "a", 1, ONE, "inbound", now, None, "ended") for i in range(35)])
    clock.advance(100 * 86_400)
    assert store.pruning.sweep(limits(app.settings))["observations"] == 10
    Prune(app).tick()
    assert count(store, observations) == 0


def test_a_repeated_request_id_is_answered_as_long_as_the_limit_says(
    store: Store, hand: Hand, clock: FakeClock, make_app: Callable[..., App]
) -> None:
    request = Request("cli:x", "id-1", "pause", "digest")
    hand.begun("r1", confirmed(ONE))
    given = store.change("r1", lambda r, now: None, request)

    def remembered() -> dict[str, Any] | None:
        with store.database.read() as connection:
            return first_answer(connection, request)

    clock.advance(6 * 86_400)
    Prune(make_app()).tick()
    assert remembered() == given.to_json()
    clock.advance(2 * 86_400)
    Prune(make_app()).tick()
    assert remembered() is None
