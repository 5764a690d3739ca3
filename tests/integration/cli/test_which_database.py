"""Commands that read the database: none takes a file that lies in the folder for the service of ROLLOUT_URL."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from rollout.adapters.clock import SystemClock
from rollout.adapters.store.engine import Database
from tests.support.command_line import CommandLine
from tests.support.inside import Inside
from tests.support.plans import PLAN

SERVICE = {"ROLLOUT_URL": "http://127.0.0.1:1", "ROLLOUT_TOKEN": "rlt_x"}
READING = [
    ("replay", "x"),
    ("kit", "x"),
    ("verify",),
    ("token", "list"),
    ("token", "create", "--role", "viewer", "--name", "me"),
    ("token", "revoke", "x"),
    ("history", "x", "--export", "-"),
    ("db", "check"),
    ("db", "backup", "copy.db"),
]


@pytest.mark.parametrize("args", READING, ids=" ".join)
def test_a_command_of_the_database_says_so_where_a_service_is_named(
    equipped: CommandLine, args: tuple[str, ...]
) -> None:
    before = (equipped.folder / "rollout.db").read_bytes()
    done = equipped(*args, **SERVICE)
    assert done.code == 2, done.err
    assert "set ROLLOUT_DATABASE_URL to that service's database" in done.err
    assert (equipped.folder / "rollout.db").read_bytes() == before
    assert not (equipped.folder / "copy.db").exists()


def test_a_database_that_is_named_is_read(inside: Inside) -> None:
    for args in (("token", "list"), ("verify",), ("db", "check")):
        assert inside(*args, **SERVICE).code == 0


def test_a_token_that_has_expired_says_so(inside: Inside) -> None:
    assert inside("token", "create", "--role", "viewer", "--name", "old", "--expires", "1d").code == 0
    assert inside("token", "create", "--role", "viewer", "--name", "new").code == 0
    database = Database(inside.environment["ROLLOUT_DATABASE_URL"], SystemClock())
    with database.write() as connection:
        past = database.now(connection) - timedelta(days=1)
        written = past.strftime("%Y-%m-%d %H:%M:%S.%f")
        connection.execute(text("UPDATE tokens SET expires_at = :at WHERE name = 'old'"), {"at": written})
    database.close()
    rows = inside("token", "list").out.splitlines()
    assert next(row for row in rows if " old " in row).endswith("expired")
    assert next(row for row in rows if " new " in row).endswith("usable")


def test_a_report_that_cannot_be_written_says_so(inside: Inside) -> None:
    inside.write("plan.yaml", PLAN)
    assert inside("start", "plan.yaml").code == 0
    done = inside("report", "frontdesk-v7", "--html", "no/such/folder.html")
    assert (done.code, done.out) == (2, "")
    assert done.err == "rollout: no/such/folder.html: cannot be written: No such file or directory\n"


def test_a_backup_that_cannot_be_written_says_so_in_words(inside: Inside) -> None:
    inside.write("plan.yaml", PLAN)
    assert inside("start", "plan.yaml").code == 0
    done = inside("db", "backup", "no/such/copy.db")
    assert (done.code, done.err) == (2, "rollout: no/such/copy.db: cannot be written: No such file or directory\n")
