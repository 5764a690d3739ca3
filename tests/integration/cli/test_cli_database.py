"""Who makes a database: `serve`, `start` and `db upgrade` in the working folder; elsewhere only what was told to."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.service import service

READING = [
    ("list",),
    ("show", "a"),
    ("history", "a"),
    ("report", "a"),
    ("replay", "a"),
    ("promote", "a"),
    ("pause", "--all"),
    ("rollback", "a"),
    ("rollback", "--all"),
    ("kit", "a"),
    ("verify",),
    ("token", "list"),
    ("token", "create", "--role", "viewer", "--name", "a"),
    ("db", "check"),
    ("db", "backup", "copy.db"),
]


def files(rollout: CommandLine) -> set[str]:
    return {p.name for p in rollout.folder.iterdir()}


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_command_in_an_empty_folder_says_that_there_is_none(rollout: CommandLine, command: tuple[str, ...]) -> None:
    done = rollout(*command)
    assert done.code == 4, done.err
    assert "there is no database in this folder yet" in done.err
    assert files(rollout) == {"plan.yaml"}


@pytest.mark.parametrize(
    "command",
    [*READING, ("check", "plan.yaml"), ("start", "plan.yaml"), ("serve", "--no-http"), ("doctor",)],
    ids=" ".join,
)
def test_a_named_file_that_is_not_there_is_named_and_not_made(rollout: CommandLine, command: tuple[str, ...]) -> None:
    """`rollback a` on a mistyped path answered that there is no rollout a, with callers on the canary."""
    done = rollout(*command, ROLLOUT_DATABASE_URL="sqlite:///typo.db")
    assert done.code == 4, done.err
    assert "there is no database file typo.db" in done.err
    assert files(rollout) == {"plan.yaml"}


@pytest.mark.parametrize("command", [("list",), ("serve", "--no-http"), ("db", "upgrade"), ("doctor",)], ids=" ".join)
@pytest.mark.parametrize("value", ["", "  "], ids=["empty", "blanks"])
def test_an_address_that_is_set_and_empty_is_refused(
    rollout: CommandLine, command: tuple[str, ...], value: str
) -> None:
    done = rollout(*command, ROLLOUT_DATABASE_URL=value)
    assert done.code == 2, done.err
    assert "ROLLOUT_DATABASE_URL: it is set and empty" in done.err
    assert files(rollout) == {"plan.yaml"}


def test_an_empty_address_in_the_file_is_refused(rollout: CommandLine) -> None:
    rollout.write("rollout.toml", 'database_url = ""\n')
    done = rollout("list")
    assert done.code == 2
    assert "it is set and empty" in done.err


@pytest.mark.parametrize(
    "command", [("check", "plan.yaml"), ("doctor",), ("rehearse", "plan.yaml", "--runs", "20")], ids=" ".join
)
def test_what_needs_no_database_makes_none(rollout: CommandLine, command: tuple[str, ...]) -> None:
    done = rollout(*command)
    assert done.code == 0, done.err
    assert files(rollout) == {"plan.yaml"}


@pytest.mark.parametrize("command", [("start", "plan.yaml"), ("db", "upgrade")], ids=" ".join)
def test_the_database_of_the_folder_is_made_by(rollout: CommandLine, command: tuple[str, ...]) -> None:
    done = rollout(*command)
    assert done.code == 0, done.err
    assert (rollout.folder / "rollout.db").stat().st_mode & 0o777 == 0o600
    assert rollout("list").code == 0


def test_a_newcomer_may_serve_first(rollout: CommandLine) -> None:
    """`serve` in an empty folder ended, unless `check` had run before."""
    with service(rollout.folder, rollout.variables(), "--no-http"):
        assert rollout("list").code == 0
        assert rollout("start", "plan.yaml").code == 0


def test_a_plan_that_is_not_valid_makes_no_database(rollout: CommandLine) -> None:
    rollout.write("plan.yaml", "name: x\n")
    assert rollout("start", "plan.yaml").code == 2
    assert files(rollout) == {"plan.yaml"}


@pytest.mark.parametrize("command", [("db", "upgrade"), ("serve", "--no-http", "--migrate")], ids=" ".join)
def test_a_named_database_is_made_by(rollout: CommandLine, command: tuple[str, ...]) -> None:
    rollout.environment["ROLLOUT_DATABASE_URL"] = "sqlite:///named?.db"
    if command[0] == "serve":
        with service(rollout.folder, rollout.variables(), *command[1:]):
            pass
    else:
        assert rollout(*command).code == 0
    assert "named?.db" in files(rollout)
    assert "named" not in files(rollout)
    assert rollout("list").code == 0


def test_a_file_without_our_tables_is_left_alone(rollout: CommandLine) -> None:
    path = rollout.folder / "theirs.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (a)")
    before = path.read_bytes()
    for command in (("list",), ("start", "plan.yaml"), ("serve", "--no-http")):
        done = rollout(*command, ROLLOUT_DATABASE_URL=f"sqlite:///{Path('theirs.db')}")
        assert done.code == 3
        assert "theirs.db is empty; run: rollout db upgrade" in done.err
    assert path.read_bytes() == before
