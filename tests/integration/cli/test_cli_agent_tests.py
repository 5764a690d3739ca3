"""`check --tests` runs a plan's tests by hand, and `show` names the cases that failed."""

from __future__ import annotations

import pytest

from rollout.sandbox import Sandbox
from tests.support.inside import Inside
from tests.support.plans import PLAN

TESTS = "tests: {cases: all, runs: 2, max_failed: 0.1}\n"


@pytest.fixture(autouse=True)
def cases(quiet: Sandbox, inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollout.engine.agent_tests.POLL", 0.05)
    quiet.clock(speed=1000)
    quiet.add_test_case("case_a", agent_id="agent_frontdesk", name="Books a table", pass_rates={6: 1, 7: 1, 8: 0})
    inside.write("good.yaml", PLAN + TESTS)
    inside.write("bad.yaml", PLAN.replace("agent_version: 7", "agent_version: 8") + TESTS)
    inside.write("none.yaml", PLAN)


def begun(quiet: Sandbox) -> int:
    return sum(e["path"] == "/create-batch-test" for e in quiet.log(method="POST"))


def test_check_says_what_would_be_tested_and_runs_nothing(quiet: Sandbox, inside: Inside) -> None:
    done = inside("check", "good.yaml")
    assert done.code == 0
    assert "tests: 2 runs of canary before the first step; tools without a mock really run" in done.out
    assert begun(quiet) == 0


def test_tests_that_pass(quiet: Sandbox, inside: Inside) -> None:
    done = inside("check", "good.yaml", "--tests")
    assert done.code == 0
    assert "tests: tests passed: 0 of 2 runs failed" in done.out
    assert begun(quiet) == 2


def test_tests_that_fail_name_the_cases(inside: Inside) -> None:
    done = inside("check", "bad.yaml", "--tests")
    assert done.code == 3
    assert "this plan would be refused: tests failed: 2 of 2 runs failed" in done.err
    assert "canary: Books a table failed in 2 of its runs: The agent did not do what the caller asked for" in done.out
    found = inside("check", "bad.yaml", "--tests", "--json").json
    assert (found["ok"], found["tests"]["outcome"]) == (False, "failed")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("none.yaml",), "none.yaml: the plan has no tests; write for example tests: {cases: all}"),
        (("good.yaml", "--offline"), "--tests asks Retell: leave out --offline"),
    ],
)
def test_where_there_is_nothing_to_run(
    quiet: Sandbox, inside: Inside, arguments: tuple[str, ...], sentence: str
) -> None:
    done = inside("check", *arguments, "--tests")
    assert done.code == 2
    assert sentence in done.err
    assert begun(quiet) == 0


def test_a_request_that_retell_refuses_or_does_not_answer(quiet: Sandbox, inside: Inside) -> None:
    quiet.fault("status", path="/create-batch-test", status=402)
    done = inside("check", "good.yaml", "--tests")
    assert (done.code, "the account cannot pay for tests (402)" in done.err) == (3, True)
    quiet.fault("drop_before", path="/create-batch-test")
    assert inside("check", "good.yaml", "--tests").code == 4
