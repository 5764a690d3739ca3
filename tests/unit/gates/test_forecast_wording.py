"""A forecast in words: calls to two digits, and the day on which they will have come."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from rollout.domain.gates.forecast_wording import Forecast, day_words, round_calls, words

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=ZoneInfo("America/Los_Angeles"))  # a Monday


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
