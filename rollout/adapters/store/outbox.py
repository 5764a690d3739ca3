"""Notices to deliver: stored once per event and address, claimed by lease, kept until they are delivered.

An address is known here by its digest alone. Each method is one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, delete, or_, select, update

from rollout.adapters.store.bulk import in_parts
from rollout.adapters.store.engine import Database
from rollout.adapters.store.key_values import insert_into, set_value, value_of
from rollout.adapters.store.rows import to_rollout
from rollout.adapters.store.tables import UNSENT, meta, outbox, rollouts
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.notices.notice import Notice

FAILING = "notices:fail:"  # and 24 characters of the digest


@dataclass(frozen=True, slots=True)
class AddressedNotice:
    """A notice and the address that it is for; `channel` is the digest of the address."""

    notice: Notice
    channel: str

    def columns(self) -> dict[str, Any]:
        """The columns of its row that come from the notice."""
        n = self.notice
        return {
            "event": n.event,
            "channel": self.channel,
            "rollout_id": n.rollout_id,
            "kind": str(n.kind),
            "severity": str(n.severity),
            "title": n.title,
            "body": n.body,
        }


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """One notice for one address, as claimed. `channel` is the digest of the address."""

    id: int
    event: str
    channel: str
    rollout_id: str | None
    kind: str
    severity: str
    title: str
    body: str
    tries: int


@dataclass(frozen=True, slots=True)
class Failing:
    """An address that refuses its notices, since when and why; `name` never holds the address."""

    channel: str
    name: str
    since: datetime
    tries: int
    trouble: str


class Outbox:
    """The table `outbox`."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def put(self, notices: Sequence[AddressedNotice]) -> int:
        """Add notices; return how many were new.

        What is there already stays as it is: replicas and restarts may put the same event in again.
        """
        if not notices:
            return 0
        with self.database.read() as connection:
            known = set()
            for some in in_parts(sorted({each.notice.event for each in notices})):
                query = select(outbox.c.event, outbox.c.channel).where(outbox.c.event.in_(some))
                known |= {(row.event, row.channel) for row in connection.execute(query)}
        fresh = [each for each in notices if (each.notice.event, each.channel) not in known]
        if not fresh:
            return 0  # a plain read: nothing to tell costs no write
        with self.database.write() as connection:
            now = self.database.now(connection)
            state = {"created_at": now, "due_at": now, "tries": 0, "trouble": ""}
            values = [{**each.columns(), **state} for each in fresh]
            added = 0
            for part in in_parts(values, 100):
                query = insert_into(connection, outbox).values(part).on_conflict_do_nothing()
                added += len(connection.execute(query.returning(outbox.c.id)).all())
            return added

    def waiting(self) -> list[str]:
        """Digests of the addresses with a due notice that no sender holds."""
        with self.database.read() as connection:
            now = self.database.now(connection)
            query = select(outbox.c.channel).where(_due(now)).group_by(outbox.c.channel)
            return list(connection.execute(query).scalars())

    def claim(self, channel: str, lease: timedelta, limit: int) -> list[OutboxItem]:
        """Take up to `limit` due notices for one address, oldest first; no other sender gets them until the lease ends."""
        o = outbox.c
        with self.database.write() as connection:
            now = self.database.now(connection)
            due = (
                select(o.id)
                .where(o.channel == channel, _due(now))
                .order_by(o.tries, o.id)
                .limit(limit)
                .with_for_update(skip_locked=True)
                .cte("due")
            )
            rows = connection.execute(
                update(outbox)
                .where(o.id.in_(select(due.c.id)))
                .values(lease_until=now + lease)
                .returning(o.id, o.event, o.channel, o.rollout_id, o.kind, o.severity, o.title, o.body, o.tries)
            )
            return sorted((OutboxItem(*row) for row in rows), key=lambda p: (p.tries, p.id))

    def sent(self, item: OutboxItem) -> None:
        """Record that a notice was delivered. If its address had been failing, everything for it is due at once."""
        o = outbox.c
        with self.database.write() as connection:
            now = self.database.now(connection)
            connection.execute(
                update(outbox).where(o.id == item.id).values(sent_at=now, due_at=None, lease_until=None, trouble="")
            )
            was = connection.execute(delete(meta).where(meta.c.key == _failing_key(item.channel)))
            if was.rowcount:
                later = and_(o.channel == item.channel, UNSENT, o.due_at > now)
                connection.execute(update(outbox).where(later).values(due_at=now))

    def failed(self, item: OutboxItem, rest: Sequence[OutboxItem], wait: timedelta, name: str, trouble: str) -> None:
        """Record a failed delivery: the notice, and those claimed with it, are due again after `wait`."""
        with self.database.write() as connection:
            now = self.database.now(connection)
            ids = [item.id, *(p.id for p in rest)]
            connection.execute(update(outbox).where(outbox.c.id.in_(ids)).values(due_at=now + wait, lease_until=None))
            connection.execute(
                update(outbox).where(outbox.c.id == item.id).values(tries=item.tries + 1, trouble=trouble)
            )
            key = _failing_key(item.channel)
            old = json.loads(value_of(connection, key) or "null")
            state = {
                "channel": item.channel,
                "name": name,
                "trouble": trouble,
                "since": old["since"] if old else now.isoformat(),
                "tries": (old["tries"] if old else 0) + 1,
            }
            set_value(connection, key, json.dumps(state))

    def release(self, items: Sequence[OutboxItem]) -> None:
        """Release the notices that were claimed but not tried."""
        if not items:
            return
        with self.database.write() as connection:
            ids = [p.id for p in items]
            connection.execute(update(outbox).where(outbox.c.id.in_(ids)).values(lease_until=None))

    def give_up(self, item: OutboxItem, trouble: str) -> None:
        """Stop trying a notice that can never be delivered; it stays on record with the reason."""
        with self.database.write() as connection:
            connection.execute(
                update(outbox)
                .where(outbox.c.id == item.id)
                .values(due_at=None, lease_until=None, tries=item.tries + 1, trouble=trouble)
            )

    def failing(self) -> list[Failing]:
        """The addresses that do not take what they are sent."""
        with self.database.read() as connection:
            return failing(connection)

    def plan_of(self, rollout_id: str) -> Rollout | None:
        """The rollout (without its targets) whose plan names the address; None when it was pruned."""
        with self.database.read() as connection:
            row = connection.execute(select(rollouts).where(rollouts.c.id == rollout_id)).one_or_none()
            return None if row is None else to_rollout(row)

    def tidy(self, give_up_after: timedelta, keep: timedelta) -> int:
        """Give up what could not be delivered in time; return how many. Remove them after `keep`.

        What was delivered is removed by the general pruning.
        """
        o = outbox.c
        with self.database.write() as connection:
            now = self.database.now(connection)
            old = and_(UNSENT, o.due_at.is_not(None), o.created_at < now - give_up_after)
            values = {"due_at": None, "lease_until": None, "trouble": "given up: " + o.trouble}
            gone = connection.execute(update(outbox).where(old).values(values)).rowcount
            given_up = and_(UNSENT, o.due_at.is_(None), o.created_at < now - keep)
            connection.execute(delete(outbox).where(given_up))
            # an address with nothing left to send is not known to fail any more
            waiting = select(o.channel).where(UNSENT, o.due_at.is_not(None)).distinct()
            busy = {_failing_key(channel) for channel in connection.execute(waiting).scalars()}
            stale = meta.c.key.startswith(FAILING, autoescape=True) & meta.c.key.not_in(busy)
            connection.execute(delete(meta).where(stale))
            return gone


def failing(connection: Connection) -> list[Failing]:
    """The addresses that do not take what they are sent, by name."""
    query = select(meta.c.value).where(meta.c.key.startswith(FAILING, autoescape=True)).order_by(meta.c.key)
    states = [json.loads(value) for value in connection.execute(query).scalars()]
    return [
        Failing(s["channel"], s["name"], datetime.fromisoformat(s["since"]), s["tries"], s["trouble"]) for s in states
    ]


def _due(now: datetime) -> Any:
    o = outbox.c
    return and_(UNSENT, o.due_at <= now, or_(o.lease_until.is_(None), o.lease_until <= now))


def _failing_key(channel: str) -> str:
    return FAILING + channel[:24]
