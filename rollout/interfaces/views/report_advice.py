"""The report's recommendation while a rollout is live, its reason, and what would change it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from rollout.domain.gates.reasons import figure
from rollout.domain.gates.shipping import best
from rollout.domain.gates.summary import ArmSummary, GateSummary
from rollout.domain.gates.verdict import GateOutcome
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout
from rollout.engine.gate_check import config_of
from rollout.interfaces.views.value_text import metric, moment


class Advice(StrEnum):
    """The next action for a person."""

    WAIT = "wait"
    PROMOTE = "promote"
    GIVE_UP = "give_up"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Recommendation:
    """In sentences: what to do, why, and what would change it."""

    advice: Advice
    what: str
    why: tuple[str, ...]
    would_change: str


def recommend(r: Rollout, found: GateSummary | None) -> Recommendation | None:
    """None once the rollout is over or goes back: then there is nothing left to recommend."""
    if r.phase.is_final or r.phase is Phase.ROLLING_BACK:
        return None
    arms = () if found is None else found.judged
    reasons = tuple(dict.fromkeys(a.reason for a in arms))
    if r.phase is Phase.HELD:
        what = "Answer the hold first: adopt the live split, restore the rollout's, roll back or stop."
        why = (f"The service holds: {r.reason}.", *([r.why] if r.why else reasons))
        return Recommendation(Advice.ANSWER, what, why, "Nothing continues until a person answers.")
    if not arms:
        gated = config_of(r.plan) is not None
        none = "No calls have been judged yet." if gated else "This plan has no gates: no calls are judged."
        change = "The first judged calls." if gated else "Only your own decision: no call can."
        return Recommendation(Advice.WAIT, "Wait: there are no judged calls yet.", (none,), change)
    if r.shipped is not None:
        what = f"Wait: {r.shipped} is shipped, and bakes like the last step of the plan."
        return Recommendation(Advice.WAIT, what, reasons, "A gate that fails; or promote, which ends its bake.")
    return _by_calls(r, arms, reasons)


def _by_calls(r: Rollout, arms: Sequence[ArmSummary], reasons: tuple[str, ...]) -> Recommendation:
    failing = [a for a in arms if a.outcome is GateOutcome.FAIL]
    passing = [a for a in arms if a.outcome is GateOutcome.PASS]
    avoid = f"Do not use {_names(failing)}: worse than the baseline." if failing else ""
    found = None if r.plan.variants is None else best(r.verdict)
    if chosen := next((a for a in passing if found is None or a.name == found.name), None):
        what = (
            f"Promote {chosen.name}: it is proven not to be worse than the baseline by the margins of this plan."
            if found is None
            else f"Ship {chosen.name} (rollout ship {r.id} --variant {chosen.name}): {found.why}."
        )
        change = f"Evidence of harm of {chosen.rollback.line:g} or more; it is {figure(chosen.rollback.e)} now."
        return Recommendation(Advice.PROMOTE, f"{what}{_by_plan(r)} {avoid}".strip(), reasons, change)
    if len(failing) == len(arms):
        change = (
            "Nothing that calls can show: a gate that failed stays failed. Only a person can continue it, with resume."
        )
        return Recommendation(Advice.GIVE_UP, f"{avoid} Roll back.", reasons, change)
    open_ = [a for a in arms if a.outcome is not GateOutcome.FAIL]
    why = "the calls do not decide it yet" if found is None or not passing else found.why
    what = f"{avoid} Wait: {why}.{_by_plan(r)}".strip()
    return Recommendation(Advice.WAIT, what, reasons, " ".join(_needs(r, a, len(arms) > 1) for a in open_))


def _by_plan(r: Rollout) -> str:
    """The moment at which the plan decides the test, if it will."""
    return "" if r.decides_at is None else f" The plan decides it at the earliest on {moment(r.decides_at)}."


def _needs(r: Rollout, a: ArmSummary, named: bool) -> str:
    """The evidence that would decide on one version, either way."""
    proofs = [
        f"{metric(m.outcome)} at {figure(m.proof.e)} of {m.proof.line:g}"
        for m in a.metrics
        if m.proof is not None and m.proof.e < m.proof.line
    ]
    good = f"proof that it is not worse ({', '.join(proofs)})" if proofs else f"{a.floor:,} of its calls in this step"
    end = "rolls it back" if r.plan.on_failure == "rollback" else "pauses it"
    harm = f"evidence of harm of {a.rollback.line:g} {end} (now {figure(a.rollback.e)})"
    needs = f"{good} lets it continue; {harm}."
    return f"{a.name}: {needs}" if named else needs[0].upper() + needs[1:]


def results(found: GateSummary | None) -> str:
    """The results of the calls when a rollout ended."""
    if found is None or not found.arms:
        return "No calls were judged."
    failing = [a for a in found.arms if a.outcome is GateOutcome.FAIL]
    passing = [a for a in found.arms if a.outcome is GateOutcome.PASS]
    shown = [f"that {_names(failing)} {_verb(failing)} worse than the baseline"] if failing else []
    not_worse = f"{_verb(passing)} not worse than the baseline by the margins of this plan"
    shown += [f"that {_names(passing)} {not_worse}"] if passing else []
    return f"The calls had shown {' and '.join(shown)}." if shown else "The calls had not decided it."


def _names(arms: Sequence[ArmSummary]) -> str:
    names = [a.name for a in arms]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _verb(arms: Sequence[ArmSummary]) -> str:
    return "is" if len(arms) == 1 else "are"
