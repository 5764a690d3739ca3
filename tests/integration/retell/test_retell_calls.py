"""Calls and chats: which are asked for, which are taken, and what is taken of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollout.adapters.retell.calls import details, milliseconds, query, record
from rollout.adapters.retell.wire import AnswerError
from rollout.domain.calls import CallDetails, CallRecord
from rollout.domain.incoming.call_documents import moment

ONE, OTHER = "+14157774444", "+12025550100"
AGENTS = [("agent_a", 6), ("agent_b", 1), ("agent_a", 7)]
START = datetime(2026, 11, 20, 9, 0, 0, 1999, UTC)
MS = 1_795_165_200_001  # START, rounded down


def call(**fields: Any) -> dict[str, Any]:
    shown = {"call_id": "c", "agent_id": "agent_a", "agent_version": 7, "direction": "inbound"}
    return {**shown, "from_number": OTHER, "to_number": ONE, "start_timestamp": MS + 1, **fields}


def chat(**fields: Any) -> dict[str, Any]:
    return {"chat_id": "c", "agent_id": "agent_a", "version": 7, "start_timestamp": MS + 1, **fields}


def one_of(value: str) -> dict[str, Any]:
    return {"type": "enum", "op": "in", "value": [value]}


@pytest.mark.parametrize(
    ("channel", "own"),
    [
        ("inbound", {"call_type": one_of("phone_call"), "to_number": ONE}),
        ("outbound", {"call_type": one_of("phone_call"), "from_number": ONE}),
        ("inbound_sms", {"chat_type": one_of("sms_chat"), "agent_number": ONE}),
        ("outbound_sms", {"chat_type": one_of("sms_chat"), "agent_number": ONE}),
    ],
)
def test_what_is_asked_for_is_one_channel_of_one_number(channel: str, own: dict[str, Any]) -> None:
    equal = {"type": "string", "op": "eq", "value": ONE}
    body = query(ONE, channel, AGENTS, START, 250, None)
    assert body == {
        "filter_criteria": {
            "agent": [{"agent_id": "agent_a", "version": [6, 7]}, {"agent_id": "agent_b", "version": [1]}],
            "direction": one_of(channel.removesuffix("_sms")),
            "start_timestamp": {"type": "number", "op": "ge", "value": MS},
            **{name: equal if value == ONE else value for name, value in own.items()},
        },
        "sort_order": "ascending",
        "limit": 250,
    }
    assert query(ONE, channel, AGENTS, START, 250, "k") == {**body, "pagination_key": "k"}


@pytest.mark.parametrize(
    ("channel", "document"),
    [
        ("inbound", call()),
        ("outbound", call(direction="outbound", from_number=ONE, to_number=OTHER)),
        ("inbound_sms", chat()),
        ("inbound_sms", chat(direction="inbound")),
        ("outbound_sms", chat()),
    ],
)
def test_what_was_asked_for_is_taken(channel: str, document: dict[str, Any]) -> None:
    found = record(document, ONE, channel, AGENTS, START)
    assert found == CallRecord("c", "agent_a", 7, ONE, channel, START + timedelta(microseconds=1), None, "unknown")
    assert found.custom == {} and found.figures == {} and not found.analyzed


@pytest.mark.parametrize(
    ("channel", "document"),
    [
        ("inbound", []),
        ("inbound", call(agent_version=8)),
        ("inbound", call(agent_version=7.0)),
        ("inbound", call(agent_version=None, version=7)),
        ("inbound", call(agent_id="agent_b")),
        ("inbound", call(to_number=OTHER)),
        ("inbound", call(direction="outbound")),
        ("inbound", call(direction=None)),
        ("outbound", call(direction="outbound")),
        ("inbound", call(call_id="")),
        ("inbound", call(call_id=5)),
        ("inbound", call(start_timestamp=None)),
        ("inbound", call(start_timestamp=MS)),
        ("inbound_sms", chat(direction="outbound")),
        ("inbound_sms", chat(chat_id=None, call_id="c")),
        ("outbound_sms", chat(version=None, agent_version=7)),
    ],
)
def test_what_was_not_asked_for_is_left_out(channel: str, document: Any) -> None:
    assert record(document, ONE, channel, AGENTS, START) is None


def test_a_call_that_began_with_the_window_is_in_it() -> None:
    at = datetime(2026, 11, 20, 9, tzinfo=UTC)
    found = record(call(start_timestamp=milliseconds(at)), ONE, "inbound", AGENTS, at)
    assert found is not None and found.started_at == at


@pytest.mark.parametrize(
    ("channel", "document"),
    [
        (
            "inbound",
            call(
                call_status="ended",
                call_analysis={"call_successful": True, "chat_successful": False, "in_voicemail": False},
                chat_status="no",
                chat_analysis={},
            ),
        ),
        (
            "inbound_sms",
            chat(
                chat_status="ended",
                chat_analysis={"chat_successful": True, "call_successful": False, "in_voicemail": False},
                call_status="no",
                call_analysis={},
            ),
        ),
    ],
)
def test_the_analysis_of_a_call_is_its_own_and_that_of_a_chat_too(channel: str, document: dict[str, Any]) -> None:
    found = record({**document, "end_timestamp": MS + 1000}, ONE, channel, AGENTS, START)
    assert found is not None and found.ended_at == START + timedelta(microseconds=999_001)
    assert (found.status, found.successful, found.in_voicemail, found.analyzed) == ("ended", True, False, True)


@pytest.mark.parametrize("analysis", [None, [1], {}, "done"])
def test_a_call_without_an_analysis_is_not_analyzed(analysis: object) -> None:
    found = record(call(call_analysis=analysis), ONE, "inbound", AGENTS, START)
    assert found is not None and (found.analyzed, found.successful) == (False, None)


@pytest.mark.parametrize(
    ("value", "at"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (1.5, datetime(1970, 1, 1, 0, 0, 0, 1500, UTC)),
        (32_503_680_000_000, datetime(3000, 1, 1, tzinfo=UTC)),
        (32_503_680_000_001, None),
        (-1, None),
        (True, None),
        ("0", None),
        (float("nan"), None),
    ],
)
def test_a_moment_is_milliseconds_since_1970(value: object, at: datetime | None) -> None:
    assert moment(value) == at


def test_details_are_those_of_the_call_that_was_asked_for() -> None:
    assert details({"call_id": "c"}, "c") == CallDetails()
    for other in ({"call_id": "d"}, {}, ["c"], None):
        with pytest.raises(AnswerError, match="about a call_id that was not asked for"):
            details(other, "c")
