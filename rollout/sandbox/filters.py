"""Filters and pages of the lists of calls and chats.

Shapes: Retell's CallFilter (OpenAPI 2026-08). Unknown kinds of filter, such as the older
`{"agent_id": ["..."]}`, are ignored without a word, as its schema allows.
"""

import operator
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from rollout.sandbox.conversations import PEOPLE, TOOL, Conversation
from rollout.sandbox.messages import BAD_REQUEST, ApiError

Test = Callable[[Conversation, float], bool]
Getter = Callable[[Conversation, float], Any]

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_TEXT: dict[str, Callable[[str, str], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "sw": str.startswith,
    "ew": str.endswith,
    "co": operator.contains,
}
_KINDS: dict[str, tuple[str, ...]] = {"text": ("string", "enum"), "number": ("number", "range")}
_CLOSED = {
    "call_status": {"not_connected", "ongoing", "ended", "error"},
    "chat_status": {"ongoing", "ended", "error"},
    "direction": {"inbound", "outbound"},
    "call_type": {"web_call", "phone_call"},
    "chat_type": {"api_chat", "sms_chat"},
    "user_sentiment": {"Negative", "Positive", "Neutral", "Unknown"},
}


def _ended(getter: Callable[[Conversation], Any]) -> Getter:
    return lambda call, now: getter(call) if now >= call.end else None


def _judged(getter: Callable[[Conversation], Any]) -> Getter:
    return lambda call, now: getter(call) if now >= call.analysed else None


_COMMON: dict[str, tuple[str, Getter]] = {
    "agent_tag": ("enum", lambda call, _now: call.tag),
    "direction": ("enum", lambda call, _now: call.direction),
    "disconnection_reason": ("enum", _ended(lambda call: call.reason)),
    "user_sentiment": ("enum", _judged(lambda call: call.sentiment)),
    "start_timestamp": ("number", lambda call, _now: call.start_ms),
    "end_timestamp": ("number", _ended(lambda call: int(call.end * 1000))),
    "duration_ms": ("number", _ended(Conversation.duration_ms)),
    "combined_cost": ("number", _ended(Conversation.cost)),
    "data_storage_setting": ("enum", lambda _call, _now: "everything"),
}
CALL_FILTERS: dict[str, tuple[str, Getter]] = _COMMON | {
    "call_id": ("text", lambda call, _now: call.id),
    "batch_call_id": ("text", lambda _call, _now: None),
    "call_status": ("enum", lambda call, now: call.status(now)),
    "call_type": ("enum", lambda _call, _now: "phone_call"),
    "from_number": ("string", lambda call, _now: call.from_number),
    "to_number": ("string", lambda call, _now: call.to_number),
    "e2e_latency_p50": ("number", _ended(lambda call: call.latency_ms)),
    "call_successful": ("boolean", _judged(lambda call: call.successful)),
    "in_voicemail": ("boolean", _judged(lambda call: call.voicemail)),
}
CHAT_FILTERS: dict[str, tuple[str, Getter]] = _COMMON | {
    "chat_id": ("text", lambda call, _now: call.id),
    "chat_status": ("enum", lambda call, now: call.status(now)),
    "chat_type": ("enum", lambda _call, _now: "sms_chat"),
    "agent_number": ("string", lambda call, _now: call.number),
    "user_number": ("string", lambda call, _now: call.other),
    "chat_successful": ("boolean", _judged(lambda call: call.successful)),
}
_KEYED = ("custom_analysis_data", "custom_attributes", "metadata", "dynamic_variables")


def compile_filter(criteria: Any, *, chats: bool) -> list[Test]:
    """Tests that a conversation must pass, all of them. Raises ApiError 400 for a filter of a wrong shape."""
    if not isinstance(criteria, dict):
        raise ApiError(400, f"{BAD_REQUEST} filter_criteria must be an object.")
    tests: list[Test] = []
    for name, value in criteria.items():
        known = (CHAT_FILTERS if chats else CALL_FILTERS).get(name)
        if known is not None:
            tests.append(_test(name, known[0], known[1], value))
        elif name == "agent":
            tests.append(_agent_test(value))
        elif name in _KEYED:
            tests.extend(_keyed_test(name, item) for item in _expect_list(name, value))
        elif name == "tool_calls":
            tests.extend(map(_tool_test, _expect_list(name, value)))
    return tests


def only_number(criteria: Any) -> str | None:
    """Our number that every match belongs to, to skip all others; None when several may match."""
    for name in ("to_number", "from_number", "agent_number"):
        found = criteria.get(name) if isinstance(criteria, dict) else None
        if isinstance(found, dict) and found.get("op") == "eq" and isinstance(found.get("value"), str):
            value: str = found["value"]
            if not value.startswith(PEOPLE):
                return value
    return None


def lower_bound(criteria: Any) -> float:
    """The least start_timestamp (ms) that can pass, to skip what is older; 0 when there is none."""
    found = criteria.get("start_timestamp") if isinstance(criteria, dict) else None
    if isinstance(found, dict):
        value = found.get("value")
        if found.get("op") in ("ge", "gt", "eq") and isinstance(value, int | Decimal):
            return float(value)
        if found.get("op") == "bt" and isinstance(value, list) and value and isinstance(value[0], int | Decimal):
            return float(value[0])
    return 0.0


def _refuse(name: str, what: str) -> ApiError:
    return ApiError(400, f"{BAD_REQUEST} filter_criteria.{name} must be {what}.")


def _expect_list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _refuse(name, "a list")
    return value


def _agent_test(value: Any) -> Test:
    """`[{"agent_id": .., "version": [..]}]`: entries are alternatives, no versions means all."""
    wanted: dict[str, set[int] | None] = {}
    for item in _expect_list("agent", value):
        agent_id = item.get("agent_id") if isinstance(item, dict) else None
        if not isinstance(agent_id, str):
            raise _refuse("agent", 'a list of {"agent_id": "...", "version": [..]}')
        versions = item.get("version") or []
        if not isinstance(versions, list) or not all(isinstance(number, int) for number in versions):
            raise _refuse("agent", 'a list of {"agent_id": "...", "version": [..]} with version numbers')
        before = wanted.get(agent_id, set())
        wanted[agent_id] = None if before is None or not versions else before | set(versions)

    def test(call: Conversation, _now: float) -> bool:
        versions = wanted.get(call.agent_id, set())
        return versions is None or call.version in versions

    return test if wanted else lambda _call, _now: True


def _keyed_test(name: str, item: Any) -> Test:
    """A filter on a named value; only custom analysis data has any here."""
    key = item.get("key") if isinstance(item, dict) else None
    if not isinstance(key, str):
        raise _refuse(name, "a list of filters with a key")

    def getter(call: Conversation, now: float) -> Any:
        return call.custom.get(key) if name == "custom_analysis_data" and now >= call.analysed else None

    if item.get("type") == "present":
        return lambda call, now: (getter(call, now) is not None) == (item.get("op") == "pr")
    return _test(name, str(item.get("type")), getter, item)


def _tool_test(item: Any) -> Test:
    """A filter on the one tool that a modelled agent calls in every phone call; how long it took is not modelled."""
    name = item.get("name") if isinstance(item, dict) else None
    if not isinstance(name, str):
        raise _refuse("tool_calls", "a list of filters with the name of a tool")
    tests: list[Test] = [lambda call, now: name == TOOL and not call.is_chat and now >= call.end]
    if "success" in item:
        tests.append(_test("tool_calls.success", "boolean", lambda call, _now: not call.tool_failed, item["success"]))
    if "latency_ms" in item:
        tests.append(_test("tool_calls.latency_ms", "number", lambda _call, _now: None, item["latency_ms"]))
    return lambda call, now: all(test(call, now) for test in tests)


def _test(name: str, kind: str, getter: Getter, value: Any) -> Test:
    """The test of one typed filter object."""
    if not isinstance(value, dict) or value.get("type") not in _KINDS.get(kind, (kind,)):
        raise _refuse(name, f"an object with type {' or '.join(_KINDS.get(kind, (kind,)))}, op and value")
    op, wanted = value.get("op"), value.get("value")
    match value["type"]:
        case "enum" if op == "in" and isinstance(wanted, list):
            if name in _CLOSED and not _CLOSED[name].issuperset(map(str, wanted)):
                raise _refuse(name, f"of {', '.join(sorted(_CLOSED[name]))}")
            return lambda call, now: getter(call, now) in wanted
        case "boolean" if op == "eq" and isinstance(wanted, bool):
            return lambda call, now: getter(call, now) is wanted
        case "string" if op in _TEXT and isinstance(wanted, str):
            text = _TEXT[op]
            return lambda call, now: (found := getter(call, now)) is not None and text(str(found), wanted)
        case "number" if op in _COMPARE and isinstance(wanted, int | Decimal) and not isinstance(wanted, bool):
            compare, limit = _COMPARE[op], float(wanted)
            return lambda call, now: (found := getter(call, now)) is not None and compare(found, limit)
        case "range" if op == "bt" and isinstance(wanted, list) and len(wanted) == 2:
            if not all(isinstance(end, int | Decimal) for end in wanted):
                raise _refuse(name, "a range of two numbers")
            low, high = float(wanted[0]), float(wanted[1])
            return lambda call, now: (found := getter(call, now)) is not None and low <= found <= high
    raise _refuse(name, f"a {value['type']} filter with a legal op and value")


def page(found: Iterable[Conversation], body: Mapping[str, Any]) -> tuple[list[Conversation], bool, str | None, int]:
    """One page by the body's sort_order, limit and skip or pagination_key.

    Returns the items, whether there are more, the key of the next page and the total. Raises ApiError 400.
    """
    limit = _whole(body, "limit", 50, 1, 1000)
    skip = _whole(body, "skip", 0, 0, 10**9)
    order = body.get("sort_order", "descending")
    if order not in ("ascending", "descending"):
        raise ApiError(400, f"{BAD_REQUEST} sort_order must be ascending or descending.")
    if "skip" in body and "pagination_key" in body:
        raise ApiError(400, f"{BAD_REQUEST} Send skip or pagination_key, not both.")
    newest_first = order == "descending"
    every = sorted(found, key=lambda call: call.key, reverse=newest_first)
    rest = every[skip:]
    if body.get("pagination_key") is not None:
        stamp, dot, last_id = str(body["pagination_key"]).partition(".")
        if not (dot and stamp.isdigit()):
            raise ApiError(400, f"{BAD_REQUEST} pagination_key is not one that was given out.")
        last = (int(stamp), last_id)
        rest = [call for call in every if (call.key < last if newest_first else call.key > last)]
    items = rest[:limit]
    more = len(rest) > limit
    return items, more, f"{items[-1].key[0]}.{items[-1].key[1]}" if more else None, len(every)


def _whole(body: Mapping[str, Any], name: str, default: int, low: int, high: int) -> int:
    value = body.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ApiError(400, f"{BAD_REQUEST} {name} must be an integer from {low} to {high}.")
    return value
