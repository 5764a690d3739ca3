"""The rules of a PATCH on a phone number: each documented one, and the sum of the weights.

Source: Retell's OpenAPI of update-phone-number; the pattern of tags is that of its newer pages (2026-08).
Legacy single-agent fields and unknown fields are ignored, as Retell does.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from rollout.sandbox.agents import Agent
from rollout.sandbox.messages import NOT_FOUND_ASSET, ApiError, plain
from rollout.sandbox.numbers import LISTS, Number

SUM_TOLERANCE = Decimal("1e-9")
"""Retell's own is not documented; ours takes what double arithmetic leaves and nothing coarser."""
TAG = re.compile(r"latest|latest_published|(?!v\d+$)[a-z][a-z0-9_-]{0,19}")
TRANSPORTS = ("TLS", "TCP", "UDP")

_NULLABLE_TEXTS = ("nickname", "inbound_webhook_url", "inbound_sms_webhook_url", "fallback_number", "transport")
_TEXTS = ("termination_uri", "auth_username", "auth_password")
_TEXT_LISTS = ("allowed_inbound_country_list", "allowed_outbound_country_list")


def read_patch(body: Mapping[str, Any], number: str, *, strict: bool = False) -> dict[str, Any]:
    """The fields of a PATCH body that are known and legal, ready to be stored.

    `body` has Decimals for fractions; `strict`: weights must add up to exactly 1.0 as doubles, from left to right.
    Raises ApiError 400 naming the field; ignores unknown fields.
    """
    changes: dict[str, Any] = {}
    for name in LISTS:
        if name in body:
            changes[name] = _read_split(name, body[name], strict)
    for name in _NULLABLE_TEXTS:
        if name in body:
            changes[name] = _expect(name, body[name], body[name] is None or isinstance(body[name], str), "text or null")
    for name in _TEXTS:
        if name in body:
            changes[name] = _expect(name, body[name], isinstance(body[name], str), "text")
    for name in _TEXT_LISTS:
        if name in body:
            value = body[name]
            legal = value is None or (isinstance(value, list) and all(isinstance(item, str) for item in value))
            changes[name] = _expect(name, value, legal, "a list of country codes or null")
    if changes.get("transport") not in (None, *TRANSPORTS):
        raise ApiError(400, f"transport must be one of {', '.join(TRANSPORTS)}")
    if changes.get("fallback_number") == number:
        raise ApiError(400, "fallback_number must not be the number itself")
    return changes


def _expect(name: str, value: Any, legal: bool, what: str) -> Any:
    if not legal:
        raise ApiError(400, f"{name} must be {what}")
    return value


def _read_split(name: str, value: Any, strict: bool) -> list[dict[str, Any]] | None:
    """One weight list; null and the empty list are legal and take the number down."""
    if value is None:
        return None
    if not isinstance(value, list):
        raise ApiError(400, f"{name} must be a list or null")
    entries = [_read_entry(f"{name}[{index}]", item) for index, item in enumerate(value)]
    if entries:
        total = sum((Decimal(entry["weight"]) for entry in value), Decimal(0))
        if abs(total - 1) > SUM_TOLERANCE:
            raise ApiError(400, f"{name}: total weights must add up to 1, got {total}")
        added = 0.0
        for entry in entries:
            added += entry["weight"]
        if strict and added != 1.0:
            raise ApiError(400, f"{name}: total weights must add up to 1, got {added!r}")
    return entries


def _read_entry(where: str, item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise ApiError(400, f"{where} must be an object")
    agent_id = item.get("agent_id")
    if not isinstance(agent_id, str) or not agent_id:
        raise ApiError(400, f"{where}.agent_id must be text of at least one character")
    entry: dict[str, Any] = {"agent_id": agent_id}
    if "agent_version" in item:
        entry["agent_version"] = _read_version(f"{where}.agent_version", item["agent_version"])
    weight = item.get("weight")
    if isinstance(weight, bool) or not isinstance(weight, int | Decimal):
        raise ApiError(400, f"{where}.weight must be a number")
    entry["weight"] = plain(weight)
    if not 0 < entry["weight"] <= 1:
        raise ApiError(400, f"{where}.weight must be > 0 and <= 1, got {weight}")
    return entry


def _read_version(where: str, value: Any) -> int | str:
    """A whole number of 0 or more (3.0 is the same JSON number as 3), or a tag."""
    if isinstance(value, Decimal) and abs(value) < 10**9 and value == value.to_integral_value():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ApiError(400, f"{where} must be >= 0")
        return value
    if isinstance(value, str) and TAG.fullmatch(value):
        return value
    raise ApiError(400, f"{where} must be an integer >= 0, or a tag matching ^{TAG.pattern}$")


def check_assets(
    changes: Mapping[str, Any], agents: Mapping[str, Agent], number_of: Callable[[str], Number | None]
) -> None:
    """Every agent and version named in the lists must exist: else ApiError 422, as for an unknown number."""
    for name in LISTS:
        for entry in changes.get(name) or ():
            agent = agents.get(entry["agent_id"])
            reference = entry.get("agent_version")
            if agent is None:
                raise ApiError(422, f"{NOT_FOUND_ASSET} ({name}: agent {entry['agent_id']})")
            if agent.resolve(reference) is None:
                raise ApiError(422, f"{NOT_FOUND_ASSET} ({name}: agent {agent.agent_id} version {reference})")
    fallback = changes.get("fallback_number")
    other = number_of(fallback) if fallback else None
    if other is not None and other.state.fields.get("fallback_number"):
        raise ApiError(400, "fallback_number must not be a number that has its own fallback")
