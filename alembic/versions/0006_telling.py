"""An index of the rollouts whose state may have to be told: people are told of few, and the look must not read all.

Revision: 0006, after 0005. It holds no data of its own; services of the version before work on beside it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Word for word the condition of the query (rollout.store.tables.TELLING): else no database takes the index for it.
TELLING = (
    "phase NOT IN ('promoted', 'rolled_back', 'stopped') AND ("
    "(phase = 'rolling_back' AND restored_at IS NULL)"
    " OR verdict LIKE '%unmeasurable%'"
    " OR why LIKE 'all is green; a person must promote%'"
    " OR why LIKE '%the API key%')"
)


def upgrade() -> None:
    condition = sa.text(TELLING)
    op.create_index("ix_rollouts_telling", "rollouts", ["id"], sqlite_where=condition, postgresql_where=condition)
