"""The fetch of calls: which numbers are asked for, from when on, what is kept, and whom that wakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs import observe
from jobs.observe import Observe
from rollout.adapters.store.tables import observations
from rollout.app import App
from rollout.domain.calls import CallDetails, CallRecord, FetchMark
from rollout.domain.gates.counting import MOST_WAIT
from rollout.domain.gates.verdict import GateVerdict
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.records import JournalEntry
from rollout.domain.lifecycle.state import Position, Rollout, TargetState
from rollout.domain.writes.answers import Failure, Trouble
from rollout.engine.ports import GateReport
from tests.support import logs
from tests.support.clock import START, FakeClock
from tests.support.hand import Hand
from tests.support.values import AGENT, ONE, THREE, TWO, confirmed, plan, said, target

SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
DOWN = Failure(Trouble.UNREACHABLE, "down")
JUDGED = plan(gates=None)


@dataclass
class Listed:
    """Implements rollout.engine.ports.Calls: lists, oldest first, by number; a Failure ends one."""

    calls: list[CallRecord | Failure] = field(default_factory=list)
    asked: list[tuple[str, str, datetime]] = field(default_factory=list)
    agents: list[tuple[tuple[str, int], ...]] = field(default_factory=list)
    given: int = 0

    def since(
        self, number: str, channel: str, agents: Sequence[tuple[str, int]], since: datetime
    ) -> Iterator[CallRecord | Failure]:
        self.asked.append((number, channel, since))
        self.agents.append(tuple(agents))
        for item in self.calls:
            if isinstance(item, Failure):
                yield item
            elif item.number == number and (item.started_at or since) >= since:
                self.given += 1
                yield item

    def details(self, call_id: str) -> CallDetails | Failure:
        return CallDetails(None, {})


class Gates:
    """Says what the test wrote down."""

    def __init__(self) -> None:
        self.verdict: GateVerdict | None = None

    def look(self, rollout: Rollout, now: datetime) -> GateReport:
        return GateReport(self.verdict)


def call(at: datetime, id_: str = "", number: str = ONE, version: int = 6, **changes: Any) -> CallRecord:
    """A call that ended well and was analysed."""
    values = {"status": "ended", "successful": True, "sentiment": "Neutral", "analyzed": True, **changes}
    return CallRecord(id_ or f"call {at}", AGENT, version, number, "inbound", at, at + MINUTE, **values)


@pytest.fixture
def listed() -> Listed:
    return Listed()


@pytest.fixture
def gates() -> Gates:
    return Gates()


@pytest.fixture
def app(make_app: Callable[..., App], listed: Listed, gates: Gates) -> App:
    return make_app({"calls": listed, "gates": gates})


@pytest.fixture
def job(app: App, listed: Listed) -> Iterator[Observe]:
    made = Observe(app, listed)
    yield made
    made.stop()


def begin(hand: Hand, id_: str = "r1", *targets: Any, **changes: Any) -> None:
    """A rollout under way whose gates compare calls, that is not due."""
    values = {"phase": Phase.PROGRESSING, "started_at": hand.store.now(), "plan": JUDGED, **changes}
    hand.create(id_, *(targets or (confirmed(),)), due=None, **values)


def promote(hand: Hand) -> None:
    """A rollout that has ended well in its third step, and whose calls are watched."""
    begin(hand, position=Position(1, 3))
    ended = Change(rollout={"phase": Phase.PROMOTED, "watch_until": hand.store.now() + DAY, "due_at": None})
    hand.store.commit(hand.claim(), ended, [JournalEntry("completed", "service")])


def due(app: App, id_: str = "r1") -> bool:
    return app.store.load(id_)[0].due_at is not None


def mark(job: Observe, number: str = ONE) -> FetchMark:
    return job.app.store.calls.marks([number])[number, "inbound"]


# ------------------------------------------------------------------ whom news wakes


def test_new_and_corrected_calls_wake_their_rollout_and_the_same_ones_do_not(
    app: App, job: Observe, listed: Listed, hand: Hand
) -> None:
    begin(hand)
    begin(hand, "r2", confirmed(TWO))
    listed.calls = [call(START, analyzed=False, successful=None), call(START + SECOND, "other")]
    assert job.tick() == 2
    assert (due(app, "r1"), due(app, "r2")) == (True, False)
    assert not app.store.load("r1")[0].look_asked, "calls say nothing of what a number serves"
    app.store.release(hand.claim("r1"), _wait())
    assert job.tick() == 0
    assert not due(app)
    listed.calls = [call(START)]
    assert job.tick() == 1
    assert due(app)


def _wait() -> Any:
    from rollout.domain.decide.actions import Wait

    return Wait(None, "", "")


def test_an_outage_and_its_end_wake_and_its_duration_does_not(
    app: App, job: Observe, listed: Listed, hand: Hand, clock: FakeClock
) -> None:
    begin(hand)
    found = []
    for calls in ([], [DOWN], [DOWN], [], []):
        clock.advance(5)
        listed.calls = list(calls)
        with logs.captured() as logged:
            job.tick()
        found.append((due(app), [(e["event"], e["number"], e["error"]) for e in logged]))
        if due(app):
            app.store.release(hand.claim(), _wait())
    lost = ("calls not fetched", "+1415…", "down")
    assert found == [(False, []), (True, [lost]), (False, [lost]), (True, []), (False, [])]


def test_trouble_is_marked_with_its_reason_and_what_was_listed_before_it_is_kept(
    app: App, job: Observe, listed: Listed, hand: Hand, clock: FakeClock
) -> None:
    begin(hand)
    listed.calls = [DOWN]
    job.tick()
    assert len(listed.asked) == 1, "the month before is read once the number can be"
    listed.calls = []
    job.tick()
    before = mark(job)
    clock.advance(5)
    listed.calls = [call(START + SECOND), DOWN]
    assert job.tick() == 1
    found = mark(job)
    assert (found.trouble, found.trouble_since) == ("down", clock.now())
    assert (found.since, found.polled_at) == (before.since, before.polled_at)
    clock.advance(5)
    listed.calls = []
    job.tick()
    assert (mark(job).trouble, mark(job).trouble_since) == ("", None)


def test_what_single_calls_show_wakes_where_a_metric_asks_for_it(
    app: App, job: Observe, listed: Listed, hand: Hand, clock: FakeClock
) -> None:
    begin(hand, plan=plan(gates={"metrics": [{"name": "success"}, {"name": "backup_model"}]}))
    listed.calls = [call(START)]
    job.tick()
    app.store.release(hand.claim(), _wait())
    clock.advance(70)
    with app.database.write() as connection:
        connection.execute(observations.update().values(details=None))
    assert job.tick() == 0, "it is listed as it was"
    assert due(app)


# ------------------------------------------------------------------ who is asked for


def test_each_channel_of_the_numbers_under_way_is_asked_for_by_the_versions_of_both_sides(
    job: Observe, listed: Listed, hand: Hand
) -> None:
    of = plan([ONE, TWO, THREE], gates=None, channels=["inbound", "outbound"], waves=[2, "100%"])
    targets = [confirmed(ONE), confirmed(TWO, ord=1, state=TargetState.SUPERSEDED), target(THREE, ord=2, wave=2)]
    begin(hand, "r1", *targets, plan=of, position=Position(1, 1))
    job.tick()
    assert {(number, channel) for number, channel, _ in listed.asked} == {(ONE, "inbound"), (ONE, "outbound")}
    assert set(listed.agents) == {((AGENT, 6), (AGENT, 7)), ((AGENT, 6),)}, "the second asks for the month before"


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({"gates": None}, True),
        ({}, False),
        ({"steps": [{"weight": 0.1, "hold": "1h", "min_calls": 5}, {"weight": 1.0, "hold": "1h"}]}, True),
    ],
    ids=["gates", "no gates", "least calls alone"],
)
def test_calls_are_asked_for_where_something_counts_them(
    job: Observe, listed: Listed, hand: Hand, changes: dict[str, Any], asked: bool
) -> None:
    begin(hand, plan=plan(**changes))
    job.tick()
    assert bool(listed.asked) is asked


def test_a_promoted_rollout_is_looked_at_once_a_minute(
    app: App, job: Observe, listed: Listed, hand: Hand, clock: FakeClock
) -> None:
    promote(hand)
    began, looks = clock.now(), []
    for _ in range(26):
        before = len(listed.asked)
        job.tick()
        if len(listed.asked) > before:
            looks.append((clock.now() - began).total_seconds())
        clock.advance(5)
    assert looks == [0, 60, 120]


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        (None, False),
        (said("pass"), False),
        (said("undecided", alarm="split"), False),
        (said("undecided", "worse than it was", alarm="watch"), True),
        (said("fail", "the canary is worse"), True),
    ],
    ids=["none", "pass", "another alarm", "watch alarm", "fail"],
)
def test_what_calls_say_after_the_end_is_told_and_wakes_nobody(
    app: App, job: Observe, listed: Listed, hand: Hand, gates: Gates, verdict: GateVerdict | None, told: bool
) -> None:
    gates.verdict = verdict
    promote(hand)
    listed.calls = [call(START + SECOND)]
    job.tick()
    assert not due(app)
    found = [e for e in app.store.history("r1") if e.kind == "watched"]
    assert len(found) == told
    if verdict is not None and told:
        assert (found[0].reason, found[0].data["position"]) == (verdict.reason, "1.3")
        assert found[0].data["verdict"]["outcome"] == verdict.outcome


# ------------------------------------------------------------------ from when on


def test_the_first_fetch_goes_back_a_day_and_a_month_where_the_day_is_quiet(
    job: Observe, listed: Listed, hand: Hand
) -> None:
    begin(hand)
    job.tick()
    assert [since for *_, since in listed.asked] == [START - DAY, START - 30 * DAY]


@pytest.mark.parametrize(("count", "further"), [(99, True), (100, False)])
def test_a_hundred_judged_calls_of_the_baseline_in_a_day_are_enough(
    job: Observe, listed: Listed, hand: Hand, count: int, further: bool
) -> None:
    begin(hand)
    listed.calls = [call(START - timedelta(hours=2) + i * SECOND) for i in range(count)]
    listed.calls += [call(START - HOUR, "canary", version=7), call(START - HOUR, "open", analyzed=False)]
    assert job.tick() == len(listed.calls)
    assert len(listed.asked) == 1 + further


def test_the_month_before_ends_where_the_day_before_begins_and_at_a_failure(
    app: App, job: Observe, listed: Listed, hand: Hand
) -> None:
    begin(hand)
    old = [call(START - 20 * DAY), call(START - 2 * DAY), call(START - DAY), call(START - HOUR)]
    listed.calls = [*old]
    assert job.tick() == 4
    assert listed.given == 2 + 3, "each call is stored once, and the list is left at the day before"
    begin(hand, "r2", confirmed(TWO))
    listed.calls = [call(START - 20 * DAY, "kept", TWO), DOWN, call(START - 19 * DAY, "never", TWO)]

    class Once(Listed):
        def since(self, *asked: Any) -> Iterator[CallRecord | Failure]:
            return Listed.since(self, *asked) if asked[0] == TWO and asked[3] < START - DAY else iter(())

    broken = Observe(app, Once(listed.calls))
    with logs.captured() as logged:
        assert broken.tick() == 1
    assert [e["event"] for e in logged] == ["earlier calls not fetched"]
    assert mark(broken, TWO).trouble == "", "what is missing of a month is no trouble of the gate"
    broken.stop()


def test_the_month_before_is_shared_by_the_numbers_of_the_first_wave(
    job: Observe, listed: Listed, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe, "HISTORY_CALLS", 6)
    monkeypatch.setattr(observe, "HISTORY_NUMBERS", 2)
    of = plan([ONE, TWO, THREE], gates=None)
    begin(hand, "r1", *(confirmed(n, ord=i) for i, n in enumerate((ONE, TWO, THREE))), plan=of)
    listed.calls = [call(START - 5 * DAY + i * MINUTE, f"{n}{i}", n) for n in (ONE, TWO, THREE) for i in range(9)]
    assert job.tick() == 6
    assert sorted(number for number, _, since in listed.asked if since == START - 30 * DAY) == [ONE, TWO]


@pytest.mark.parametrize(
    ("last", "changes", "since"),
    [
        (timedelta(minutes=9), {}, timedelta(minutes=8)),
        (timedelta(minutes=9), {"analyzed": False}, timedelta(minutes=4)),
        (timedelta(minutes=9), {"analyzed": False, "status": "not_connected"}, timedelta(minutes=8)),
    ],
    ids=["analysed", "one waits for its analysis", "not connected"],
)
def test_the_next_fetch_asks_from_the_oldest_call_that_may_get_a_result(
    job: Observe, listed: Listed, hand: Hand, clock: FakeClock, last: Any, changes: dict[str, Any], since: timedelta
) -> None:
    """A minute further, for calls that are listed late."""
    begin(hand)
    clock.advance(600)
    listed.calls = [call(START + 5 * MINUTE, "first", **changes), call(START + last, "last")]
    job.tick()
    assert mark(job).since == START + since
    assert mark(job).polled_at == clock.now()


@pytest.mark.parametrize(("hours", "waits"), [(1.99, True), (2.01, False)])
def test_a_call_without_a_result_is_asked_for_for_two_hours(
    job: Observe, listed: Listed, hand: Hand, clock: FakeClock, hours: float, waits: bool
) -> None:
    begin(hand)
    clock.advance(hours * 3_600)
    listed.calls = [call(START, "first", analyzed=False), call(clock.now(), "last")]
    job.tick()
    assert mark(job).since == (START if waits else clock.now()) - MINUTE


def test_calls_may_be_longer_than_two_hours_where_the_plan_says_so(
    job: Observe, listed: Listed, hand: Hand, clock: FakeClock
) -> None:
    begin(hand, plan=plan(gates={"profile": "standard", "max_call_time": "3h"}))
    clock.advance(2.5 * 3_600)
    listed.calls = [call(START, "first", analyzed=False), call(clock.now(), "last")]
    job.tick()
    assert mark(job).since == START - MINUTE


def test_without_a_call_the_fetch_goes_on_from_where_it_was(job: Observe, listed: Listed, hand: Hand) -> None:
    begin(hand)
    job.tick()
    assert mark(job).since == START - DAY
    job.tick()
    assert listed.asked[-1][2] == START - DAY


def test_the_mark_of_an_earlier_rollout_on_the_number_says_nothing_of_this_one(
    app: App, job: Observe, listed: Listed, hand: Hand
) -> None:
    app.store.calls.mark(FetchMark(ONE, "inbound", START - MINUTE, START - SECOND))
    begin(hand)
    job.tick()
    assert listed.asked[0][2] == START - DAY
    app.store.calls.mark(FetchMark(ONE, "inbound", START - MINUTE, START))
    job.tick()
    assert listed.asked[-1][2] == START - MINUTE


def test_once_an_hour_a_day_is_read_again(job: Observe, listed: Listed, hand: Hand, clock: FakeClock) -> None:
    begin(hand)
    job.tick()
    far = []
    for minute in range(1, 140, 10):
        clock.to(START + minute * MINUTE)
        listed.calls = [call(clock.now())]
        job.tick()
        if listed.asked[-1][2] <= clock.now() - MOST_WAIT:
            far.append(minute)
    assert far == [1, 61, 121], "the first one follows the first fetch, without a call in it"


# ------------------------------------------------------------------ troubles that are over


@pytest.mark.parametrize(
    ("gated", "channel", "since", "forgotten"),
    [
        (True, "inbound", -SECOND, True),
        (True, "inbound", SECOND, False),
        (True, "outbound", SECOND, True),
        (False, "inbound", SECOND, True),
    ],
    ids=["of an earlier rollout", "of this one", "of another channel", "of one without gates"],
)
def test_a_trouble_of_calls_that_nobody_asks_for_is_forgotten(
    app: App, job: Observe, listed: Listed, hand: Hand, gated: bool, channel: str, since: timedelta, forgotten: bool
) -> None:
    begin(hand, plan=plan(gates=None) if gated else plan())
    troubled = FetchMark(ONE, channel, START, START, "down", START + since)
    app.store.calls.mark(troubled)
    listed.calls = [DOWN]
    job.tick()
    found = app.store.calls.marks([ONE])[ONE, channel]
    if channel == "inbound" and gated:
        assert found.trouble_since == (app.store.now() if forgotten else troubled.trouble_since)
    else:
        assert (found.trouble, found.trouble_since) == ("", None)


# ------------------------------------------------------------------ what is kept


def test_text_that_no_gate_asks_for_is_not_kept(app: App, job: Observe, listed: Listed, hand: Hand) -> None:
    metric = {"name": "topic", "custom": "topic", "bad": True}
    begin(hand, plan=plan(gates={"metrics": [{"name": "success"}, metric]}))
    said: dict[str, Any] = {"topic": "true", "caller": "Jane Roe", "score": 3, "paid": True}
    listed.calls = [call(START - 2 * DAY, custom=said), call(START + SECOND, custom=said)]
    job.tick()
    kept = app.store.calls.since([ONE], ["inbound"], START - 9 * DAY)
    assert [c.custom for c in kept] == [{"topic": "true", "score": 3, "paid": True}] * 2
