"""How many more calls, and how many days, until a verdict; and how to say so to people.

The formula is a random walk's: evidence grows by r nats a call in the mean, so half of all rollouts cross the
line after (ln(1/level) + a - ln E) / r calls. How far above the line, a, was fitted to simulated rollouts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollout.domain.gates import evidence as ev

_HARM = (1.5, 4.5)  # nats above the line for half and for four fifths of all rollouts, harm
_SAFE = 3.2  # the same for four fifths, proofs of "not worse"; for half see to_prove
# What `words` says at the beginning of a sentence (of stored ones also at the end); see `without`.
_FIRST = re.compile(r"^(?:About [0-9,]+ more calls?\b|No forecast yet)[^:]*: ")
_LAST = re.compile(r"; (?:about [0-9,]+ more calls?\b|no forecast yet)[^;]*\.$")
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
    weight: float,
    margin: float,
    b: float,
    c: float,
    level: float,
    ln_e: float = 0.0,
    what: str = "",
    above: tuple[float, float] = _HARM,
) -> Forecast | None:
    """Calls until E reaches 1/level when the bad rates are b (baseline) and c (canary).

    None when it will never happen at these rates (no difference to find). `above` as in the module's text.
    """
    rate = ev.information(weight, margin, b, c)
    if rate <= 1e-12:
        return None
    line = math.log(1 / level) - ln_e
    return Forecast(max(0.0, (line + above[0]) / rate), max(0.0, (line + above[1]) / rate), what)


def to_prove(
    weight: float, margin: float, rate: float, level: float, ln_e: float = 0.0, what: str = ""
) -> Forecast | None:
    """Calls until an equal canary with this bad rate is proven not to be worse by the margin.

    A proof of "not worse" lives on few canary calls at a small weight, so its first lucky crossing comes the
    sooner the smaller the weight: 1.5 nats would be 35 to 50 % too late at weight 0.1.
    """
    return calls_needed(weight, margin, rate, rate, level, ln_e, what, (0.3 + 1.2 * weight, _SAFE))


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
    return to_prove(weight, margin, smoothed(fc + fb, sc + sb), level, ln_e, what)


def to_roll_back(weight: float, counts: Sequence[float], level: float, ln_e: float, what: str) -> Forecast | None:
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
    if calls_per_day is None:  # too early to say how many come
        return text
    if not calls_per_day:
        return text + ", and none came in seven days"
    days = forecast.half / calls_per_day
    if days > 365:
        return text + ", more than a year at this week's traffic"
    if now is None:
        return text + f", {days:.1f} days at this week's traffic"
    return text + f", {day_words(now + timedelta(days=days), now)} at this week's traffic"


def without(sentence: str) -> str:
    """A verdict's sentence without its forecast, for a rollout whose calls decide nothing any more."""
    rest = _LAST.sub(".", _FIRST.sub("", sentence))
    return rest[:1].upper() + rest[1:]
