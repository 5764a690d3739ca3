"""Test cases of response engines, and batches of simulated runs whose outcome is drawn when the batch begins.

Shapes: Retell's TestCaseDefinition, TestCaseBatchJob and TestCaseJob (its OpenAPI, 2026-08).
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rollout.sandbox.agents import Agent, Version
from rollout.sandbox.clock import milliseconds


@dataclass(frozen=True, slots=True)
class TestCase:
    """A conversation to simulate with one response engine, whichever its version."""

    __test__ = False

    case_id: str
    name: str
    agent_id: str
    created: int
    """Milliseconds since the epoch."""
    pass_rates: Mapping[int, float] = field(default_factory=dict)
    """By version of the agent; a version that is left out passes as its behaviour says."""

    def to_json(self, engine: Mapping[str, Any]) -> dict[str, Any]:
        """Retell's TestCaseDefinition."""
        return {
            "test_case_definition_id": self.case_id,
            "type": "simulation",
            "name": self.name,
            "response_engine": dict(engine),
            "user_prompt": "You are a modelled caller.",
            "metrics": ["The caller gets what they called for."],
            "dynamic_variables": {},
            "tool_mocks": [],
            "llm_model": "gpt-4.1",
            "creation_timestamp": self.created,
            "user_modified_timestamp": self.created,
        }


@dataclass(frozen=True, slots=True)
class TestRun:
    """One run of one case. `ends` is in seconds of the sandbox's clock; `result` is pass, fail or error."""

    __test__ = False

    run_id: str
    case: TestCase
    ends: float
    result: str

    def status(self, now: float) -> str:
        """in_progress until it ends, its result from then on."""
        return self.result if now >= self.ends else "in_progress"

    def to_json(self, engine: Mapping[str, Any], began: float, now: float) -> dict[str, Any]:
        """Retell's TestCaseJob."""
        status = self.status(now)
        explanation = {
            "pass": "The agent did what the caller asked for.",
            "fail": f"The agent did not do what the caller asked for ({self.case.name}).",
            "error": "The simulation could not be run.",
        }.get(status)
        return {
            "test_case_job_id": self.run_id,
            "status": status,
            "test_case_definition_id": self.case.case_id,
            "test_case_definition_snapshot": self.case.to_json(engine),
            "result_explanation": explanation,
            "creation_timestamp": milliseconds(began),
            "user_modified_timestamp": milliseconds(min(now, self.ends)),
        }


@dataclass(frozen=True, slots=True)
class BatchTest:
    """Runs that were asked for together."""

    batch_id: str
    engine: Mapping[str, Any]
    began: float
    runs: tuple[TestRun, ...]

    def to_json(self, now: float) -> dict[str, Any]:
        """Retell's TestCaseBatchJob."""
        found = [run.status(now) for run in self.runs]
        return {
            "test_case_batch_job_id": self.batch_id,
            "status": "in_progress" if "in_progress" in found else "complete",
            "response_engine": dict(self.engine),
            "pass_count": found.count("pass"),
            "fail_count": found.count("fail"),
            "error_count": found.count("error"),
            "total_count": len(found),
            "creation_timestamp": milliseconds(self.began),
            "user_modified_timestamp": milliseconds(min(now, max(run.ends for run in self.runs))),
        }


def drawn(batch_id: str, agent: Agent, version: Version, cases: Sequence[TestCase], seed: int, now: float) -> BatchTest:
    """A batch whose runs fare as this version's behaviour and the cases say."""
    chance = random.Random(f"{seed}|{batch_id}")
    behaviour = version.behaviour
    runs = []
    for index, case in enumerate(cases):
        ends = now + behaviour.test_s * (0.5 + 0.5 * chance.random())
        broken, passed = chance.random(), chance.random()
        rate = case.pass_rates.get(version.number, behaviour.test_pass)
        result = "error" if broken < behaviour.test_error else ("pass" if passed < rate else "fail")
        runs.append(TestRun(f"run_{batch_id}_{index}", case, ends, result))
    return BatchTest(batch_id, agent.engine_of(version), now, tuple(runs))
