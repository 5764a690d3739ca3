"""A service that is killed while the tests of an agent run: the next one polls on."""

from __future__ import annotations

import pytest

from tests.processes.stage import Stage

RUNS = 3
CANARY = {"agent_id": "agent_tested", "agent_version": 1}


@pytest.mark.parametrize(
    ("failpoint", "more"),
    [("before_tests_progressed:2", 1), ("after_tests_progressed:2", 0), ("after_tests_progressed:4", 0)],
)
def test_the_next_service_polls_on(sqlite_stage: Stage, failpoint: str, more: int) -> None:
    """Only a batch that was asked for and never recorded is begun once more."""
    stage = sqlite_stage
    stage.sandbox.add_agent("agent_tested", [{"version": 1, "test_s": 2}])
    stage.sandbox.add_test_case("case_1", agent_id="agent_tested", pass_rates={1: 1})
    before = len(stage.sandbox.log(method="POST"))
    id_ = stage.start(tests={"runs": RUNS, "max_failed": 0}, canary=CANARY)
    killed = stage.serve(failpoint)
    assert killed.wait(60) is not None
    stage.serve()
    stage.until_confirmed(id_, 1)
    asked = [e for e in stage.sandbox.log(method="POST")[before:] if e["path"] == "/create-batch-test"]
    assert len(asked) == RUNS + more
    written = [e for n in stage.load(id_).by_number for e in stage.sandbox.log(method="PATCH", number=n)]
    assert min(e["seq"] for e in written) > max(e["seq"] for e in asked)
