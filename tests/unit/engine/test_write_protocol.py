"""The write protocol for one batch: in which order it reads, intends, sends and records, and what it never sends."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rollout.domain.errors import ClaimLost
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.records import Claim, JournalEntry
from rollout.domain.lifecycle.state import Kind, Position, Rollout, Target, TargetState
from rollout.domain.writes.answers import Answer, Failure, Order, Reading, Trouble
from rollout.domain.writes.drift import Blocked, absorb
from rollout.domain.writes.protocol import Finding, lists_at
from rollout.engine.write_protocol import BatchWrite, Timing, WriteProtocol, _updated_scan
from tests.support.clock import START, FakeClock
from tests.support.values import FIELD, ONE, TWO, confirmed, entry, only, plan, rollout, target, write

LATER = START + timedelta(seconds=400)
HELD = Claim("r1", 3, "me", START, 0)
DOWN = Failure(Trouble.UNREACHABLE, "no answer", retry_after=7.0)
NO_KEY = Failure(Trouble.REJECTED, "unauthorized", 401)
GONE = Failure(Trouble.REJECTED, "not found", 404)
REFUSED = Failure(Trouble.REJECTED, "weights must add up to 1", 422)
CHANGED = Failure(Trouble.CHANGED, "precondition failed", 412)
NOT_SENT = Failure(Trouble.UNREACHABLE, "no connection", retry_after=3.0)
LOST = Failure(Trouble.UNKNOWN, "the connection was closed")


class World:
    """Retell, the store and the clock of one driver. `log` is what was asked of them, in its order.

    `reads` and `answers` are what comes instead of the truth, by number, the next one first; None: the truth.
    """

    def __init__(self, *targets: Target) -> None:
        self.clock = FakeClock()
        self.lists: dict[str, Mapping[str, Any]] = {t.number: t.split for t in targets}
        self.modified = {t.number: t.modified for t in targets}
        self.reads: dict[str, list[Reading | Failure | None]] = {}
        self.answers: dict[str, list[Failure | None]] = {}
        self.log: list[Any] = []
        self.entries: list[JournalEntry] = []
        self.changes: list[Change] = []
        self.orders: list[Order] = []
        self.settled: list[tuple[str, Change, JournalEntry]] = []
        self.lost_at = -1
        self.interrupted = False
        self.ids = iter(f"w{i}" for i in range(100))

    # ---- the clock

    def boot(self) -> float:
        return self.clock.boot()

    def sleep(self, seconds: float) -> None:
        self.log.append(("sleep", seconds))
        self.clock.advance(seconds)

    # ---- the store

    def now(self) -> datetime:
        return self.clock.now()

    def commit(
        self, claim: Claim, change: Change, entries: Sequence[JournalEntry], lease: timedelta | None = None
    ) -> datetime:
        if len(self.changes) == self.lost_at:
            raise ClaimLost(rollout_id=claim.rollout_id)
        self.log.append(("commit", [e.kind for e in entries], None if lease is None else lease.total_seconds()))
        self.entries += entries
        self.changes.append(change)
        self.clock.advance(0.1)
        return self.now()

    def record_outcomes(self, rollout_id: str, change: Change, entry: JournalEntry) -> None:
        self.settled.append((rollout_id, change, entry))

    # ---- Retell

    def session(self, numbers: Sequence[str], *, urgent: bool = False) -> World:
        self.log.append(("session", list(numbers), urgent))
        return self

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.log.append("closed")

    def shown(self, number: str, **changes: Any) -> Reading:
        found = Reading(number, self.lists[number], self.modified[number], "digest", etag=f"e{self.modified[number]}")
        return replace(found, **changes)

    def read(self, numbers: Sequence[str], *, to_write: bool = False) -> dict[str, Reading | Failure]:
        self.log.append(("read", list(numbers), to_write))
        self.clock.advance(0.2)
        found = {}
        for number in numbers:
            instead = self.reads[number].pop(0) if self.reads.get(number) else None
            found[number] = instead or self.shown(number)
        return found

    def write(
        self, orders: Sequence[Order], *, send_by: float, stop: Callable[[], bool], when_nearly_done: object = None
    ) -> dict[str, Answer]:
        self.log.append(("write", [o.number for o in orders], round(send_by - self.boot(), 3), stop()))
        self.orders += orders
        self.clock.advance(0.5)
        return {o.number: self._answer(o) for o in orders}

    def _answer(self, order: Order) -> Answer:
        failure = self.answers[order.number].pop(0) if self.answers.get(order.number) else None
        if failure is not None:
            return Answer(failure.status, None, failure)
        self.lists[order.number] = json.loads(order.body)
        self.modified[order.number] += 1_000
        return Answer(200, self.shown(order.number))

    # ---- what came of it

    def protocol(self, **timing: float) -> WriteProtocol:
        every: Any = self
        return WriteProtocol(
            every, every, every, Timing(**timing), lambda: next(self.ids), lambda _id, _epoch: self.interrupted
        )

    def did(self, *names: str) -> list[Any]:
        return [step for step in self.log if step[0] in names]

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(e.kind, e.reason) for e in self.entries]


def fresh(*targets: Target, **changes: Any) -> Rollout:
    return rollout(**{"targets": targets, "plan": plan([t.number for t in targets]), **changes})


BOTH = (target(ONE), target(TWO, ord=1, written=True))
BACK = {"phase": Phase.ROLLING_BACK, "rollback_at": START}


# ------------------------------------------------------------------ forward


def test_a_batch_is_read_intended_sent_read_back_and_recorded() -> None:
    world, r = World(*BOTH), fresh(*BOTH)
    done = world.protocol().apply(r, HELD, BOTH)
    assert world.log == [
        ("session", [ONE, TWO], False),
        ("read", [ONE, TWO], True),
        ("commit", ["intended"], 45.0),
        ("write", [ONE, TWO], 1.9, False),  # the window opens before the intents are recorded
        ("read", [ONE, TWO], False),
        ("commit", ["settled"], None),
        "closed",
    ]
    assert [o.etag for o in world.orders] == ["e1000", "e1000"]
    assert all(w.lists == lists_at(plan(), only(6), 1) for w in world.changes[0].new_writes)
    assert (done.sent, done.unsent, done.is_clean, done.trouble) == (2, 0, True, None)
    assert (done.seconds, done.sent_at) == pytest.approx((0.5, 1_000.8))
    assert done.changes == tuple(world.changes)
    assert {t.state for t in done.rollout.targets} == {TargetState.CONFIRMED}


def test_an_intent_says_what_is_written_for_whom_and_until_when_it_may_land() -> None:
    world, r = World(*BOTH), fresh(*BOTH, position=Position(1, 2))
    world.protocol(horizon=100.0).apply(r, HELD, BOTH)
    first, second = world.changes[0].new_writes
    assert (first.id, first.number, first.kind, first.wave, first.step) == ("w0", ONE, Kind.FORWARD, 1, 2)
    assert (first.epoch, first.rollout_id, first.retreated, second.id) == (3, "r1", None, "w1")
    assert first.intent_at == START + timedelta(seconds=0.2)
    assert first.horizon_until == first.intent_at + timedelta(seconds=100)
    assert world.orders[0].body == first.body
    assert world.changes[0].targets == {ONE: {"written": True}}, "the other one was written before"
    intended, settled = world.entries
    assert (intended.actor, intended.reason, settled.reason) == ("service", "", "")
    assert intended.data is not None
    assert (intended.data["kind"], intended.data["position"]) == ("forward", "1.2")


ODD = {FIELD: [entry(8)]}


@pytest.mark.parametrize(
    ("found", "trouble"),
    [(ODD, None), (GONE, None), (DOWN, "Retell cannot be read: no answer"), (NO_KEY, "API key (401)")],
    ids=["drift", "gone", "down", "key"],
)
def test_nothing_forward_is_sent_beside_a_number_that_is_not_as_known(found: Any, trouble: str | None) -> None:
    """But for one that cannot be read: the others go on without it."""
    world, r = World(*BOTH), fresh(*BOTH)
    odd = found if isinstance(found, Failure) else world.shown(TWO, lists=found, modified=2_000)
    world.reads[TWO] = [odd, odd]
    done = world.protocol().apply(r, HELD, BOTH)
    unreadable = found in (DOWN, NO_KEY)
    assert [order.number for order in world.orders] == [ONE] * unreadable
    assert (trouble or "None") in str(done.trouble)
    assert done.key_refused is (found is NO_KEY)
    assert done.retry_after == (7.0 if found is DOWN else None)
    assert done.is_clean is False
    assert len(done.changes) == (2 if unreadable else 1)
    alone = World(*BOTH)
    alone.reads = {ONE: [odd, odd], TWO: [odd, odd]}
    assert alone.protocol().apply(r, HELD, BOTH).sent == 0
    assert alone.orders == []


def test_a_command_that_takes_over_stops_what_goes_forward_and_its_lack_is_no_trouble() -> None:
    world, r = World(*BOTH), fresh(*BOTH)
    world.interrupted = True
    world.answers = {ONE: [NOT_SENT], TWO: [NOT_SENT]}
    done = world.protocol().apply(r, HELD, BOTH)
    assert world.did("write")[0][3] is True
    assert (done.sent, done.unsent, done.trouble, done.is_clean) == (0, 2, None, False)
    assert ("read", [], False) not in world.log
    world = World(*BOTH)
    world.answers = {ONE: [NOT_SENT], TWO: [NOT_SENT]}
    done = world.protocol().apply(r, HELD, BOTH)
    assert (done.trouble, done.retry_after) == (f"{ONE}: no connection; {TWO}: no connection", 3.0)


def test_what_did_not_leave_in_time_is_counted_and_no_trouble() -> None:
    world, r = World(*BOTH), fresh(*BOTH)
    world.answers = {TWO: [NOT_SENT]}
    done = world.protocol().apply(r, HELD, BOTH)
    assert (done.sent, done.unsent, done.trouble, done.is_clean) == (1, 1, None, False)
    assert world.did("read")[-1] == ("read", [ONE], False), "no byte reached the other one"


@pytest.mark.parametrize(
    ("failure", "reads", "state", "rejected"),
    [
        (LOST, [[ONE, TWO]], TargetState.UNTOUCHED, False),
        (REFUSED, [[ONE], [TWO]], TargetState.REJECTED, True),
        (GONE, [[ONE], [TWO]], TargetState.REJECTED, True),
        (Failure(Trouble.REJECTED, "bad request", 400), [[ONE]], TargetState.REJECTED, True),
        (NO_KEY, [[ONE]], TargetState.UNTOUCHED, True),
    ],
    ids=["lost", "422", "404", "400", "key"],
)
def test_what_an_answer_leaves_unclear_is_read_back(
    failure: Failure, reads: list[list[str]], state: TargetState, rejected: bool
) -> None:
    """A lost answer, and a number that Retell seems not to know; it is there after all."""
    world, r = World(*BOTH), fresh(*BOTH)
    world.answers = {TWO: [failure]}
    done = world.protocol().apply(r, HELD, BOTH)
    assert [numbers for _, numbers, _ in world.did("read")[1:]] == reads
    assert done.rollout.by_number[TWO].state is state
    assert (done.rejected, done.key_refused, done.is_clean) == (rejected, failure is NO_KEY, False)


def test_a_number_that_vanished_between_reading_and_writing_is_missing() -> None:
    world, r = World(*BOTH), fresh(*BOTH)
    world.answers, world.reads = {TWO: [GONE]}, {TWO: [None, GONE]}
    done = world.protocol().apply(r, HELD, BOTH)
    assert done.rollout.by_number[TWO].state is TargetState.MISSING


def test_a_412_for_a_number_that_shows_what_we_know_is_written_without_its_condition() -> None:
    """Retell's ETag moves for reasons of its own; a split that was edited meanwhile is left to a decision."""
    world, r = World(*BOTH), fresh(*BOTH)
    world.answers = {TWO: [CHANGED]}
    done = world.protocol().apply(r, HELD, BOTH)
    assert [(o.number, o.etag) for o in world.orders] == [(ONE, "e1000"), (TWO, "e1000"), (TWO, None)]
    assert ("read", [TWO], True) in world.log, "it is read as before any other write"
    assert [reason for kind, reason in world.told if kind == "intended"] == [
        "",
        "Retell answered 412 although the number shows the expected split: written without that condition",
    ]
    assert done.rollout.by_number[TWO].state is TargetState.CONFIRMED
    assert (done.changed, done.is_clean, done.trouble) == ((TWO,), False, None)
    assert done.scan is not None
    assert done.scan.findings == {TWO: Finding.AS_EXPECTED}
    assert done.sent_at == pytest.approx(world.boot() - 0.3), "of the second write"
    assert done.changes == tuple(world.changes)


def test_a_412_for_a_number_that_was_edited_is_not_written() -> None:
    world, r = World(*BOTH), fresh(*BOTH)
    edited = world.shown(TWO, lists=ODD, modified=2_000)
    world.answers, world.reads = {TWO: [CHANGED]}, {TWO: [None, None, edited, edited]}
    done = world.protocol().apply(r, HELD, BOTH)
    assert [o.number for o in world.orders] == [ONE, TWO]
    assert done.scan is not None
    assert done.scan.findings == {TWO: Finding.DRIFT}
    assert done.rollout.by_number[TWO].state is TargetState.DRIFTED


# ------------------------------------------------------------------ back


def test_a_rollback_goes_first_reads_nothing_before_it_and_no_command_stops_it() -> None:
    numbers = (confirmed(ONE), confirmed(TWO, ord=1))
    world, r = World(*numbers), fresh(*numbers, **BACK, retreated=500)
    world.interrupted = True
    done = world.protocol().restore(r, HELD, numbers)
    assert world.log[0] == ("session", [ONE, TWO], True)
    assert [step[0] for step in world.log[1:]] == ["commit", "write", "read", "commit", "c"]
    assert world.did("write")[0][3] is False
    assert [(o.etag, w.kind, w.step) for o, w in zip(world.orders, world.changes[0].new_writes, strict=True)] == [
        (None, Kind.BASELINE, 0)
    ] * 2
    assert world.lists == {ONE: only(6), TWO: only(6)}
    assert {t.state for t in done.rollout.targets} == {TargetState.RESTORED}
    assert done.is_clean
    assert world.entries[0].data is not None
    assert world.entries[0].data["kind"] == "baseline"
    assert world.entries[0].data.get("retreated") is None, "a baseline is no weight of closing time"


def test_a_baseline_that_retell_refuses_as_it_was_read_is_written_in_its_other_form() -> None:
    rounded = {FIELD: [entry(6, 0.333), entry(5, 0.666)]}
    numbers = (confirmed(ONE, baseline=rounded), confirmed(TWO, ord=1))
    world, r = World(*numbers), fresh(*numbers, **BACK)
    world.answers = {ONE: [REFUSED]}
    done = world.protocol().restore(r, HELD, numbers)
    assert sum(e["weight"] for e in world.lists[ONE][FIELD]) == 1
    assert [reason for kind, reason in world.told if kind == "intended"] == [
        "",
        "Retell refuses the baseline as it was read; it is written in the same proportions with a sum of exactly 1",
    ]
    assert done.rollout.by_number[ONE].state is TargetState.RESTORED
    assert (done.as_read, done.rejected, done.trouble) == ((ONE,), True, None)
    world.answers = {ONE: [REFUSED, replace(NOT_SENT, retry_after=None)]}
    done = world.protocol().restore(r, HELD, numbers)
    assert (done.unsent, done.trouble) == (1, f"{ONE}: no connection")


def test_what_goes_wrong_in_the_second_form_is_told() -> None:
    rounded = {FIELD: [entry(6, 0.333), entry(5, 0.666)]}
    numbers = (confirmed(ONE, baseline=rounded), confirmed(TWO, ord=1))
    world, r = World(*numbers), fresh(*numbers, **BACK)
    world.answers = {ONE: [REFUSED, NO_KEY]}
    done = world.protocol().restore(r, HELD, numbers)
    assert done.key_refused
    assert "API key (401)" in str(done.trouble)


def test_an_older_stamp_after_a_rollback_is_believed_when_three_readings_agree() -> None:
    """Retell answered 200 and shows our split, with a stamp from before one that was seen earlier."""
    ahead = confirmed(ONE, modified=9_000)
    for late, state in ((None, TargetState.RESTORED), (12_000, TargetState.CONFIRMED)):
        world, r = World(ahead), fresh(ahead, **BACK)
        world.modified[ONE] = 2_000
        if late is not None:
            world.reads[ONE] = [None, None, Reading(ONE, only(6), late, "digest")]
        done = world.protocol(staleness=0.25).restore(r, HELD, [ahead])
        assert world.did("sleep") == [("sleep", 1.0)] * 2
        assert len(world.did("read")) == 3
        assert done.rollout.by_number[ONE].state is state


@pytest.mark.parametrize(
    "back",
    [
        Reading(ONE, only(6), 9_000, "digest"),
        Reading(ONE, only(6), 2_500, "digest"),
        Reading(ONE, only(8), 4_000, "digest"),
        DOWN,
    ],
    ids=["not older", "older than the answer", "another split", "unread"],
)
def test_what_does_not_look_like_an_older_stamp_is_not_read_again(back: Any) -> None:
    ahead = confirmed(ONE, modified=9_000)
    world, r = World(ahead), fresh(ahead, **BACK)
    world.modified[ONE], world.reads[ONE] = 2_000, [back]
    world.protocol().restore(r, HELD, [ahead])
    assert len(world.did("read")) == 1


def test_what_retell_answered_is_kept_when_the_claim_went_to_somebody_else() -> None:
    world, r = World(*BOTH), fresh(*BOTH)
    world.lost_at = 1
    with pytest.raises(ClaimLost):
        world.protocol().apply(r, HELD, BOTH)
    ((id_, change, kept),) = world.settled
    assert (id_, kept.kind, set(change.targets)) == ("r1", "settled", {ONE, TWO})


def test_a_baseline_that_was_written_over_three_times_is_told_once() -> None:
    numbers = (confirmed(ONE),)
    world, r = World(*numbers), fresh(*numbers, **BACK)
    for time in range(4):
        world.reads[ONE] = [world.shown(ONE, lists=ODD, modified=world.modified[ONE] + 5_000)]
        r = world.protocol().restore(r, HELD, r.targets).rollout
        contested = [e for e in world.entries if e.kind == "contested"]
        assert len(contested) == (time >= 2), time
    assert contested[0].data == {"numbers": [ONE]}


# ------------------------------------------------------------------ looking


def test_a_look_that_finds_everything_as_known_records_nothing() -> None:
    world, r = World(*BOTH), fresh(*BOTH)
    done = world.protocol().read(r, HELD, [ONE, TWO])
    assert world.log == [("session", [ONE, TWO], False), ("read", [ONE, TWO], False), "closed"]
    assert (done.changes, done.rollout, done.trouble, done.key_refused) == ((), r, None, False)
    world.protocol().read(replace(r, rollback_at=START), HELD, [ONE])
    assert world.did("session")[-1] == ("session", [ONE], True)


def test_one_odd_reading_is_not_believed_before_a_second() -> None:
    world, r = World(*BOTH), fresh(*BOTH)
    world.reads = {TWO: [world.shown(TWO, lists=ODD, modified=2_000)]}
    done = world.protocol(staleness=2.5).read(r, HELD, [ONE, TWO])
    assert world.log[1:-1] == [("read", [ONE, TWO], False), ("sleep", 2.5), ("read", [TWO], False)]
    assert done.scan is not None
    assert done.scan.findings == {ONE: Finding.AS_EXPECTED, TWO: Finding.AS_EXPECTED}
    assert done.etags == {ONE: "e1000", TWO: "e1000"}


def test_an_edit_that_is_seen_twice_is_recorded_with_what_was_found() -> None:
    world, r = World(*BOTH), fresh(*BOTH)
    world.lists[TWO], world.modified[TWO] = ODD, 2_000
    done = world.protocol().read(r, HELD, [ONE, TWO])
    (observed,) = world.entries
    assert (observed.kind, observed.actor, observed.data) == ("observed", "service", {"findings": {TWO: "drift"}})
    assert done.rollout.by_number[TWO].state is TargetState.DRIFTED
    assert done.changes == tuple(world.changes)


def test_a_look_that_was_asked_for_is_done_once_every_number_was_read() -> None:
    world, r = World(*BOTH), fresh(*BOTH, look_asked=True)
    for failure in (DOWN, NO_KEY):
        world.reads = {TWO: [failure]}
        done = world.protocol().read(r, HELD, [ONE, TWO])
        assert done.rollout.look_asked
        assert done.key_refused is (failure is NO_KEY)
    assert world.protocol().read(r, HELD, [ONE]).rollout.look_asked
    assert world.entries == []
    assert not world.protocol().read(r, HELD, [ONE, TWO]).rollout.look_asked
    assert world.log[-2] == ("commit", [], None), "nothing was observed"


@pytest.mark.parametrize(
    ("phase", "readings", "believed"),
    [
        (Phase.HELD, [500, 500, 500], True),
        (Phase.HELD, [500, 500, 1_000], False),
        (Phase.HELD, [500, 400, 500], False),
        (Phase.PROGRESSING, [500, 500], False),
        (Phase.HELD, [500, 1_000], None),
    ],
    ids=["equal", "the third is newer", "not equal", "a step may follow", "the second is newer"],
)
def test_an_older_stamp_is_believed_where_three_readings_agree_and_no_step_follows(
    phase: Phase, readings: list[int], believed: bool | None
) -> None:
    one, number = BOTH[0], ONE
    world, r = World(one), fresh(one, phase=phase)
    world.reads[ONE] = [world.shown(ONE, modified=modified) for modified in readings]
    done = world.protocol(staleness=0.5).read(r, HELD, [ONE])
    assert done.scan is not None
    pauses = [seconds for _, seconds in world.did("sleep")]
    assert pauses == ([0.5, 1.0] if len(readings) == 3 else [0.5])
    stale = f"Retell shows an older state of {number} than it showed before"
    assert done.trouble == (stale if believed is False else None)
    assert done.rollout.by_number[ONE].modified == (500 if believed else 1_000)


def test_a_split_of_ours_that_comes_back_after_every_rollback_is_told_the_third_time() -> None:
    numbers = (confirmed(ONE),)
    world, r = World(*numbers), fresh(*numbers, **BACK)
    found = []
    for _ in range(4):
        r = world.protocol().restore(r, HELD, r.targets).rollout
        world.clock.advance(300)
        world.entries.clear()
        world.lists[ONE], world.modified[ONE] = lists_at(plan(), only(6), 1), world.modified[ONE] + 1_000
        r = world.protocol().read(r, HELD, [ONE]).rollout
        found.append([e.kind for e in world.entries])
    assert found == [["observed"], ["observed"], ["observed", "contested"], ["observed"]]


# ------------------------------------------------------------------ what one batch amounts to


@pytest.mark.parametrize(
    ("changes", "clean"),
    [
        ({}, True),
        ({"sent": 0}, False),
        ({"trouble": "no answer"}, False),
        ({"unsent": 1}, False),
        ({"rejected": True}, False),
        ({"changed": (ONE,)}, False),
    ],
    ids=["clean", "nothing sent", "trouble", "unsent", "rejected", "changed"],
)
def test_more_of_the_same_follows_only_a_batch_without_a_flaw(changes: dict[str, Any], clean: bool) -> None:
    assert BatchWrite(rollout(), **{"sent": 1, **changes}).is_clean is clean


def test_what_a_first_reading_said_of_a_write_is_forgotten_with_what_it_said_of_the_number() -> None:
    r = rollout(
        targets=(target(ONE, written=True), target(TWO, ord=1, written=True)),
        writes=(write(ONE, id="w1"), write(TWO, id="w2")),
    )
    first = absorb(
        r, {ONE: Reading(ONE, only(8), 2_000, "digest"), TWO: Reading(TWO, only(6), 1_000, "digest")}, LATER, LATER
    )
    assert first.findings == {ONE: Finding.DRIFT, TWO: Finding.NOT_APPLIED}
    assert set(first.change.writes) == {"w1", "w2"}, "both horizons are over"
    scan = _updated_scan(r, first, absorb(r, {ONE: Blocked.UNREACHABLE}, LATER, LATER))
    assert scan.findings == {ONE: Blocked.UNREACHABLE, TWO: Finding.NOT_APPLIED}
    assert set(scan.change.writes) == {"w2"}
