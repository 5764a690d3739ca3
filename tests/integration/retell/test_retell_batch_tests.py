"""Batch tests: begun once and never again by itself, polled as often as need be, and never taken for passed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rollout.adapters.retell import RetellClient
from rollout.adapters.retell.batch_tests import BatchTestClient
from rollout.domain.agent_tests.runs import BatchProgress, RunStatus, TestCase, TestRun
from rollout.domain.versions.documents import ResponseEngine
from rollout.domain.writes.answers import Failure, Trouble
from rollout.sandbox import Sandbox
from tests.integration.retell.retell_peer import Peer, drops, http, on, says

Serve = Callable[..., Peer]
Make = Callable[..., RetellClient]
LLM = ResponseEngine("retell-llm", "llm_agent_frontdesk", 7)
JOB: dict[str, Any] = {
    "test_case_batch_job_id": "b1",
    "status": "in_progress",
    "pass_count": 1,
    "fail_count": 0,
    "error_count": 0,
    "total_count": 3,
}


@pytest.fixture
def tested(client: Make) -> Iterator[tuple[Sandbox, BatchTestClient]]:
    with Sandbox(speed=0, epoch=1_800_000_000.0) as sandbox:
        sandbox.add_ready_world(calls_per_hour=0)
        sandbox.add_test_case("case_a", agent_id="agent_frontdesk", name="Books a table", pass_rates={7: 1})
        sandbox.add_test_case("case_b", agent_id="agent_frontdesk", pass_rates={7: 0})
        yield sandbox, client(sandbox.url).batch_tests


def test_a_batch_from_its_cases_to_its_runs(tested: tuple[Sandbox, BatchTestClient]) -> None:
    sandbox, tests = tested
    cases = tests.cases(LLM)
    assert set(cases if isinstance(cases, tuple) else ()) == {
        TestCase("case_a", "Books a table"),
        TestCase("case_b", "case_b"),
    }
    begun = tests.begin(["case_a", "case_b"], LLM)
    assert begun == BatchProgress("batch_1", False, 0, 0, 0, 2)
    sandbox.clock(advance=60)
    assert tests.progress("batch_1") == BatchProgress("batch_1", True, 1, 1, 0, 2)
    runs = tests.runs("batch_1")
    assert isinstance(runs, tuple)
    assert {(run.case_name, run.status) for run in runs} == {
        ("Books a table", RunStatus.PASS),
        ("case_b", RunStatus.FAIL),
    }
    assert all(run.explanation for run in runs)


def test_the_requests_are_those_of_the_document(serve: Serve, client: Make) -> None:
    pages = [{"items": [], "has_more": True, "pagination_key": "k 1"}, {"items": [], "has_more": False}]
    peer = serve(says(http(pages[0]), http(pages[1]), http(JOB, 201), http(JOB), http(pages[0]), http(pages[1])))
    tests = client(peer).batch_tests
    tests.cases(ResponseEngine("conversation-flow", "flow_1", 2))
    tests.begin(["case_a"], LLM)
    tests.progress("b1")
    tests.runs("b1")
    assert [seen.path.partition("?")[0] for seen in peer.seen] == [
        "/v2/list-test-case-definitions",
        "/v2/list-test-case-definitions",
        "/create-batch-test",
        "/get-batch-test/b1",
        "/v2/list-test-runs/b1",
        "/v2/list-test-runs/b1",
    ]


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (http({}, 500), Trouble.UNKNOWN),
        (http({}, 503, "retry-after: 0"), Trouble.UNKNOWN),
        (http({}, 429, "retry-after: 0"), Trouble.UNREACHABLE),
        (http({}, 402), Trouble.REJECTED),
        (http({"status": "error", "message": "No."}, 400), Trouble.REJECTED),
        (http({"pass_count": 0}, 201), Trouble.UNKNOWN),
    ],
)
def test_a_batch_is_begun_once_whatever_the_answer(serve: Serve, client: Make, answer: Any, trouble: Trouble) -> None:
    peer = serve(says(answer, http(JOB, 201)))
    found = client(peer).batch_tests.begin(["case_a"], LLM)
    assert isinstance(found, Failure) and found.trouble is trouble
    assert len(peer.seen) == 1


def test_a_batch_is_not_begun_again_on_another_connection(serve: Serve, client: Make) -> None:
    peer = serve(on("POST", drops, says(http(JOB))))
    tests = client(peer).batch_tests
    tests.progress("b1")  # leaves an idle connection behind, which a server may close at any time
    found = tests.begin(["case_a"], LLM)
    assert isinstance(found, Failure) and found.trouble is Trouble.UNKNOWN
    assert [seen.method for seen in peer.seen] == ["GET", "POST"]


def test_progress_is_asked_again(serve: Serve, client: Make) -> None:
    peer = serve(says(http({}, 500), http(JOB)))
    assert client(peer).batch_tests.progress("b1") == BatchProgress("b1", False, 1, 0, 0, 3)


@pytest.mark.parametrize(
    "changed",
    [
        {"test_case_batch_job_id": "b2"},
        {"pass_count": -1},
        {"total_count": "3"},
        {"error_count": None},
        {"fail_count": True},
    ],
)
def test_progress_that_cannot_be_used_is_a_failure(serve: Serve, client: Make, changed: dict[str, Any]) -> None:
    assert isinstance(client(serve(says(http(JOB | changed)))).batch_tests.progress("b1"), Failure)


def test_a_run_of_an_unknown_kind_is_an_error_and_never_passed(serve: Serve, client: Make) -> None:
    items = [
        {"test_case_definition_id": "a", "status": "skipped", "test_case_definition_snapshot": {"name": "A"}},
        {"status": None, "result_explanation": "odd\x00 " + "x" * 2000},
        "no object",
    ]
    runs = client(serve(says(http({"items": items, "has_more": False})))).batch_tests.runs("b1")
    assert isinstance(runs, tuple)
    assert runs[0] == TestRun("a", "A", RunStatus.ERROR, None)
    assert (runs[1].case_id, runs[1].status, len(runs[1].explanation or "")) == ("unknown", RunStatus.ERROR, 1000)
    assert len(runs) == 2
