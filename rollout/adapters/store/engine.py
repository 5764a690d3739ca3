"""Engines and transactions: SQLite pragmas and BEGIN IMMEDIATE, psycopg, one notion of now."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, text

from rollout.adapters.clock import SystemClock
from rollout.adapters.store.address import SqliteAddress, parse_address
from rollout.adapters.store.database_file import BUSY_SECONDS, DatabaseFile
from rollout.adapters.store.postgres_session import IDLE_SECONDS, UTF8, Difference, prepare, session_faults
from rollout.adapters.store.trouble import trouble_told
from rollout.adapters.store.writer_queue import WriterQueue
from rollout.adapters.telemetry.logs import Logger
from rollout.domain.errors import SettingsError
from rollout.engine.ports import Clock

log = Logger(__name__)
URGENT_SECONDS = 1  # after it, a rollback waits for the file's lock itself and no longer for our other writers
APPLICATION = "rollout"

# If the server vanishes without closing the connection (its machine died, or a firewall), we notice after some 20 seconds;
# with Linux's own settings that takes from 15 minutes to 2 hours. See libpq's connection parameters.
_SILENCE = {
    "tcp_user_timeout": 20_000,  # milliseconds until what was sent must be acknowledged
    "keepalives_idle": 5,  # seconds
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
PING_AFTER = 0.1  # seconds; no server is restarted in less
CLOCK_GOOD_FOR = 1.0  # seconds; a fail-over to a server with another clock is noticed after it
_CLOCK = text("SELECT clock_timestamp()")
_REAL = SystemClock()  # PostgreSQL's clock runs on in a test that stops ours

# PostgreSQL's own limit for idle transactions misses a client that stopped in the middle of a batch of statements, so
# we also look for our own sessions that are silent inside a transaction.
_END_STUCK = text(
    "SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND usename = current_user AND application_name = :name"
    " AND pid <> pg_backend_pid() AND xact_start IS NOT NULL AND wait_event = 'ClientRead'"
    " AND state_change < clock_timestamp() - make_interval(secs => :seconds)) AS ended"
)


class Opener:
    """Opens the connections of one database."""

    def __init__(self, url: str) -> None:
        self.address = parse_address(url)
        self.file = DatabaseFile(self.address.path) if isinstance(self.address, SqliteAddress) else None
        self.differences: list[Difference] = []
        """Settings that did not keep their value in the newest PostgreSQL session."""

    def engine(self, pool_size: int = 10) -> Engine:
        """An engine with a pool of its own."""
        if isinstance(self.address, SqliteAddress):
            assert self.file is not None
            return _sqlite(self.file)
        engine = create_engine(
            self.address.url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_use_lifo=True,  # the one in use a moment ago
            connect_args={**_SILENCE, "connect_timeout": 5, "application_name": APPLICATION},
        )
        options = self.address.options

        @event.listens_for(engine, "do_connect")
        def _connect(dialect: Any, _record: Any, arguments: Any, parameters: Any) -> Any:
            try:
                connection = dialect.connect(*arguments, **parameters)
            except dialect.dbapi.ProgrammingError as error:  # a parameter of the address that libpq does not know
                raise SettingsError(f"ROLLOUT_DATABASE_URL: {str(error).splitlines()[0]}") from None
            try:
                differences = prepare(connection, options)
            except BaseException:
                connection.close()
                raise
            if differences and not self.differences:
                log.warning("a session does not keep its settings", settings=[str(d) for d in differences])
            self.differences = differences
            return connection

        _ping_after(engine, PING_AFTER)
        return engine


def _ping_after(engine: Engine, seconds: float) -> None:
    """Ask whether a connection still lives before it is used, if it was idle for so long.

    One that was in use a moment ago is taken as it is: asking at every transaction is a fifth of a pass's work.
    """

    @event.listens_for(engine, "checkin")
    def _idle(_connection: Any, record: Any) -> None:
        record.info["idle_since"] = _REAL.boot()

    @event.listens_for(engine, "checkout")
    def _ask(connection: Any, record: Any, _proxy: Any) -> None:
        if _REAL.boot() - record.info.get("idle_since", _REAL.boot()) < seconds:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise exc.DisconnectionError from error  # the pool opens another


def _sqlite(file: DatabaseFile) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(file.path)))

    @event.listens_for(engine, "do_connect")
    def _connect(*_: Any) -> Any:
        return file.connect()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that reads and then writes fails at once under load: a read lock cannot
        # wait to become a write lock. So writers take the lock first.
        read_only = connection.info.get("read_only", False)
        # Said to the driver itself: every read begins so, and a statement of SQLAlchemy's costs ten times as much.
        connection.connection.cursor().execute("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


class Database:
    """Transactions on one database, with one clock for everybody who shares it."""

    def __init__(self, url: str, clock: Clock, engine: Engine | None = None) -> None:
        self.url = url
        self.opener = Opener(url)
        self.file = self.opener.file
        self.engine = engine or self.opener.engine()
        self.clock = clock
        self._read_clock: tuple[datetime, float] | None = None  # PostgreSQL's moment, and ours right after it
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        # Waiting writers of SQLite sleep and poll; those of one process can know when it is their turn.
        self._turn: Callable[[bool], AbstractContextManager[None]] = (
            WriterQueue(BUSY_SECONDS, URGENT_SECONDS).taken if self.is_sqlite else lambda _urgent: nullcontext()
        )
        # On SQLite every transaction sees one moment; on PostgreSQL only those that ask for it do.
        isolation = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._reader = self.engine.execution_options(**isolation)
        self._moment = threading.local()  # the connection of a thread that reads at one moment

    @property
    def place(self) -> str:
        """The database's place, for people: never with a password."""
        return self.opener.address.place

    @contextmanager
    def write(self, *, urgent: bool = False) -> Iterator[Connection]:
        """One writing transaction, committed at the end of the block. `urgent`: before others of this process."""
        self._require_no_other()
        with trouble_told("used"), self._turn(urgent), self.engine.connect() as connection:
            connection.info["read_only"] = False
            with connection.begin():
                yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One reading transaction: everything in the block is seen at one moment."""
        if (shared := getattr(self._moment, "connection", None)) is not None:
            yield shared
            return
        self._require_no_other()
        with trouble_told("read"), self._reader.connect() as connection:
            connection.info["read_only"] = True  # kept with the pool's connection, so both sides say it
            yield connection

    @contextmanager
    def at_one_moment(self) -> Iterator[None]:
        """Whatever this thread reads in the block is one transaction: what belongs together fits together.

        It lasts as long as the block: ask nobody else in it.
        """
        before = getattr(self._moment, "connection", None)
        with self.read() as connection:
            self._moment.connection = connection
            try:
                yield
            finally:
                self._moment.connection = before

    def now(self, connection: Connection | None = None) -> datetime:
        """The moment that leases, horizons and due times are measured by.

        Replicas share PostgreSQL but not their clocks, so PostgreSQL's clock counts; a SQLite file belongs to one
        machine, so that machine's clock counts. Inside a transaction PostgreSQL is asked. Outside of one, an answer of the
        last second is extended by this machine's monotonic clock, which counts suspended time, too: it is late by the
        time that the answer took, and never early.
        """
        if self.is_sqlite:
            return self.clock.now()
        if connection is None:
            read = self._read_clock
            if read is not None and 0 <= (since := _REAL.boot() - read[1]) < CLOCK_GOOD_FOR:
                return read[0] + timedelta(seconds=since)
            with self.read() as own:
                return self.now(own)
        moment: datetime = connection.execute(_CLOCK).scalar_one()
        self._read_clock = moment, _REAL.boot()
        return moment

    def end_stuck(self) -> int:
        """End sessions of this program that are inactive inside a transaction; return how many there were.

        A process that was stopped there (on a suspended machine) would keep its locks until it resumes, and block
        rollbacks, too. On SQLite only that process itself can release the lock of the file.
        """
        if self.is_sqlite:
            return 0
        with self.write() as connection:
            ended = connection.execute(_END_STUCK, {"name": APPLICATION, "seconds": IDLE_SECONDS})
            return int(ended.scalar_one())

    def make(self) -> None:
        """Make the file of a SQLite database if there is none. Nothing else does: opening and reading make nothing."""
        if self.file is not None:
            self.file.make()

    def require_same(self) -> None:
        """DatabaseReplaced when the database is not the one that this process began with."""
        if self.file is not None:
            self.file.require_same()

    def sessions(self) -> list[str]:
        """Faults in the settings of this database's sessions, one sentence each; nothing on SQLite."""
        if isinstance(self.opener.address, SqliteAddress):
            return []
        with trouble_told("read"), self._outside() as first, self._outside() as second:
            return session_faults(first, second, self.opener.address.options)

    @contextmanager
    def _outside(self) -> Iterator[Any]:
        """The driver's own connection, each statement a transaction of its own."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            yield connection.connection.driver_connection

    def encoding(self) -> str:
        """PostgreSQL's encoding of texts; UTF8 on SQLite."""
        if self.is_sqlite:
            return UTF8
        with self.read() as connection:
            return str(connection.execute(text("SHOW server_encoding")).scalar_one())

    def _require_no_other(self) -> None:
        if self.file is not None:
            self.file.require_no_other()

    def close(self) -> None:
        self.engine.dispose()
