"""A forecast of calls as people read it: rounded, with the day it will be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

_PARTS = ((6, "night"), (12, "morning"), (18, "afternoon"), (24, "evening"))


@dataclass(frozen=True, slots=True)
class Forecast:
    """Calls of both arms still needed: half of all rollouts need at most `half`. `what` names what is waited for."""

    half: float
    what: str = ""


def round_calls(calls: float) -> int:
    """Rounded up to two digits: a forecast is no more precise."""
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
        return text + ", but there were none in the last seven days"
    days = forecast.half / calls_per_day
    if days > 365:
        return text + ", more than a year at this week's traffic"
    if now is None:
        return text + f", {days:.1f} days at this week's traffic"
    return text + f", {day_words(now + timedelta(days=days), now)} at this week's traffic"
