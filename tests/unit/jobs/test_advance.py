"""Due rollouts: which are taken, by whom, and what happens when driving one fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from jobs.advance import MOST_CRASHES, Advance
from rollout.app import App
from rollout.domain.errors import ClaimLost, NotReachable
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.records import Claim
from rollout.domain.lifecycle.waiting import WaitingFor
from tests.support import logs
from tests.support.clock import FakeClock
from tests.support.hand import Hand
from tests.support.values import rollout, target


class Driver:
    """Notes what it drives, and by which threads."""

    def __init__(self) -> None:
        self.driven: list[str] = []
        self.threads: list[str] = []
        self.error: Exception | None = None
        self.go = threading.Event()
        self.go.set()

    def drive(self, claim: Claim) -> Any:
        self.driven.append(claim.rollout_id)
        self.threads.append(threading.current_thread().name.rpartition("_")[0])
        self.go.wait(20)
        if self.error is not None:
            raise self.error
        return rollout(why="its hold")


@pytest.fixture
def driver() -> Driver:
    return Driver()


@pytest.fixture
def job(make_app: Callable[..., App], driver: Driver) -> Iterator[Advance]:
    app = make_app(workers=2)
    app.driver = driver
    made = Advance(app)
    yield made
    driver.go.set()
    made.stop()


def once(job: Advance, before: Callable[[], None] = lambda: None) -> list[dict[str, Any]]:
    """One look, until nothing of it is driven any more; the lines that were logged."""
    with logs.captured() as logged:
        job.tick(before)
        job.stop()
    return [dict(line) for line in logged]


@pytest.fixture
def hand(job: Advance) -> Hand:
    return Hand(job.app.store)


def test_what_is_not_due_is_not_claimed_and_its_moment_is_known(job: Advance, hand: Hand, clock: FakeClock) -> None:
    looked: list[None] = []
    assert job.tick(before=lambda: looked.append(None)) == 0
    assert job.next_due is None
    assert looked == []
    hand.create(due=-timedelta(seconds=90))
    assert job.tick(before=lambda: looked.append(None)) == 0
    assert job.next_due == clock.boot() + 90
    assert looked == []


def test_what_is_due_is_taken_once_it_was_looked_back(job: Advance, hand: Hand, driver: Driver) -> None:
    hand.create(due=timedelta(0))
    job.next_due = 7.0
    looked: list[int] = []
    logged = once(job, lambda: looked.append(len(driver.driven)))
    assert job.next_due is None
    assert (looked, driver.driven) == ([0], ["r1"])
    (line,) = [e for e in logged if e["event"] == "drove"]
    assert (line["phase"], line["position"], line["why"]) == ("progressing", "1.1", "its hold")


def test_rollbacks_are_driven_by_threads_of_their_own(job: Advance, hand: Hand, driver: Driver) -> None:
    hand.create("plain", target("+14157770001"))
    now = hand.store.now()
    hand.create("undoing", target("+14157770002"), phase=Phase.ROLLING_BACK, rollback_at=now, started_at=now)
    once(job)
    assert dict(zip(driver.driven, driver.threads, strict=True)) == {"undoing": "rollback", "plain": "drive"}


def test_no_more_are_claimed_than_can_be_driven_and_a_free_place_is_told(
    job: Advance, hand: Hand, driver: Driver
) -> None:
    for i in range(4):
        hand.create(f"r{i}", target(f"+1415777{i:04}"))
    driver.go.clear()
    assert [job.tick(), job.tick()] == [2, 0]
    job.app.interrupts.woken.clear()
    driver.go.set()
    assert job.app.interrupts.woken.wait(20)
    while job._running:
        threading.Event().wait(0.01)
    assert job.tick() == 2


def test_a_drive_begins_without_earlier_interruptions(job: Advance, hand: Hand) -> None:
    hand.create()
    job.app.interrupts.changed("r1", urgent=True)
    once(job)
    assert not job.app.interrupts("r1", 1)


def test_a_claim_that_somebody_else_took_is_let_go(job: Advance, hand: Hand, driver: Driver) -> None:
    hand.create()
    driver.error = ClaimLost(rollout_id="r1")
    assert [line["event"] for line in once(job)] == ["let go"]


def test_what_cannot_be_driven_now_is_due_again_after_a_poll(
    job: Advance, hand: Hand, driver: Driver, clock: FakeClock
) -> None:
    hand.create()
    driver.error = NotReachable("Retell cannot be reached")
    logged = once(job)
    assert [(line["event"], line["error"]) for line in logged] == [("could not continue", "Retell cannot be reached")]
    found, _ = job.app.store.load("r1")
    assert found.due_at == clock.now() + timedelta(seconds=job.app.timing.poll)
    assert (found.why, found.tries) == ("Retell cannot be reached", 1)


def test_what_cannot_even_be_let_go_of_is_said(
    job: Advance, hand: Hand, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand.create()
    driver.error = NotReachable("Retell cannot be reached")

    def away(*_args: object, **_more: object) -> bool:
        raise NotReachable("the database is away")

    monkeypatch.setattr(job.app.store, "release", away)
    assert [line["event"] for line in once(job)] == ["could not continue", "could not release the rollout"]


def test_a_crash_is_logged_and_keeps_the_claim_until_its_lease_ends(
    job: Advance, hand: Hand, driver: Driver, clock: FakeClock
) -> None:
    hand.create()
    driver.error = ValueError("a mistake of ours")
    (line,) = once(job)
    assert (line["event"], line["error"]) == ("crashed", "a mistake of ours")
    assert hand.store.claim("other", job.lease) == []
    clock.advance(job.app.timing.lease)
    (held,) = hand.store.claim("other", job.lease)
    assert held.crashes == 1


def test_nothing_is_taken_once_it_stops(job: Advance, hand: Hand, driver: Driver) -> None:
    hand.create()
    job.stop()
    assert job.tick() == 0
    assert driver.driven == []


@pytest.mark.parametrize(
    ("phase", "before", "resumes"),
    [
        (Phase.PAUSED, Phase.PROGRESSING, Phase.PAUSED),
        (Phase.PROGRESSING, Phase.PROGRESSING, Phase.PROGRESSING),
        (Phase.HELD, Phase.PAUSED, Phase.PAUSED),
        (Phase.ROLLING_BACK, Phase.PROGRESSING, None),
    ],
    ids=["paused", "progressing", "held while paused", "rolling back"],
)
def test_what_keeps_crashing_is_held_and_goes_on_later_where_it_was(
    job: Advance, hand: Hand, driver: Driver, clock: FakeClock, phase: Phase, before: Phase, resumes: Phase | None
) -> None:
    hand.create(phase=phase, resume_phase=before, started_at=hand.store.now())
    for _ in range(MOST_CRASHES):
        assert hand.store.claim("crashing", job.lease)
        clock.advance(job.app.timing.lease)
    once(job)
    found, _ = job.app.store.load("r1")
    if resumes is None:
        assert (driver.driven, found.phase) == (["r1"], phase)
    else:
        assert driver.driven == []
        assert (found.phase, found.reason, found.resume_phase) == (Phase.HELD, "poison", resumes)
        assert found.waiting_for is WaitingFor.PERSON
