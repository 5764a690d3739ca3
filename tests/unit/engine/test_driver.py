"""One pass of the driver: which action is carried out how, and what of it is recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from rollout.domain.agent_tests.runs import BatchProgress
from rollout.domain.agent_tests.state import AgentTests, TestArm
from rollout.domain.decide.actions import Action, Apply, Begin, BeginBatch, Read, Record, Restore, Wait
from rollout.domain.decide.facts import Facts
from rollout.domain.errors import InputError, KeyRefused, NotReachable, PreflightRefused
from rollout.domain.gates.verdict import GateVerdict
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.machine import WATCH_AFTER_END, Event, Phase
from rollout.domain.lifecycle.records import Claim, JournalEntry
from rollout.domain.lifecycle.state import Rollout, Target
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.versions.documents import ResponseEngine
from rollout.domain.versions.tags import BaselineTag
from rollout.domain.writes.answers import Failure, Trouble
from rollout.domain.writes.drift import NumberScan
from rollout.engine import driver as module
from rollout.engine.driver import FIRST_RESTORED, Driver
from rollout.engine.facts import Pass
from rollout.engine.preflight import Preflight
from rollout.engine.write_protocol import BatchWrite, Timing
from tests.support.clock import START
from tests.support.values import AGENT, ONE, confirmed, plan, rollout, said, target

HELD = Claim("r1", 3, "me", START, 0)
LATER = START + timedelta(minutes=5)
REST = Wait(LATER, "step 1.2", "its hold", WaitingFor.HOLD)
LOOK = NumberScan(START, {}, Change())


class World:
    """Everything around a driver; `actions` are what is decided, one after the other, and then a rest."""

    def __init__(self, r: Rollout, *actions: Action) -> None:
        self.rollout, self.actions = r, [*actions, REST]
        self.facts_given = Facts()
        self.log: list[Any] = []
        self.entries: list[JournalEntry] = []
        self.changes: list[Change] = []
        self.passes: list[Pass] = []
        self.found: Any = Preflight(plan())
        self.forgotten = 0
        self.steps: list[str] = []
        self.done = BatchWrite(r, sent=1)
        self.begun: Any = None
        self.timing = Timing()

    # ---- the store

    def now(self) -> datetime:
        return START

    def load(self, _id: str) -> tuple[Rollout, datetime]:
        return self.rollout, START

    def release(self, claim: Claim, wait: Wait, tries: int = 0) -> bool:
        self.log.append(("release", wait, tries))
        return True

    def commit(
        self, claim: Claim, change: Change, entries: Sequence[JournalEntry], lease: timedelta | None = None
    ) -> datetime:
        self.log.append(("commit", lease))
        self.changes.append(change)
        self.entries += entries
        return START

    def add_targets(self, claim: Claim, added: Sequence[Target], change: Change, entry: JournalEntry) -> datetime:
        self.log.append(("add_targets", tuple(added)))
        self.changes.append(change)
        self.entries.append(entry)
        return START

    # ---- facts, batches, the protocol

    def find(self, known: Pass) -> Facts:
        self.passes.append(replace(known))
        return self.facts_given

    def forget(self) -> None:
        self.forgotten += 1

    @property
    def versions(self) -> World:
        return self

    @property
    def batch_tests(self) -> World:
        return self

    def begin(self, cases: Sequence[str], engine: ResponseEngine) -> Any:
        self.log.append(("begin", tuple(cases), engine.version))
        return self.begun

    def read(self, r: Rollout, claim: Claim, numbers: Sequence[str]) -> BatchWrite:
        self.log.append(("read", tuple(numbers)))
        return self.done

    def run(
        self,
        r: Rollout,
        claim: Claim,
        targets: Sequence[Target],
        write_batch: Any,
        took: Callable[[BatchWrite], None],
        first: int | None,
    ) -> None:
        self.log.append((write_batch.__name__, tuple(t.number for t in targets), first))
        took(self.done)

    def apply(self) -> None: ...

    def restore(self) -> None: ...

    def preflight(self, _rollout: Rollout) -> Preflight:
        if isinstance(self.found, Exception):
            raise self.found
        return cast(Preflight, self.found)

    # ---- the pass

    def drive(
        self, monkeypatch: pytest.MonkeyPatch, until: Callable[[Rollout], bool] = lambda _rollout: False
    ) -> Rollout:
        every: Any = self
        monkeypatch.setattr(module, "decide", lambda _r, _facts, _now: self.actions.pop(0))
        made = Driver(every, every, every, every, self.preflight, lambda r: self.steps.append(str(r.position)))
        return made.drive(HELD, until)


@pytest.mark.parametrize(("trouble", "tries"), [(None, 0), ("no answer", 4)])
def test_a_rest_lets_go_and_counts_the_tries_of_a_trouble(
    trouble: str | None, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(rollout(tries=3))
    world.facts_given = Facts(trouble=trouble)
    found = world.drive(monkeypatch)
    assert world.log == [("release", REST, tries)]
    assert (found.due_at, found.next, found.why, found.waiting_for) == (LATER, "step 1.2", "its hold", WaitingFor.HOLD)


def test_a_pass_may_end_early(monkeypatch: pytest.MonkeyPatch) -> None:
    r = rollout(next="step 1.2", why="its hold", waiting_for=WaitingFor.HOLD)
    world = World(r)
    assert world.drive(monkeypatch, lambda _rollout: True) is r
    assert world.log == [("release", Wait(START, "step 1.2", "its hold", WaitingFor.HOLD), 0)]


def test_a_pass_that_never_rests_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_ACTIONS", 3)
    world = World(rollout(), *[Read((ONE,), "a look")] * 9)
    with pytest.raises(RuntimeError, match="r1: no rest after 3 actions"):
        world.drive(monkeypatch)
    assert len(world.log) == 3


def test_the_first_batch_of_a_rollback_alone_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(rollout(), *[Restore((target(),), "back")] * 2)
    world.drive(monkeypatch)
    assert world.log[:2] == [("restore", (ONE,), FIRST_RESTORED), ("restore", (ONE,), None)]


def test_a_step_is_known_to_the_rest_of_its_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(rollout(), Read((ONE,), "a look"), Apply((target(),), "forward"))
    world.done = replace(world.done, scan=LOOK)
    world.drive(monkeypatch)
    assert world.log[:2] == [("read", (ONE,)), ("apply", (ONE,), None)]
    assert [p.stepped for p in world.passes] == [False, False, True]
    assert [p.scan for p in world.passes][:2] == [None, LOOK]


@pytest.mark.parametrize("rejected", [True, False])
def test_a_refusal_makes_versions_be_looked_up_again(rejected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(rollout(), Apply((target(),), "forward"))
    world.done = replace(world.done, rejected=rejected, trouble="Retell said no")
    world.drive(monkeypatch)
    assert world.forgotten == rejected
    assert world.passes[-1].trouble == "Retell said no"


# ------------------------------------------------------------------ a later start


def test_a_later_start_records_what_its_numbers_serve_now(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(rollout(targets=(), phase=Phase.PENDING, look_asked=True), Begin("it is time"))
    tag = BaselineTag(AGENT, "prod", 6)
    world.found = Preflight(plan(), targets=(target(),), warnings=("a warning",), tags=(tag,))
    world.drive(monkeypatch)
    assert world.log[0] == ("add_targets", (target(),))
    (entry,) = world.entries
    assert (entry.kind, entry.actor, entry.reason) == ("baselines", "service", "1 numbers read")
    assert entry.data is not None
    assert entry.data["warnings"] == ["a warning"]
    r = world.passes[-1].rollout
    assert (r.targets, r.tags, r.look_asked) == ((target(),), (tag,), False)


@pytest.mark.parametrize(
    ("error", "refused"), [(NotReachable("no answer"), False), (KeyRefused("Retell refuses the API key (401)"), True)]
)
def test_a_start_that_cannot_ask_retell_waits(
    error: NotReachable, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(rollout(phase=Phase.PENDING), Begin("it is time"))
    world.found = error
    world.drive(monkeypatch)
    assert (world.passes[-1].trouble, world.passes[-1].key_refused) == (error.message, refused)
    assert world.entries == []


@pytest.mark.parametrize("error", [PreflightRefused("a problem"), InputError("no such calendar")])
def test_a_start_that_preflight_refuses_ends_it_with_the_reason(error: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(rollout(phase=Phase.PENDING), Begin("it is time"))
    world.found = error
    found = world.drive(monkeypatch)
    (entry,) = world.entries
    assert (entry.kind, entry.reason) == ("refused", error.message)
    assert (found.phase, found.reason) == (Phase.STOPPED, error.message)


# ------------------------------------------------------------------ what is recorded


VERDICT = said("pass")
EARLIER = said("undecided")


def recorded(
    monkeypatch: pytest.MonkeyPatch, r: Rollout, event: Event, verdict: GateVerdict | None = VERDICT, **values: Any
) -> tuple[World, Rollout, dict[str, Any]]:
    world = World(r, Record(event, f"because of {event}", values))
    world.facts_given = Facts(verdict=verdict)
    world.passes.clear()
    world.drive(monkeypatch)
    (entry,) = world.entries
    assert (entry.kind, entry.actor, entry.reason) == (str(event), "service", f"because of {event}")
    return world, world.passes[-1].rollout, dict(entry.data or {})


LIVE = rollout(targets=(confirmed(),), confirmed_at=START)


@pytest.mark.parametrize("event", [Event.ADVANCED, Event.FAILED, Event.HELD, Event.COMPLETED])
def test_a_decision_of_the_gates_is_recorded_with_their_verdict(event: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    _, found, data = recorded(monkeypatch, LIVE, event)
    assert (data["verdict"]["outcome"], found.verdict) == ("pass", VERDICT)
    _, found, data = recorded(monkeypatch, replace(LIVE, verdict=VERDICT), event, None)
    assert (data.get("verdict"), found.verdict) == (None, VERDICT), "without a new one the last one stays"


def test_what_is_no_decision_of_the_gates_leaves_their_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    _, found, data = recorded(monkeypatch, replace(LIVE, verdict=EARLIER), Event.CONFIRMED)
    assert (data.get("verdict"), found.verdict) == (None, EARLIER)


@pytest.mark.parametrize(
    ("values", "until"), [({}, START + WATCH_AFTER_END), ({"watch_until": LATER}, LATER)], ids=["by itself", "given"]
)
def test_the_end_begins_the_watch(values: dict[str, Any], until: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    _, found, _ = recorded(monkeypatch, LIVE, Event.COMPLETED, **values)
    assert (found.phase, found.watch_until) == (Phase.PROMOTED, until)
    _, found, _ = recorded(monkeypatch, LIVE, Event.ADVANCED)
    assert found.watch_until is None


def test_a_hold_names_its_reason_and_the_position_that_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    _, found, data = recorded(monkeypatch, LIVE, Event.HELD, reason="drift")
    assert (data["position"], data["reason"], found.phase, found.reason) == ("1.1", "drift", Phase.HELD, "drift")
    _, _, data = recorded(monkeypatch, LIVE, Event.HELD, reason="drift", wave=2, step=3)
    assert data["position"] == "2.3"
    _, _, data = recorded(monkeypatch, LIVE, Event.ADVANCED, step=2)
    assert data["position"] == "1.1", "of the step that is left"


def test_a_retreat_and_a_return_say_the_weight_that_they_go_to(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, data = recorded(monkeypatch, LIVE, Event.RETREATED, retreated=500)
    assert data["retreated"] == 500
    _, _, data = recorded(monkeypatch, replace(LIVE, retreated=500), Event.REACHED)
    assert data["retreated"] == 500
    _, _, data = recorded(monkeypatch, replace(LIVE, retreated=500), Event.CONFIRMED)
    assert "retreated" not in data


def test_each_step_that_begins_is_told_where_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    world, *_ = recorded(monkeypatch, LIVE, Event.ADVANCED, step=2)
    assert world.steps == ["1.2"]
    world, *_ = recorded(monkeypatch, rollout(phase=Phase.PENDING), Event.BEGUN)
    assert world.steps == ["1.1"]
    world, *_ = recorded(monkeypatch, LIVE, Event.CONFIRMED)
    assert world.steps == []


@pytest.mark.parametrize(
    ("event", "anew"), [(Event.ADVANCED, True), (Event.FAILED, True), (Event.RETREATED, True), (Event.CONFIRMED, False)]
)
def test_what_was_read_says_nothing_of_a_step_that_begins(
    event: Event, anew: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(LIVE, Read((ONE,), "a look"), Record(event, "because"))
    world.done = replace(world.done, rollout=LIVE, scan=LOOK)
    world.drive(monkeypatch)
    assert (world.passes[-1].scan is None) is anew


# ------------------------------------------------------------------ batches of tests

ARM = TestArm("canary", ResponseEngine("retell-llm", "llm_1", 7), ("case_a", "case_b"))
TESTS = AgentTests((ARM,), 2, unsure=1, asked_at=START - timedelta(minutes=1))


def asked(monkeypatch: pytest.MonkeyPatch, begun: Any) -> tuple[World, AgentTests]:
    r = rollout(phase=Phase.PENDING, tests=TESTS)
    world = World(r, BeginBatch(TESTS.orders[0], "the next"))
    world.begun = begun
    world.drive(monkeypatch)
    assert world.log[0] == ("begin", ("case_a", "case_b"), 7)
    tests = world.passes[-1].rollout.tests
    assert tests is not None
    return world, tests


def test_a_batch_that_begins_is_recorded_at_once_under_a_new_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    world, tests = asked(monkeypatch, BatchProgress("b1", False, 0, 0, 0, 2))
    assert [b.batch_id for b in tests.batches] == ["b1"]
    assert (tests.unsure, tests.asked_at) == (1, None)
    assert world.log[1] == ("commit", timedelta(seconds=45))
    (entry,) = world.entries
    assert (entry.kind, entry.reason) == ("tests_progressed", "batch b1 of canary: 2 runs")


def test_a_batch_that_may_have_begun_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    world, tests = asked(monkeypatch, Failure(Trouble.UNKNOWN, "the connection was closed"))
    assert (tests.unsure, tests.asked_at, tests.batches) == (2, START, ())
    assert world.entries[0].reason == "a batch of canary may have begun: the connection was closed"


@pytest.mark.parametrize(
    ("failure", "refused", "trouble"),
    [
        (Failure(Trouble.REJECTED, "no such case", 422), "no such case", None),
        (Failure(Trouble.REJECTED, "unauthorized", 401), None, "Retell refuses the API key (401)"),
        (Failure(Trouble.UNREACHABLE, "no answer", retry_after=9), None, "Retell cannot be reached: no answer"),
    ],
)
def test_a_batch_that_cannot_begin_is_refused_or_waited_for(
    failure: Failure, refused: str | None, trouble: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, tests = asked(monkeypatch, failure)
    known = world.passes[-1]
    assert (known.tests_refused, known.trouble, known.retry_after) == (refused, trouble, failure.retry_after)
    assert (tests, world.entries) == (TESTS, [])
