"""The parts of Retell's JSON of a call that lists, get-call and webhooks show alike. Pure.

What is missing, of another kind or out of all bounds is left out. Shapes: retell-sdk 6.2.13, `types/
phone_call_response.py` (`latency`, `call_cost`, `call_analysis.custom_analysis_data`, `transcript_with_tool_calls`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from rollout.domain.calls import LATEST_MS, CallDetails, CustomValue
from rollout.domain.gates.metrics import LATENCY_PARTS, LATENCY_QUANTILES

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST = 1e9  # cents, milliseconds: what is above is no figure of a call
_LONGEST_TEXT, _LONGEST_NAME = 100, 100
_MOST_FIELDS, _MOST_TOOLS, _MOST_UTTERANCES = 200, 100, 20_000


def moment(value: object) -> datetime | None:
    """A time stamp in milliseconds since 1970; None if it is left out or is no time."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST_MS:
        return None
    return EPOCH + timedelta(milliseconds=value)


def boolean(value: object) -> bool | None:
    """True or false; None for anything else."""
    return value if isinstance(value, bool) else None


def figure(document: object, *path: str) -> float | None:
    """The number from 0 to a thousand million at this place, or None."""
    for name in path:
        document = document.get(name) if isinstance(document, Mapping) else None
    if isinstance(document, bool) or not isinstance(document, int | float) or not 0 <= document < _MOST:
        return None
    return float(document)


def figures(call: Mapping[str, Any]) -> dict[str, float]:
    """Cost in cents ("cost") and latencies in ms ("llm_p90"); the median of e2e has a field of its own."""
    found = {f"{part}_{q}": figure(call, "latency", part, q) for part in LATENCY_PARTS for q in LATENCY_QUANTILES}
    found["cost"] = figure(call, "chat_cost" if "chat_cost" in call else "call_cost", "combined_cost")
    return {name: value for name, value in found.items() if value is not None and name != "e2e_p50"}


def custom(analysis: Mapping[str, Any]) -> dict[str, CustomValue]:
    """The custom fields that are true, false, a number or a short text."""
    fields = analysis.get("custom_analysis_data")
    found: dict[str, CustomValue] = {}
    for name, value in islice((fields if isinstance(fields, Mapping) else {}).items(), _MOST_FIELDS):
        if isinstance(value, bool) or (isinstance(value, str) and len(value) <= _LONGEST_TEXT):
            found[_text(name)] = value if isinstance(value, bool) else _text(value)
        elif isinstance(value, int | float) and -_MOST < value < _MOST:
            found[_text(name)] = float(value)
    return found


def details(call: Mapping[str, Any]) -> CallDetails | None:
    """The details of a call from its transcript, of which nothing else is kept; None where no transcript is shown."""
    said = call.get("transcript_with_tool_calls")
    if not isinstance(said, list):
        return None
    utterances = [u for u in said[:_MOST_UTTERANCES] if isinstance(u, Mapping)]
    metadata = (u.get("metadata") for u in utterances)
    backup = any(isinstance(m, Mapping) and isinstance(m.get("backup_model_used"), Mapping) for m in metadata)
    return CallDetails(backup, _tools(utterances))


def _tools(utterances: list[Mapping[str, Any]]) -> dict[str, bool | None]:
    """By name of the tools called: True where a call of it failed, else None where one does not say how it went."""
    results = {
        u["tool_call_id"]: u.get("successful")
        for u in utterances
        if u.get("role") == "tool_call_result" and isinstance(u.get("tool_call_id"), str)
    }
    found: dict[str, bool | None] = {}
    for u in utterances:
        name, id_ = u.get("name"), u.get("tool_call_id")
        if u.get("role") != "tool_call_invocation" or not isinstance(name, str) or not isinstance(id_, str):
            continue
        name, successful = _text(name), results.get(id_)
        if len(found) < _MOST_TOOLS or name in found:
            before, now = found.get(name, False), not successful if isinstance(successful, bool) else None
            found[name] = True if before or now else None if before is None or now is None else False
    return found


def _text(value: object) -> str:
    """A text that every database takes."""
    return str(value)[:_LONGEST_NAME].encode("utf-8", "replace").decode().replace("\0", "?")
