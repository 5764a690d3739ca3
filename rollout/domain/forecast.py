"""How many more calls, and how many days, until a verdict; and how to say so to people.

The formula is a random walk's: evidence grows by r nats a call in the mean, so half of all rollouts cross the
line after (ln(1/level) + 1.5 - ln E) / r calls and four fifths after (ln(1/level) + 4.5 - ln E) / r.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollout.domain import evidence as ev

_HALF, _MOST = 1.5, 4.5  # nats above the line, fitted to simulated rollouts
_PARTS = ((6, "night"), (12, "morning"), (18, "afternoon"), (24, "evening"))


@dataclass(frozen=True, slots=True)
class Forecast:
    """Calls of both arms still needed: half of all rollouts need at most `half`, four fifths at most `most`.

    `what` names what is being waited for.
    """

    half: float
    most: float
    what: str = ""


def calls_needed(
    weight: float, margin: float, b: float, c: float, level: float, ln_e: float = 0.0, what: str = ""
) -> Forecast | None:
    """Calls until E reaches 1/level when the bad rates are b (baseline) and c (canary).

    To prove "not worse by `margin`" give the pooled rate for both; to prove harm, margin 0 and the two
    estimates. None when it will never happen at these rates (no difference to find).
    """
    rate = ev.information(weight, margin, b, c)
    if rate <= 1e-12:
        return None
    line = math.log(1 / level) - ln_e
    return Forecast(max(0.0, (line + _HALF) / rate), max(0.0, (line + _MOST) / rate), what)


def smoothed(bad: float, fine: float) -> float:
    """A rate that is never 0 or 1: half a bad and half a fine call more than were seen."""
    return (bad + 0.5) / (bad + fine + 1.0)


def to_promote(
    weight: float, margin: float, counts: Sequence[float], level: float, ln_e: float, what: str
) -> Forecast | None:
    """Forecast of the proof that the canary is not worse by the margin, at the pooled rate seen so far."""
    fc, sc, fb, sb = counts
    if fc + sc + fb + sb == 0:
        return None
    rate = smoothed(fc + fb, sc + sb)
    return calls_needed(weight, margin, rate, rate, level, ln_e, what)


def to_roll_back(
    weight: float, counts: Sequence[float], level: float, ln_e: float, what: str
) -> Forecast | None:
    """Forecast of the proof of harm at the rates seen so far; None unless the canary looks worse."""
    fc, sc, fb, sb = counts
    b, c = smoothed(fb, sb), smoothed(fc, sc)
    return calls_needed(weight, 0.0, b, c, level, ln_e, what) if fc + sc and c > b else None


def round_calls(calls: float) -> int:
    """Two digits are as much as a forecast knows; rounded up."""
    if calls <= 20:
        return max(1, math.ceil(calls))
    unit = 5 if calls <= 100 else 10 ** (int(math.log10(calls)) - 1)
    return math.ceil(calls / unit) * unit


def day_words(at: datetime, now: datetime) -> str:
    """Words such as "this afternoon", "Thursday morning", "on 12 March". Both times in the reader's zone."""
    part = next(name for hour, name in _PARTS if at.hour < hour)
    days = (at.date() - now.date()).days
    if days <= 0:
        return "tonight" if part == "night" else f"this {part}"
    if days == 1:
        return f"tomorrow {part}"
    if days < 7:
        return f"{at:%A} {part}"
    return f"on {at.day} {at:%B}" + (f" {at.year}" if at.year != now.year else "")


def words(forecast: Forecast | None, calls_per_day: float | None, now: datetime | None = None) -> str:
    """The forecast as a phrase, such as "about 120 more calls, Thursday afternoon at this week's traffic".

    `now` is the reader's local time; without it, days are counted instead of named.
    """
    if forecast is None:
        return "no forecast yet"
    calls = round_calls(forecast.half)
    text = f"about {calls:,} more call{'s' if calls != 1 else ''}"
    if not calls_per_day:
        return text + ", with no traffic to say when"
    days = forecast.half / calls_per_day
    if days > 365:
        return text + ", more than a year at this week's traffic"
    if now is None:
        return text + f", {days:.1f} days at this week's traffic"
    return text + f", {day_words(now + timedelta(days=days), now)} at this week's traffic"
