"""Indices with which nothing that runs by the clock, and no page, reads a long history whole.

Revision: 0007, after 0006. It holds no data of its own; services of the version before work on beside it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# Word for word the conditions of the queries (rollout.store.tables): else no database takes the index for them.
LEFT = "written AND NOT driven AND state <> 'superseded'"
LIVE = "phase IN ('pending', 'progressing', 'paused', 'held', 'rolling_back')"
OF_ROLLBACKS = "kind IN ('rollback', 'failed', 'reopened', 'read_back')"
UNSENT = "sent_at IS NULL"


def upgrade() -> None:
    _partial("ix_rollouts_live", "rollouts", ["created_at", "id"], LIVE)
    op.create_index("ix_rollouts_phase", "rollouts", ["phase"])
    op.create_index("ix_rollouts_updated_at", "rollouts", ["updated_at", "phase", "id", "journal_seq"])
    _partial("ix_targets_left", "targets", ["rollout_id"], LEFT)
    _partial("ix_journal_rollbacks", "journal", ["rollout_id", "seq", "kind", "at"], OF_ROLLBACKS)
    _partial("ix_outbox_unsent", "outbox", ["channel", "due_at", "created_at"], UNSENT)
    op.create_index("ix_outbox_created_at", "outbox", ["created_at"])
    op.create_index("ix_observations_started_at_updated_at", "observations", ["started_at", "updated_at"])
    op.create_index("ix_looks_at", "looks", ["at"])
    op.create_index("ix_requests_at", "requests", ["at"])
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])


def _partial(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
