"""The limits of Retell's account, kept where every process of the service sees them."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta

from sqlalchemy import Connection, bindparam, func, select, update

from rollout.adapters.store import signals
from rollout.adapters.store.engine import Database
from rollout.adapters.store.key_values import set_once, value_of
from rollout.adapters.store.tables import meta, services
from rollout.domain.request_budget import LONGEST_PAUSE, Allowance, RequestTurns, deal, left, throttled
from rollout.engine.ports import BudgetState

_ALIVE = timedelta(seconds=30)


class SharedLimits:
    """Implementation of rollout.engine.ports.AccountLimits in one row of the database. Safe for threads and processes.

    The row belongs to the address of Retell's API: one installation has one account there. No key is kept.
    """

    def __init__(self, database: Database, base_url: str) -> None:
        self._database = database
        self._key = f"limit:{hashlib.sha256(base_url.encode()).hexdigest()[:16]}"

    def take(self, count: int, rate: float, *, urgent: bool) -> RequestTurns:
        with self._database.write(urgent=urgent) as connection:
            now = self._database.now(connection).timestamp()
            dealt, turns = deal(self._locked(connection), now, count, rate, urgent=urgent)
            self._keep(connection, dealt)
            return turns

    def throttled(self, pause: float) -> None:
        with self._database.write() as connection:
            now = self._database.now(connection).timestamp()
            self._keep(connection, throttled(self._locked(connection), now, pause))
            signals.send(connection, signals.LIMITS)

    def state(self) -> BudgetState:
        with self._database.read() as connection:
            now = self._database.now(connection)
            alive = connection.execute(_RUNNING, {"since": now - _ALIVE}).scalar_one()
            text = value_of(connection, self._key)
        a = Allowance() if text is None else Allowance.of(json.loads(text))
        pause = min(max(0.0, a.paused_until - now.timestamp()), LONGEST_PAUSE)
        return BudgetState(max(1, alive), left(a, now.timestamp()), pause)

    def _locked(self, connection: Connection) -> Allowance:
        query = select(meta.c.value).where(meta.c.key == self._key).with_for_update()
        text = connection.execute(query).scalar_one_or_none()
        if text is None:
            # Two processes may meet here: the second waits for the first one's row, and then finds it.
            set_once(connection, self._key, "{}")
            text = connection.execute(query).scalar_one()
        return Allowance.of(json.loads(text))

    def _keep(self, connection: Connection, a: Allowance) -> None:
        connection.execute(update(meta).where(meta.c.key == self._key).values(value=json.dumps(a.to_json())))


_RUNNING = select(func.count()).select_from(services).where(services.c.beat_at >= bindparam("since"))
