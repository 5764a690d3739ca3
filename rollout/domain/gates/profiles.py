"""The demands of a gate: its metrics with shares and margins, its levels and floors, and the three profiles.

Plain frozen values without numpy, so that checking a plan does not pay for judging calls. `from_plan` turns
the `gates:` entry of a plan into a GateConfig and refuses what could never be decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from rollout.domain.calendar import durations
from rollout.domain.errors import InputError
from rollout.domain.gates.metrics import (
    BUILT_IN,
    EARLY_SECONDS,
    LATENCY_PARTS,
    LATENCY_QUANTILES,
    QUANTILES,
    SOURCES,
    USUAL_QUANTILE,
    MetricRule,
)

USUAL = ("success", "hard_error", "slow", "negative")
_USUAL_SHARES = {"success": 0.5, "hard_error": 0.25, "slow": 0.125}  # the rest share an eighth
N = TypeVar("N", int, float)

# The rules by which evidence is weighed. A rollout keeps those it began under, so that a stored verdict computes
# again to the same figures. 1: one table of bets, one split, one ledger in the watch. 2: bets that know the
# baseline's history, a split per number once the numbers speak of one, a proof of each wave's own, the narrowest
# margin before weight 1, the labels alarm, fresh ledgers in the watch.
EDITION = 2


@dataclass(frozen=True, slots=True)
class GateConfig:
    """Everything the verdict depends on besides the calls; fixed when a rollout starts.

    alpha, beta: bounds on wrong rollbacks and wrong promotions. floors: canary calls a step needs.
    amber, split_alarm, watch_alarm: e-values that hold a rollout or tell people. least_bad: bad canary calls
    without which nothing is rolled back. watch_acts: a watch alarm in the last hold, at weight 1, fails instead of
    telling. labels_alarm: e-value at which results are said to go missing on one side; strata_from: the one from
    which a wrong split is paid for per number. edition: see EDITION; history: the baseline's bad rate before the
    rollout, by series, where it was known. variant: the one that is judged; empty: the plan's only canary.
    """

    profile: str = "standard"
    alpha: float = 0.10
    beta: float = 0.10
    floors: tuple[int, ...] = (30, 100)
    metrics: tuple[MetricRule, ...] = ()
    amber: float = 3.0
    split_alarm: float = 100.0
    watch_alarm: float = 100.0
    least_bad: int = 3
    watch_acts: bool = False
    labels_alarm: float = 100.0
    strata_from: float = 10.0
    edition: int = EDITION
    history: Mapping[str, float] = field(default_factory=dict)
    variant: str = ""

    @property
    def who(self) -> str:
        """The version that is judged, as sentences name it."""
        return f"variant {self.variant}" if self.variant else "the canary"

    @property
    def compared(self) -> tuple[MetricRule, ...]:
        return tuple(m for m in self.metrics if not m.external)

    @property
    def critical(self) -> tuple[MetricRule, ...]:
        return tuple(m for m in self.metrics if m.critical)

    @property
    def unbet(self) -> float:
        """The part of the money that no metric's share bets; it counts as E = 1."""
        left = 1.0 - sum(m.share for m in self.compared)
        return left if left > 1e-9 else 0.0

    @property
    def series(self) -> tuple[str, ...]:
        return tuple(name for m in self.metrics for name in m.series)

    def to_json(self) -> dict[str, Any]:
        metrics = [m.to_json() for m in self.metrics]
        return {**asdict(self), "floors": list(self.floors), "metrics": metrics}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GateConfig:
        metrics = tuple(MetricRule.from_json(m) for m in data["metrics"])
        return cls(**{"edition": 1, **data, "floors": tuple(data["floors"]), "metrics": metrics})


@dataclass(frozen=True, slots=True)
class Profile:
    """The numbers that tell one profile from another."""

    alpha: float
    beta: float
    floors: tuple[int, ...]
    margins: Mapping[str, tuple[float, ...]]


PROFILES: Mapping[str, Profile] = {
    "standard": Profile(0.10, 0.10, (30, 100), {"success": (0.25, 0.08), "hard_error": (0.15, 0.05)}),
    "low-traffic": Profile(0.10, 0.10, (20, 60), {"success": (0.30, 0.15), "hard_error": (0.20, 0.08)}),
    "strict": Profile(0.05, 0.05, (30, 100), {"success": (0.20, 0.08), "hard_error": (0.10, 0.05)}),
}
# Of rollouts begun under edition 1, where it differs.
_EARLIER: Mapping[str, Profile] = {
    name: replace(p, margins={**p.margins, "success": (p.margins["success"][0], 0.10)})
    for name, p in PROFILES.items()
    if name != "low-traffic"
}


def profile_of(name: str, edition: int = EDITION) -> Profile:
    """The numbers of a profile; `none` has those of standard, which it does not use."""
    name = "standard" if name == "none" else name
    return _EARLIER.get(name, PROFILES[name]) if edition == 1 else PROFILES[name]


def at_step(values: Sequence[N], weight: float, step: int, *, narrow: bool = False) -> N:
    """The margin or floor that holds at a step (counted from 1) of this weight.

    One value holds everywhere. Of two, the first holds below weight 0.5 and the second from there on: what
    is at stake, not how many steps lead there, decides how much proof is due. Of more, each step of the plan
    has its own and the last one repeats. `narrow`: the step stands before weight 1, where every caller is at
    stake, and the least of one or two values holds whatever its own weight.
    """
    if len(values) <= 2:
        return min(values) if narrow else values[0] if weight < 0.5 else values[-1]
    return values[min(step, len(values)) - 1]


def usual_margin(rate: float, profile: str = "standard") -> float:
    """The widest last margin that suits a baseline with this bad rate: two thirds of it, at least five points.

    The low-traffic profile accepts more: the rate itself, at least eight points.
    """
    part = 1.0 if profile == "low-traffic" else 2 / 3
    return max(0.08 if profile == "low-traffic" else 0.05, round(part * rate, 2))


def before_full(shares: Sequence[float], step: int) -> bool:
    """True if this step (from 1), below weight 1, is followed by one at weight 1."""
    return step < len(shares) and shares[step - 1] < 1.0 <= shares[step]


def gate_config(profile: str = "standard", *, edition: int = EDITION, **changes: Any) -> GateConfig:
    """A profile with its four usual metrics: success, hard_error, slow, negative."""
    return from_plan({"profile": profile, **changes}, edition)


def from_plan(gates: Mapping[str, Any], edition: int = EDITION) -> GateConfig:
    """The `gates:` entry of a plan, as validated data, as a GateConfig. Raises InputError naming the field.

    Keys whose value is None count as left out. `max_call_time` and `hard_error_reasons` belong to how calls
    are read (counting.CallRules) and are ignored here.
    """
    name = str(gates.get("profile") or "standard")
    if name != "none" and name not in PROFILES:
        raise InputError(f"gates.profile: {name!r} is not known; write {', '.join(PROFILES)} or none.")
    profile = profile_of(name, edition)
    entries = gates.get("metrics") or ([] if name == "none" else [{"name": n} for n in USUAL])
    metrics = _with_shares([_metric(i, entry, profile) for i, entry in enumerate(entries)])
    if name == "none" and any(not m.external for m in metrics):
        raise InputError("gates.metrics: profile none judges no calls; write profile: standard or leave them out.")
    if name != "none" and not any(m.critical or m.external for m in metrics):
        raise InputError(
            "gates.metrics: no metric has margins, so every step would pass "
            "without proof; give one metric margins, such as margins: [0.25, 0.10]."
        )
    floors = (0,) if name == "none" else tuple(gates.get("floors") or profile.floors)
    acts = bool(gates.get("act_at_full_weight"))
    return GateConfig(name, profile.alpha, profile.beta, floors, metrics, watch_acts=acts, edition=edition)


def _metric(index: int, entry: Mapping[str, Any], profile: Profile) -> MetricRule:
    where, name = f"gates.metrics[{index}]", str(entry.get("name") or "")
    source = entry.get("prometheus") or entry.get("http")
    if source:
        limits = {k: None if source.get(k) is None else float(source[k]) for k in ("max", "min")}
        if limits["max"] is None and limits["min"] is None:
            raise InputError(f"{where}: there is no limit; write max: or min: with a number.")
        looks = int(source.get("for") or source.get("looks") or 1)
        return MetricRule(name, external=True, maximum=limits["max"], minimum=limits["min"], looks=looks)
    kind = next((key for key in SOURCES if entry.get(key) is not None), name)
    if kind == name and name not in BUILT_IN:
        raise InputError(
            f"{where}.name: {name!r} is not known; write one of {', '.join(BUILT_IN)}, "
            "or add custom:, tool_failed:, prometheus: or http:."
        )
    margins = entry.get("margins")
    chosen = profile.margins.get(kind, ()) if margins is None else tuple(margins)
    if not all(0 < x < 1 for x in chosen):
        raise InputError(f"{where}.margins: write numbers above 0 and below 1, such as [0.25, 0.10].")
    share = -1.0 if entry.get("share") is None else float(entry["share"])
    return MetricRule(name, share, tuple(map(float, chosen)), kind=kind, **_bad_when(kind, entry))


def _bad_when(kind: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a MetricRule that say which calls are bad."""
    own = entry.get(kind) or {}
    match kind:
        case "custom":
            values = tuple(float(v) if type(v) is int else v for v in entry.get("bad_values") or ())
            limits = {key: None if entry.get(key) is None else float(entry[key]) for key in ("bad_below", "bad_above")}
            return {"custom": own, "bad": bool(entry.get("bad")), "bad_values": values, **limits}
        case "tool_failed":
            return {"detail": own}
        case "early_hangup":
            within = own.get("within")
            return {"bad_below": EARLY_SECONDS if within is None else durations.parse(within).total_seconds()}
        case "cost" | "duration" | "latency":
            above = own.get("above", USUAL_QUANTILE)
            detail = f"{own.get('part', LATENCY_PARTS[0])}_{own.get('quantile', LATENCY_QUANTILES[0])}"
            found = {"detail": detail} if kind == "latency" else {}
            if above in QUANTILES:
                return {**found, "quantile": QUANTILES[above]}
            return {
                **found,
                "bad_above": durations.parse(above).total_seconds() if kind == "duration" else float(above),
            }
    return {}


def _with_shares(metrics: list[MetricRule]) -> tuple[MetricRule, ...]:
    """Metrics without a share get what the others leave of 1, in their usual proportions."""
    given = sum(m.share for m in metrics if not m.external and m.share >= 0)
    missing = [m.name for m in metrics if not m.external and m.share < 0]
    if given > 1 + 1e-9 or (missing and given > 1 - 1e-9):
        left = f", which leaves nothing for {missing[0]}" if missing else ""
        raise InputError(f"gates.metrics: the shares add up to {given:g}{left}; write smaller ones.")
    others = max(1, sum(n not in _USUAL_SHARES for n in missing))
    parts = {n: _USUAL_SHARES.get(n, 0.125 / others) for n in missing}
    return tuple(
        replace(m, share=parts[m.name] * ((1.0 - given) / sum(parts.values()))) if m.share < 0 else m for m in metrics
    )
