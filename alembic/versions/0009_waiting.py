"""What a rollout waits for, as a word of its own: nothing is found by the sentence that people read any more.

Revision: 0009, after 0008. Rollouts that wait get their word here, where it is known from what stands in their row,
or at their next pass. Services of the version before work on beside it; they look for what may have to be told
without an index.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# Word for word the condition of the query (rollout.adapters.store.tables.MAY_NEED_NOTICE), or no database takes the
# index.
TELLING = (
    "phase NOT IN ('promoted', 'rolled_back', 'stopped') AND ("
    "(phase = 'rolling_back' AND restored_at IS NULL)"
    " OR verdict LIKE '%unmeasurable%'"
    " OR waiting_for IN ('approval', 'key'))"
)

# The sentences that the versions before wrote, read once more and for the last time.
WORDS = (
    ("person", "phase IN ('paused', 'held')"),
    ("approval", "phase = 'progressing' AND why LIKE 'all is green; a person must promote%'"),
    ("key", "phase NOT IN ('promoted', 'rolled_back', 'stopped') AND why LIKE '%the API key%'"),
)


def upgrade() -> None:
    op.add_column("rollouts", sa.Column("waiting_for", sa.String(12)))
    for word, condition in WORDS:
        op.execute(sa.text(f"UPDATE rollouts SET waiting_for = '{word}' WHERE {condition}"))
    op.drop_index("ix_rollouts_telling", "rollouts")
    condition = sa.text(TELLING)
    op.create_index("ix_rollouts_telling", "rollouts", ["id"], sqlite_where=condition, postgresql_where=condition)
