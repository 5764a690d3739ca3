"""Migrations on data of every earlier revision: nothing is lost, and this program works on what they leave."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, inspect, select, text

from rollout.adapters.clock import SystemClock
from rollout.adapters.store import archive, migrate
from rollout.adapters.store.audit import audit
from rollout.adapters.store.engine import Database
from rollout.adapters.store.gate_records import keep_look, set_history
from rollout.adapters.store.tables import REVISIONS, metadata, outbox, tokens
from rollout.domain.calls import CallRecord
from rollout.domain.gates.history import BaselineHistory
from rollout.domain.lifecycle.commands import By
from tests.release.upgrade.drill import Place, as_of, run_script
from tests.support.command_line import REPOSITORY
from tests.support.scene import ME, Scene
from tests.support.values import AGENT, ONE, TWO, entry, said

FIRST = (Path(__file__).parent / "data" / "0001.sql").read_text(encoding="utf-8")
ENTRIES = sum(line.startswith("INSERT INTO journal") for line in FIRST.splitlines())
THREE = "+14157774446"
PHASES = {
    "ended-well": "promoted",
    "gone-back": "rolled_back",
    "under-way": "paused",
    "edited": "held",
    "later": "pending",
}


@pytest.fixture
def scene(place: Place) -> Iterator[Scene]:
    """This program on a database that the first revision filled, beside numbers that show what it says."""
    database = Database(place.url, SystemClock())
    migrate.upgrade(database, REVISIONS[0])
    run_script(database, FIRST)
    assert migrate.upgrade(database) == (REVISIONS[0], REVISIONS[-1])
    database.close()
    with Scene(place.url) as made:
        made.clock.advance(3600)  # the rows end half an hour after the scene begins
        for id_ in (r.id for r in made.app.store.summaries(live=True)):
            for target in made.app.store.load(id_)[0].targets:
                lists = target.live or target.split
                made.sandbox.edit(target.number, **lists)
                state = made.sandbox.number(target.number).state  # nobody has written it since
                state.timestamp, state.cached = target.modified, None
        yield made


def test_every_row_of_the_first_revision_is_there_and_its_history_whole(scene: Scene) -> None:
    assert {r.name: str(r.phase) for r in scene.app.store.summaries()} == PHASES
    assert audit(scene.app.store.database) == ([], ENTRIES)
    under_way = scene.app.store.resolve("under-way")
    kinds = [e.kind for e in scene.app.store.history(under_way)]
    assert kinds[0] == "created" and kinds.count("confirmed") == 2


def test_a_rollout_of_the_first_revision_goes_on_to_its_end(scene: Scene) -> None:
    scene.id = scene.app.store.resolve("under-way")
    before = scene.rollout.updated_at
    scene.app.commands.resume(scene.id, ME)
    for _ in range(3):
        scene.drive()
        if scene.phase == "progressing":  # a database with a clock of its own may be days past the hold
            scene.app.commands.promote(scene.id, ME)
    assert scene.weight(TWO) == 1
    scene.stands("promoted", step=3)
    assert scene.rollout.updated_at > before
    assert len(scene.patches(TWO)) == 1
    assert audit(scene.app.store.database)[0] == []


def test_a_rollout_of_the_first_revision_is_rolled_back_verbatim(scene: Scene) -> None:
    for name, number in (("under-way", TWO), ("edited", THREE)):
        scene.id = scene.app.store.resolve(name)
        baseline = scene.rollout.targets[0].baseline["inbound_agents"]
        scene.app.commands.rollback(scene.id, ME)
        scene.drive()
        assert scene.rollout.restored_at is not None, scene.rollout.why
        assert scene.live(number) == baseline == [entry(6)]
    assert audit(scene.app.store.database)[0] == []


def test_answers_given_then_are_given_again(scene: Scene) -> None:
    by = By("cli:anna", "lunch", "request-1")
    answer = scene.app.commands.pause(scene.app.store.resolve("under-way"), by)
    assert answer.phase == "paused"
    scene.id = scene.app.store.resolve("under-way")
    assert scene.journal(["pause"]) == ["pause"], "the first answer, and no second pause"


def test_new_rollouts_start_beside_the_old_ones(scene: Scene) -> None:
    scene.app.commands.stop(scene.app.store.resolve("later"), ME)
    scene.sandbox.edit(ONE, inbound_agents=[entry(6)])
    scene.given_at(1)
    assert scene.weight(ONE) == 0.1


def test_an_export_of_that_history_can_be_checked_alone(scene: Scene, tmp_path: Path) -> None:
    for r in scene.app.store.summaries():
        path = tmp_path / f"{r.id}.jsonl"
        archive.save(scene.app.store.history(r.id), path)
        (chain,) = archive.check_file(str(path))
        assert chain.faults == ()


# ------------------------------------------------------------------ every revision


@pytest.fixture(scope="module")
def full(quick_folder: Path) -> str:
    """A database with rows in every table that people's work leaves rows in."""
    url = f"sqlite:///{quick_folder / 'full.db'}"
    database = Database(url, SystemClock())
    migrate.upgrade(database)
    database.close()
    with Scene(url) as scene:
        scene.given_at(2)
        scene.app.commands.pause(scene.id, By("cli:anna", "lunch", "request-1"))
        scene.app.commands.resume(scene.id, ME)
        store, now = scene.app.store, scene.app.store.now()
        store.calls.observe([CallRecord("call", AGENT, 7, ONE, "inbound", now, now, "ended", successful=True)])
        with store.database.write() as connection:
            keep_look(connection, scene.id, now, (1, 1), said("pass", "fine"))
            # What an upgrade says of a rollout that began before 0008, so that all revisions end alike.
            set_history(connection, scene.id, BaselineHistory(edition=1))
            values = {"id": "t", "name": "n", "role": "admin", "hash": "h", "created_at": now, "created_by": "x"}
            connection.execute(insert(tokens), values)
            notice = {"event": "e", "channel": "c", "kind": "k", "severity": "info", "title": "t", "body": "b"}
            connection.execute(insert(outbox), {**notice, "created_at": now, "tries": 0, "trouble": ""})
    return url


@pytest.mark.parametrize("revision", REVISIONS)
def test_rows_of_every_revision_survive(full: str, place: Place, revision: str) -> None:
    as_of(full, place.url, revision)
    database, source = Database(place.url, SystemClock()), Database(full, SystemClock())
    try:
        before = set(inspect(database.engine).get_table_names()) & metadata.tables.keys()
        assert migrate.upgrade(database) == (revision, REVISIONS[-1])
        migrate.require_current(database)
        filled = 0
        with database.read() as after, source.read() as wanted:
            for name in before:
                table = metadata.tables[name]
                order = list(table.primary_key.columns)
                rows = [tuple(r) for r in after.execute(select(table).order_by(*order))]
                assert rows == [tuple(r) for r in wanted.execute(select(table).order_by(*order))], name
                filled += bool(rows)
        assert filled >= 5
    finally:
        database.close()
        source.close()
    with Scene(place.url) as scene:
        # the row of a token was made by hand, without the entry that a program would have written
        assert audit(scene.app.store.database)[0] in ([], ["token t: is in the table but not in the journal"])
        scene.id = scene.app.store.summaries()[0].id
        scene.sandbox.edit(ONE, **json.loads(json.dumps(scene.rollout.targets[0].split)))
        scene.app.commands.rollback(scene.id, ME)
        scene.drive()
        assert scene.live(ONE) == [entry(6)]


@pytest.mark.parametrize(
    ("phase", "why", "word"),
    [
        ("progressing", "all is green; a person must promote it", "approval"),
        ("paused", "all is green; a person must promote it", "person"),
        ("held", "the split is not ours", "person"),
        ("rolling_back", "Retell refuses the API key (401): nothing is sent until it is right again", "key"),
        ("progressing", "the hold of 30m is running", None),
        ("promoted", "Retell refuses the API key (401)", None),
    ],
)
def test_the_word_of_what_an_old_rollout_waits_for(
    full: str, place: Place, phase: str, why: str, word: str | None
) -> None:
    as_of(full, place.url, "0008")
    database = Database(place.url, SystemClock())
    try:
        with database.write() as connection:
            connection.execute(text("UPDATE rollouts SET phase = :phase, why = :why"), {"phase": phase, "why": why})
        migrate.upgrade(database)
        with database.read() as connection:
            assert connection.execute(text("SELECT waiting_for FROM rollouts")).scalars().all() == [word]
    finally:
        database.close()


def test_migrations_only_add() -> None:
    """What docs/operations.md promises: services of the version before work on while the schema is new.

    An index may go: whoever asked by it asks on, and waits longer.
    """
    taking = re.compile(
        r"op\.(drop_(?!index\b)\w+|alter_column|rename_table|batch_alter_table)|\b(DROP|ALTER TABLE|RENAME)\b"
    )
    for path in sorted((REPOSITORY / "alembic" / "versions").glob("*.py")):
        assert taking.findall(path.read_text(encoding="utf-8")) == [], path.name
