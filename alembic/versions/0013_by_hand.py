"""The splits that people set between the plan's steps, and the one of them that is wanted.

Revision: 0013, after 0012. Rollouts that began before have none.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rollouts", sa.Column("by_hand", sa.Text))
    op.add_column("rollouts", sa.Column("hand_split", sa.Integer))
