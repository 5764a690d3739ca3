"""The ticks: how often each job runs, what a process says of itself, and what it does when a look fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, SchedulerEvent

from jobs.scheduler import Scheduler
from rollout.app import App
from rollout.domain.errors import NotReachable
from tests.support import logs
from tests.support.clock import FakeClock

MakeScheduler = Callable[..., Scheduler]


@pytest.fixture
def make(make_app: Callable[..., App]) -> Iterator[MakeScheduler]:
    """Makes a scheduler whose jobs no clock starts."""
    made: list[Scheduler] = []

    def make(given: dict[str, Any] | None = None, **settings: Any) -> Scheduler:
        made.append(Scheduler(make_app(given, **settings)))
        made[-1]._scheduler.start = lambda: None
        return made[-1]

    yield make
    for each in made:
        each._stopping.set()
        each.advance.stop()


def away(*_args: object, **_more: object) -> Any:
    raise NotReachable("the database cannot be read: connection refused")


def broken(*_args: object, **_more: object) -> Any:
    raise ValueError("a mistake of ours")


def noting(ran: list[str], name: str, **_more: object) -> int:
    ran.append(name)
    return 0


class Calls:
    """Implements rollout.engine.ports.Calls; never asked."""


# ------------------------------------------------------------------ the jobs

EVERY = {"tick_seconds": 2, "drift_seconds": 30, "prune_seconds": 7_200, "notify_seconds": 4, "observe_seconds": 6}


def test_each_job_has_its_interval_and_a_restart_puts_no_pruning_off(
    make: MakeScheduler, clock: FakeClock, tmp_path: Path
) -> None:
    scheduler = make({"calls": Calls()}, kit_dir=tmp_path, **EVERY)
    scheduler.start()
    jobs = {job.id: job for job in scheduler._scheduler.get_jobs()}
    assert {name: job.trigger.interval.total_seconds() for name, job in jobs.items()} == {
        **{name.removesuffix("_seconds").replace("tick", "advance"): seconds for name, seconds in EVERY.items()},
        "kits": 600,
        "anchors": 3_600,
    }
    soon = clock.now() + timedelta(minutes=1)
    assert [jobs[name].next_run_time for name in ("prune", "anchors")] == [soon, soon]
    scheduler.stop()


def test_a_job_without_its_part_is_left_out(make: MakeScheduler, clock: FakeClock) -> None:
    scheduler = make(prune_seconds=10)
    scheduler.start()
    jobs = {job.id: job for job in scheduler._scheduler.get_jobs()}
    assert set(jobs) == {"advance", "drift", "prune", "notify", "anchors"}
    assert jobs["prune"].next_run_time == clock.now() + timedelta(seconds=10)
    scheduler.stop()


def test_jobs_call_what_they_are_named_after(make: MakeScheduler, tmp_path: Path) -> None:
    scheduler = make({"calls": Calls()}, kit_dir=tmp_path)
    ran: list[str] = []
    parts = ("drift", "observe", "prune", "kits", "anchors", "notify")
    for part in parts:
        getattr(scheduler, part).tick = partial(noting, ran, part)
    scheduler.start()
    ran.clear()
    for part in parts:
        scheduler._scheduler.get_job(part).func()
    assert ran == list(parts)
    scheduler.stop()


def test_a_job_that_fails_is_counted_and_named(make: MakeScheduler) -> None:
    scheduler = make()
    with logs.captured() as logged:
        scheduler.guarded("drift", 2.0, away)()
    assert scheduler.counts == {"drift_errors": 1}
    assert [(e["event"], e["job"], e["error"]) for e in logged] == [
        ("job failed", "drift", "the database cannot be read: connection refused")
    ]
    with pytest.raises(ValueError, match="a mistake of ours"):
        scheduler.guarded("drift", 2.0, broken)()


@pytest.mark.parametrize(("seconds", "passes"), [(0.5, False), (1.5, True)])
def test_a_turn_of_the_clock_that_comes_a_little_early_is_taken(
    make: MakeScheduler, clock: FakeClock, seconds: float, passes: bool
) -> None:
    """It failed once, so its next turn is due in two seconds; turns may come a second early and no more."""
    ran: list[float] = []

    def job() -> int:
        ran.append(clock.boot())
        return away() if len(ran) == 1 else 0

    run = make().guarded("drift", 2.0, job)
    run()
    clock.advance(seconds)
    run()
    assert len(ran) == (2 if passes else 1)


# ------------------------------------------------------------------ what a process says of itself


@pytest.mark.parametrize(("tick", "beats"), [(0.5, 3), (1, 3), (2, 2), (5, 3), (20, 3)])
def test_a_process_says_that_it_is_alive_every_five_seconds_or_at_each_tick(
    make: MakeScheduler, clock: FakeClock, tick: float, beats: int
) -> None:
    scheduler = make(tick_seconds=tick)
    seen = set()
    passed = 0.0
    while passed <= max(10, 2 * tick):
        scheduler.tick()
        (service,) = scheduler.app.store.heartbeats.services(timedelta(days=1))
        seen.add(service.beat_at)
        clock.advance(tick)
        passed += tick
    assert len(seen) == beats


def test_a_process_tells_of_its_trouble_and_how_often_it_has_looked(make: MakeScheduler, clock: FakeClock) -> None:
    scheduler = make()

    def told() -> tuple[int, str]:
        clock.advance(6)
        scheduler.tick()
        (service,) = scheduler.app.store.heartbeats.services()
        return service.ticks, service.trouble

    assert told() == (1, "")
    scheduler.notify.trouble = "notices cannot be delivered"
    assert told() == (2, "notices cannot be delivered")
    scheduler.last_error = "the last look failed"
    assert told() == (3, "the last look failed")
    scheduler.notify.trouble = ""
    assert told() == (4, "")


def test_a_process_that_begins_is_there_and_looks_at_once_and_one_that_stops_is_gone(make: MakeScheduler) -> None:
    scheduler = make()
    scheduler.start()
    assert scheduler.last_good is not None
    assert [s.owner for s in scheduler.app.store.heartbeats.services()] == [scheduler.app.owner]
    scheduler.stop()
    assert scheduler.app.store.heartbeats.services() == []
    scheduler.last_good = None
    scheduler.tick()
    assert scheduler.last_good is None, "nothing more is taken"


def test_whatever_runs_beside_the_ticks_is_waited_for_at_the_end(
    make: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler, ended = make({"calls": Calls()}), list[str]()
    for name in ("advance", "observe", "notify", "_listener"):
        monkeypatch.setattr(getattr(scheduler, name), "stop", partial(noting, ended, name))
    scheduler.stop()
    assert sorted(ended) == ["_listener", "advance", "notify", "observe"]
    monkeypatch.undo()
    cast(Any, scheduler.observe).stop()


def test_a_process_that_cannot_sign_off_stops_all_the_same(
    make: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = make()
    monkeypatch.setattr(scheduler.app.store.heartbeats, "forget", away)
    with logs.captured() as logged:
        scheduler.stop()
    assert [e["event"] for e in logged] == ["could not sign off"]


def test_what_is_wrong_with_the_database_is_said_once_at_the_start(
    make: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = make()
    store, database = scheduler.app.store, scheduler.app.database
    with logs.captured() as logged:
        scheduler._greet()
        assert logged == []
        monkeypatch.setattr(store.disk_reserve, "keep", lambda: "the disk is full")
        monkeypatch.setattr(store.heartbeats, "durability", lambda: "set synchronous_commit = on")
        monkeypatch.setattr(database, "sessions", lambda: ["lock_timeout is 0"])
        scheduler._greet()
    said = [(e["event"], e.get("reason") or e.get("advice") or e.get("trouble")) for e in logged]
    assert said == [
        ("no disk space is reserved for rollbacks", "the disk is full"),
        ("the database may lose confirmed commits", "set synchronous_commit = on"),
        ("the database's sessions have the wrong settings", "lock_timeout is 0"),
    ]


@pytest.mark.parametrize("times", [1, 2])
def test_a_database_that_ends_the_first_session_is_asked_once_more(make: MakeScheduler, times: int) -> None:
    scheduler = make()
    real, asked = scheduler.app.store.heartbeats.lineage, list[None]()

    def lineage() -> tuple[int, bool]:
        asked.append(None)
        return away() if len(asked) <= times else real()

    scheduler.app.store.heartbeats.lineage = lineage
    if times == 1:
        scheduler.start()
    else:
        with pytest.raises(NotReachable):
            scheduler.start()
        assert len(asked) == 2
        assert not scheduler._waker.is_alive(), "nothing is driven"
    scheduler.stop()


def test_whoever_is_to_be_told_is_connected_to_before_there_is_news(
    make: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    for urls, expected in (((), []), (("json://127.0.0.1:9/",), ["warm"])):
        scheduler, done = make(notify_urls=urls), list[str]()
        monkeypatch.setattr(scheduler.notify.courier, "warm", lambda done=done: done.append("warm"))
        scheduler.start()
        scheduler.stop()
        assert done == expected


# ------------------------------------------------------------------ a look


def test_a_look_that_succeeds_is_noted_and_takes_the_last_error_away(make: MakeScheduler, clock: FakeClock) -> None:
    scheduler = make()
    assert scheduler.last_good is None
    scheduler.last_error = "the last look failed"
    clock.advance(7)
    scheduler.tick()
    assert scheduler.last_good == clock.boot()
    assert (scheduler.last_error, scheduler.counts) == ("", {})


@pytest.mark.parametrize(
    ("trouble", "event", "said"),
    [
        (away, "tick failed", "the database cannot be read: connection refused"),
        (broken, "tick crashed", "a look at what is due ended with ValueError; the log says where"),
    ],
)
def test_a_look_that_fails_is_said_and_counted_and_the_next_one_is_made(
    make: MakeScheduler, trouble: Callable[..., Any], event: str, said: str
) -> None:
    scheduler = make()
    real = scheduler.advance.tick
    scheduler.advance.tick = trouble
    with logs.captured() as logged:
        scheduler.tick()
    assert [e["event"] for e in logged] == [event]
    assert (scheduler.last_error, scheduler.counts["errors"], scheduler.last_good) == (said, 1, None)
    scheduler.advance.tick = real
    scheduler.tick()
    assert scheduler.last_error == ""
    assert scheduler._backoff.left(0.0) == 0.0, "and the clock's own look need not wait"


@pytest.mark.parametrize(("tick", "pauses"), [(1, [1, 2, 4, 5, 5]), (20, [20, 20])])
def test_the_pauses_between_looks_that_fail_grow_to_five_seconds(
    make: MakeScheduler, clock: FakeClock, tick: float, pauses: list[float]
) -> None:
    scheduler = make(tick_seconds=tick)
    scheduler.advance.tick = away
    found = []
    for _ in pauses:
        scheduler.tick_by_clock()
        found.append(scheduler._backoff.left(clock.boot()))
        clock.advance(found[-1] - 0.001)
        scheduler.tick_by_clock()
        clock.advance(0.001)
    assert found == pytest.approx(pauses)
    assert scheduler.counts["errors"] == len(pauses)


def test_a_job_that_was_well_in_between_begins_with_the_first_pause_again(
    make: MakeScheduler, clock: FakeClock
) -> None:
    answers: list[Callable[[], int]] = [away, away, lambda: 1, away, lambda: 1]
    ran: list[float] = []

    def job() -> int:
        ran.append(clock.boot())
        return answers[len(ran) - 1]()

    run = make().guarded("drift", 10.0, job)
    while len(ran) < len(answers):
        run()
        clock.advance(1)
    assert [b - a for a, b in pairwise(ran)] == [9, 19, 1, 9], (
        "a second early, for the turns of the clock are not exact"
    )


@pytest.mark.parametrize(("seconds", "longest"), [(2, 30), (60, 60)])
def test_a_job_that_goes_on_failing_is_tried_every_half_minute_or_at_its_own_turns(
    make: MakeScheduler, clock: FakeClock, seconds: float, longest: float
) -> None:
    ran: list[float] = []

    def job() -> int:
        ran.append(clock.boot())
        return int(away())

    run = make().guarded("drift", seconds, job)
    for _ in range(400):
        run()
        clock.advance(1)
    assert max(b - a for a, b in pairwise(ran)) == longest - 1


def test_what_becomes_of_the_clocks_turns_is_counted(make: MakeScheduler) -> None:
    scheduler = make()
    for code in (EVENT_JOB_ERROR, EVENT_JOB_MISSED, EVENT_JOB_MISSED, EVENT_JOB_MAX_INSTANCES):
        scheduler._scheduler._dispatch_event(SchedulerEvent(code))
    assert scheduler.counts == {"errors": 1, "missed": 2, "overlaps": 1}


def test_disk_space_for_rollbacks_is_reserved_again_with_every_beat(
    make: MakeScheduler, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler, kept = make(), list[float]()
    monkeypatch.setattr(scheduler.app.store.disk_reserve, "keep", lambda: kept.append(clock.boot()))
    monkeypatch.setattr(scheduler.app, "adjust", lambda: kept.append(-clock.boot()))
    for _ in range(8):
        scheduler.tick()
        clock.advance(1)
    assert kept == [1_000, -1_000, 1_005, -1_005], "and the limits of the account are taken over"


def test_a_database_that_was_replaced_is_noticed_also_when_nothing_is_due(
    make: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = make()
    monkeypatch.setattr(scheduler.app.store.heartbeats, "require_same", away)
    scheduler.tick()
    assert scheduler.last_error == "the database cannot be read: connection refused"


def test_nothing_is_looked_at_once_it_stops_or_while_another_look_is_under_way(make: MakeScheduler) -> None:
    scheduler, looks = make(), list[str]()
    scheduler.advance.tick = partial(noting, looks, "look")
    with scheduler._tick_lock:
        scheduler.tick()
    assert looks == []
    scheduler.tick()
    assert looks == ["look"]
    scheduler._stopping.set()
    scheduler.tick()
    assert looks == ["look"]


def test_a_command_makes_a_look_at_once(make: MakeScheduler) -> None:
    scheduler, looked = make(tick_seconds=20), threading.Event()
    scheduler.start()
    cast(Any, scheduler.advance).tick = lambda **_: looked.set()
    scheduler.app.interrupts.woken.set()
    assert looked.wait(10)
    scheduler.stop()


def test_a_signal_that_cannot_be_handled_ends_no_thread(make: MakeScheduler) -> None:
    scheduler = make()
    cast(Any, scheduler.app).heard = away
    with logs.captured() as logged:
        scheduler._heard("limits")
    assert [(e["event"], e["signal"]) for e in logged] == [("a signal was not handled", "limits")]


@pytest.mark.parametrize(
    ("found", "back"),
    [((7, False), False), ((8, False), False), ((6, False), True), ((7, True), True)],
    ids=["the same", "another's beat", "fewer beats", "another cluster"],
)
def test_a_database_that_went_back_in_time_opens_its_horizons_once(
    make: MakeScheduler, monkeypatch: pytest.MonkeyPatch, found: tuple[int, bool], back: bool
) -> None:
    scheduler, rearmed = make(), list[timedelta]()
    heartbeats = scheduler.app.store.heartbeats
    monkeypatch.setattr(heartbeats, "lineage", lambda: found)

    def rearm(horizon: timedelta) -> list[str]:
        rearmed.append(horizon)
        return ["r1"]

    monkeypatch.setattr(heartbeats, "rearm", rearm)
    scheduler._beats = 7
    with logs.captured() as logged:
        scheduler._look_back()
    assert rearmed == [timedelta(seconds=scheduler.app.timing.horizon)] * back
    assert scheduler.counts["went_back"] == back
    if back:
        (line,) = logged
        assert (line["beats"], line["before"], line["another_cluster"], line["rearmed"]) == (
            found[0],
            7,
            found[1],
            ["r1"],
        )
        monkeypatch.setattr(heartbeats, "lineage", lambda: (found[0], False))
        scheduler._look_back()
        assert len(rearmed) == 1
