"""What a gate demands: its metrics with shares and margins, its levels and floors, and the three profiles.

Plain frozen values without numpy, so that checking a plan does not pay for judging calls. `from_plan` turns
the `gates:` entry of a plan into a GateConfig and refuses what could never be decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from rollout.domain.errors import InputError

USUAL = ("success", "hard_error", "slow", "negative")
BUILT_IN = (*USUAL, "voicemail")
_USUAL_SHARES = {"success": 0.5, "hard_error": 0.25, "slow": 0.125}  # the rest share an eighth
N = TypeVar("N", int, float)


@dataclass(frozen=True, slots=True)
class Metric:
    """One yes-or-no outcome of a call that is compared between the arms, or one external value with a limit.

    `share` is the part of the harm evidence that this metric carries; what the shares leave of 1 is not bet.
    `margins` are points of the bad rate as fractions (0.25 = 25 points); a metric with margins is critical: a
    step passes only when the canary is proven not to be worse by the margin. `bad` is the value of a custom
    field that counts as bad. External: below `minimum` or above `maximum` on `looks` looks in a row fails.
    """

    name: str
    share: float = 0.0
    margins: tuple[float, ...] = ()
    custom: str | None = None
    bad: bool = False
    external: bool = False
    maximum: float | None = None
    minimum: float | None = None
    looks: int = 1

    @property
    def critical(self) -> bool:
        return bool(self.margins)

    @property
    def series(self) -> tuple[str, ...]:
        """Names of the counted outcomes: latency is judged against two thresholds, the rest against one."""
        if self.external:
            return ()
        return ("slow:p50", "slow:p90") if self.name == "slow" and not self.custom else (self.name,)


@dataclass(frozen=True, slots=True)
class GateConfig:
    """Everything the verdict depends on besides the calls; fixed when a rollout starts.

    alpha, beta: bounds on wrong rollbacks and wrong promotions. floors: canary calls a step needs.
    amber, split_alarm, watch_alarm: e-values that hold a rollout or tell people. least_bad: bad canary calls
    without which nothing is rolled back. watch_acts: a watch alarm after weight 1 fails instead of telling.
    """

    profile: str = "standard"
    alpha: float = 0.10
    beta: float = 0.10
    floors: tuple[int, ...] = (30, 100)
    metrics: tuple[Metric, ...] = ()
    amber: float = 3.0
    split_alarm: float = 100.0
    watch_alarm: float = 100.0
    least_bad: int = 3
    watch_acts: bool = False

    @property
    def compared(self) -> tuple[Metric, ...]:
        return tuple(m for m in self.metrics if not m.external)

    @property
    def critical(self) -> tuple[Metric, ...]:
        return tuple(m for m in self.metrics if m.critical)

    @property
    def unbet(self) -> float:
        """What the shares leave of the whole euro; it stays in the pocket and counts E = 1."""
        left = 1.0 - sum(m.share for m in self.compared)
        return left if left > 1e-9 else 0.0

    @property
    def series(self) -> tuple[str, ...]:
        return tuple(name for m in self.metrics for name in m.series)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GateConfig:
        metrics = tuple(Metric(**{**m, "margins": tuple(m["margins"])}) for m in data["metrics"])
        return cls(**{**data, "floors": tuple(data["floors"]), "metrics": metrics})


@dataclass(frozen=True, slots=True)
class Profile:
    """The numbers that tell one profile from another."""

    alpha: float
    beta: float
    floors: tuple[int, ...]
    margins: Mapping[str, tuple[float, ...]]


PROFILES: Mapping[str, Profile] = {
    "standard": Profile(0.10, 0.10, (30, 100), {"success": (0.25, 0.10), "hard_error": (0.15, 0.05)}),
    "low-traffic": Profile(0.10, 0.10, (20, 60), {"success": (0.30, 0.15), "hard_error": (0.20, 0.08)}),
    "strict": Profile(0.05, 0.05, (30, 100), {"success": (0.20, 0.10), "hard_error": (0.10, 0.05)}),
}


def at_step(values: Sequence[N], weight: float, step: int) -> N:
    """The margin or floor that holds at a step (counted from 1) of this weight.

    One value holds everywhere. Of two, the first holds below weight 0.5 and the second from there on: what
    is at stake, not how many steps lead there, decides how much proof is due. Of more, each step of the plan
    has its own and the last one repeats.
    """
    if len(values) <= 2:
        return values[0] if weight < 0.5 else values[-1]
    return values[min(step, len(values)) - 1]


def gate_config(profile: str = "standard", **changes: Any) -> GateConfig:
    """A profile with its four usual metrics: success, hard_error, slow, negative."""
    return from_plan({"profile": profile, **changes})


def from_plan(gates: Mapping[str, Any]) -> GateConfig:
    """The `gates:` entry of a plan, as validated data, as a GateConfig. Raises InputError naming the field.

    Keys whose value is None count as left out. `max_call_time` and `hard_error_reasons` belong to how calls
    are read (calls.CallRules) and are not looked at here.
    """
    name = str(gates.get("profile") or "standard")
    if name != "none" and name not in PROFILES:
        raise InputError(f"gates.profile: {name!r} is not known; write {', '.join(PROFILES)} or none.")
    profile = PROFILES.get(name, PROFILES["standard"])
    entries = gates.get("metrics") or ([] if name == "none" else [{"name": n} for n in USUAL])
    metrics = _with_shares([_metric(i, entry, profile) for i, entry in enumerate(entries)])
    if name == "none" and any(not m.external for m in metrics):
        raise InputError(
            "gates.metrics: profile none judges no calls; write profile: standard or leave them out."
        )
    if name != "none" and not any(m.critical or m.external for m in metrics):
        raise InputError(
            "gates.metrics: nothing would ever have to be proven before a step; "
            "give one metric margins, such as margins: [0.25, 0.10]."
        )
    floors = (0,) if name == "none" else tuple(gates.get("floors") or profile.floors)
    acts = bool(gates.get("act_after_promotion"))
    return GateConfig(name, profile.alpha, profile.beta, floors, metrics, watch_acts=acts)


def _metric(index: int, entry: Mapping[str, Any], profile: Profile) -> Metric:
    where, name = f"gates.metrics[{index}]", str(entry.get("name") or "")
    source = entry.get("prometheus") or entry.get("http")
    custom = entry.get("custom")
    if source:
        limits = {k: None if source.get(k) is None else float(source[k]) for k in ("max", "min")}
        if limits["max"] is None and limits["min"] is None:
            raise InputError(f"{where}: there is no limit; write max: or min: with a number.")
        looks = int(source.get("for") or source.get("looks") or 1)
        return Metric(name, external=True, maximum=limits["max"], minimum=limits["min"], looks=looks)
    if custom is None and name not in BUILT_IN:
        raise InputError(
            f"{where}.name: {name!r} is not known; write one of {', '.join(BUILT_IN)}, "
            "or add custom:, prometheus: or http:."
        )
    margins = entry.get("margins")
    chosen = profile.margins.get(name, ()) if margins is None and custom is None else tuple(margins or ())
    if not all(0 < x < 1 for x in chosen):
        raise InputError(f"{where}.margins: write numbers above 0 and below 1, such as [0.25, 0.10].")
    share = -1.0 if entry.get("share") is None else float(entry["share"])
    return Metric(name, share, tuple(map(float, chosen)), custom, bool(entry.get("bad")))


def _with_shares(metrics: list[Metric]) -> tuple[Metric, ...]:
    """Metrics without a share get what the others leave of 1, in their usual proportions."""
    given = sum(m.share for m in metrics if not m.external and m.share >= 0)
    missing = [m.name for m in metrics if not m.external and m.share < 0]
    if given > 1 + 1e-9 or (missing and given > 1 - 1e-9):
        left = f", which leaves nothing for {missing[0]}" if missing else ""
        raise InputError(f"gates.metrics: the shares add up to {given:g}{left}; write smaller ones.")
    others = max(1, sum(n not in _USUAL_SHARES for n in missing))
    parts = {n: _USUAL_SHARES.get(n, 0.125 / others) for n in missing}
    scale = (1.0 - given) / sum(parts.values()) if parts else 0.0
    return tuple(replace(m, share=parts[m.name] * scale) if m.share < 0 else m for m in metrics)
