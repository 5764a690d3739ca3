"""A verdict as a value and as JSON: the outcome, and everything that it rests on.

Stored with the rollout, with each gate check and in the journal. Free of numpy, so that a program that only shows a
verdict need not load what computes one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from rollout.domain.gates.profiles import GateConfig
from rollout.domain.gates.tally import Counts, Tally


class GateOutcome(StrEnum):
    """The four verdicts. Only `fail` rolls back by itself."""

    PASS = "pass"  # noqa: S105 - not a password
    FAIL = "fail"
    UNDECIDED = "undecided"
    UNMEASURABLE = "unmeasurable"


class Alarm(StrEnum):
    """The alarm beside an outcome."""

    SPLIT = "split"  # the calls do not follow the weights
    LABELS = "labels"  # results go missing on one side
    AMBER = "amber"  # probably worse
    WATCH = "watch"  # worse at weight 1 than the baseline's record allows


# How far two machines may be apart on the same counts: numpy and the C library use other instructions on other
# processors, which round the last digits otherwise.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of earlier verdicts that a verdict needs: why it failed (a fail stays a fail), on how many looks in a
    row each external value was beyond its limit, and whether the split has to be paid for by stratum."""

    failed: str | None = None
    beyond: Mapping[str, int] = field(default_factory=dict)
    by_strata: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one look: e-values (of harm by metric and together, of safety by critical metric, that the split is
    wrong, that results go missing, of the watch), margins by critical metric, counts by series, and the canary calls of
    the step with their floor. by_strata: the split was paid for by stratum."""

    e_gate: float
    harm: Mapping[str, float]
    safe: Mapping[str, float]
    margins: Mapping[str, float]
    e_split: Mapping[str, float]
    e_watch: float
    counts: Mapping[str, Counts]
    canary_calls: int
    floor: int
    e_labels: Mapping[str, float] = field(default_factory=dict)
    by_strata: bool = False

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "counts": {name: list(n) for name, n in self.counts.items()}}

    def agrees_with(self, other: Figures) -> bool:
        """True if both are the same, but for what two processors round otherwise."""
        return _agree(self.to_json(), other.to_json())

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Figures:
        counts = {name: (n[0], n[1], n[2], n[3]) for name, n in data["counts"].items()}
        return cls(**{**data, "counts": counts})


def _agree(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_agree(one[key], other[key]) for key in one)
    if isinstance(one, float):
        return math.isclose(one, other, rel_tol=_ROUNDING)
    return bool(one == other)


@dataclass(frozen=True)
class GateEvidence:
    """Everything a verdict rests on: the gate, the memory before and after this check, figures and counts.

    counted: the tally; it stays JSON until first used, because lists of rollouts show only the figures.
    """

    config: GateConfig
    before: Memory
    after: Memory
    figures: Figures
    counted: Tally | Mapping[str, Any]

    @cached_property
    def tally(self) -> Tally:
        return self.counted if isinstance(self.counted, Tally) else Tally.from_json(self.counted)

    def to_json(self) -> dict[str, Any]:
        return {
            "config": self.config.to_json(),
            "before": asdict(self.before),
            "after": asdict(self.after),
            "numbers": self.figures.to_json(),
            "tally": self.counted.to_json() if isinstance(self.counted, Tally) else dict(self.counted),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GateEvidence:
        return cls(
            GateConfig.from_json(data["config"]),
            Memory(**data["before"]),
            Memory(**data["after"]),
            Figures.from_json(data["numbers"]),
            data["tally"],
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on one canary or variant at one look; reason: a sentence for people. forecast: how many more calls it
    takes, as a phrase; empty where no calls are waited for."""

    outcome: GateOutcome
    alarm: Alarm | None
    reason: str
    evidence: GateEvidence
    forecast: str = ""

    @property
    def outlook(self) -> str:
        """The reason with the forecast: while the rollout continues."""
        return f"{self.reason.removesuffix('.')}: {self.forecast}." if self.forecast else self.reason

    @property
    def memory(self) -> Memory:
        """The state from which the next gate check continues."""
        return self.evidence.after

    def to_json(self) -> dict[str, Any]:
        forecast = {"forecast": self.forecast} if self.forecast else {}
        return {**_said(self), **forecast, "evidence": self.evidence.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        evidence = GateEvidence.from_json(data["evidence"])
        return cls(GateOutcome(data["outcome"]), _alarm(data), data["reason"], evidence, data.get("forecast", ""))


class _StoredArms(Mapping[str, Verdict]):
    """The verdicts of a stored check by arm, parsed on first use: most code that loads a rollout never uses them."""

    def __init__(self, stored: Mapping[str, Any]) -> None:
        self._stored = stored

    @cached_property
    def _read(self) -> dict[str, Verdict]:
        return {name: Verdict.from_json(data) for name, data in self._stored.items()}

    def __getitem__(self, name: str) -> Verdict:
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The variant with the best rate in the first metric so far, and by each other one the verdict that it is better."""

    leader: str
    over: Mapping[str, Verdict]

    def to_json(self) -> dict[str, Any]:
        return {"leader": self.leader, "over": {name: verdict.to_json() for name, verdict in self.over.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Comparison:
        return cls(data["leader"], _StoredArms(data["over"]))


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """The verdict on a rollout at one look: that on its one canary, or that on all variants together.

    at: when (None where version 0.x kept it); position: (wave, step). arms: the verdict on each, empty while the
    baseline's own calls are being read. comparison: of the variants with each other; None without variants, before
    they have calls, and once one is shipped.
    """

    outcome: GateOutcome
    alarm: Alarm | None
    reason: str
    at: datetime | None = None
    position: tuple[int, int] | None = None
    arms: Mapping[str, Verdict] = field(default_factory=dict)
    comparison: Comparison | None = None

    @property
    def outlook(self) -> str:
        """The reason with the forecasts: while the rollout continues."""
        if not any(arm.forecast for arm in self.arms.values()):
            return self.reason
        return joined(self.arms, self.outcome, {name: arm.outlook for name, arm in self.arms.items()})

    def to_json(self) -> dict[str, Any]:
        found = _said(self)
        if self.at is not None:
            found["at"] = self.at.isoformat()
        if self.position is not None:
            found["position"] = {"wave": self.position[0], "step": self.position[1]}
        if self.comparison is not None:
            found["comparison"] = self.comparison.to_json()
        return {**found, "arms": {name: arm.to_json() for name, arm in self.arms.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GateVerdict:
        """Also of what version 0.x kept: without `at`, and without arms or alarm where nothing was judged yet."""
        position = data.get("position")
        return cls(
            GateOutcome(data["outcome"]),
            _alarm(data),
            data.get("reason", ""),
            datetime.fromisoformat(data["at"]) if "at" in data else None,
            None if position is None else (position["wave"], position["step"]),
            _StoredArms(data.get("arms", {})),
            Comparison.from_json(data["comparison"]) if "comparison" in data else None,
        )


@dataclass(frozen=True, slots=True)
class StoredLook:
    """One look of those that are kept, by its number in the rollout."""

    seq: int
    at: datetime
    verdict: GateVerdict


def joined(arms: Mapping[str, Verdict], outcome: GateOutcome, sentences: Mapping[str, str]) -> str:
    """The sentences of the arms that have this outcome, one after the other; what several of them say stands once."""
    return " ".join(dict.fromkeys(sentences[name] for name, arm in arms.items() if arm.outcome is outcome))


def _said(verdict: Verdict | GateVerdict) -> dict[str, Any]:
    alarm = None if verdict.alarm is None else str(verdict.alarm)
    return {"outcome": str(verdict.outcome), "alarm": alarm, "reason": verdict.reason}


def _alarm(data: Mapping[str, Any]) -> Alarm | None:
    alarm = data.get("alarm")
    return None if alarm is None else Alarm(alarm)
