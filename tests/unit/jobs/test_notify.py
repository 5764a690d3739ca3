"""Notices on their way: when they are tried again, given up, or told to others, and what one address costs the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs import notify
from jobs.notify import Notify
from rollout.adapters.notify import Address, Message, NotTaken, of_plan
from rollout.adapters.store.outbox import AddressedNotice
from rollout.adapters.store.tables import outbox
from rollout.adapters.telemetry.logs import REDACTOR
from rollout.app import App
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.records import JournalEntry
from rollout.domain.notices.notice import Notice
from rollout.domain.plan.notices import NoticeEvent, Severity
from tests.support import logs
from tests.support.clock import FakeClock
from tests.support.hand import Hand
from tests.support.values import plan, target

URLS = ("json://127.0.0.1:9/", "xml://127.0.0.1:9/")
FIVE = [5, 10, 20, 40, 80, 160, 320, 600, 600]  # seconds


class Courier:
    """Takes what it is given, or answers what the test wrote down."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, Message]] = []
        self.trouble: NotTaken | None = None
        self.pause = 0.0
        self.before: Callable[[], object] = lambda: None

    def warm(self) -> None:
        pass

    def send(self, address: Address, message: Message) -> float:
        self.before()
        if self.trouble is not None:
            raise self.trouble
        self.taken.append((address.url, message))
        return self.pause


@pytest.fixture
def courier() -> Courier:
    return Courier()


@pytest.fixture
def make(make_app: Callable[..., App], courier: Courier) -> Callable[..., Notify]:
    def make(*urls: str, **settings: Any) -> Notify:
        return Notify(make_app(notify_urls=urls, **settings), courier)

    return make


def addressed(event: str, channel: str, rollout_id: str | None) -> AddressedNotice:
    return AddressedNotice(Notice(event, rollout_id, NoticeEvent.STARTED, Severity.CRITICAL, "t", "b"), channel)


def begin(job: Notify, *ids: str, **changes: Any) -> None:
    """Rollouts whose start is in the journal."""
    for id_ in ids:
        count = len(job.app.store.summaries())
        held = Hand(job.app.store).begun(id_, target(f"+1415777{count:04}"), **changes)
        job.app.store.commit(held, Change(), [JournalEntry("begun", "service", "pre-flight passed")])


def tell(job: Notify) -> None:
    job.tick()
    job.wait_for_deliveries(20)


def rows(job: Notify) -> list[dict[str, Any]]:
    with job.app.database.read() as connection:
        return [dict(row._mapping) for row in connection.execute(outbox.select().order_by(outbox.c.id))]


# ------------------------------------------------------------------ what is not taken


@pytest.mark.parametrize(("final", "waits"), [(False, FIVE), (True, [600] * 3)], ids=["for now", "for good"])
def test_the_pauses_between_tries_double_up_to_ten_minutes(
    make: Callable[..., Notify], courier: Courier, clock: FakeClock, final: bool, waits: list[int]
) -> None:
    job = make(URLS[0])
    begin(job, "r1")
    courier.trouble = NotTaken("it answered 503", final=final)
    found = []
    with logs.captured() as logged:
        for _ in waits:
            tell(job)
            (row,) = rows(job)
            found.append((row["due_at"] - clock.now()).total_seconds())
            clock.to(row["due_at"])
    assert found == waits
    said = [e for e in logged if e["event"] == "notice not accepted"]
    assert [e["tries"] for e in said] == list(range(1, len(waits) + 1))
    assert {(e["rollout"], e["name"], e["error"]) for e in said} == {
        ("r1", "address 1 of the settings (json)", "it answered 503")
    }


def test_what_was_claimed_with_a_notice_that_is_not_taken_waits_with_it(
    make: Callable[..., Notify], courier: Courier, clock: FakeClock
) -> None:
    job = make(URLS[0])
    begin(job, "r1", "r2", "r3")
    asked: list[None] = []
    courier.before = lambda: asked.append(None)
    courier.trouble = NotTaken("it answered 503")
    tell(job)
    assert len(asked) == 1
    assert [(row["due_at"] - clock.now()).total_seconds() for row in rows(job)] == [5, 5, 5]
    assert [row["tries"] for row in rows(job)] == [1, 0, 0]


def test_more_notices_than_one_claim_takes_go_one_after_the_other(
    make: Callable[..., Notify], courier: Courier
) -> None:
    job = make(URLS[0])
    ids = [f"r{i}" for i in range(2 * notify.BATCH + 1)]
    begin(job, *ids)
    with logs.captured() as logged:
        tell(job)
    assert [message.rollout_id for _, message in courier.taken] == ids
    assert [e["rollout"] for e in logged if e["event"] == "told"] == ids


def test_a_service_that_asks_for_a_pause_between_two_notices_gets_it(
    make: Callable[..., Notify], courier: Courier, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, waited = make(URLS[0]), list[float]()
    begin(job, "r1", "r2")
    courier.pause = 0.5
    monkeypatch.setattr(job._stopping, "wait", waited.append)
    tell(job)
    assert waited == [0.5, 0.5]


def test_a_job_that_stops_lets_go_of_what_it_has_not_sent(make: Callable[..., Notify], courier: Courier) -> None:
    job = make(URLS[0])
    begin(job, "r1", "r2", "r3")
    courier.before = job._stopping.set
    tell(job)
    assert [message.rollout_id for _, message in courier.taken] == ["r1"]
    assert [(row["sent_at"] is not None, row["lease_until"]) for row in rows(job)] == [
        (True, None),
        (False, None),
        (False, None),
    ]


def test_a_service_that_fails_for_a_minute_is_told_to_the_others_alone(
    make: Callable[..., Notify], courier: Courier, clock: FakeClock
) -> None:
    job = make(*URLS)
    begin(job, "r1")
    _, second = job.addresses
    courier.trouble = NotTaken("it answered 503")
    job.fill()
    with job.app.database.write() as connection:
        connection.execute(outbox.update().where(outbox.c.channel == second).values(sent_at=clock.now(), due_at=None))
    job.deliver()
    job.wait_for_deliveries(20)
    clock.advance(59)
    job.fill()
    assert len(rows(job)) == 2
    clock.advance(1)
    job.fill()
    assert job.trouble == "notices cannot be delivered to address 1 of the settings (json): it answered 503"
    *_, told = rows(job)
    assert len(rows(job)) == 3
    assert (told["channel"], told["rollout_id"]) == (second, None)
    assert told["title"] == "notices cannot be delivered to address 1 of the settings (json)"


def test_what_nobody_took_for_a_week_is_given_up_and_said(
    make: Callable[..., Notify], courier: Courier, clock: FakeClock
) -> None:
    job = make(URLS[0])
    begin(job, "r1")
    courier.trouble = NotTaken("it answered 503")
    tell(job)
    given_up = []
    for hours in (167.5, 0.6, 0.5):  # it is looked for once an hour
        clock.advance(hours * 3_600)
        with logs.captured() as logged:
            job.fill()
        given_up.append([e["count"] for e in logged if e["event"] == "notices given up"])
    assert given_up == [[], [], [1]]
    (row,) = rows(job)
    assert (row["due_at"], row["trouble"]) == (None, "given up: it answered 503")


# ------------------------------------------------------------------ addresses of plans


def test_the_notice_of_an_address_that_is_gone_from_its_plan_is_given_up(
    make: Callable[..., Notify], courier: Courier
) -> None:
    job = make()
    ours, other = {"url": "json://ops:hunter2hunter2@ours.example.com/"}, {"url": "json://other.example.com/"}
    begin(job, "r1", plan=plan(notify=[ours]))
    ((_, gone),) = of_plan(plan(notify=[other]))
    for id_ in ("r1", None, "pruned"):
        job.outbox.put([addressed(f"of {id_}", gone.digest, id_)])
    job.deliver()
    job.wait_for_deliveries(20)
    assert courier.taken == []
    assert {(row["due_at"], row["trouble"]) for row in rows(job)} == {(None, "its address is gone from the plan")}
    ((_, kept),) = of_plan(plan(notify=[ours]))
    job.outbox.put([addressed("kept", kept.digest, "r1")])
    job.deliver()
    job.wait_for_deliveries(20)
    assert [(url, message.event, str(message.severity)) for url, message in courier.taken] == [
        (ours["url"], "kept", "critical")
    ]
    assert ours["url"] not in REDACTOR.clean(f"sent to {ours['url']}"), "an address of a plan is a secret, too"


def test_addresses_of_plans_never_take_all_threads_and_those_of_the_settings_never_wait(
    make: Callable[..., Notify], courier: Courier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "MOST_PLAN_THREADS", 2)
    job, go = make(URLS[0]), threading.Event()
    courier.before = lambda: go.wait(20)
    plans = [plan(notify=[{"url": f"json://host{i}.example.com/"}]) for i in range(4)]
    channels = [address.digest for each in plans for _, address in of_plan(each)]
    for i, (each, channel) in enumerate(zip(plans, channels, strict=True)):
        Hand(job.app.store).create(f"r{i}", target(f"+1415777{i:04}"), plan=each)
        job.outbox.put([addressed("e", channel, f"r{i}")])
    try:
        assert job.deliver() == 2
        assert job.deliver() == 0, "each address has a thread, or waits for one"
        mine = next(iter(job.addresses))
        job.outbox.put([addressed("e", mine, None)])
        unknown = "0" * 64  # an address that was in the settings once
        job.outbox.put([addressed("e", unknown, None)])
        assert job.deliver() == 1
        assert {t.name for t in job._threads.values() if t.daemon} == {
            f"notify-{channel[:8]}" for channel in [*job._threads]
        }
        assert len(job._threads) == 3
    finally:
        go.set()
        job.wait_for_deliveries(20)
    assert job.deliver() == 2, "a thread that has ended makes room"
    job.wait_for_deliveries(20)
    assert len(courier.taken) == 5


def test_a_delivery_that_crashes_is_logged_and_the_notice_is_due_again(
    make: Callable[..., Notify], courier: Courier, clock: FakeClock
) -> None:
    job = make(URLS[0])
    begin(job, "r1")

    def crash() -> None:
        raise ValueError("a mistake of ours")

    courier.before = crash
    with logs.captured() as logged:
        tell(job)
    assert [(e["event"], e["error"]) for e in logged] == [("delivery crashed", "ValueError")]
    courier.before = lambda: None
    assert job.deliver() == 0, "leased"
    clock.advance(notify.LEASE.total_seconds())
    assert job.deliver() == 1
    job.wait_for_deliveries(20)
    assert len(courier.taken) == 1


# ------------------------------------------------------------------ looking


def test_a_look_is_left_out_for_less_than_a_minute(make: Callable[..., Notify], clock: FakeClock) -> None:
    job, looks = make(URLS[0]), list[float]()
    fill = job.fill

    def counted() -> int:
        looks.append(clock.boot())
        return fill()

    job.fill = counted
    began = clock.boot()
    begin(job, "r1")
    found = []
    for _ in range(13):
        found.append(job.tick())
        job.wait_for_deliveries(20)
        clock.advance(10)
    assert [at - began for at in looks] == [0, 60, 120]
    assert found == [1] + [0] * 12


@pytest.mark.parametrize(
    ("looked", "from_"),
    [
        (None, notify.FIRST_SEARCH),
        (timedelta(seconds=30), timedelta(seconds=30) + notify.OVERLAP),
        (timedelta(days=3), timedelta(days=3) + notify.OVERLAP),
        (timedelta(days=30), notify.GIVE_UP),
        (-timedelta(days=1), notify.OVERLAP),
    ],
    ids=["never", "just-now", "days-ago", "too-long-ago", "by-a-clock-that-was-ahead"],
)
def test_a_service_looks_back_to_its_last_look_and_a_little_further(
    make: Callable[..., Notify], looked: timedelta | None, from_: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make(URLS[0])
    now = job.app.store.now()
    asked: list[datetime] = []
    monkeypatch.setattr(job.sources, "mark", lambda: (None if looked is None else now - looked, now))

    def entries(since: datetime, *_kinds: object) -> list[object]:
        asked.append(since)
        return []

    monkeypatch.setattr(job.sources, "entries", entries)
    job.fill()
    assert asked == [now - from_]


def test_a_mark_of_a_clock_that_was_ahead_is_set_right(make: Callable[..., Notify], clock: FakeClock) -> None:
    job = make(URLS[0])
    job.sources.set_mark(clock.now() + timedelta(hours=1))
    job.fill()
    assert job.sources.mark()[0] == clock.now()


def test_nobody_to_tell_needs_no_library(make: Callable[..., Notify], courier: Courier) -> None:
    warmed: list[str] = []
    courier.warm = lambda: warmed.append("warm")
    make().warm()
    assert warmed == []
    make(URLS[0]).warm()
    assert warmed == ["warm"]
