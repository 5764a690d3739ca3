"""Forecasts: the formula against reference values, against what simulated calls need, and the words."""

import json
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from rollout.domain.gates import evidence as ev
from rollout.domain.gates.forecast import calls_needed, to_promote, to_prove
from rollout.domain.gates.forecast_wording import Forecast, day_words, round_calls, words

VECTORS = json.loads((Path(__file__).parent / "data" / "gate-vectors.json").read_text())
NOW = datetime(2026, 3, 2, 10, 0, tzinfo=ZoneInfo("America/Los_Angeles"))  # a Monday


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


@pytest.mark.parametrize(
    ("calls", "shown"),
    [
        *((0, 1), (0.2, 1), (7.1, 8), (20, 20), (20.5, 25), (42, 45), (95.5, 100), (100.5, 110), (118, 120)),
        *((999, 1000), (1000.5, 1100), (1234, 1300), (26_501, 27_000)),
    ],
)
def test_no_more_digits_than_a_forecast_knows(calls, shown):
    assert round_calls(calls) == shown


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        ((2026, 3, 2, 10), "this morning"),
        ((2026, 3, 2, 12), "this afternoon"),
        ((2026, 3, 2, 15), "this afternoon"),
        ((2026, 3, 2, 18), "this evening"),
        ((2026, 3, 3, 0), "tomorrow night"),
        ((2026, 3, 3, 5), "tomorrow night"),
        ((2026, 3, 3, 6), "tomorrow morning"),
        ((2026, 3, 4, 6), "Wednesday morning"),
        ((2026, 3, 3, 9), "tomorrow morning"),
        ((2026, 3, 5, 14), "Thursday afternoon"),
        ((2026, 3, 8, 20), "Sunday evening"),
        ((2026, 3, 9, 9), "on 9 March"),
        ((2026, 3, 12, 3), "on 12 March"),
        ((2027, 1, 4, 3), "on 4 January 2027"),
    ],
)
def test_day_words(at, shown):
    assert day_words(datetime(*at, tzinfo=NOW.tzinfo), NOW) == shown


def test_what_is_left_of_the_day_after_midnight_is_tonight():
    assert day_words(NOW.replace(hour=5), NOW.replace(hour=1)) == "tonight"


@pytest.mark.parametrize(
    ("forecast", "per_day", "now", "shown"),
    [
        (Forecast(118), 37, NOW, "about 120 more calls, Thursday afternoon at this week's traffic"),
        (Forecast(118), 37, None, "about 120 more calls, 3.2 days at this week's traffic"),
        (Forecast(2), 50, NOW, "about 2 more calls, this morning at this week's traffic"),
        (Forecast(12_340), 100, None, "about 13,000 more calls, 123.4 days at this week's traffic"),
        (Forecast(365), 1, None, "about 370 more calls, 365.0 days at this week's traffic"),
        (Forecast(366), 1, None, "about 370 more calls, more than a year at this week's traffic"),
        (Forecast(0), 50, NOW, "about 1 more call, this morning at this week's traffic"),
        (Forecast(500), 0, NOW, "about 500 more calls, but there were none in the last seven days"),
        (Forecast(500), None, NOW, "about 500 more calls"),
        (Forecast(500), 0.1, NOW, "about 500 more calls, more than a year at this week's traffic"),
        (None, 50, NOW, "no forecast yet"),
    ],
)
def test_words(forecast, per_day, now, shown):
    assert words(forecast, per_day, now) == shown


def test_a_forecast_names_what_is_waited_for_and_counts_the_calls_of_both_versions_alike():
    found = to_promote(0.1, 0.25, (4, 26, 40, 230), 0.1, 0.0, "success")
    assert found == to_prove(0.1, 0.25, (44 + 0.5) / (300 + 1), 0.1, 0.0, "success")
    assert found.what == "success"
    assert to_promote(0.1, 0.25, (0, 0, 0, 1), 0.1, 0.0, "s") is not None, "one call tells a rate"
    sooner = to_promote(0.1, 0.25, (4, 26, 40, 230), 0.2, 0.0, "success")
    assert found.half - sooner.half == pytest.approx(np.log(2) / ev.information(0.1, 0.25, 44.5 / 301, 44.5 / 301))
