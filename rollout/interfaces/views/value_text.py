"""Values in words, the same wherever people meet them. Times are in UTC, rates those of good calls."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from rollout.domain.gates.summary import ArmCalls, ExternalSummary
from rollout.domain.gates.verdict import GateOutcome

NONE = "\N{EN DASH}"
_SPACE = "\N{NO-BREAK SPACE}"
# Characters that a browser would obey instead of showing: controls, and those that turn the direction of text.
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def visible(text: str) -> str:
    """Text without control and direction characters: names come from plans and from Retell."""
    return _UNSEEN.sub("\ufffd", text)


def share(value: float | None) -> str:
    """`85.2 %` of 0.852, `10 %` of 0.1; an en dash of None."""
    return NONE if value is None else f"{round(value * 100, 1):g}{_SPACE}%"


def rate(value: float | None) -> str:
    """`85.0 %` of 0.85, always with its decimal, so that columns align."""
    return NONE if value is None else f"{value * 100:.1f}{_SPACE}%"


def span(interval: tuple[float, float] | None) -> str:
    """`81.0 to 88.4 %`, the interval of a rate."""
    return NONE if interval is None else f"{interval[0] * 100:.1f} to {interval[1] * 100:.1f}{_SPACE}%"


def points(difference: float | None) -> str:
    """`+1.7 points` of 0.017."""
    return NONE if difference is None else f"{_signed(difference)}{_SPACE}points"


def points_span(interval: tuple[float, float] | None) -> str:
    """`−2.0 to +5.1`, the interval of a difference in points."""
    return NONE if interval is None else f"{_signed(interval[0])} to {_signed(interval[1])}"


def _signed(value: float) -> str:
    return f"{value * 100 + 0.0:+.1f}".replace("-", "\N{MINUS SIGN}")


def counted(calls: ArmCalls) -> str:
    """`85 of 100`: the good calls of those judged."""
    return "no calls judged" if not calls.calls else f"{calls.calls - calls.bad:,} of {calls.calls:,}"


def external(found: ExternalSummary) -> str:
    """`0.01 (at most 0.05)`: a value from elsewhere with its limits."""
    limits = [f"at most {found.maximum:g}"] if found.maximum is not None else []
    limits += [f"at least {found.minimum:g}"] if found.minimum is not None else []
    value = "not read" if found.value is None else f"{found.value:g}"
    return f"{value} ({', '.join(limits)})"


def result(outcome: GateOutcome | None, margin: float | None) -> str:
    """The gates' result for a version, `margin` being that of the metric it stands beside."""
    match outcome:
        case None:
            return NONE
        case GateOutcome.PASS if margin is not None:
            return f"proven: less than {margin * 100:g} points worse"
        case GateOutcome.PASS:
            return "passed"
        case GateOutcome.FAIL:
            return "proven to be worse"
        case GateOutcome.UNDECIDED:
            return "not decided"
    return "cannot be measured"


def metric(outcome: str) -> str:
    """`hard error` of hard_error, `slow p90` of slow:p90."""
    return outcome.replace("_", " ").replace(":", " ")


def moment(at: datetime | None) -> str:
    """`27 Nov 2026, 17:03 UTC`; an en dash of None."""
    if at is None:
        return NONE
    at = at.astimezone(UTC)
    return f"{at.day} {at:%b %Y, %H:%M} UTC"


def number_count(count: int) -> str:
    """`1 number`, `1,000 numbers`."""
    return "1 number" if count == 1 else f"{count:,} numbers"


def actor_name(text: str) -> str:
    """The actor's name, without the prefix and the id that only programs need: `token:ab12:Maria` is Maria."""
    if text.startswith("token:") and text.count(":") >= 2:
        return text.split(":", 2)[2]
    return text.removeprefix("cli:")
