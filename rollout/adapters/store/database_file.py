"""The file of a SQLite database: opening never creates it, and a process only ever uses the one it opened first."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from rollout.domain.errors import DatabaseReplaced, NoDatabase, NotReachable, Refused, SettingsError

BUSY_SECONDS = 5


class DatabaseFile:
    """One file by its path. From the first connection on, only the file that was opened then is taken for it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._absolute = path.absolute()  # links stay links: one may be pointed elsewhere
        self._identity: tuple[int, int] | None = None

    def connect(self, wait: float = BUSY_SECONDS) -> sqlite3.Connection:
        """A connection to the file as it is, that waits so long for a lock.

        NoDatabase when there is no file, DatabaseReplaced when it is another than the first time.
        """
        before = self._found()
        if self._identity not in (None, before):
            raise DatabaseReplaced(self._replaced())
        connection = None
        try:
            connection = self._connect(wait)
            if self._found() != before:
                raise DatabaseReplaced(self._replaced())
            _set_up(connection)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.OperationalError) and (reason := self._refusal()):
                raise NotReachable(f"the database cannot be opened: {self.path}: {reason}") from None
            raise
        self._identity = before
        return connection

    def _connect(self, wait: float) -> sqlite3.Connection:
        return sqlite3.connect(
            f"file:{quote(os.fsencode(self._absolute))}?mode=rw",
            uri=True,
            timeout=wait,
            isolation_level=None,  # we say BEGIN ourselves, so that DDL is transactional too
            check_same_thread=False,
        )

    def _refusal(self) -> str:
        """The system's reason not to let this file be written, or files be made beside it; empty when it does."""
        folder = self._absolute.parent
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            return "Read-only file system"
        if not os.access(self._absolute, os.R_OK | os.W_OK):
            return "you may not read and write it"
        return "" if os.access(folder, os.W_OK) else f"you may not create files in {folder}, and SQLite must"

    def require_same(self) -> None:
        """DatabaseReplaced unless the path still names the file that this process has open."""
        if self._identity is not None and self._named() != self._identity:
            raise DatabaseReplaced(self._replaced())

    def require_no_other(self) -> None:
        """DatabaseReplaced when the path names another file.

        Its write-ahead log is then the one that this process has open, too: whatever we wrote would go into the
        other database, and what we read might come from it. A file that is merely gone can still be used.
        """
        if self._identity is not None and self._named() not in (None, self._identity):
            raise DatabaseReplaced(self._replaced())

    def _named(self) -> tuple[int, int] | None:
        try:
            return _identity(self._absolute.stat())
        except OSError:
            return None

    def make(self) -> None:
        """Make the file if there is none, readable by its owner alone; NotReachable when that cannot be done."""
        if not self.path.parent.is_dir():
            raise SettingsError(f"ROLLOUT_DATABASE_URL: there is no folder {self.path.parent}; create it first")
        try:
            # It will hold baselines and tokens: make it private before SQLite opens it.
            os.close(os.open(self._absolute, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            return
        except OSError as error:
            raise NotReachable(f"cannot create the database file {self.path}: {error.strerror}") from None
        with contextlib.closing(self.connect()) as connection:
            connection.execute("PRAGMA journal_mode=WAL")

    @contextmanager
    def only_service(self) -> Iterator[None]:
        """Lock this file for one service, by whatever path, link or hard link it is opened.

        The lock is on the file itself, so it moves with it, and is of another kind than SQLite's own locks. This process
        would lose those if it closed the file while it has connections: leave the block after they are closed.
        """
        try:
            handle = os.open(self._absolute, os.O_RDONLY)
        except FileNotFoundError:
            raise NoDatabase(self._missing()) from None
        except OSError as error:
            raise NotReachable(f"the database cannot be opened: {self.path}: {error.strerror}") from None
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Refused(
                    f"another `rollout serve` runs on {self.path}; SQLite allows one. Commands still work; to run "
                    "several services, use PostgreSQL"
                ) from None
            held = _identity(os.fstat(handle))
            if self._identity not in (None, held):
                raise DatabaseReplaced(self._replaced())
            self._identity = held
            yield
        finally:
            os.close(handle)

    def _found(self) -> tuple[int, int]:
        try:
            found = self._absolute.stat()
        except FileNotFoundError:
            raise (
                NoDatabase(self._missing()) if self._identity is None else DatabaseReplaced(self._replaced())
            ) from None
        except OSError as error:
            raise NotReachable(f"the database cannot be opened: {self.path}: {error.strerror}") from None
        if stat.S_ISDIR(found.st_mode):
            raise NotReachable(f"{self.path} is a folder; name the database file in it")
        return _identity(found)

    def _missing(self) -> str:
        return (
            f"there is no database file {self.path}; correct ROLLOUT_DATABASE_URL, or create the database with "
            "`rollout db upgrade`"
        )

    def _replaced(self) -> str:
        return (
            "the database file was replaced; stop the service; use the kit "
            f"({self.path} is not the file that this process has open)"
        )


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _set_up(connection: sqlite3.Connection) -> None:
    # A copy that was put in place has no write-ahead log yet. A file that is not ours is not touched by reading it.
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal" and connection.execute(_OURS).fetchone():
        connection.execute("PRAGMA journal_mode=WAL")
    # FULL: an intent that is committed survives a power cut. NORMAL may lose the last commits.
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


_OURS = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'"
