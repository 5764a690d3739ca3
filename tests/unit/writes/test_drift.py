"""What readings change in what is known of a rollout's numbers, phase by phase."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rollout.domain.lifecycle.changes import Change, WriteResult
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Kind, Target, TargetState, Write, WriteOutcome
from rollout.domain.writes.answers import Reading
from rollout.domain.writes.drift import Blocked, NumberScan, absorb, believes_equal_readings
from rollout.domain.writes.protocol import Finding, lists_at
from tests.support import hand_splits, retreating
from tests.support.clock import START
from tests.support.values import FIELD, HORIZON, ONE, TWO, Shown, confirmed, entry, only, plan, rollout, target, write

PLAN = plan()
FIRST, SECOND, LAST = (lists_at(PLAN, only(6), step) for step in (1, 2, 3))
FOREIGN = {FIELD: [entry(7, 0.3), entry(6, 0.7)]}
RESTORED = target(state=TargetState.RESTORED, written=True)
UNDOING = [Phase.ROLLING_BACK, Phase.ROLLED_BACK]
GOING = [Phase.PROGRESSING, Phase.PAUSED, Phase.HELD]


def scan(
    shown: Shown | Blocked, known: Target, phase: Phase = Phase.PROGRESSING, writes: tuple[Write, ...] = ()
) -> tuple[Finding | Blocked, dict[str, object], Change]:
    """(finding, changes of the target, whole change) of one reading of one number."""
    found = absorb(rollout(phase=phase, targets=(known,), writes=writes), {ONE: shown}, START, START)
    return found.findings[ONE], dict(found.change.targets.get(ONE, {})), found.change


def test_nothing_moved_changes_nothing() -> None:
    finding, _, change = scan(Shown(FIRST), confirmed())
    assert finding is Finding.AS_EXPECTED
    assert not change
    assert absorb(rollout(targets=(confirmed(),)), {ONE: Shown(FIRST)}, START, START).notes == ()


@pytest.mark.parametrize("phase", GOING)
def test_a_foreign_split_is_drift_and_what_was_seen_is_kept(phase: Phase) -> None:
    finding, values, _ = scan(Shown(FOREIGN, 2_000), confirmed(), phase)
    assert finding is Finding.DRIFT
    assert values == {"state": TargetState.DRIFTED, "live": FOREIGN, "live_at": START}


@pytest.mark.parametrize("phase", [*UNDOING, Phase.PROMOTED, Phase.STOPPED])
@pytest.mark.parametrize("shown", [FOREIGN, FIRST, LAST, only(6)], ids=["foreign", "first", "last", "baseline"])
def test_what_a_later_rollout_has_changes_nothing_here(phase: Phase, shown: dict[str, object]) -> None:
    taken = target(state=TargetState.SUPERSEDED, written=True)
    _, values, _ = scan(Shown(shown, 2_000), taken, phase)
    assert values == {}


@pytest.mark.parametrize("phase", UNDOING)
def test_a_foreign_split_after_our_baseline_is_left_alone(phase: Phase) -> None:
    _, values, _ = scan(Shown(FOREIGN, 2_000), RESTORED, phase)
    assert values["state"] is TargetState.FOREIGN


def test_a_foreign_split_before_our_first_baseline_write_stands_in_no_ones_way() -> None:
    """The order to roll back is newer than the edit, so the baseline is still written."""
    _, values, _ = scan(Shown(FOREIGN, 2_000), confirmed(), Phase.ROLLING_BACK)
    assert "state" not in values
    assert values["live"] == FOREIGN


@pytest.mark.parametrize("phase", UNDOING)
def test_our_own_late_write_makes_the_baseline_due_again(phase: Phase) -> None:
    finding, values, _ = scan(Shown(FIRST, 2_000), RESTORED, phase)
    assert finding is Finding.LATE_OWN
    assert (values["state"], values["step"], values["split"]) == (TargetState.CONFIRMED, -1, FIRST)


def test_our_own_late_write_after_the_end_asks_for_the_last_step_again() -> None:
    finding, values, _ = scan(Shown(FIRST, 2_000), confirmed(step=3), Phase.PROMOTED)
    assert finding is Finding.LATE_OWN
    assert (values["step"], values["split"]) == (-1, FIRST)


def test_our_own_late_write_after_an_edit_that_came_after_the_end_can_be_written_over_again() -> None:
    _, values, _ = scan(Shown(FIRST, 2_000), confirmed(step=3, state=TargetState.DRIFTED), Phase.PROMOTED)
    assert values["state"] is TargetState.CONFIRMED


@pytest.mark.parametrize("phase", UNDOING)
def test_a_baseline_written_by_somebody_else_counts_while_undoing(phase: Phase) -> None:
    _, values, _ = scan(Shown(only(6), 2_000), confirmed(), phase)
    assert (values["state"], values["step"], values["split"]) == (TargetState.RESTORED, 0, only(6))


@pytest.mark.parametrize("phase", GOING)
def test_a_touch_is_told_while_going_on(phase: Phase) -> None:
    finding, values, _ = scan(Shown(FIRST, 2_000), confirmed(), phase)
    assert finding is Finding.TOUCHED
    assert values["state"] is TargetState.TOUCHED


@pytest.mark.parametrize("phase", [*UNDOING, Phase.PROMOTED, Phase.STOPPED])
def test_a_touch_is_only_noted_while_undoing_and_after_the_end(phase: Phase) -> None:
    _, values, _ = scan(Shown(only(6), 2_000), RESTORED, phase)
    assert values == {"modified": 2_000, "others": "digest"}


def test_another_field_is_taken_over_with_a_note() -> None:
    found = absorb(rollout(targets=(confirmed(),)), {ONE: Shown(FIRST, 2_000, "new")}, START, START)
    assert found.change.targets == {ONE: {"modified": 2_000, "others": "new"}}
    assert found.notes == (f"{ONE}: another field was changed; the split is still as confirmed",)


def test_a_forward_write_turns_out_to_have_been_applied() -> None:
    finding, values, change = scan(Shown(FIRST, 2_000), target(written=True), writes=(write(),))
    assert finding is Finding.APPLIED
    assert values == {
        "modified": 2_000,
        "others": "digest",
        "split": FIRST,
        "step": 1,
        "state": TargetState.CONFIRMED,
        "live": FIRST,
        "live_at": START,
    }
    assert change.writes == {"w1": WriteResult(WriteOutcome.APPLIED)}


def test_a_baseline_write_turns_out_to_have_been_applied() -> None:
    back = write(step=0, kind=Kind.BASELINE)
    _, values, _ = scan(Shown(only(6), 2_000), confirmed(), Phase.ROLLING_BACK, (back,))
    assert (values["step"], values["state"]) == (0, TargetState.RESTORED)


def test_after_the_horizon_every_unknown_write_of_the_number_is_closed() -> None:
    old = START - timedelta(hours=1)
    writes = (write(id="a", at=old), write(id="b", at=old), write(TWO, id="c", at=old))
    _, values, change = scan(Shown(only(6)), target(written=True), writes=writes)
    assert values == {}
    assert change.writes == {"a": WriteResult(WriteOutcome.NOT_APPLIED), "b": WriteResult(WriteOutcome.NOT_APPLIED)}


@pytest.mark.parametrize(("seconds", "over"), [(-1, False), (0, True)])
def test_a_write_is_closed_by_a_reading_that_began_when_its_horizon_had_passed(seconds: int, over: bool) -> None:
    unknown = write(at=START - HORIZON - timedelta(seconds=seconds))
    _, _, change = scan(Shown(FOREIGN, 2_000), target(written=True), writes=(unknown,))
    assert change.writes == ({"w1": WriteResult(WriteOutcome.NOT_APPLIED)} if over else {})


def test_a_stale_reading_settles_nothing_whenever_it_began() -> None:
    old = write(at=START - timedelta(hours=1))
    finding, _, change = scan(Shown(only(6), 999), target(written=True), writes=(old,))
    assert finding is Finding.STALE
    assert not change


def test_another_rollouts_write_is_waited_for_and_never_settled_by_us() -> None:
    theirs = write(lists=SECOND, rollout_id="other")
    values = rollout(targets=(target(written=True),), foreign_open=(theirs,))
    pending = absorb(values, {ONE: Shown(only(6))}, START, START)
    assert pending.findings[ONE] is Finding.PENDING
    landed = absorb(values, {ONE: Shown(SECOND, 2_000)}, START, START)
    assert landed.findings[ONE] is Finding.APPLIED
    assert not landed.change.writes


@pytest.mark.parametrize("blocked", [Blocked.KEY, Blocked.UNREACHABLE])
def test_a_number_that_cannot_be_read_keeps_what_is_known(blocked: Blocked) -> None:
    finding, _, change = scan(blocked, confirmed())
    assert finding is blocked
    assert not change


def test_a_number_that_is_gone_is_marked() -> None:
    _, values, _ = scan(Blocked.MISSING, confirmed())
    assert values == {"state": TargetState.MISSING}


@pytest.mark.parametrize(
    ("phase", "known", "shown", "state"),
    [
        (Phase.PROGRESSING, target(), only(6), TargetState.UNTOUCHED),
        (Phase.PROGRESSING, confirmed(), FIRST, TargetState.CONFIRMED),
        (Phase.PROMOTED, confirmed(), FIRST, TargetState.CONFIRMED),
        (Phase.ROLLING_BACK, confirmed(), FIRST, TargetState.CONFIRMED),
        (Phase.ROLLING_BACK, target(written=True), only(6), TargetState.RESTORED),
        (Phase.ROLLED_BACK, target(written=True), only(6), TargetState.RESTORED),
        (Phase.STOPPED, target(written=True), only(6), TargetState.CONFIRMED),
    ],
)
@pytest.mark.parametrize(("modified", "others"), [(1_000, "digest"), (2_000, "digest"), (2_000, "new")])
def test_a_number_that_was_gone_and_is_back_as_it_was_goes_on_like_the_others(
    phase: Phase, known: Target, shown: dict[str, object], state: TargetState, modified: int, others: str
) -> None:
    gone = replace(known, state=TargetState.MISSING)
    _, values, _ = scan(Shown(shown, modified, others), gone, phase)
    assert values == {"modified": modified, "others": others, "state": state, "live": shown, "live_at": START}


@pytest.mark.parametrize(
    ("phase", "shown", "state"),
    [
        (Phase.PROGRESSING, FOREIGN, TargetState.DRIFTED),
        (Phase.ROLLING_BACK, FOREIGN, TargetState.FOREIGN),
        (Phase.ROLLING_BACK, only(6), TargetState.RESTORED),
    ],
)
def test_a_number_that_was_gone_and_shows_something_else_is_judged_like_the_others(
    phase: Phase, shown: dict[str, object], state: TargetState
) -> None:
    _, values, _ = scan(Shown(shown, 2_000), confirmed(state=TargetState.MISSING), phase)
    assert values["state"] is state


def test_two_looks_merge_by_number_and_keep_the_earlier_beginning() -> None:
    later = START + timedelta(seconds=1)
    one = NumberScan(START, {ONE: Finding.STALE, TWO: Finding.DRIFT}, Change(targets={ONE: {"step": 1}}), ("a",))
    two = NumberScan(later, {ONE: Finding.AS_EXPECTED}, Change(targets={ONE: {"modified": 5}}), ("b",))
    both = one.merged(two)
    assert both.began == START
    assert both.findings == {ONE: Finding.AS_EXPECTED, TWO: Finding.DRIFT}
    assert both.change.targets == {ONE: {"step": 1, "modified": 5}}
    assert both.notes == ("a", "b")
    assert both.numbers(Finding.DRIFT, Finding.AS_EXPECTED) == [ONE, TWO]
    anew = NumberScan(later, {TWO: Finding.DRIFT, ONE: Finding.AS_EXPECTED}, Change())
    assert one.merged(anew).began == later, "no earlier reading counts any more"
    assert two.merged(one).began == START


# ------------------------------------------------------------------ a time stamp that several readings deny


def believed(shown: Shown, known: Target, phase: Phase) -> tuple[Finding | Blocked, dict[str, object]]:
    found = absorb(rollout(phase=phase, targets=(known,)), {ONE: shown}, START, START, {ONE})
    return found.findings[ONE], dict(found.change.targets.get(ONE, {}))


AHEAD = 3_600_000 + 1_000


@pytest.mark.parametrize("phase", UNDOING)
def test_a_baseline_that_equal_readings_show_is_settled_whatever_stamp_was_seen_before(phase: Phase) -> None:
    known = target(state=TargetState.RESTORED, written=True, modified=AHEAD)
    assert scan(Shown(only(6)), known, phase)[0] is Finding.STALE
    assert believed(Shown(only(6)), known, phase) == (Finding.AS_EXPECTED, {"modified": 1_000})
    assert believed(Shown(only(6), AHEAD), known, phase) == (Finding.AS_EXPECTED, {}), "it is as it was"


@pytest.mark.parametrize("phase", UNDOING)
def test_what_equal_readings_show_instead_of_the_baseline_is_judged_like_any_reading(phase: Phase) -> None:
    known = target(state=TargetState.RESTORED, written=True, modified=AHEAD)
    finding, values = believed(Shown(FIRST), known, phase)
    assert (finding, values["step"], values["modified"]) == (Finding.LATE_OWN, -1, 1_000)
    finding, values = believed(Shown(FOREIGN), known, phase)
    assert (finding, values["state"], values["modified"]) == (Finding.DRIFT, TargetState.FOREIGN, 1_000)


def test_equal_readings_settle_nothing_where_a_step_may_follow() -> None:
    assert {p for p in Phase if believes_equal_readings(p)} == {
        Phase.ROLLING_BACK,
        Phase.ROLLED_BACK,
        Phase.HELD,
        Phase.PROMOTED,
        Phase.STOPPED,
    }


def test_a_retreat_that_turns_out_to_be_applied() -> None:
    lists = lists_at(retreating.LOW, only(6), 2, 2000)
    late = write(step=2, lists=lists, of=retreating.LOW, retreated=2000)
    r = retreating.standing(retreated=2000, turning_since=START, writes=(late,))
    scan = absorb(r, {ONE: Shown(lists, 1_001)}, START, START)
    assert scan.findings == {ONE: Finding.APPLIED}
    after = scan.change.applied_to(r, START).targets[0]
    assert (after.step, after.retreated, after.state) == (2, 2000, TargetState.CONFIRMED)
    back = write(step=2, of=retreating.LOW, id="w2")
    r = replace(r, retreated=None, targets=(after,), writes=(back,))
    scan = absorb(r, {ONE: Shown(back.lists, 1_002)}, START, START)
    after = scan.change.applied_to(r, START).targets[0]
    assert (after.step, after.retreated) == (2, None)


def test_a_rollback_leaves_nothing_of_it() -> None:
    r = retreating.down(phase=Phase.ROLLING_BACK, rollback_at=START)
    scan = absorb(r, {ONE: Shown(only(6), 1_001)}, START, START)
    after = scan.change.applied_to(r, START).targets[0]
    assert (after.step, after.retreated, after.state) == (0, None, TargetState.RESTORED)


def test_a_late_write_of_an_earlier_split_by_hand_is_ours() -> None:
    found = absorb(
        hand_splits.there(),
        {ONE: Reading(ONE, hand_splits.first_split(), 2_000, "digest")},
        hand_splits.NOW,
        hand_splits.NOW,
    )
    assert found.findings == {ONE: Finding.LATE_OWN}
