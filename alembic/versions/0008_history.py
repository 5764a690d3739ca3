"""What a gate fixes when its rollout starts, the waiver of a labels alarm, and when a call's analysis was seen.

Revision: 0008, after 0007. Rollouts that began before keep the rules they began under.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rollouts", sa.Column("history", sa.Text))
    op.add_column("rollouts", sa.Column("labels_waived", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("observations", sa.Column("analyzed_at", sa.DateTime(timezone=True)))
    rollouts = sa.table("rollouts", sa.column("history"), sa.column("started_at"))
    began = rollouts.c.started_at.is_not(None)
    op.execute(rollouts.update().where(began).values(history='{"edition":1}'))
