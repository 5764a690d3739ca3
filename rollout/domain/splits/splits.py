"""Splits in basis points: who serves which share of new calls, and how that is written for Retell.

Shares are integers that add up to 10 000, so nothing drifts; floats appear only in `to_wire`.
A baseline is never re-normalised on its way back: a rollback writes the list as it was read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from rollout.domain import compact_json
from rollout.domain.errors import SplitError
from rollout.domain.splits.summation import order_adding_up

TOTAL = 10_000

_DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,40})?([eE][-+]?[0-9]{1,4})?|\.[0-9]{1,40}", re.ASCII)
_NUMERIC_VERSION = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SplitEntry:
    """One agent of a split. `agent_version` is a number, a tag, or None when the list has none."""

    agent_id: str
    agent_version: int | str | None
    points: int


Split = tuple[SplitEntry, ...]


def weights_text(weights: Mapping[str, int]) -> str:
    """Basis points by arm, for people: `10 % canary`, `20 % b, 12.5 % c`."""
    return ", ".join(f"{points / 100:g} % {arm}" for arm, points in weights.items())


def basis_points(weight: object) -> int:
    """A weight (0..1) in basis points, exactly; SplitError for anything that is not whole points."""
    exact = exact_weight(weight)
    if exact is None:
        raise SplitError(f"{weight!r} is not a weight; write a number from 0 to 1, for example 0.1")
    if exact < 0:
        raise SplitError(f"{weight} is below 0; write a weight from 0 to 1, for example 0.1")
    if exact > 1:
        hint = f", for example {exact / 100} for {exact} %" if exact <= 100 else ""
        raise SplitError(f"{weight} is above 1, which is all calls; write a weight from 0 to 1{hint}")
    scaled = exact * TOTAL
    if scaled != scaled.to_integral_value():
        raise SplitError(
            f"{weight} has more than four decimals; write at most four, for example {exact:.4f}"
            if exact > Decimal("0.00005")
            else f"{weight} has more than four decimals; the smallest weight is 0.0001"
        )
    return int(scaled)


def exact_weight(weight: object) -> Decimal | None:
    """The decimal that a person sees when the weight is printed; None if it is no finite number."""
    if isinstance(weight, bool):
        return None
    if isinstance(weight, Decimal):
        return weight if weight.is_finite() else None
    if isinstance(weight, int):
        return Decimal(weight)
    if isinstance(weight, float):
        return Decimal(repr(weight)) if math.isfinite(weight) else None
    if isinstance(weight, str) and _DECIMAL.fullmatch(weight):
        return Decimal(weight)
    return None


def compose(
    baseline: Sequence[Mapping[str, Any]] | None, variants: Mapping[str, tuple[str, int]], weights: Mapping[str, int]
) -> Split:
    """The split in which each variant has exactly its points and the baseline shares the rest.

    `baseline` is Retell's list verbatim (agent_id, agent_version?, weight), `variants` maps a name
    to (agent_id, agent_version), `weights` a name to basis points. The rest goes to the baseline's
    entries in their old proportions by largest remainder, each at least one point. Variants come
    first, in the order of `variants`. SplitError says what cannot be had and what to write.
    """
    taken = _checked_weights(variants, weights)
    old = [_baseline_entry(entry) for entry in baseline or ()]
    if not old:
        raise SplitError(
            "this channel serves no agent, so there is nothing to roll back to; "
            "bind an agent to it first, or leave the channel out of the plan"
        )
    _refuse_overlap(old, variants)
    rest = TOTAL - taken
    if 0 < rest < len(old):
        most = Decimal(TOTAL - len(old)) / TOTAL
        raise SplitError(
            f"a weight of {_text(taken)} leaves {_text(rest)} for the {len(old)} entries of the baseline, "
            f"and each needs at least 0.0001; write at most {most} or 1"
        )
    arms = [
        SplitEntry(agent, version, weights[name])
        for name, (agent, version) in variants.items()
        if weights.get(name, 0) > 0
    ]
    if rest == 0:
        return tuple(arms)
    shares = _apportion(rest, [weight for _, _, weight in old])
    kept = [SplitEntry(agent, version, share) for (agent, version, _), share in zip(old, shares, strict=True)]
    return (*arms, *kept)


def _checked_weights(variants: Mapping[str, tuple[str, int]], weights: Mapping[str, int]) -> int:
    for name, share in weights.items():
        if name not in variants:
            known = ", ".join(variants) or "none"
            raise SplitError(f"there is no variant {name!r}; write one of: {known}")
        if isinstance(share, bool) or not isinstance(share, int) or not 0 <= share <= TOTAL:
            raise SplitError(f"{name}: {share!r} is not a share; write whole basis points from 0 to {TOTAL}")
    pairs = [(agent, normal_version(version)) for agent, version in variants.values()]
    if len(set(pairs)) != len(pairs):
        raise SplitError("two variants are the same agent and version; write each version once")
    taken = sum(weights.values())
    if taken > TOTAL:
        raise SplitError(f"the weights add up to {_text(taken)}; write weights that add up to at most 1")
    return taken


def _baseline_entry(entry: Mapping[str, Any]) -> tuple[str, int | str | None, Fraction]:
    agent, weight = entry.get("agent_id"), exact_weight(entry.get("weight"))
    if not isinstance(agent, str) or not agent or weight is None or weight <= 0:
        raise SplitError(
            f"the live list has an entry that cannot be read ({dict(entry)!r}); every entry needs an "
            "agent_id and a weight above 0: set the number's agents again, then start again"
        )
    return agent, normal_version(entry.get("agent_version")), Fraction(weight)


def _refuse_overlap(
    old: Sequence[tuple[str, int | str | None, Fraction]], variants: Mapping[str, tuple[str, int]]
) -> None:
    total = sum(weight for _, _, weight in old)
    for name, (agent, version) in variants.items():
        served = sum(w for a, v, w in old if (a, v) == (agent, normal_version(version)))
        if served:
            share = float(100 * served / total)
            raise SplitError(
                f"{name} ({agent} v{version}) is already in the baseline, with {share:.4g} % of the calls, "
                "so there would be nothing to compare it with or to go back to; write another agent_version, "
                "or first let the number serve only the version to return to and then start"
            )


def _apportion(total: int, weights: Sequence[Fraction]) -> list[int]:
    """Whole points in the proportions of `weights` by largest remainder, each at least one.

    Entries that would get nothing are set to one point and the others share what is left, until
    all have some. Of equal remainders the earlier entry wins, so the answer is one for one input.
    """
    minimal: set[int] = set()
    while True:
        free = [i for i in range(len(weights)) if i not in minimal]
        budget, whole = total - len(minimal), sum(weights[i] for i in free)
        quotas = {i: weights[i] * budget / whole for i in free}
        shares = {i: math.floor(quota) for i, quota in quotas.items()}
        by_remainder = sorted(free, key=lambda i: (shares[i] - quotas[i], i))
        for i in by_remainder[: budget - sum(shares.values())]:
            shares[i] += 1
        starved = {i for i in free if shares[i] == 0}
        if not starved:
            return [shares.get(i, 1) for i in range(len(weights))]
        minimal |= starved


def to_wire(split: Split) -> list[dict[str, Any]]:
    """Retell's list, ready for JSON: decimals of at most four places that add up to exactly 1.

    The order is the split's own if adding its doubles from left to right gives exactly 1.0, else
    the nearest order (by last positions) that does; if no order does, the split's own.
    """
    if not split or sum(entry.points for entry in split) != TOTAL or min(e.points for e in split) < 1:
        raise SplitError("a split must have entries of at least one basis point that add up to 10000")
    wire = []
    for index in order_adding_up(tuple(entry.points / TOTAL for entry in split)):
        entry = split[index]
        version = {} if entry.agent_version is None else {"agent_version": entry.agent_version}
        wire.append({"agent_id": entry.agent_id, **version, "weight": entry.points / TOTAL})
    return wire


def normal_version(version: object) -> int | str | None:
    """3, "3" and 3.0 are the number 3; other text is a tag; None stays None."""
    if version is None or (isinstance(version, int) and not isinstance(version, bool)):
        return version
    if isinstance(version, str):
        return int(version) if _NUMERIC_VERSION.fullmatch(version) else version
    if isinstance(version, float) and version.is_integer():
        return int(version)
    return f"?{version!r}"


def fingerprint(entries: Sequence[Mapping[str, Any]] | None) -> tuple[tuple[Any, ...], ...] | None:
    """The meaning of a list of agents, whatever its order and extra fields; for comparing, never for writing.

    Sorted (agent_id, version, weight in millionths); None stays None (no list), [] is (). Never
    raises: what cannot be read becomes text that equals nothing of ours, so that it shows as drift.
    """
    if entries is None:
        return None
    return tuple(sorted((_facts(entry) for entry in entries), key=repr))


def _facts(entry: object) -> tuple[Any, ...]:
    if not isinstance(entry, Mapping):
        return (f"?{entry!r}",)
    agent, weight = entry.get("agent_id"), entry.get("weight")
    exact = None if isinstance(weight, str) else exact_weight(weight)
    millionths: int | str = f"?{weight!r}" if exact is None or abs(exact) > TOTAL else round(exact * 1_000_000)
    return (agent if isinstance(agent, str) else f"?{agent!r}", normal_version(entry.get("agent_version")), millionths)


def same(a: Sequence[Mapping[str, Any]] | None, b: Sequence[Mapping[str, Any]] | None) -> bool:
    """True if two lists of agents mean the same split."""
    return a is b or _meaning(a) == _meaning(b)


def _meaning(entries: Sequence[Mapping[str, Any]] | None) -> tuple[tuple[Any, ...], ...] | None:
    """`fingerprint`, worked out once for each text: a fleet's numbers show the same few lists."""
    if entries is None:
        return None
    try:
        return _known(compact_json.dumps(entries))
    except (TypeError, ValueError, RecursionError):  # no JSON that Retell could have sent
        return fingerprint(entries)


@lru_cache(maxsize=512)
def _known(text: str) -> tuple[tuple[Any, ...], ...] | None:
    return fingerprint(compact_json.loads(text))


def describe(entries: Sequence[Mapping[str, Any]] | Split | None, names: Mapping[str, str] | None = None) -> str:
    """A split for people: "10 % agent_abc v7, 90 % agent_abc v6". `names`: agent_id to display name."""
    if not entries:
        return "no list" if entries is None else "no agent"
    parts = []
    for entry in entries:
        if isinstance(entry, SplitEntry):
            agent, version, weight = entry.agent_id, entry.agent_version, Decimal(entry.points) / TOTAL
        else:
            agent, version = str(entry.get("agent_id")), normal_version(entry.get("agent_version"))
            weight = exact_weight(entry.get("weight")) or Decimal(0)
        shown = (names or {}).get(agent, agent)
        which = f"v{version}" if isinstance(version, int) else version or "(no version)"
        parts.append(f"{_percent(weight)} % {shown} {which}")
    return ", ".join(parts)


def _percent(weight: Decimal) -> str:
    return f"{(weight * 100).normalize():f}"


def _text(share: int) -> str:
    return f"{(Decimal(share) / TOTAL).normalize():f}"
