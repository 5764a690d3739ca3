"""The figures that /metrics shows, read in one transaction: a restart loses none, and replicas agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BindParameter, Connection, Text, and_, bindparam, case, func, select, type_coerce

from rollout.adapters.store.bulk import in_parts
from rollout.adapters.store.engine import Database
from rollout.adapters.store.heartbeats import ALIVE_WITHIN
from rollout.adapters.store.observations import CallsUnreadable, unreadable
from rollout.adapters.store.outbox import Failing, failing
from rollout.adapters.store.rows import to_rollout, to_target
from rollout.adapters.store.tables import (
    LIVE,
    OF_ROLLBACKS,
    UNSENT,
    journal,
    outbox,
    rollouts,
    services,
    targets,
    writes,
)
from rollout.domain.lifecycle.state import Rollout, Target
from rollout.domain.lifecycle.waiting import WaitingFor

MOST_ENDED = 1000  # ended rollouts shown one by one, the newest; the counts by phase cover all of them
ENDED_WITHIN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue of one address, by its digest; `oldest` is when the oldest of it was put in."""

    channel: str
    waiting: int
    given_up: int
    oldest: datetime | None


Mark = tuple[Any, ...]  # what every recorded change of a rollout moves


@dataclass(frozen=True, slots=True)
class Light:
    """A rollout that is shown: equal marks, equal values. What follows is moved by the scheduler without a mark."""

    id: str
    mark: Mark
    due_at: datetime | None
    waiting_for: WaitingFor | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """A rollout with its targets as it is now; `writes` counts them by kind and outcome ("unknown": none yet)."""

    rollout: Rollout
    writes: Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class StoreFigures:
    """Everything at one moment. `shown` are the live ones and those that ended in the last day, newest first.

    `changed` holds those of them whose mark is not the known one. `left_out` counts those that are not shown.
    """

    now: datetime
    shown: Sequence[Light]
    changed: Mapping[str, Changed]
    left_out: int
    phases: Mapping[str, int]
    alive: int
    queues: Sequence[Queue]
    failing: Sequence[Failing]
    unreadable: Mapping[str, CallsUnreadable]


# Built once: a page of figures is ten statements, and building one costs more than running it.
_r, _w, _o, _j = rollouts.c, writes.c, outbox.c, journal.c
_ids: BindParameter[Sequence[str]] = bindparam("ids", expanding=True)
_MARK = (_r.id, type_coerce(_r.updated_at, Text), _r.journal_seq)
# The gates keep a live rollout's verdict without recording a change.
_LIVE = select(*_MARK, type_coerce(_r.verdict, Text), _r.due_at, _r.waiting_for).where(LIVE)
_ENDED = select(*_MARK).where(~LIVE, _r.updated_at >= bindparam("since"))
_LIVE_SHOWN = _LIVE.order_by(_r.created_at.desc())
_ENDED_SHOWN = _ENDED.order_by(_r.updated_at.desc(), _r.created_at.desc()).limit(bindparam("most"))
_ENDED_COUNT = select(func.count()).where(~LIVE, _r.updated_at >= bindparam("since"))
_WHOLE = select(rollouts).where(_r.id.in_(_ids))
_TARGETS = select(targets).where(targets.c.rollout_id.in_(_ids)).order_by(targets.c.ord)
_PHASES = select(_r.phase, func.count()).group_by(_r.phase)
_ALIVE = select(func.count()).where(services.c.beat_at >= bindparam("since"))
_WRITES = (
    select(_w.rollout_id, _w.kind, _w.outcome, func.count())
    .where(_w.rollout_id.in_(_ids))
    .group_by(_w.rollout_id, _w.kind, _w.outcome)
)
_QUEUES = (
    select(_o.channel, func.count(_o.due_at), func.count(), func.min(case((_o.due_at.is_not(None), _o.created_at))))
    .where(UNSENT)
    .group_by(_o.channel)
    .order_by(_o.channel)
)
_ROLLBACKS = select(_j.rollout_id, _j.seq, _j.kind, _j.at).where(OF_ROLLBACKS).order_by(_j.rollout_id, _j.seq)
_ROLLBACKS_SINCE = _ROLLBACKS.where(
    _j.rollout_id.in_(select(_j.rollout_id).where(and_(_j.at >= bindparam("since"), _j.kind == "read_back")))
)


def read(database: Database, known: Mapping[str, Mark]) -> StoreFigures:
    """All figures at one moment, with what is new against the marks that are known; NotReachable."""
    with database.read() as connection:
        now = database.now(connection)
        since = {"since": now - ENDED_WITHIN}
        phases = {row.phase: row[1] for row in connection.execute(_PHASES)}
        shown = [
            Light(row[0], tuple(row[1:4]), row[4], row[5] and WaitingFor(row[5]))
            for row in connection.execute(_LIVE_SHOWN)
        ]
        live = len(shown)
        shown += [
            Light(row[0], tuple(row[1:]), None)
            for row in connection.execute(_ENDED_SHOWN, {**since, "most": MOST_ENDED})
        ]
        return StoreFigures(
            now,
            shown,
            _changed(connection, [each.id for each in shown if known.get(each.id) != each.mark]),
            _left_out(connection, len(shown) - live, since),
            phases,
            connection.execute(_ALIVE, {"since": now - ALIVE_WITHIN}).scalar_one(),
            [Queue(channel, due, total - due, oldest) for channel, due, total, oldest in connection.execute(_QUEUES)],
            failing(connection),
            unreadable(connection),
        )


def _left_out(connection: Connection, shown: int, since: Mapping[str, datetime]) -> int:
    if shown < MOST_ENDED:
        return 0
    ended: int = connection.execute(_ENDED_COUNT, since).scalar_one()
    return ended - shown


def _changed(connection: Connection, ids: Sequence[str]) -> dict[str, Changed]:
    found: dict[str, Changed] = {}
    for some in in_parts(ids, 200):
        of: dict[str, list[Target]] = {id_: [] for id_ in some}
        for row in connection.execute(_TARGETS, {"ids": some}):
            of[row.rollout_id].append(to_target(row))
        counts: dict[str, dict[tuple[str, str], int]] = {id_: {} for id_ in some}
        for id_, kind, outcome, count in connection.execute(_WRITES, {"ids": some}):
            counts[id_][kind, outcome or "unknown"] = count
        for row in connection.execute(_WHOLE, {"ids": some}):
            rollout = replace(to_rollout(row), targets=tuple(of[row.id]))
            found[row.id] = Changed(rollout, counts[row.id])
    return found


def rollbacks(database: Database, since: datetime | None) -> list[tuple[str, int, str, datetime]]:
    """(rollout id, sequence, kind, at) of the entries that order a rollback and that read it back, in order.

    With `since`: of the rollouts that have such an entry from then on, those alone.
    """
    with database.read() as connection:
        if since is None:
            rows = connection.execute(_ROLLBACKS)
        else:
            rows = connection.execute(_ROLLBACKS_SINCE, {"since": since})
        return [(row.rollout_id, row.seq, row.kind, row.at) for row in rows]
