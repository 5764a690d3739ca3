"""The figures of a call that metrics compare, and what only the call itself shows.

Revision: 0011, after 0010. Calls stored before have neither; those that are fetched again get them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("observations", sa.Column("figures", sa.Text))
    op.add_column("observations", sa.Column("details", sa.Text))
