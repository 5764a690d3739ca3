"""Batch tests, response engines, agent roots and preconditions: shapes, refusals, and what is modelled."""

import http.client
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rollout.sandbox import Sandbox

LLM = {"type": "retell-llm", "llm_id": "llm_agent_frontdesk"}
N1 = "+14157774444"


@pytest.fixture
def cases(stopped: Sandbox) -> Sandbox:
    stopped.add_test_case("case_a", agent_id="agent_frontdesk", name="Books a table", pass_rates={6: 1, 7: 1, 8: 0})
    stopped.add_test_case("case_b", agent_id="agent_frontdesk", pass_rates={6: 1, 7: 1, 8: 0})
    stopped.add_agent("agent_flow", [{"version": 1, "engine": {"type": "conversation-flow"}}])
    stopped.add_test_case("case_flow", agent_id="agent_flow")
    return stopped


@pytest.mark.parametrize(("version", "passed"), [(7, 2), (8, 0)])
def test_a_batch_runs_its_cases_on_the_version_that_is_asked_for(
    cases: Sandbox, still: Any, fits: Callable[..., None], version: int, passed: int
) -> None:
    body = {"test_case_definition_ids": ["case_a", "case_b"], "response_engine": {**LLM, "version": version}}
    made = still("POST", "/create-batch-test", body)
    fits("/create-batch-test", "post", 201, made.body)
    assert (made.status, made.body["status"], made.body["total_count"]) == (201, "in_progress", 2)
    path = f"/get-batch-test/{made.body['test_case_batch_job_id']}"
    cases.clock(advance=20)
    done = still("GET", path).body
    fits("/get-batch-test/{test_case_batch_job_id}", "get", 200, done)
    assert (done["status"], done["pass_count"], done["fail_count"]) == ("complete", passed, 2 - passed)
    assert done["response_engine"]["version"] == version
    runs = still("GET", f"/v2/list-test-runs/{made.body['test_case_batch_job_id']}?limit=1").body
    fits("/v2/list-test-runs/{test_case_batch_job_id}", "get", 200, runs)
    assert runs["has_more"]
    assert runs["items"][0]["test_case_definition_snapshot"]["name"] == "case_b"
    assert runs["items"][0]["status"] == ("pass" if passed else "fail")
    assert runs["items"][0]["result_explanation"]


def test_runs_that_retell_cannot_finish_are_errors(cases: Sandbox, still: Any) -> None:
    cases.add_agent("agent_frontdesk", [{"version": 7, "test_error": 1}])
    body = {"test_case_definition_ids": ["case_a"], "response_engine": {**LLM, "version": 7}}
    batch_id = still("POST", "/create-batch-test", body).body["test_case_batch_job_id"]
    cases.clock(advance=20)
    done = still("GET", f"/get-batch-test/{batch_id}").body
    assert (done["error_count"], done["pass_count"], done["fail_count"]) == (1, 0, 0)


def test_cases_are_listed_by_the_engine_they_belong_to(cases: Sandbox, still: Any, fits: Callable[..., None]) -> None:
    path = "/v2/list-test-case-definitions"
    found = still("GET", f"{path}?type=retell-llm&llm_id=llm_agent_frontdesk&sort_order=ascending").body
    fits(path, "get", 200, found)
    assert [item["test_case_definition_id"] for item in found["items"]] == ["case_a", "case_b"]
    other = still("GET", f"{path}?type=conversation-flow&conversation_flow_id=flow_agent_flow").body
    assert [item["test_case_definition_id"] for item in other["items"]] == ["case_flow"]
    fits(path, "get", 200, other)
    assert still("GET", f"{path}?type=retell-llm&llm_id=llm_nobody").body["items"] == []
    assert still("GET", f"{path}?type=retell-llm").status == 400
    assert still("GET", f"{path}?type=custom-llm").status == 400


@pytest.mark.parametrize(
    ("ids", "engine"),
    [
        ([], LLM),
        (["case_a"] * 1001, LLM),
        (["case_nobody"], LLM),
        (["case_flow"], LLM),
        (["case_a"], {"type": "custom-llm", "llm_websocket_url": "wss://example.com"}),
        (["case_a"], {**LLM, "version": 99}),
        (["case_a"], {**LLM, "version": "7"}),
        (["case_a"], {"type": "retell-llm"}),
        (["case_a"], None),
    ],
)
def test_wrong_batches_are_refused(
    cases: Sandbox, still: Any, fits: Callable[..., None], ids: Any, engine: Any
) -> None:
    answer = still("POST", "/create-batch-test", {"test_case_definition_ids": ids, "response_engine": engine})
    assert answer.status == 400
    fits("/create-batch-test", "post", 400, answer.body)
    assert still("GET", "/get-batch-test/batch_1").status == 404
    assert still("GET", "/v2/list-test-runs/batch_1").status == 404


def test_a_response_engine_has_its_own_text_in_each_version(
    cases: Sandbox, still: Any, fits: Callable[..., None]
) -> None:
    cases.add_agent(
        "agent_frontdesk",
        [{"version": 7, "settings": {"voice_id": "11labs-Kate"}, "engine": {"general_prompt": "Be brief."}}],
    )
    assert still("GET", "/get-agent/agent_frontdesk?version=7").body["voice_id"] == "11labs-Kate"
    path = "/get-retell-llm/llm_agent_frontdesk"
    new, old = still("GET", f"{path}?version=7").body, still("GET", f"{path}?version=6").body
    assert (new["general_prompt"], old["general_prompt"]) == ("Be brief.", "You are Front desk.")
    fits("/get-retell-llm/{llm_id}", "get", 200, new)
    fits(
        "/get-conversation-flow/{conversation_flow_id}",
        "get",
        200,
        still("GET", "/get-conversation-flow/flow_agent_flow").body,
    )
    assert still("GET", f"{path}?version=99").status == 422
    assert still("GET", "/get-conversation-flow/flow_nobody").status == 404


def test_an_agent_root_shows_the_tags_and_changes_its_etag_with_them(cases: Sandbox, still: Any) -> None:
    before = still("GET", "/get-agent-root/agent_frontdesk")
    assert before.body["tags"] == {"staging": {"version": 9}, "prod": {"version": 6}}
    cases.add_agent("agent_frontdesk", [], tags={"prod": {"version": 7, "dynamic_variables": {"city": "Oslo"}}})
    after = still("GET", "/get-agent-root/agent_frontdesk")
    assert after.body["tags"] == {"prod": {"version": 7, "dynamic_variables": {"city": "Oslo"}}}
    assert before.headers["etag"] != after.headers["etag"]


@pytest.mark.parametrize(("mode", "status"), [("honoured", 412), ("ignored", 200)])
def test_an_if_match_that_does_not_fit(mode: Any, status: int, raw: Callable[[Sandbox], Any]) -> None:
    with Sandbox(speed=0, epoch=1_800_000_000.0, preconditions=mode) as sandbox:
        sandbox.add_ready_world()
        seen = raw(sandbox).get_etag()
        assert raw(sandbox).patch(seen) == 200
        assert raw(sandbox).patch(seen) == status
        assert raw(sandbox).patch(None) == 200
        assert len(sandbox.history(N1)) == (3 if status == 412 else 4)


def test_a_number_has_no_etag_unless_asked_for(still: Any) -> None:
    assert "etag" not in still("GET", f"/get-phone-number/{N1}").headers


def test_backup_models_and_failed_tools_are_only_in_get_call(
    stopped: Sandbox, still: Any, fits: Callable[..., None]
) -> None:
    stopped.add_agent("agent_frontdesk", [{"version": 6, "backup_model": 0.5, "tool_failed": 0.5}])
    stopped.clock(advance=3600)
    listed = still("POST", "/v3/list-calls", {"limit": 100}).body["items"]
    assert not any(key.startswith("transcript") for call in listed for key in call)
    seen = set()
    for call in listed[:40]:
        one = still("GET", f"/v2/get-call/{call['call_id']}").body
        fits("/v2/get-call/{call_id}", "get", 200, one)
        if "transcript_object" in one:
            backup = "metadata" in one["transcript_object"][0]
            seen.add((backup, one["transcript_with_tool_calls"][-1]["successful"]))
    assert seen == {(True, True), (True, False), (False, True), (False, False)}


@pytest.fixture
def raw() -> Iterator[Callable[[Sandbox], Any]]:
    """Requests with an If-Match, which the plain client does not send."""

    class Raw:
        def __init__(self, port: int) -> None:
            self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

        def get_etag(self) -> str:
            self.connection.request("GET", f"/get-phone-number/{N1}", headers={"Authorization": "Bearer k"})
            answer = self.connection.getresponse()
            answer.read()
            return str(answer.headers["ETag"])

        def patch(self, etag: str | None) -> int:
            headers = {"Authorization": "Bearer k", "Content-Type": "application/json"}
            headers |= {} if etag is None else {"If-Match": etag}
            self.connection.request("PATCH", f"/update-phone-number/{N1}", '{"nickname": "x"}', headers)
            answer = self.connection.getresponse()
            answer.read()
            return answer.status

    made: list[Raw] = []

    def make(sandbox: Sandbox) -> Raw:
        made.append(Raw(sandbox.port))
        return made[-1]

    yield make
    for one in made:
        one.connection.close()
