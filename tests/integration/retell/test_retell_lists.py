"""Lists in pages, agents, calls and chats."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from rollout.adapters.clock import SystemClock
from rollout.adapters.retell import RetellClient
from rollout.domain.calls import CallDetails, CallRecord
from rollout.domain.writes.answers import Failure, Reading, Trouble
from rollout.engine.ports import AgentVersion
from tests.integration.retell.retell_peer import NUMBER, Behaviour, Peer, Seen, http, says, shown

Serve = Callable[..., Peer]
Make = Callable[..., RetellClient]
NUMBERS = [f"+1415777{i:04}" for i in range(25)]
NOTHING = {"status": "error", "message": "Not Found"}


def routes(**answers: Behaviour | object) -> Behaviour:
    """Behaviours or documents by the last word of the path before its argument, dashes as underscores."""

    def behave(seen: Seen, sock: socket.socket) -> bool | None:
        parts = urlsplit(seen.path).path.strip("/").split("/")
        name = parts[0] if len(parts) == 1 or parts[0] not in ("v2", "v3") else "_".join(parts[:2])
        answer = answers.get(name.replace("-", "_"))
        if callable(answer):
            return answer(seen, sock)
        sock.sendall(http(NOTHING, 404) if answer is None else http(answer))
        return None

    return behave


def paged(items: list[Any], size: int = 10) -> Behaviour:
    """Pages by the key in the query or in the body."""

    def behave(seen: Seen, sock: socket.socket) -> None:
        key = (
            seen.json.get("pagination_key")
            if seen.body and seen.body != b"{}"
            else parse_qs(urlsplit(seen.path).query).get("pagination_key", [None])[0]
        )
        start = int(key.removeprefix("from/&")) if key else 0
        more = start + size < len(items)
        page = {"items": items[start : start + size], "has_more": more}
        sock.sendall(http(page | ({"pagination_key": f"from/&{start + size}"} if more else {})))

    return behave


# ------------------------------------------------------------------ numbers


def test_all_numbers_over_pages(serve: Serve, client: Make) -> None:
    peer = serve(routes(v2_list_phone_numbers=paged([shown(number) for number in NUMBERS])))
    found = list(client(peer).all())
    assert [outcome.number for outcome in found if isinstance(outcome, Reading)] == NUMBERS
    assert [parse_qs(urlsplit(seen.path).query)["limit"] for seen in peer.seen] == [["1000"]] * 3


def test_all_numbers_by_the_older_list(serve: Serve, client: Make) -> None:
    peer = serve(routes(list_phone_numbers=[shown(number) for number in NUMBERS]))
    assert [outcome.number for outcome in client(peer).all() if isinstance(outcome, Reading)] == NUMBERS
    assert [urlsplit(seen.path).path for seen in peer.seen] == ["/v2/list-phone-numbers", "/list-phone-numbers"]


def test_odd_numbers_do_not_hide_the_others(serve: Serve, client: Make) -> None:
    """One number is no E.164, one has no time stamp, one comes twice."""
    odd = {k: v for k, v in shown(NUMBERS[1]).items() if k != "last_modification_timestamp"}
    items = [shown(NUMBERS[0]), odd, shown("sip:desk"), shown(NUMBERS[2]), shown(NUMBERS[0]), 7]
    *good, last = client(serve(routes(v2_list_phone_numbers={"items": items, "has_more": False}))).all()
    assert [outcome.number for outcome in good if isinstance(outcome, Reading)] == [NUMBERS[0], NUMBERS[2]]
    assert isinstance(last, Failure) and "last_modification_timestamp" in last.detail


@pytest.mark.parametrize(
    "page, words",
    [
        ({"items": [], "has_more": True, "pagination_key": "again"}, "never ends"),
        ({"items": [], "has_more": True}, "without a pagination_key"),
        ({"has_more": False}, "no list named items"),
        ("<html>", "not one JSON document"),
    ],
)
def test_a_list_that_makes_no_sense_ends(serve: Serve, client: Make, page: object, words: str) -> None:
    peer = serve(says(http(page)))
    [found] = list(client(peer).all())
    assert isinstance(found, Failure) and words in found.detail and len(peer.seen) <= 2


def test_a_page_that_is_too_large_is_asked_for_in_smaller_ones(serve: Serve, client: Make) -> None:
    def behave(seen: Seen, sock: socket.socket) -> bool:
        size = int(parse_qs(urlsplit(seen.path).query)["limit"][0])
        if size > 100:
            sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 20000000\r\n\r\n")
            for _ in range(20):
                sock.sendall(b" " * 1_000_000)
            return False
        sock.sendall(http({"items": [shown(NUMBER)]}))
        return True

    peer = serve(behave)
    assert [type(outcome) for outcome in client(peer, deadline=2.0).all()] == [Reading]
    assert [parse_qs(urlsplit(seen.path).query)["limit"][0] for seen in peer.seen] == ["1000", "250", "62"]


# ------------------------------------------------------------------ agents


def agent(version: int = 7, **fields: Any) -> dict[str, Any]:
    return {"agent_id": "agent_abc", "version": version, "is_published": True, "agent_name": "Front"} | fields


def test_a_version_and_whether_its_agent_is_suspended(serve: Serve, client: Make) -> None:
    listed = [{"agent_id": f"agent_{i}", "is_suspended": i % 2 == 0} for i in range(12)]
    listed += [{"agent_id": "agent_abc", "is_suspended": True}]
    peer = serve(routes(get_agent=agent(), v2_list_agents=paged(listed)))
    made = client(peer)
    for _ in range(3):
        found = made.version("agent_abc", 7)
        assert found == AgentVersion("agent_abc", 7, True, True, "Front")
    paths = [seen.path for seen in peer.seen]
    assert paths.count("/get-agent/agent_abc?version=7") == 3
    # the list is asked once (in two pages), not for each version
    assert sum(path.startswith("/v2/list-agents") for path in paths) == 2


def test_without_the_list_nobody_is_suspended(serve: Serve, client: Make) -> None:
    peer = serve(routes(get_agent=agent(is_published=None)))
    made = client(peer)
    assert made.version("agent_abc", 7) == AgentVersion("agent_abc", 7, False, False, "Front")
    assert made.version("agent_abc", None) == AgentVersion("agent_abc", 7, False, False, "Front")
    assert [seen.path for seen in peer.seen] == [
        "/get-agent/agent_abc?version=7",
        "/v2/list-agents?limit=1000",
        "/get-agent/agent_abc",
    ]


@pytest.mark.parametrize("status", [404, 422])
def test_a_chat_agent_is_found_where_chat_agents_are(serve: Serve, client: Make, status: int) -> None:
    unknown = says(http({"message": "not found"}, status))
    peer = serve(routes(get_agent=unknown, get_chat_agent=agent(3), v2_list_agents={"items": []}))
    assert client(peer).version("agent_abc", 3) == AgentVersion("agent_abc", 3, True, False, "Front")


@pytest.mark.parametrize("status", [404, 422])
def test_a_version_that_is_gone(serve: Serve, client: Make, status: int) -> None:
    found = client(serve(says(http({"message": "Item agent_abc not found"}, status)))).version("agent_abc", 9)
    assert isinstance(found, Failure) and (found.trouble, found.status) == (Trouble.REJECTED, status)
    assert "get-agent: Item agent_abc not found" in found.detail


@pytest.mark.parametrize("document", [agent(8), agent(agent_id="another"), {"agent_id": "agent_abc"}, agent("7"), []])
def test_an_answer_about_something_else(serve: Serve, client: Make, document: object) -> None:
    found = client(serve(routes(get_agent=document))).version("agent_abc", 7)
    assert isinstance(found, Failure) and (found.trouble, found.status) == (Trouble.UNREACHABLE, 200)


@pytest.mark.parametrize("agent_id", ["", ".", "..", "a\nb", "x" * 201])
def test_an_id_that_is_none_asks_nothing(serve: Serve, client: Make, agent_id: str) -> None:
    peer = serve(says(http(agent())))
    found = client(peer).version(agent_id, 1)
    assert isinstance(found, Failure) and found.trouble is Trouble.REJECTED and peer.seen == []


def test_an_id_stays_one_segment(serve: Serve, client: Make) -> None:
    peer = serve(routes(get_agent=agent(agent_id="a/../b?c#d")))
    found = client(peer).version("a/../b?c#d", "prod")
    assert isinstance(found, AgentVersion)
    assert peer.seen[0].path == "/get-agent/a%2F..%2Fb%3Fc%23d?version=prod"


# ------------------------------------------------------------------ calls and chats

START = datetime(2026, 11, 20, 9, tzinfo=UTC)
AGENTS = [("agent_abc", 6), ("agent_abc", 7), ("agent_xyz", 1)]


def ms(seconds: float) -> int:
    return int((START + timedelta(seconds=seconds)).timestamp() * 1000)


def call(index: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "call_id": f"call_{index}",
        "call_type": "phone_call",
        "direction": "inbound",
        "from_number": "+12025550100",
        "to_number": NUMBER,
        "agent_id": "agent_abc",
        "agent_version": 7,
        "call_status": "ended",
        "start_timestamp": ms(index),
        "end_timestamp": ms(index + 60),
    } | fields


def test_a_call_with_everything(serve: Serve, client: Make) -> None:
    full = call(
        disconnection_reason="user_hangup",
        latency={"e2e": {"p50": 812.5, "p90": 1500, "values": [1, 2]}, "llm": {"p50": 400, "p90": "slow"}},
        call_cost={"combined_cost": 12.5, "product_costs": []},
        call_analysis={
            "call_successful": False,
            "user_sentiment": "Thrilled",
            "in_voicemail": True,
            "custom_analysis_data": {"booked": True, "name": "Ann", "count": 1},
        },
        tomorrow={"x": 1},
    )
    peer = serve(routes(v3_list_calls={"items": [full]}))
    assert list(client(peer).since(NUMBER, "inbound", AGENTS, START)) == [
        CallRecord(
            call_id="call_0",
            agent_id="agent_abc",
            agent_version=7,
            number=NUMBER,
            channel="inbound",
            started_at=START,
            ended_at=START + timedelta(seconds=60),
            status="ended",
            disconnection_reason="user_hangup",
            e2e_p50_ms=812.5,
            successful=False,
            sentiment="Thrilled",
            in_voicemail=True,
            custom={"booked": True, "name": "Ann", "count": 1.0},
            analyzed=True,
            figures={"cost": 12.5, "e2e_p90": 1500.0, "llm_p50": 400.0},
        )
    ]
    assert peer.seen[0].json == {
        "filter_criteria": {
            "agent": [{"agent_id": "agent_abc", "version": [6, 7]}, {"agent_id": "agent_xyz", "version": [1]}],
            "call_type": {"type": "enum", "op": "in", "value": ["phone_call"]},
            "direction": {"type": "enum", "op": "in", "value": ["inbound"]},
            "to_number": {"type": "string", "op": "eq", "value": NUMBER},
            "start_timestamp": {"type": "number", "op": "ge", "value": ms(0)},
        },
        "sort_order": "ascending",
        "limit": 1000,
    }


def test_pages_of_calls(serve: Serve, client: Make) -> None:
    peer = serve(routes(v3_list_calls=paged([call(i) for i in range(25)])))
    found = list(client(peer).since(NUMBER, "inbound", AGENTS, START))
    assert [record.call_id for record in found if isinstance(record, CallRecord)] == [f"call_{i}" for i in range(25)]
    assert [seen.json.get("pagination_key") for seen in peer.seen] == [None, "from/&10", "from/&20"]


FOREIGN = [
    call(agent_version=5),
    call(agent_id="agent_xyz"),
    call(agent_version=True),
    call(agent_version="7"),
    call(to_number="+14150000000"),
    call(direction="outbound"),
    call(call_type="web_call", direction=None, to_number=None),
    call(start_timestamp=ms(-0.001)),
    call(start_timestamp=None),
    call(start_timestamp=10**30),
    call(call_id=None),
    "call",
    None,
]


def test_a_server_that_ignores_the_filters_poisons_nothing(serve: Serve, client: Make) -> None:
    peer = serve(routes(v3_list_calls={"items": [*FOREIGN, call(1)]}))
    [found] = list(client(peer).since(NUMBER, "inbound", AGENTS, START))
    assert isinstance(found, CallRecord) and found.call_id == "call_1"


def test_what_is_new_or_odd_in_a_call_breaks_nothing(serve: Serve, client: Make) -> None:
    odd = call(
        call_status="dreaming",
        end_timestamp="later",
        disconnection_reason=["x"],
        latency={"e2e": {"p50": "fast", "p90": 1e300}, "llm": 7},
        call_cost={"combined_cost": -1},
        call_analysis={"call_successful": "yes", "user_sentiment": 3, "custom_analysis_data": [1]},
    )
    [found] = client(serve(routes(v3_list_calls={"items": [odd]}))).since(NUMBER, "inbound", AGENTS, START)
    assert isinstance(found, CallRecord)
    assert (found.status, found.ended_at, found.disconnection_reason) == ("dreaming", None, None)
    assert (found.e2e_p50_ms, found.successful, found.sentiment, dict(found.custom)) == (None, None, None, {})
    assert found.figures == {} and found.details is None
    [bare] = client(serve(routes(v3_list_calls={"items": [call(call_analysis=None)]}))).since(
        NUMBER, "inbound", AGENTS, START
    )
    assert isinstance(bare, CallRecord) and bare.analyzed is False


def test_a_server_that_ignores_the_order_is_put_in_order(serve: Serve, client: Make) -> None:
    peer = serve(routes(v3_list_calls=paged([call(i) for i in range(25)][::-1])))
    found = list(client(peer).since(NUMBER, "inbound", AGENTS, START))
    assert [record.call_id for record in found if isinstance(record, CallRecord)] == [f"call_{i}" for i in range(25)]


def test_outbound_calls_are_ours_by_the_other_end(serve: Serve, client: Make) -> None:
    mine = call(direction="outbound", from_number=NUMBER, to_number="+12025550100")
    peer = serve(routes(v3_list_calls={"items": [mine, call(1, direction="outbound")]}))
    [found] = client(peer).since(NUMBER, "outbound", AGENTS, START)
    assert isinstance(found, CallRecord) and found.call_id == "call_0"
    criteria = peer.seen[0].json["filter_criteria"]
    assert "to_number" not in criteria and criteria["from_number"]["value"] == NUMBER


def test_chats(serve: Serve, client: Make) -> None:
    chat = {
        "chat_id": "chat_1",
        "agent_id": "agent_abc",
        "version": 7,
        "chat_status": "ended",
        "start_timestamp": ms(5),
        "chat_analysis": {"chat_successful": True, "user_sentiment": "Positive"},
    }
    others = [chat | {"version": None}, chat | {"version": 4}, chat | {"direction": "outbound"}]
    peer = serve(routes(v3_list_chats={"items": [*others, chat]}))
    [found] = client(peer).since(NUMBER, "inbound_sms", AGENTS, START)
    assert isinstance(found, CallRecord)
    assert (found.call_id, found.agent_version, found.number, found.channel) == ("chat_1", 7, NUMBER, "inbound_sms")
    assert (found.successful, found.sentiment, found.analyzed) == (True, "Positive", True)
    criteria = peer.seen[0].json["filter_criteria"]
    assert criteria["chat_type"] == {"type": "enum", "op": "in", "value": ["sms_chat"]}
    assert criteria["agent_number"] == {"type": "string", "op": "eq", "value": NUMBER}
    assert criteria["direction"]["value"] == ["inbound"]


def test_a_failure_ends_the_calls(serve: Serve, client: Make) -> None:
    def behave(seen: Seen, sock: socket.socket) -> bool | None:
        if seen.json.get("pagination_key"):
            sock.sendall(http({"message": "no"}, 400))
            return None
        return paged([call(i) for i in range(25)])(seen, sock)

    *records, last = client(serve(behave)).since(NUMBER, "inbound", AGENTS, START)
    assert len(records) == 10 and isinstance(last, Failure) and last.trouble is Trouble.REJECTED


def test_without_agents_nothing_is_asked(serve: Serve, client: Make) -> None:
    peer = serve(routes())
    assert list(client(peer).since(NUMBER, "inbound", [], SystemClock().now())) == []
    assert peer.seen == []


def test_the_details_of_a_call_come_from_the_call_itself(serve: Serve, client: Make) -> None:
    said = [
        {"role": "tool_call_invocation", "tool_call_id": "t", "name": "book", "arguments": "{}"},
        {"role": "tool_call_result", "tool_call_id": "t", "content": "-", "successful": False},
    ]
    peer = serve(routes(v2_get_call=call(transcript_with_tool_calls=said)))
    assert client(peer).details("call_0") == CallDetails(False, {"book": True})


def test_a_call_that_retell_no_longer_shows_has_nothing_to_tell_and_is_not_asked_for_again(
    serve: Serve, client: Make
) -> None:
    assert client(serve(routes())).details("call_0") == CallDetails()
    assert client(serve(routes(v2_get_call=call()))).details("call_0") == CallDetails()
    assert isinstance(client(serve(routes(v2_get_call=call(7)))).details("call_0"), Failure)
