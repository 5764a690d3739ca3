"""The evidence that a version needs before it gets every call, and the variant of an A/B test that has most of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rollout.domain.gates.profiles import GateConfig
from rollout.domain.gates.tally import Tally
from rollout.domain.gates.verdict import Figures, GateOutcome, GateVerdict, Memory, Verdict

LAST = 10_000  # a step behind every list of margins: the last one holds


def missing_evidence(verdict: GateVerdict | None, arm: str) -> str | None:
    """The evidence that the newest verdict lacks for weight 1, as a sentence; None: nothing.

    As before the last step of a plan, the narrowest margins have to be proven, whatever the weight that was tried.
    """
    kept = None if verdict is None else verdict.arms.get(arm)
    if kept is None:
        return f"no gate has judged {arm} yet"
    if kept.outcome is not GateOutcome.PASS:
        return f"the gates of {arm} say {kept.outcome}: {_clause(kept)}"
    from rollout.domain.gates.judge import judge

    evidence = kept.evidence
    at_last = judge(evidence.config, replace(evidence.tally, narrow=True, step=LAST), evidence.before)
    if at_last.outcome is not GateOutcome.PASS:
        return f"the margins that hold before weight 1 are not proven of {arm}: {_clause(at_last)}"
    return None


# ------------------------------------------------------------------ variant against variant


def comparison_gate(config: GateConfig) -> GateConfig:
    """The gate that says whether one variant is better than another: the first metric alone, with a margin of 0.

    To be proven not worse by a margin of 0 is to be proven better; floors, alarms and 1/beta are those of the plan.
    """
    return replace(config, metrics=(replace(config.compared[0], share=1.0, margins=(0.0,)),))


def judge_against(config: GateConfig, tally: Tally, *, by_strata: bool) -> Verdict:
    """The verdict that a variant, counted as the canary, is better than another, counted as the baseline.

    config: of `comparison_gate`. A step that gives one of them no calls compares nothing, and the highest floor holds
    at every weight. by_strata: the split of either is paid for by stratum.
    """
    from rollout.domain.gates.judge import judge

    return judge(config, replace(tally, weight=0.5), Memory(by_strata=by_strata))


def leader(arms: Mapping[str, Verdict]) -> str | None:
    """The variant with the lowest rate of bad calls in the first metric, the first of equals; None without calls."""
    rates = {name: rate for name, arm in arms.items() if (rate := _bad_rate(arm)) is not None}
    return min(rates, key=lambda name: rates[name], default=None)


def _bad_rate(verdict: Verdict) -> float | None:
    compared = verdict.evidence.config.compared
    bad, fine, *_ = verdict.evidence.figures.counts[compared[0].series[0]] if compared else (0, 0)
    return bad / (bad + fine) if bad + fine else None


@dataclass(frozen=True, slots=True)
class BestVariant:
    """The variant to ship by the evidence, and why; name None: why it is none."""

    name: str | None
    why: str


def best(verdict: GateVerdict | None) -> BestVariant:
    """The variant that is proven not worse than the baseline on every critical metric, by the margins before weight 1,
    and proven better than every other one on the first metric. A tie has no best."""
    found = None if verdict is None else verdict.comparison
    if found is None:
        return BestVariant(None, "the variants have no calls to compare yet")
    if (missing := missing_evidence(verdict, found.leader)) is not None:
        return BestVariant(None, f"{found.leader} has the best rate, but {missing}")
    for name, said in found.over.items():
        if said.outcome is not GateOutcome.PASS:
            return BestVariant(None, f"{found.leader} is not proven better than {name}: {_short(said)}")
    proven = f"{found.leader} is proven not worse than the baseline"
    if not found.over:
        return BestVariant(found.leader, proven)
    shown = ", ".join(f"{name} ({_evidence(said)})" for name, said in found.over.items())
    return BestVariant(found.leader, f"{proven}, and better than {shown}")


def _short(said: Verdict) -> str:
    """The evidence still missing for the proof that one variant is better."""
    figures: Figures = said.evidence.figures
    if said.alarm is not None or said.outcome is GateOutcome.UNMEASURABLE:
        return _clause(said)
    if figures.canary_calls < figures.floor:
        return f"{figures.canary_calls} of {figures.floor} calls with a result in this step"
    return f"{_evidence(said)} of {1 / said.evidence.config.beta:g}"


def _clause(said: Verdict) -> str:
    """The reason without its full stop, for a sentence that continues after it."""
    return said.reason.removesuffix(".")


def _evidence(said: Verdict) -> str:
    from rollout.domain.gates.reasons import figure

    [(metric, e)] = said.evidence.figures.safe.items()
    return f"{metric}: evidence {figure(e)}"
