"""Fields of the form from a plan's document, and changes of the document from the fields as a browser sends them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollout.domain.plan.agents import Channel
from rollout.interfaces.dashboard.plan_form.lines import from_line, percent, share, to_line, version
from rollout.interfaces.dashboard.plan_form.rows import Row, rows_of

Inputs = Mapping[str, str]
TEXTS = ("name", "calendar", "zone", "deadline", "start", "after", "seed")
CHOICES = {"wave_order": "plan", "on_failure": "rollback", "on_deadline": "pause"}  # with their defaults
LINES = ("numbers", "baseline", "windows", "freezes", "notify", "alerts")
LISTS = ("waves", "holidays")  # in one field, with commas between
_CHANNELS = tuple(channel.value for channel in Channel)


def inputs_of(document: Mapping[str, Any]) -> dict[str, str]:
    """Every field of the form with its text, as a browser would send it untouched."""
    found = {key: _text(document.get(key)) for key in TEXTS}
    found |= {key: _text(document.get(key, default)) for key, default in CHOICES.items()}
    found |= {key: _lines(key, document.get(key)) for key in LINES}
    found |= {key: ", ".join(to_line(key, entry) for entry in _listed(document.get(key))) for key in LISTS}
    found |= {f"channel.{c}": "on" for c in _CHANNELS if c in _listed(document.get("channels"))}
    closing = document.get("closing")
    found["closing"] = percent(closing.get("retreat")) if isinstance(closing, Mapping) else ""
    found["decide"] = "" if document.get("decide") is None else to_line("decide", document["decide"])
    if document.get("tests") is not None:
        found["tests"] = "on"
    found |= _gate_inputs(document.get("gates"))
    arms = _arms(document)
    for i, arm in enumerate(arms):
        found |= {f"arm.{i}.{name}": value for name, value in arm.items()}
    for i, step in enumerate(_listed(document.get("steps"))):
        found |= {f"step.{i}.{name}": value for name, value in _step_row(step, arms).items()}
    return found


def changes(document: Mapping[str, Any], inputs: Inputs) -> dict[str, Any]:
    """The keys of the document that the fields change, None for those to leave out."""
    before, after = _tidy(inputs_of(document)), _tidy(inputs)
    found: dict[str, Any] = {}
    for key in (*TEXTS, *CHOICES, *LINES, *LISTS, "closing", "decide"):
        if after.get(key, "") != before[key]:
            found[key] = _value(key, after.get(key, ""))
    if _of(after, "channel.") != _of(before, "channel."):
        found["channels"] = _channels(_listed(document.get("channels")), after)
    if ("tests" in after) != ("tests" in before):
        found["tests"] = {} if "tests" in after else None
    if _of(after, "gates.") != _of(before, "gates."):
        found["gates"] = _gates(document.get("gates"), after)
    if _of(after, "arm.") != _of(before, "arm."):
        found |= _arm_keys(rows_of(after, "arm"))
    names, old_names = ([arm.get("name", "") for arm in rows_of(i, "arm")] for i in (after, before))
    if names != old_names or _of(after, "step.") != _of(before, "step."):
        found["steps"] = [_step(row, names) for row in rows_of(after, "step")]
    return found


def _tidy(inputs: Inputs) -> dict[str, str]:
    """The inputs without differences that mean nothing: line ends of browsers, outer spaces, empty fields of rows."""
    lines = {key: [line.strip() for line in value.splitlines()] for key, value in inputs.items()}
    tidy = {key: "\n".join(line for line in found if line) for key, found in lines.items()}
    return {key: value for key, value in tidy.items() if value or not key.startswith("step.")}


def _of(inputs: Inputs, prefix: str) -> dict[str, str]:
    return {key: value for key, value in inputs.items() if key.startswith(prefix)}


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _lines(key: str, value: Any) -> str:
    return "\n".join(to_line(key, entry) for entry in _listed(value))


def _entries(key: str, text: str) -> list[Any]:
    return [from_line(key, line) for line in text.splitlines()]


def _value(key: str, text: str) -> Any:
    if key in CHOICES:
        return None if text == CHOICES[key] else text
    if not text:
        return None
    if key == "seed":
        return int(text) if text.isascii() and text.isdigit() and len(text) < 17 else text
    if key == "closing":
        return {"retreat": share(text)}
    if key == "decide":
        return from_line(key, text)
    if key in LINES:
        return _entries(key, text)
    if key in LISTS:
        return [from_line(key, part.strip()) for part in text.split(",") if part.strip()]
    return text


def _channels(before: list[Any], after: Inputs) -> list[str]:
    """Those that are ticked, the old ones in their old order."""
    ticked = [channel for channel in _CHANNELS if f"channel.{channel}" in after]
    return [*(c for c in before if c in ticked), *(c for c in ticked if c not in before)]


# ------------------------------------------------------------------ gates


def _gate_inputs(gates: Any) -> dict[str, str]:
    given = gates if isinstance(gates, Mapping) else {}
    profile = "none" if gates == [] else _text(given.get("profile", "standard"))
    return {
        "gates.profile": profile,
        "gates.max_call_time": _text(given.get("max_call_time")),
        "gates.metrics": _lines("metrics", given.get("metrics")),
    }


def _gates(before: Any, after: Inputs) -> dict[str, Any] | None:
    """The plan's gates after the form; keys without a field of their own are kept."""
    profile = after.get("gates.profile", "")
    shown = {
        "profile": None if profile == "standard" else profile,
        "metrics": _entries("metrics", after.get("gates.metrics", "")) or None,
        "max_call_time": after.get("gates.max_call_time") or None,
    }
    merged = {**shown, **(before if isinstance(before, Mapping) else {}), **shown}
    return {key: value for key, value in merged.items() if value is not None} or None


# ------------------------------------------------------------------ versions and steps


def _arms(document: Mapping[str, Any]) -> list[Row]:
    variants = document.get("variants")
    if isinstance(variants, Mapping) and variants:
        return [{"name": str(name), **_agent(ref)} for name, ref in variants.items()]
    return [{"name": "", **_agent(document.get("canary"))}]


def _agent(ref: Any) -> Row:
    given = ref if isinstance(ref, Mapping) else {}
    return {"agent": _text(given.get("agent_id")), "version": _text(given.get("agent_version"))}


def _arm_keys(rows: list[Row]) -> dict[str, Any]:
    """`canary` for one version without a name, else `variants`."""
    refs = [{"agent_id": row.get("agent", ""), "agent_version": version(row.get("version", ""))} for row in rows]
    if len(rows) == 1 and not rows[0].get("name"):
        return {"canary": refs[0], "variants": None}
    return {"canary": None, "variants": {row.get("name", ""): ref for row, ref in zip(rows, refs, strict=True)}}


def _step_row(step: Any, arms: list[Row]) -> Row:
    given = step if isinstance(step, Mapping) else {}
    weights = given.get("weights")
    by_name = weights if isinstance(weights, Mapping) else {"": given.get("weight")}
    found = {f"weight.{i}": percent(by_name.get(arm["name"] or _unnamed(by_name))) for i, arm in enumerate(arms)}
    hold = given.get("hold")
    if isinstance(hold, Mapping):
        hold, found["open"] = hold.get("open"), "on"
    found |= {"hold": _text(hold), "min_calls": _text(given.get("min_calls"))}
    return found | ({"approve": "on"} if given.get("approve") is True else {})


def _unnamed(weights: Mapping[str, Any]) -> str:
    """The name that weights have for a single version without one."""
    return "canary" if "canary" in weights else ""


def _step(row: Row, names: list[str]) -> dict[str, Any]:
    weights = {name: share(row[f"weight.{i}"]) for i, name in enumerate(names) if row.get(f"weight.{i}")}
    if names == [""]:
        found: dict[str, Any] = {"weight": weights[""]} if weights else {}
    else:
        found = {"weights": weights}
    if hold := row.get("hold"):
        found["hold"] = {"open": hold} if "open" in row else hold
    if calls := row.get("min_calls"):
        found["min_calls"] = int(calls) if calls.isascii() and calls.isdigit() and len(calls) < 10 else calls
    return found | ({"approve": True} if "approve" in row else {})
