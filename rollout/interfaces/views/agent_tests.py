"""The tests of an agent as people and programs see them; every face shows the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rollout.domain.agent_tests.state import AgentTests, TestArm


def document(tests: AgentTests) -> dict[str, Any]:
    """The tests as JSON."""
    return {
        "outcome": None if tests.verdict is None else str(tests.verdict.outcome),
        "reason": None if tests.verdict is None else tests.verdict.reason,
        "total": tests.total,
        "versions": [_version(tests, arm) for arm in tests.arms],
        "batches": [batch.batch_id for batch in tests.batches],
        "failures": [asdict(failure) for failure in tests.failures],
    }


def lines(shown: Mapping[str, Any] | None) -> list[str]:
    """The document in words: what will be run, or the result with each case that failed; nothing while they run."""
    if shown is None or (shown["batches"] and shown["outcome"] is None):
        return []  # how far they are is what the rollout waits for
    names = " and ".join(version["name"] for version in shown["versions"])
    planned = f"{shown['total']} runs of {names} before the first step; tools without a mock really run"
    failures = [
        f"{f['arm']}: {f['case']} failed in {f['failed']} of its runs: {f['explanation']}" for f in shown["failures"]
    ]
    return [shown["reason"] or planned, *failures]


def _version(tests: AgentTests, arm: TestArm) -> dict[str, Any]:
    counts = tests.counts(arm.name)
    return {
        "name": arm.name,
        "engine": arm.engine.to_json(),
        "passed": counts.passed,
        "failed": counts.failed,
        "errors": counts.errors,
    }
