"""Stored looks judged again: by their own gate, which must say the same, and by another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rollout.domain.gates.judge import judge, rejudge
from rollout.domain.gates.profiles import GateConfig, from_plan
from rollout.domain.gates.verdict import GateOutcome, Memory, StoredLook

_DECIDED = (GateOutcome.PASS, GateOutcome.FAIL)


def replay(looks: Sequence[StoredLook], other: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Every stored look judged again: {"looks", "same", "different": [...], "other": ...}.

    `other` is a `gates:` entry: what that gate would have said on the same calls, and how many calls sooner or
    later it would have reached its first decision.
    """
    different: list[dict[str, Any]] = []
    first: dict[str, tuple[int, str]] = {}
    first_other: dict[str, tuple[int, str]] = {}
    memories: dict[str, Memory] = {}
    config = None if other is None else from_plan(other)
    for look in looks:
        for arm, kept in look.verdict.arms.items():
            evidence, again = kept.evidence, rejudge(kept.evidence)
            if again.outcome != kept.outcome or again.evidence.figures != evidence.figures:
                different.append({"seq": look.seq, "arm": arm, "stored": str(kept.outcome), "now": str(again.outcome)})
            calls = evidence.tally.calls
            if kept.outcome in _DECIDED:
                first.setdefault(arm, (calls, str(kept.outcome)))
            if config is not None:
                verdict = judge(_measured_by(config, evidence.config), evidence.tally, memories.get(arm))
                memories[arm] = verdict.memory
                if verdict.outcome in _DECIDED:
                    first_other.setdefault(arm, (calls, str(verdict.outcome)))
    report: dict[str, Any] = {"looks": len(looks), "same": not different, "different": different}
    report["decided"] = {arm: {"calls": n, "outcome": o} for arm, (n, o) in first.items()}
    if config is not None:
        report["other"] = {
            arm: {
                "outcome": first_other.get(arm, (0, "undecided"))[1],
                "calls": first_other[arm][0] if arm in first_other else None,
                "sooner_by": first[arm][0] - first_other[arm][0] if arm in first and arm in first_other else None,
            }
            for arm in {*first, *first_other} or {"canary"}
        }
    return report


def _measured_by(config: GateConfig, stored: GateConfig) -> GateConfig:
    """The other gate, as far as the stored counts can feed it."""
    known = set(stored.series) | {m.name for m in stored.metrics if m.external}
    kept = tuple(m for m in config.metrics if m.external or set(m.series) <= known)
    return replace(config, metrics=kept, history=stored.history, variant=stored.variant)
