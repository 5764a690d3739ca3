"""Baselines for a rollback: whether Retell accepts them, and the form in which it does.

A rollback writes a baseline verbatim. A list may be live that Retell itself would refuse today: it was made before
a rule, or by a tool that rounds. So each list is judged before the first write, and for every list that is accepted
there is a second form, for when the first is refused: the same agents in their old proportions, adding up to
exactly 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from itertools import chain, product
from typing import Any

from rollout.domain import compact_json
from rollout.domain.errors import SplitError
from rollout.domain.lifecycle.state import Lists
from rollout.domain.plan.agents import is_version_or_tag
from rollout.domain.splits import splits
from rollout.domain.splits.summation import add

MOST_MISSED = Decimal("0.01")  # by which the weights of a live list may miss 1
AGENTS_ANEW = "set the number's agents again in Retell, with weights that add up to 1, then start again"


def reason_to_refuse(entries: Sequence[Mapping[str, Any]]) -> str | None:
    """Retell's reason to refuse this list, and what to do; None: there is a form of it that Retell takes."""
    weights = [splits.exact_weight(entry.get("weight")) for entry in entries]
    for entry, weight in zip(entries, weights, strict=True):
        if weight is None or not 0 < weight <= 1:
            return f"an entry has the weight {entry.get('weight')!r}, which is not above 0 and at most 1"
        version = splits.normal_version(entry.get("agent_version"))
        if version is not None and not is_version_or_tag(version):
            return f"an entry has the agent_version {version!r}, which is neither a version nor a tag"
    total = sum((w for w in weights if w is not None), Decimal(0))
    if abs(total - 1) > MOST_MISSED:
        return f"its weights add up to {total}, not to 1"
    return None


def wrong_sum(entries: Sequence[Mapping[str, Any]]) -> Decimal | None:
    """The sum of the weights, if that is not 1; None if it is, as decimals or as doubles."""
    weights = [splits.exact_weight(entry.get("weight")) or Decimal(0) for entry in entries]
    total = sum(weights, Decimal(0))
    return None if total == 1 or add([float(w) for w in weights]) == 1.0 else total


def exact_lists(baseline: Lists) -> dict[str, list[dict[str, Any]]]:
    """These lists in the form that the strictest Retell takes; a list that has none stays as it is.

    Whole basis points in the old proportions, in an order that adds up to exactly 1.0 as doubles; where none does, up
    to three points go from one entry to another (not always enough for fifteen or more that are nearly equal).
    Versions as numbers where they are some, and no field that Retell does not name.
    """
    return {
        field: [dict(entry) for entry in _exact(compact_json.dumps(entries or []))]
        for field, entries in baseline.items()
    }


@lru_cache(maxsize=512)
def _exact(text: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = compact_json.loads(text)
    some = [entry for entry in entries if splits.exact_weight(entry.get("weight")) != 0]
    try:
        split = splits.compose(some, {}, {})
    except SplitError:
        return entries
    wires = (splits.to_wire(each) for each in chain([split], _beside(split)))
    return next((wire for wire in wires if add([entry["weight"] for entry in wire]) == 1.0), splits.to_wire(split))


def _beside(split: splits.Split) -> Iterator[splits.Split]:
    """The splits in which one entry has one to three basis points less and another one as many more."""
    firsts = {entry.points: i for i, entry in reversed([*enumerate(split)])}  # of equal entries one is enough
    lasts = {entry.points: i for i, entry in enumerate(split)}
    for off, less, more in product((1, 2, 3), firsts.values(), lasts.values()):
        if less != more and split[less].points > off:
            points = {less: split[less].points - off, more: split[more].points + off}
            yield tuple(replace(e, points=points.get(i, e.points)) for i, e in enumerate(split))
