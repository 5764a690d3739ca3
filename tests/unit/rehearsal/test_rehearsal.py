"""Rehearsals run through the gate itself, mirror the driver's order, and say what a plan cannot do."""

import numpy as np
import pytest

from rollout.domain.gates.judge import judge
from rollout.domain.gates.profiles import from_plan, gate_config
from rollout.domain.gates.tally import Cell, Tally, strata_of
from rollout.domain.gates.verdict import GateOutcome
from rollout.domain.gates.weighing import AMBER, FAIL, LABELS, PASS, SPLIT, WAIT
from rollout.domain.rehearsal.rehearsal import USUAL_RATES, ModelCallers, base_rates, draw_calls, play_plan
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


@pytest.mark.slow
def test_a_plain_plan_is_rehearsed_as_the_gate_promises():
    found = play_plan(gate_config(), RAMP, 200, runs=200, seed=3)
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


@pytest.mark.slow
def test_a_seed_decides_everything():
    first, second = (play_plan(gate_config(), RAMP, 300, runs=20, seed=9) for _ in range(2))
    assert first == second
    assert first.scenarios != play_plan(gate_config(), RAMP, 300, runs=20, seed=10).scenarios


def test_holds_and_least_calls_are_kept():
    config = from_plan({"profile": "none"})
    steps = (PlayStep(1000, 2 * DAY, min_calls=40), PlayStep(10_000, DAY))
    ends = Runs(config, steps, callers(config), 50, 100).play(3000)
    assert (ends.how == PASS).all()
    assert ends.days.min() >= 3
    assert ends.canary.min() >= 40 + 90


def test_a_plan_that_cannot_decide_says_so_and_what_could():
    found = play_plan(gate_config(), RAMP, 10, runs=30, seed=1, deadline=30 * DAY)
    text = " ".join(found.notes)
    assert "Step 1: a hold of 30 min at 10 calls a day sees no canary calls" in text
    assert "This plan cannot decide at 10 calls a day: within 30 days only" in text
    assert "It needs about 830 calls, 83 days at this traffic." in text


WIDE = from_plan({"metrics": [{"name": "success", "margins": [0.9]}], "floors": [30, 100]})


def notes(*steps, per_day=100.0, config=WIDE, **more):
    """The notes of a plan, of which one call is played."""
    return play_plan(config, steps, per_day, runs=1, deadline=DAY / per_day, **more).notes


@pytest.mark.parametrize(
    ("hold", "said"),
    [
        (30, "30 s"),
        (56, "56 s"),
        (58, "1 min"),
        (90, "1.5 min"),
        (9.4 * 60, "9.4 min"),
        (9.6 * 60, "10 min"),
        (3600, "1 hour"),
        (5400, "1.5 hours"),
        (12.2 * 3600, "12 hours"),
        (DAY, "1 day"),
        (2.5 * DAY, "2.5 days"),
        (20.2 * DAY, "20 days"),
    ],
)
def test_a_span_is_said_in_its_largest_unit(hold, said):
    assert notes(PlayStep(1000, hold), per_day=10)[0].startswith(f"Step 1: a hold of {said} at 10 calls a day sees ")


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        (0, "no canary calls;"),
        (10, "one canary call;"),
        (14, "one canary call;"),
        (20, "two canary calls;"),
        (50, "five canary calls;"),
        (60, "about 6 canary calls;"),
        (213, "about 25 canary calls;"),
    ],
)
def test_a_few_canary_calls_are_said_in_words(calls, said):
    assert f"at 100 calls a day sees {said} expect" in notes(PlayStep(1000, calls / 100 * DAY))[0]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (PlayStep(1000), "wait for its 30 canary calls, about 300 calls or 3 days."),
        (PlayStep(5000), "wait for its 100 canary calls, about 200 calls or 2 days."),
        (PlayStep(1000, min_calls=5_000), "wait for its 5000 canary calls, about 50,000 calls or 500 days."),
    ],
)
def test_a_step_that_waits_for_its_least_calls_says_how_many(step, said):
    assert notes(step)[0].endswith(said)
    enough = PlayStep(step.weight, max(step.min_calls / 0.1, 300) / 100 * DAY, step.min_calls)
    assert not [note for note in notes(enough) if note.startswith("Step")]


def test_a_step_that_waits_for_a_proof_names_its_metric_and_the_margin_counts_that_holds_before_weight_1():
    config = from_plan({"metrics": [{"name": "success"}]})
    apart, before_full = (
        notes(PlayStep(5000), PlayStep(1000), *last, config=config) for last in ((), (PlayStep(10_000),))
    )
    assert "Step 2: a hold of 0 s at 100 calls a day sees no canary calls; expect the step to wait for" in apart[1]
    assert "its 30 canary calls, about 300 calls" in apart[1]
    assert "the proof of success, about 1,500 calls or 15 days" in before_full[1]
    assert "Step 1" in before_full[0] and "the proof of success" in before_full[0]


def test_each_kind_of_note_says_it_in_one_sentence():
    waits, person, undecided = notes(PlayStep(1000, approve=True), PlayStep(10_000))
    assert waits == (
        "Step 1: a hold of 0 s at 100 calls a day sees no canary calls; expect the step to wait for its 30 canary "
        "calls, about 300 calls or 3 days."
    )
    assert person == "Step 1 needs a person's approval; these times assume that it comes at once."
    assert undecided == (
        "This plan cannot decide at 100 calls a day: within 14 min only 0% of the rollouts of an equally good canary "
        "are promoted. It needs about 300 calls, 3 days at this traffic."
    )


def test_the_notes_and_the_line_say_what_was_played_and_medians_are_of_the_runs_that_ended_so():
    played = play_plan(gate_config(), RAMP, 200, runs=12, seed=1)
    by_name = {s.name: s for s in played.scenarios}
    five, ten, equal, dead = (by_name[n] for n in ("5 points worse", "10 points worse", "equal", "dead"))
    assert five.rolled_back < 0.8 <= ten.rolled_back
    assert played.notes[-1] == (
        f"A canary 5 points worse is rolled back in {five.rolled_back:.0%} of the rollouts and promoted in "
        f"{five.promoted:.0%}; one 10 points worse is rolled back in {ten.rolled_back:.0%}."
    )
    assert not any("cannot decide" in note for note in played.notes)
    assert played.line == (
        f"At 200 calls a day an equal canary is promoted in {equal.promoted:.0%} of rollouts after "
        f"{equal.days_to_promote:.2g} days, one 10 points worse is rolled back in {ten.rolled_back:.0%}, "
        f"one that fails every call is rolled back after {dead.canary_to_roll_back:.0f} of its calls."
    )
    assert five.days_to_promote == pytest.approx(five.calls_to_promote / 200)
    assert five.days_to_roll_back == pytest.approx(five.calls_to_roll_back / 200)
    assert 0 < five.canary_to_roll_back < five.calls_to_roll_back
    short = play_plan(gate_config(), RAMP, 200, runs=1, deadline=1)
    never = short.scenarios[0]
    assert (never.calls_to_promote, never.days_to_promote, never.canary_to_roll_back) == (None, None, None)
    assert short.line == (
        "At 200 calls a day an equal canary is never promoted before the deadline, one 10 points worse is rolled back "
        "in 0%, one that fails every call is not detected."
    )


def test_where_every_worse_canary_is_found_or_none_is_nothing_is_said_of_them():
    rare, config = {"success": 0.001, "hard_error": 0.0005}, from_plan({"metrics": [{"name": "success"}]})
    found = play_plan(config, RAMP, 300, runs=3, deadline=10 * DAY, rates=rare)
    assert [s.rolled_back for s in found.scenarios[1:5]] == [1, 1, 1, 1]
    assert not [note for note in (*found.notes, *notes(*RAMP)) if note.startswith("A canary")]


def promoted(step, per_day, **more):
    return play_plan(from_plan({"profile": "none"}), (step,), per_day, runs=1, **more).scenarios[0].promoted


def test_a_run_ends_undecided_at_the_deadline_and_after_20_000_calls():
    assert [promoted(PlayStep(10_000, days * DAY), 10, deadline=3 * DAY) for days in (3, 3.01)] == [1, 0]
    assert [promoted(PlayStep(10_000, days * DAY), 10) for days in (60, 60.1)] == [1, 0]
    assert [promoted(PlayStep(10_000, days * DAY), 20_000) for days in (1, 1.001)] == [1, 0]
    assert [promoted(PlayStep(10_000, min_calls=n), 0.1, deadline=DAY) for n in (1, 2)] == [1, 0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "metrics",
    [
        [{"name": "booked", "custom": "booked", "margins": [0.1]}],
        [{"name": "slow", "margins": [0.1]}, {"name": "negative"}],
        [{"name": "negative"}, {"name": "success"}],
    ],
    ids=["own", "two thresholds", "success"],
)
def test_a_worse_canary_is_worse_by_success_or_else_by_the_first_metric(metrics):
    found = play_plan(from_plan({"metrics": metrics}), RAMP, 300, runs=5, deadline=10 * DAY)
    by_name = {s.name: s for s in found.scenarios}
    assert by_name["40 points worse"].rolled_back == by_name["dead"].rolled_back == 1
    assert by_name["dead"].canary_to_roll_back < by_name["40 points worse"].canary_to_roll_back


def test_a_rate_cannot_exceed_all_calls():
    assert play_plan(gate_config(), RAMP, 5, runs=1, deadline=DAY, rates={"success": 0.95}).rates["success"] == 0.95


def test_what_is_not_known_of_the_baseline_is_usual():
    config = from_plan({"metrics": [{"name": "success"}, {"name": "booked", "custom": "booked"}, {"name": "slow"}]})
    usual = base_rates(config)
    assert (usual["slow:p50"], usual["slow:p90"]) == (0.5, 0.1)
    assert 0 < usual["hard_error"] < usual["success"] < usual["booked"] + 0.1 < 0.5
    assert base_rates(config, {"booked": 0.7}) == {**usual, "booked": 0.7}


@pytest.mark.parametrize(
    ("inner", "outer", "both"), [(0.3, 0.5, 0.5), (0.3, 0.1, 0.3), (1.0, 0.2, 1.0), (0.0, 0.4, 0.4)]
)
def test_a_call_that_implies_another_is_drawn_within_its_rate(inner, outer, both):
    series = ("success", "hard_error", "slow:p50", "slow:p90", "negative")
    rates = {"success": outer, "hard_error": inner, "slow:p50": outer, "slow:p90": inner, "negative": 0.25}
    calls = 200_000
    drawn = draw_calls(series, np.array([calls]), rates, np.random.default_rng(7))
    assert (drawn.sum(axis=-1) == calls).all() and drawn[-1, 0].tolist() == [0, calls]
    found = dict(zip(series, drawn[:, 0, 0] / calls, strict=False))
    assert found == pytest.approx(
        {"success": both, "hard_error": inner, "slow:p50": both, "slow:p90": inner, "negative": 0.25}, abs=0.005
    )


def test_no_gates_and_no_baseline_are_told():
    assert "no gates" in play_plan(from_plan({"profile": "none"}), RAMP, 40, runs=5).notes[0]
    alone = play_plan(gate_config(), (PlayStep(10_000, DAY),), 40, runs=5, deadline=3 * DAY)
    assert "never has a baseline to compare with" in alone.notes[0]
    assert alone.scenarios[0].promoted == 0


def test_a_person_is_mentioned_and_an_own_canary_played():
    steps = (PlayStep(5000, 60), PlayStep(10_000, 60, approve=True))
    found = play_plan(gate_config("low-traffic"), steps, 500, runs=30, canary={"success": 0.5}, deadline=20 * DAY)
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

        def arms(rows):
            return int(rows[0] + rows[1]), int(rows[2] + rows[3])

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
