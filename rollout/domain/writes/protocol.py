"""The pure rules of the write protocol: what to send, what a reading means, and what a write did.

The rules are P2, P5, P6 and P8 of the protocol (docs/reliability.md). To find out why a number was written, or why
not, look here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from rollout.domain import compact_json
from rollout.domain.lifecycle.hand_split import HandSplit
from rollout.domain.lifecycle.state import Lists, Rollout, Target, Write
from rollout.domain.plan.plan import Plan
from rollout.domain.splits import splits
from rollout.domain.splits.baselines import exact_lists
from rollout.domain.writes.answers import Reading, Trouble

# ------------------------------------------------------------------ what to send


def lists_at(plan: Plan, baseline: Lists, step: int, retreated: int | None = None) -> dict[str, list[dict[str, Any]]]:
    """The lists a target must show at `step` (from 1); at step 0 its baseline, verbatim.

    `retreated`: the canary has these basis points instead of the step's.
    """
    if step == 0:
        return {field: list(entries or ()) for field, entries in baseline.items()}
    points = plan.weights(step)
    return lists_with(plan, baseline, points if retreated is None else dict.fromkeys(points, retreated))


def wanted_lists(r: Rollout, target: Target) -> dict[str, list[dict[str, Any]]]:
    """The lists that a target must show now, by its position, a person's split, or closing time."""
    step, retreated = r.wanted(target)
    if step <= r.plan.last_step:
        return lists_at(r.plan, target.baseline, step, retreated)
    points = r.weights_at(step)
    return lists_with(r.plan, target.baseline, points if retreated is None else dict.fromkeys(points, retreated))


def lists_with(plan: Plan, baseline: Lists, points: Mapping[str, int]) -> dict[str, list[dict[str, Any]]]:
    """The baseline's lists with these basis points for each arm; SplitError if there are no such lists."""
    arms = tuple((name, (ref.agent_id, ref.agent_version)) for name, ref in plan.arms.items())
    weights = tuple(points.items())
    return {
        field: [dict(entry) for entry in _composed(compact_json.dumps(entries), arms, weights)]
        for field, entries in baseline.items()
    }


@lru_cache(maxsize=512)
def _composed(
    entries: str, arms: tuple[tuple[str, tuple[str, int]], ...], weights: tuple[tuple[str, int], ...]
) -> list[dict[str, Any]]:
    # Most numbers of a fleet share one baseline: compose and order it once for all of them.
    return splits.to_wire(splits.compose(json.loads(entries), dict(arms), dict(weights)))


def body_of(lists: Lists) -> str:
    """The exact JSON text of a PATCH: the plan's channels and nothing else (invariant I16)."""
    return _body(compact_json.dumps(lists))


@lru_cache(maxsize=512)
def _body(lists: str) -> str:
    return json.dumps(json.loads(lists), separators=(", ", ": "), ensure_ascii=False, allow_nan=False)


def shows(shown: Lists, wanted: Lists) -> bool:
    """True if a number shows these lists; order, extra fields and number formats do not matter."""
    return all(
        field in shown and (shown[field] is entries or splits.same(shown[field], entries))
        for field, entries in wanted.items()
    )


def shows_baseline(shown: Lists, baseline: Lists) -> bool:
    """True if a number shows its baseline as it was read, or in the form that is written if Retell refuses that."""
    return shows(shown, baseline) or shows(shown, exact_lists(baseline))


def others_of(shown: Reading, managed: Container[str]) -> str:
    """A digest of everything a number shows that the plan does not manage: its other fields, and the lists of channels
    that the plan does not name. An edit there is noted; it is neither drift nor a touch."""
    rest = {field: entries for field, entries in shown.lists.items() if field not in managed and entries}
    if not rest:
        return shown.others
    return hashlib.sha256((shown.others + json.dumps(rest, sort_keys=True)).encode()).hexdigest()


# ------------------------------------------------------------------ what a reading means


class Finding(StrEnum):
    """The meaning of one reading for one target."""

    AS_EXPECTED = "as_expected"
    OTHER_FIELDS = "other_fields"  # as expected; another field was edited: noted, continues
    APPLIED = "applied"  # one of our open writes turned out to have been applied
    NOT_APPLIED = "not_applied"  # the open writes can no longer take effect, and did not
    PENDING = "pending"  # an open write may still take effect: wait for its horizon
    STALE = "stale"  # older than something already seen: discarded
    LATE_OWN = "late_own"  # an earlier target of our own came back
    AT_BASELINE = "at_baseline"  # the baseline is back, and it was not us
    TOUCHED = "touched"  # written by somebody, nothing visible changed
    DRIFT = "drift"  # somebody else's split


@dataclass(frozen=True, slots=True)
class Examined:
    """A finding, and the write it settles, if any."""

    finding: Finding
    write: Write | None = None


def examine_reading(
    target: Target,
    shown: Reading,
    writes: Sequence[Write],
    began: datetime,
    plan: Plan,
    by_hand: Sequence[HandSplit] = (),
) -> Examined:
    """The finding of a reading that began at `began`, for a target with these open writes.

    `writes` are the open writes on the number, oldest first (outcome unknown, or horizon not passed); `by_hand` are the
    splits that people set.
    """
    if shown.modified < target.modified:
        return Examined(Finding.STALE)
    unknown = [w for w in writes if w.outcome is None]
    expected = shows(shown.lists, target.split)
    for write in reversed(unknown):
        # P8: a live split equal to the target means applied. A write that changes nothing shows only in the
        # time stamp. Another rollout's write on other channels says nothing about ours.
        ours = write.lists.keys() == target.baseline.keys()
        if ours and shows(shown.lists, write.lists) and (not expected or shown.modified > target.modified):
            return Examined(Finding.APPLIED, write)
    if expected:
        if unknown:
            over = all(began >= w.horizon_until for w in unknown)
            return Examined(Finding.NOT_APPLIED if over else Finding.PENDING, unknown[0])
        if any(began < w.horizon_until for w in writes):
            return Examined(Finding.PENDING, writes[0])
        if shown.modified != target.modified:
            edited = others_of(shown, target.baseline) != target.others
            return Examined(Finding.OTHER_FIELDS if edited else Finding.TOUCHED)
        return Examined(Finding.AS_EXPECTED)
    if target.step and shows_baseline(shown.lists, target.baseline):
        return Examined(Finding.AT_BASELINE)
    if target.written and is_ours(target, shown.lists, plan, by_hand):
        return Examined(Finding.LATE_OWN)
    return Examined(Finding.DRIFT)


def is_ours(target: Target, lists: Lists, plan: Plan, by_hand: Sequence[HandSplit] = ()) -> bool:
    """True if this rollout writes these lists to this target: for a step, for its retreat, or for a person's split."""
    ours = [lists_at(plan, target.baseline, step) for step in range(1, plan.last_step + 1)]
    ours += [lists_with(plan, target.baseline, split.weights) for split in by_hand]
    if plan.retreat is not None:
        ours.append(lists_at(plan, target.baseline, 1, plan.retreat))
    return any(shows(lists, each) for each in ours)


# ------------------------------------------------------------------ what became of a write


class Settled(StrEnum):
    """The outcome of one write after its answer and its read-back."""

    APPLIED = "applied"  # answered and read back: the horizon closes
    SEEN = "seen"  # no answer, yet the number shows it: applied, and the horizon stays open
    ANSWERED = "answered"  # a definite 200, not read back yet: the horizon shortens to R
    REJECTED = "rejected"  # refused: the same request would be refused again
    CHANGED = "changed"  # refused: somebody else wrote the number after it was read
    NOT_SENT = "not_sent"  # not one byte was sent
    UNKNOWN = "unknown"  # may have happened, or may still happen


def answers_with(wanted: Lists, before: int, answer: Reading, *, changes: bool) -> bool:
    """P5: true if a 200 alone proves the write: it shows our split with a newer time stamp.

    `before` is the newest time stamp (ms) seen before the write. A write that changes nothing need
    not move it. An answer without the lists proves nothing: the read-back decides.
    """
    newer = answer.modified > before if changes else answer.modified >= before
    return newer and shows(answer.lists, wanted)


def settle(
    wanted: Lists,
    before: int,
    *,
    changes: bool,
    answer: Reading | None,
    trouble: Trouble | None = None,
    back: Reading | None = None,
    agreed: bool = False,
) -> Settled:
    """P5 to P7: one write, its answer, and the read-back that began after the answer.

    `answer` is what a 200 showed (None: there was no usable 200), `trouble` why there was none, `back` the read-back
    (None: it failed), `changes` whether the write differs from what was live before. `agreed`: several readings,
    begun after the answer, were equal, so that `before` was no time stamp of this number's.
    """
    if trouble is Trouble.REJECTED:
        return Settled.REJECTED
    if trouble is Trouble.UNREACHABLE:
        return Settled.NOT_SENT
    if agreed and answer is not None:
        before = min(before, answer.modified)
    newest = max(before, answer.modified) if answer else before
    if back is not None and back.modified >= newest and shows(back.lists, wanted):
        if answer is not None:
            return Settled.APPLIED
        return Settled.SEEN if changes or back.modified > before else Settled.UNKNOWN
    if trouble is Trouble.CHANGED:
        return Settled.CHANGED
    if back is None and answer is not None and answers_with(wanted, before, answer, changes=changes):
        return Settled.ANSWERED
    return Settled.UNKNOWN
