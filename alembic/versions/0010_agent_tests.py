"""The tests of a rollout's agent before its first step: batches, counts, and the cases that failed.

Revision: 0010, after 0009. Rollouts that were recorded before have none. Services of the version before work on
beside it; they cannot read a plan with tests, so such a plan is for the time after them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rollouts", sa.Column("tests", sa.Text))
