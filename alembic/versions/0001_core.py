"""Rollouts, targets, writes, journal, requests, services.

Revision: 0001, the first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def moment() -> sa.DateTime:
    return sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "rollouts",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("plan_digest", sa.String(64), nullable=False),
        sa.Column("phase", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("wave", sa.Integer, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("confirmed_at", moment()),
        sa.Column("start_at", moment()),
        sa.Column("started_at", moment()),
        sa.Column("deadline_at", moment()),
        sa.Column("watch_until", moment()),
        sa.Column("rollback_at", moment()),
        sa.Column("restored_at", moment()),
        sa.Column("promote_asked", sa.Boolean, nullable=False),
        sa.Column("stop_asked", sa.Boolean, nullable=False),
        sa.Column("waived", sa.Boolean, nullable=False),
        sa.Column("split_waived", sa.Boolean, nullable=False),
        sa.Column("resume_phase", sa.String(20), nullable=False),
        sa.Column("look_asked", sa.Boolean, nullable=False),
        sa.Column("verdict", sa.Text),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("base_url", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("updated_at", moment(), nullable=False),
        sa.Column("due_at", moment()),
        sa.Column("lease_owner", sa.String(80)),
        sa.Column("lease_until", moment()),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False, server_default="0"),
        sa.Column("next", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("journal_seq", sa.Integer, nullable=False),
        sa.Column("journal_hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rollouts"),
    )
    op.create_index("ix_rollouts_due_at", "rollouts", ["due_at"])
    op.create_index("ix_rollouts_created_at", "rollouts", ["created_at"])
    op.create_index("ix_rollouts_name", "rollouts", ["name"])

    op.create_table(
        "targets",
        sa.Column("rollout_id", sa.String(40), nullable=False),
        sa.Column("number", sa.String(20), nullable=False),
        sa.Column("ord", sa.Integer, nullable=False),
        sa.Column("wave", sa.Integer, nullable=False),
        sa.Column("baseline", sa.Text, nullable=False),
        sa.Column("split", sa.Text, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("modified", sa.BigInteger, nullable=False),
        sa.Column("others", sa.String(64), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("written", sa.Boolean, nullable=False),
        sa.Column("live", sa.Text),
        sa.Column("live_at", moment()),
        sa.Column("driven", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("rollout_id", "number", name="pk_targets"),
        sa.ForeignKeyConstraint(["rollout_id"], ["rollouts.id"], name="fk_targets_rollout_id_rollouts"),
    )
    op.create_index("ix_targets_number", "targets", ["number"])
    op.create_index(
        "uq_targets_driven_number",
        "targets",
        ["number"],
        unique=True,
        sqlite_where=sa.text("driven"),
        postgresql_where=sa.text("driven"),
    )

    op.create_table(
        "writes",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("rollout_id", sa.String(40), nullable=False),
        sa.Column("number", sa.String(20), nullable=False),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("wave", sa.Integer, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("intent_at", moment(), nullable=False),
        sa.Column("horizon_until", moment(), nullable=False),
        sa.Column("outcome", sa.String(12)),
        sa.Column("answered", sa.Integer),
        sa.PrimaryKeyConstraint("id", name="pk_writes"),
        sa.ForeignKeyConstraint(["rollout_id"], ["rollouts.id"], name="fk_writes_rollout_id_rollouts"),
    )
    op.create_index("ix_writes_rollout_id", "writes", ["rollout_id"])
    op.create_index("ix_writes_number_horizon_until", "writes", ["number", "horizon_until"])
    op.create_index(
        "ix_writes_unknown",
        "writes",
        ["number"],
        sqlite_where=sa.text("outcome IS NULL"),
        postgresql_where=sa.text("outcome IS NULL"),
    )

    op.create_table(
        "journal",
        sa.Column("rollout_id", sa.String(40), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("at", moment(), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("prev_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("rollout_id", "seq", name="pk_journal"),
    )
    op.create_index("ix_journal_at", "journal", ["at"])
    _append_only()

    op.create_table(
        "requests",
        sa.Column("actor", sa.String(120), nullable=False),
        sa.Column("request_id", sa.String(120), nullable=False),
        sa.Column("command", sa.String(40), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("rollout_id", sa.String(40)),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("at", moment(), nullable=False),
        sa.PrimaryKeyConstraint("actor", "request_id", name="pk_requests"),
    )
    op.create_table(
        "services",
        sa.Column("owner", sa.String(80), nullable=False),
        sa.Column("version", sa.String(40), nullable=False),
        sa.Column("started_at", moment(), nullable=False),
        sa.Column("beat_at", moment(), nullable=False),
        sa.Column("boot", sa.String(80), nullable=False),
        sa.Column("ticks", sa.Integer, nullable=False),
        sa.Column("trouble", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("owner", name="pk_services"),
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.String(40), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_meta"),
    )


def _append_only() -> None:
    """The journal can be added to and, by `prune` alone, shortened; nothing in it can be changed."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE TRIGGER journal_no_update BEFORE UPDATE ON journal BEGIN "
            "SELECT RAISE(ABORT, 'the journal is append-only'); END"
        )
        op.execute(
            "CREATE TRIGGER journal_no_delete BEFORE DELETE ON journal "
            "WHEN NOT EXISTS (SELECT 1 FROM meta WHERE key = 'pruning' AND value = OLD.rollout_id) BEGIN "
            "SELECT RAISE(ABORT, 'the journal is append-only'); END"
        )
        return
    op.execute(
        "CREATE FUNCTION journal_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF TG_OP = 'DELETE' AND EXISTS (SELECT 1 FROM meta WHERE key = 'pruning' AND value = OLD.rollout_id) "
        "THEN RETURN OLD; END IF; "
        "RAISE EXCEPTION 'the journal is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER journal_append_only BEFORE UPDATE OR DELETE ON journal "
        "FOR EACH ROW EXECUTE FUNCTION journal_append_only()"
    )
