"""Plan files: text -> Plan with line and column in every complaint, Plan -> text, and the JSON Schema.

`python -m rollout.adapters.planfile` prints the schema that is kept in config/plan.schema.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from rollout.adapters.planfile.complaints import Complaint, message, placed, translate
from rollout.adapters.planfile.edit import edited, from_one_line, on_one_line, written
from rollout.adapters.planfile.json_reader import JsonParser
from rollout.adapters.planfile.text_positions import MAX_BYTES, Node, TextError
from rollout.adapters.planfile.yaml_reader import read_yaml
from rollout.domain.calendar.public_holidays import UnknownRegion, require
from rollout.domain.errors import InputError, PlanError
from rollout.domain.plan.calendar import Calendar
from rollout.domain.plan.fields import WRITTEN_NOW, Part, shown
from rollout.domain.plan.gates import Gates, GatesField
from rollout.domain.plan.plan import Plan

__all__ = [
    "build_plan",
    "dump_plan",
    "edit_plan",
    "from_one_line",
    "load_calendar",
    "load_gates",
    "load_plan",
    "on_one_line",
    "plan_document",
    "read_calendar",
    "read_plan",
    "schema",
]

PartT = TypeVar("PartT", bound=Part)


class _GatesEntry(Part):
    """The `gates:` of a plan without the rest."""

    gates: GatesField


# What no plan needs and what must not reach a repository, a database or a page
_SECRETS = {
    "a Retell API key": re.compile(r"\bkey_[0-9a-fA-F]{20,}"),
    "an API key": re.compile(r"\bsk-[A-Za-z0-9_-]{20,}"),
    "a bearer token": re.compile(r"\bBearer\s+[A-Za-z0-9._~+/-]{16,}", re.IGNORECASE),
    "a signed token": re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY"),
}
_INSTEAD = "remove it, revoke it and issue a new one, and give that to the service in ROLLOUT_RETELL_API_KEY"


def load_plan(text: str, name: str = "plan") -> Plan:
    """The plan in a YAML or JSON text. `name` is the file's name for messages; `.json` means JSON.

    PlanError has all complaints, one a line (`FILE:LINE:COL: field: problem; advice`), and in
    `details["problems"]` as dicts of line, column, field, problem, advice.
    """
    return _load(Plan, text, name)


def load_calendar(text: str, name: str = "calendar") -> Calendar:
    """A shared calendar in a YAML or JSON text; complaints as for a plan."""
    return _load(Calendar, text, name)


def load_gates(text: str, name: str = "gates") -> Gates:
    """The gates of a plan, of a `gates:` entry alone, or of what stands in one; complaints as for a plan."""
    root = _parsed(Plan, text, name)
    if "version" in root.value:
        return _validated(Plan, root.plain(), root, name).gates
    if "gates" in root.value:
        return _validated(_GatesEntry, root.plain(), root, name).gates
    return _validated(Gates, root.plain(), root, name)


def read_plan(path: str | Path) -> Plan:
    """The plan in a file; InputError when it cannot be read, PlanError when it is not a plan."""
    return load_plan(_text(path), str(path))


def read_calendar(path: str | Path) -> Calendar:
    """The shared calendar in a file; errors as for `read_plan`."""
    return load_calendar(_text(path), str(path))


def build_plan(document: Any, name: str = "plan") -> Plan:
    """The plan in a document that was parsed elsewhere (a request's JSON); complaints without places."""
    if found := [kind for text in _texts(document) for kind in _secrets_in(text)]:
        raise _error([Complaint("", f"this looks like {found[0]}", _INSTEAD)], name)
    return _validated(Plan, document, None, name)


def dump_plan(plan: Plan) -> str:
    """YAML that `load_plan` reads back as the same plan; what equals its default is left out."""
    document = plan.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    kept = {key: value for key, value in document.items() if value != {} or key == "tests"}
    return "".join(line for key, value in kept.items() for line in written(key, value))


def plan_document(text: str, name: str = "plan") -> dict[str, Any]:
    """The keys and values of a text that may not be a valid plan yet; PlanError if it cannot be read at all."""
    found: dict[str, Any] = _parsed(Plan, text, name).plain()
    return found


def edit_plan(text: str, changes: Mapping[str, Any]) -> str:
    """The text with these keys changed (None: left out) and all others as they stand; PlanError as above."""
    return edited(text, _parsed(Plan, text, "plan"), changes, list(Plan.model_fields))


@cache
def _schema_of(part: type[Part]) -> dict[str, Any]:
    return part.model_json_schema(by_alias=True, mode="validation")


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of plan files. It sees shapes; rules across fields are `load_plan`'s."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_schema_of(Plan)}


# ------------------------------------------------------------------ inside


def _read(text: str, as_json: bool | None = None) -> Node:
    """Parse; `as_json` None: JSON if it is JSON, else YAML. TextError for what cannot be read."""
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise TextError(
            1, 1, "the plan is larger than 256 KiB", "split it into several plans, or select numbers by nickname"
        )
    if as_json is None and text.lstrip().startswith("{"):
        try:
            json.loads(text, parse_int=len)  # only to tell the two apart; lengths, as huge numbers cost time
        except (ValueError, RecursionError):
            pass
        else:
            as_json = True
    return JsonParser(text).document() if as_json else read_yaml(text)


def _load(part: type[PartT], text: str, name: str) -> PartT:
    root = _parsed(part, text, name)
    return _validated(part, root.plain(), root, name)


def _parsed(part: type[Part], text: str, name: str) -> Node:
    """The mapping in a text; PlanError says where it is none."""
    try:
        root = _read(text, as_json=True if name.endswith(".json") else None)
    except TextError as error:
        if found := list(_secrets_at(text[:MAX_BYTES])):
            raise _error(found, name) from None
        raise _error([Complaint("", error.problem, error.advice, error.line, error.column)], name) from None
    if found := list(_secrets_at(text)):
        raise _error(found, name)
    kind = part.__name__.lower()
    if root.value is None:
        raise _error([Complaint("", "the file is empty", f"write a {kind}; examples are in config/", 1, 1)], name)
    if not isinstance(root.value, dict):
        problem = f"a {kind} is a mapping of keys to values"
        raise _error([Complaint("", problem, "begin with version: 1", root.line, root.column)], name)
    return root


def _validated(part: type[PartT], document: Any, root: Node | None, name: str) -> PartT:
    if not isinstance(document, Mapping):
        kind = part.__name__.lower()
        problem = f"{shown(document)} is not a {kind}"
        raise _error([Complaint("", problem, f"write the {kind} as an object with its keys")], name)
    try:
        made = part.model_validate(document, context=WRITTEN_NOW)
    except ValidationError as error:
        raise _error(translate(error, root, _schema_of(part)), name) from None
    if problems := list(_unknown_regions(getattr(made, "holidays", ()), root)):
        raise _error(problems, name)
    return made


def _unknown_regions(regions: Iterable[str], root: Node | None) -> Iterator[Complaint]:
    """Complaints about regions without holidays, which the model cannot know."""
    for i, region in enumerate(regions):
        try:
            require(region)
        except UnknownRegion as error:
            yield placed(("holidays", i), error.problem, error.advice, root)


def _error(problems: list[Complaint], name: str) -> PlanError:
    return PlanError(message(problems, name), problems=[problem.as_dict() for problem in problems])


def _text(path: str | Path) -> str:
    file = Path(path)
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 4)
    except FileNotFoundError:
        raise InputError(
            f"{path}: there is no such file; write the path of a plan, for example plans/frontdesk.yaml"
        ) from None
    except IsADirectoryError:
        raise InputError(f"{path}: this is a folder; write the path of one plan file") from None
    except OSError as error:
        raise InputError(f"{path}: the file cannot be read ({error.strerror}); check its permissions") from None
    try:
        return raw.decode("utf-8", "strict" if len(raw) <= MAX_BYTES else "replace")  # too large: refused next
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InputError(f"{path}: line {line} is not UTF-8 text; save the file as UTF-8") from None


def _secrets_in(text: str) -> Iterator[str]:
    return (kind for kind, pattern in _SECRETS.items() if pattern.search(text))


def _secrets_at(text: str) -> Iterator[Complaint]:
    for kind, pattern in _SECRETS.items():
        if match := pattern.search(text):
            before = text[: match.start()]
            line, column = before.count("\n") + 1, match.start() - before.rfind("\n")
            yield Complaint("", f"this looks like {kind}", _INSTEAD, line, column)


def _texts(document: Any) -> Iterator[str]:
    """Every text in a document, without recursion."""
    left = [document]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            left += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            left += value
