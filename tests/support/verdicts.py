"""Verdicts on an A/B test, made by the gates' own judge from calls and rates."""

from __future__ import annotations

from collections.abc import Mapping

from rollout.domain.gates.judge import combine, judge
from rollout.domain.gates.profiles import GateConfig, gate_config
from rollout.domain.gates.shipping import comparison_gate, judge_against, leader
from rollout.domain.gates.tally import Cell, Tally
from rollout.domain.gates.verdict import Comparison, GateVerdict, Verdict
from tests.support.clock import START

CONFIG = gate_config("standard")
Calls = tuple[int, float]  # judged calls of the last step, and the share of them that is bad
ENOUGH, FEW = 2_000, 40


def ab_verdict(
    arms: Mapping[str, Calls], baseline: Calls = (ENOUGH, 0.2), config: GateConfig = CONFIG, lost: str = ""
) -> GateVerdict:
    """A look at variants in the second and last step. lost: a variant none of whose calls has a result."""
    judged = {name: judge(config, _tally(config, own, baseline, lost=name == lost)) for name, own in arms.items()}
    first, pair = leader(judged), comparison_gate(config)
    over: dict[str, Verdict] = {}
    for name, other in arms.items():
        if first is not None and name != first:
            over[name] = judge_against(pair, _tally(pair, arms[first], other), by_strata=False)
    outcome = combine(judged)
    compared = None if first is None else Comparison(first, over)
    return GateVerdict(outcome, None, f"the gates say {outcome}", START, (1, 2), judged, compared)


def _tally(config: GateConfig, own: Calls, other: Calls, *, lost: bool = False) -> Tally:
    (n, rate), (m, other_rate) = own, other
    if n + m == 0:
        return Tally((), position=2, step=2, weight=0.5)
    bad, other_bad = round(n * rate), round(m * other_rate)
    # A hard error is rare, whatever the version; with the other metrics it is as with the first.
    counts = dict.fromkeys(config.series, (bad, n - bad, other_bad, m - other_bad))
    counts |= {"hard_error": (n // 50, n - n // 50, m // 50, m - m // 50)} if "hard_error" in counts else {}
    if lost:
        counts = {s: (0, 0, *c[2:]) for s, c in counts.items()}
    weight = n / (n + m)
    cell = Cell(weight, 2, "2026-03-02", (n, m), (n, m), counts)
    return Tally((cell,), position=2, step=2, weight=weight)
