"""Text for people: tables, times in the reader's zone, and nothing that a terminal would obey."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PHASES = {
    "pending": "dim",
    "progressing": "cyan",
    "paused": "yellow",
    "held": "bold red",
    "promoted": "green",
    "rolling_back": "bold magenta",
    "rolled_back": "magenta",
    "stopped": "dim",
}


def plain(text: object) -> str:
    """Text without control and direction characters: names come from plans, and from Retell."""
    return _CONTROL.sub("?", str(text))


@lru_cache(maxsize=2)
def console(stderr: bool = False) -> Console:
    """rich on this terminal; plain text when it is none, or NO_COLOR is set."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, soft_wrap=False)


def local(text: str | None) -> str:
    """A UTC time of the JSON form, in the reader's zone."""
    if not text:
        return "-"
    moment = datetime.fromisoformat(text).astimezone()
    today = datetime.fromtimestamp(_now().timestamp(), moment.tzinfo).date()
    return moment.strftime("%H:%M:%S" if moment.date() == today else "%a %d %b %H:%M")


def span(text: str | None) -> str:
    """How far a time is from now: `in 4 min`, `2 h ago`."""
    if not text:
        return "-"
    seconds = (datetime.fromisoformat(text) - _now()).total_seconds()
    size = abs(seconds)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if size >= length:
            return f"in {size / length:.0f} {unit}" if seconds > 0 else f"{size / length:.0f} {unit} ago"
    return "now"


def _now() -> datetime:
    from rollout.clock import SystemClock

    return SystemClock().now().astimezone(UTC)


def table(*columns: str) -> Table:
    """An empty table in the house style."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    made = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def staircase(document: dict[str, Any], width: int = 3) -> str:
    """The plan's steps as bars, the position in brackets: `▁ [▄] █`."""
    bars = "▁▂▃▄▅▆▇█"
    steps = document.get("plan", {}).get("steps", [])
    current = document["position"]["step"]
    parts = []
    for i, step in enumerate(steps, 1):
        share = step.get("weight") or sum((step.get("weights") or {}).values())
        bar = bars[min(7, max(0, round(share * 8) - 1))] * width
        parts.append(f"[{bar}]" if i == current else f" {bar} ")
    return "".join(parts)


def percent(weight: float | None) -> str:
    """`12.5 %` of 0.125."""
    return "-" if weight is None else f"{weight * 100:g} %"


def split_text(lists: dict[str, Any] | None) -> str:
    """A number's lists in words."""
    from rollout.domain.splits import describe

    if not lists:
        return "-"
    if len(lists) == 1:
        return plain(describe(next(iter(lists.values()))))
    return plain("; ".join(f"{field.removesuffix('_agents')}: {describe(v)}" for field, v in lists.items()))
