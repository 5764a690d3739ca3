"""Tests of the agent before the first caller: they pass and it begins, or nothing is ever written."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rollout.adapters.store.rebuild import differences
from rollout.domain.errors import PreflightRefused
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.interfaces.views import rollout as views
from tests.support.scene import ME, PATCH, Scene
from tests.support.values import AGENT, ONE

LIMIT = {"cases": "all", "runs": 2, "max_failed": 0.25}
CREATE, POLL, RUNS = "/create-batch-test", "/get-batch-test/*", "/v2/list-test-runs/*"
MINUTE = 60


@pytest.fixture(autouse=True)
def cases(scene: Scene) -> None:
    """Two cases that versions 6 and 7 pass and version 8 fails; time stands still on Retell's side."""
    scene.sandbox.clock(speed=0)
    for case, name in (("case_a", "Books a table"), ("case_b", "Asks for the bill")):
        scene.sandbox.add_test_case(case, agent_id=AGENT, name=name, pass_rates={6: 1, 7: 1, 8: 0})


def begun(scene: Scene) -> int:
    """Batches that Retell was asked for."""
    return sum(e["path"] == CREATE for e in scene.sandbox.log(method="POST"))


def given(scene: Scene, version: int = 7, **tests: Any) -> None:
    scene.given(tests={**LIMIT, **tests}, canary={"agent_id": AGENT, "agent_version": version})
    scene.drive()


def shown(scene: Scene) -> dict[str, Any]:
    found = views.show(scene.rollout)["tests"]
    assert found is not None
    return dict(found)


def test_tests_that_pass_begin_the_rollout(scene: Scene) -> None:
    given(scene)
    scene.stands("pending")
    assert scene.rollout.why == "tests: 0 of 4 runs done"
    assert scene.rollout.waiting_for is WaitingFor.TESTS
    assert not scene.patches()
    scene.sandbox.clock(advance=MINUTE)
    scene.after(10)
    scene.stands("progressing", 1)
    assert scene.weight(ONE) == 0.1
    assert scene.journal(["tests_progressed", "tests_passed", "begun"]) == [
        *["tests_progressed"] * 3,
        "tests_passed",
        "begun",
    ]
    assert shown(scene)["reason"] == "tests passed: 0 of 4 runs failed; 0.25 of them may fail"
    assert shown(scene)["batches"] == ["batch_1", "batch_2"]
    with scene.app.database.read() as connection:
        assert differences(connection, scene.id) == []


def test_tests_that_fail_end_it_and_nothing_is_written(scene: Scene) -> None:
    given(scene, 8)
    scene.sandbox.clock(advance=MINUTE)
    scene.after(10)
    scene.stands("stopped")
    why = "tests failed: 4 of 4 runs failed; 0.25 of them may fail: Asks for the bill (2 of 2), Books a table (2 of 2)"
    assert scene.rollout.reason == why
    found = shown(scene)
    assert (found["outcome"], found["versions"][0]["failed"], found["total"]) == ("failed", 4, 4)
    assert {f["case"] for f in found["failures"]} == {"Books a table", "Asks for the bill"}
    assert all("did not do what the caller asked" in f["explanation"] for f in found["failures"])
    assert not scene.sandbox.log(method=PATCH)
    scene.after(3_600)
    assert not scene.sandbox.log(method=PATCH)
    assert scene.given(name="again")


def test_without_a_limit_the_baseline_is_run_too(scene: Scene) -> None:
    given(scene, 8, runs=10, max_failed=None)
    assert begun(scene) == 20
    scene.sandbox.clock(advance=MINUTE)
    scene.after(10)
    scene.stands("stopped")
    assert (scene.rollout.reason or "").startswith(
        "tests failed: 20 of 20 runs failed; the baseline: 0 of 20 runs failed"
    )
    assert [(v["name"], v["failed"], v["engine"]["version"]) for v in shown(scene)["versions"]] == [
        ("canary", 20, 8),
        ("baseline", 0, 6),
    ]


def test_a_version_like_the_baseline_passes(scene: Scene) -> None:
    given(scene, 7, max_failed=None)
    scene.sandbox.clock(advance=MINUTE)
    scene.after(10)
    scene.stands("progressing", 1)


def test_how_far_they_are_is_recorded_and_a_restart_begins_no_second_batch(scene: Scene) -> None:
    given(scene, runs=10)
    scene.sandbox.clock(advance=10)  # each run takes 10 to 20 s
    while scene.rollout.why == "tests: 0 of 20 runs done":
        scene.sandbox.clock(advance=0.1)
        scene.after(6)
    assert scene.rollout.why.endswith(" of 20 runs done")
    scene.restart()
    scene.after(10)
    scene.stands("pending")
    scene.sandbox.clock(advance=MINUTE)
    scene.after(10)
    scene.stands("progressing", 1)
    assert begun(scene) == 10


def test_errors_of_retells_own_are_never_passed(scene: Scene) -> None:
    scene.sandbox.add_agent(AGENT, [{"version": 7, "test_error": 1}])
    given(scene)
    scene.sandbox.clock(advance=MINUTE)
    scene.after(10)
    scene.stands("stopped")
    assert scene.rollout.reason == ("tests: no run could be judged (0 of 4 runs failed, 4 ended in an error at Retell)")
    assert shown(scene)["outcome"] == "unmeasurable"
    assert not scene.patches()


@pytest.mark.parametrize("path", [CREATE, POLL, RUNS])
def test_an_endpoint_that_is_down_for_ten_minutes_is_waited_for(scene: Scene, path: str) -> None:
    scene.sandbox.fault("drop_before", path=path, times=None)
    version = 8 if path == RUNS else 7
    given(scene, version)
    scene.sandbox.clock(advance=MINUTE)
    scene.after(10 * MINUTE)
    scene.stands("pending")
    assert scene.rollout.waiting_for is WaitingFor.RETELL
    scene.sandbox.clear_faults()
    scene.sandbox.clock(advance=MINUTE)
    scene.after(10 * MINUTE)
    scene.sandbox.clock(advance=MINUTE)
    scene.after(MINUTE)
    scene.stands("stopped" if version == 8 else "progressing")


def test_a_request_whose_answer_is_lost_is_repeated_seldom_and_at_last_given_up(scene: Scene) -> None:
    scene.sandbox.fault("drop_after", path=CREATE, times=None)
    given(scene)
    assert begun(scene) == 1
    assert scene.rollout.why == "tests: Retell did not answer the request for a batch, which may be running anyway"
    scene.after(29 * MINUTE)
    assert begun(scene) == 5
    scene.stands("stopped")
    assert (scene.rollout.reason or "").startswith("the tests could not start: Retell did not answer 5 requests")


def test_tests_without_an_end_count_as_not_measured_at_their_deadline(scene: Scene) -> None:
    given(scene, deadline="20m")
    scene.after(20 * MINUTE + 1)
    scene.stands("stopped")
    assert scene.rollout.reason == "the tests had no result within 20m: tests: 0 of 4 runs done"
    assert not scene.patches()


def test_an_account_that_cannot_pay_for_tests_is_told_so(scene: Scene) -> None:
    scene.sandbox.fault("status", path=CREATE, status=402, times=None)
    given(scene)
    scene.stands("stopped")
    assert scene.rollout.reason == "the tests could not start: Retell says that the account cannot pay for tests (402)"


def test_while_tests_run_it_can_be_paused_stopped_and_rolled_back(scene: Scene) -> None:
    given(scene)
    scene.app.commands.pause(scene.id, ME)
    scene.sandbox.clock(advance=MINUTE)
    scene.after(MINUTE)
    scene.stands("paused")
    scene.app.commands.resume(scene.id, ME)
    scene.drive()
    scene.stands("progressing", 1)
    assert begun(scene) == 2
    scene.app.commands.rollback(scene.id, ME)
    scene.drive()
    for command, end in ((scene.app.commands.stop, "stopped"), (scene.app.commands.rollback, "rolled_back")):
        patches = len(scene.patches())
        given(scene)
        command(scene.id, ME)
        scene.drive()
        scene.stands(end)
        assert len(scene.patches()) == patches


def test_a_later_start_tests_when_it_begins(scene: Scene) -> None:
    scene.given(tests=LIMIT, at=scene.clock.now() + timedelta(hours=2))
    scene.after(3_600)
    assert scene.rollout.tests is None
    assert begun(scene) == 0
    scene.after(3_600)
    assert begun(scene) == 2
    scene.sandbox.clock(advance=MINUTE)
    scene.after(10)
    scene.stands("progressing", 1)


@pytest.mark.parametrize(
    ("engine", "tests", "sentence"),
    [
        (
            {"type": "custom-llm"},
            {},
            "canary: agent_frontdesk version 7 has a response engine of type custom-llm, which",
        ),
        ({}, {"cases": ["case_a", "case_nobody"]}, "case_nobody is not a test case of canary's response engine"),
        ({}, {"cases": ["case_flow"]}, "case_flow is not a test case of canary's response engine"),
    ],
)
def test_what_cannot_be_tested_is_refused_with_a_sentence(
    scene: Scene, engine: dict[str, Any], tests: dict[str, Any], sentence: str
) -> None:
    scene.sandbox.add_agent("agent_flow", [{"version": 1, "engine": {"type": "conversation-flow"}}])
    scene.sandbox.add_test_case("case_flow", agent_id="agent_flow")
    scene.sandbox.add_agent(AGENT, [{"version": 7, "engine": engine}])
    with pytest.raises(PreflightRefused, match=sentence):
        scene.given(tests={**LIMIT, **tests})
    assert begun(scene) == 0


def test_a_comparison_with_another_engine_or_with_several_is_refused(scene: Scene) -> None:
    scene.sandbox.add_agent("agent_other", [{"version": 1}])
    scene.sandbox.add_test_case("case_other", agent_id="agent_other")
    other = {"agent_id": "agent_other", "agent_version": 1}
    with pytest.raises(PreflightRefused, match="canary and the baseline have different response engines"):
        scene.given(tests={"cases": "all"}, canary=other)
    entries = [{"agent_id": AGENT, "agent_version": v, "weight": 0.5} for v in (6, 8)]
    scene.sandbox.edit(ONE, inbound_agents=entries)
    with pytest.raises(PreflightRefused, match="the numbers serve 2 versions of response engines"):
        scene.given(tests={"cases": "all"})
    scene.given(tests={"cases": "all", "max_failed": 0.1})


def test_a_comparison_of_a_version_that_does_not_exist_is_refused(scene: Scene) -> None:
    with pytest.raises(PreflightRefused, match="canary: agent_frontdesk version 70 does not exist"):
        given(scene, 70, max_failed=None)
    assert not begun(scene)
