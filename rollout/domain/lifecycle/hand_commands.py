"""The commands that replace the plan's split by a person's: set weights, and ship a version.

Like rollout.domain.lifecycle.commands, they are pure, and a refused one changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from rollout.domain.errors import InputError, Refused, SplitError
from rollout.domain.gates.verdict import GateOutcome
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.columns import RolloutColumns, emptied
from rollout.domain.lifecycle.commands import By, expect_at, not_stopping, state_of
from rollout.domain.lifecycle.entries import CommandGiven
from rollout.domain.lifecycle.hand_split import MOST_SPLITS, HandSplit
from rollout.domain.lifecycle.machine import CommandKind, Event, after
from rollout.domain.lifecycle.records import CommandEffect
from rollout.domain.lifecycle.state import Position, Rollout
from rollout.domain.plan.plan import Plan
from rollout.domain.splits import splits
from rollout.domain.writes.protocol import lists_with


def set_weights(
    r: Rollout, now: datetime, by: By, expect: Position | None, weights: Mapping[str, object]
) -> CommandEffect:
    """Write a person's weights in place of the step's on the numbers of its wave; its hold starts again.

    `weights`: the share of each arm, above 0 and below 1. InputError for what cannot be written.
    """
    phase = after(r.phase, Event.SET_ASKED)
    expect_at(r, expect)
    if r.confirmed_at is None:
        raise Refused(f"step {r.position} is still being written: wait until it is confirmed", **state_of(r))
    if r.promote_asked:
        raise Refused(f"step {r.position} is the last one, and its bake is already being ended", **state_of(r))
    if r.shipped is not None:
        raise Refused(f"{r.shipped} is being shipped: promote ends its bake, rollback takes it back", **state_of(r))
    points = _points_of(r.plan, weights)
    if points == r.weights_at(r.step) and r.retreated is None:
        raise Refused("these weights are already set: write others", **state_of(r))
    if len(r.hand_splits) >= MOST_SPLITS:
        raise Refused(f"weights were set {MOST_SPLITS} times: promote, ship, stop or roll it back", **state_of(r))
    split = HandSplit(len(r.hand_splits) + 1, *r.position, points)
    for target in r.targets:
        try:
            lists_with(r.plan, target.baseline, points)
        except SplitError as error:
            raise InputError(f"weights: {target.number}: {error.message}", field="weights") from None
    values: RolloutColumns = {"phase": phase, **_wanted(r, split, now)}
    data = CommandGiven.of(r, by_hand=split).to_json()
    return CommandEffect(
        Change(rollout=values),
        by.entry(CommandKind.SET, data),
        f"weights set by a person: {splits.weights_text(points)}",
    )


def ship(
    r: Rollout, now: datetime, by: By, expect: Position | None, *, variant: str, missing: str | None, anyway: bool
) -> CommandEffect:
    """Give a version every call of every number; then it bakes like the last step, and is promoted.

    `missing`: what evidence it lacks; `anyway`: ship it anyway, which the journal records.
    """
    if r.started_at is None:
        raise Refused("it has not started yet: ship it after its start", **state_of(r))
    phase = after(r.phase, Event.SHIP_ASKED)
    expect_at(r, expect)
    not_stopping(r)
    if variant not in r.plan.arms:
        known = ", ".join(r.plan.arms)
        raise InputError(f"variant: there is no version {variant[:40]}; write one of: {known}", field="variant")
    if r.shipped is not None:
        raise Refused(f"{r.shipped} is being shipped: promote ends its bake, rollback takes it back", **state_of(r))
    if r.position == r.last_position and r.weights_at(r.step).get(variant) == splits.TOTAL:
        raise Refused(f"{variant} has every call already: promote ends its bake", **state_of(r))
    if missing is not None and not anyway:
        raise Refused(f"{missing}; to ship it anyway, add --anyway: the journal records that", **state_of(r))
    split = shipping(r, variant)
    values: RolloutColumns = {"phase": phase, **shipping_columns(r, split, now)}
    if r.verdict is not None and r.verdict.outcome is GateOutcome.FAIL and anyway:
        values["waived"] = True
    data = CommandGiven.of(r, by_hand=split, missing=missing).to_json()
    return CommandEffect(Change(rollout=values), by.entry(CommandKind.SHIP, data), f"{variant} is shipped by a person")


def shipping(r: Rollout, variant: str) -> HandSplit:
    """The split that gives a version every call of every number."""
    return HandSplit(len(r.hand_splits) + 1, *r.last_position, {variant: splits.TOTAL}, variant)


def shipping_columns(r: Rollout, split: HandSplit, now: datetime) -> RolloutColumns:
    """The columns by which a version is shipped, by a person or by the plan."""
    values: RolloutColumns = {"wave": split.wave, "step": split.step, **_wanted(r, split, now)}
    if r.reason is not None:
        values["reason"] = None
    if r.promote_asked:
        values["promote_asked"] = False
    return values


def _wanted(r: Rollout, split: HandSplit, now: datetime) -> RolloutColumns:
    """The columns by which this split is wanted from now on."""
    values: RolloutColumns = {
        "by_hand": [h.to_json() for h in (*r.hand_splits, split)],
        "hand_split": split.number,
        "confirmed_at": None,
        **emptied(r, "stood", "back_at"),
    }
    if r.plan.retreat is not None:
        values["raised_at"] = now  # as with a promotion: no retreat before the next opening
        if r.retreated is not None:
            values |= {"retreated": None, "turning_since": now}
    return values


def _points_of(plan: Plan, weights: Mapping[str, object]) -> dict[str, int]:
    """Weights as people write them, checked, in basis points and in the plan's order of arms."""
    if not weights:
        raise InputError("weights: none is given; write for example 0.2", field="weights")
    for arm in weights:
        if arm not in plan.arms:
            known = ", ".join(plan.arms)
            raise InputError(f"weights: there is no version {arm[:40]}; write one of: {known}", field="weights")
    points = {}
    for arm in plan.arms:
        if arm in weights:
            try:
                points[arm] = splits.basis_points(weights[arm])
            except SplitError as error:
                raise InputError(f"weights: {arm}: {error.message}", field="weights") from None
            if points[arm] == 0:
                raise InputError(
                    f"weights: {arm}: 0 is not a weight; leave {arm} out or write above 0", field="weights"
                )
    if (total := sum(points.values())) >= splits.TOTAL:
        raise InputError(
            f"weights: they add up to {total / splits.TOTAL:g}, which leaves nothing for the baseline; write less than 1",
            field="weights",
        )
    return points
