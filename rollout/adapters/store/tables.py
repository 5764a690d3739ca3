"""The tables. The schema itself is made by the migrations in alembic/; a test holds the two together."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
    literal_column,
    text,
)

from rollout.adapters.store.types import JsonText, UtcDateTime, ValueText
from rollout.domain.agent_tests.state import AgentTests
from rollout.domain.gates.history import BaselineHistory
from rollout.domain.gates.verdict import GateVerdict
from rollout.domain.versions import tags

# The migrations this program knows, oldest first; a test holds this against alembic/versions. Kept here so that
# a command need not import Alembic (a third of a second) to see that the schema fits.
REVISIONS = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "0006",
    "0007",
    "0008",
    "0009",
    "0010",
    "0011",
    "0012",
    "0013",
    "0014",
)

# Live rollouts whose state may need a notice: few, and found by an index of their own. This must equal the condition of
# that index in alembic/versions/0009_waiting.py; domain/notices/conditions.py decides on the notices.
MAY_NEED_NOTICE = (
    "phase NOT IN ('promoted', 'rolled_back', 'stopped') AND ("
    "(phase = 'rolling_back' AND restored_at IS NULL)"
    " OR verdict LIKE '%unmeasurable%'"
    " OR waiting_for IN ('approval', 'key'))"
)

# Conditions of partial indices on both databases, exactly as in alembic/versions/0001 and 0007; declaring PostgreSQL's
# here, too, would load its dialect with every command on SQLite. Queries must use these very texts: `driven = 1` or a
# list of parameters means the same, but the planner does not know that.
DRIVEN: ColumnElement[bool] = literal_column("targets.driven")
LEFT: ColumnElement[bool] = literal_column("targets.written AND NOT targets.driven AND targets.state <> 'superseded'")
LIVE: ColumnElement[bool] = literal_column(
    "rollouts.phase IN ('pending', 'progressing', 'paused', 'held', 'rolling_back')"
)
OF_ROLLBACKS: ColumnElement[bool] = literal_column("journal.kind IN ('rollback', 'failed', 'reopened', 'read_back')")
UNSENT: ColumnElement[bool] = literal_column("outbox.sent_at IS NULL")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(80), nullable=False),
    Column("plan", JsonText, nullable=False),
    Column("plan_digest", String(64), nullable=False),
    Column("phase", String(20), nullable=False),
    Column("reason", Text),
    Column("wave", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("confirmed_at", UtcDateTime),
    Column("start_at", UtcDateTime),
    Column("started_at", UtcDateTime),
    Column("deadline_at", UtcDateTime),
    Column("watch_until", UtcDateTime),
    Column("rollback_at", UtcDateTime),
    Column("restored_at", UtcDateTime),
    Column("retreated", Integer),
    Column("turning_since", UtcDateTime),
    Column("stood", Float),
    Column("back_at", UtcDateTime),
    Column("raised_at", UtcDateTime),
    Column("by_hand", JsonText),  # the splits that people set, in their order
    Column("hand_split", Integer),  # the number of the one that is wanted in place of the position's weights
    Column("promote_asked", Boolean, nullable=False),
    Column("stop_asked", Boolean, nullable=False),
    Column("waived", Boolean, nullable=False),
    Column("split_waived", Boolean, nullable=False),
    Column("labels_waived", Boolean, nullable=False, server_default=false()),
    Column("resume_phase", String(20), nullable=False),
    Column("paused_by", String(12)),
    Column("look_asked", Boolean, nullable=False),
    Column("verdict", ValueText(GateVerdict.to_json, GateVerdict.from_json)),
    # the baseline's, from before the rollout: what its gates bet on
    Column("history", ValueText(BaselineHistory.to_json, BaselineHistory.from_json)),
    # of the baseline, with the version to which each pointed when it was read
    Column("tags", ValueText(tags.to_json, tags.from_json)),
    # of the agent, before the first step: batches, counts, and what failed
    Column("tests", ValueText(AgentTests.to_json, AgentTests.from_json)),
    Column("seed", BigInteger, nullable=False),
    Column("base_url", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    # what the scheduler needs; not part of the history
    Column("due_at", UtcDateTime),
    Column("lease_owner", String(80)),
    Column("lease_until", UtcDateTime),
    Column("tries", Integer, nullable=False),
    Column("crashes", Integer, nullable=False, server_default="0"),
    Column("next", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("waiting_for", String(12)),
    # the head of the rollout's journal: a chain cut at its end is noticed
    Column("journal_seq", Integer, nullable=False),
    Column("journal_hash", String(64), nullable=False),
    Index("ix_rollouts_due_at", "due_at"),
    Index("ix_rollouts_created_at", "created_at"),
    Index("ix_rollouts_name", "name"),
    Index("ix_rollouts_live", "created_at", "id", sqlite_where=LIVE),
    Index("ix_rollouts_phase", "phase"),
    # With what is asked of every rollout that changed lately, so that the rows, which are long, are left alone.
    Index("ix_rollouts_updated_at", "updated_at", "phase", "id", "journal_seq"),
    Index("ix_rollouts_telling", "id", sqlite_where=text(MAY_NEED_NOTICE)),
)

targets = Table(
    "targets",
    metadata,
    Column("rollout_id", String(40), ForeignKey("rollouts.id"), primary_key=True),
    Column("number", String(20), primary_key=True),
    Column("ord", Integer, nullable=False),
    Column("wave", Integer, nullable=False),
    Column("baseline", JsonText, nullable=False),
    Column("split", JsonText, nullable=False),
    Column("step", Integer, nullable=False),
    Column("modified", BigInteger, nullable=False),
    Column("others", String(64), nullable=False),
    Column("state", String(20), nullable=False),
    Column("written", Boolean, nullable=False),
    Column("live", JsonText),
    Column("live_at", UtcDateTime),
    Column("retreated", Integer),
    Column("driven", Boolean, nullable=False),
    # At most one live rollout per number: the database says so, not the code (invariant I14).
    Index("uq_targets_driven_number", "number", unique=True, sqlite_where=text("driven")),
    Index("ix_targets_number", "number"),
    # The numbers that still show what an ended rollout left there: what later ones take over is superseded.
    Index("ix_targets_left", "rollout_id", sqlite_where=LEFT),
)

writes = Table(
    "writes",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("rollout_id", String(40), ForeignKey("rollouts.id"), nullable=False),
    Column("number", String(20), nullable=False),
    Column("kind", String(12), nullable=False),
    Column("wave", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Column("intent_at", UtcDateTime, nullable=False),
    Column("horizon_until", UtcDateTime, nullable=False),
    Column("outcome", String(12)),
    Column("answered", Integer),
    Column("retreated", Integer),
    Index("ix_writes_rollout_id", "rollout_id"),
    Index("ix_writes_number_horizon_until", "number", "horizon_until"),
    Index("ix_writes_unknown", "number", sqlite_where=text("outcome IS NULL")),
)

journal = Table(
    "journal",
    metadata,
    Column("rollout_id", String(40), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("reason", Text, nullable=False),
    Column("data", Text, nullable=False),  # canonical JSON: the very text that was hashed
    Column("prev_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("ix_journal_at", "at"),
    Index("ix_journal_rollbacks", "rollout_id", "seq", "kind", "at", sqlite_where=OF_ROLLBACKS),
)

requests = Table(
    "requests",
    metadata,
    Column("actor", String(120), primary_key=True),
    Column("request_id", String(120), primary_key=True),
    Column("command", String(40), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("rollout_id", String(40)),
    Column("answer", JsonText, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Index("ix_requests_at", "at"),
)

services = Table(
    "services",
    metadata,
    Column("owner", String(80), primary_key=True),
    Column("version", String(40), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("beat_at", UtcDateTime, nullable=False),
    Column("boot", String(80), nullable=False),
    Column("ticks", Integer, nullable=False),
    Column("trouble", Text, nullable=False),
)

meta = Table("meta", metadata, Column("key", String(40), primary_key=True), Column("value", Text, nullable=False))

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(16), primary_key=True),  # public: shown in lists and in the journal
    Column("name", String(80), nullable=False),
    Column("role", String(12), nullable=False),
    Column("hash", String(64), nullable=False),  # SHA-256 of the token; the token itself is never stored
    Column("numbers", JsonText),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column("last_used_at", UtcDateTime),
    Index("ix_tokens_hash", "hash", unique=True),
)

sessions = Table(
    "sessions",
    metadata,
    Column("hash", String(64), primary_key=True),  # SHA-256 of the cookie's value
    Column("token_id", String(16), ForeignKey("tokens.id"), nullable=False),
    Column("csrf_hash", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Index("ix_sessions_expires_at", "expires_at"),
)

deliveries = Table(  # webhook and alert deliveries that were taken: a replay has no second effect
    "deliveries",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Index("ix_deliveries_at", "at"),
)

observations = Table(
    "observations",
    metadata,
    Column("call_id", String(120), primary_key=True),
    Column("number", String(20), nullable=False),
    Column("channel", String(16), nullable=False),
    Column("agent_id", String(128), nullable=False),
    Column("agent_version", Integer, nullable=False),
    Column("status", String(40), nullable=False),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("reason", String(80)),
    Column("e2e_p50_ms", Float),
    Column("successful", Boolean),
    Column("sentiment", String(20)),
    Column("in_voicemail", Boolean),
    Column("custom", JsonText),
    Column("analyzed", Boolean, nullable=False),
    Column("analyzed_at", UtcDateTime),  # when an analysis was seen to arrive; not known of one that was there at once
    Column("figures", JsonText),  # cost in cents, latencies in ms
    Column("details", JsonText),  # what only the call itself shows; null: not read
    Column("updated_at", UtcDateTime, nullable=False),
    Index("ix_observations_started_at_updated_at", "started_at", "updated_at"),
    Index("ix_observations_number_channel_started_at", "number", "channel", "started_at"),
)

marks = Table(  # how far the calls of a number have been fetched
    "marks",
    metadata,
    Column("number", String(20), primary_key=True),
    Column("channel", String(16), primary_key=True),
    Column("since", UtcDateTime, nullable=False),
    Column("polled_at", UtcDateTime, nullable=False),
    Column("trouble", Text, nullable=False),
    Column("trouble_since", UtcDateTime),
)

looks = Table(  # every evaluation of the gates whose counts or verdict differed from the one before
    "looks",
    metadata,
    Column("rollout_id", String(40), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("wave", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("alarm", String(16)),
    Column("reason", Text, nullable=False),
    Column("evidence", ValueText(GateVerdict.to_json, GateVerdict.from_json), nullable=False),
    Index("ix_looks_at", "at"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("event", String(80), nullable=False),  # which event this tells of: rollout id and journal sequence
    Column("channel", String(64), nullable=False),  # digest of the address, never the address itself
    Column("rollout_id", String(40)),
    Column("kind", String(40), nullable=False),
    Column("severity", String(12), nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime),
    Column("lease_until", UtcDateTime),
    Column("tries", Integer, nullable=False),
    Column("sent_at", UtcDateTime),
    Column("trouble", Text, nullable=False),
    Index("uq_outbox_event_channel", "event", "channel", unique=True),
    Index("ix_outbox_due_at", "due_at"),
    Index("ix_outbox_created_at", "created_at"),
    Index("ix_outbox_unsent", "channel", "due_at", "created_at", sqlite_where=UNSENT),
)
