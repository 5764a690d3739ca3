"""Stored looks judged again: by their own gate, which must say the same, and by another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rollout.domain.gates.judge import judge, rejudge
from rollout.domain.gates.profiles import GateConfig, from_plan
from rollout.domain.gates.verdict import GateOutcome, Memory, StoredLook

_DECIDED = (GateOutcome.PASS, GateOutcome.FAIL)


@dataclass(frozen=True, slots=True)
class DifferentLook:
    """A look that is judged differently now; `stored` and `now` are outcomes."""

    seq: int
    arm: str
    stored: str
    now: str


@dataclass(frozen=True, slots=True)
class FirstDecision:
    """The first decision of the gate on an arm, and how many calls it took."""

    calls: int
    outcome: str


@dataclass(frozen=True, slots=True)
class OtherDecision:
    """What another gate would have decided first; sooner_by: calls, less than 0 for later. None: one did not decide."""

    outcome: str
    calls: int | None
    sooner_by: int | None


@dataclass(frozen=True, slots=True)
class Replay:
    """Stored looks judged again. decided, other: by arm; other is None without another gate."""

    looks: int
    different: Sequence[DifferentLook]
    decided: Mapping[str, FirstDecision]
    other: Mapping[str, OtherDecision] | None = None

    @property
    def same(self) -> bool:
        """True if every look is judged as it was."""
        return not self.different

    def to_json(self) -> dict[str, Any]:
        different = [asdict(each) for each in self.different]
        decided = {arm: asdict(each) for arm, each in self.decided.items()}
        other = {} if self.other is None else {"other": {arm: asdict(each) for arm, each in self.other.items()}}
        return {"looks": self.looks, "same": self.same, "different": different, "decided": decided, **other}


def replay(looks: Sequence[StoredLook], other: Mapping[str, Any] | None = None) -> Replay:
    """Every stored look judged again.

    `other` is a `gates:` entry: what that gate would have said on the same calls, and how many calls sooner or
    later it would have reached its first decision.
    """
    different: list[DifferentLook] = []
    first: dict[str, FirstDecision] = {}
    first_other: dict[str, FirstDecision] = {}
    memories: dict[str, Memory] = {}
    config = None if other is None else from_plan(other)
    for look in looks:
        for arm, kept in look.verdict.arms.items():
            evidence, again = kept.evidence, rejudge(kept.evidence)
            if again.outcome != kept.outcome or not again.evidence.figures.agrees_with(evidence.figures):
                different.append(DifferentLook(look.seq, arm, str(kept.outcome), str(again.outcome)))
            calls = evidence.tally.calls
            if kept.outcome in _DECIDED:
                first.setdefault(arm, FirstDecision(calls, str(kept.outcome)))
            if config is not None:
                verdict = judge(_measured_by(config, evidence.config), evidence.tally, memories.get(arm))
                memories[arm] = verdict.memory
                if verdict.outcome in _DECIDED:
                    first_other.setdefault(arm, FirstDecision(calls, str(verdict.outcome)))
    if config is None:
        return Replay(len(looks), different, first)
    arms = {*first, *first_other} or {"canary"}
    return Replay(len(looks), different, first, {a: _compared(first.get(a), first_other.get(a)) for a in arms})


def _compared(own: FirstDecision | None, other: FirstDecision | None) -> OtherDecision:
    if other is None:
        return OtherDecision("undecided", None, None)
    return OtherDecision(other.outcome, other.calls, None if own is None else own.calls - other.calls)


def _measured_by(config: GateConfig, stored: GateConfig) -> GateConfig:
    """The other gate, as far as the stored counts can feed it."""
    known = set(stored.series) | {m.name for m in stored.metrics if m.external}
    kept = tuple(m for m in config.metrics if m.external or set(m.series) <= known)
    return replace(config, metrics=kept, history=stored.history, variant=stored.variant)
