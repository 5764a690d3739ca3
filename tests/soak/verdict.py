"""What a soak says: whether memory, processor time and lateness level off, and whether anything failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import mean, median

# How much more the last third of what counts may have than its first third: by share, and in any case this much.
MORE = {"memory": (0.10, 15.0), "processor": (0.25, 5.0), "lateness": (0.25, 250.0)}
LEAST_TAKEN = 0.95  # of the starts; the others find a number that an earlier rollout still drives
UNITS = {"memory": "MB", "processor": "ms a rollout", "lateness": "ms"}


@dataclass(frozen=True, slots=True)
class Sample:
    """The service at one moment: `at` in seconds since the beginning, all counts since then."""

    at: float
    memory: float  # MB resident
    processor: float  # seconds of processor time
    begun: int  # rollouts


@dataclass
class Findings:
    """What was seen over the whole run. Lateness: (when, seconds) of each step that became due."""

    samples: list[Sample] = field(default_factory=list)
    lateness: list[tuple[float, float]] = field(default_factory=list)
    answers: dict[tuple[str, int], int] = field(default_factory=dict)  # (kind of request, status): how many
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Line:
    """One judgement, with what it rests on."""

    name: str
    good: bool
    words: str


def judge(found: Findings, warm: float) -> list[Line]:
    """One line for each thing that must hold; what was before `warm` seconds counts for nothing."""
    lines = [_level(name, *_thirds(name, found, warm)) for name in MORE]
    server_errors = sum(n for (_, status), n in found.answers.items() if status >= 500)
    all_answers = sum(found.answers.values())
    lines.append(Line("no 5xx", server_errors == 0, f"{server_errors} of {all_answers} answers"))
    starts = sum(n for (kind, _), n in found.answers.items() if kind == "start")
    taken = found.answers.get(("start", 201), 0)
    lines.append(Line("starts are taken", taken > 0 and taken >= LEAST_TAKEN * starts, f"{taken} of {starts}"))
    pages = Counter[int]()
    for (kind, status), n in found.answers.items():
        pages[status] += n if kind.endswith("page") else 0
    pages = +pages
    told = ", ".join(f"{n} x {status}" for status, n in sorted(pages.items()))
    lines.append(Line("pages open", bool(pages) and set(pages) == {200}, told or "none was asked for"))
    lines.append(Line("nothing else failed", not found.failed, "; ".join(found.failed[:5]) or "nothing"))
    return lines


def _thirds(name: str, found: Findings, warm: float) -> tuple[list[float], list[float]]:
    """The values of the first and of the last third of what counts."""
    if name == "memory":
        values = [(s.at, s.memory) for s in found.samples]
    elif name == "processor":
        values = [
            (b.at, (b.processor - a.processor) / (b.begun - a.begun) * 1000)
            for a, b in pairwise(found.samples)
            if b.begun > a.begun
        ]
    else:
        values = [(at, seconds * 1000) for at, seconds in found.lateness]
    counted = [(at, value) for at, value in values if at >= warm]
    if not counted:
        return [], []
    third = (max(at for at, _ in counted) - warm) / 3
    return (
        [value for at, value in counted if at < warm + third],
        [value for at, value in counted if at >= warm + 2 * third],
    )


def _level(name: str, first: Sequence[float], last: Sequence[float]) -> Line:
    if not first or not last:
        return Line(f"{name} levels off", False, "too short to say")
    of = _high if name == "lateness" else mean
    a, b = of(first), of(last)
    share, least = MORE[name]
    return Line(
        f"{name} levels off",
        b <= a + max(a * share, least),
        f"{a:.1f} {UNITS[name]} in the first third, {b:.1f} in the last"
        + (f"; in the middle {median(first):.0f} and {median(last):.0f}" if name == "lateness" else ""),
    )


def _high(values: Sequence[float]) -> float:
    """What 95 of 100 stay below."""
    return sorted(values)[max(0, round(len(values) * 0.95) - 1)]
