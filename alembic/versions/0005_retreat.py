"""Plans that retreat at closing time: what is wanted, where each number stands, and what a hold has stood.

Revision: 0005, after 0004. Every column is empty for a rollout that never retreated, and so for every earlier row.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rollouts", sa.Column("retreated", sa.Integer))
    op.add_column("rollouts", sa.Column("turning_since", sa.DateTime(timezone=True)))
    op.add_column("rollouts", sa.Column("stood", sa.Float))
    op.add_column("rollouts", sa.Column("back_at", sa.DateTime(timezone=True)))
    op.add_column("rollouts", sa.Column("raised_at", sa.DateTime(timezone=True)))
    op.add_column("targets", sa.Column("retreated", sa.Integer))
    op.add_column("writes", sa.Column("retreated", sa.Integer))
