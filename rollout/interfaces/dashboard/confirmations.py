"""The effects of a command, before anybody confirms it: in words, and as the exact PATCH bodies it leads to.

The bodies come from the very functions that the driver writes with, so that a confirmation cannot promise
something else. Pure: the rollout comes in as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rollout.domain.gates.shipping import missing_evidence
from rollout.domain.gates.verdict import GateOutcome
from rollout.domain.lifecycle.commands import RESTORABLE, By
from rollout.domain.lifecycle.hand_commands import set_weights, ship
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout, TargetState
from rollout.domain.splits import splits
from rollout.domain.writes.protocol import body_of, lists_at
from rollout.interfaces.dashboard import rollout_sentences
from rollout.interfaces.dashboard.formatting import percent
from rollout.interfaces.dashboard.patch_preview import PatchPreview, forward_bodies, grouped
from rollout.interfaces.views.value_text import number_count

_SETTLED = frozenset({TargetState.RESTORED, TargetState.MISSING, TargetState.FOREIGN})


@dataclass(frozen=True, slots=True)
class Intent:
    """A command before it is confirmed. `follows`: what happens without being written at once.

    `weights`: the shares that set asks for, by version; `variant`: the one of `variants` that ship asks for, `missing`:
    the evidence that it lacks. With these nothing is confirmed before its bodies are shown.
    """

    command: str
    title: str
    says: str
    verb: str
    orders: tuple[PatchPreview, ...]
    follows: str = ""
    full: bool = False
    weights: tuple[tuple[str, str], ...] = ()
    variant: str = ""
    missing: str = ""
    variants: tuple[str, ...] = ()


def intent(
    r: Rollout, command: str, full: bool = False, weights: Mapping[str, str] | None = None, variant: str = ""
) -> Intent:
    """The effect of this command on the rollout now; KeyError for an unknown command.

    `full`: of promote; `weights`: of set, and `variant`: of ship, InputError or Refused where that cannot be.
    """
    return {
        "promote": lambda: _promote(r, full),
        "set": lambda: _set(r, weights),
        "ship": lambda: _ship(r, variant),
        "pause": lambda: _pause(r),
        "resume": lambda: _resume(r),
        "adopt": lambda: _adopt(r),
        "restore": lambda: _restore(r),
        "stop": lambda: _stop(r),
        "rollback": lambda: _rollback(r),
    }[command]()


def _promote(r: Rollout, full: bool) -> Intent:
    goal = r.last_position if full else r.next_position
    raised = replace(r, retreated=None)
    if r.retreated is not None and r.confirmed_at is None and (not full or goal == r.position):
        return Intent(
            "promote",
            f"Write step {r.position} of {r.name} now",
            f"The calendar closed before step {r.position} was confirmed. Its weights are written now, outside the "
            "plan's hours.",
            f"Write step {r.position} now",
            grouped(forward_bodies(raised, raised.outstanding)),
            _pending_writes(r),
            full,
        )
    if (goal is None or goal == r.position) and r.retreated is not None:
        return Intent(
            "promote",
            f"End the bake of {r.name}",
            f"Step {r.position} is the last one. Its weights are written again, outside the plan's hours, its hold ends "
            "now, and the rollout ends as promoted.",
            "End the bake",
            grouped(forward_bodies(raised, raised.outstanding)),
            _pending_writes(r),
            full,
        )
    if goal is None or goal == r.position:
        return Intent(
            "promote",
            f"End the bake of {r.name}",
            f"Step {r.position} is the last one. Its hold ends now, and the rollout ends as promoted.",
            "End the bake",
            (),
            "Nothing is written: the numbers already serve this split.",
            full,
        )
    moved = replace(raised, position=goal, confirmed_at=None, hand_split=None)
    share = rollout_sentences.weight_at(r, goal)
    return Intent(
        "promote",
        f"Promote {r.name} to {goal}",
        f"It goes from {r.position} to {goal} now, without waiting for hold and gates. The canary then gets new calls "
        f"with weight {share}.",
        f"Promote to {goal}",
        grouped(forward_bodies(moved, moved.outstanding)),
        _pending_writes(r),
        full,
    )


def _set(r: Rollout, weights: Mapping[str, str] | None) -> Intent:
    asked = {arm: f"{points / splits.TOTAL:g}" for arm, points in r.weights_at(r.step).items()}
    orders: tuple[PatchPreview, ...] = ()
    if weights:
        asked = {arm: weights.get(arm, "") for arm in r.plan.arms}
        given = {arm: text for arm, text in weights.items() if text}
        change, _, _ = set_weights(r, r.updated_at, By("page"), None, given)
        moved = change.applied_to(r, r.updated_at)
        orders = grouped(forward_bodies(moved, moved.outstanding))
    return Intent(
        "set",
        f"Set the weights of {r.name}",
        f"Your weights replace those of step {r.position}. Its hold starts again, and its gates count the calls at these "
        "weights only. After that the plan continues with its next step. The baseline gets the rest.",
        "Set these weights",
        orders,
        _pending_writes(r) if orders else "The exact PATCH bodies are shown here before you confirm.",
        weights=tuple((arm, asked.get(arm, "")) for arm in r.plan.arms),
    )


def _ship(r: Rollout, variant: str) -> Intent:
    orders: tuple[PatchPreview, ...] = ()
    missing = None
    if variant:
        missing = missing_evidence(r.verdict, variant)
        change, _, _ = ship(r, r.updated_at, By("page"), None, variant=variant, missing=missing, anyway=True)
        moved = change.applied_to(r, r.updated_at)
        orders = grouped(forward_bodies(moved, moved.outstanding))
    return Intent(
        "ship",
        f"Ship {variant or 'a version'} of {r.name}",
        "It gets every call of every number. Then it bakes like the last step of the plan, watched by its gates, and ends "
        "as promoted. You can still roll back to the baseline.",
        f"Ship {variant}" if missing is None else f"Ship {variant} anyway",
        orders,
        _pending_writes(r) if orders else "The exact PATCH bodies are shown here before you confirm.",
        variant=variant,
        missing=missing or "",
        variants=tuple(r.plan.arms),
    )


def _pause(r: Rollout) -> Intent:
    return Intent(
        "pause",
        f"Pause {r.name}",
        f"It stays at {r.position}. Gates keep watching and may still roll it back.",
        "Pause",
        (),
        _pending_writes(r) or "Nothing is written.",
    )


def has_failed(r: Rollout) -> bool:
    """True if the gates have failed, so that resuming overrides them."""
    return r.verdict is not None and r.verdict.outcome is GateOutcome.FAIL


def _resume(r: Rollout) -> Intent:
    says = f"It continues from {r.position}."
    if has_failed(r):
        says += " Its gates have failed: resuming overrides that failure."
    waiting = r.started_at is not None and r.confirmed_at is None
    orders = grouped(forward_bodies(r, r.outstanding)) if waiting else ()
    follows = "" if orders else "Nothing is written now; the next step follows when its hold and gates allow."
    return Intent("resume", f"Resume {r.name}", says, "Resume", orders, follows)


def _adopt(r: Rollout) -> Intent:
    return Intent(
        "adopt",
        f"Adopt the live split of {r.name}",
        "The rollout accepts what the numbers show now and continues from there. The numbers are read once more first.",
        "Adopt",
        (),
        "Nothing is written now. The next step overwrites the adopted split.",
    )


def _restore(r: Rollout) -> Intent:
    chosen = [t for t in r.targets if t.state in RESTORABLE or t in r.outstanding]
    return Intent(
        "restore",
        f"Restore the split of {r.name}",
        "The rollout's split is written over what the numbers show now, and the rollout continues.",
        "Restore",
        grouped(forward_bodies(r, chosen)),
        _pending_writes(r),
    )


def _stop(r: Rollout) -> Intent:
    weight = sum(r.weights.values()) / splits.TOTAL
    return Intent(
        "stop",
        f"Stop {r.name}",
        f"It ends here, and the numbers keep their split: the canary with weight {percent(weight)}. To go back to the "
        "baseline, roll back instead.",
        "Stop",
        (),
        _pending_writes(r) or "Nothing is written.",
    )


def _rollback(r: Rollout) -> Intent:
    if r.phase is Phase.ROLLED_BACK:
        return Intent(
            "rollback",
            f"Roll back {r.name}",
            "It is rolled back already: every number was read back at its baseline.",
            "Roll back",
            (),
            "Nothing is written.",
        )
    # A rollback of a finished rollout begins again; only a number that Retell does not know is left out.
    settled = {TargetState.MISSING} if r.phase.is_final else _SETTLED
    todo = [t for t in r.written if t.state not in settled]
    says = "Every baseline is written back now and read back, whatever hold, gate, window or pause says."
    if not todo:
        says = "No number was written by this rollout, so there is nothing to write back. It ends as rolled back."
        if r.phase is Phase.ROLLING_BACK:
            says = "Every baseline has been written back already; the service still makes sure that it stays."
    return Intent(
        "rollback",
        f"Roll back {r.name}",
        says,
        "Roll back now",
        grouped((t.number, body_of(lists_at(r.plan, t.baseline, 0))) for t in todo),
        "" if todo else "Nothing is written.",
    )


def _pending_writes(r: Rollout) -> str:
    if not r.unresolved:
        return ""
    open_ = len({w.number for w in r.unresolved})
    return (
        f"{number_count(open_)} still {'has' if open_ == 1 else 'have'} a write whose outcome is not known; nothing more "
        "is sent there until it is."
    )
