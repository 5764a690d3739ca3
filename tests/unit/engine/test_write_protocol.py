"""How two readings of one look are laid over each other."""

from __future__ import annotations

from datetime import timedelta

from rollout.domain.writes.drift import Blocked, absorb
from rollout.domain.writes.protocol import Finding
from rollout.engine.write_protocol import _laid_over
from tests.support.clock import START
from tests.support.values import ONE, TWO, Shown, only, rollout, target, write

LATER = START + timedelta(seconds=400)


def test_what_a_first_reading_said_of_a_write_is_forgotten_with_what_it_said_of_the_number() -> None:
    r = rollout(
        targets=(target(ONE, written=True), target(TWO, ord=1, written=True)),
        writes=(write(ONE, id="w1"), write(TWO, id="w2")),
    )
    first = absorb(r, {ONE: Shown(only(8), 2_000), TWO: Shown(only(6))}, LATER, LATER)
    assert first.findings == {ONE: Finding.DRIFT, TWO: Finding.NOT_APPLIED}
    assert set(first.change.writes) == {"w1", "w2"}, "both horizons are over"
    look = _laid_over(r, first, absorb(r, {ONE: Blocked.UNREACHABLE}, LATER, LATER))
    assert look.findings == {ONE: Blocked.UNREACHABLE, TWO: Finding.NOT_APPLIED}
    assert set(look.change.writes) == {"w2"}
