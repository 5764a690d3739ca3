"""The calls of a rollout counted for its gates: of a version beside the baseline, or beside another version."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from rollout.domain.gates.counting import (
    QUARTERS,
    USUAL_WAIT,
    CallRules,
    WeightSpan,
    hard_reasons,
    longest_wait,
    quarter,
    tabulate,
)
from rollout.domain.gates.observations import Observations, baseline_pairs, position_index, share
from rollout.domain.gates.profiles import GateConfig, before_full
from rollout.domain.gates.tally import Cell, Tally, strata_of
from rollout.domain.lifecycle.state import Rollout


def tally_of(
    rollout: Rollout, config: GateConfig, seen: Observations, now: datetime, arm: str, against: str | None = None
) -> Tally:
    """The calls of one canary or variant and of the baseline, or of another variant, counted; without external values."""
    plan, step = rollout.plan, rollout.position.step
    rules = _rules(rollout, config, seen, now, arm, against)
    cells, still_open = _cells(rollout, seen, now, rules, partial(seen.spans, plan, arm, against=against))
    numbers = [t.number for t in rollout.targets]
    here = {t.number for t in rollout.targets if t.wave == rollout.position.wave}  # only their calls are waited for
    shares = [share(plan.weights(each), arm, against) for each in range(1, plan.last_step + 1)]
    shares[step - 1] = share(rollout.weights_at(rollout.step), arm, against)
    return Tally(
        cells=tuple(sorted(cells, key=lambda c: (abs(c.position), c.day))),
        position=position_index(plan, rollout.position, rollout.hand),
        step=step,
        weight=shares[step - 1],
        unavailable=seen.unavailable,
        open=still_open,
        calls_per_day=seen.per_day(now, here),
        wave=rollout.position.wave,
        narrow=before_full(shares, step),
        last=rollout.position == rollout.last_position,
        strata=strata_of(cells, numbers if len(numbers) > 1 else QUARTERS),
    )


def _rules(
    rollout: Rollout, config: GateConfig, seen: Observations, now: datetime, arm: str, against: str | None
) -> CallRules:
    plan = rollout.plan
    return CallRules(
        plan.pairs[arm],
        frozenset(baseline_pairs(rollout.targets) if against is None else {plan.pairs[against]}),
        config.metrics,
        seen.limits,
        hard_reasons(plan.gates.hard_error_reasons),
        plan.gates.max_call_time,
        longest_wait(seen.delays(now)) if config.edition >= 2 else USUAL_WAIT,
    )


def _cells(
    rollout: Rollout, seen: Observations, now: datetime, rules: CallRules, spans: Callable[[int], list[WeightSpan]]
) -> tuple[list[Cell], int]:
    """The cells of all waves, and the most calls that any of them still waits for. spans: of a wave."""
    cells: list[Cell] = []
    still_open = 0
    for wave in range(1, rollout.waves + 1):
        mine = {t.number for t in rollout.targets if t.wave == wave}
        table = tabulate(
            [c for c in seen.calls if c.number in mine],
            spans(wave),
            now,
            rules,
            wave=wave,
            stratum=(lambda call: call.number) if len(rollout.targets) > 1 else quarter,
        )
        cells += table.cells
        still_open = max(still_open, *table.open.values()) if table.open else still_open
    return cells, still_open
