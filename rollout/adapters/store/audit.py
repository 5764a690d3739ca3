"""An audit of the whole store against its journal: every chain, the tables, the tokens, and heads kept elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, func, select

from rollout.adapters.store import journal
from rollout.adapters.store.anchors import against, missing_triggers, tokens_by_journal
from rollout.adapters.store.engine import Database
from rollout.adapters.store.rebuild import differences
from rollout.adapters.store.tables import journal as entries_table
from rollout.adapters.store.tables import rollouts
from rollout.adapters.store.tokens import SYSTEM, head_of_system
from rollout.domain.anchors import Anchor


def audit(
    database: Database,
    only: str | None = None,
    anchors: Sequence[Anchor] = (),
    say: Callable[[str], None] = lambda _words: None,
) -> tuple[list[str], int]:
    """(what is wrong, one sentence each; how many entries were checked), of one rollout or of everything.

    Everything is seen at one moment, so a service that works meanwhile does not look like an alteration.
    `say` is called with the progress.
    """
    with database.read() as connection:
        faults: list[str] = []
        counted = 0
        whole = connection.execute(select(func.count()).select_from(entries_table)).scalar_one()
        for id_, seq, last in list(journal.heads(connection)):
            if only is None or id_ == only:
                found, count = _one(connection, id_, (seq, last))
                faults += found
                counted += count
                say(f"checking the journal: {counted} of {whole} entries")
        system = list(journal.read(connection, SYSTEM))
        if only is None:
            counted += len(system)
            altered = journal.check(system, head_of_system(connection))
            faults += altered or tokens_by_journal(connection, system)  # an altered chain proves nothing about them
            faults += [
                f"{id_}: it is in the journal but not in the table of rollouts"
                for id_ in connection.execute(_ORPHANS).scalars()
            ]
        kept = [a for a in anchors if only is None or a.chain == only]
        faults += against(connection, kept, system)
        faults += missing_triggers(connection)
    return faults, counted


_ORPHANS = (
    select(entries_table.c.rollout_id)
    .where(entries_table.c.rollout_id.not_in(select(rollouts.c.id)), entries_table.c.rollout_id != SYSTEM)
    .group_by(entries_table.c.rollout_id)
    .order_by(entries_table.c.rollout_id)
)


def _one(connection: Connection, id_: str, head: tuple[int, str]) -> tuple[list[str], int]:
    entries = list(journal.read(connection, id_))
    faults = journal.check(entries, head)
    if not faults:  # an altered chain proves nothing about the tables
        faults = differences(connection, id_, entries)
    return faults, len(entries)
