"""The rules that others use, as policies of the same engine, on the success metric of the same calls.

threshold: the last 20 canary calls have more than 25 % bad on five checks in a row, a check every 10 calls.
z-test: one-sided two-proportion test on pooled counts at 5 %, looked at every 5 calls.
interval: asymptotic confidence sequence of the difference (N* = 5000, 5 %), no result while an arm has no
variance; steps of 300 calls. The first two promote after 30 and 100 canary calls of a step.
minimum calls: rolls back by our own e-values, but promotes after those calls without any proof.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rollout.domain.gates.profiles import at_step
from rollout.domain.gates.weighing import AMBER, FAIL, PASS, SPLIT, WAIT
from rollout.domain.rehearsal.simulation import Policy, Runs, gate

Ints = NDArray[np.int64]
_Z = 1.6448536269514722
_RHO2 = (-2 * math.log(0.05) + math.log(-2 * math.log(0.05) + 1)) / 5000


def _enough(runs: Runs) -> NDArray[np.bool_]:
    floors = np.array([at_step((30, 100), float(w), i + 1) for i, w in enumerate(runs.shares)])
    return runs.scene.in_step >= floors[runs.scene.step]


def _pooled(runs: Runs) -> tuple[NDArray[np.float64], ...]:
    counts = runs.ledgers[0, :, 0].sum(axis=1)
    bad_c, n_c = counts[:, 0], counts[:, 0] + counts[:, 1]
    bad_b, n_b = counts[:, 2], counts[:, 2] + counts[:, 3]
    return bad_c, n_c, bad_b, n_b


def threshold() -> Policy:
    """A fresh instance: it remembers the last 20 canary outcomes of each run."""
    memory: dict[str, NDArray[np.float64]] = {}
    calls = 0

    def policy(runs: Runs) -> Ints:
        nonlocal calls
        ids = runs.scene.ids
        if not memory:
            memory["last"] = np.full((len(ids), 20), np.nan)
            memory["fails"] = np.zeros(len(ids))
        calls += 1
        bad, fine = runs.new[0, :, 0], runs.new[0, :, 1]
        got = ids[(bad + fine) > 0]
        memory["last"][got] = np.roll(memory["last"][got], 1, axis=1)
        memory["last"][got, 0] = bad[(bad + fine) > 0]
        if calls % 10 == 0:
            last = memory["last"][ids]
            over = (np.nan_to_num(last).sum(1) > 5) & ~np.isnan(last).any(1)
            memory["fails"][ids] = np.where(over, memory["fails"][ids] + 1, 0)
        fails = memory["fails"][ids]
        return np.where(fails >= 5, FAIL, np.where(_enough(runs) & (fails == 0), PASS, WAIT))

    return policy


def z_test() -> Policy:
    calls = 0

    def policy(runs: Runs) -> Ints:
        nonlocal calls
        calls += 1
        if calls % 5:
            return np.full(len(runs.scene.ids), WAIT)
        bad_c, n_c, bad_b, n_b = _pooled(runs)
        with np.errstate(divide="ignore", invalid="ignore"):
            p = (bad_c + bad_b) / (n_c + n_b)
            z = (bad_c / n_c - bad_b / n_b) / np.sqrt(p * (1 - p) * (1 / n_c + 1 / n_b))
        worse = (n_c >= 5) & (np.nan_to_num(z) > _Z)
        return np.where(worse, FAIL, np.where(_enough(runs), PASS, WAIT))

    return policy


def interval() -> Policy:
    def policy(runs: Runs) -> Ints:
        bad_c, n_c, bad_b, n_b = _pooled(runs)
        n = n_c + n_b
        with np.errstate(divide="ignore", invalid="ignore"):
            c, b = bad_c / n_c, bad_b / n_b
            variance = n * (c * (1 - c) / n_c + b * (1 - b) / n_b)
            growth = n * _RHO2 + 1
            width = np.sqrt(variance * 2 * growth / (n * n * _RHO2) * np.log1p(np.sqrt(growth) / 0.1))
            known = (c * (1 - c) > 0) & (b * (1 - b) > 0)
            worse = known & (c - b - width > 0)
        return np.where(worse, FAIL, np.where(runs.scene.since_call >= 300, PASS, WAIT))

    return policy


def minimum_calls() -> Policy:
    def policy(runs: Runs) -> Ints:
        code = gate(runs)
        held = (code == FAIL) | (code == AMBER) | (code == SPLIT)
        return np.where(held, code, np.where(_enough(runs), PASS, WAIT))

    return policy


RULES: dict[str, Callable[[], Policy]] = {
    "threshold": threshold,
    "peeked z-test": z_test,
    "minimum calls": minimum_calls,
    "interval": interval,
}
