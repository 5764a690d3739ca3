"""Calls and chats: the filters we ask with, and the records we take.

A server may ignore a filter it does not know and answer with the calls of the whole workspace, so
every record is checked again here: number, direction, agent, version and time. A record that does
not say what must be checked is left out. What is new in Retell's answers is passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from rollout.adapters.retell.wire import AnswerError, optional_text
from rollout.domain.calls import CallDetails, CallRecord
from rollout.domain.incoming import call_documents


def query(
    number: str, channel: str, agents: Sequence[tuple[str, int]], since: datetime, limit: int, key: str | None
) -> dict[str, Any]:
    """The body of POST /v3/list-calls or, for an SMS channel, POST /v3/list-chats."""
    versions: dict[str, list[int]] = {}
    for agent_id, version in agents:
        versions.setdefault(agent_id, []).append(version)
    criteria: dict[str, Any] = {
        "agent": [{"agent_id": agent_id, "version": wanted} for agent_id, wanted in versions.items()],
        "direction": _one_of(direction(channel)),
        "start_timestamp": {"type": "number", "op": "ge", "value": milliseconds(since)},
    }
    equal = {"type": "string", "op": "eq", "value": number}
    if is_sms(channel):
        criteria |= {"chat_type": _one_of("sms_chat"), "agent_number": equal}
    else:
        criteria |= {"call_type": _one_of("phone_call"), _our_end(channel): equal}
    body = {"filter_criteria": criteria, "sort_order": "ascending", "limit": limit}
    return body if key is None else {**body, "pagination_key": key}


def record(
    document: Any, number: str, channel: str, agents: Sequence[tuple[str, int]], since: datetime
) -> CallRecord | None:
    """One item of the list; None if it is not one of those that were asked for."""
    if not isinstance(document, dict):
        return None
    sms = is_sms(channel)
    version = document.get("version" if sms else "agent_version")
    agent_id = document.get("agent_id")
    if type(version) is not int or (agent_id, version) not in agents:
        return None
    if sms:
        # a chat shows neither its numbers nor, as a rule, its direction: there the filter must do
        if document.get("direction", direction(channel)) != direction(channel):
            return None
    elif document.get(_our_end(channel)) != number or document.get("direction") != direction(channel):
        return None
    call_id = optional_text(document, "chat_id" if sms else "call_id")
    started_at = call_documents.moment(document.get("start_timestamp"))
    if not call_id or started_at is None or started_at < since:
        return None
    return _record(document, call_id, str(agent_id), version, number, channel, started_at)


def _record(
    document: dict[str, Any], call_id: str, agent_id: str, version: int, number: str, channel: str, started_at: datetime
) -> CallRecord:
    sms = is_sms(channel)
    analysis = document.get("chat_analysis" if sms else "call_analysis")
    analysis = analysis if isinstance(analysis, dict) else {}
    return CallRecord(
        call_id=call_id,
        agent_id=agent_id,
        agent_version=version,
        number=number,
        channel=channel,
        started_at=started_at,
        ended_at=call_documents.moment(document.get("end_timestamp")),
        status=optional_text(document, "chat_status" if sms else "call_status") or "unknown",
        disconnection_reason=optional_text(document, "disconnection_reason"),
        e2e_p50_ms=call_documents.figure(document, "latency", "e2e", "p50"),
        successful=call_documents.boolean(analysis.get("chat_successful" if sms else "call_successful")),
        sentiment=optional_text(analysis, "user_sentiment"),
        in_voicemail=call_documents.boolean(analysis.get("in_voicemail")),
        custom=call_documents.custom(analysis),
        analyzed=bool(analysis),
        figures=call_documents.figures(document),
    )


def details(document: Any, call_id: str) -> CallDetails:
    """Details that get-call shows of a call and no list does. Raises AnswerError if it is about another call."""
    if not isinstance(document, dict) or document.get("call_id") != call_id:
        raise AnswerError("it is about a call_id that was not asked for")
    return call_documents.details(document) or CallDetails()


def is_sms(channel: str) -> bool:
    """True for a channel of messages."""
    return channel.endswith("_sms")


def direction(channel: str) -> str:
    """inbound or outbound, for calls and messages alike."""
    return channel.removesuffix("_sms")


def milliseconds(at: datetime) -> int:
    """Whole milliseconds since 1970, rounded down, so that no call at the edge is lost."""
    return (at - call_documents.EPOCH) // timedelta(milliseconds=1)


def _our_end(channel: str) -> str:
    return "to_number" if channel == "inbound" else "from_number"


def _one_of(value: str) -> dict[str, Any]:
    return {"type": "enum", "op": "in", "value": [value]}
