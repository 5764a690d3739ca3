"""The strength of evidence for or against a canary: e-values, intervals and alarms from plain counts.

Counts are always (canary bad, canary fine, baseline bad, baseline fine) at one canary weight; "bad" is the
undesired value of a yes-or-no metric. Every function is exact arithmetic on counts, so neither the order of
the calls nor the number of looks matters; arrays may carry leading axes (metrics, ledgers, modelled runs).
The method, and why an e-value that ever reaches 1/a is wrong with probability at most a, is in docs/gates.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Side = Literal["harm", "safe"]

LEVEL = 0.05  # the error of an interval on each side
# The table of bets: each believes that the baseline is bad with rate b and the canary with odds o times those
# of b. The second number is the prior weight of o; bets on "worse" (o > 1) are the forty equal ones.
RATES = (0.01, 0.03, 0.07, 0.15, 0.25, 0.40, 0.60, 0.85)
ODDS = (
    (0.05, 0.25),
    (0.25, 0.25),
    (0.7, 1.5),
    (1.0, 3.0),
    (1.4, 1.0),
    (2.0, 1.0),
    (4.0, 1.0),
    (12.0, 1.0),
    (100.0, 1.0),
)
WORSE = (1.4, 2.0, 4.0, 12.0, 100.0)

# If the baseline's own rate is known from before the rollout, most bets are placed around it; a fifth of the money stays
# spread evenly, in case the history is wrong.
HISTORY_RATES = (
    0.01,
    0.02,
    0.03,
    0.04,
    0.055,
    0.07,
    0.085,
    0.10,
    0.125,
    0.15,
    0.175,
    0.20,
    0.22,
    0.25,
    0.30,
    0.35,
    0.40,
    0.50,
    0.60,
    0.85,
)
HISTORY_WORSE = {1.4: 0.45, 2.0: 0.25, 4.0: 0.15, 12.0: 0.08, 100.0: 0.07}
HISTORY_CALLS = 100.0  # calls' worth of belief in the history
HISTORY_SHARE = 0.8  # of the money

GRID = np.arange(-199, 200) / 200.0  # the margins an interval is searched on: -.995 ... .995 by .005
SPLIT_PRIOR = 20.0  # calls' worth of prior belief in the ordered weight, for the split alarm
_READ_SIZE = 512  # rows at a time, so that a rehearsal's arrays stay in the processor's cache
LARGEST = 1.7976931348623157e308  # JSON has no infinity: e-values beyond are shown as this


def _pairs(rates: Sequence[float]) -> tuple[Array, Array]:
    """The baseline's and the canary's rate of each bet: every odds of the table for each of these rates."""
    b = np.repeat(np.array(rates), len(ODDS))
    o = np.tile(np.array([odds for odds, _ in ODDS]), len(rates))
    return b, o * b / (1 - b + o * b)


def _bets() -> tuple[Array, Array, Array]:
    return *_pairs(RATES), np.tile(np.array([prior for _, prior in ODDS]), len(RATES))


def _money_on(history: float, side: Side) -> Array:
    """The weights of the bets on HISTORY_RATES, around the rate that the baseline had before the rollout."""
    rates = np.array(HISTORY_RATES)
    ln = HISTORY_CALLS * (history * np.log(rates) + (1 - history) * np.log1p(-rates))
    believed = np.exp(ln - ln.max())
    spread = np.isin(rates, RATES) / len(RATES)
    on_rate = (1 - HISTORY_SHARE) * spread + HISTORY_SHARE * believed / believed.sum()
    prior = [HISTORY_WORSE.get(odds, x) if side == "harm" else x for odds, x in ODDS]
    weight: Array = np.repeat(on_rate, len(ODDS)) * np.tile(np.array(prior), len(rates))
    return weight


def _chosen(margin: float, side: Side, known: bool) -> tuple[Array, Array, NDArray[np.bool_]]:
    """The rates of one side's bets at a margin, and which of all bets they are; `known`: with a history."""
    b, c = _pairs(HISTORY_RATES if known else RATES)
    keep = c - b > margin + 1e-9 if side == "harm" else c - b < margin - 1e-9
    return b[keep], c[keep], keep


@lru_cache(maxsize=256)
def _ln_weights(margin: float, side: Side, history: float | None) -> Array:
    """The logarithms of the renormalised weights of one side's bets. Every rollout has its own history."""
    weight = (_bets()[2] if history is None else _money_on(history, side))[
        _chosen(margin, side, history is not None)[2]
    ]
    ln: Array = np.log(weight / weight.sum())
    return ln


def _boundary(weight: float, margin: ArrayLike, b: ArrayLike, c: ArrayLike) -> Array:
    """ln of (c/c0, (1-c)/(1-c0), b/b0, (1-b)/(1-b0)), stacked on the first axis.

    (b0, c0 = b0 + margin) is the point of the null's boundary nearest to (b, c) in Kullback-Leibler distance.
    It is the only sign change of the derivative, found by bisection in u, the smaller of b0 and c0, so that
    no digit is lost next to zero.
    """
    b, c, d = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (b, c, margin)))
    below, above = np.zeros(d.shape), 1.0 - np.abs(d)
    end = above.copy()
    up, down = np.maximum(d, 0.0), np.maximum(-d, 0.0)
    for _ in range(70):
        u = (below + above) / 2
        c0, b0 = u + up, u + down
        slope = weight * (c0 - c) * b0 * (1 - b0) + (1 - weight) * (b0 - b) * c0 * (1 - c0)
        below, above = np.where(slope < 0, u, below), np.where(slope < 0, above, u)
    u = (below + above) / 2
    left = end - u  # 1 - the larger of the two rates
    null = weight * c + (1 - weight) * b
    zero = d == 0
    c0, b0 = np.where(zero, null, u + up), np.where(zero, null, u + down)
    fine_c = np.where(zero, 1 - null, left + down)
    fine_b = np.where(zero, 1 - null, left + up)
    return np.stack([np.log(c / c0), np.log((1 - c) / fine_c), np.log(b / b0), np.log((1 - b) / fine_b)])


@lru_cache(maxsize=256)
def _factors(weights: tuple[float, ...], margin: float, side: Side, known: bool) -> Array:
    """The factors of one side's bets, shape (4 * len(weights), bets): the same whatever the history says."""
    b, c, _ = _chosen(margin, side, known)
    return np.concatenate([_boundary(w, margin, b, c) for w in weights])


@lru_cache(maxsize=16)
def _grid_factors(weight: float) -> Array:
    """Factors of all 72 bets for every margin of the grid, shape (4, margins, bets)."""
    b, c, _ = _bets()
    return _boundary(weight, GRID[:, None], b, c)


def _log_sum_exp(values: Array) -> Array:
    """Over the last axis; `values` is used up. A row without any money (all -inf) gives -inf."""
    top = values.max(axis=-1, keepdims=True)
    top[np.isneginf(top)] = 0.0
    values -= top
    np.exp(values, out=values)
    with np.errstate(divide="ignore"):
        total: Array = np.log(values.sum(axis=-1)) + top[..., 0]
    return total


def split_cost(counts: Array, weights: Sequence[float]) -> Array:
    """The cost of not trusting the weights: sum over weights of n KL(observed share || weight), in nats.

    `counts` has shape (..., weights, 4). Subtracted from ln E it keeps the proof whatever share of the calls
    really went to the canary, as long as that share stayed the same within a weight.
    """
    return _cost(counts[..., 0] + counts[..., 1], counts[..., 2] + counts[..., 3], weights)


def strata_cost(arms: Array, weights: Sequence[float]) -> Array:
    """The same paid for each stratum of the calls alone, and summed.

    `arms` has shape (strata, ..., weights, 2): calls of the canary and of the baseline. It is never less than the
    cost of all strata together, and keeps the proof where the share differs from one stratum to the next.
    """
    total: Array = _cost(arms[..., 0], arms[..., 1], weights).sum(axis=0)
    return total


def _cost(canary: Array, baseline: Array, weights: Sequence[float]) -> Array:
    from scipy.special import rel_entr  # only a process that judges loads scipy

    w = np.asarray(weights, dtype=np.float64)
    total = canary + baseline
    cost: Array = (rel_entr(canary, total * w) + rel_entr(total - canary, total * (1 - w))).sum(axis=-1)
    return cost


def log_e(
    counts: ArrayLike,
    weights: Sequence[float],
    margin: float = 0.0,
    side: Side = "harm",
    history: float | None = None,
    cost: ArrayLike | None = None,
) -> Array:
    """ln E against "the canary's bad rate is at most (harm), at least (safe) `margin` above the baseline's".

    `counts` has shape (..., len(weights), 4): counts pooled by weight. Every weight lies strictly between 0
    and 1 (at 0 or 1 nothing is compared; see `pool`). `history` is the baseline's bad rate before the rollout, if
    it was known when the rollout began; `cost` what is paid for not trusting the weights (None: `split_cost`).
    """
    array = np.asarray(counts, dtype=np.float64)
    shape = array.shape[:-2]
    if not len(weights):
        return np.zeros(shape)
    ln_weight = _ln_weights(float(margin), side, history)
    if not len(ln_weight):  # nobody bets on so extreme a difference: no money is won or lost
        return np.zeros(shape)
    factors = _factors(tuple(weights), float(margin), side, history is not None)
    flat = array.reshape(-1, 4 * len(weights))
    money = np.empty(len(flat))
    for start in range(0, len(flat), _READ_SIZE):
        money[start : start + _READ_SIZE] = _log_sum_exp(flat[start : start + _READ_SIZE] @ factors + ln_weight)
    return money.reshape(shape) - (split_cost(array, weights) if cost is None else np.asarray(cost))


def pool(cells: Sequence[tuple[float, Sequence[int]]]) -> tuple[tuple[float, ...], Array]:
    """Cells in order of opening -> (distinct weights, ledgers of shape (cells, weights, 4)).

    Row m holds the counts of cells m, m+1, ... pooled by weight, so row 0 is everything. Cells at weight 0 or
    1 compare nothing and are left out.
    """
    kept = [(w, counts) for w, counts in cells if 0.0 < w < 1.0]
    weights = tuple(dict.fromkeys(w for w, _ in kept))
    single = np.zeros((len(kept), len(weights), 4))
    for m, (w, counts) in enumerate(kept):
        single[m, weights.index(w)] = counts
    return weights, np.cumsum(single[::-1], axis=0)[::-1]


def ledger_e(
    ledgers: ArrayLike, weights: Sequence[float], history: float | None = None, cost: ArrayLike | None = None
) -> Array:
    """E of one metric with fresh ledgers: half on the ledger since the start, half on the later ones.

    `ledgers` has shape (..., M + 1, weights, 4) as `pool` makes it. A row of zeros is worth the same as a
    ledger that was never opened, so ragged runs may be padded at the end. `history` and `cost` as in `log_e`.
    """
    array = np.asarray(ledgers, dtype=np.float64)
    if not array.shape[-3]:
        return np.ones(array.shape[:-3])
    with np.errstate(over="ignore"):
        e = np.exp(log_e(array, weights, history=history, cost=cost))
    return _with_fresh(e)


def _with_fresh(e: Array) -> Array:
    """Half of the money on the first ledger (last axis), half on the later ones."""
    m = np.arange(1, e.shape[-1])
    late: Array = (e[..., 1:] / (m * (m + 1))).sum(axis=-1) + 1 / (len(m) + 1)
    return np.minimum(0.5 * e[..., 0] + 0.5 * late, LARGEST)


def labels_e(ledgers: ArrayLike, weights: Sequence[float]) -> Array:
    """E against "results go missing on both sides alike".

    `ledgers` as in `ledger_e`, of counts (canary without a result, canary with one, baseline without, baseline
    with). Half of the money is on the canary's going missing, half on the baseline's.
    """
    array = np.asarray(ledgers, dtype=np.float64)
    other = ledger_e(array[..., [2, 3, 0, 1]], tuple(1.0 - w for w in weights))
    return np.minimum(0.5 * ledger_e(array, weights) + 0.5 * other, LARGEST)


def split_e(canary: ArrayLike, baseline: ArrayLike, weights: Sequence[float]) -> Array:
    """E against "calls follow the weights"; last axis: calls per weight. Alarm at 100."""
    from scipy.special import betaln

    nc, nb = np.asarray(canary, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    w = np.asarray(weights, dtype=np.float64)
    a, b = SPLIT_PRIOR * w, SPLIT_PRIOR * (1 - w)
    ln = betaln(a + nc, b + nb) - betaln(a, b) - nc * np.log(w) - nb * np.log1p(-w)
    with np.errstate(over="ignore"):
        e: Array = np.minimum(np.exp(ln.sum(axis=-1)), LARGEST)
    return e


def interval(counts: ArrayLike, weights: Sequence[float], level: float = LEVEL) -> tuple[float, float]:
    """Canary minus baseline, bad rate: (low, high) that hold at any time with error `level` on each side.

    `counts` has shape (weights, 4). Without evidence the interval is (-1, 1). See `shown_interval`.
    """
    array = np.asarray(counts, dtype=np.float64)
    b, c, weight = _bets()
    money = sum(np.tensordot(array[i], _grid_factors(w), axes=1) for i, w in enumerate(weights))
    cost = float(split_cost(array, weights))
    limit = -math.log(level)

    def refuted(side: Side) -> NDArray[np.bool_]:
        gap = c - b - GRID[:, None]
        keep = gap > 1e-9 if side == "harm" else gap < -1e-9
        prior = np.where(keep, weight, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            ln = np.log(prior / prior.sum(axis=1, keepdims=True))
            e = _log_sum_exp(np.where(keep, ln + money, -np.inf)) - cost
        return np.asarray(e >= limit, dtype=bool) & keep.any(axis=1)

    def first_open(flags: NDArray[np.bool_]) -> int:
        return int(np.argmin(flags)) if not flags.all() else len(flags)

    up, down = first_open(refuted("harm")), first_open(refuted("safe")[::-1])
    return (float(GRID[up - 1]) if up else -1.0), (float(GRID[len(GRID) - down]) if down else 1.0)


def shown_interval(counts: ArrayLike, weights: Sequence[float]) -> tuple[float, float]:
    """The interval for people: its lower end is at least 0 once "not worse" itself is refuted.

    The forty bets on "worse" are quicker than the bets of the grid, and never wrong when the canary is worse.
    """
    low, high = interval(counts, weights)
    worse = bool(log_e(counts, weights) >= -math.log(LEVEL))
    return (max(low, 0.0), max(high, 0.0)) if worse else (low, high)


def information(weight: float, margin: float, b: float, c: float) -> float:
    """Nats a call adds in the mean against the null at `margin` when the bad rates are b and c."""
    ratio = _boundary(weight, margin, b, c)
    mix = (weight * c, weight * (1 - c), (1 - weight) * b, (1 - weight) * (1 - b))
    return float(sum(p * x for p, x in zip(mix, ratio, strict=True)))


def prob_worse(counts: Sequence[int]) -> float:
    """P(canary's bad rate > baseline's) with Beta(1, 1) priors. For people; as a rule it would misfire.

    A finite sum of positive terms, so small probabilities keep their digits; for counts in the millions,
    where the sum would be long, the posteriors are as good as normal.
    """
    from scipy.special import betaln, ndtr

    fc, sc, fb, sb = (float(x) for x in counts)
    if min(fc, sb) <= 1_000_000:
        # canary > baseline in "bad" is the same event as baseline > canary in "fine"
        own, other, x, y = (fc, sc, fb, sb) if fc <= sb else (sb, fb, sc, fc)
        i = np.arange(int(own) + 1)
        ln = betaln(x + 1 + i, other + y + 2) - np.log(other + 1 + i) - betaln(1 + i, other + 1) - betaln(x + 1, y + 1)
        return float(min(np.exp(ln).sum(), 1.0))
    nc, nb = fc + sc + 2, fb + sb + 2
    canary, baseline = (fc + 1) / nc, (fb + 1) / nb
    spread = math.sqrt(canary * (1 - canary) / nc + baseline * (1 - baseline) / nb)
    return float(ndtr((canary - baseline) / spread))


def one_sample_e(bad: ArrayLike, fine: ArrayLike, limit: ArrayLike) -> Array:
    """E against "the bad rate is at most `limit`", with no baseline beside it: the watch after weight 1."""
    c0 = np.asarray(limit, dtype=np.float64)[..., None]
    o = np.array(WORSE)
    c = o * c0 / (1 - c0 + o * c0)
    ln = np.asarray(bad)[..., None] * np.log(c / c0) + np.asarray(fine)[..., None] * np.log((1 - c) / (1 - c0))
    with np.errstate(over="ignore"):
        return np.minimum(np.exp(_log_sum_exp(ln - math.log(len(WORSE)))), LARGEST)


def watch_e(bad: ArrayLike, fine: ArrayLike, limit: ArrayLike) -> Array:
    """`one_sample_e` with fresh ledgers; the last axis of the counts are ledgers: days m, m + 1, ... together."""
    counts = np.asarray(bad, dtype=np.float64)
    if not counts.shape[-1]:
        return np.ones(counts.shape[:-1])
    return _with_fresh(one_sample_e(counts, fine, np.asarray(limit)[..., None]))


def watch_limit(bad: ArrayLike, fine: ArrayLike) -> Array:
    """The bad rate the watch tolerates: the baseline's upper 95 % posterior bound plus ten points."""
    from scipy.special import betaincinv

    bound: Array = betaincinv(np.asarray(bad) + 1.0, np.asarray(fine) + 1.0, 0.95)
    return np.minimum(bound + 0.10, 0.99)


def finite(value: Any) -> float:
    """A float that JSON can carry: infinity becomes the largest double."""
    return max(-LARGEST, min(float(value), LARGEST))
