"""Weights set by hand and versions shipped: what each command makes of the rollout that it finds, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rollout.domain.errors import InputError, Refused, StaleExpectation
from rollout.domain.lifecycle import commands, hand_commands
from rollout.domain.lifecycle.commands import By
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Position, Rollout
from rollout.domain.writes.protocol import wanted_lists
from tests.support.clock import START
from tests.support.phases import SET_WHERE, SHIP_WHERE
from tests.support.values import AGENT, ONE, TWO, confirmed, entry, plan, rollout, said, target

ME = By("cli:sam", "because")
NOW = START + timedelta(hours=1)


def standing(step: int = 1, **changes: Any) -> Rollout:
    values = {"position": Position(1, step), "confirmed_at": START, "targets": (confirmed(step=step),), **changes}
    return rollout(**values)


# ------------------------------------------------------------------ set

VARIANTS = plan(
    canary=None,
    variants={"b": {"agent_id": AGENT, "agent_version": 7}, "c": {"agent_id": AGENT, "agent_version": 8}},
    steps=[{"weights": {"b": 0.2, "c": 0.2}, "hold": "30m"}, {"weights": {"b": 0.4, "c": 0.4}, "hold": "1d"}],
)


def test_set_puts_a_split_beside_the_position_and_starts_its_hold_anew() -> None:
    change, recorded, why = hand_commands.set_weights(standing(stood=60.0), NOW, ME, Position(1, 1), {"canary": "0.25"})
    split = {"number": 1, "wave": 1, "step": 1, "weights": {"canary": 2500}}
    assert change.rollout == {
        "phase": "progressing",
        "by_hand": [split],
        "hand_split": 1,
        "confirmed_at": None,
        "stood": None,
    }
    assert recorded.data is not None
    assert (recorded.kind, recorded.reason, recorded.data["by_hand"]) == ("set", "because", split)
    assert why == "weights set by a person: 25 % canary"
    after = change.applied_to(standing(), NOW)
    assert [t.number for t in after.outstanding] == [ONE]
    assert wanted_lists(after, after.targets[0]) == {"inbound_agents": [entry(7, 0.25), entry(6, 0.75)]}


def test_set_again_adds_a_split_and_a_promotion_clears_it() -> None:
    once = hand_commands.set_weights(standing(), NOW, ME, None, {"canary": 0.2})[0].applied_to(standing(), NOW)
    with pytest.raises(Refused, match=r"step 1.1 is still being written"):
        hand_commands.set_weights(once, NOW, ME, None, {"canary": 0.3})
    there = replace(once, confirmed_at=NOW)
    with pytest.raises(Refused, match="these weights are already set"):
        hand_commands.set_weights(there, NOW, ME, None, {"canary": 0.2})
    twice = hand_commands.set_weights(there, NOW, ME, None, {"canary": 0.3})[0].rollout
    assert (twice["hand_split"], [h["weights"]["canary"] for h in twice["by_hand"]]) == (2, [2000, 3000])
    assert commands.promote(there, NOW, ME, None, full=False)[0].rollout["hand_split"] is None


def test_set_of_variants_leaves_the_rest_to_the_baseline() -> None:
    r = standing(plan=VARIANTS, targets=(confirmed(of=VARIANTS),))
    change, _, why = hand_commands.set_weights(r, NOW, ME, None, {"c": 0.1, "b": 0.3})
    assert change.rollout["by_hand"][0]["weights"] == {"b": 3000, "c": 1000}
    assert why == "weights set by a person: 30 % b, 10 % c"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "weights: none is given; write for example 0.2"),
        ({"d": 0.1}, "weights: there is no version d; write one of: b, c"),
        ({"d" * 41: 0.1}, f"weights: there is no version {'d' * 40}; write one of: b, c"),
        ({"b": 0}, "weights: b: 0 is not a weight; leave b out or write above 0"),
        ({"b": 1}, "weights: they add up to 1, which leaves nothing for the baseline; write less than 1"),
        ({"b": 0.7, "c": 0.5}, "weights: they add up to 1.2, which leaves nothing"),
        ({"b": -0.1}, "weights: b: -0.1 is below 0"),
        ({"b": 0.00001}, "weights: b: 1e-05 has more than four decimals"),
        ({"b": "many"}, "weights: b: 'many' is not a weight"),
        ({"b": 0.9999}, "a weight of 0.9999 leaves 0.0001 for the 2 entries of the baseline"),
    ],
)
def test_weights_that_cannot_be_written_are_refused_by_name(weights: dict[str, Any], message: str) -> None:
    two = {"inbound_agents": [entry(6, 0.5), entry(5, 0.5)]}
    r = standing(plan=VARIANTS, targets=(confirmed(of=VARIANTS, baseline=two),))
    with pytest.raises(InputError) as refused:
        hand_commands.set_weights(r, NOW, ME, None, weights)
    assert message in refused.value.message


@pytest.mark.parametrize("phase", list(Phase))
def test_set_where_it_may_be_and_a_sentence_where_not(phase: Phase) -> None:
    r, advice = standing(phase=phase), SET_WHERE[phase]
    if advice is None:
        assert hand_commands.set_weights(r, NOW, ME, None, {"canary": 0.3})[0].rollout["phase"] == phase
        return
    with pytest.raises(Refused) as refused:
        hand_commands.set_weights(r, NOW, ME, None, {"canary": 0.3})
    assert refused.value.message == f"a rollout that is {phase} cannot be set to other weights: {advice}"


def test_set_is_refused_for_another_position_a_bake_that_ends_and_the_two_hundredth_time() -> None:
    with pytest.raises(StaleExpectation):
        hand_commands.set_weights(standing(), NOW, ME, Position(1, 2), {"canary": 0.3})
    with pytest.raises(Refused, match=r"step 1.3 is the last one, and its bake is already being ended"):
        hand_commands.set_weights(standing(3, promote_asked=True), NOW, ME, None, {"canary": 0.3})
    splits = [{"number": n, "wave": 1, "step": 1, "weights": {"canary": 100 + n}} for n in range(1, 201)]
    with pytest.raises(Refused, match="weights were set 200 times"):
        hand_commands.set_weights(standing(by_hand=splits), NOW, ME, None, {"canary": 0.3})
    last = hand_commands.set_weights(standing(by_hand=splits[:199]), NOW, ME, None, {"canary": 0.3})[0]
    assert last.rollout["hand_split"] == 200


def test_set_at_closing_time_writes_the_weights_as_a_promotion_does() -> None:
    low = plan(zone="UTC", windows=[{"from": "09:00", "to": "17:00"}], closing={"retreat": 0.05})
    r = standing(plan=low, targets=(confirmed(of=low),), retreated=500)
    change, _, _ = hand_commands.set_weights(r, NOW, ME, None, {"canary": 0.3})
    assert change.rollout["retreated"] is None
    assert change.rollout["turning_since"] == change.rollout["raised_at"] == NOW
    assert change.applied_to(r, NOW).steps_above == {1, 2, 3, 4}
    same, _, _ = hand_commands.set_weights(r, NOW, ME, None, {"canary": 0.1})
    assert same.rollout["retreated"] is None, "the step's own weights may be set while they are down"
    by_day = hand_commands.set_weights(replace(r, retreated=None), NOW, ME, None, {"canary": 0.3})[0].rollout
    assert by_day["raised_at"] == NOW
    assert "turning_since" not in by_day


# ------------------------------------------------------------------ ship


def ab(**changes: Any) -> Rollout:
    """Two variants at 1.1 on a number of each of two waves; the second is still at its baseline."""
    return standing(plan=VARIANTS, targets=(confirmed(of=VARIANTS), target(TWO, ord=1, wave=2)), **changes)


def shipped(r: Rollout, variant: str = "b", missing: str | None = None, anyway: bool = False) -> Rollout:
    return hand_commands.ship(r, NOW, ME, None, variant=variant, missing=missing, anyway=anyway)[0].applied_to(r, NOW)


def test_ship_gives_a_version_every_call_of_every_number() -> None:
    change, recorded, why = hand_commands.ship(ab(), NOW, ME, Position(1, 1), variant="c", missing=None, anyway=False)
    split = {"number": 1, "wave": 2, "step": 2, "weights": {"c": 10_000}, "ships": "c"}
    assert change.rollout == {
        "phase": "progressing",
        "wave": 2,
        "step": 2,
        "by_hand": [split],
        "hand_split": 1,
        "confirmed_at": None,
    }
    assert recorded.data is not None
    assert (recorded.kind, recorded.data["by_hand"]) == ("shipped", split)
    assert why == "c is shipped by a person"
    r = change.applied_to(ab(), NOW)
    assert r.shipped == "c"
    assert [t.number for t in r.outstanding] == [ONE, TWO]
    assert [wanted_lists(r, t) for t in r.targets] == [{"inbound_agents": [entry(8, 1)]}] * 2


def test_ship_without_evidence_says_what_is_missing_and_anyway_is_kept() -> None:
    lacks = "the gates of b say undecided: 12 of 50 calls"
    with pytest.raises(Refused) as refused:
        shipped(ab(), missing=lacks)
    assert refused.value.message == f"{lacks}; to ship it anyway, add --anyway: the journal records that"
    _, recorded, _ = hand_commands.ship(ab(), NOW, ME, None, variant="b", missing=lacks, anyway=True)
    assert recorded.data is not None
    assert recorded.data["missing"] == lacks


def test_ship_over_a_failed_gate_overrides_that_failure() -> None:
    r = ab(phase=Phase.PAUSED, reason="c books less", verdict=said("fail"), promote_asked=True)
    after = shipped(r, missing="the gates of b say fail: it is worse", anyway=True)
    assert (after.phase, after.reason, after.waived, after.promote_asked) == (Phase.PROGRESSING, None, True, False)
    assert not shipped(r).waived, "b itself has passed: what failed is no longer judged"


@pytest.mark.parametrize("phase", list(Phase))
def test_ship_where_it_may_be_and_a_sentence_where_not(phase: Phase) -> None:
    r, advice = ab(phase=phase), SHIP_WHERE[phase]
    if advice is None:
        assert shipped(r).phase is Phase.PROGRESSING
        return
    with pytest.raises(Refused) as refused:
        shipped(r)
    assert refused.value.message == f"a rollout that is {phase} cannot be shipped: {advice}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"started_at": None, "phase": Phase.PAUSED}, "it has not started yet: ship it after its start"),
        ({"stop_asked": True, "phase": Phase.PAUSED}, "it is being stopped"),
    ],
)
def test_ship_is_refused_before_the_start_and_while_it_stops(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        shipped(ab(**changes))


def test_a_version_that_has_every_call_of_one_wave_is_shipped_to_all() -> None:
    two = (confirmed(step=3), target(TWO, ord=1, wave=2))
    r = standing(3, targets=two, verdict=said("pass"))
    after = shipped(r, "canary", anyway=True)
    assert [t.number for t in after.outstanding] == [ONE, TWO]
    assert not after.waived, "no gate has failed"


def test_what_is_shipped_is_shipped_once_and_no_weights_are_set_over_it() -> None:
    r = replace(shipped(ab()), confirmed_at=NOW)
    for variant in ("b", "c"):
        with pytest.raises(Refused, match="b is being shipped: promote ends its bake, rollback takes it back"):
            shipped(r, variant)
    with pytest.raises(Refused, match="b is being shipped"):
        hand_commands.set_weights(r, NOW, ME, None, {"b": 0.5})
    assert commands.promote(r, NOW, ME, None, full=False)[0].rollout == {"phase": "progressing", "promote_asked": True}
    with pytest.raises(Refused, match="canary has every call already: promote ends its bake"):
        shipped(standing(3), "canary")
    with pytest.raises(InputError, match="variant: there is no version d; write one of: b, c"):
        shipped(ab(), "d")
    with pytest.raises(InputError, match=f"there is no version {'d' * 40}; write one of"):
        shipped(ab(), "d" * 41)
    with pytest.raises(StaleExpectation):
        hand_commands.ship(ab(), NOW, ME, Position(1, 2), variant="b", missing=None, anyway=False)


def test_a_rollback_of_what_is_shipped_covers_what_was_written() -> None:
    r = shipped(ab())
    decision = commands.rollback(r, NOW, ME)
    assert decision is not None
    after = decision[0].applied_to(r, NOW)
    assert (after.phase, [t.number for t in after.owned_targets]) == (Phase.ROLLING_BACK, [ONE])
