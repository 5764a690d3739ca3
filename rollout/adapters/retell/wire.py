"""Retell's JSON and our types, nothing else.

Strict where the safety of a write rests on it (which number, its time stamp, its lists), tolerant
everywhere else: unknown fields and values that Retell adds later never break anything. Shapes as in
Retell's OpenAPI document of August 2026 and its SDK 6.2.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from rollout.domain import compact_json, strict_json
from rollout.domain.calls import LATEST_MS
from rollout.domain.versions.agent_list import ListedAgent, ListedVersion
from rollout.domain.writes.answers import Reading
from rollout.engine.ports import AgentVersion

LISTS = ("inbound_agents", "outbound_agents", "inbound_sms_agents", "outbound_sms_agents")
_HUGE = 1e300  # Retell never means a larger number, and it may not fit a double
_LAST_VERSION = 2**31 - 1
_APART = frozenset({"phone_number", "last_modification_timestamp", *LISTS})


class AnswerError(ValueError):
    """An answer that cannot be used. The message completes "Retell answered 200, but ..."."""


def parse_json(body: bytes) -> Any:
    """One JSON document in UTF-8. Raises AnswerError, also for NaN, Infinity and repeated keys."""
    try:
        document = orjson.loads(body)
        if _each_key_once(body, document):
            return document
    except (ValueError, TypeError):
        pass  # the slow way takes what the quick one does not, and says what is wrong
    try:
        return strict_json.parse(body)
    except strict_json.JsonFault as error:
        if error.fault is strict_json.Fault.TWICE:
            raise AnswerError("its JSON has a key twice in one object") from error
        if error.fault is strict_json.Fault.CONSTANT:
            raise AnswerError(f"its JSON holds {error.what}") from error
        raise AnswerError("its body is not one JSON document") from error
    except ValueError as error:  # an integer of thousands of digits
        raise AnswerError("its body is not one JSON document") from error


def segment(text: str) -> str:
    """The text as one percent-encoded path segment: `+1...` becomes `%2B1...`."""
    return quote(text, safe="")


def reading(document: Any, asked: str | None = None) -> Reading:
    """A PhoneNumberResponse. `asked` is the number it must be about. Raises AnswerError.

    A list may be left out (it is then absent from `lists`), or be null. A change of any other
    field changes `others`.
    """
    number = _text(document, "phone_number")
    if asked is not None and number != asked:
        raise AnswerError("it is about another phone_number than the one asked for")
    modified = _whole(document, "last_modification_timestamp", LATEST_MS)
    lists = {name: document[name] for name in LISTS if name in document}
    rest = {name: value for name, value in document.items() if name not in _APART}
    try:
        found, others = _known_lists(orjson.dumps(lists)), _known_others(orjson.dumps(rest))
    except (TypeError, orjson.JSONDecodeError):  # an integer beyond 64 bits, half a surrogate pair
        found, others = _lists(lists), _others(rest)
    return Reading(number, found, modified, *others)


class _Others(NamedTuple):
    """All of a number but its name, its time stamp and its lists: a step does not change it."""

    digest: str
    nickname: str | None
    inbound_webhook_url: str | None
    inbound_sms_webhook_url: str | None


@lru_cache(maxsize=1024)
def _known_lists(text: bytes) -> dict[str, list[dict[str, Any]] | None]:
    return _lists(orjson.loads(text))


@lru_cache(maxsize=4096)
def _known_others(text: bytes) -> _Others:
    return _others(orjson.loads(text))


def _lists(document: Mapping[str, Any]) -> dict[str, list[dict[str, Any]] | None]:
    return {name: _entries(name, value) for name, value in document.items()}


def _others(document: Mapping[str, Any]) -> _Others:
    return _Others(
        hashlib.sha256(_sorted(document)).hexdigest(),
        optional_text(document, "nickname"),
        optional_text(document, "inbound_webhook_url"),
        optional_text(document, "inbound_sms_webhook_url"),
    )


def agent_version(document: Any, agent_id: str, version: int | str | None) -> AgentVersion:
    """An AgentResponse. Raises AnswerError if it is about another agent or another version.

    `is_published` left out reads as False: a draft must never be taken for a published version.
    """
    if _text(document, "agent_id") != agent_id:
        raise AnswerError("it is about another agent_id than the one asked for")
    shown = _whole(document, "version", _LAST_VERSION)
    if isinstance(version, int) and shown != version:
        raise AnswerError(f"it shows version {shown} instead of version {version}")
    return AgentVersion(
        agent_id=agent_id,
        version=shown,
        is_published=document.get("is_published") is True,
        is_suspended=document.get("is_suspended") is True,
        agent_name=optional_text(document, "agent_name"),
        document=document,
    )


def listed_agent(item: Any) -> ListedAgent | None:
    """One item of the list of agents; None for one without an id."""
    agent_id = item.get("agent_id") if isinstance(item, dict) else None
    return ListedAgent(agent_id, optional_text(item, "agent_name") or "") if isinstance(agent_id, str) else None


def listed_version(item: Any) -> ListedVersion | None:
    """One item of an agent's list of versions; None for one without a number."""
    number = item.get("version") if isinstance(item, dict) else None
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= _LAST_VERSION:
        return None
    changed = item.get("last_modification_timestamp")
    known = isinstance(changed, int) and 0 < changed < LATEST_MS
    return ListedVersion(
        number,
        item.get("is_published") is True,
        optional_text(item, "version_title") or "",
        datetime.fromtimestamp(changed / 1000, UTC) if known else None,
    )


def page(document: Any) -> tuple[list[Any], str | None]:
    """The items of one page and the key of the next, if there is one. Raises AnswerError.

    A bare array (the older lists) is a last page.
    """
    if isinstance(document, list):
        return document, None
    items = document.get("items") if isinstance(document, dict) else None
    if not isinstance(items, list):
        raise AnswerError("it has no list named items")
    if document.get("has_more") is not True:
        return items, None
    key = document.get("pagination_key")
    if not isinstance(key, str) or not key:
        raise AnswerError("it says has_more without a pagination_key")
    return items, key


def optional_text(document: Mapping[str, Any], name: str) -> str | None:
    """A field of text that may be left out, null or of a kind we do not know."""
    value = document.get(name)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def is_number(value: Any) -> bool:
    """True for a JSON number of a believable size."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _HUGE


def _text(document: Any, name: str) -> str:
    value = document.get(name) if isinstance(document, dict) else None
    if not isinstance(value, str):
        raise AnswerError(f"its {name} is missing or not text")
    return value


def _whole(document: Mapping[str, Any], name: str, most: int) -> int:
    """A whole number from 0 to `most`: what is beyond would overflow where it is kept or shown."""
    value = document.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise AnswerError(f"its {name} is missing or not an integer")
    if not 0 <= value <= most:
        raise AnswerError(f"its {name} is not from 0 to {most}")
    return value


def _entries(name: str, value: Any) -> list[dict[str, Any]] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise AnswerError(f"its {name} is neither a list nor null")
    for entry in value:
        if not isinstance(entry, dict):
            raise AnswerError(f"its {name} holds something that is not an object")
        agent, version = entry.get("agent_id"), entry.get("agent_version")
        if not isinstance(agent, str) or not agent or not agent.isprintable():
            raise AnswerError(f"an entry of its {name} has no agent_id")
        if not is_number(entry.get("weight")):
            raise AnswerError(f"an entry of its {name} has no finite weight")
        if isinstance(version, bool) or not isinstance(version, int | float | str | None):
            raise AnswerError(f"an entry of its {name} has an agent_version that is neither number nor tag")
        if isinstance(version, int | float) and not 0 <= version <= _LAST_VERSION:
            raise AnswerError(f"an entry of its {name} has an agent_version that is not from 0 to {_LAST_VERSION}")
    return value


def _sorted(document: Any) -> bytes:
    """The text that the digest of other fields is made of, the same in every version of this program."""
    quick = compact_json.sorted_bytes(document)
    if quick is not None and quick.isascii():
        return quick
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _each_key_once(body: bytes, document: Any) -> bool:
    """True if surely no object of this body has a key twice; False: not known this way.

    Where nothing is escaped, each text has two quotes and none inside, in the body and in the document written again.
    A key that came twice is in the body and not in the document, so the body then has more of them.
    """
    return b"\\" not in body and body.count(b'"') == orjson.dumps(document).count(b'"')
