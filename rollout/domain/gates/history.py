"""A rollout's record of its baseline's earlier calls: usual rates and limits, fixed at the first gate check.

Bets made around the baseline's usual rates find a small harm sooner. As they are fixed by calls from before the
first one that counts, what is proven of the gate holds for them as for any others, also when the history is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rollout.domain.gates.profiles import EDITION


@dataclass(frozen=True, slots=True)
class BaselineHistory:
    """edition: of the rules the rollout began under (see profiles.EDITION). rates: the baseline's bad rate by series,
    where enough calls tell it. limits: by series, the quantile above which a call is bad. calls: how many calls it was
    read from."""

    edition: int = EDITION
    rates: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    calls: int = 0

    def to_json(self) -> dict[str, Any]:
        return {"edition": self.edition, "rates": dict(self.rates), "limits": dict(self.limits), "calls": self.calls}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BaselineHistory:
        slow = data.get("slow_ms")  # as earlier versions kept the limits
        earlier = {} if slow is None else dict(zip(("slow:p50", "slow:p90"), slow, strict=True))
        return cls(data["edition"], data.get("rates", {}), data.get("limits", earlier), data.get("calls", 0))
