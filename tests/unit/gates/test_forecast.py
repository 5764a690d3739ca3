"""Forecasts: the formula against reference values, and against what simulated calls need."""

import json
from pathlib import Path

import numpy as np
import pytest

from rollout.domain.gates import evidence as ev
from rollout.domain.gates.forecast import calls_needed, to_promote, to_prove

VECTORS = json.loads((Path(__file__).parent / "data" / "gate-vectors.json").read_text())


@pytest.mark.parametrize("v", VECTORS["forecast"], ids=lambda v: f"w={v['w']} d={v['d0']}")
def test_reference_values(v):
    w, d, b, c, level = (float(v[k]) for k in ("w", "d0", "b", "c", "level"))
    assert ev.information(w, d, b, c) == pytest.approx(v["rate"], rel=1e-6)
    assert calls_needed(w, d, b, c, level).half == pytest.approx(v["n_half"], rel=1e-6)


@pytest.mark.parametrize(
    ("w", "margin", "b", "c"),
    [(0.5, 0.10, 0.15, 0.15), (0.1, 0.25, 0.15, 0.15), (0.5, 0.0, 0.15, 0.35), (0.1, 0.0, 0.15, 0.35)],
)
def test_half_of_simulated_rollouts_need_about_what_is_forecast(w, margin, b, c):
    expected = to_prove(w, margin, b, 0.1) if margin else calls_needed(w, margin, b, c, 0.1)
    rng = np.random.default_rng(7)
    n = int(5 * expected.half)
    canary, u = rng.random((400, n)) < w, rng.random((400, n))
    bad = np.where(canary, u < c, u < b)
    marks = np.arange(9, n, 10)
    counts = np.stack([canary & bad, canary & ~bad, ~canary & bad, ~canary & ~bad], -1).cumsum(1)[:, marks]
    hit = ev.log_e(counts[:, :, None], (w,), margin, "safe" if margin else "harm") >= np.log(10)
    needed = np.median(np.where(hit.any(1), marks[hit.argmax(1)] + 1, 10 * n))
    assert expected.half == pytest.approx(needed, rel=0.3)


def test_no_difference_is_never_found():
    assert calls_needed(0.1, 0.0, 0.15, 0.15, 0.1) is None
    assert to_promote(0.1, 0.25, (0, 0, 0, 0), 0.1, 0.0, "success") is None


def test_evidence_already_there_shortens_the_wait():
    fresh, later = (
        to_promote(0.1, 0.25, (4, 26, 40, 230), 0.1, 0.0, "s"),
        to_promote(0.1, 0.25, (4, 26, 40, 230), 0.1, 2.0, "s"),
    )
    assert 0 < later.half < fresh.half
    assert to_promote(0.1, 0.25, (4, 26, 40, 230), 0.1, 99.0, "s").half == 0


def test_a_forecast_names_what_is_waited_for_and_counts_the_calls_of_both_versions_alike():
    found = to_promote(0.1, 0.25, (4, 26, 40, 230), 0.1, 0.0, "success")
    assert found == to_prove(0.1, 0.25, (44 + 0.5) / (300 + 1), 0.1, 0.0, "success")
    assert found.what == "success"
    assert to_promote(0.1, 0.25, (0, 0, 0, 1), 0.1, 0.0, "s") is not None, "one call tells a rate"
    sooner = to_promote(0.1, 0.25, (4, 26, 40, 230), 0.2, 0.0, "success")
    assert found.half - sooner.half == pytest.approx(np.log(2) / ev.information(0.1, 0.25, 44.5 / 301, 44.5 / 301))
