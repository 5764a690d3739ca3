"""`POST /api/v1/plans/tests`: a plan's tests run by the service, told on the way, over the command line's connection."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator

import pytest

from rollout.domain.errors import Forbidden, InputError, NotReachable, PlanError, PreflightRefused
from rollout.interfaces.api import worker_pools
from rollout.interfaces.backend.plan_text import PlanText
from rollout.interfaces.backend.remote import RemoteBackend
from tests.integration.api.live import AGENT, Live

TESTS = {"cases": "all", "runs": 2, "max_failed": 0.1}
_cases = itertools.count(1)


@pytest.fixture
def remote(service: Live, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteBackend]:
    """A client of a service beside a sandbox that has one test case, which version 8 fails."""
    monkeypatch.setattr("rollout.engine.agent_tests.POLL", 0.05)
    service.sandbox.clock(speed=1000)
    case = f"case_{next(_cases)}"
    service.sandbox.add_test_case(case, agent_id=AGENT, name="Books a table", pass_rates={6: 1, 7: 1, 8: 0})
    found = RemoteBackend(service.server.url, service.tokens["operator"])
    yield found
    found.close()
    service.sandbox.clock(speed=1)


def written(service: Live, version: int = 7, **more: object) -> PlanText:
    plan = service.plan(canary={"agent_id": AGENT, "agent_version": version}, **{"tests": TESTS, **more})
    return PlanText.read(json.dumps(plan), "plan.json")


def test_tests_are_run_by_the_service_and_told_on_the_way(service: Live, remote: RemoteBackend) -> None:
    told: list[str] = []
    found = remote.check(written(service), tests=told.append)
    assert (found["ok"], found["tests"]["outcome"]) == (True, "passed")
    assert told[-1] == "tests: 2 of 2 runs done"
    failed = remote.check(written(service, 8), tests=told.append)
    assert (failed["ok"], failed["tests"]["outcome"]) == (False, "failed")
    assert failed["problems"][0].startswith("tests failed: ")


def test_what_refuses_them_is_the_error_it_would_be_on_the_database(service: Live, remote: RemoteBackend) -> None:
    with pytest.raises(InputError, match="it has no tests; write for example"):
        remote.check(written(service, tests=None), tests=print)
    with pytest.raises(PlanError):
        remote._run_tests({"plan": {"version": 1}}, print)
    service.sandbox.fault("status", path="/create-batch-test", status=402)
    with pytest.raises(PreflightRefused, match="the account cannot pay for tests"):
        remote.check(written(service), tests=print)
    service.sandbox.fault("drop_before", path="/create-batch-test")
    with pytest.raises(NotReachable):
        remote.check(written(service), tests=print)
    for role in ("viewer", "trigger"):
        with pytest.raises(Forbidden):
            RemoteBackend(service.server.url, service.tokens[role]).check(written(service), tests=print)


def test_only_so_many_wait_and_a_quiet_answer_goes_on(
    service: Live, remote: RemoteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pools, "QUIET_SECONDS", 0.01)
    go_on, pools = threading.Event(), service.server.service.pools
    plan = written(service)
    busy = [pools.submit("tests", go_on.wait) for _ in range(worker_pools.POOLS["tests"][1] or 0)]
    with pytest.raises(NotReachable, match="overloaded"):
        remote.check(plan, tests=print)
    go_on.set()
    assert all(future.result() for future in busy)
    assert remote.check(plan, tests=print)["ok"]
