"""The tags that a rollout's baseline names, and the version to which each pointed when it was read.

Revision: 0012, after 0011. Rollouts that began before have none recorded, and are not held when one moves.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rollouts", sa.Column("tags", sa.Text))
