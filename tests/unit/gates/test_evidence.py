"""The e-values against independent values, against 40-digit arithmetic, and against the proof's own inequality."""

import json
import math
from decimal import Decimal, getcontext
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.domain.gates import evidence as ev
from tests.unit.gates.definition import ratios, split_cost, won

VECTORS = json.loads((Path(__file__).parent / "data" / "gate-vectors.json").read_text())
steady = settings(deadline=None, derandomize=True, max_examples=60)
WEIGHTS = st.sampled_from([0.01, 0.05, 0.1, 0.3, 0.5, 0.77, 0.99])
COUNTS = st.tuples(*[st.integers(0, 400)] * 4)


def cells_of(vector):
    return [(float(w), counts) for w, counts in vector["cells"]]


def whole(vector):
    weights, ledgers = ev.pool(cells_of(vector))
    return ledgers[0], weights


def near(value, rel=1e-6):
    return pytest.approx(value, rel=rel, abs=0)


def named(group):
    return [pytest.param(v, id=f"{v['name']} {v.get('margin', '')}".strip()) for v in VECTORS[group]]


@pytest.mark.parametrize("vector", named("harm"))
def test_harm(vector):
    ln = float(ev.log_e(*whole(vector)))
    assert (math.exp(ln), ln) == (near(vector["E"]), pytest.approx(vector["lnE"], abs=1e-6))


@pytest.mark.parametrize("vector", named("safe"))
def test_safe(vector):
    ln = float(ev.log_e(*whole(vector), float(vector["margin"]), "safe"))
    assert math.exp(ln) == near(vector["E"])


@pytest.mark.parametrize("vector", named("ledgers"))
def test_ledgers(vector):
    weights, ledgers = ev.pool(cells_of(vector))
    assert float(ev.ledger_e(ledgers, weights)) == near(vector["E"])


@pytest.mark.parametrize("vector", named("split"))
def test_split(vector):
    counts, weights = whole(vector)
    e = ev.split_e(counts[:, 0] + counts[:, 1], counts[:, 2] + counts[:, 3], weights)
    assert float(e) == near(vector["E_split"])


@pytest.mark.parametrize("vector", named("interval"))
def test_interval(vector):
    low, high = ev.interval(*whole(vector), vector["alpha_each_side"])
    assert (low, high) == (pytest.approx(vector["lower"], abs=0.0051), pytest.approx(vector["upper"], abs=0.0051))


@pytest.mark.parametrize("vector", VECTORS["prob_worse"], ids=str)
def test_prob_worse(vector):
    assert ev.prob_worse(vector["counts"]) == near(vector["P"])


@pytest.mark.parametrize("vector", VECTORS["one_sample"], ids=str)
def test_one_sample(vector):
    assert float(ev.one_sample_e(vector["bad"], vector["fine"], float(vector["limit"]))) == near(vector["E"])


@pytest.mark.parametrize("vector", named("sequences"))
def test_first_crossing_of_a_sequence(vector):
    text = vector["pattern"] * vector["repeats"]
    counts = np.array([[text[: i + 1].count(k) for k in "FSfs"] for i in range(len(text))])
    e = np.exp(ev.log_e(counts[:, None, :], (float(vector["weight"]),)))
    for level, call in vector["first_call_with_E_at_least"].items():
        reached = np.flatnonzero(e >= float(level))
        assert (int(reached[0]) + 1 if len(reached) else None) == call


# ------------------------------------------------------------------ 40 digits


def exact_log_e(counts, weight, margin, side):
    """The definition in decimal arithmetic, with nothing shared but the table of bets."""
    getcontext().prec = 40
    w, d = Decimal(repr(weight)), Decimal(repr(margin))
    money = total = Decimal(0)
    for rate in ev.RATES:
        for odds, prior in ev.ODDS:
            b, o = Decimal(repr(rate)), Decimal(repr(odds))
            c = o * b / (1 - b + o * b)
            if (factors := ratios(w, d, b, c, side)) is None:
                continue
            money += Decimal(repr(prior)) * won(counts, factors)
            total += Decimal(repr(prior))
    return float((money / total).ln() - split_cost(counts, w))


@pytest.mark.parametrize(
    ("counts", "weight", "margin", "side"),
    [
        ((40, 60, 900, 8100), 0.01, 0.0, "harm"),
        ((9000, 51000, 60, 340), 0.99, 0.1, "safe"),
        ((1500, 8500, 13500, 76500), 0.1, 0.05, "safe"),
        ((0, 0, 50000, 950000), 0.1, 0.25, "safe"),
        ((300, 0, 0, 0), 0.5, 0.6, "harm"),
        ((7, 1, 2, 90), 0.05, -0.2, "harm"),
    ],
)
def test_forty_digits(counts, weight, margin, side):
    ours = float(ev.log_e([counts], (weight,), margin, side))
    assert ours == pytest.approx(exact_log_e(counts, weight, margin, side), rel=1e-9, abs=1e-7)


# ------------------------------------------------------------------ properties


@steady
@given(st.lists(WEIGHTS, min_size=1, max_size=3, unique=True), st.floats(-0.5, 0.5), st.sampled_from(["harm", "safe"]))
def test_nothing_is_no_evidence(weights, margin, side):
    assert float(ev.log_e(np.zeros((len(weights), 4)), weights, round(margin, 3), side)) == pytest.approx(0, abs=1e-12)
    assert float(ev.ledger_e(np.zeros((5, len(weights), 4)), weights)) == pytest.approx(1)
    assert ev.interval(np.zeros((len(weights), 4)), weights) == (-1.0, 1.0)


@steady
@given(
    weight=WEIGHTS,
    margin=st.sampled_from([0.0, 0.05, 0.1, 0.25, 0.6, -0.1]),
    side=st.sampled_from(["harm", "safe"]),
    b=st.floats(0, 1),
    c=st.floats(0, 1),
    history=st.none() | st.floats(0, 1),
)
def test_one_call_of_a_harmless_canary_wins_nothing_on_average(weight, margin, side, b, c, history):
    """The inequality of the proof, for one call, by brute force over its four possible results."""
    inside = c - b <= margin if side == "harm" else c - b >= margin
    if not inside:
        b, c = (c, b) if (b - c <= margin if side == "harm" else b - c >= margin) else (0.5, 0.5 + margin)
    chance = (weight * c, weight * (1 - c), (1 - weight) * b, (1 - weight) * (1 - b))
    ones = np.eye(4)[:, None, :]
    trusted = ev.log_e(ones, (weight,), margin, side, history, cost=0.0)
    assert float(np.dot(chance, np.exp(trusted))) <= 1 + 1e-9


@steady
@given(COUNTS, WEIGHTS)
def test_not_trusting_the_weight_only_lowers_evidence(counts, weight):
    assert float(ev.split_cost(np.array([counts], dtype=float), (weight,))) >= -1e-9


@steady
@given(st.lists(COUNTS, min_size=1, max_size=5), WEIGHTS)
def test_paying_for_the_split_of_each_stratum_never_costs_less_than_for_all(parts, weight):
    arms = np.array([[[n[0] + n[1], n[2] + n[3]]] for n in parts], dtype=float)
    whole = np.array([np.sum(parts, axis=0)], dtype=float)
    assert float(ev.strata_cost(arms, (weight,))) >= float(ev.split_cost(whole, (weight,))) - 1e-9
    assert float(ev.strata_cost(arms[:1], (weight,))) == pytest.approx(
        float(ev.split_cost(np.array([parts[0]], dtype=float), (weight,))), abs=1e-9
    )


@steady
@given(COUNTS, WEIGHTS)
def test_labels_bet_on_both_sides_alike(counts, weight):
    lost_c, judged_c, lost_b, judged_b = counts
    weights, ledgers = ev.pool([(weight, counts)])
    swapped = ev.pool([(1 - weight, (lost_b, judged_b, lost_c, judged_c))])
    assert float(ev.labels_e(ledgers, weights)) == pytest.approx(float(ev.labels_e(swapped[1], swapped[0])), rel=1e-6)


@pytest.mark.parametrize("limit", [0.02, 0.3])
def test_the_watch_without_a_second_day_is_the_one_sample_e_value(limit):
    alone = float(ev.watch_e([7], [20], limit))
    assert alone == pytest.approx(0.5 * float(ev.one_sample_e(7, 20, limit)) + 0.5)
    assert float(ev.watch_e([], [], limit)) == 1.0


@steady
@given(st.lists(st.tuples(WEIGHTS, COUNTS), min_size=1, max_size=4), st.integers(1, 5))
def test_a_ledger_never_opened_is_worth_an_empty_one(cells, more):
    weights, ledgers = ev.pool(cells)
    padded = np.concatenate([ledgers, np.zeros((more, *ledgers.shape[1:]))])
    assert float(ev.ledger_e(padded, weights)) == pytest.approx(float(ev.ledger_e(ledgers, weights)), rel=1e-12)


@steady
@given(st.lists(st.tuples(WEIGHTS, COUNTS), min_size=1, max_size=3))
def test_leading_axes_change_nothing(cells):
    weights, ledgers = ev.pool(cells)
    many = np.stack([ledgers, 2 * ledgers])
    assert ev.ledger_e(many, weights)[0] == pytest.approx(float(ev.ledger_e(ledgers, weights)), rel=1e-12)
    assert ev.log_e(many, weights, 0.1, "safe")[0, 0] == pytest.approx(
        float(ev.log_e(ledgers[0], weights, 0.1, "safe")), rel=1e-12
    )


def test_without_a_ledger_every_run_is_worth_1():
    assert ev.ledger_e(np.zeros((3, 2, 0, 1, 4)), (0.1,)).tolist() == [[1.0, 1.0]] * 3
    assert ev.watch_e(np.zeros((3, 2, 0)), np.zeros((3, 2, 0)), 0.1).tolist() == [[1.0, 1.0]] * 3


@steady
@given(st.tuples(*[st.integers(0, 30)] * 4))
def test_prob_worse_is_the_exact_sum(counts):
    fc, sc, fb, sb = counts

    def beta(a, b):
        return Fraction(math.factorial(a - 1) * math.factorial(b - 1), math.factorial(a + b - 1))

    exact = sum(
        beta(fb + 1 + i, sb + sc + 2) / ((sc + 1 + i) * beta(1 + i, sc + 1) * beta(fb + 1, sb + 1))
        for i in range(fc + 1)
    )
    assert ev.prob_worse(counts) == pytest.approx(float(exact), rel=1e-9)


@pytest.mark.parametrize("n", [10, 10**4, 10**6, 10**7])
def test_prob_worse_of_equal_arms_is_a_half(n):
    assert ev.prob_worse((n, 3 * n, n, 3 * n)) == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize(("fewer", "p"), [(-1_000, 0.730120), (-3_000, 0.9670758), (10_000, 5.1704e-10)])
def test_prob_worse_of_millions_of_calls(fewer, p):
    """Against a quadrature over the canary's rate."""
    assert ev.prob_worse((2 * 10**6, 0, 0, 2 * 10**6)) == 1.0
    assert ev.prob_worse((1_000_001, 3_000_000, 1_000_000 + fewer, 3_000_000)) == pytest.approx(p, rel=1e-3)


def test_prob_worse_of_millions_and_of_fewer_agree_where_they_meet():
    below, above = (10**6, 3 * 10**6, 999_000, 3 * 10**6), (10**6 + 1, 3 * 10**6, 999_000, 3 * 10**6)
    assert ev.prob_worse(below) == pytest.approx(ev.prob_worse(above), rel=1e-3)
    assert ev.prob_worse(below) < ev.prob_worse(above)


def test_weights_zero_and_one_compare_nothing():
    weights, ledgers = ev.pool([(0.0, (1, 2, 3, 4)), (1.0, (9, 9, 0, 0))])
    assert (weights, float(ev.ledger_e(ledgers, weights))) == ((), 1.0)


def test_shown_interval_says_worse_when_the_forty_bets_do():
    counts = np.array([[3, 0, 4, 23]])
    assert ev.interval(counts, (0.1,))[0] < 0 <= ev.shown_interval(counts, (0.1,))[0]


def test_huge_evidence_stays_a_number():
    assert float(ev.ledger_e([[[10**6, 0, 0, 10**6]]], (0.5,))) == ev.LARGEST
    assert float(ev.split_e([0], [10**7], (0.5,))) == ev.LARGEST
    assert float(ev.one_sample_e(10**6, 0, 0.1)) == ev.LARGEST


def test_watch_limit_is_ten_points_above_the_bound():
    assert float(ev.watch_limit(15, 85)) == pytest.approx(0.22 + 0.10, abs=0.01)
    assert float(ev.watch_limit(100, 0)) == 0.99


def test_a_rollouts_own_history_makes_no_table_of_its_own():
    ev._factors.cache_clear()
    for rate in np.linspace(0.01, 0.5, 50):
        ev.log_e([[3, 40, 12, 300]], (0.1,), history=float(rate))
    assert ev._factors.cache_info().currsize == 1


@pytest.mark.parametrize("side", ["harm", "safe"])
@pytest.mark.parametrize("history", [None, 0.07, 0.3])
def test_the_weights_of_a_sides_bets_are_all_of_its_money(side, history):
    weights = np.exp(ev._ln_weights(0.05, side, history))
    assert weights.sum() == pytest.approx(1.0)
    assert len(weights) == ev._factors((0.1,), 0.05, side, history is not None).shape[1]
