"""Calls seen, how far they were fetched, and every look of the gates.

Revision: 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "observations",
        sa.Column("call_id", sa.String(120), nullable=False),
        sa.Column("number", sa.String(20), nullable=False),
        sa.Column("channel", sa.String(16), nullable=False),
        sa.Column("agent_id", sa.String(128), nullable=False),
        sa.Column("agent_version", sa.Integer, nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("reason", sa.String(80)),
        sa.Column("e2e_p50_ms", sa.Float),
        sa.Column("successful", sa.Boolean),
        sa.Column("sentiment", sa.String(20)),
        sa.Column("in_voicemail", sa.Boolean),
        sa.Column("custom", sa.Text),
        sa.Column("analyzed", sa.Boolean, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("call_id", name="pk_observations"),
    )
    op.create_index("ix_observations_number_channel_started_at", "observations", ["number", "channel", "started_at"])
    op.create_table(
        "marks",
        sa.Column("number", sa.String(20), nullable=False),
        sa.Column("channel", sa.String(16), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("polled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("trouble", sa.Text, nullable=False),
        sa.Column("trouble_since", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("number", "channel", name="pk_marks"),
    )
    op.create_table(
        "looks",
        sa.Column("rollout_id", sa.String(40), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("wave", sa.Integer, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("alarm", sa.String(16)),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("rollout_id", "seq", name="pk_looks"),
    )
