"""The reasons that rollouts wait for, as values for programs; a sentence beside it is for people."""

from __future__ import annotations

from enum import StrEnum

from rollout.domain.lifecycle.machine import Phase


class WaitingFor(StrEnum):
    """The one thing that has to happen before a rollout continues; the names are part of the contract."""

    START = "start"  # its moment, or the promotion of the rollout it follows
    TESTS = "tests"  # the tests of its agent
    HOLD = "hold"  # the end of the step's hold, or of the last step's bake
    CALLS = "calls"  # the least number of canary calls of the step
    EVIDENCE = "evidence"  # a verdict of the gates
    SPLIT = "split"  # calls that follow the weights again, after a person overrode the alarm
    DECISION = "decision"  # the moment at which the plan decides its A/B test
    OPENING = "opening"  # hours in which its steps may advance
    APPROVAL = "approval"  # a person who promotes: all other conditions are met
    RETELL = "retell"  # Retell: it cannot be reached, or does not show yet what was written
    KEY = "key"  # an API key that Retell takes
    HORIZON = "horizon"  # the moment after which no write of ours can take effect any more
    PERSON = "person"  # a person who answers: it is paused or held, or another program writes over it


def at_rest(phase: Phase) -> WaitingFor | None:
    """The reason to wait as soon as a rollout is in this phase; None: its next pass finds the reason."""
    return WaitingFor.PERSON if phase in (Phase.PAUSED, Phase.HELD) else None
