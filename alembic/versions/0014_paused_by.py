"""The cause of a pause: a person, a failed canary or the plan's decision.

Revision: 0014, after 0013. Rollouts that were paused before have none, and count as paused by a person.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rollouts", sa.Column("paused_by", sa.String(12)))
