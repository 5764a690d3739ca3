"""A PostgreSQL server that a test stops and starts, and whose last commits it takes away."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.support import postgres

START_SECONDS = 120  # recovery on a machine that is busy with everything else
_TABLES = ("rollouts", "targets", "writes", "journal", "requests", "services", "meta")


class Outage:
    """One server, run here and nowhere else."""

    def __init__(self, programs: Path, folder: Path, user: str | None) -> None:
        self._programs, self._folder, self._user = programs, folder, user
        self._process: subprocess.Popen[bytes] | None = None
        self._standby: subprocess.Popen[bytes] | None = None
        self._data = "data"
        self.url = f"postgresql://rollout@/postgres?host={folder}"

    def start(self, *, hidden: bool = False) -> None:
        """Listens where the services look for it; `hidden`: where only `fail_over` does."""
        self._process = self._run(self._data, self._folder / "hidden" if hidden else self._folder)

    def _run(self, data: str, place: Path) -> subprocess.Popen[bytes]:
        """A server on these data, once it answers."""
        options = {"unix_socket_directories": place, "listen_addresses": "", "fsync": "off"}
        command: list[Path | str] = [self._programs / "postgres", "-D", self._folder / data]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(command, user=self._user, cwd=self._folder, stdout=log, stderr=log)
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(f"postgresql://rollout@/postgres?host={place}", connect_timeout=2).close()
            except psycopg.OperationalError as error:
                if process.poll() is None and time.monotonic() < until:
                    time.sleep(0.02)
                    continue
                _end(process)
                raise RuntimeError(f"the server did not start: {error}; it said: {self.said()}") from None
            else:
                return process

    def said(self) -> str:
        """The end of the servers' log."""
        return (self._folder / "log").read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        """Immediately, as in a crash: every connection is lost."""
        process, self._process = self._process, None
        _end(process)

    def renew(self) -> None:
        """Up, and without a table, whatever the test before left: it may have ended at any point."""
        self.stop()
        self.stop_standby()
        self.start()
        with psycopg.connect(self.url, autocommit=True) as connection:
            for schema in ("kept", "public"):
                connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())
            connection.execute("CREATE SCHEMA public")

    @property
    def _hidden_url(self) -> str:
        return f"postgresql://rollout@/postgres?host={self._folder / 'hidden'}"

    def snapshot(self) -> None:
        """Keeps the rows as they are now: what a standby had when it was promoted."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA IF EXISTS kept CASCADE")
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                connection.execute("CREATE SCHEMA kept")
                for table in _TABLES:
                    connection.execute(f"CREATE TABLE kept.{table} AS TABLE public.{table}".encode())

    def fail_over(self) -> None:
        """Stops the server and brings it back with the rows of the snapshot: later commits are lost."""
        self.stop()
        self.start(hidden=True)
        with psycopg.connect(self._hidden_url) as connection:
            connection.execute("SET session_replication_role = replica")  # no triggers, no foreign keys
            for table in reversed(_TABLES):
                connection.execute(f"DELETE FROM public.{table}".encode())
            for table in _TABLES:
                connection.execute(f"INSERT INTO public.{table} TABLE kept.{table}".encode())
        self.stop()
        self.start()

    def start_standby(self) -> None:
        """An asynchronous standby, up to date and following."""
        target = self._folder / "standby"
        command: list[Path | str] = [self._programs / "pg_basebackup", "-D", target, "-R", "-X", "stream"]
        postgres._call([*command, "-h", self._folder, "-U", "rollout", "-c", "fast", "--no-sync"], self._user)
        self._standby = self._run("standby", self._folder / "hidden")

    def stop_standby(self) -> None:
        """It lags from here on."""
        process, self._standby = self._standby, None
        _end(process)

    def promote(self) -> None:
        """The server is lost; the standby takes its place and its address, with what it had."""
        self.stop()
        self.stop_standby()
        self._data = "standby"
        self.start()
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")


def _end(process: subprocess.Popen[bytes] | None) -> None:
    if process is None:
        return
    process.send_signal(signal.SIGQUIT)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:  # a machine that stalls; the next one must find nobody on the data
        process.kill()
        process.wait(60)


@contextmanager
def own_server() -> Iterator[Outage]:
    """A server of an installed PostgreSQL; NoServer with the reason when there is none."""
    programs = postgres._installed()
    if programs is None:
        raise postgres.NoServer("no PostgreSQL is installed that could be stopped and started")
    user = "postgres" if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="rollout-outage-"))
    try:
        folder.chmod(0o755)
        for name in ("data", "hidden"):
            (folder / name).mkdir()
        if user is not None:
            for path in (folder, folder / "data", folder / "hidden"):
                shutil.chown(path, user)
        command: list[Path | str] = [programs / "initdb", "-D", folder / "data", "-U", "rollout", "-A", "trust"]
        postgres._call([*command, "-E", "UTF8", "--locale=C", "--no-sync"], user)
        outage = Outage(programs, folder, user)
        try:
            outage.start()
            yield outage
        finally:
            outage.stop()
            outage.stop_standby()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
