"""The columns of a change: each is a field of the snapshot, with its type."""

from __future__ import annotations

from dataclasses import fields
from typing import get_args

import pytest

from rollout.domain.lifecycle.columns import Emptied, RolloutColumns, TargetColumns, confirmed_at_step, emptied
from rollout.domain.lifecycle.state import SCHEDULING, Position, Rollout, Target
from tests.support import retreating
from tests.support.values import rollout

# What a rollout and a target are from their beginning on, and what the store alone sets.
MADE_WITH = {"id", "name", "plan", "created_at", "start_at", "base_url", "created_by", "seed"}
APART = {"epoch", "position", "targets", "writes", "foreign_open", *SCHEDULING} - {"look_asked", "verdict"}
TARGET_MADE_WITH = {"number", "ord", "wave", "baseline"}


@pytest.mark.parametrize(
    "columns, kind, without", [(RolloutColumns, Rollout, MADE_WITH | APART), (TargetColumns, Target, TARGET_MADE_WITH)]
)
def test_each_column_is_a_field_of_its_type(columns: type, kind: type, without: set[str]) -> None:
    expected = {f.name: f.type for f in fields(kind) if f.name not in without}
    if kind is Rollout:
        expected |= {"wave": "int", "step": "int"}
    assert {name: hint.__forward_arg__ for name, hint in columns.__annotations__.items()} == expected


def test_a_position_is_a_wave_and_a_step() -> None:
    assert set(Position._fields) <= set(RolloutColumns.__annotations__)


def test_only_columns_that_have_a_value_are_emptied() -> None:
    assert emptied(rollout(stood=1.0, hand_split=None), "stood", "back_at", "hand_split") == {"stood": None}


@pytest.mark.parametrize("name", get_args(Emptied))
def test_what_is_emptied_may_be_empty(name: str) -> None:
    assert RolloutColumns.__annotations__[name].__forward_arg__.endswith("| None")


def test_a_plan_without_a_retreat_has_no_retreat_in_its_columns() -> None:
    assert confirmed_at_step(rollout(), 2) == {"step": 2}
    assert confirmed_at_step(retreating.standing(), 2) == {"step": 2, "retreated": None}
    assert confirmed_at_step(retreating.standing(), 2, 2000) == {"step": 2, "retreated": 2000}
