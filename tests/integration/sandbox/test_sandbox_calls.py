"""Lists of calls and chats: each filter, pages, and the older filter form that is ignored."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rollout.sandbox import Sandbox

N1, N3 = "+14157774444", "+14157774446"
CALLS = "/v3/list-calls"


@pytest.fixture
def busy(stopped: Sandbox) -> Iterator[Sandbox]:
    """Four hours of calls and chats, some of them still going on."""
    split = [{"agent_id": "agent_frontdesk", "agent_version": version, "weight": 0.25} for version in (6, 7, 8, 9)]
    stopped.add_agent("agent_frontdesk", [{"version": 6, "custom": {"booked": 0.5}, "voicemail": 0.3}])
    stopped.edit(N1, inbound_agents=split, inbound_sms_agents=split)
    stopped.edit(N1, calls_per_hour={"inbound": 30, "inbound_sms": 30})
    stopped.clock(advance=4 * 3600)
    return stopped


def enum(*values: str) -> dict[str, Any]:
    return {"type": "enum", "op": "in", "value": list(values)}


def text(op: str, value: str) -> dict[str, Any]:
    return {"type": "string", "op": op, "value": value}


def number(op: str, value: float) -> dict[str, Any]:
    return {"type": "number", "op": op, "value": value}


def yes(value: bool) -> dict[str, Any]:
    return {"type": "boolean", "op": "eq", "value": value}


MIDDLE = 1_800_000_000_000 + 2 * 3_600_000


@pytest.mark.parametrize(
    ("criteria", "keep"),
    [
        ({"agent": [{"agent_id": "agent_frontdesk", "version": [7, 8]}]}, lambda c: c["agent_version"] in (7, 8)),
        ({"agent": [{"agent_id": "agent_frontdesk", "version": []}]}, lambda c: True),
        ({"agent": [{"agent_id": "nobody"}]}, lambda c: False),
        ({"agent_tag": enum("prod")}, lambda c: c.get("agent_tag") == "prod"),
        ({"call_status": enum("ended", "error")}, lambda c: c["call_status"] in ("ended", "error")),
        ({"call_type": enum("web_call")}, lambda c: False),
        ({"direction": enum("outbound")}, lambda c: c["direction"] == "outbound"),
        ({"to_number": text("eq", N1)}, lambda c: c["to_number"] == N1),
        ({"from_number": text("eq", N3)}, lambda c: c["from_number"] == N3),
        ({"from_number": text("eq", N1)}, lambda c: False),
        ({"to_number": text("ne", N1)}, lambda c: c["to_number"] != N1),
        ({"to_number": text("sw", "+1415")}, lambda c: c["to_number"].startswith("+1415")),
        ({"to_number": text("ew", "4445")}, lambda c: c["to_number"].endswith("4445")),
        ({"to_number": text("co", "777")}, lambda c: "777" in c["to_number"]),
        ({"start_timestamp": number("ge", MIDDLE)}, lambda c: c["start_timestamp"] >= MIDDLE),
        ({"start_timestamp": number("lt", MIDDLE)}, lambda c: c["start_timestamp"] < MIDDLE),
        (
            {"start_timestamp": {"type": "range", "op": "bt", "value": [MIDDLE, MIDDLE + 3_600_000]}},
            lambda c: MIDDLE <= c["start_timestamp"] <= MIDDLE + 3_600_000,
        ),
        ({"end_timestamp": number("gt", MIDDLE)}, lambda c: c.get("end_timestamp", 0) > MIDDLE),
        ({"duration_ms": number("le", 90_000)}, lambda c: c.get("duration_ms", 1e9) <= 90_000),
        ({"combined_cost": number("gt", 10)}, lambda c: c.get("call_cost", {}).get("combined_cost", 0) > 10),
        ({"e2e_latency_p50": number("gt", 2000)}, lambda c: "latency" in c and c["latency"]["e2e"]["p50"] > 2000),
        ({"disconnection_reason": enum("error_retell")}, lambda c: c.get("disconnection_reason") == "error_retell"),
        (
            {"user_sentiment": enum("Negative")},
            lambda c: c.get("call_analysis", {}).get("user_sentiment") == "Negative",
        ),
        ({"call_successful": yes(False)}, lambda c: c.get("call_analysis", {}).get("call_successful") is False),
        ({"in_voicemail": yes(True)}, lambda c: c.get("call_analysis", {}).get("in_voicemail") is True),
        (
            {"custom_analysis_data": [{"key": "booked", "type": "boolean", "op": "eq", "value": True}]},
            lambda c: c.get("call_analysis", {}).get("custom_analysis_data", {}).get("booked") is True,
        ),
        ({"metadata": [{"key": "x", "type": "present", "op": "pr"}]}, lambda c: False),
        (
            {"to_number": text("eq", N1), "call_successful": yes(True), "direction": enum("inbound")},
            lambda c: c["to_number"] == N1 and c.get("call_analysis", {}).get("call_successful") is True,
        ),
        ({"agent_id": ["nobody"]}, lambda c: True),
        ({"unheard_of": 5}, lambda c: True),
    ],
)
def test_filters(busy: Sandbox, still: Any, criteria: dict[str, Any], keep: Callable[[Any], bool]) -> None:
    answer = still("POST", CALLS, {"filter_criteria": criteria, "limit": 1000, "sort_order": "ascending"})
    assert answer.status == 200
    every = busy.calls()
    wanted = [call["call_id"] for call in every if keep(call)][:1000]
    assert [call["call_id"] for call in answer.body["items"]] == wanted
    trivial = criteria.keys() & {"agent_id", "unheard_of", "call_type", "metadata", "agent"}
    assert trivial or criteria == {"from_number": text("eq", N1)} or 0 < len(wanted) < len(every)


def test_calls_are_found_by_what_their_tool_did(stopped: Sandbox, still: Any) -> None:
    stopped.add_agent("agent_frontdesk", [{"version": 6, "tool_failed": 0.3}])
    stopped.clock(advance=1800)
    ended = [call["call_id"] for call in stopped.calls() if "end_timestamp" in call]
    results = {id_: still("GET", f"/v2/get-call/{id_}").body["transcript_with_tool_calls"][-1] for id_ in ended}
    failed = [id_ for id_, result in results.items() if not result["successful"]]
    assert 0 < len(failed) < len(ended)

    def found(*tools: dict[str, Any]) -> list[str]:
        body = {"filter_criteria": {"tool_calls": list(tools)}, "limit": 1000, "sort_order": "ascending"}
        return [call["call_id"] for call in still("POST", CALLS, body).body["items"]]

    assert found({"name": "look_up"}) == ended
    assert found({"name": "look_up", "success": yes(False)}) == failed
    assert found({"name": "look_up"}, {"name": "look_up", "success": yes(False)}) == failed
    assert found({"name": "book"}) == found({"name": "look_up", "latency_ms": number("ge", 0)}) == []
    assert len(found()) >= len(ended)


@pytest.mark.parametrize(
    "body",
    [
        {"filter_criteria": []},
        {"filter_criteria": {"call_status": ["ended"]}},
        {"filter_criteria": {"call_status": enum("registered")}},
        {"filter_criteria": {"direction": {"type": "string", "op": "eq", "value": "inbound"}}},
        {"filter_criteria": {"to_number": N1}},
        {"filter_criteria": {"to_number": text("like", N1)}},
        {"filter_criteria": {"start_timestamp": {"type": "range", "op": "bt", "value": [1]}}},
        {"filter_criteria": {"start_timestamp": number("ge", True)}},
        {"filter_criteria": {"call_successful": yes("true")}},
        {"filter_criteria": {"agent": {"agent_id": "a"}}},
        {"filter_criteria": {"agent": [{"agent_id": "a", "version": ["6"]}]}},
        {"filter_criteria": {"metadata": [{"type": "present"}]}},
        {"filter_criteria": {"tool_calls": [{"success": yes(True)}]}},
        {"filter_criteria": {"tool_calls": [{"name": "look_up", "success": True}]}},
        {"limit": 0},
        {"limit": 1001},
        {"limit": "50"},
        {"skip": -1},
        {"skip": 0, "pagination_key": "1.x"},
        {"pagination_key": "x"},
        {"sort_order": "up"},
    ],
)
def test_wrong_requests_are_refused(client: Any, fits: Callable[..., None], body: dict[str, Any]) -> None:
    answer = client("POST", CALLS, body)
    assert answer.status == 400
    fits(CALLS, "post", 400, answer.body)


@pytest.mark.parametrize("order", ["ascending", "descending"])
def test_pages_hold_each_call_once_although_new_ones_come(busy: Sandbox, still: Any, order: str) -> None:
    known = [call["call_id"] for call in busy.calls()]
    seen: list[str] = []
    body: dict[str, Any] = {"limit": 500, "sort_order": order}
    while True:
        page = still("POST", CALLS, body).body
        seen += [call["call_id"] for call in page["items"]]
        if not page["has_more"]:
            break
        body["pagination_key"] = page["pagination_key"]
        if order == "descending":
            busy.clock(advance=60)
    assert seen == (known if order == "ascending" else known[::-1])


def test_skip_total_and_defaults(busy: Sandbox, still: Any) -> None:
    newest = [call["call_id"] for call in busy.calls()][::-1]
    first = still("POST", CALLS).body
    assert [call["call_id"] for call in first["items"]] == newest[:50]
    assert first["has_more"]
    assert "total" not in first
    more = still("POST", CALLS, {"skip": 50, "include_total": True, "limit": 3}).body
    assert [call["call_id"] for call in more["items"]] == newest[50:53]
    assert more["total"] == len(newest)


def test_answers_fit_the_specification(busy: Sandbox, still: Any, fits: Callable[..., None]) -> None:
    calls = still("POST", CALLS, {"limit": 200}).body
    fits(CALLS, "post", 200, calls)
    assert {call["call_status"] for call in calls["items"]} == {"ongoing", "ended", "error"}
    assert not any("transcript" in call for call in calls["items"])
    fits("/v3/list-chats", "post", 200, still("POST", "/v3/list-chats", {"limit": 200}).body)
    one = still("GET", f"/v2/get-call/{busy.calls()[0]['call_id']}")
    assert one.body["transcript"]
    fits("/v2/get-call/{call_id}", "get", 200, one.body)
    assert still("GET", "/v2/get-call/call_nobody").status == 422


def test_the_check_against_the_specification_sees_a_wrong_answer(fits: Callable[..., None]) -> None:
    call = {"call_id": "x", "agent_id": "a", "agent_version": "six", "call_status": "ended", "call_type": "phone_call"}
    with pytest.raises(AssertionError):
        fits(CALLS, "post", 200, {"items": [call], "has_more": False})


def test_chats_are_found_by_number_and_direction_though_they_show_neither(busy: Sandbox, still: Any) -> None:
    def found(**criteria: Any) -> list[Any]:
        items: list[Any] = still("POST", "/v3/list-chats", {"filter_criteria": criteria, "limit": 1000}).body["items"]
        return items

    every = busy.calls(chats=True)
    assert len(found(agent_number=text("eq", N1))) == len(every) > 80
    assert found(agent_number=text("eq", N3)) == []
    assert len(found(direction=enum("inbound"))) == len(every)
    assert found(direction=enum("outbound")) == []
    own = found(agent=[{"agent_id": "agent_frontdesk", "version": [8]}])
    assert own
    assert {chat["version"] for chat in own} == {8}
    good = found(chat_successful=yes(True))
    assert {chat["chat_analysis"]["chat_successful"] for chat in good} == {True}
    assert {chat["chat_status"] for chat in found(chat_status=enum("ongoing"))} == {"ongoing"}
    assert still("POST", "/v3/list-chats", {"filter_criteria": {"chat_status": enum("open")}}).status == 400
