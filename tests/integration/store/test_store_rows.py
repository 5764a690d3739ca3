"""Columns and fields are the same names: what is added to one and not to the other is noticed here."""

from __future__ import annotations

from dataclasses import fields

from rollout.adapters.store import rows, tables
from rollout.adapters.store.rebuild import NOT_REBUILT
from rollout.domain.lifecycle.state import SCHEDULING, Rollout, Target, Write
from tests.support.values import rollout, target, write

_STORE_ALONE = {"lease_owner", "lease_until", "crashes", "journal_seq", "journal_hash"}


def _names(kind: type) -> set[str]:
    return {f.name for f in fields(kind)}


def test_every_field_of_a_rollout_is_a_column_and_the_other_way_round() -> None:
    of_rows = _names(Rollout) - {"position", "targets", "writes", "foreign_open"} | {"wave", "step", "plan_digest"}
    assert {c.name for c in tables.rollouts.c} == of_rows | _STORE_ALONE
    assert rows.from_rollout(rollout()).keys() == of_rows
    assert of_rows >= SCHEDULING
    assert of_rows | _STORE_ALONE >= NOT_REBUILT


def test_every_field_of_a_target_and_of_a_write_is_a_column_and_the_other_way_round() -> None:
    of_target = _names(Target) | {"rollout_id", "driven"}
    assert {c.name for c in tables.targets.c} == of_target == rows.from_target("r1", target()).keys()
    of_write = _names(Write) - {"lists"}
    assert {c.name for c in tables.writes.c} == of_write == rows.from_write(write()).keys()
