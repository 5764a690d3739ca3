"""Rehearsals run through the gate itself, mirror the driver's order, and say what a plan cannot do."""

import numpy as np
import pytest

from rollout.domain.gates.judge import Cell, GateOutcome, Tally, from_plan, gate_config, judge
from rollout.domain.gates.tally import strata_of
from rollout.domain.gates.weighing import AMBER, FAIL, LABELS, PASS, SPLIT, WAIT
from rollout.domain.rehearsal.rehearsal import USUAL_RATES, ModelCallers, rehearse
from rollout.domain.rehearsal.simulation import DAY, PlayStep, Runs, gate

RAMP = (PlayStep(1000, 1800), PlayStep(5000, 7200), PlayStep(10_000, DAY))
CODES = {
    FAIL: ("fail", None),
    SPLIT: ("undecided", "split"),
    LABELS: ("undecided", "labels"),
    AMBER: ("undecided", "amber"),
    PASS: ("pass", None),
    WAIT: ("undecided", None),
}


def callers(config, seed=1, **canary):
    base = {**dict.fromkeys(config.series, 0.1), **USUAL_RATES}
    return ModelCallers(config.series, base, {**base, **canary}, np.random.default_rng(seed))


def test_each_decision_is_the_one_that_judge_makes():
    """Rebuild one run's cells from its own calls and ask judge at every look."""
    config = gate_config()
    for seed, canary in ((1, {}), (2, {"success": 0.3}), (3, {"success": 0.8, "hard_error": 0.5})):
        engine = Runs(config, RAMP[:2], callers(config, seed, **canary), 1, 50)
        drafts: dict[tuple[int, int], dict[str, np.ndarray]] = {}
        seen = []

        def compare(runs, drafts=drafts, seen=seen):
            step = int(runs.scene.step[0])
            day = int((sum(d["calls"].sum() for d in drafts.values())) // 50)
            cell = drafts.setdefault((step, day), {s: np.zeros(4) for s in (*config.series, "calls")})
            for s, new in zip((*config.series, "calls"), runs.new[:, 0], strict=True):
                cell[s] += new
            cells = []
            for (position, opened), counts in drafts.items():
                n = counts["calls"]
                arms = (int(n[0] + n[1]), int(n[2] + n[3]))
                numbers = {s: tuple(int(x) for x in counts[s]) for s in config.series}
                cells.append(Cell(RAMP[position].weight / 10_000, position, str(opened), arms, arms, numbers))
            found = judge(config, Tally(tuple(cells), step, step + 1, RAMP[step].weight / 10_000))
            code = gate(runs)
            assert CODES[int(code[0])] == (found.outcome.value, found.alarm)
            seen.append(found.outcome)
            return code

        engine.play(900, lambda done: 10, compare)
        assert len(seen) > 3
        assert {1: GateOutcome.PASS, 2: GateOutcome.FAIL, 3: GateOutcome.FAIL}[seed] in seen


def test_a_plain_plan_is_rehearsed_as_the_gate_promises():
    found = rehearse(gate_config(), RAMP, 200, runs=200, seed=3)
    by_name = {s.name: s for s in found.scenarios}
    assert list(by_name) == ["equal", "5 points worse", "10 points worse", "20 points worse", "40 points worse", "dead"]
    assert by_name["equal"].promoted >= 0.92 and by_name["equal"].rolled_back <= 0.06
    assert by_name["10 points worse"].rolled_back >= 0.85 and by_name["10 points worse"].promoted <= 0.05
    assert by_name["dead"].rolled_back == 1.0 and by_name["dead"].canary_to_roll_back <= 4
    assert by_name["40 points worse"].canary_to_roll_back <= 20
    for s in found.scenarios:
        assert s.promoted + s.rolled_back + s.undecided == pytest.approx(1)
    assert by_name["equal"].days_to_promote >= 1 + 9000 / DAY  # the holds are never shortened
    assert found.line.startswith("At 200 calls a day an equal canary is promoted in")


def test_a_seed_decides_everything():
    first, second = (rehearse(gate_config(), RAMP, 300, runs=20, seed=9) for _ in range(2))
    assert first == second
    assert first.scenarios != rehearse(gate_config(), RAMP, 300, runs=20, seed=10).scenarios


def test_holds_and_least_calls_are_kept():
    config = from_plan({"profile": "none"})
    steps = (PlayStep(1000, 2 * DAY, min_calls=40), PlayStep(10_000, DAY))
    ends = Runs(config, steps, callers(config), 50, 100).play(3000)
    assert (ends.how == PASS).all()
    assert ends.days.min() >= 3
    assert ends.canary.min() >= 40 + 90


def test_a_plan_that_cannot_decide_says_so_and_what_could():
    found = rehearse(gate_config(), RAMP, 10, runs=30, seed=1, deadline=30 * DAY)
    text = " ".join(found.notes)
    assert "Step 1: a hold of 30 min at 10 calls a day sees no canary calls" in text
    assert "This plan cannot decide at 10 calls a day: within 30 days only" in text
    assert "It needs about 830 calls, 83 days at this traffic." in text


def test_two_canary_calls_are_called_two():
    found = rehearse(gate_config(), (PlayStep(1000, DAY / 2), RAMP[1]), 40, runs=5, seed=1)
    assert "a hold of 12 hours at 40 calls a day sees two canary calls" in found.notes[0]


def test_a_step_that_waits_for_its_least_calls_says_how_many():
    many = rehearse(gate_config(), (PlayStep(1000, DAY / 2, min_calls=5_000), RAMP[1]), 40, runs=5, seed=1)
    assert "expect the step to wait for its 5000 canary calls" in many.notes[0]


def test_no_gates_and_no_baseline_are_told():
    assert "no gates" in rehearse(from_plan({"profile": "none"}), RAMP, 40, runs=5).notes[0]
    alone = rehearse(gate_config(), (PlayStep(10_000, DAY),), 40, runs=5, deadline=3 * DAY)
    assert "never has a baseline to compare with" in alone.notes[0]
    assert alone.scenarios[0].promoted == 0


def test_a_person_is_mentioned_and_an_own_canary_played():
    steps = (PlayStep(5000, 60), PlayStep(10_000, 60, approve=True))
    found = rehearse(gate_config("low-traffic"), steps, 500, runs=30, canary={"success": 0.5}, deadline=20 * DAY)
    assert any("Step 2 needs a person's approval" in n for n in found.notes)
    assert found.scenarios[-1].name == "as given" and found.scenarios[-1].rolled_back > 0.9


def test_modelled_callers_nest_what_implies_each_other():
    config = gate_config()
    model = callers(config, hard_error=0.3, success=0.2)
    drawn = model.draw(Runs(config, RAMP, model, 400, 50).scene, 0, 50)
    rows = dict(zip((*config.series, "calls"), drawn, strict=True))
    assert (rows["hard_error"][:, 0] <= rows["success"][:, 0]).all()
    assert (rows["slow:p90"][:, 2] <= rows["slow:p50"][:, 2]).all()
    assert (drawn.sum(-1) == 50).all()
    assert rows["negative"][:, 2].sum() / rows["negative"][:, 2:].sum() == pytest.approx(0.2, abs=0.02)


class TwoNumbers:
    """Callers of two numbers, the first overridden: what they are told apart by reaches the gate of every run."""

    def __init__(self, config, seed):
        self.rng, self.series = np.random.default_rng(seed), len(config.series)

    def draw(self, scene, first, calls):
        found = []
        for part, base, reaches in ((0.7, 0.10, 0.0), (0.3, 0.40, 1.0)):
            n = self.rng.binomial(calls, part, len(scene.ids))
            canary = self.rng.binomial(n, scene.weight * reaches)
            rows = np.zeros((self.series + 1, len(n), 4))
            for k in range(self.series):
                rate = base if k == 0 else 0.05
                bad = self.rng.binomial(canary, rate), self.rng.binomial(n - canary, rate)
                rows[k] = np.stack([bad[0], canary - bad[0], bad[1], n - canary - bad[1]], axis=-1)
            rows[-1, :, 1], rows[-1, :, 3] = canary, n - canary
            found.append(rows)
        return np.stack(found)


def test_a_split_wrong_on_one_number_is_played_and_weighed_as_judge_does():
    config = gate_config()
    engine = Runs(config, (PlayStep(1000),), TwoNumbers(config, 4), 1, 1e9)
    parts = np.zeros((2, len(config.series) + 1, 4))
    memory, codes = None, []

    def compare(runs):
        nonlocal memory, parts
        new = runs.drawn[:, :, 0]
        parts += new
        counts = parts.sum(axis=0)
        arms = lambda rows: (int(rows[0] + rows[1]), int(rows[2] + rows[3]))  # noqa: E731
        strata = {
            str(i): {"": arms(parts[i, -1]), **{s: arms(parts[i, k]) for k, s in enumerate(config.series)}}
            for i in range(2)
        }
        numbers = {s: tuple(int(x) for x in counts[k]) for k, s in enumerate(config.series)}
        cell = Cell(0.1, 0, "0", arms(counts[-1]), arms(counts[-1]), numbers, strata=strata)
        found = judge(config, Tally((cell,), 0, 1, 0.1, strata=strata_of([cell], ["0", "1"])), memory)
        memory = found.memory
        code = gate(runs)
        assert CODES[int(code[0])] == (found.outcome.value, found.alarm)
        assert bool(runs.by_strata[0]) == found.memory.by_strata
        codes.append(int(code[0]))
        return np.full(1, WAIT)

    engine.play(900, lambda done: 10, compare)
    assert memory.by_strata and SPLIT in codes and FAIL not in codes


@pytest.mark.parametrize(("edition", "alarm"), [(1, SPLIT), (2, LABELS)])
def test_results_that_go_missing_are_played_and_weighed_as_judge_does(edition, alarm):
    config = gate_config(edition=edition)
    rng, seen = np.random.default_rng(3), np.zeros((len(config.series) + 1, 4))

    class Losing:
        def draw(self, scene, first, calls):
            canary = rng.binomial(calls, scene.weight)
            out = np.zeros((len(config.series) + 1, len(canary), 4))
            for k in range(len(config.series) + 1):
                known = rng.binomial(canary, 0.5) if k == 0 else canary
                bad = [rng.binomial(n, 0.1 if k < len(config.series) else 0) for n in (known, calls - canary)]
                out[k, :, 0], out[k, :, 1] = bad[0], known - bad[0]
                out[k, :, 2], out[k, :, 3] = bad[1], calls - canary - bad[1]
            return out

    engine, codes = Runs(config, (PlayStep(1000),), Losing(), 1, 1e9), []

    def compare(runs):
        nonlocal seen
        seen += runs.new[:, 0]
        numbers = {s: tuple(int(x) for x in seen[k]) for k, s in enumerate(config.series)}
        all_calls = (int(seen[-1][1]), int(seen[-1][3]))
        lost = {s: (all_calls[0] - n[0] - n[1], all_calls[1] - n[2] - n[3]) for s, n in numbers.items()}
        cell = Cell(0.1, 0, "0", all_calls, all_calls, numbers, lost=lost)
        found = judge(config, Tally((cell,), 0, 1, 0.1))
        code = gate(runs)
        assert CODES[int(code[0])] == (found.outcome.value, found.alarm)
        codes.append(int(code[0]))
        return np.full(1, WAIT)

    engine.play(400, lambda done: 10, compare)
    assert alarm in codes and PASS not in codes[codes.index(alarm) :]
