"""What ROLLOUT_DATABASE_URL may say: paths whole, options merged, and no part of a password in an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollout.adapters.store.address import PostgresAddress, SqliteAddress, parse_address, parse_options
from rollout.domain.errors import SettingsError


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///rollout.db", "rollout.db"),
        ("sqlite:////var/lib/rollout.db", "/var/lib/rollout.db"),
        ("sqlite+pysqlite:////a/b.db", "/a/b.db"),
        ("sqlite:////data/what?.db", "/data/what?.db"),
        ("sqlite:////data/what%3F.db", "/data/what?.db"),
        ("sqlite:////data/a?b=c/d.db", "/data/a?b=c/d.db"),
        ("sqlite:////data/a b#c.db", "/data/a b#c.db"),
        ("sqlite:///100%.db", "100%.db"),
        ("sqlite:///file:x.db", "file:x.db"),
    ],
)
def test_a_path_is_taken_whole(url: str, path: str) -> None:
    """It was cut at a question mark: another database was opened."""
    assert parse_address(url) == SqliteAddress(Path(path))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:///rollout.db?mode=ro&uri=true", "a SQLite address takes no parameters"),
        ("sqlite:///file::memory:?cache=shared&uri=true", "a SQLite address takes no parameters"),
        ("sqlite://rollout.db", "a SQLite address has three slashes"),
        ("sqlite:///%3Amemory%3A", "a database in memory"),
        ("postgresql://u@h:port/d", "the port is not a number"),
        ("postgresql://u@h/d?options=-e", "options: only settings can be given"),
        ("postgresql://u@h/d?options=-c%20search_path", "options: only settings can be given"),
    ],
)
def test_what_cannot_be_meant_is_refused(url: str, words: str) -> None:
    with pytest.raises(SettingsError, match=r"^ROLLOUT_DATABASE_URL: ") as refused:
        parse_address(url)
    assert words in refused.value.message


@pytest.mark.parametrize(
    "password",
    ["se@cret", "se@cr/et", "se@cr:et", "se@cr?et", "se@cret:1/x", "se@:cret", "@secret", "se@cret@", "se@cr?e=t@x"],
)
def test_no_part_of_an_unencoded_password_is_shown(password: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_address(f"postgresql://user:{password}@db.internal/rollout")
    assert "%40 for @" in refused.value.message
    assert not any(part in refused.value.message for part in ("se@", "cret", "secret", "db.internal"))


@pytest.mark.parametrize("password", ["se/cret", "se:cret", "se?cret", "se#cret", "se%40cret", "se%3Fcret"])
def test_a_password_that_ends_nothing_is_taken(password: str) -> None:
    found = parse_address(f"postgresql://user:{password}@db.internal/rollout")
    assert isinstance(found, PostgresAddress)
    assert (found.url.host, found.url.database) == ("db.internal", "rollout")
    assert "cret" not in found.place
    assert found.place == "rollout on db.internal"


def test_the_options_of_an_address_are_settings() -> None:
    found = parse_address(
        "postgresql://u@h/d?options=-csearch_path%3Dstage&application_name=x&options=--work-mem%3D8MB"
    )
    assert isinstance(found, PostgresAddress)
    assert found.options == (("search_path", "stage"), ("work_mem", "8MB"))
    assert "options" not in found.url.query


def test_a_backslash_keeps_a_space_in_an_option() -> None:
    assert list(parse_options(r"-c search_path=a,\ b  -cdatestyle=SQL")) == [
        ("search_path", "a, b"),
        ("datestyle", "SQL"),
    ]


@pytest.mark.parametrize(
    "url",
    ["postgresql://user:secret@h/d", "postgresql://user@h/d?password=secret", "postgresql://h/d?sslpassword=secret"],
)
def test_an_address_is_shown_without_its_password(url: str) -> None:
    """`doctor --json` printed it among the settings."""
    found = parse_address(url)
    assert "secret" not in found.shown + found.place
    assert found.shown.startswith("postgresql://")
