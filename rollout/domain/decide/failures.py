"""Reasons to stop a rollout: numbers that show something else, a deadline, missing versions, failed gates."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from rollout.domain.decide.actions import Action, Record
from rollout.domain.decide.facts import Facts
from rollout.domain.gates.verdict import Alarm, GateOutcome
from rollout.domain.lifecycle.columns import RolloutColumns, confirmed_at_step
from rollout.domain.lifecycle.machine import Event, HeldReason, PausedBy, Phase
from rollout.domain.lifecycle.state import Kind, Position, Rollout, TargetState
from rollout.domain.phone_numbers import numbers_text
from rollout.domain.writes.drift import Blocked, NumberScan
from rollout.domain.writes.protocol import Finding

MOST_STALE = 5  # reads in a row that show an older state before it no longer counts as a stale read


def what_is_wrong(r: Rollout, f: Facts, now: datetime) -> Action | None:
    """The action on the first fault: of numbers, then the deadline, then versions, then gates."""
    if f.scan is not None and (wrong := wrong_numbers(r, f.scan)):
        return wrong
    if r.deadline_at is not None and now >= r.deadline_at:
        why = "the plan's deadline passed"
        if r.plan.on_deadline == "rollback":
            return Record(Event.FAILED, why, {"reason": why, "rollback_at": now})
        return Record(Event.HELD, why, {"reason": HeldReason.DEADLINE.value, "resume_phase": r.phase})
    if (moved := moved_tags(r, f)) is not None:
        return moved
    if f.baseline_gone:
        return hold(r, HeldReason.ROLLBACK_IMPOSSIBLE, f.baseline_gone)
    if f.canary_gone and (r.outstanding or any(t.state is TargetState.REJECTED for t in r.targets)):
        return fail(r, f.canary_gone, now)
    rejected = [t.number for t in r.targets if t.state is TargetState.REJECTED]
    if rejected:
        return hold(r, HeldReason.REJECTED, f"Retell refuses the split for {numbers_text(rejected)}")
    if f.verdict is not None and f.verdict.outcome is GateOutcome.FAIL and not r.waived:
        return fail(r, f.verdict.reason, now)
    if f.verdict is not None and f.verdict.alarm is Alarm.SPLIT and not r.split_waived:
        return hold(r, HeldReason.SPLIT, f.verdict.reason)
    if f.verdict is not None and f.verdict.alarm is Alarm.LABELS and not r.labels_waived:
        return hold(r, HeldReason.LABELS, f.verdict.reason)
    return None


def moved_tags(r: Rollout, f: Facts) -> Record | None:
    """The action on tags of the baseline that were moved or deleted: hold, since only a person knows if that was meant."""
    moved = [tag.sentence for tag in f.tags if tag.is_moved]
    if not moved:
        return None
    held = hold(r, HeldReason.DRIFT, "; ".join(moved))
    return replace(held, values={**held.values, "tags": f.tags})


def wrong_numbers(r: Rollout, scan: NumberScan) -> Record | None:
    """The action on numbers that show something this rollout did not write."""
    gone = scan.numbers(Blocked.MISSING)
    if gone:
        why = f"{numbers_text(gone)} {'is' if len(gone) == 1 else 'are'} gone: Retell does not know the number"
        if r.plan.on_failure == "pause" and r.phase is not Phase.PROGRESSING:
            return hold(r, HeldReason.MISSING, why)
        return fail(r, why, scan.began)
    back = set(scan.numbers(Finding.AT_BASELINE))
    if back and all(t.number in back or t.state is TargetState.RESTORED for t in r.written):
        # If a write of ours may still land, this is not over yet: it is then watched as a rollback.
        landing = bool(r.open_writes(scan.began))
        return Record(
            Event.FAILED if landing else Event.RESTORED_OUTSIDE,
            "rolled back outside the service: every number shows its baseline again, and this service did not write it",
            {"reason": "rolled back outside the service", "rollback_at": scan.began, "restored_at": scan.began},
            {
                t.number: {
                    "state": TargetState.RESTORED,
                    **confirmed_at_step(r, 0),
                    "split": dict(t.split if t.live is None or t.number not in back else t.live),
                }
                for t in r.written
            },
        )
    edited = scan.numbers(Finding.DRIFT, Finding.AT_BASELINE, Finding.LATE_OWN)
    if edited:
        return hold(r, HeldReason.DRIFT, f"{numbers_text(edited)} shows a split that this rollout did not write")
    older = scan.numbers(Finding.STALE)
    if older and r.tries >= MOST_STALE:
        return hold(
            r,
            HeldReason.IDENTITY,
            f"{numbers_text(older)} keeps showing an older state: the number may have been created again",
        )
    touched = scan.numbers(Finding.TOUCHED)
    if touched:
        return hold(
            r, HeldReason.TOUCHED, f"{numbers_text(touched)} was updated by somebody, but nothing visible changed"
        )
    return None


def fail(r: Rollout, why: str, now: datetime) -> Record:
    """Roll back, or pause for a person, by the plan's `on_failure`."""
    if r.plan.on_failure == "pause":
        return Record(Event.FAILURE_PAUSED, why, {"reason": why, "paused_by": PausedBy.FAILURE})
    return Record(Event.FAILED, why, {"reason": why, "rollback_at": now})


def hold(r: Rollout, reason: HeldReason, why: str) -> Record:
    """Hold until a person answers.

    After an edit by somebody else the position is the step that was live before: `restore` writes that one.
    """
    resume = r.phase if r.phase is not Phase.HELD else r.resume_phase
    values: RolloutColumns = {"reason": reason.value, "resume_phase": resume}
    if reason in (HeldReason.DRIFT, HeldReason.TOUCHED):
        position, hand_split = live_position(r)
        if position != r.position:
            values |= {"wave": position.wave, "step": position.step}
        if hand_split != r.hand_split:
            values["hand_split"] = hand_split
    return Record(Event.HELD, why, values)


def live_position(r: Rollout) -> tuple[Position, int | None]:
    """The live position, and the number of the person's split if one is live.

    As long as nothing of the wanted step has been written, that is the one that the numbers were last confirmed at or,
    with writes under way, the one being written.
    """
    wanted = r.position, r.hand_split
    stand = {t.wave: t.step for t in sorted(r.targets, key=lambda t: -t.step) if t.step > 0}
    sent = [w for w in r.unresolved if w.kind is Kind.FORWARD]
    if r.confirmed_at is not None or not (stand or sent) or any(t.step < 0 for t in r.targets):
        return wanted
    if stand:
        was = Position(max(stand), stand[max(stand)])  # of the last wave that was begun, the number furthest behind
        if any(t.step == r.wanted_step(t) != r.wanted_step(t, was) for t in r.targets):
            return wanted
    if sent:
        was = Position(sent[-1].wave, sent[-1].step)
    number = was.step - r.plan.last_step
    position = was if number <= 0 else Position(r.hand_splits[number - 1].wave, r.hand_splits[number - 1].step)
    if position > r.position:
        return wanted
    return position, number if number > 0 else None
