"""A journal entry in words, the same on the command line and on the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

MOST_FINDINGS = 5


def wording(kind: str, reason: str, data: Mapping[str, Any]) -> str:
    """The sentence of an entry, in one line; how many numbers are written only where `data` has the change of the tables."""
    match kind:
        case "settled":
            return _settled(data.get("outcomes") or {})
        case "intended":
            return _intended(data)
        case "observed" if not reason:
            found = list((data.get("findings") or {}).items())[:MOST_FINDINGS]
            return ", ".join(f"{number}: {_word(finding)}" for number, finding in found)
        case "promote" if data.get("to"):
            step = f"from {data.get('from')} to {data['to']}"
            return f"{step}: {reason}" if reason else step
        case "set" if data.get("by_hand"):
            weights = _weights(data["by_hand"])
            return f"{weights}: {reason}" if reason else weights
    return reason


def _settled(outcomes: Mapping[str, Any]) -> str:
    words = Counter(_word(o["outcome"] if isinstance(o, Mapping) else o) for o in outcomes.values())
    return ", ".join(f"{n} {word}" for word, n in words.items())


def _intended(data: Mapping[str, Any]) -> str:
    what = "the baseline" if data.get("kind") == "baseline" else f"step {data.get('position')}"
    if data.get("retreated") is not None:
        what = f"the retreat weight, {data['retreated'] / 100:g} %"
    elif data.get("by_hand") is not None:
        what = f"what a person set at {data.get('position')}, {_weights(data['by_hand'])}"
    writes = data.get("change", {}).get("new_writes")
    if writes is None:
        return f"to write {what}"
    return f"to write {what} to {len(writes)} number{'' if len(writes) == 1 else 's'}"


def _weights(by_hand: Mapping[str, Any]) -> str:
    return ", ".join(f"{points / 100:g} % {arm}" for arm, points in by_hand["weights"].items())


def _word(value: object) -> str:
    return str(value).replace("_", " ")
