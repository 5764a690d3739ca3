"""A database that goes back in time: horizons are opened again, and nothing is built upon what was lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import delete, text, update

from jobs.scheduler import Scheduler
from rollout.adapters.store.tables import journal, meta, rollouts, targets, writes
from tests.support.scene import ME, Scene

ONE = "+14157774444"


@pytest.fixture
def scene(sqlite_url: str) -> Iterator[Scene]:
    with Scene(sqlite_url) as made:
        yield made


def test_beats_only_rise(scene: Scene) -> None:
    store = scene.app.store
    first = store.heartbeats.beat("a", started=True)
    assert [store.heartbeats.beat("a"), store.heartbeats.beat("b", started=True)] == [first + 1, first + 2]
    assert store.heartbeats.lineage() == (first + 2, False)


def test_after_it_nothing_forward_is_sent_until_the_horizons_have_passed(scene: Scene) -> None:
    scene.given_at(1)
    rearmed = scene.app.store.heartbeats.rearm(timedelta(seconds=scene.app.timing.horizon))
    assert rearmed == [scene.id]
    assert scene.journal({"rearmed"}) == ["rearmed"]
    scene.app.commands.promote(scene.id, ME)
    patched = len(scene.patches(ONE))
    scene.drive()
    assert len(scene.patches(ONE)) == patched
    assert "horizon has passed" in scene.rollout.why
    scene.after(scene.app.timing.horizon + 1)
    scene.stands("progressing", 2)
    assert scene.weight(ONE) == 0.5


def test_a_number_whose_first_intent_was_lost_is_covered_by_a_rollback(scene: Scene) -> None:
    """The service sent the first step, then the database lost everything since the beginning."""
    scene.given()
    scene.drive()
    assert scene.weight(ONE) == 0.1
    with scene.app.database.write() as connection:
        # what a standby that lagged would have: the rollout has begun, and no trace of its first write
        for trigger in ("journal_no_update", "journal_no_delete"):
            connection.execute(text(f"DROP TRIGGER {trigger}"))
        row = connection.execute(journal.select().where(journal.c.seq == 2)).one()
        connection.execute(delete(journal).where(journal.c.seq > 2))
        connection.execute(delete(writes))
        target = connection.execute(targets.select()).one()
        connection.execute(update(targets).values(split=target.baseline, step=0, state="untouched", written=False))
        connection.execute(update(rollouts).values(confirmed_at=None, journal_seq=2, journal_hash=row.hash))
    scene.app.store.heartbeats.rearm(timedelta(seconds=scene.app.timing.horizon))
    scene.app.commands.rollback(scene.id, ME)
    scene.after(scene.app.timing.horizon + 60)
    scene.stands("rolled_back")
    assert scene.weight(ONE) == 0.0


def test_the_scheduler_notices_a_counter_that_went_back(scene: Scene) -> None:
    scene.given_at(1)
    scheduler = Scheduler(scene.app)
    scheduler._beats = scene.app.store.heartbeats.beat("me", started=True)
    scheduler._look_back()
    assert scene.journal({"rearmed"}) == []
    with scene.app.database.write() as connection:
        connection.execute(update(meta).where(meta.c.key == "beats").values(value="0"))
    scheduler._look_back()
    scheduler._look_back()
    assert scene.journal({"rearmed"}) == ["rearmed"]
    assert scheduler.counts["went_back"] == 1
    scheduler.advance.stop()
