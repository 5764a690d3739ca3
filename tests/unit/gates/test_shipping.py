"""The evidence that a version needs before it gets every call."""

from __future__ import annotations

from rollout.domain.gates.judge import judge
from rollout.domain.gates.profiles import gate_config
from rollout.domain.gates.shipping import missing_evidence
from rollout.domain.gates.tally import Cell, Tally
from rollout.domain.gates.verdict import GateOutcome, GateVerdict, Verdict

CONFIG = gate_config("standard")


def judged(calls: int, bad: float = 0.1, weight: float = 0.25) -> Verdict:
    """The verdict on a version with these calls beside three times as many of the baseline, a tenth of them bad."""
    own, base = (round(bad * calls), calls - round(bad * calls)), (round(0.1 * 3 * calls), round(0.9 * 3 * calls))
    counts = dict.fromkeys(CONFIG.series, (*own, *base))
    cell = Cell(weight, 1, "2026-03-02", (calls, 3 * calls), (calls, 3 * calls), counts)
    return judge(CONFIG, Tally((cell,), position=1, step=1, weight=weight))


def looked(**arms: Verdict) -> GateVerdict:
    return GateVerdict(GateOutcome.PASS, None, "", arms=arms)


def test_a_version_that_nobody_judged_lacks_everything() -> None:
    assert missing_evidence(None, "b") == "no gate has judged b yet"
    assert missing_evidence(looked(c=judged(500)), "b") == "no gate has judged b yet"


def test_an_undecided_version_lacks_what_its_gate_says() -> None:
    b = judged(10)
    assert b.outcome is GateOutcome.UNDECIDED
    assert missing_evidence(looked(b=b), "b") == f"the gates of b say undecided: {b.reason}"


def test_a_pass_at_a_small_weight_is_not_enough_for_every_call() -> None:
    calls = next(n for n in range(20, 2_000, 5) if judged(n).outcome is GateOutcome.PASS)
    lacks = missing_evidence(looked(b=judged(calls)), "b")
    assert lacks is not None
    assert lacks.startswith("the margins that hold before weight 1 are not proven of b: ")


def test_a_version_that_has_proven_them_lacks_nothing_whatever_the_others_say() -> None:
    assert missing_evidence(looked(b=judged(3_000), c=judged(10)), "b") is None


def test_a_worse_version_lacks_it_however_many_calls_there_are() -> None:
    assert missing_evidence(looked(b=judged(3_000, bad=0.2)), "b") is not None
