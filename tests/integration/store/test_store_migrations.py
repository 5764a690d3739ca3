"""The schema: made from nothing, upgraded from every revision, refused when it is not this program's."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from rollout.adapters.clock import SystemClock
from rollout.adapters.store import migrate
from rollout.adapters.store.engine import Database
from rollout.adapters.store.repository import Store
from rollout.adapters.store.tables import LIVE, metadata
from rollout.domain.errors import SchemaRefused
from rollout.domain.lifecycle.machine import Phase
from tests.support.command_line import REPOSITORY
from tests.support.hand import Hand
from tests.support.postgres import Server

REVISIONS = [
    script.revision for script in ScriptDirectory(str(REPOSITORY / "alembic")).walk_revisions("base", "heads")
][::-1]
UPGRADER = """
import sys
from rollout.adapters.clock import SystemClock
from rollout.adapters.store import migrate
from rollout.adapters.store.engine import Database
database = Database(sys.argv[1], SystemClock())
print("ready", flush=True)
sys.stdin.readline()
print(*migrate.upgrade(database), flush=True)
"""


def differences(database: Database) -> list[object]:
    """What the migrations made that the tables do not say, and the other way round."""
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": False})
        return list(compare_metadata(context, metadata))


def test_there_is_one_line_of_revisions() -> None:
    assert sorted(REVISIONS) == REVISIONS
    assert REVISIONS[-1] == migrate.head()


def test_an_empty_database_is_refused_with_the_command_to_run(empty: Database) -> None:
    assert migrate.current(empty) is None
    with pytest.raises(SchemaRefused, match=r"the database .* is empty; run: rollout db upgrade") as refused:
        migrate.require_current(empty)
    assert refused.value.exit_code == 3


def test_an_empty_database_is_upgraded_and_then_fits(empty: Database) -> None:
    assert migrate.upgrade(empty) == (None, migrate.head())
    migrate.require_current(empty)
    assert migrate.upgrade(empty) == (migrate.head(), migrate.head()), "a second time changes nothing"
    hand = Hand(Store(empty))
    hand.create()
    assert hand.claim().rollout_id == "r1"


def test_the_migrations_make_what_the_tables_say(empty: Database) -> None:
    migrate.upgrade(empty)
    assert differences(empty) == []
    names = set(inspect(empty.engine).get_table_names())
    assert names == {*metadata.tables, "alembic_version"}


def test_indexes_and_their_conditions_are_the_tables(empty: Database) -> None:
    """compare_metadata does not look at the condition of a partial index, and two invariants rest on one."""
    migrate.upgrade(empty)
    found = {
        i["name"]: i
        for t in ("rollouts", "targets", "writes", "journal", "outbox")
        for i in inspect(empty.engine).get_indexes(t)
    }
    assert found["uq_targets_driven_number"]["unique"]
    for name, words in (
        ("uq_targets_driven_number", "driven"),
        ("ix_writes_unknown", "outcome"),
        ("ix_rollouts_telling", "waiting_for"),
        ("ix_rollouts_live", "rolling_back"),
        ("ix_targets_left", "superseded"),
        ("ix_journal_rollbacks", "read_back"),
        ("ix_outbox_unsent", "sent_at"),
    ):
        conditions = [str(v) for k, v in found[name].get("dialect_options", {}).items() if k.endswith("_where")]
        assert words in conditions[0]


def test_the_phases_that_the_index_calls_live_are_the_live_ones() -> None:
    assert set(re.findall("'([a-z_]+)'", str(LIVE))) == {str(p) for p in Phase if p.is_live}


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_an_older_schema_is_refused_and_can_be_upgraded(empty: Database, revision: str) -> None:
    migrate.upgrade(empty, revision)
    with pytest.raises(SchemaRefused, match=f"has the schema {revision} and this program needs .*rollout db upgrade"):
        migrate.require_current(empty)
    assert migrate.upgrade(empty) == (revision, migrate.head())
    migrate.require_current(empty)
    assert differences(empty) == []


def test_rows_survive_an_upgrade(empty: Database) -> None:
    migrate.upgrade(empty, REVISIONS[0])
    hand = Hand(Store(empty))
    hand.run("INSERT INTO meta (key, value) VALUES ('kept', 'yes')")
    migrate.upgrade(empty)
    assert [tuple(row) for row in hand.run("SELECT key, value FROM meta")] == [("kept", "yes")]


def test_a_newer_schema_is_refused_and_left_alone(empty: Database) -> None:
    migrate.upgrade(empty)
    hand = Hand(Store(empty))
    hand.run("UPDATE alembic_version SET version_num = '9999'")
    for ask in (migrate.require_current, migrate.upgrade):
        with pytest.raises(SchemaRefused, match="has the schema 9999, which this program does not know"):
            ask(empty)
    assert migrate.current(empty) == "9999"


def test_a_failed_upgrade_leaves_nothing_behind(empty: Database) -> None:
    """A migration meets a column that is already there: no half of it may stay."""
    migrate.upgrade(empty, "0004")
    hand = Hand(Store(empty))
    hand.run("ALTER TABLE writes ADD COLUMN retreated integer")
    with pytest.raises(Exception, match=r"already exists|duplicate column"):
        migrate.upgrade(empty)
    assert migrate.current(empty) == "0004"
    columns = {c["name"] for c in inspect(empty.engine).get_columns("rollouts")}
    assert "retreated" not in columns


@pytest.mark.postgres
def test_three_processes_that_upgrade_at_once_take_turns(postgres_server: Server) -> None:
    url = postgres_server.make()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", UPGRADER, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        for _ in range(3)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        answers = []
        for process in processes:
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
            answers.append(out.split())
    finally:
        for process in processes:
            process.kill()
            process.wait()
    head = migrate.head()
    assert sorted(answers) == sorted([["None", head], [head, head], [head, head]])
    database = Database(url, SystemClock())
    migrate.require_current(database)
    assert differences(database) == []
    with database.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar_one() == 1
    database.close()
    postgres_server.drop(url)
