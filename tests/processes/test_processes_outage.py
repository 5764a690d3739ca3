"""PostgreSQL goes away in the middle, comes back, and comes back without its last commits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rollout.adapters.clock import SystemClock
from rollout.adapters.store import migrate
from rollout.adapters.store.audit import audit
from rollout.adapters.store.engine import Database
from rollout.domain.writes.protocol import body_of, lists_at
from rollout.sandbox import Sandbox
from tests.processes.judge import judge, patches_of, writes_of
from tests.processes.nursery import Nursery
from tests.processes.outage import Outage, own_server
from tests.processes.stage import Stage, new_stage
from tests.support import postgres
from tests.support.parts import missing

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def server() -> Iterator[Outage]:
    """A server of our own."""
    manager = own_server()
    try:
        made = manager.__enter__()
    except postgres.NoServer as reason:
        missing(f"no PostgreSQL: {reason}")
    try:
        yield made
    finally:
        manager.__exit__(None, None, None)


@pytest.fixture
def outage(server: Outage) -> Outage:
    """That server: up, with the current schema and no rows."""
    server.renew()
    database = Database(server.url, SystemClock())
    migrate.upgrade(database)
    database.close()
    return server


def test_the_database_restarts_in_the_middle(nursery: Nursery, retell: Sandbox, outage: Outage) -> None:
    with new_stage(nursery, outage.url, retell, "+1415556") as stage:
        ids = [stage.start(1, hold="0.5s") for _ in range(4)]
        services = [stage.serve(), stage.serve()]
        stage.until_confirmed(ids[0], 1)
        for _ in range(2):
            outage.stop()
            services[0].until_said("the database cannot be")
            done = stage.cli("doctor")
            assert done.code == 4
            assert "database: the database cannot be" in done.err
            outage.start()
        for id_ in ids:
            stage.until_phase(id_, "promoted")
        assert [s.stop() for s in services] == [0, 0]
        assert judge(stage, ids, hold=0.5) == []


def test_a_fail_over_that_loses_the_last_commits(nursery: Nursery, retell: Sandbox, outage: Outage) -> None:
    """The services go on with an older truth: they read the live numbers before they write anything forward."""
    with new_stage(nursery, outage.url, retell, "+1415557") as stage:
        stepped, undone = stage.start(1, hold="2s"), stage.start(1, hold="2s")
        service = stage.serve()
        for id_ in (stepped, undone):
            stage.until_confirmed(id_, 1)
        outage.snapshot()
        assert stage.cli("rollback", undone).code == 0
        stage.until_phase(undone, "rolled_back")
        stage.until_confirmed(stepped, 2)
        number, other = (stage.load(i).targets[0].number for i in (stepped, undone))
        lost = {w.id for i in (stepped, undone) for w in writes_of(stage, i)}
        before = {n: len(patches_of(stage, n)) for n in (number, other)}
        seen = stage.sandbox.log()[-1]["seq"]

        outage.fail_over()

        held = stage.until_phase(stepped, "held")
        assert held.reason == "drift", "the live split is a step that it does not remember"
        assert stage.until_phase(undone, "rolled_back").reason == "rolled back outside the service"
        for each in (number, other):
            requests = [e["method"] for e in stage.sandbox.log(since=seen, number=each)]
            assert requests, f"{each} was not read"
            assert set(requests) == {"GET"}, "nothing is written before a person has answered"
            assert len(patches_of(stage, each)) == before[each]
        assert stage.cli("adopt", stepped, "--reason", "the step was made").code == 0
        stage.until_phase(stepped, "promoted")
        assert service.stop() == 0
        assert audit(stage.app.store.database)[0] == []
        _every_patch_had_an_intent(stage, stepped, number, before[number])
        assert lost, "there was something to lose"


def test_a_service_that_starts_after_a_fail_over_knows_of_it(nursery: Nursery, retell: Sandbox, outage: Outage) -> None:
    """It has no counter of its own to compare with: the promoted standby goes on under another timeline."""
    with new_stage(nursery, outage.url, retell, "+1415558") as stage:
        kept, undone = stage.start(1, hold="30s"), stage.start(1, hold="30s")
        service = stage.serve()
        for id_ in (kept, undone):
            stage.until_confirmed(id_, 1)
        assert "may lose" not in service.said()
        outage.start_standby()
        assert "no attached standby is synchronous" in stage.cli("doctor").out
        assert service.stop() == 0
        outage.stop_standby()
        assert stage.cli("rollback", undone).code == 0

        outage.promote()

        second = stage.serve()
        second.until_said('"serving"')
        assert stage.until_phase(undone, "rolled_back").reason == "rolled back outside the service"
        for id_ in (kept, undone):
            assert [e.kind for e in stage.app.store.history(id_)].count("rearmed") == 1
        third = stage.serve()
        third.until_said('"serving"')
        assert "went back in time" not in third.said(), "the cluster is known by its new name"
        assert [second.stop(), third.stop()] == [0, 0]
        assert audit(stage.app.store.database)[0] == []


def _every_patch_had_an_intent(stage: Stage, id_: str, number: str, earlier: int) -> None:
    """On a machine that stalls an answer may come too late: then it was written again, under another intent."""
    later = [p["body"] for p in patches_of(stage, number)[earlier:]]
    steps = list(dict.fromkeys(later))
    r = stage.load(id_)
    expected = [body_of(lists_at(r.plan, r.targets[0].baseline, step)) for step in (2, 3)]
    assert steps == expected, "adopted at the step that it remembers: the next one, which shows already, is made again"
    intents = [w.body for w in writes_of(stage, id_)]
    assert all(intents.count(body) >= later.count(body) for body in steps)
