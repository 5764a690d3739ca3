"""Entries of a plan's lists, one a line: short where a short form says it all, else as YAML in braces."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from rollout.adapters.planfile import from_one_line, on_one_line
from rollout.domain.plan.calendar import Day
from rollout.interfaces.views.value_text import visible

_DAYS = [day.value for day in Day]
_SERVING = re.compile(r"serving: (\S+)(?: (\S+))?")
_WINDOW = re.compile(r"(?:([a-z]{3}(?:(?:-|, ?)[a-z]{3})*) )?(\S+?) ?- ?(\S+)")
_FREEZE = re.compile(r"(\S+) to (\S+): (.+)")
_NOTICE = re.compile(r"(\S+) ([a-z]+)")
_ALERT = re.compile(r"([^=:,{}]+=[^=:,{}]+(?:, ?[^=:,{}]+=[^=:,{}]+)*)(?:: ([a-z]+))?")
_ENTRY = re.compile(r"(\S+)(?: (v[0-9]+|[a-z][a-z0-9_-]*))?(?: ([0-9.]+) ?%)?")


def to_line(key: str, entry: Any) -> str:
    """One entry of the list `key` as a line; `from_line` reads it back."""
    try:
        short = _SHORT[key][0](entry) if key in _SHORT else str(entry)
    except (KeyError, TypeError, ValueError, AttributeError):
        short = ""
    if short and short == visible(short.strip()) and from_line(key, short) == entry:
        return short
    line = on_one_line(entry)
    return line if isinstance(entry, Mapping) and visible(line) == line else str(entry)


def from_line(key: str, line: str) -> Any:
    """The entry that a line means; the line itself where it means none, for the reader of plans to complain."""
    if line.startswith("{"):
        return from_one_line(line)
    return _SHORT[key][1](line) if key in _SHORT else line


def percent(value: Any) -> str:
    """A share of a plan as a percentage: 0.125 is 12.5. What is no number stays as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    return f"{round(value * 100, 6):g}" if abs(value) < 1e6 else str(value)


def share(text: str) -> Any:
    """The share that a percentage means; the text where it is no number."""
    try:
        return round(float(text.strip().removesuffix("%")) / 100, 8)
    except ValueError:
        return text


def version(text: str) -> int | str:
    """A version as it is typed: 7 and v7 are numbers, anything else is a tag."""
    digits = text.removeprefix("v")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 10 else text


def _numbers_line(entry: Any) -> str:
    if isinstance(entry, str):
        return entry
    if set(entry) == {"nickname"}:
        return f"nickname: {entry['nickname']}"
    return f"serving: {_agent_line(entry['serving'])}"


def _numbers_entry(line: str) -> Any:
    if line.startswith("nickname: "):
        return {"nickname": line.removeprefix("nickname: ").strip()}
    if found := _SERVING.fullmatch(line):
        return {"serving": _agent_entry(found[1], found[2])}
    return line


def _agent_line(entry: Mapping[str, Any]) -> str:
    tried = entry.get("agent_version")
    return f"{entry['agent_id']}" + ("" if tried is None else f" v{tried}" if isinstance(tried, int) else f" {tried}")


def _agent_entry(agent: str, tried: str | None) -> dict[str, Any]:
    return {"agent_id": agent, **({} if tried is None else {"agent_version": version(tried)})}


def _window_line(entry: Mapping[str, Any]) -> str:
    days = f"{_day_ranges(entry['days'])} " if "days" in entry else ""
    return f"{days}{entry['from']}-{entry['to']}"


def _day_ranges(days: list[str]) -> str:
    runs: list[list[str]] = []
    for day in days:
        follows = runs and _DAYS.index(day) == _DAYS.index(runs[-1][-1]) + 1
        runs[-1].append(day) if follows else runs.append([day])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs)


def _window_entry(line: str) -> Any:
    found = _WINDOW.fullmatch(line)
    if not found:
        return line
    days: list[str] = []
    for part in re.split(", ?", found[1] or ""):
        first, _, last = part.partition("-")
        known = first in _DAYS and last in _DAYS
        days += _DAYS[_DAYS.index(first) : _DAYS.index(last) + 1] if known else [part] if part else []
    return {**({"days": days} if days else {}), "from": found[2], "to": found[3]}


def _freeze_line(entry: Mapping[str, Any]) -> str:
    return f"{entry['from']} to {entry['to']}: {entry['reason']}"


def _freeze_entry(line: str) -> Any:
    found = _FREEZE.fullmatch(line)
    return {"from": found[1], "to": found[2], "reason": found[3].strip()} if found else line


def _notice_line(entry: Mapping[str, Any]) -> str:
    return f"{entry['url']}" + (f" {entry['min_severity']}" if "min_severity" in entry else "")


def _notice_entry(line: str) -> Any:
    found = _NOTICE.fullmatch(line)
    return {"url": found[1], "min_severity": found[2]} if found else {"url": line}


def _alert_line(entry: Mapping[str, Any]) -> str:
    labels = ", ".join(f"{label}={value}" for label, value in entry["match"].items())
    return labels + (f": {entry['action']}" if "action" in entry else "")


def _alert_entry(line: str) -> Any:
    found = _ALERT.fullmatch(line)
    if not found:
        return line
    pairs = (pair.strip().partition("=") for pair in found[1].split(","))
    return {"match": {label: value for label, _, value in pairs}, **({"action": found[2]} if found[2] else {})}


def _baseline_line(entry: Mapping[str, Any]) -> str:
    return _agent_line(entry) + (f" {percent(entry['weight'])} %" if "weight" in entry else "")


def _baseline_entry(line: str) -> Any:
    found = _ENTRY.fullmatch(line)
    if not found:
        return line
    return {**_agent_entry(found[1], found[2]), **({} if found[3] is None else {"weight": share(found[3])})}


def _metric_line(entry: Mapping[str, Any]) -> str:
    return str(entry["name"])


def _metric_entry(line: str) -> Any:
    return {"name": line}


def _wave_line(entry: Any) -> str:
    return str(entry)


def _wave_entry(line: str) -> Any:
    return int(line) if line.isascii() and line.isdigit() and len(line) < 10 else line


_SHORT: Mapping[str, tuple[Callable[[Any], str], Callable[[str], Any]]] = {
    "numbers": (_numbers_line, _numbers_entry),
    "windows": (_window_line, _window_entry),
    "freezes": (_freeze_line, _freeze_entry),
    "notify": (_notice_line, _notice_entry),
    "alerts": (_alert_line, _alert_entry),
    "baseline": (_baseline_line, _baseline_entry),
    "metrics": (_metric_line, _metric_entry),
    "waves": (_wave_line, _wave_entry),
}
