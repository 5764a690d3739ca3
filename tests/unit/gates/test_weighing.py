"""The figures of a look and the table over them: each threshold exactly at its value, and what is counted where."""

from dataclasses import replace

import numpy as np
import pytest

from rollout.domain.gates import evidence as ev
from rollout.domain.gates.judge import judge
from rollout.domain.gates.profiles import from_plan, gate_config
from rollout.domain.gates.tally import Cell, strata_of
from rollout.domain.gates.verdict import Memory
from rollout.domain.gates.weighing import AMBER, FAIL, LABELS, PASS, SPLIT, WAIT, rule
from tests.unit.gates.test_judge import GOOD, STANDARD, cell, tally, verdict

CALM = {"e_gate": 1.0, "bad": 3, "e_split": 1.0, "safe": 1.0, "enough": True, "e_labels": 1.0}


@pytest.mark.parametrize(
    ("figures", "answer"),
    [
        ({}, WAIT),
        ({"e_gate": 10.0}, FAIL),
        ({"e_gate": 9.99}, AMBER),
        ({"e_gate": 10.0, "bad": 2}, AMBER),
        ({"e_gate": 3.0}, AMBER),
        ({"e_gate": 2.99}, WAIT),
        ({"e_split": 100.0}, SPLIT),
        ({"e_split": 99.9}, WAIT),
        ({"e_labels": 100.0}, LABELS),
        ({"e_labels": 99.9}, WAIT),
        ({"safe": 10.0}, PASS),
        ({"safe": 9.99}, WAIT),
        ({"safe": 10.0, "enough": False}, WAIT),
        ({"safe": 10.0, "e_gate": 3.0}, AMBER),
        ({"safe": 10.0, "e_labels": 100.0, "e_gate": 3.0}, LABELS),
        ({"safe": 10.0, "e_labels": 100.0, "e_split": 100.0}, SPLIT),
        ({"safe": 10.0, "e_split": 100.0, "e_gate": 10.0}, FAIL),
    ],
)
def test_each_row_of_the_table_holds_from_its_threshold_on_and_in_its_order(figures, answer):
    assert rule(STANDARD, **{**CALM, **figures}) == answer


def figures(*cells, config=STANDARD, memory=None, **more):
    return judge(config, tally(*cells, **more), memory).evidence.figures


def test_the_calls_of_a_step_are_those_with_a_result_in_every_critical_metric():
    found = replace(GOOD, counts={**GOOD.counts, "hard_error": (1, 40, 3, 447), "negative": (0, 0, 0, 0)})
    assert figures(found).canary_calls == 41
    assert figures(found, replace(GOOD, position=2)).canary_calls == 41, "of this position"
    assert figures(found, replace(GOOD, day="2026-03-03")).canary_calls == 41 + 50
    none = from_plan({"profile": "none", "metrics": [{"name": "x", "http": {"url": "u", "max": 3}}]})
    assert figures(replace(GOOD, started=(17, 99)), config=none).canary_calls == 17, "nothing is critical"


def test_the_bad_calls_without_which_nothing_fails_are_those_of_one_metric():
    two = cell(success=(2, 0, 0, 40), hard=(2, 0, 0, 40), slow=(2, 0, 0, 40), negative=(2, 0, 0, 40))
    assert judge(STANDARD, tally(two)).alarm == "amber"
    assert figures(two).e_gate > 10
    three = replace(two, counts={**two.counts, "negative": (3, 0, 0, 40)})
    assert judge(STANDARD, tally(three)).outcome == "fail"


# ------------------------------------------------------------------ waves


def test_a_wave_is_proven_by_its_own_calls_at_the_weights_they_came_at():
    first = [replace(GOOD, day="2026-03-01"), cell(0.5, 2, success=(35, 215, 35, 215))]
    own = [
        replace(cell(success=(2, 18, 20, 160)), wave=2, position=3, day="2026-03-09"),
        replace(cell(0.5, success=(9, 81, 10, 80)), wave=2, position=4, day="2026-03-10"),
    ]
    both = figures(*first, *own, wave=2, position=4)
    alone, pooled = figures(*own, position=4, wave=2), figures(*first, *own, position=4)
    for name in ("success", "hard_error"):
        assert both.safe[name] == pytest.approx(min(alone.safe[name], pooled.safe[name]))
        assert both.safe[name] < pooled.safe[name]
    assert (both.harm, both.counts) == (pooled.harm, pooled.counts), "harm is that of all waves"


def test_a_wave_without_calls_has_proven_nothing():
    for memory in (None, Memory(by_strata=True)):
        assert figures(GOOD, wave=2, memory=memory).safe == pytest.approx({"success": 1.0, "hard_error": 1.0})


def test_waiting_tells_the_rates_of_the_wave():
    own = replace(cell(success=(2, 8, 10, 80)), wave=2, position=3, day="2026-03-09")
    found = verdict(GOOD, own, wave=2, position=3)
    assert "of the canary's 10 calls" in found.reason and "of the baseline's 90" in found.reason
    first = verdict(GOOD, own, config=gate_config(edition=1), weight=0.5, wave=2, position=3)
    assert "of the canary's 60 calls" in first.reason, "edition 1 told those of all waves"


# ------------------------------------------------------------------ the split by stratum


def with_strata(made, *names):
    """The cell with its calls shared out evenly among these strata."""
    parts = {}
    for name in names:
        arms = {s: ((n[0] + n[1]) // len(names), (n[2] + n[3]) // len(names)) for s, n in made.counts.items()}
        parts[name] = {"": tuple(n // len(names) for n in made.started), **arms}
    return replace(made, strata=parts)


SEVERAL = [
    cell(success=(6, 44, 54, 346)),
    cell(day="2026-03-03", success=(4, 46, 60, 490)),
    cell(0.5, 2, day="2026-03-04", success=(10, 60, 10, 80)),
]


def test_one_stratum_with_every_call_is_paid_for_as_all_calls_together():
    whole = [with_strata(c, "+14155550100") for c in SEVERAL]
    plain, by_strata = figures(*SEVERAL), figures(*whole, memory=Memory(by_strata=True))
    assert by_strata.by_strata and not plain.by_strata
    for name in plain.harm:
        assert by_strata.harm[name] == pytest.approx(plain.harm[name], rel=1e-9)
    for name in plain.safe:
        assert by_strata.safe[name] == pytest.approx(plain.safe[name], rel=1e-9)


def test_strata_whose_calls_went_different_ways_pay_for_each_of_them_in_harm_and_safe():
    made = cell(success=(10, 90, 90, 810))
    skew = {"a": (60, 340), "b": (40, 560)}
    strata = {name: dict.fromkeys(("", *STANDARD.series), arms) for name, arms in skew.items()}
    other = with_strata(cell(day="2026-03-03", success=(5, 45, 40, 410)), "a", "b")
    cells = (replace(made, strata=strata), other)
    plain, paid = figures(*cells), figures(*cells, memory=Memory(by_strata=True))
    weights = (0.1,)
    arms = [[[60 + 25, 340 + 225]], [[40 + 25, 560 + 225]]]
    more = float(ev.strata_cost(np.array(arms, dtype=float), weights)) - float(
        ev.split_cost(np.array([[150, 0, 1350, 0]], dtype=float), weights)
    )
    assert more > 1
    for name in plain.safe:
        assert plain.safe[name] / paid.safe[name] == pytest.approx(np.exp(more))
    for name in plain.harm:
        assert paid.harm[name] < plain.harm[name]


def test_a_wave_pays_for_the_strata_of_its_own_calls():
    made = cell(success=(10, 90, 90, 810))
    skew = {"a": (60, 340), "b": (40, 560)}
    strata = {name: dict.fromkeys(("", *STANDARD.series), arms) for name, arms in skew.items()}
    own = replace(made, strata=strata, wave=2, position=3, day="2026-03-09")
    big = with_strata(cell(success=(50, 950, 450, 8550)), "a", "b")
    memory = Memory(by_strata=True)
    both, alone = figures(big, own, wave=2, position=3, memory=memory), figures(own, position=3, wave=2, memory=memory)
    assert both.safe["success"] == pytest.approx(alone.safe["success"])


def test_a_stratum_without_a_result_in_a_metric_pays_nothing_for_it():
    made = with_strata(SEVERAL[0], "a")
    silent = replace(made, strata={**made.strata, "b": {"": (30, 20)}})
    memory = Memory(by_strata=True)
    assert figures(silent, memory=memory).safe == figures(made, memory=memory).safe


def test_the_evidence_of_strata_is_the_mean_of_theirs_and_1_without_any():
    made = replace(cell(success=(6, 94, 90, 810)), strata={"a": {"": (100, 400)}, "b": {"": (0, 500)}})
    found = figures(made, strata=strata_of([made], ["a", "b", "c"])).e_split["strata"]
    alone = [float(ev.split_e([c], [b], (0.1,))) for c, b in ((100, 400), (0, 500), (0, 0))]
    assert alone[2] == 1.0
    assert found == pytest.approx(sum(alone) / 3)
    assert figures(made).e_split["strata"] == 1.0
    assert figures(strata=strata_of([], ["a"])).e_split["strata"] == 1.0


def test_missing_results_are_weighed_with_all_calls_also_of_cells_in_which_none_is_missing():
    lost = replace(cell(success=(3, 27, 40, 320)), lost={"success": (12, 30)})
    silent = replace(cell(day="2026-03-03", success=(2, 28, 30, 240)), lost={})
    counts = [(0.1, (12, 30, 30, 360)), (0.1, (0, 30, 0, 270))]
    weights, ledgers = ev.pool(counts)
    assert figures(lost, silent).e_labels == {"success": float(ev.labels_e(ledgers, weights)), "hard_error": 1.0}


# ------------------------------------------------------------------ the watch


def full(*, position=2, day="2026-03-05", bad=20, fine=20):
    n = bad + fine
    ok = dict.fromkeys(("hard_error", "slow:p50", "slow:p90", "negative"), (0, n, 0, 0))
    return Cell(1.0, position, day, (n, 0), (n, 0), {"success": (bad, fine, 0, 0), **ok})


def test_the_watch_weighs_each_day_at_weight_1_against_the_baselines_record():
    config = from_plan({"metrics": [{"name": "success", "share": 0.6}]})
    days = [
        full(bad=9, fine=8),
        full(day="2026-03-06", bad=12, fine=8),
        full(day="2026-03-06", bad=3, fine=2, position=3),
    ]
    found = figures(GOOD, *days, config=config, weight=1.0, position=3, step=3)
    limit = ev.watch_limit(60, 390)
    ledgers = ([9 + 12 + 3, 12 + 3], [8 + 8 + 2, 8 + 2])
    assert found.e_watch == pytest.approx(0.4 + 0.6 * float(ev.watch_e(*ledgers, limit)))
    assert found.e_watch > 1


def test_without_a_record_of_the_baseline_the_watch_says_nothing():
    assert figures(full(), weight=1.0, position=2).e_watch == pytest.approx(1.0)
    first = gate_config(edition=1)
    assert figures(full(), config=first, weight=1.0, position=2).e_watch == pytest.approx(1.0)


@pytest.mark.parametrize("edition", [1, 2])
def test_a_baseline_half_of_whose_calls_are_bad_is_a_record_too(edition):
    config = from_plan({"metrics": [{"name": "success", "share": 1}]}, edition)
    found = figures(cell(success=(25, 25, 225, 225)), full(bad=39, fine=1), config=config, weight=1.0, position=2)
    assert found.e_watch > 100


def test_the_watch_takes_the_mean_of_a_metrics_two_bets():
    config = from_plan({"metrics": [{"name": "slow", "margins": [0.2]}]})
    before = Cell(
        0.1, 1, "2026-03-02", (50, 450), (50, 450), {"slow:p50": (5, 45, 200, 250), "slow:p90": (5, 45, 45, 405)}
    )
    here = Cell(1.0, 2, "2026-03-05", (40, 0), (40, 0), {"slow:p50": (20, 20, 0, 0), "slow:p90": (20, 20, 0, 0)})
    e = [float(ev.watch_e([20], [20], ev.watch_limit(b, f))) for b, f in ((200, 250), (45, 405))]
    assert e[0] < 1 < e[1]
    found = figures(before, here, config=config, weight=1.0, position=2, step=2)
    assert found.e_watch == pytest.approx(sum(e) / 2)


def test_the_watch_of_edition_1_has_one_ledger_of_the_position_and_works_at_weight_1_alone():
    config = from_plan({"metrics": [{"name": "success", "share": 0.6}]}, 1)
    days = (full(position=2, bad=30), full(position=3, bad=9), full(position=3, day="2026-03-06", bad=12))
    found = figures(GOOD, *days, config=config, weight=1.0, position=3, step=3)
    alone = float(ev.one_sample_e(9 + 12, 20 + 20, ev.watch_limit(60, 390)))
    assert found.e_watch == pytest.approx(0.4 + 0.6 * alone)
    assert figures(GOOD, *days, config=config, weight=0.5, position=3, step=3).e_watch == 1.0


# ------------------------------------------------------------------ editions


def test_edition_1_knows_no_labels_no_strata_and_no_narrow_margin():
    lost = with_strata(replace(GOOD, lost={"success": (40, 0)}), "a")
    look = {"strata": strata_of([lost], ["a"]), "narrow": True, "wave": 2}
    found = figures(lost, config=gate_config(edition=1), memory=Memory(by_strata=True), **look)
    assert (found.e_labels, found.by_strata, found.margins["success"]) == ({}, False, 0.25)
    assert set(found.e_split) == {"calls", "success", "hard_error"}
    now = figures(lost, memory=Memory(by_strata=True), **look)
    assert (set(now.e_labels), now.by_strata, now.margins["success"]) == ({"success", "hard_error"}, True, 0.08)
    assert now.e_labels["hard_error"] == 1.0 < now.e_labels["success"]
    assert set(now.e_split) == {"calls", "strata"}


@pytest.mark.parametrize(("alarm", "by_strata"), [(0.99, True), (1.01, False)])
def test_the_split_is_paid_for_by_stratum_from_the_evidence_on_that_the_gate_names(alarm, by_strata):
    made = with_strata(GOOD, "a", "b")
    strata = strata_of([made], ["a", "b"])
    e = figures(made, strata=strata).e_split["strata"]
    config = replace(STANDARD, strata_from=e * alarm)
    assert figures(made, config=config, strata=strata).by_strata is by_strata
    assert figures(made, config=replace(config, strata_from=e), strata=strata).by_strata, "from this value on"
