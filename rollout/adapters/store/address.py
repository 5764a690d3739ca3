"""Database addresses: what ROLLOUT_DATABASE_URL may say, and how it is shown without its password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from sqlalchemy import exc
from sqlalchemy.engine import URL, make_url

from rollout.domain.errors import SettingsError

_NAME = "ROLLOUT_DATABASE_URL"
_FORMS = "write sqlite:///rollout.db or postgresql://user@host/name"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9_]*)(?:\+\w+)?://")
_USER = re.compile(r"\w+://(?:[^:/]*(?::[^@]*)?@)?")  # as SQLAlchemy finds the user's name and password
_PARAMETER = re.compile(r"\?\w+=[^/]*$")
_ENCODE = (
    f"{_NAME}: the user's name or the password has a character that ends it too early: write %40 for @, %3A for :, "
    "%2F for /, %3F for ? and %25 for %"
)


@dataclass(frozen=True, slots=True)
class SqliteAddress:
    """A SQLite file."""

    path: Path

    @property
    def place(self) -> str:
        """The database's place, for people."""
        return str(self.path)

    @property
    def shown(self) -> str:
        """The address as it may be printed."""
        return f"sqlite:///{self.path}"


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """A PostgreSQL database. `options`: the settings that the address asks for, in its order."""

    url: URL
    options: tuple[tuple[str, str], ...] = ()

    @property
    def place(self) -> str:
        """The database's place, for people: never with a password."""
        host = self.url.host or self.url.query.get("host") or "the local server"
        return f"{self.url.database or self.url.username or ''} on {host if isinstance(host, str) else ', '.join(host)}"

    @property
    def shown(self) -> str:
        """The address as it may be printed: without any password."""
        hidden = {name: "***" for name in self.url.query if "password" in name}
        url = self.url.set(drivername="postgresql").update_query_dict(hidden)
        return url.render_as_string(hide_password=True)


def parse_address(text: str) -> SqliteAddress | PostgresAddress:
    """The database that an address names; SettingsError for any other text, without its password."""
    scheme = _SCHEME.match(text)
    if scheme is None:
        raise SettingsError(f"{_NAME}: not a database address; {_FORMS}")
    if scheme[1] == "sqlite":
        return SqliteAddress(_path(text[scheme.end() :]))
    if scheme[1] in ("postgresql", "postgres"):
        return _postgres("postgresql://" + text[scheme.end() :])
    raise SettingsError(f"{_NAME}: {scheme[1]} is not supported; {_FORMS}")


def _path(rest: str) -> Path:
    """The path behind `sqlite://`: whole, also with a question mark in it."""
    if rest in ("", "/") or unquote(rest) == "/:memory:":
        raise SettingsError(f"{_NAME}: a database in memory is lost when the process ends; write sqlite:///rollout.db")
    if not rest.startswith("/"):
        raise SettingsError(
            f"{_NAME}: a SQLite address has three slashes, or four before a path from the root; write "
            "sqlite:///rollout.db or sqlite:////var/lib/rollout/rollout.db"
        )
    if _PARAMETER.search(rest):
        raise SettingsError(f"{_NAME}: a SQLite address takes no parameters; write only the path (%3F for a ? in it)")
    path = unquote(rest[1:])
    if "\0" in path:
        raise SettingsError(f"{_NAME}: a path cannot contain NUL; {_FORMS}")
    return Path(path)


def _postgres(text: str) -> PostgresAddress:
    try:
        url = make_url(text)
    except exc.ArgumentError:
        raise SettingsError(f"{_NAME}: not a database address; {_FORMS}") from None
    except ValueError:  # what stands where the port belongs is no number
        port = f"{_NAME}: the port is not a number; {_FORMS}"
        raise SettingsError(_ENCODE if text.count("@") > 1 else port) from None
    place, _, query = text[_USER.match(text).end() :].partition("?")  # type: ignore[union-attr]  # make_url needs a scheme
    broken = any("=" not in part for part in query.split("&") if query)
    if "@" in place or broken or (url.database is None and "@" in query):
        raise SettingsError(_ENCODE)
    given = url.query.get("options", ())
    options = tuple(pair for each in ((given,) if isinstance(given, str) else given) for pair in parse_options(each))
    return PostgresAddress(url.difference_update_query(["options"]).set(drivername="postgresql+psycopg"), options)


def parse_options(text: str) -> Iterator[tuple[str, str]]:
    """The settings of libpq's `options`: `-c name=value`, `-cname=value`, `--name=value`; a backslash keeps a space.

    SettingsError for any other switch of the server's command line.
    """
    words = [re.sub(r"\\(.)", r"\1", word) for word in re.findall(r"(?:\\.|[^\s\\])+", text)]
    rest = iter(words)
    for word in rest:
        if word == "-c":
            setting = next(rest, "")
        elif word.startswith("--"):
            setting = word[2:]
        else:
            setting = word[2:] if word.startswith("-c") else ""
        name, sign, value = setting.partition("=")
        if not sign or not re.fullmatch(r"[A-Za-z_][\w.-]*", name):
            raise SettingsError(
                f"{_NAME}: options: only settings can be given; write for example ?options=-csearch_path%3Dstage"
            )
        yield name.replace("-", "_"), value
