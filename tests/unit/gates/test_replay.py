"""Stored looks judged again: by their own gate, and by another one that decides sooner, later or never."""

from dataclasses import replace

from rollout.domain.gates.judge import judge
from rollout.domain.gates.profiles import from_plan
from rollout.domain.gates.replay import replay
from rollout.domain.gates.verdict import GateOutcome, GateVerdict, StoredLook
from tests.support.clock import START
from tests.unit.gates.test_judge import STANDARD, cell, tally

WORSE = [cell(success=(n, n, 9 * n // 10, 81 * n // 10)) for n in (1, 10, 20, 30)]  # half of the calls, of a tenth
FAILS_AT, CALLS = 1, [c.started[0] + c.started[1] for c in WORSE]


def looks(*cells, config=STANDARD, arm="canary", external=None, memory=None):
    """One look after each of these cells, which take the place of each other."""
    found = []
    for seq, one in enumerate(cells, 1):
        verdict = judge(config, tally(one, external=external or {}), memory)
        memory = verdict.memory
        found.append(StoredLook(seq, START, GateVerdict(verdict.outcome, None, verdict.reason, arms={arm: verdict})))
    return found


def test_looks_judged_again_by_their_own_gate_say_the_same_and_when_they_first_decided():
    assert replay(looks(*WORSE)).to_json() == {
        "looks": 4,
        "same": True,
        "different": [],
        "decided": {"canary": {"calls": CALLS[FAILS_AT], "outcome": "fail"}},
    }
    assert replay(looks(*WORSE[:1])).to_json() == {"looks": 1, "same": True, "different": [], "decided": {}}
    assert replay([]).to_json() == {"looks": 0, "same": True, "different": [], "decided": {}}


def test_a_look_that_was_stored_with_another_outcome_or_other_figures_is_named():
    kept = looks(*WORSE[:2], arm="b")
    arm = kept[0].verdict.arms["b"]
    kept[0] = replace(kept[0], verdict=replace(kept[0].verdict, arms={"b": replace(arm, outcome=GateOutcome.PASS)}))
    found = replay(kept).to_json()
    assert (found["same"], found["different"]) == (
        False,
        [{"seq": 1, "arm": "b", "stored": "pass", "now": "undecided"}],
    )
    other = replace(arm.evidence, figures=replace(arm.evidence.figures, e_gate=arm.evidence.figures.e_gate * 1.5))
    kept[0] = replace(kept[0], verdict=replace(kept[0].verdict, arms={"b": replace(arm, evidence=other)}))
    assert [(d["stored"], d["now"]) for d in replay(kept).to_json()["different"]] == [("undecided", "undecided")]


def test_a_look_of_a_machine_that_rounds_otherwise_says_the_same():
    """`replay` named every such look as different: on a processor without AVX-512 one figure ended in 6 instead of 56."""
    (look,) = looks(*WORSE[1:2])
    arm = look.verdict.arms["canary"]

    def rounded(factor):
        changed = replace(arm.evidence.figures, safe={n: e * factor for n, e in arm.evidence.figures.safe.items()})
        other = replace(arm, evidence=replace(arm.evidence, figures=changed))
        return replay([replace(look, verdict=replace(look.verdict, arms={"canary": other}))])

    assert arm.evidence.figures.safe
    assert rounded(1 + 1e-12).same and rounded(1 - 1e-12).same
    assert not rounded(1 + 1e-6).same


def test_another_gate_is_compared_by_its_first_decision():
    later = replay(looks(*WORSE), {"metrics": [{"name": "success", "share": 0.1}]}).to_json()["other"]
    assert later == {"canary": {"outcome": "fail", "calls": CALLS[2], "sooner_by": CALLS[1] - CALLS[2]}}
    same = replay(looks(*WORSE), {}).to_json()["other"]
    assert same == {"canary": {"outcome": "fail", "calls": CALLS[1], "sooner_by": 0}}
    never = replay(
        looks(*WORSE), {"profile": "none", "metrics": [{"name": "x", "http": {"url": "u", "max": 1}}]}
    ).to_json()
    assert never["other"] == {"canary": {"outcome": "undecided", "calls": None, "sooner_by": None}}
    assert never["decided"]["canary"]["outcome"] == "fail"


def test_another_gate_may_decide_what_was_never_decided_and_of_no_looks_it_says_nothing():
    strict = from_plan({"metrics": [{"name": "success", "share": 0.1}]})
    quiet = looks(WORSE[1], config=strict)
    found = replay(quiet, {"metrics": [{"name": "success"}]}).to_json()
    assert found["decided"] == {}
    assert found["other"] == {"canary": {"outcome": "fail", "calls": CALLS[1], "sooner_by": None}}
    assert replay([], {}).to_json()["other"] == {"canary": {"outcome": "undecided", "calls": None, "sooner_by": None}}


def outside(**limits):
    return {"name": "x", "http": {"url": "u", **limits}}


def test_another_gate_remembers_from_look_to_look():
    """The value is beyond its limit at every look, and the other gate fails at the third."""
    config = from_plan({"profile": "none", "metrics": [outside(max=9)]})
    found = replay(
        looks(*WORSE, config=config, external={"x": 2}), {"profile": "none", "metrics": [outside(max=1, **{"for": 3})]}
    ).to_json()
    assert found["other"] == {"canary": {"outcome": "fail", "calls": CALLS[2], "sooner_by": CALLS[0] - CALLS[2]}}


def test_another_gate_judges_only_what_was_counted_with_the_history_of_then():
    config = replace(from_plan({"metrics": [{"name": "success"}]}), history={"success": 0.3})
    kept = looks(*(replace(c, counts={"success": c.counts["success"]}) for c in WORSE), config=config)
    more = [{"name": "success"}, {"name": "slow"}, {"name": "negative"}, outside(max=1)]
    assert replay(kept, {"metrics": more}).to_json()["other"]["canary"]["outcome"] == "fail", (
        "what was not counted is left out"
    )
    alike = replay(kept, {"metrics": [{"name": "success"}]}).to_json()
    assert alike["other"]["canary"]["calls"] == alike["decided"]["canary"]["calls"] == CALLS[2]
    assert replay(looks(*WORSE), {}).to_json()["decided"]["canary"]["calls"] == CALLS[1], (
        "without the history it is sooner"
    )
