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

_TABLES = ("rollouts", "targets", "writes", "journal", "requests", "services")


class Outage:
    """One server, run here and nowhere else."""

    def __init__(self, programs: Path, folder: Path, user: str | None) -> None:
        self._programs, self._folder, self._user = programs, folder, user
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql://rollout@/postgres?host={folder}"

    def start(self, *, hidden: bool = False) -> None:
        """Listens where the services look for it; `hidden`: where only `restore` does."""
        place = self._folder / "hidden" if hidden else self._folder
        options = {"unix_socket_directories": place, "listen_addresses": "", "fsync": "off"}
        command: list[Path | str] = [self._programs / "postgres", "-D", self._folder / "data"]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, user=self._user, cwd=self._folder, stdout=log, stderr=log
            )
        url = self._hidden_url if hidden else self.url
        until = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(url, connect_timeout=2).close()
            except psycopg.OperationalError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Immediately, as in a crash: every connection is lost."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            self._process = None

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
        command: list[Path | str] = [
            programs / "initdb",
            "-D",
            folder / "data",
            "-U",
            "rollout",
            "-A",
            "trust",
        ]
        postgres._call([*command, "-E", "UTF8", "--locale=C", "--no-sync"], user)
        outage = Outage(programs, folder, user)
        try:
            outage.start()
            yield outage
        finally:
            outage.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
