"""`set` and `ship` in bad moments, over real sockets: what Retell serves in the end, and what the journal has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rollout.adapters.store.audit import audit
from rollout.adapters.store.rebuild import differences
from tests.integration.api.live import AGENT, Answer, Live, live
from tests.support.journal import given_by_people

VARIANTS = {name: {"agent_id": AGENT, "agent_version": version} for name, version in (("b", 7), ("c", 8))}
STEPS = [{"weights": {"b": 0.1, "c": 0.1}, "hold": "1h"}, {"weights": {"b": 0.3, "c": 0.3}, "hold": "1h"}]
C = {"variant": "c", "anyway": True}
PATIENCE = 90  # seconds: on a busy machine a write misses its send window, and is made again
BASELINE, ONLY_C = [(6, 1)], [(8, 1)]


class AbTest:
    """An A/B test of two variants on two numbers, whose first step is confirmed."""

    def __init__(self, service: Live) -> None:
        self.service, self.numbers = service, [service.number(), service.number()]
        self.id = service.start(*self.numbers, canary=None, variants=VARIANTS, steps=STEPS, confirmed=False)
        service.until(lambda: service.show(self.id).get("confirmed_at"), PATIENCE)

    def give(self, command: str, body: dict[str, Any], **how: Any) -> Answer:
        return self.service.ask("POST", f"/api/v1/rollouts/{self.id}/{command}", body, **how)

    def ends(self, served: list[tuple[int, float]], phase: str = "progressing") -> None:
        """Every number serves this, read back, in this phase; the journal's chain and the tables agree."""
        self.service.until(
            lambda: all(sorted(self.service.served(n)) == sorted(served) for n in self.numbers), PATIENCE
        )
        self.service.until(lambda: self.service.show(self.id)["phase"] == phase, PATIENCE)
        if phase == "progressing":
            self.service.until(lambda: self.service.show(self.id)["confirmed_at"], PATIENCE)
        faults, _ = audit(self.service.app.database)
        assert faults == []
        with self.service.app.database.read() as connection:
            assert differences(connection, self.id) == []

    def kinds(self, *kinds: str) -> list[str]:
        return [e.kind for e in self.service.app.store.history(self.id) if e.kind in kinds]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A service that looks for drift often."""
    with live(tmp_path_factory.mktemp("by-hand"), drift_seconds=0.5) as found:
        yield found


@pytest.fixture(scope="module")
def standing(service: Live) -> AbTest:
    """An A/B test that nothing is to change."""
    return AbTest(service)


@pytest.fixture
def ab(service: Live) -> Iterator[AbTest]:
    made = AbTest(service)
    yield made
    service.sandbox.clear_faults()
    made.give("rollback", {})
    made.ends(BASELINE, "rolled_back")


def slowly(ab: AbTest, then: Callable[[], object]) -> None:
    """While a write of ours is under way: Retell has it, and answers half a second later."""
    ab.service.sandbox.fault("latency", method="PATCH", seconds=0.5, times=None)
    log = len(ab.service.sandbox.log(method="PATCH"))
    assert ab.give("promote", {"expect": "1.1"}).status == 200
    ab.service.until(lambda: len(ab.service.sandbox.log(method="PATCH")) > log, PATIENCE)
    then()
    ab.service.sandbox.clear_faults()


def test_a_version_is_shipped_while_a_step_is_being_written(ab: AbTest) -> None:
    slowly(ab, lambda: ab.give("ship", C))
    ab.ends(ONLY_C)


def test_a_rollback_while_what_is_shipped_is_being_written(ab: AbTest) -> None:
    slowly(ab, lambda: [ab.give("ship", C), ab.give("rollback", {})])
    ab.ends(BASELINE, "rolled_back")
    assert ab.give("ship", C).status == 409


def test_the_same_request_many_times_at_once_ships_once(ab: AbTest) -> None:
    with ThreadPoolExecutor(6) as people:
        answers = list(people.map(lambda _: ab.give("ship", {**C, "request_id": "one"}), range(6)))
    assert {a.status for a in answers} == {200}
    assert len({a.raw for a in answers}) == 1
    assert ab.kinds("shipped") == ["shipped"]
    assert ab.give("ship", {"variant": "b", "anyway": True, "request_id": "one"}).status == 409
    ab.ends(ONLY_C)


@pytest.mark.parametrize(
    "rivals",
    [
        (("ship", {"variant": "b", "anyway": True}), ("ship", C)),
        (("promote", {}), ("ship", C)),
        (("promote", {}), ("promote", {"full": True})),
    ],
    ids=["two ship", "one promotes, one ships", "one promotes, one all the way"],
)
def test_of_two_people_who_saw_the_same_position_one_is_refused(
    ab: AbTest, rivals: tuple[tuple[str, dict[str, Any]], ...]
) -> None:
    with ThreadPoolExecutor(2) as people:
        answers = list(people.map(lambda r: ab.give(r[0], {**r[1], "expect": "1.1"}), rivals))
    assert sorted(a.status for a in answers) == [200, 409]
    assert len(ab.kinds("shipped", "promote")) == 1


def test_two_people_set_weights_and_what_was_answered_last_is_served(ab: AbTest) -> None:
    def set_to(share: float) -> int:
        return ab.give("set", {"weights": {"b": share, "c": share}, "expect": "1.1"}).status

    with ThreadPoolExecutor(2) as people:
        assert sorted(people.map(set_to, (0.2, 0.3))) == [200, 409]
    weights = ab.service.app.store.load(ab.id)[0].weights_at(ab.service.app.store.load(ab.id)[0].step)
    share = weights["b"] / 10_000
    ab.service.until(lambda: all(dict(ab.service.served(n))[7] == share for n in ab.numbers), PATIENCE)


def test_held_and_paused(ab: AbTest) -> None:
    assert ab.give("pause", {}).status == 200
    ab.service.sandbox.edit(ab.numbers[0], inbound_agents=[{"agent_id": AGENT, "agent_version": 5, "weight": 1}])
    ab.service.until(lambda: ab.service.show(ab.id)["phase"] == "held", PATIENCE)
    for command, body in (("ship", C), ("set", {"weights": {"b": 0.2}})):
        refused = ab.give(command, body)
        assert (refused.status, "answer it first: adopt, restore" in refused.json["detail"]) == (409, True)
    assert ab.give("restore", {}).status == 200
    assert ab.give("ship", C).status == 200
    ab.ends(ONLY_C)


TROUBLE: dict[str, dict[str, Any]] = {
    "says yes and does nothing": {"kind": "lie"},
    "says yes and shows the old split": {"kind": "lie", "variant": "old"},
    "does it later": {"kind": "apply_late", "seconds": 0.7},
    "does it and says nothing": {"kind": "drop_after"},
    "breaks its answer off": {"kind": "truncate"},
    "is asked too often": {"kind": "status", "status": 429},
    "breaks, and does it": {"kind": "status", "status": 502, "apply": True},
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_retell_in_trouble_when_a_version_is_shipped_and_when_that_is_taken_back(ab: AbTest, trouble: str) -> None:
    fault = dict(TROUBLE[trouble])
    kind = fault.pop("kind")
    ab.service.sandbox.fault(kind, method="PATCH", times=2, **fault)
    assert ab.give("ship", C).status == 200
    ab.ends(ONLY_C)
    ab.service.sandbox.fault(kind, method="PATCH", times=2, **fault)
    assert ab.give("rollback", {}).status in (200, 202)
    ab.ends(BASELINE, "rolled_back")


@pytest.mark.parametrize("trouble", TROUBLE)
def test_retell_in_trouble_and_a_rollback_before_what_is_shipped_is_confirmed(ab: AbTest, trouble: str) -> None:
    fault, log = dict(TROUBLE[trouble]), len(ab.service.sandbox.log(method="PATCH"))
    ab.service.sandbox.fault(fault.pop("kind"), method="PATCH", times=2, **fault)
    assert ab.give("ship", C).status == 200
    ab.service.until(lambda: len(ab.service.sandbox.log(method="PATCH")) > log, PATIENCE)
    assert ab.give("rollback", {}).status in (200, 202)
    ab.ends(BASELINE, "rolled_back")


ODD: list[bytes] = [
    b'{"weights": {"b": NaN}}',
    b'{"weights": {"b": Infinity}}',
    b'{"weights": {"b": 1e400}}',
    b'{"weights": {"b": true}}',
    b'{"weights": {"b": [0.1]}}',
    b'{"weights": {"b": "0.1"}}',
    b'{"weights": {"b": 0.1, "b": 0.2}}',
    b'{"weights": {"b": 0.6, "c": 0.4}}',
    b'{"weights": {"b": 0.6, "c": 0.5}}',
    b'{"weights": {"b": 0.00001}}',
    b'{"weights": {"b": -0.0}}',
    b'{"weights": {}}',
    b'{"weights": {"baseline": 0.5}}',
    b'{"weights": {"inbound_agents": 0.5}}',
    b'{"weights": null}',
    b'{"weight": 0.2, "weights": null, "channels": ["outbound"]}',
    b'{"weight": 0.2}',
    b"[]",
]


@pytest.mark.parametrize("raw", ODD, ids=lambda raw: raw.decode())
def test_weights_that_mean_nothing_change_nothing(service: Live, standing: AbTest, raw: bytes) -> None:
    ab = standing
    before = given_by_people(service.app.store, ab.id)
    answer = service.ask("POST", f"/api/v1/rollouts/{ab.id}/set", raw=raw)
    assert answer.status in (400, 422), answer.raw
    assert given_by_people(service.app.store, ab.id) == before


def test_a_token_for_some_of_the_numbers_neither_sets_nor_ships(ab: AbTest) -> None:
    some = ab.service.token("operator", numbers=ab.numbers[:1])[1]
    none = ab.service.token("operator", numbers=[ab.service.number()])[1]
    whole = ab.service.token("operator", numbers=ab.numbers)[1]
    for command, body in (("set", {"weights": {"b": 0.2}}), ("ship", C)):
        assert ab.give(command, body, token=none).status == 404
        assert ab.give(command, body, token=some).status == 404, "who may see all of its numbers sees it"
        assert ab.give(command, body, token="trigger").status == 403
    assert ab.kinds("set", "shipped") == []
    assert ab.give("ship", C, token=whole).status == 200
    ab.ends(ONLY_C)
