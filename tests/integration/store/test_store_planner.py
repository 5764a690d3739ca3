"""No statement that runs by the clock reads a table whole that grows: the planner of both databases is asked.

Every job of the clock is run once on a long history with something live of every kind. Each statement that it sends
is then explained by the database itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from jobs import prune
from jobs.anchors import Anchors
from jobs.notify import Notify
from jobs.observe import Observe
from jobs.scheduler import Scheduler
from rollout.adapters.exposition.prometheus import metrics_text
from rollout.adapters.store import pruning
from rollout.adapters.store.gate_records import StoredGateRecords
from rollout.adapters.store.interface_queries import InterfaceQueries
from rollout.domain.calls import CallRecord
from rollout.engine.gate_check import GateCheck
from tests.support.scene import ME, Scene
from tests.support.values import AGENT

HISTORY = 4000
CALLS = 40_000
# Tables that grow with use. The others have a row for each process, token, setting or phone number.
GROWING = {
    "rollouts",
    "targets",
    "writes",
    "journal",
    "looks",
    "observations",
    "outbox",
    "deliveries",
    "requests",
    "sessions",
}
# Indices that hold a handful of rows however long the history is, so that reading one whole is cheap.
SMALL = {
    "uq_targets_driven_number",
    "ix_targets_left",
    "ix_rollouts_telling",
    "ix_rollouts_live",
    "ix_outbox_unsent",
    "ix_writes_unknown",
    "ix_journal_rollbacks",  # read whole once by each process, and then no more
}
# Counted at each scrape: an entry of some bytes for each rollout that is kept.
COUNTED = {"ix_rollouts_phase"}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def old(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """A service that has run for long, with a rollout in every phase."""
    monkeypatch.setattr(prune, "MOST_BATCHES", 1)  # its statements are the same in each batch
    monkeypatch.setattr(pruning, "MOST_PRUNED", 20)
    url = request.getfixturevalue(f"{request.param}_url")
    folder = tmp_path / "kits"
    folder.mkdir()
    for i in range(20):
        (folder / f"rollback-old{i + 1}.py").touch()
    with Scene(
        url, notify_urls=["gotify://127.0.0.1:1/hunter2hunter2"], notify_hosts=["127.0.0.1"], kit_dir=folder
    ) as scene:
        scene.app = _with_gates(scene)
        numbers = scene.add_numbers(8)
        for number in numbers[:2]:  # ended
            scene.given(numbers=[number], name=f"ended-{number}")
            scene.drive()
            scene.app.commands.rollback(scene.id, ME)
            scene.after(400)
        ended = scene.id
        for i, number in enumerate(numbers[2:]):
            scene.given(numbers=[number], name=f"live-{number}", gates={"profile": "standard"})
            scene.drive()
            if i == 1:
                scene.app.commands.pause(scene.id, ME)
            if i == 2:
                scene.sandbox.fault("status", status=503, times=None, number=number)
                scene.app.commands.rollback(scene.id, ME)
            scene.drive()
        _age(scene, ended)
        yield scene


def _with_gates(scene: Scene) -> Any:
    scene.gates = GateCheck(StoredGateRecords(scene.app.database))
    scene.app.close()
    return scene._build()


def _age(scene: Scene, ended: str) -> None:
    """The ended rollout some thousand times over, as SQL: long enough that a planner does not take it lightly."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {most}) "
    with scene.app.database.write() as connection:

        def copy(table: str, most: int, **changed: str) -> None:
            names = [
                row[0] for row in connection.execute(text(f"SELECT * FROM {table} WHERE 1 = 0")).cursor.description
            ]
            values = ", ".join(changed.get(name, f"o.{name}") for name in names)
            key = "id" if table == "rollouts" else "rollout_id"
            query = f"INSERT INTO {table} ({', '.join(names)}) {numbers.format(most=most)}"
            if connection.dialect.name == "postgresql":  # there the WITH comes first
                query = f"{numbers.format(most=most)}INSERT INTO {table} ({', '.join(names)})"
            connection.execute(
                text(f"{query} SELECT {values} FROM n CROSS JOIN {table} o WHERE o.{key} = :id"), {"id": ended}
            )

        other = "'old' || n.i"
        zone = "" if scene.app.database.is_sqlite else "::timestamptz"
        long_ago, now = (
            f"'{scene.app.store.now() - timedelta(days=days):%Y-%m-%d %H:%M:%S.%f}'{zone}" for days in (20, 0)
        )
        copy(
            "rollouts",
            HISTORY,
            id=other,
            name="'name' || n.i",
            watch_until="NULL",
            due_at="NULL",
            created_at=long_ago,
            updated_at=long_ago,
        )
        number = "'+1900' || (n.i % 500)"
        copy("targets", HISTORY, rollout_id=other, number=number, state="'superseded'")
        copy("writes", HISTORY, rollout_id=other, id="'w' || n.i || '-' || substr(o.id, 1, 8)")
        copy("journal", HISTORY, rollout_id=other, at=long_ago)
        rows = {
            "observations": (
                "call_id, number, channel, agent_id, agent_version, status, started_at, analyzed, updated_at",
                f"'c' || n.i, '+1900' || (n.i % 500), 'inbound', 'a', 6, 'ended', {now}, :yes, {now}",
            ),
            "looks": (
                "rollout_id, seq, at, wave, step, outcome, reason, evidence",
                f"'old' || (n.i % 400), n.i, {now}, 1, 1, 'undecided', '', '{{}}'",
            ),
            "marks": ("number, channel, since, polled_at, trouble", f"'+1900' || n.i, 'inbound', {now}, {now}, ''"),
            "outbox": (
                "event, channel, rollout_id, kind, severity, title, body, created_at, sent_at, tries, trouble",
                f"'old:' || n.i, 'x', 'old' || n.i, 'held', 'info', '', '', {now}, {now}, 0, ''",
            ),
            "deliveries": ("digest, at", f"'w' || n.i, {now}"),
            "requests": ("actor, request_id, command, digest, answer, at", f"'a', n.i, 'x', '', '{{}}', {now}"),
            "tokens": (
                "id, name, role, hash, created_at, created_by",
                f"'t' || n.i, '', 'viewer', n.i, {long_ago}, ''",
            ),
            "sessions": (
                "hash, token_id, csrf_hash, created_at, seen_at, expires_at",
                f"n.i, 't1', '', {now}, {now}, {now}",
            ),
        }
        for table, (names, values) in rows.items():
            most = {"observations": CALLS, "tokens": 1}.get(table, HISTORY)
            chosen = f"SELECT {values} FROM n"
            if connection.dialect.name == "postgresql":
                if table in ("requests", "tokens", "sessions"):
                    chosen = re.sub(r"\bn\.i,", "n.i::text,", chosen)
                query = f"{numbers.format(most=most)} INSERT INTO {table} ({names}) {chosen}"
            else:
                query = f"INSERT INTO {table} ({names}) {numbers.format(most=most)} {chosen}"
            connection.execute(text(query), {"yes": True} if ":yes" in query else {})
    if not scene.app.database.is_sqlite:
        with scene.app.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as plain:
            plain.execute(text("VACUUM ANALYZE"))


Sent = list[tuple[str, Any]]


@pytest.fixture
def sent(old: Scene) -> Sent:
    """Each different statement that the jobs of the clock send, with parameters it was sent with."""
    found: dict[str, Any] = {}

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _x: Any, many: bool) -> None:
        if statement.split(None, 1)[0] in ("SELECT", "UPDATE", "DELETE", "INSERT", "WITH"):
            found.setdefault(statement, parameters[0] if many else parameters)

    anchors = Anchors(old.app)
    anchors.tick()  # all heads, once by each process, before what is held against the planner
    event.listen(old.app.database.engine, "before_cursor_execute", note)
    for job in _jobs(old, anchors):
        job()
    event.remove(old.app.database.engine, "before_cursor_execute", note)
    return list(found.items())


def _jobs(old: Scene, anchors: Anchors) -> Iterator[Callable[[], Any]]:
    app, clock = old.app, old.clock
    scheduler = Scheduler(app)
    notify, pruner = Notify(app), prune.Prune(app)
    assert app.calls is not None
    observe = Observe(app, app.calls)
    yield scheduler._greet
    for _ in range(3):
        yield lambda: clock.advance(400)
        yield scheduler.tick
        yield old.drive
        yield scheduler.drift.tick
        yield observe.tick
        yield anchors.tick
        yield scheduler.kits.tick
        yield notify.fill
        yield notify.tick
        yield notify.deliver
        yield lambda: notify.wait_for_deliveries(10)
        yield lambda: metrics_text(app, scheduler)
        yield lambda: _webhooks(old)
    yield pruner.tick
    yield lambda: clock.advance(500 * 86_400.0)
    yield pruner.tick
    yield scheduler.advance.stop
    yield observe.stop
    yield notify.stop


def _webhooks(old: Scene) -> None:
    """What the intake of webhooks asks every second."""
    queries = InterfaceQueries(old.app.database)
    now = old.clock.now()
    for number in sorted(queries.driven_numbers())[:2]:
        call = CallRecord(
            f"hook-{number}-{now}",
            AGENT,
            7,
            number,
            "inbound",
            now,
            now,
            "ended",
            "user_hangup",
            900.0,
            True,
            "Positive",
            False,
            {},
            True,
        )
        old.app.store.calls.observe([call])
        old.app.store.drivers([number])


def test_no_statement_of_the_clock_reads_a_growing_table_whole(old: Scene, sent: Sent) -> None:
    asked = {table for table in GROWING for statement, _ in sent if re.search(rf"\b{table}\b", statement)}
    assert asked == GROWING
    assert len(sent) > 60
    whole = [f"{scan}\n    {statement}" for statement, values in sent for scan in scans(old, statement, values)]
    assert not whole, "\n".join(whole)


def scans(old: Scene, statement: str, values: Any) -> list[str]:
    """Every table or index that grows and that this statement reads from its beginning to its end."""
    if old.app.database.is_sqlite:
        with old.app.database.read() as connection:
            steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
        return [step[3] for step in steps if _is_whole_on_sqlite(step[3], statement)]
    with old.app.database.read() as connection:
        lines = [row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", values)]
    return [line.strip() for i, line in enumerate(lines) if _is_whole_on_postgresql(lines, i)]


def _is_whole_on_sqlite(step: str, statement: str) -> bool:
    found = re.fullmatch(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?.*", step)
    if found is None or found[1] not in GROWING or found[2] in SMALL | COUNTED:
        return False
    # In the order of an index and up to a limit it ends early.
    return not (found[2] and " LIMIT " in " ".join(statement.split()))


def _is_whole_on_postgresql(lines: list[str], i: int) -> bool:
    line = lines[i]
    if (found := re.search(r"Seq Scan on (\w+)", line)) is not None:
        return found[1] in GROWING
    found = re.search(r"Index (?:Only )?Scan (?:Backward )?using (\w+) on (\w+)", line)
    found = found or re.search(r"Bitmap Index Scan on (\w+)()", line)
    if found is None or found[1] in SMALL | COUNTED:
        return False
    following = lines[i + 1] if i + 1 < len(lines) else ""
    if "Index Cond" in following:
        return False
    return not any("Limit" in before for before in lines[:i])
