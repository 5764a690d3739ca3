"""What the facts of a decision say by themselves."""

from __future__ import annotations

import pytest

from rollout.domain.decide.facts import Facts
from rollout.domain.lifecycle.waiting import WaitingFor


@pytest.mark.parametrize(
    ("facts", "waiting_for"),
    [
        (Facts(), WaitingFor.HORIZON),
        (Facts(trouble="503"), WaitingFor.RETELL),
        (Facts(trouble="401", key_refused=True), WaitingFor.KEY),
    ],
    ids=["no-trouble", "Retell", "the-key"],
)
def test_trouble_is_the_reason_of_a_wait_before_any_other(facts: Facts, waiting_for: WaitingFor) -> None:
    assert facts.held_up_by(WaitingFor.HORIZON) is waiting_for
