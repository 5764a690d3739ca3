"""A fleet whose batches overlap, on real processes that die in the middle of it."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.processes.judge import judge, patches_of, writes_of
from tests.processes.nursery import Nursery
from tests.processes.stage import new_sandbox, new_stage

SMALL = {"ROLLOUT_CONCURRENCY": "4"}  # at 40 ms that is 100 requests a second: a send window of 0.3 s holds 24


@pytest.mark.parametrize("failpoint", ["", "after_intent:3", "after_sent:90", "before_outcome:4"])
def test_every_number_goes_through_every_step_once(failpoint: str, nursery: Nursery, sqlite_url: str) -> None:
    with new_sandbox(latency=0.04) as retell, new_stage(nursery, sqlite_url, retell, "+1415558") as stage:
        id_ = stage.start(70, hold="0.3s")
        service = stage.serve(failpoint, **SMALL)
        if failpoint:
            assert service.wait(60) is not None, f"it never came to {failpoint}"
            assert service.reached == failpoint.partition(":")[0]
            stage.serve(**SMALL)
        stage.until_phase(id_, "promoted", timeout=90)
        assert judge(stage, [id_], hold=0.3) == []
        numbers = [t.number for t in stage.load(id_).targets]
        for number in numbers:
            applied = [json.loads(p["body"])["inbound_agents"] for p in patches_of(stage, number)]
            assert Counter(json.dumps(a) for a in applied).most_common(1)[0][1] == 1, "none twice"
            assert len(applied) == 3
        if not failpoint:
            intended = [w.intent_at for w in writes_of(stage, id_)]
            assert len(set(intended)) > 3, "more than one batch to a step"


def test_a_rollback_in_the_middle_of_overlapping_batches(nursery: Nursery, sqlite_url: str) -> None:
    with new_sandbox(latency=0.04) as retell, new_stage(nursery, sqlite_url, retell, "+1415559") as stage:
        id_ = stage.start(70, hold="0.3s")
        stage.serve(**SMALL)
        stage.until_confirmed(id_, 1, timeout=60)
        stage.until(lambda: any(t.step == 2 for t in stage.load(id_).targets), 60)
        assert stage.cli("rollback", id_).code == 0
        stage.until_phase(id_, "rolled_back", timeout=60)
        assert judge(stage, [id_]) == []
