"""A journal entry in words, the same on the command line and on the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rollout.domain.lifecycle.entries import (
    CommandGiven,
    IntendedBatch,
    ObservedNumbers,
    PromoteGiven,
    SettledBatch,
    parse,
)
from rollout.domain.lifecycle.hand_split import HandSplit
from rollout.domain.lifecycle.state import Kind
from rollout.domain.splits.splits import weights_text

MOST_FINDINGS = 5


def wording(kind: str, reason: str, data: Mapping[str, Any]) -> str:
    """The sentence of an entry, in one line; how many numbers are written only where `data` has the change of the tables."""
    match parse(kind, data):
        case SettledBatch(outcomes=outcomes):
            words = Counter(_word(each.outcome) for each in outcomes.values())
            return ", ".join(f"{n} {word}" for word, n in words.items())
        case IntendedBatch() as batch:
            return _intended(batch)
        case ObservedNumbers(findings) if not reason:
            told = [f"{number}: {_word(finding)}" for number, finding in list(findings.items())[:MOST_FINDINGS]]
            more = len(findings) - len(told)
            return ", ".join(told) + (f" and {more} more" if more else "")
        case PromoteGiven(since, to):
            step = f"from {since} to {to}"
            return f"{step}: {reason}" if reason else step
        case CommandGiven(by_hand=HandSplit(ships=str() as variant), missing=missing):
            shipped = variant if missing is None else f"{variant}, although {missing.removesuffix('.')}"
            return f"{shipped}: {reason}" if reason else shipped
        case CommandGiven(by_hand=HandSplit() as split):
            weights = weights_text(split.weights)
            return f"{weights}: {reason}" if reason else weights
    return reason


def _intended(batch: IntendedBatch) -> str:
    what = "the baseline" if batch.kind is Kind.BASELINE else f"step {batch.position}"
    if batch.retreated is not None:
        what = f"the retreat weight, {batch.retreated / 100:g} %"
    elif batch.by_hand is not None:
        who = f"what a person set at {batch.position}" if batch.by_hand.ships is None else "what is shipped"
        what = f"{who}, {weights_text(batch.by_hand.weights)}"
    if batch.writes is None:
        return f"to write {what}"
    return f"to write {what} to {batch.writes} number{'' if batch.writes == 1 else 's'}"


def _word(value: object) -> str:
    return str(value).replace("_", " ")
