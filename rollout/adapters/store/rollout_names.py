"""The rollout that an id, a name or the beginning of an id means; a live rollout's name is its own.

A name means its live rollout, else its newest ended one, among those that the caller may see. Two live rollouts may have
one name in older databases, or when an ended rollout is rolled back: then the name means neither, and the caller must
write an id.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, select, text

from rollout.adapters.store.bulk import in_parts
from rollout.adapters.store.tables import LIVE, rollouts, targets
from rollout.domain.errors import AmbiguousName, NameTaken, UnknownRollout
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.name_refusals import ambiguous, begins_several, name_taken
from rollout.domain.phone_numbers import covers, listed

_LOCK = 0x6E616D65  # "name": keeps these advisory locks apart from others
_READ_SIZE = 100
SHORTEST_START = 4  # characters of an id
_r, _t = rollouts.c, targets.c
_NAMED = select(_r.id).where(_r.name == bindparam("wanted")).order_by(_r.created_at.desc(), _r.id.desc())
_LIVE = _NAMED.where(LIVE)
_ENDED = _NAMED.where(~LIVE)
_PROMOTED = _NAMED.where(_r.phase == Phase.PROMOTED).limit(1)


def resolve(connection: Connection, asked: str, within: frozenset[str] | None = None) -> str:
    """The id of the rollout that an id, a name or the beginning of one id means; UnknownRollout, AmbiguousName.

    `within`: the asker sees only rollouts whose numbers are all among these; None: every rollout.
    """
    if visible_ids(connection, [asked], within):
        return asked
    live = visible_ids(connection, live_named(connection, asked), within)
    if len(live) > 1:
        raise AmbiguousName(ambiguous(asked, live), ids=live)
    if live:
        return live[0]
    ended = connection.execute(_ENDED, {"wanted": asked}).scalars().all()
    for some in in_parts(ended, _READ_SIZE):
        if found := visible_ids(connection, some, within):
            return found[0]
    if begun := visible_ids(connection, _starting_with(connection, asked), within):
        if len(begun) > 1:
            raise AmbiguousName(begins_several(asked, begun), ids=begun)
        return begun[0]
    raise UnknownRollout.for_id(asked)


def _starting_with(connection: Connection, start: str) -> Sequence[str]:
    """Ids that begin so; none for a start that is too short to be meant."""
    if len(start) < SHORTEST_START:
        return []
    query = select(_r.id).where(_r.id.startswith(start, autoescape=True)).order_by(_r.id).limit(_READ_SIZE)
    return connection.execute(query).scalars().all()


def live_named(connection: Connection, name: str) -> Sequence[str]:
    """Ids of the live rollouts of this name, newest first."""
    return connection.execute(_LIVE, {"wanted": name}).scalars().all()


def was_promoted(connection: Connection, name: str) -> bool:
    """True if a rollout of this name stands as promoted."""
    return connection.execute(_PROMOTED, {"wanted": name}).first() is not None


def claim_name(connection: Connection, name: str) -> None:
    """Hold the name for a rollout that this transaction records; NameTaken when a live one has it.

    Of two transactions that want one name the second waits for the first, and then sees its rollout: on SQLite
    because there is one writer at a time, on PostgreSQL by a lock that lasts as long as the transaction.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(
            text("SELECT pg_advisory_xact_lock(:space, hashtext(:name))"), {"space": _LOCK, "name": name}
        )
    if live := live_named(connection, name):
        raise NameTaken(name_taken(name, live[0]), rollout_id=live[0])


def visible_ids(connection: Connection, ids: Sequence[str], within: frozenset[str] | None) -> list[str]:
    """Those of these ids that are rollouts the asker may see, in the order given."""
    if within is None:
        there = set(connection.execute(select(_r.id).where(_r.id.in_(ids))).scalars())
        return [id_ for id_ in ids if id_ in there]
    numbers: dict[str, list[str]] = {}
    for row in connection.execute(select(_t.rollout_id, _t.number).where(_t.rollout_id.in_(ids))):
        numbers.setdefault(row.rollout_id, []).append(row.number)
    # One that has not begun has no numbers of its own yet, but those its plan lists.
    bare = [id_ for id_ in ids if id_ not in numbers]
    if bare:
        for row in connection.execute(select(_r.id, _r.plan).where(_r.id.in_(bare))):
            numbers[row.id] = listed(row.plan["numbers"])
    return [id_ for id_ in ids if covers(within, numbers.get(id_, ()))]
