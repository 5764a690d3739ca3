"""Durations as people write them in a plan: `90s`, `15m`, `1h30m`, `3d`, `0.5s`; exact, never guessed.

The colon form is refused: `10:30` is ten and a half hours to one library and 630 seconds to another.
"""

from __future__ import annotations

import re
from datetime import time, timedelta

from rollout.domain.errors import InputError

LONGEST = timedelta(days=3650)
PATTERN = r"^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+(\.[0-9]{1,6})?s)?$"

_FORM = re.compile(
    r"(?=.)(?:(?P<d>[0-9]{1,9})d)?(?:(?P<h>[0-9]{1,9})h)?(?:(?P<m>[0-9]{1,9})m)?"
    r"(?:(?P<s>[0-9]{1,9})(?:\.(?P<f>[0-9]{1,6}))?s)?",
    re.ASCII,
)
_COLON = re.compile(r"([0-9]{1,4}):([0-9]{1,2})(?::([0-9]{1,2})(?:\.[0-9]+)?)?", re.ASCII)
_WORDS = re.compile(
    r"\s*(?P<n>[0-9]{1,6})\s*(?P<unit>ms|s|secs?|seconds?|mins?|minutes?|m|hrs?|hours?|h|days?|d|weeks?|w)\s*",
    re.ASCII | re.IGNORECASE,
)
_FRACTION = re.compile(r"(?P<n>[0-9]{1,4}\.[0-9]{1,4})(?P<unit>[mhd])", re.ASCII)
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class DurationError(InputError, ValueError):
    """A text that is not a duration; write for example 90s, 15m, 1h30m or 3d."""

    def __init__(self, problem: str, write: str) -> None:
        super().__init__(f"{problem}; write {write}")
        self.problem = problem
        self.write = write


def parse(value: object) -> timedelta:
    """A duration from text, exactly (to the microsecond); DurationError says what to write instead."""
    if isinstance(value, timedelta):
        return _bounded(value, str(value))
    if isinstance(value, time):
        raise _colon(value.hour, value.minute, value.second, value.isoformat("minutes"))
    if isinstance(value, bool) or value is None:
        raise DurationError(f"{value!r} is not a duration", "for example 30s, 15m or 1h30m")
    if isinstance(value, int):
        number = str(value) if 0 <= value < 10**9 else "30"
        raise DurationError(f"{value} has no unit", f"{number}s for seconds or {number}m for minutes")
    if isinstance(value, float):
        raise DurationError(f"{value} has no unit", "for example 0.5s, 30s or 15m")
    if not isinstance(value, str):
        raise DurationError(f"a {type(value).__name__} is not a duration", "for example 30s, 15m or 1h30m")
    match = _FORM.fullmatch(value)
    if match is None:
        raise _explain(value)
    d, h, m, s = (int(match[unit] or 0) for unit in "dhms")
    micros = int((match["f"] or "0").ljust(6, "0"))
    if d > LONGEST.days:
        raise DurationError(f"{value} is longer than ten years", "at most 3650d")
    return _bounded(timedelta(days=d, hours=h, minutes=m, seconds=s, microseconds=micros), value)


def _bounded(value: timedelta, text: str) -> timedelta:
    if value < timedelta(0):
        raise DurationError(f"{text} is negative", "for example 30s")
    if value > LONGEST:
        raise DurationError(f"{text} is longer than ten years", "at most 3650d")
    return value


def _colon(hours: int, minutes: int, seconds: int | None, text: str) -> DurationError:
    if seconds:
        return DurationError(f"the colon form {text} is not a duration", f"{hours}h{minutes}m{seconds}s")
    return DurationError(
        f"the colon form {text} can mean hours or minutes", f"{hours}h{minutes}m or {hours}m{minutes}s"
    )


def _explain(value: str) -> DurationError:
    shown = value if 0 < len(value) <= 40 and value.isprintable() else repr(value[:40])
    if match := _COLON.fullmatch(value):
        return _colon(int(match[1]), int(match[2]), int(match[3]) if match[3] else None, shown)
    if re.fullmatch(r"[0-9]{1,9}", value, re.ASCII):
        return DurationError(f"{shown} has no unit", f"{value}s for seconds or {value}m for minutes")
    if match := _FRACTION.fullmatch(value):
        exact = timedelta(seconds=float(match["n"]) * _UNIT_SECONDS[match["unit"]])
        return DurationError(f"{shown}: only seconds may have decimals", render(exact))
    if match := _WORDS.fullmatch(value):
        unit = match["unit"].lower()
        count = int(match["n"])
        micros = count * 1000 if unit == "ms" else count * _UNIT_SECONDS[unit[0]] * 1_000_000
        return DurationError(f"{shown} is not in the form of a duration", render(timedelta(microseconds=micros)))
    squeezed = re.sub(r"\s+", "", value).lower()
    if len(squeezed) <= 40 and _FORM.fullmatch(squeezed):
        return DurationError(f"{shown} is not in the form of a duration", squeezed)
    return DurationError(f"{shown} is not a duration", "for example 90s, 15m, 1h30m or 3d")


def render(value: timedelta) -> str:
    """The shortest text that `parse` reads back as the same duration: 1h30m, 3d, 0.5s, 0s."""
    seconds, micros = value.days * 86_400 + value.seconds, value.microseconds
    parts = []
    for unit in "dhm":
        count, seconds = divmod(seconds, _UNIT_SECONDS[unit])
        if count:
            parts.append(f"{count}{unit}")
    if micros:
        parts.append(f"{seconds}.{micros:06d}".rstrip("0") + "s")
    elif seconds or not parts:
        parts.append(f"{seconds}s")
    return "".join(parts)
