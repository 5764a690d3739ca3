"""Batch tests: begun once and never again by itself, polled as often as need be, and never taken for passed."""

from __future__ import annotations

import json
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
from tests.integration.retell.scripted_reader import ScriptedReader, failure

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


# ------------------------------------------------------------------ request by request

CASES = "/v2/list-test-case-definitions?type=retell-llm&llm_id=llm_agent_frontdesk&limit=1000"
RUNS = "/v2/list-test-runs/b%2F1?limit=1000"


def of(answers: dict[str, Any]) -> tuple[BatchTestClient, ScriptedReader]:
    reader = ScriptedReader(answers)
    return BatchTestClient(reader, within=3.0), reader


def more(*items: Any) -> dict[str, Any]:
    return {"items": list(items), "has_more": True, "pagination_key": "k 1"}


def test_every_case_of_every_page_is_found() -> None:
    first = more({"test_case_definition_id": "c1", "name": "One"}, {"test_case_definition_id": ""}, {"name": "x"}, 5)
    second = {"items": [{"test_case_definition_id": "c2", "name": ""}]}
    tests, reader = of({CASES: first, f"{CASES}&pagination_key=k+1": second})
    assert tests.cases(LLM) == (TestCase("c1", "One"), TestCase("c2", "c2"))
    assert reader.within == [3.0, 3.0]
    tests, _ = of({CASES: first, f"{CASES}&pagination_key=k+1": failure(500)})
    assert tests.cases(LLM) == failure(500)


def test_every_run_of_every_page_is_found() -> None:
    runs = [{"test_case_definition_id": f"c{i}", "status": status} for i, status in enumerate(RunStatus)]
    tests, reader = of({RUNS: more(*runs[:1]), f"{RUNS}&pagination_key=k+1": {"items": runs[1:]}})
    assert tests.runs("b/1") == tuple(TestRun(f"c{i}", f"c{i}", status) for i, status in enumerate(RunStatus))
    assert reader.within == [3.0, 3.0]
    tests, _ = of({RUNS: more(*runs), f"{RUNS}&pagination_key=k+1": failure(500)})
    assert tests.runs("b/1") == failure(500)


def test_an_explanation_is_one_line_of_at_most_a_thousand_characters() -> None:
    items = [{"result_explanation": "two\nlines"}, {"result_explanation": "x" * 1001}, {"result_explanation": 5}]
    tests, _ = of({RUNS: {"items": items}})
    found = tests.runs("b/1")
    assert isinstance(found, tuple)
    assert [run.explanation for run in found] == ["two lines", "x" * 1000, None]


def test_what_is_begun_are_these_cases_with_this_engine() -> None:
    tests, reader = of({"/create-batch-test": JOB})
    assert tests.begin(["case_a", "case_b"], LLM) == BatchProgress("b1", False, 1, 0, 0, 3)
    [ask] = reader.asked
    assert (ask.method, ask.once, reader.within) == ("POST", True, [3.0])
    assert json.loads(ask.body or b"") == {
        "test_case_definition_ids": ["case_a", "case_b"],
        "response_engine": {"type": "retell-llm", "llm_id": "llm_agent_frontdesk", "version": 7},
    }


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (
            failure(402, Trouble.UNKNOWN),
            Failure(Trouble.REJECTED, "Retell says that the account cannot pay for tests (402)", 402),
        ),
        (failure(429, Trouble.UNKNOWN), Failure(Trouble.UNREACHABLE, "Retell answered 429", 429)),
        (failure(500, Trouble.UNKNOWN), failure(500, Trouble.UNKNOWN)),
        (failure(None, Trouble.UNKNOWN), failure(None, Trouble.UNKNOWN)),
        (
            {**JOB, "test_case_batch_job_id": ""},
            Failure(Trouble.UNKNOWN, "Retell answered 200, but it has no test_case_batch_job_id", 200),
        ),
        ([], Failure(Trouble.UNKNOWN, "Retell answered 200, but it has no test_case_batch_job_id", 200)),
    ],
)
def test_a_batch_that_did_not_begin_may_have_begun_unless_retell_says_no(answer: object, found: Failure) -> None:
    assert of({"/create-batch-test": answer})[0].begin(["case_a"], LLM) == found


@pytest.mark.parametrize(("count", "is_one"), [(0, True), (2**31 - 1, True), (2**31, False), (-1, False), (1.0, False)])
@pytest.mark.parametrize("name", ["pass_count", "fail_count", "error_count", "total_count"])
def test_progress_counts_in_whole_numbers(name: str, count: float, is_one: bool) -> None:
    tests, reader = of({"/get-batch-test/b1": {**JOB, "status": "complete", name: count}})
    found = tests.progress("b1")
    if is_one:
        assert isinstance(found, BatchProgress) and found.is_complete
        assert count in (found.passed, found.failed, found.errors, found.total)
    else:
        assert isinstance(found, Failure) and "is not a whole number" in found.detail
    assert reader.within == [3.0]
