"""The differences between two versions: each field, a unified diff of texts, and no secret.

A list of objects with names (tools, states, analysis fields) is compared by name, so that one more tool is one
difference and not all that come after it.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from rollout.domain.versions.documents import VersionDocument

MOST_FIELDS, MOST_LINES, LONGEST = 100, 300, 200
MASK = "***"

_ALWAYS_DIFFERENT = frozenset(
    {
        "version",
        "base_version",
        "is_published",
        "assigned_tags",
        "version_title",
        "version_description",
        "last_modification_timestamp",
        "user_modified_timestamp",
    }
)
_KEYS = ("name", "tool_id", "id", "key")
_SECRET_FIELDS = re.compile(
    r"headers|query_params|.*(secret|password|token|api_?key|authorization|credential).*", re.IGNORECASE
)
_FIRST = ("model", "voice", "prompt", "tools")
"""What people look for first; found in the first part of a field's path."""
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[^\s\"'<>]+", re.IGNORECASE)
_COUNTED = re.compile(r"(max|min|total|num)_?tokens?|.*_tokens", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """One field. `before` and `after` are JSON texts, None where the field is not there; a long text has a `diff`."""

    field: str
    before: str | None
    after: str | None
    diff: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VersionDifference:
    """The differences between a version of the baseline and one that is tried; `more` fields are not listed."""

    before: str
    after: str
    fields: tuple[FieldDifference, ...]
    more: int = 0
    unread: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For answers and for people's own programs."""
        return {
            "before": self.before,
            "after": self.after,
            "fields": [
                {"field": item.field, "before": item.before, "after": item.after, "diff": list(item.diff)}
                for item in self.fields
            ],
            "more": self.more,
            "unread": list(self.unread),
        }


def difference_lines(differences: Iterable[Mapping[str, Any]]) -> list[str]:
    """Differences in their JSON form, as a person reads them."""
    lines = []
    for found in differences:
        same = not found["fields"] and not found["unread"]
        lines.append(f"from {found['before']} to {found['after']}" + (" nothing differs" if same else ":"))
        for item in found["fields"]:
            if item["diff"]:
                lines += [f"  {item['field']}:", *(f"    {line}" for line in item["diff"])]
            else:
                before, after = ("nothing" if item[key] is None else item[key] for key in ("before", "after"))
                lines.append(f"  {item['field']}: {before} -> {after}")
        lines += [f"  and {found['more']} more fields"] if found["more"] else []
        lines += [f"  {why}" for why in found["unread"]]
    return lines


def difference(before: str, after: str, old: VersionDocument, new: VersionDocument) -> VersionDifference:
    """Compares two versions, named `before` and `after`. Secrets are masked; the result says when they differ."""
    found = [*_compared("", old.agent, new.agent)]
    unread = tuple(
        f"{name}: {document.unread}" for name, document in ((before, old), (after, new)) if document.unread is not None
    )
    if not unread:
        found += _compared("response_engine.", old.engine, new.engine)
    found.sort(key=lambda item: _rank(item.field))
    kept, lines = [], 0
    for item in found[:MOST_FIELDS]:
        shown = item.diff[: max(0, MOST_LINES - lines)]
        lines += len(item.diff)
        if len(shown) < len(item.diff):
            shown = (*shown, f"... and {len(item.diff) - len(shown)} more lines")
        kept.append(FieldDifference(item.field, item.before, item.after, shown))
    return VersionDifference(before, after, tuple(kept), len(found) - len(kept), unread)


def _rank(field: str) -> int:
    """Model, voice, prompt and tools come before what else differs."""
    top = re.split(r"[.\[]", field.removeprefix("response_engine."))[0]
    return next((i for i, word in enumerate(_FIRST) if word in top), len(_FIRST))


def _compared(place: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[FieldDifference]:
    a, b = dict(_leaves("", old)), dict(_leaves("", new))
    for path in sorted(a.keys() | b.keys()):
        top = path.split(".", 1)[0]
        if top in _ALWAYS_DIFFERENT or path == "response_engine.version":
            continue
        x, y = a.get(path, _ABSENT), b.get(path, _ABSENT)
        if x == y and type(x) is type(y):
            continue
        yield _told(place + path, x, y)


_ABSENT: Any = object()


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every value that holds no others, with its dotted path. An empty object or list is a value."""
    if isinstance(value, Mapping) and (value or not path):
        for key, item in value.items():
            yield from _leaves(f"{path}.{key}" if path else str(key), item)
    elif isinstance(value, list) and value and (names := _names(value)) is not None:
        for name, item in zip(names, value, strict=True):
            yield from _leaves(f"{path}[{name}]", item)
    else:
        yield path, value


def _names(items: list[Any]) -> list[str] | None:
    """The name of each object in a list; None where one has no name or two have the same."""
    for key in _KEYS:
        names = [item.get(key) if isinstance(item, Mapping) else None for item in items]
        if all(isinstance(name, str) and name for name in names) and len(set(names)) == len(names):
            return [str(name) for name in names]
    return None


def _told(path: str, old: Any, new: Any) -> FieldDifference:
    if _is_secret(path):
        masked = [None if value is _ABSENT else MASK for value in (old, new)]
        changed = f"{MASK} (another value)" if None not in masked else masked[1]
        return FieldDifference(path, masked[0], changed)
    if any(isinstance(value, str) and ("\n" in value or len(value) > LONGEST) for value in (old, new)):
        before, after = (_masked(value).splitlines() if isinstance(value, str) else [] for value in (old, new))
        lines = list(difflib.unified_diff(before, after, lineterm="", n=2))[2:]
        return FieldDifference(
            path,
            None,
            None,
            tuple(_printable(line) for line in lines) or ("only line endings or masked values differ",),
        )
    return FieldDifference(path, _shown(path, old), _shown(path, new))


def _is_secret(path: str) -> bool:
    parts = re.split(r"[.\[\]]", path)
    return any(_SECRET_FIELDS.fullmatch(part) and not _COUNTED.fullmatch(part) for part in parts if part)


def _shown(path: str, value: Any) -> str | None:
    if value is _ABSENT:
        return None
    text = json.dumps(_masked(value), ensure_ascii=False, sort_keys=True, default=str)
    text = _printable(text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _masked(value: Any, name: str = "") -> Any:
    """The value without what could be a secret: inside of objects, and in web addresses."""
    if name and _SECRET_FIELDS.fullmatch(name) and not _COUNTED.fullmatch(name):
        return MASK
    if isinstance(value, Mapping):
        return {str(key): _masked(item, str(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return _ADDRESS.sub(_without_keys, value) if isinstance(value, str) else value


def _without_keys(found: re.Match[str]) -> str:
    """A web address without user, password and the values of its query."""
    try:
        parts = urlsplit(found[0])
    except ValueError:
        return MASK
    place = f"{MASK}@{parts.netloc.rpartition('@')[2]}" if "@" in parts.netloc else parts.netloc
    query = "&".join(f"{pair.partition('=')[0]}={MASK}" for pair in parts.query.split("&")) if parts.query else ""
    return urlunsplit((parts.scheme, place, parts.path, query, ""))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\t" else "?" for c in text)
