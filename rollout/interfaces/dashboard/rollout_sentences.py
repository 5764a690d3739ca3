"""A rollout in a few sentences: what moves, what it waits for, and what a promotion overrides. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollout.domain.gates import forecast_wording
from rollout.domain.gates.summary import GateSummary
from rollout.domain.gates.verdict import GateOutcome
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Position, Rollout
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.splits import splits
from rollout.interfaces.dashboard.formatting import percent, sentence


@dataclass(frozen=True, slots=True)
class VersionChange:
    """From which versions to which: `agent v6 → v7`, or both in full where the agents differ."""

    agent: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class WaitSentence:
    """The reason to wait: what is missing, until when (where a moment is known), and the rest of the sentence."""

    missing: str
    until: datetime | None = None
    rest: str = ""


def version_change(r: Rollout) -> VersionChange:
    """The versions that serve before and after, by the baselines of all numbers."""
    before = {
        (str(e.get("agent_id")), str(e.get("agent_version")))
        for t in r.targets
        for entries in t.baseline.values()
        for e in entries or ()
    }
    after = [(a.agent_id, str(a.agent_version)) for a in r.plan.arms.values()]
    agents = {agent for agent, _ in (*before, *after)}
    if len(agents) == 1:
        return VersionChange(agents.pop(), _versions([v for _, v in sorted(before)]), _versions([v for _, v in after]))
    return VersionChange("", _named(sorted(before)), _named(after))


def _versions(versions: Sequence[str]) -> str:
    shown = ", ".join(f"v{v}" if v.isdigit() else v for v in versions[:3])
    return shown if len(versions) <= 3 else f"{shown} and {len(versions) - 3} more"


def _named(pairs: Sequence[tuple[str, str]]) -> str:
    shown = ", ".join(f"{agent} {_versions([v])}" for agent, v in pairs[:3])
    return shown if len(pairs) <= 3 else f"{shown} and {len(pairs) - 3} more"


def step_text(r: Rollout) -> str:
    """`step 2 of 3`, and the wave where there are several."""
    step = f"step {r.position.step} of {r.plan.last_step}"
    return step if r.waves == 1 else f"wave {r.position.wave} of {r.waves}, {step}"


def wait_sentence(r: Rollout, gates: GateSummary | None, now: datetime) -> WaitSentence:
    """One sentence on what a live rollout waits for, what is missing first."""
    if r.phase is Phase.PROGRESSING and r.waiting_for is WaitingFor.EVIDENCE and gates is not None:
        return _evidence(r, gates, now)
    if r.waiting_for is WaitingFor.HOLD and r.confirmed_at is not None:
        word = "bake" if r.next_position is None else "hold"
        until = None
        if not r.plan.hold(r.position.step).open and r.stood is None:
            until = r.confirmed_at + timedelta(seconds=r.plan.hold(r.position.step).seconds)
        what = f"The {word} of step {r.position.step} is running" if until is None else f"The {word} ends"
        return WaitSentence(what, until, _still_open(gates))
    if r.waiting_for is WaitingFor.DECISION:
        return WaitSentence("The plan decides the A/B test", r.decides_at, _still_open(gates))
    if r.waiting_for is WaitingFor.START and r.start_at is not None and r.start_at > now:
        return WaitSentence("It starts", r.start_at)
    return WaitSentence(sentence(r.why).removesuffix("."))


def _evidence(r: Rollout, gates: GateSummary, now: datetime) -> WaitSentence:
    waiting = [a for a in gates.arms if a.decides]
    slowest = max(waiting, key=lambda a: -1.0 if a.forecast is None else a.forecast.half, default=None)
    rest = "" if r.verdict is None else sentence(r.verdict.reason)
    if slowest is None or slowest.forecast is None:
        blind = gates.outcome is GateOutcome.UNMEASURABLE
        return WaitSentence("The gates cannot judge it" if blind else "The calls do not decide it yet", None, rest)
    said = forecast_wording.words(slowest.forecast, slowest.calls_per_day, now)
    return WaitSentence(sentence(said).removesuffix("."), None, rest)


def _still_open(gates: GateSummary | None) -> str:
    """The gates' answer if the hold ended now."""
    if gates is None:
        return ""
    if gates.outcome is GateOutcome.PASS:
        return "The gates pass at the moment."
    if gates.outcome is GateOutcome.UNDECIDED:
        needed = [f"{a.canary_calls:,} of {a.floor:,} canary calls" for a in gates.arms if a.canary_calls < a.floor]
        return f"The gates are undecided: {', '.join(needed)} in this step." if needed else "The gates are undecided."
    return ""


def overridden(r: Rollout) -> list[str]:
    """Conditions that a promotion no longer waits for, one sentence each; the hold and the gates as they stand."""
    if r.phase is not Phase.PROGRESSING or r.promote_asked:
        return []
    found = []
    if r.waiting_for is WaitingFor.HOLD and r.confirmed_at is not None:
        found.append(f"The hold of step {r.position.step} is not over: {sentence(r.why)}")
    elif r.waiting_for in (WaitingFor.CALLS, WaitingFor.OPENING, WaitingFor.SPLIT):
        found.append(sentence(r.why))
    if r.verdict is not None and not r.waived:
        for name, arm in r.verdict.arms.items():
            if arm.outcome is GateOutcome.PASS:
                continue
            figures, whose = arm.evidence.figures, f" of {name}" if len(r.verdict.arms) > 1 else ""
            calls = f"{figures.canary_calls:,} of {figures.floor:,} calls"
            found.append(f"The gates{whose} are {arm.outcome}: {calls}. {sentence(arm.reason)}")
    return found


def canary_share(r: Rollout) -> str:
    """The share of new calls that is asked for the canary now."""
    undone = r.phase in (Phase.PENDING, Phase.ROLLING_BACK, Phase.ROLLED_BACK)
    return percent(0.0 if undone else sum(r.weights.values()) / splits.TOTAL)


def weight_at(r: Rollout, position: Position) -> str:
    """The canary's weight at a position of the plan."""
    return percent(sum(r.plan.weights(position.step).values()) / splits.TOTAL)
