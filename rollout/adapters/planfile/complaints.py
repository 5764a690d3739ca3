"""The plan model's validation errors as sentences: the field and its place, what was wrong, what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import ValidationError

from rollout.adapters.planfile.text_positions import Node
from rollout.domain.plan.fields import shown

_EXAMPLES = {
    "version": "version: 1",
    "name": "name: frontdesk-v7",
    "numbers": 'numbers: ["+14157774444"]',
    "channels": "channels: [inbound]",
    "steps": "steps: [{weight: 0.1, hold: 30m}, {weight: 1.0, hold: 1d}]",
    "agent_id": "agent_id and the id as Retell shows it",
    "agent_version": "agent_version: 7, the number of the version",
    "from": 'from: "09:00", or a day or time for a freeze',
    "to": 'to: "17:00", or a day or time for a freeze',
    "reason": 'reason: "year-end change freeze"',
    "nickname": 'nickname: "Front*", or serving: {agent_id: ...}',
    "match": "match: {service: frontdesk}",
    "retreat": "retreat: 0.1",
}
_EVERY = 50


@dataclass(frozen=True, slots=True)
class Complaint:
    """One complaint. Line and column count from 1 and are None where there is no text to point into."""

    field: str
    problem: str
    advice: str
    line: int | None = None
    column: int | None = None

    def text(self, name: str) -> str:
        place = f"{name}:{self.line}:{self.column}" if self.line is not None else name
        field = f"{self.field}: " if self.field else ""
        return f"{place}: {field}{self.problem}; {self.advice}"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def message(problems: list[Complaint], name: str) -> str:
    """All complaints, one a line, in the order of the text."""
    lines = [problem.text(name) for problem in problems[:_EVERY]]
    if len(problems) > _EVERY:
        lines.append(f"{name}: and {len(problems) - _EVERY} more")
    return "\n".join(lines)


def translate(error: ValidationError, root: Node | None, schema: Mapping[str, Any]) -> list[Complaint]:
    """The model's validation errors as problems; line and column come from `root`, if the plan is a text."""
    problems, mistyped = [], set()
    for one in sorted(error.errors(include_url=False), key=lambda one: one["type"] == "missing"):
        way = tuple(part for part in one["loc"] if not str(part).startswith("<"))
        if one["type"] == "plan":
            for problem, advice, at in one["ctx"]["found"]:
                problems.append(placed((*way, *at), problem, advice, root))
            continue
        if one["type"] == "too_short" and one["input"]:
            continue  # entries that have a complaint of their own are not counted by the model
        if way in mistyped:
            continue  # the key is there, misspelt, and has a complaint
        problem, advice = _sentence(one, way, schema)
        unknown = one["type"] == "extra_forbidden"
        if unknown:
            mistyped.add((*way[:-1], advice.removeprefix("write ")))
        problems.append(placed(way, problem, advice, root, key=unknown))
    return sorted(problems, key=lambda p: (p.line or 0, p.column or 0))


def placed(way: tuple[Any, ...], problem: str, advice: str, root: Node | None, key: bool = False) -> Complaint:
    """A complaint about the value at `way`; line and column come from `root`, if the plan is a text."""
    node, names, place = root, [], (root.line, root.column) if root else (None, None)
    for i, part in enumerate(way):
        value = node.value if node is not None else None
        if isinstance(part, int) and isinstance(value, dict):
            continue  # a single entry written without its list
        names.append(f"[{part}]" if isinstance(part, int) else f".{part}")
        child = None
        if isinstance(value, dict):
            child = value.get(str(part))
            if child is not None and key and i == len(way) - 1:
                place = node.keys[str(part)] if node else place
                child = None
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            child = value[part]
        elif isinstance(part, int) and node is not None and not isinstance(value, list):
            names.pop()  # a single scalar written without its list
            continue
        node = child
        if node is not None:
            place = (node.line, node.column)
    return Complaint("".join(names).removeprefix("."), problem, advice, *place)


def _sentence(one: Any, way: tuple[Any, ...], schema: Mapping[str, Any]) -> tuple[str, str]:  # noqa: C901 - a table: kind of complaint, sentence, advice
    kind, value, ctx = one["type"], one.get("input"), one.get("ctx", {})
    key = str(way[-1]) if way else ""
    if kind == "missing":
        return "is missing", f"write {_EXAMPLES.get(key, f'{key}: ...')}"
    if kind == "extra_forbidden":
        known = _known_keys(way[:-1], schema)
        near = difflib.get_close_matches(key, known, 1, 0.6)
        if near:
            return "there is no such key", f"write {near[0]}"
        return ("there is no such key", f"leave it out; known here: {', '.join(known)}" if known else "leave it out")
    if value is None:
        return "has no value", f"write {_EXAMPLES.get(key, 'a value, or leave the key out')}"
    if kind in ("enum", "literal_error"):
        known = str(ctx.get("expected", "")).replace(" or ", ", ").replace("'", "").split(", ")
        near = difflib.get_close_matches(str(value).lower(), known, 1, 0.6) or difflib.get_close_matches(
            str(value).lower()[:3], known, 1, 0.9
        )
        return (
            f"{shown(value)} is not known here",
            f"write {near[0]}" if near else f"write one of: {', '.join(known)}",
        )
    if kind.startswith("int"):
        return f"{shown(value)} is not a whole number", "write a whole number without quotes, for example 50"
    if kind.startswith("bool"):
        return f"{shown(value)} is not true or false", "write true or false, without quotes"
    if kind.startswith("string_pattern"):
        return (
            f"{shown(value)} is not in the right form",
            "write lower-case letters, digits and _, beginning with a letter",
        )
    if kind.startswith("string"):
        quoted = isinstance(value, int | float)
        return f"{shown(value)} is not text", f'put it in quotes: "{value}"' if quoted else "write text"
    if kind in ("tuple_type", "list_type"):
        entry = value if isinstance(value, str) else "..."
        return f"{shown(value)} is not a list", f"write a list: [{entry}]"
    if kind == "too_short":
        return "is empty", f"write at least {_count(ctx.get('min_length', 1))}"
    if kind == "too_long":
        return "has too many entries", f"write at most {_count(ctx.get('max_length', 1))}"
    if kind in ("model_type", "dict_type", "model_attributes_type", "mapping_type"):
        needed = _usual_keys(way, schema)
        example = ", ".join(f"{name}: ..." for name in needed) or "key: ..."
        return f"{shown(value)} is not a mapping", f"write keys and values: {{{example}}}"
    if kind.startswith("greater_than"):
        return f"{shown(value)} is too small", f"write at least {ctx.get('ge', ctx.get('gt'))}"
    if kind.startswith("less_than"):
        return f"{shown(value)} is too large", f"write at most {ctx.get('le', ctx.get('lt'))}"
    return str(one["msg"]).lower(), "see the plan's schema for what you can write here"


def _count(number: object) -> str:
    return "one entry" if number == 1 else f"{number} entries"


# ------------------------------------------------------------------ what the schema knows


def _known_keys(way: tuple[Any, ...], schema: Mapping[str, Any]) -> list[str]:
    return [name for node in _at(way, schema) for name in node.get("properties", {})]


def _usual_keys(way: tuple[Any, ...], schema: Mapping[str, Any]) -> list[str]:
    """The required keys, or the first two if none is required."""
    nodes = [node for node in _at(way, schema) if node.get("properties")]
    required = next((list(node["required"]) for node in nodes if node.get("required")), [])
    return required or [name for node in nodes[:1] for name in node["properties"]][:2]


def _at(way: tuple[Any, ...], schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The object schemas allowed at `way`."""
    nodes = _alternatives(schema, schema)
    for part in way:
        below: list[Mapping[str, Any]] = []
        for node in nodes:
            if isinstance(part, int):
                below += [node["items"]] if "items" in node else [node] if "properties" in node else []
            elif part in node.get("properties", {}):
                below.append(node["properties"][part])
            elif isinstance(node.get("additionalProperties"), Mapping):
                below.append(node["additionalProperties"])
        nodes = [alternative for node in below for alternative in _alternatives(node, schema)]
    return [node for i, node in enumerate(nodes) if node not in nodes[:i]]


def _alternatives(node: Mapping[str, Any], schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "$ref" in node:
        name = str(node["$ref"]).rpartition("/")[2]
        return _alternatives(schema["$defs"][name], schema)
    if "properties" not in node and (choices := node.get("anyOf") or node.get("oneOf")):
        return [found for choice in choices for found in _alternatives(choice, schema)]
    return [node]
