"""The text of the plan that `rollout init` writes, from what a number serves and the answers to its questions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rollout.domain.errors import InputError

if TYPE_CHECKING:
    from rollout.domain.writes.answers import Reading

TEMPLATE = """\
# Written by `rollout init` from what {number} served. What every key means: config/plan.schema.json, docs/.
version: 1
name: {name}
numbers: ["{number}"]
channels: [{channels}]
canary: {{agent_id: {agent}, agent_version: {version}}}
{baseline}steps:
{steps}
gates: {{profile: {profile}}} # standard, low-traffic (tens of calls a day), strict, none
on_failure: rollback
"""


def name(reading: Reading, version: int) -> str:
    """The name that is proposed: the number's nickname, else its digits, and the version."""
    words = re.sub(r"[^a-z0-9]+", "-", (reading.nickname or reading.number.lstrip("+")).lower()).strip("-")
    return f"{words[:60] or 'plan'}-v{version}"


def scalar(text: str) -> str:
    """A text as YAML reads it back."""
    return text if re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", text) else f"'{text.replace(chr(39), chr(39) * 2)}'"


def steps(weights: str, holds: str) -> str:
    """The lines of the steps from two lists with commas; InputError if one is longer than the other."""
    shares = [w.strip() for w in weights.split(",") if w.strip()]
    times = [h.strip() for h in holds.split(",") if h.strip()]
    if len(shares) != len(times):
        raise InputError(
            f"--weights has {len(shares)} steps and --holds {len(times)}: write one hold for each step; the last is "
            "the bake"
        )
    return "\n".join(f"  - {{weight: {w}, hold: {h}}}" for w, h in zip(shares, times, strict=True))


def baseline(lists: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    """The lines that refuse to start on any other baseline; empty where one cannot be written exactly."""
    from rollout.domain.splits.splits import TOTAL, basis_points, same

    first = lists[0]
    exact = all(
        isinstance(e.get("agent_version"), int) and abs(basis_points(e["weight"]) / TOTAL - float(e["weight"])) < 1e-12
        for e in first
    )
    if not exact or any(not same(other, first) for other in lists[1:]):
        return ""
    entries = [
        f"{{agent_id: {e['agent_id']}, agent_version: {e['agent_version']}"
        + (f", weight: {e['weight']:g}}}" if len(first) > 1 else "}")
        for e in first
    ]
    if len(entries) == 1:
        return f"baseline: {entries[0]} # refuse to start on anything else\n"
    return "baseline: # refuse to start on anything else\n" + "".join(f"  - {e}\n" for e in entries)
