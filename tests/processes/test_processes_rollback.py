"""A rollback ordered in every bad moment is read back, and the journal says how long it took."""

from __future__ import annotations

import signal

import pytest

from tests.processes import rollbacks
from tests.processes.judge import judge
from tests.processes.stage import HORIZON, LEASE, Stage

# Seconds from order to read-back that are allowed on a busy machine; the storm answers 429 with Retry-After 1.
ALLOWED = dict.fromkeys(rollbacks.CONDITIONS, 3.0) | {"429 storm": 15.0}


@pytest.mark.parametrize("condition", list(rollbacks.CONDITIONS))
def test_rollback_in_a_bad_moment(sqlite_stage: Stage, condition: str) -> None:
    _rolls_back(sqlite_stage, condition)


@pytest.mark.postgres
@pytest.mark.parametrize("condition", ["lease held by a killed process", "forward write in flight"])
def test_rollback_in_a_bad_moment_on_postgres(postgres_stage: Stage, condition: str) -> None:
    _rolls_back(postgres_stage, condition)


def _rolls_back(stage: Stage, condition: str) -> None:
    id_ = rollbacks.CONDITIONS[condition](stage)
    seconds = stage.read_back_seconds(id_)
    assert seconds < ALLOWED[condition]
    rollbacks.finish(stage, id_)
    assert judge(stage, [id_]) == []


@pytest.mark.postgres
@pytest.mark.real_time
def test_rollback_among_300_overdue_rollouts(postgres_stage: Stage) -> None:
    ids, seconds = rollbacks.overdue(postgres_stage, 300)
    assert len(seconds) == 3
    assert max(seconds) < 3.0
    assert judge(postgres_stage, ids) == []


def test_sigterm_in_the_middle_of_a_step_ends_it_and_records_it(stage: Stage) -> None:
    id_ = stage.start(1, hold="0.3s")
    number = stage.load(id_).targets[0].number
    stage.sandbox.fault("latency", method="PATCH", number=number, seconds=0.6)
    service = stage.serve()
    stage.until(lambda: stage.sandbox.log(number=number, method="PATCH"))
    service.send(signal.SIGTERM)
    assert service.wait(15) == 0, service.said()
    assert '"stopped"' in service.said()
    after = stage.load(id_)
    assert not after.unresolved, "the answer to the PATCH that was under way is recorded"
    assert after.targets[0].step == 1
    following = stage.serve()
    stage.until_phase(id_, "promoted", timeout=LEASE + HORIZON + 20)
    assert following.stop() == 0
    assert judge(stage, [id_], hold=0.3) == []


def test_sigterm_while_retell_never_answers(sqlite_stage: Stage) -> None:
    stage = sqlite_stage
    id_ = stage.start(1, hold="0.3s")
    number = stage.load(id_).targets[0].number
    stage.sandbox.fault("apply_late", method="PATCH", number=number, seconds=0.7, variant="timeout")
    service = stage.serve()
    stage.until(lambda: stage.sandbox.log(number=number, method="PATCH"))
    service.send(signal.SIGTERM)
    assert service.wait(15) == 0, service.said()
    following = stage.serve()
    stage.until_phase(id_, "promoted", timeout=LEASE + HORIZON + 20)
    assert following.stop() == 0
    assert judge(stage, [id_], hold=0.3) == []
