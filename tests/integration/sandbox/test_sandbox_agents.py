"""Agents and versions: references, drafts, publishing, deleting."""

from collections.abc import Callable
from typing import Any

import pytest

from rollout.sandbox import Sandbox

AGENT = "/get-agent/agent_frontdesk"


@pytest.mark.parametrize(
    ("query", "version"),
    [("", 9), ("?version=6", 6), ("?version=latest", 9), ("?version=latest_published", 8), ("?version=prod", 6)],
)
def test_a_version_by_number_tag_or_nothing(client: Any, fits: Callable[..., None], query: str, version: int) -> None:
    answer = client("GET", AGENT + query)
    assert answer.body["version"] == version
    assert answer.body["is_published"] == (version != 9)
    assert answer.body["assigned_tags"] == {6: ["prod"], 9: ["staging"]}.get(version, [])
    fits("/get-agent/{agent_id}", "get", 200, answer.body)


def test_a_tag_that_is_not_assigned_means_latest(client: Any, sandbox: Sandbox) -> None:
    sandbox.add_agent("agent_frontdesk", [], tags={"prod": None})
    assert client("GET", f"{AGENT}?version=prod").body["version"] == 9


@pytest.mark.parametrize("path", [f"{AGENT}?version=12", f"{AGENT}?version=nightly", "/get-agent/nobody"])
def test_what_does_not_exist_is_unprocessable(client: Any, path: str) -> None:
    assert client("GET", path).status == 422


def test_lists_of_agents_and_versions(client: Any, sandbox: Sandbox, fits: Callable[..., None]) -> None:
    sandbox.add_agent("agent_chat", [0], channel="chat", is_suspended=True, tags={"prod": None, "beta": 0})
    every = client("POST", "/v2/list-agents", {}).body["items"]
    assert [item["agent_id"] for item in every] == ["agent_chat", "agent_frontdesk"]
    assert every[0]["is_suspended"] is True
    assert every[0]["tags"] == {"prod": {}, "beta": {"version": 0}}
    body = {"filter_criteria": {"channel": {"type": "string", "op": "eq", "value": "voice"}}}
    assert [item["agent_id"] for item in client("POST", "/v2/list-agents", body).body["items"]] == ["agent_frontdesk"]
    page = client("GET", "/list-agent-versions/agent_frontdesk?limit=3").body
    assert [item["version"] for item in page["items"]] == [9, 8, 7]
    rest = client("GET", f"/list-agent-versions/agent_frontdesk?pagination_key={page['pagination_key']}").body
    assert [item["version"] for item in rest["items"]] == [6]
    assert not rest["has_more"]
    older = client("GET", "/get-agent-versions/agent_frontdesk").body
    assert [item["version"] for item in older] == [6, 7, 8, 9]
    fits("/get-agent-versions/{agent_id}", "get", 200, older)


def test_the_life_of_a_version(client: Any) -> None:
    made = client("POST", "/create-agent-version/agent_frontdesk", {"base_version": 6})
    assert (made.status, made.body["version"], made.body["is_published"]) == (201, 10, False)
    assert made.body["base_version"] == 6
    body = {"version": 10, "version_title": "Tenth"}
    published = client("POST", "/publish-agent-version/agent_frontdesk", body)
    assert (published.status, published.body) == (200, b"")
    shown = client("GET", f"{AGENT}?version=latest_published").body
    assert (shown["version"], shown["version_title"]) == (10, "Tenth")
    gone = client("DELETE", "/delete-agent-version/agent_frontdesk?version=10")
    assert (gone.status, gone.body) == (204, b"")
    assert client("GET", f"{AGENT}?version=10").status == 422
    assert client("GET", f"{AGENT}?version=latest_published").body["version"] == 8


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/create-agent-version/nobody", {"base_version": 6}, 404),
        ("POST", "/create-agent-version/agent_frontdesk", {"base_version": 60}, 404),
        ("POST", "/create-agent-version/agent_frontdesk", {}, 400),
        ("POST", "/publish-agent-version/agent_frontdesk", {"version": "6"}, 400),
        ("DELETE", "/delete-agent-version/agent_frontdesk", None, 400),
        ("DELETE", "/delete-agent-version/agent_frontdesk?version=60", None, 404),
    ],
)
def test_wrong_orders_for_versions(client: Any, method: str, path: str, body: Any, status: int) -> None:
    answer = client(method, path, body)
    assert (answer.status, answer.body["status"]) == (status, "error")


def test_a_key_can_be_tested(client: Any) -> None:
    assert client("GET", "/get-api-key-info").body["org_id"] == "org_sandbox"
    assert client("GET", "/get-api-key-info", key="").status == 401
