"""Reading and writing phone numbers: each documented rule, status and error body."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from rollout.sandbox import Sandbox

N1, N2 = "+14157774444", "+14157774445"
READ, WRITE = f"/get-phone-number/{N1}", f"/update-phone-number/{N1}"
ASSET = "Cannot find requested asset under given api key."


def split(*weights: Any, first: int = 6) -> list[dict[str, Any]]:
    return [
        {"agent_id": "agent_frontdesk", "agent_version": first + index, "weight": weight}
        for index, weight in enumerate(weights)
    ]


def entry(**changes: Any) -> list[dict[str, Any]]:
    made = {"agent_id": "agent_frontdesk", "agent_version": 6, "weight": 1} | changes
    return [{key: value for key, value in made.items() if value is not ...}]


def test_a_write_is_shown_by_the_answer_and_by_every_read(client: Any, fits: Callable[..., None]) -> None:
    before = client("GET", READ).body
    wanted = split(0.9, 0.1)
    answer = client("PATCH", WRITE, {"inbound_agents": wanted})
    assert answer.status == 200
    assert answer.body["inbound_agents"] == wanted
    assert answer.body["nickname"] == before["nickname"]
    assert answer.body["last_modification_timestamp"] > before["last_modification_timestamp"]
    assert client("GET", READ).body == answer.body
    listed = client("GET", "/v2/list-phone-numbers").body
    assert answer.body in listed["items"]
    fits("/get-phone-number/{phone_number}", "get", 200, answer.body)
    fits("/update-phone-number/{phone_number}", "patch", 200, answer.body)
    fits("/v2/list-phone-numbers", "get", 200, listed)


@pytest.mark.parametrize("name", [N1, "%2B14157774444"])
def test_the_plus_sign_may_be_encoded(client: Any, name: str) -> None:
    assert client("GET", f"/get-phone-number/{name}").body["phone_number"] == N1
    assert client("PATCH", f"/update-phone-number/{name}", {"nickname": "x"}).body["phone_number"] == N1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"inbound_agents": split(0)}, "inbound_agents[0].weight"),
        ({"inbound_agents": split(1.2)}, "inbound_agents[0].weight"),
        ({"inbound_agents": split(1.1, -0.1)}, "inbound_agents[0].weight"),
        ({"inbound_agents": split(0.5, 0)}, "inbound_agents[1].weight"),
        ({"inbound_agents": split("1")}, "inbound_agents[0].weight"),
        ({"inbound_agents": split(True)}, "inbound_agents[0].weight"),
        ({"inbound_agents": split(None)}, "inbound_agents[0].weight"),
        ({"inbound_agents": entry(weight=...)}, "inbound_agents[0].weight"),
        ({"outbound_agents": split(0.5, 0.4)}, "outbound_agents: total weights must add up to 1, got 0.9"),
        ({"inbound_sms_agents": split(0.5, 0.500001)}, "inbound_sms_agents: total weights"),
        ({"outbound_sms_agents": split(0.9999)}, "outbound_sms_agents: total weights"),
        ({"inbound_agents": entry(agent_id=...)}, "inbound_agents[0].agent_id"),
        ({"inbound_agents": entry(agent_id="")}, "inbound_agents[0].agent_id"),
        ({"inbound_agents": entry(agent_id=7)}, "inbound_agents[0].agent_id"),
        ({"inbound_agents": entry(agent_version=-1)}, "inbound_agents[0].agent_version"),
        ({"inbound_agents": entry(agent_version=6.5)}, "inbound_agents[0].agent_version"),
        ({"inbound_agents": entry(agent_version="v3")}, "inbound_agents[0].agent_version"),
        ({"inbound_agents": entry(agent_version="3")}, "inbound_agents[0].agent_version"),
        ({"inbound_agents": entry(agent_version="Prod")}, "inbound_agents[0].agent_version"),
        ({"inbound_agents": entry(agent_version="a" * 21)}, "inbound_agents[0].agent_version"),
        ({"inbound_agents": entry(agent_version=None)}, "inbound_agents[0].agent_version"),
        ({"inbound_agents": entry(agent_version=True)}, "inbound_agents[0].agent_version"),
        ({"inbound_agents": {"agent_id": "agent_frontdesk"}}, "inbound_agents must be a list"),
        ({"inbound_agents": ["agent_frontdesk"]}, "inbound_agents[0] must be an object"),
        ({"nickname": 5}, "nickname"),
        ({"allowed_inbound_country_list": "US"}, "allowed_inbound_country_list"),
        ({"allowed_outbound_country_list": [1]}, "allowed_outbound_country_list"),
        ({"termination_uri": None}, "termination_uri"),
        ({"transport": "SCTP"}, "transport"),
        ({"fallback_number": N1}, "fallback_number"),
        ("", "The body is empty"),
        ("[]", "not a JSON object"),
        ("{", "not JSON"),
        (b"\xff", "not JSON"),
        ('{"inbound_agents": [{"agent_id": "agent_frontdesk", "weight": NaN}]}', "NaN"),
        ('{"inbound_agents": [{"agent_id": "agent_frontdesk", "weight": 1e-400}]}', "weight"),
        ('{"inbound_agents": [{"agent_id": "a", "weight": 1, "agent_version": 1e999999}]}', "agent_version"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_wrong_body_is_refused_and_changes_nothing(
    client: Any, fits: Callable[..., None], body: Any, field: str
) -> None:
    before = client("GET", READ).body
    answer = client("PATCH", WRITE, body)
    assert answer.status == 400
    assert answer.body["status"] == "error"
    assert field in answer.body["message"]
    fits("/update-phone-number/{phone_number}", "patch", 400, answer.body)
    assert client("GET", READ).body == before


@pytest.mark.parametrize(
    "weights", [(1,), (1.0,), (0.5, 0.5), (0.1, 0.2, 0.7), (0.3333, 0.3333, 0.3334), (0.33335, 0.66665), (1e-9, 1)]
)
def test_weights_that_add_up_as_decimals_are_taken(client: Any, weights: tuple[float, ...]) -> None:
    answer = client("PATCH", WRITE, {"inbound_agents": split(*weights)})
    assert answer.status == 200
    assert [item["weight"] for item in answer.body["inbound_agents"]] == list(weights)


@pytest.mark.parametrize("reference", [6, 6.0, "prod", "staging", "latest", "latest_published", ...])
def test_references_to_a_version_that_exists(client: Any, reference: Any) -> None:
    answer = client("PATCH", WRITE, {"inbound_agents": entry(agent_version=reference)})
    assert answer.status == 200
    assert answer.body["inbound_agents"] == entry(agent_version=reference)


@pytest.mark.parametrize(
    "changes", [{"agent_version": 12}, {"agent_version": "nightly"}, {"agent_id": "agent_unknown"}]
)
def test_an_agent_or_version_that_does_not_exist_is_unprocessable(client: Any, changes: dict[str, Any]) -> None:
    answer = client("PATCH", WRITE, {"inbound_agents": entry(**changes)})
    assert answer.status == 422
    assert answer.body["message"].startswith(ASSET)


def test_a_version_that_vanishes_is_refused_from_then_on(sandbox: Sandbox, client: Any) -> None:
    body = {"inbound_agents": split(0.9, 0.1)}
    assert client("PATCH", WRITE, body).status == 200
    sandbox.delete_version("agent_frontdesk", 7)
    assert client("PATCH", WRITE, body).status == 422
    assert client("GET", "/get-agent/agent_frontdesk?version=7").status == 422
    assert client("PATCH", WRITE, {"inbound_agents": split(1)}).status == 200


@pytest.mark.parametrize(("method", "path"), [("GET", "get"), ("PATCH", "update")])
def test_an_unknown_number(client: Any, fits: Callable[..., None], method: str, path: str) -> None:
    answer = client(method, f"/{path}-phone-number/+19999999999", {})
    assert (answer.status, answer.body) == (422, {"status": "error", "message": ASSET})
    fits(f"/{path}-phone-number/{{phone_number}}", method.lower(), 422, answer.body)


@pytest.mark.parametrize("value", [None, []])
def test_null_and_the_empty_list_are_legal_and_take_the_number_down(client: Any, value: Any) -> None:
    answer = client("PATCH", WRITE, {"inbound_agents": value})
    assert answer.status == 200
    assert answer.body["inbound_agents"] == value


def test_what_is_left_out_stays_and_what_is_unknown_is_ignored(client: Any) -> None:
    before = client("GET", READ).body
    body = {
        "inbound_agent_id": "agent_other",
        "inbound_agent_version": 3,
        "outbound_agent_id": None,
        "inbound_agents_typo": [],
        "if_match": 5,
    }
    answer = client("PATCH", WRITE, body)
    assert answer.status == 200
    moved = answer.body.pop("last_modification_timestamp") - before.pop("last_modification_timestamp")
    assert moved > 0
    assert answer.body == before


def test_sip_fields_are_shown_in_their_trunk_without_the_password(client: Any) -> None:
    body = {"termination_uri": "x.example", "auth_username": "u", "auth_password": "secret", "transport": "TLS"}
    answer = client("PATCH", WRITE, body)
    assert answer.body["sip_outbound_trunk_config"] == {
        "termination_uri": "x.example",
        "auth_username": "u",
        "transport": "TLS",
    }
    assert "secret" not in json.dumps(answer.body)


def test_a_fallback_may_not_have_one_itself(client: Any) -> None:
    assert client("PATCH", f"/update-phone-number/{N2}", {"fallback_number": "+15550001111"}).status == 200
    assert client("PATCH", WRITE, {"fallback_number": N2}).status == 400


def test_time_stamps_rise_strictly_even_when_the_clock_stands(still: Any) -> None:
    stamps = [
        still("PATCH", WRITE, {"nickname": f"n{index}"}).body["last_modification_timestamp"] for index in range(5)
    ]
    assert stamps == list(range(stamps[0], stamps[0] + 5))
    assert stamps[0] == 1_800_000_000_001


@pytest.mark.parametrize("key", [None, ""])
def test_a_key_is_needed(client: Any, fits: Callable[..., None], key: str | None) -> None:
    answer = client("GET", READ, key=key)
    assert (answer.status, answer.body["message"]) == (401, "API key is missing or invalid.")
    fits("/get-phone-number/{phone_number}", "get", 401, answer.body)


def test_only_the_given_key_is_accepted(client: Any, sandbox: Sandbox) -> None:
    with Sandbox(key="right") as locked:
        locked.add_ready_world()
        client.connection.close()
        client.connection.port = locked.port
        assert client("GET", READ, key="wrong").status == 401
        assert client("PATCH", WRITE, {"nickname": "x"}, key="wrong").status == 401
        assert client("GET", READ, key="right").body["nickname"] == "Frontdesk Main"
        client.close()


def test_a_body_of_another_type_is_refused(client: Any) -> None:
    client.connection.request("PATCH", WRITE, "{}", {"Authorization": "Bearer k", "Content-Type": "text/plain"})
    response = client.connection.getresponse()
    assert response.status == 400
    assert "Content-Type" in response.read().decode()


def test_pages_of_numbers_hold_each_number_once(client: Any, sandbox: Sandbox) -> None:
    for index in range(20):
        sandbox.add_number(f"+1212555{index:04d}")
    seen: list[str] = []
    path = "/v2/list-phone-numbers?limit=7&sort_order=ascending"
    key = ""
    while True:
        page = client("GET", path + key).body
        seen += [item["phone_number"] for item in page["items"]]
        if not page["has_more"]:
            break
        key = f"&pagination_key={page['pagination_key']}"
    assert len(seen) == 23
    assert seen == [number.phone_number for number in sandbox.numbers()]
    newest = client("GET", "/v2/list-phone-numbers?limit=1000").body
    assert [item["phone_number"] for item in newest["items"]] == seen[::-1]
    assert "pagination_key" not in newest


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "sort_order=up", "pagination_key=x"])
def test_wrong_pages_are_refused(client: Any, query: str) -> None:
    assert client("GET", f"/v2/list-phone-numbers?{query}").status == 400


@pytest.mark.parametrize(("method", "path"), [("GET", "/list-phone-numbers"), ("PUT", WRITE), ("GET", "/")])
def test_routes_that_retell_does_not_have(client: Any, method: str, path: str) -> None:
    answer = client(method, path)
    assert (answer.status, answer.body["status"]) == (404, "error")
