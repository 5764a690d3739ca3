"""The restore drill: an older backup comes back, the live numbers are read first, and nothing is replayed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rollout.adapters.clock import SystemClock
from rollout.adapters.store import migrate
from rollout.adapters.store.audit import audit
from rollout.adapters.store.backup import backup
from rollout.adapters.store.engine import Database
from rollout.domain.errors import InputError, NotReachable
from tests.release.upgrade.drill import Place, SqlitePlace
from tests.support.scene import GET, ME, PATCH, Scene
from tests.support.values import ONE


@pytest.fixture
def scene(place: Place) -> Iterator[Scene]:
    database = Database(place.url, SystemClock())
    migrate.upgrade(database)
    database.close()
    with Scene(place.url) as made:
        yield made


def restored(scene: Scene, place: Place) -> None:
    """The machine is lost; the backup is restored, and the service starts on it."""
    scene.app.close()
    place.restore()
    scene.sandbox.clear_log()
    scene.restart()
    migrate.require_current(scene.app.database)


def replayed_nothing(scene: Scene) -> None:
    assert scene.requests()[0] == GET, "the live numbers are read first"
    assert PATCH not in scene.requests()


def test_a_rollout_that_went_on_after_the_backup_is_held_and_a_person_adopts(scene: Scene, place: Place) -> None:
    scene.given_at(1)
    place.backup()
    scene.app.commands.promote(scene.id, ME)
    scene.drive()
    assert scene.weight(ONE) == 0.5

    restored(scene, place)
    scene.stands("progressing", step=1)
    assert scene.scan() == 1
    scene.stands("held", step=1, reason="drift")
    replayed_nothing(scene)
    assert scene.weight(ONE) == 0.5, "what the number serves is left as it is"

    scene.app.commands.adopt(scene.id, ME)
    scene.drive()
    scene.stands("progressing", step=1)
    assert PATCH not in scene.requests()
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    assert scene.weight(ONE, version=6) == 1
    assert audit(scene.app.store.database)[0] == []


def test_a_step_that_becomes_due_after_the_restore_is_not_taken_over_what_is_live(scene: Scene, place: Place) -> None:
    scene.given_at(1)
    place.backup()
    for _ in range(2):
        scene.app.commands.promote(scene.id, ME)
        scene.drive()
    assert scene.weight(ONE) == 1

    restored(scene, place)
    scene.app.commands.promote(scene.id, ME, expect=None)  # even when a person asks for the next step
    scene.drive()
    scene.stands("held", reason="drift")
    replayed_nothing(scene)
    assert scene.weight(ONE) == 1

    scene.app.commands.adopt(scene.id, ME)
    scene.drive()
    scene.app.commands.promote(scene.id, ME, full=True)
    scene.drive()
    scene.stands("progressing", step=3)
    assert scene.weight(ONE) == 1, "the answer that docs/operations.md gives for a rollout that was promoted"


def test_a_rollback_after_the_backup_is_found_and_not_undone(scene: Scene, place: Place) -> None:
    scene.given_at(2)
    place.backup()
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    assert scene.weight(ONE, version=6) == 1

    restored(scene, place)
    scene.scan()
    scene.stands("rolled_back")
    assert "restored_outside" in scene.journal()
    replayed_nothing(scene)
    assert scene.weight(ONE, version=6) == 1
    assert audit(scene.app.store.database)[0] == []


def test_a_write_that_was_in_flight_at_the_backup_is_not_sent_again(scene: Scene, place: Place) -> None:
    scene.sandbox.fault("apply_late", method=PATCH, number=ONE, seconds=3600, variant="close")
    scene.given()
    scene.drive()
    (unknown,) = scene.rollout.unresolved
    assert scene.weight(ONE) == 0, "nobody knows whether it will be applied"
    place.backup()
    scene.sandbox.edit(ONE, inbound_agents=[{"agent_id": "agent_frontdesk", "agent_version": 8, "weight": 1}])

    restored(scene, place)
    assert scene.rollout.unresolved == (unknown,)
    scene.scan()
    assert PATCH not in scene.requests()
    assert scene.weight(ONE, version=8) == 1


def test_what_was_started_after_the_backup_is_unknown_and_its_number_left_alone(scene: Scene, place: Place) -> None:
    place.backup()
    scene.given_at(1)

    restored(scene, place)
    assert scene.app.store.summaries() == []
    scene.scan()
    scene.drive()
    assert PATCH not in scene.requests()
    assert scene.weight(ONE) == 0.1, "the kit of that rollout rolls it back: docs/operations.md says so"


def test_a_backup_is_whole_and_private_and_writes_over_nothing(scene: Scene, place: Place) -> None:
    if not isinstance(place, SqlitePlace):
        pytest.skip("the service copies SQLite only; PostgreSQL has pg_dump")
    scene.given_at(1)
    place.backup()
    assert place.copy.stat().st_mode & 0o077 == 0
    assert sorted(p.name for p in place.copy.parent.iterdir() if "backup" in p.name) == ["backup.db"]
    copy = Database(f"sqlite:///{place.copy}", SystemClock())
    try:
        migrate.require_current(copy)
        with copy.read() as connection:
            rows = connection.exec_driver_sql("SELECT id, step FROM rollouts").all()
        assert [tuple(r) for r in rows] == [(scene.id, 1)]
    finally:
        copy.close()
    with pytest.raises(InputError, match="already exists"):
        backup(place.url, place.copy)
    with pytest.raises(InputError, match="pg_dump"):
        backup("postgresql://nobody@127.0.0.1/x", place.copy.with_name("other"))
    with pytest.raises(NotReachable, match="there is no database"):
        backup("sqlite:////nowhere/rollout.db", place.copy.with_name("other"))
