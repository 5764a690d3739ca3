"""Several services on one PostgreSQL: kills, take-over, clocks that differ, migrations at the same moment."""

from __future__ import annotations

import random

import pytest

from rollout.sandbox import Sandbox
from tests.processes.judge import judge
from tests.processes.nursery import Nursery
from tests.processes.replicas import with_kills
from tests.processes.stage import HORIZON, LEASE, Stage, new_stage
from tests.support import postgres

pytestmark = pytest.mark.postgres


def test_three_replicas_one_killed_again_and_again_over_40_rollouts(postgres_stage: Stage) -> None:
    tally = with_kills(postgres_stage, random.Random(4), 40, (1.0, 2.0), parts=4)
    assert tally.faults == []
    assert tally.ends.total() == 40
    assert tally.ends["rolled_back"] >= 4, "those that were ordered back; a quick one is promoted before"
    assert sum(tally.kills.values()) >= 3


def test_take_over_when_the_lease_has_ended(postgres_stage: Stage) -> None:
    stage = postgres_stage
    id_ = stage.start(1, hold="0.3s")
    first = stage.serve("after_intent:1")
    stage.until(lambda: first.poll() is not None)
    second = stage.serve()
    stage.until_confirmed(id_, 1, timeout=LEASE + HORIZON + 10)
    stage.until_phase(id_, "promoted")
    assert second.stop() == 0
    entries = stage.app.store.history(id_)
    at = next(i for i, e in enumerate(entries) if e.kind == "intended")
    waited = (entries[at + 1].at - entries[at].at).total_seconds()
    assert LEASE - 0.1 <= waited <= LEASE + HORIZON + 5, "nobody else acts while the lease runs"
    assert judge(stage, [id_], hold=0.3) == []


def test_clocks_that_differ_by_minutes_change_nothing(postgres_stage: Stage) -> None:
    stage = postgres_stage
    ids = [stage.start(1, hold="1s") for _ in range(6)]
    services = [stage.serve(CLOCK_SHIFT=shift) for shift in ("400", "-400")]
    for id_ in ids:
        stage.until_phase(id_, "promoted")
    owners = {s.stop() for s in services}
    assert owners == {0}
    assert judge(stage, ids, hold=1.0) == []


def test_migrations_started_by_three_at_once(
    nursery: Nursery, retell: Sandbox, postgres_server: postgres.Server
) -> None:
    url = postgres_server.make()
    try:
        with new_stage(nursery, url, retell) as stage:
            services = [stage.serve("", "--migrate") for _ in range(3)]
            for service in services:
                service.until_said('"serving"')
            id_ = stage.start(1, hold="0.3s")
            stage.until_phase(id_, "promoted")
            assert [service.stop() for service in services] == [0, 0, 0]
            assert stage.cli("db", "check").code == 0
            assert judge(stage, [id_], hold=0.3) == []
    finally:
        postgres_server.drop(url)
