"""Retell's own SDK, strict about every answer, as the proof that real clients can read the sandbox."""

from collections.abc import Iterator
from typing import Any

import pytest

from rollout.sandbox import Sandbox

retell = pytest.importorskip("retell", reason="retell-sdk is a development dependency")

NUMBER = "+14157774444"


@pytest.fixture
def sdk(stopped: Sandbox) -> Iterator[Any]:
    with retell.Retell(api_key="key", base_url=stopped.url, max_retries=0, _strict_response_validation=True) as made:
        yield made


def test_numbers(sdk: Any, stopped: Sandbox) -> None:
    number = sdk.phone_number.retrieve(NUMBER)
    assert number.inbound_agents[0].agent_version == 6
    split = [
        {"agent_id": "agent_frontdesk", "agent_version": 7, "weight": 0.1},
        {"agent_id": "agent_frontdesk", "agent_version": 6, "weight": 0.9},
    ]
    changed = sdk.phone_number.update(NUMBER, inbound_agents=split, nickname="By the SDK")
    assert [entry.weight for entry in changed.inbound_agents] == [0.1, 0.9]
    assert changed.last_modification_timestamp > number.last_modification_timestamp
    assert stopped.number(NUMBER).inbound_agents == split
    page = sdk.phone_number.list(limit=2)
    assert (len(page.items), page.has_more) == (2, True)
    rest = sdk.phone_number.list(limit=2, pagination_key=page.pagination_key)
    assert [item.phone_number for item in rest.items] == [NUMBER]
    assert not rest.has_more


def test_agents(sdk: Any) -> None:
    assert sdk.agent.retrieve("agent_frontdesk").version == 9
    assert sdk.agent.retrieve("agent_frontdesk", version="prod").assigned_tags == ["prod"]
    item = sdk.agent.list().items[0]
    assert (item.agent_id, item.is_suspended, item.tags["staging"].version) == ("agent_frontdesk", False, 9)
    versions = sdk.agent.list_versions("agent_frontdesk").items
    assert [version.version for version in versions] == [9, 8, 7, 6]
    assert sdk.agent.create_version("agent_frontdesk", base_version=7).version == 10
    sdk.agent.publish("agent_frontdesk", version=10)
    assert sdk.agent.retrieve("agent_frontdesk", version=10).is_published
    sdk.agent.delete_version("agent_frontdesk", version=10)
    with pytest.raises(retell.UnprocessableEntityError):
        sdk.agent.retrieve("agent_frontdesk", version=10)
    assert sdk.identity.retrieve().org_id == "org_sandbox"


def test_calls_and_chats(sdk: Any, stopped: Sandbox) -> None:
    split = [{"agent_id": "agent_frontdesk", "agent_version": version, "weight": 0.5} for version in (6, 8)]
    stopped.edit(NUMBER, inbound_agents=split, inbound_sms_agents=split)
    stopped.edit(NUMBER, calls_per_hour={"inbound": 600, "inbound_sms": 60})
    stopped.clock(advance=3600)
    page = sdk.call.list(
        filter_criteria={
            "agent": [{"agent_id": "agent_frontdesk", "version": [8]}],
            "to_number": {"type": "string", "op": "eq", "value": NUMBER},
            "start_timestamp": {"type": "number", "op": "ge", "value": 1_800_000_000_000},
        },
        limit=1000,
    )
    assert 200 < len(page.items) < 400
    assert {call.agent_version for call in page.items} == {8}
    statuses = {call.call_status for call in page.items}
    assert {"ended", "error"} <= statuses
    one = sdk.call.retrieve(page.items[-1].call_id)
    assert one.latency.e2e.p50 > 0
    chats = sdk.chat.list(limit=100).items
    assert chats
    assert {chat.version for chat in chats} == {6, 8}


def test_errors_become_the_exceptions_a_client_expects(sdk: Any, stopped: Sandbox) -> None:
    with pytest.raises(retell.UnprocessableEntityError, match="Cannot find requested asset"):
        sdk.phone_number.retrieve("+19999999999")
    with pytest.raises(retell.BadRequestError, match="add up to 1"):
        sdk.phone_number.update(NUMBER, inbound_agents=[{"agent_id": "agent_frontdesk", "weight": 0.5}])
    for status, kind in ((401, "AuthenticationError"), (429, "RateLimitError"), (500, "InternalServerError")):
        stopped.fault("status", status=status)
        with pytest.raises(getattr(retell, kind)):
            sdk.phone_number.retrieve(NUMBER)
    stopped.fault("drop_after", method="PATCH")
    with pytest.raises(retell.APIConnectionError):
        sdk.phone_number.update(NUMBER, nickname="lost answer")
    assert sdk.phone_number.retrieve(NUMBER).nickname == "lost answer"
