"""The limits that the server's settings put on every plan: asked by pre-flight, before anything is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from rollout.domain.plan.plan import Plan


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """`numbers`: the only ones that are ever written; None: all. `metrics`: reasons to refuse the addresses that a plan
    reads metrics from, and `addresses` reasons to refuse those of its notices, a sentence each."""

    numbers: frozenset[str] | None = None
    metrics: Callable[[Plan], Iterable[str]] = lambda _plan: ()
    addresses: Callable[[Plan], Iterable[str]] = lambda _plan: ()

    def problems(self, plan: Plan, numbers: Iterable[str]) -> Iterator[str]:
        """Reasons to refuse a plan on these numbers, a sentence each."""
        yield from self.metrics(plan)
        yield from self.addresses(plan)
        for number in numbers:
            if self.numbers is not None and number not in self.numbers:
                yield (
                    f"{number} is not in ROLLOUT_ALLOWED_NUMBERS: take it out of the plan, or have it added to "
                    "the service's settings"
                )
