"""The heads of chains in the log: all of them first, then those that have moved."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jobs import anchors
from jobs.anchors import AGAIN, Anchors
from rollout.app import App
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.records import JournalEntry
from tests.support import logs
from tests.support.clock import FakeClock
from tests.support.hand import Hand
from tests.support.values import target


def noted(job: Anchors) -> tuple[int, list[Any]]:
    with logs.captured() as logged:
        count = job.tick()
    return count, [line["heads"] for line in logged]


def test_all_heads_are_noted_first_and_then_those_that_moved(app: App, hand: Hand, clock: FakeClock) -> None:
    for i in (1, 2):
        hand.create(f"r{i}", target(f"+1415777000{i}"))
    job = Anchors(app)
    count, (line,) = noted(job)
    heads = {id_: app.store.history(id_)[-1].hash for id_ in ("r1", "r2")}
    assert count == 2
    assert set(line.split()) == {f"anchor:{id_}:1:{hash_}" for id_, hash_ in heads.items()}
    clock.advance(60)
    assert noted(job) == (0, []), "they are found again, and have not moved"
    app.store.commit(hand.claim("r2"), Change(), [JournalEntry("paused", "me")])
    clock.advance(60)
    last = app.store.history("r2")[-1]
    assert noted(job) == (1, [f"anchor:r2:{last.seq}:{last.hash}"])


@pytest.mark.parametrize(("late", "found"), [(timedelta(minutes=-1), True), (timedelta(minutes=1), False)])
def test_a_commit_that_becomes_visible_late_is_noted(
    app: App, hand: Hand, clock: FakeClock, late: timedelta, found: bool
) -> None:
    """One that carries a time from up to ten minutes before the last look."""
    job = Anchors(app)
    hand.create("early")
    began = clock.now()
    clock.to(began + AGAIN + late)
    noted(job)
    clock.advance(3_600)
    hand.run("UPDATE rollouts SET journal_hash = 'x' WHERE id = 'early'")
    assert bool(noted(job)[0]) is found


def test_a_line_of_the_log_has_a_limit(app: App, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anchors, "_LINE", 2)
    for i in range(5):
        hand.create(f"r{i}", target(f"+1415777000{i}"))
    count, lines = noted(Anchors(app))
    assert (count, [len(line.split()) for line in lines]) == (5, [2, 2, 1])
