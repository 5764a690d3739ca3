"""SIGSTOP at named points and SIGCONT later: a sender that wakes up does no harm."""

from __future__ import annotations

import random
import signal
import time

import pytest

from tests.processes.campaign import pauses
from tests.processes.judge import judge, patches_of
from tests.processes.stage import HORIZON, LEASE, Stage

POINTS = ["before_claim", "after_load", "before_intent", "after_intent", "in_outcome"]


def test_pauses_at_named_points(stage: Stage) -> None:
    points: list[str | None] = [*POINTS, None] if not stage.app.database.is_sqlite else ["after_intent"]
    width = 1 if stage.app.database.is_sqlite else 4
    tally = pauses(stage, random.Random(3), points, (0.5 * HORIZON, 1.2 * HORIZON), width)
    assert tally.faults == []
    assert sum(tally.pauses.values()) == len(points)


@pytest.mark.postgres
def test_a_sender_stopped_before_its_first_byte_never_overtakes_the_rollback(postgres_stage: Stage) -> None:
    """The last check is behind it and no byte has left; it wakes when the rollback has long been declared."""
    stage = postgres_stage
    id_ = stage.start(1)
    sender = stage.serve("after_check:2", stop=True)
    stage.until(sender.is_stopped)
    assert stage.load(id_).targets[0].step == 1
    done = stage.cli("rollback", id_)
    assert done.code == 0, done.err
    other = stage.serve()
    stage.until_phase(id_, "rolled_back", timeout=LEASE + HORIZON + 20)
    sender.send(signal.SIGCONT)
    time.sleep(0.5)
    assert sender.stop() == 0
    assert other.stop() == 0
    assert judge(stage, [id_], hold=1.0) == []
    assert len(patches_of(stage, stage.load(id_).targets[0].number)) == 2  # step 1 and the baseline


@pytest.mark.postgres
@pytest.mark.real_time
def test_a_process_stopped_inside_a_transaction_does_not_stand_before_a_rollback(postgres_stage: Stage) -> None:
    """It holds the lock on the rollout's row; PostgreSQL takes it away from a session that says nothing."""
    stage = postgres_stage
    id_ = stage.start(1)
    sender = stage.serve("in_outcome:1", stop=True)
    stage.until(sender.is_stopped)
    done = stage.cli("rollback", id_)
    assert done.code == 0, done.err
    assert done.seconds < 15
    sender.send(signal.SIGCONT)
    stage.until_phase(id_, "rolled_back", timeout=30)
    assert sender.stop() == 0
    assert judge(stage, [id_]) == []
