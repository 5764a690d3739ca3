"""The evidence that a version needs before it gets every call."""

from __future__ import annotations

from dataclasses import replace

from rollout.domain.gates.verdict import GateOutcome, GateVerdict

_LAST = 10_000  # a step behind every list of margins: the last one holds


def missing_evidence(verdict: GateVerdict | None, arm: str) -> str | None:
    """What the newest verdict lacks for weight 1, as a sentence; None: nothing.

    As before the last step of a plan, the narrowest margins have to be proven, whatever the weight that was tried.
    """
    kept = None if verdict is None else verdict.arms.get(arm)
    if kept is None:
        return f"no gate has judged {arm} yet"
    if kept.outcome is not GateOutcome.PASS:
        return f"the gates of {arm} say {kept.outcome}: {kept.reason}"
    from rollout.domain.gates.judge import judge

    evidence = kept.evidence
    at_last = judge(evidence.config, replace(evidence.tally, narrow=True, step=_LAST), evidence.before)
    if at_last.outcome is not GateOutcome.PASS:
        return f"the margins that hold before weight 1 are not proven of {arm}: {at_last.reason}"
    return None
