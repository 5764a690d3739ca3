"""A simulated year in five zones: what the timetable says beforehand is what then happens, to the second.

Rollouts are played one after the other through `decide`, with the real calendars, a clock that only jumps where
it is told to wait, and writes that take no time. The timetable is taken before each begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import holidays as package
import pytest

from rollout.adapters.planfile.calendar_file import CalendarFile
from rollout.domain.calendar.timetable import Happens, TimetableRow
from rollout.domain.decide.actions import Apply, Begin, Read, Record, Wait
from rollout.domain.decide.decide import decide
from rollout.domain.decide.facts import Facts
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.columns import confirmed_at_step
from rollout.domain.lifecycle.machine import Event, Phase, after
from rollout.domain.lifecycle.state import Position, Rollout, Target, TargetState
from rollout.domain.plan.plan import Plan
from rollout.domain.writes.drift import NumberScan
from rollout.domain.writes.protocol import Finding
from rollout.engine.calendars import Calendars

YEAR = (datetime(2028, 1, 1, tzinfo=UTC), datetime(2029, 1, 8, tzinfo=UTC))  # a leap year, and its end
ZONES = {
    "America/Los_Angeles": "US-CA",
    "America/St_Johns": "CA-NL",  # half an hour off
    "Europe/Berlin": "DE-BE",
    "Asia/Kolkata": "IN",  # half an hour off, and no daylight saving
    "Australia/Lord_Howe": "AU-NSW",  # the southern summer, and clocks that move by half an hour
}
WORKDAYS = ["mon", "tue", "wed", "thu", "fri"]
FREEZE = (date(2028, 12, 18), date(2029, 1, 2))
BASELINE = {"inbound_agents": [{"agent_id": "agent_frontdesk", "agent_version": 6, "weight": 1.0}]}

Happened = tuple[datetime, Happens, Position]


def plans(zone: str) -> list[Plan]:
    """Office hours by elapsed and by open time, nights over the hours in which clocks change, and two waves."""
    office = {"zone": zone, "windows": {"days": WORKDAYS, "from": "09:00", "to": "17:00"}, "holidays": ZONES[zone]}
    freeze = {"from": FREEZE[0], "to": FREEZE[1], "reason": "year-end change freeze"}
    nights = {"zone": zone, "windows": {"days": ["sat", "sun", "wed"], "from": "22:30", "to": "02:30"}}
    return [
        _plan([("0.1", "2h"), ("0.5", "8h"), ("1", "1d")], **office, freezes=freeze),
        _plan([("0.1", {"open": "3h"}), ("0.5", {"open": "8h"}), ("1", {"open": "90m"})], **office, freezes=freeze),
        _plan([("0.2", {"open": "4h"}), ("1", "30m")], **nights),
        _plan([("0.5", "26h"), ("1", "3h")], calendar=zone),
        _plan([("0.3", "0s"), ("1", "12h30m")], **office, freezes=freeze, deadline="60d"),
    ]


def retreating(zone: str) -> list[Plan]:
    """The same hours with a retreat: by elapsed and open time, below and above it, over nights, and shared hours."""
    office = {
        "zone": zone,
        "windows": {"days": WORKDAYS, "from": "09:00", "to": "17:00"},
        "holidays": ZONES[zone],
        "closing": {"retreat": 0.05},
    }
    freeze = {"from": FREEZE[0], "to": FREEZE[1], "reason": "year-end change freeze"}
    nights = {"zone": zone, "windows": {"days": ["sat", "sun", "wed"], "from": "22:30", "to": "02:30"}}
    return [
        _plan([("0.1", "2h"), ("0.5", "8h"), ("1", "1d")], **office, freezes=freeze),
        _plan([("0.1", {"open": "3h"}), ("0.5", {"open": "8h"}), ("1", {"open": "90m"})], **office, freezes=freeze),
        _plan([("0.2", {"open": "4h"}), ("1", "150m")], **nights, closing={"retreat": 0.2}),
        _plan([("0.01", "26h"), ("0.5", "9h30m")], calendar=zone, closing={"retreat": 0.02}),
        _plan([("0.3", "0s"), ("1", "3h")], **office, freezes=freeze, deadline="60d"),
    ]


PLANS = pytest.mark.parametrize("plans_of", [plans, retreating], ids=["keep", "retreat"])


def _plan(steps: list[tuple[str, Any]], **more: Any) -> Plan:
    document = {
        "version": 1,
        "name": "frontdesk-v7",
        "numbers": ["+14157774444"],
        "channels": ["inbound"],
        "canary": {"agent_id": "agent_frontdesk", "agent_version": 7},
        "steps": [{"weight": float(weight), "hold": hold} for weight, hold in steps],
        "gates": [],
        **more,
    }
    return Plan.model_validate(document)


@pytest.fixture
def calendars(tmp_path: Path) -> Calendars:
    """One calendar in a file for each zone: long days, closed from Friday afternoon."""
    text = "".join(
        f'["{zone}"]\nzone = "{zone}"\nholidays = "{region}"\n'
        'windows = [{days = ["mon", "tue", "wed", "thu"], from = "08:00", to = "20:00"}, '
        '{days = ["fri"], from = "08:00", to = "15:00"}]\n'
        for zone, region in ZONES.items()
    )
    path = tmp_path / "calendars.toml"
    path.write_text(text)
    return Calendars(CalendarFile(path))


# ------------------------------------------------------------------ the loop


@dataclass
class Play:
    """A rollout of `waves` numbers, each a wave of its own, played through decide by a clock of its own.

    `wake` is how long the clock sleeps at most; None: always until the time it was told.
    """

    plan: Plan
    calendars: Calendars
    now: datetime
    waves: int = 1
    wake: timedelta | None = None
    happened: list[Happened] = field(default_factory=list)
    watched: bool = False
    foreseen: list[tuple[int, list[Happened]]] = field(default_factory=list)

    def run(self) -> Rollout:
        r = Rollout(
            id="r",
            name=self.plan.name,
            plan=self.plan,
            phase=Phase.PENDING,
            reason=None,
            position=Position(1, 1),
            epoch=1,
            created_at=self.now,
            updated_at=self.now,
            start_at=self.plan.start,
        )
        scan: NumberScan | None = None
        for _ in range(5_000):
            facts = Facts(
                scan=scan,
                opening=self.calendars.opening(r, self.now),
                hold_until=self.calendars.hold_until(r) if r.confirmed_at else None,
                stood=self.calendars.stood(r, self.now),
            )
            match decide(r, facts, self.now):
                case Wait(until=until):
                    assert until is not None
                    assert until > self.now
                    if self.watched and r.started_at is not None:
                        # What is said to remain, wherever it stands: held against what then happened.
                        self.foreseen.append((len(self.happened), said(self.calendars.remaining(r, self.now))))
                    self.now = until if self.wake is None else min(until, self.now + self.wake)
                    scan = None
                case Begin():
                    r = replace(r, targets=self._targets())
                case Apply(targets=targets):
                    r = self._written(r, {t.number for t in targets})
                    what = Happens.STEP if r.confirmed_at is None else Happens.RETURN
                    what = what if r.retreated is None else Happens.RETREAT
                    self.happened.append((self.now, what, r.position))
                case Read(numbers=numbers):
                    scan = NumberScan(self.now, dict.fromkeys(numbers, Finding.AS_EXPECTED), Change())
                case Record() as action:
                    values = {**action.values, "phase": after(r.phase, action.event)}
                    r = Change(rollout=values, targets=action.targets).applied_to(r, self.now)
                    if action.event is Event.COMPLETED:
                        self.happened.append((self.now, Happens.PROMOTED, r.position))
                    if r.phase.is_final:
                        for seen, rest in self.foreseen:
                            assert rest == self.happened[seen:]
                        return r
                case action:
                    raise AssertionError(f"{action} in a rollout in which nothing goes wrong")
        raise AssertionError("it did not end")

    def _targets(self) -> tuple[Target, ...]:
        return tuple(Target(f"+1415777444{i}", i, i + 1, BASELINE, BASELINE, 0, 1, "") for i in range(self.waves))

    @staticmethod
    def _written(r: Rollout, numbers: set[str]) -> Rollout:
        return replace(
            r,
            targets=tuple(
                replace(t, **confirmed_at_step(r, *r.wanted(t)), written=True, state=TargetState.CONFIRMED)
                if t.number in numbers
                else t
                for t in r.targets
            ),
        )


def said(rows: list[TimetableRow]) -> list[Happened]:
    assert all(row.at is not None for row in rows)
    return [(row.at, row.happens, row.position) for row in rows if row.at is not None]


def one_after_the_other(own: list[Plan]) -> Iterator[tuple[Plan, timedelta, int]]:
    """Plans in turn, how long after the end of the last one each is handed in, and its waves."""
    for n in range(10_000):
        yield own[n % len(own)], timedelta(minutes=(n * 613) % 1_001, seconds=n % 60), 1 + (n % 7 == 3)


# ------------------------------------------------------------------ the year


@pytest.mark.slow
@PLANS
@pytest.mark.parametrize("zone", ZONES)
def test_the_timetable_is_what_happens(zone: str, plans_of: Callable[[str], list[Plan]], calendars: Calendars) -> None:
    now, played = YEAR[0], 0
    for plan, pause, waves in one_after_the_other(plans_of(zone)):
        now += pause
        if now >= YEAR[1]:
            break
        expected = calendars.timetable(plan, now, waves=waves)
        play = Play(plan, calendars, now, waves)
        r = play.run()
        assert r.phase is Phase.PROMOTED
        assert play.happened == said(expected)
        steps = [h for h in play.happened if h[1] not in (Happens.RETREAT, Happens.RETURN)]
        assert len(steps) == len(plan.steps) * waves + 1
        in_order(plan, zone, play.happened)
        now, played = play.now, played + 1
    assert played > (60 if plans_of is plans else 40)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("zone", "sunday"),
    [
        ("America/Los_Angeles", date(2028, 3, 12)),
        ("America/Los_Angeles", date(2028, 11, 5)),
        ("America/St_Johns", date(2028, 3, 12)),
        ("America/St_Johns", date(2028, 11, 5)),
        ("Europe/Berlin", date(2028, 3, 26)),
        ("Europe/Berlin", date(2028, 10, 29)),
        ("Australia/Lord_Howe", date(2028, 4, 2)),
        ("Australia/Lord_Howe", date(2028, 10, 1)),
    ],
)
@PLANS
def test_it_holds_over_each_change_of_the_clock(
    zone: str, sunday: date, plans_of: Callable[[str], list[Plan]], calendars: Calendars
) -> None:
    midnight = datetime(sunday.year, sunday.month, sunday.day, tzinfo=ZoneInfo(zone))
    assert midnight.utcoffset() != midnight.replace(hour=12).utcoffset()
    for plan in plans_of(zone):
        for n in range(6):
            start = midnight.astimezone(UTC) + timedelta(minutes=347 * n - 1_500)
            play = Play(plan, calendars, start)
            play.run()
            assert play.happened == said(calendars.timetable(plan, start))
            in_order(plan, zone, play.happened)


@pytest.mark.parametrize("zone", ZONES)
def test_open_hours_are_the_same_hours_whether_it_keeps_or_retreats(zone: str, calendars: Calendars) -> None:
    for plan in plans(zone)[1:3]:
        low = Plan.model_validate({**plan.canonical(), "closing": {"retreat": 0.05}})
        start = datetime(2028, 10, 26, 11, 13, tzinfo=UTC)
        rows = [r for r in said(calendars.timetable(low, start)) if r[1] in (Happens.STEP, Happens.PROMOTED)]
        if all(step.hold.open for step in plan.steps):
            assert rows == said(calendars.timetable(plan, start))
        else:
            assert rows[:2] == said(calendars.timetable(plan, start))[:2]


@PLANS
@pytest.mark.parametrize("zone", ZONES)
def test_it_makes_no_difference_when_the_service_wakes_up_in_between(
    zone: str, plans_of: Callable[[str], list[Plan]], calendars: Calendars
) -> None:
    now = datetime(2028, 3, 7, 18, 20, tzinfo=UTC)
    for plan in plans_of(zone):
        jumping, ticking = Play(plan, calendars, now), Play(plan, calendars, now, wake=timedelta(minutes=47))
        jumping.run()
        ticking.run()
        assert ticking.happened == jumping.happened


@pytest.mark.parametrize("zone", ZONES)
def test_what_remains_is_right_at_every_moment_on_the_way(zone: str, calendars: Calendars) -> None:
    plan = plans(zone)[1]
    start = datetime(2028, 10, 30, 3, tzinfo=UTC)
    whole = said(calendars.timetable(plan, start))
    started = whole[0][0]
    for (at, _, position), following in pairwise(whole):
        r = Rollout(
            id="r",
            name=plan.name,
            plan=plan,
            phase=Phase.PROGRESSING,
            reason=None,
            position=position,
            epoch=1,
            created_at=start,
            updated_at=at,
            started_at=started,
            confirmed_at=at,
        )
        for part in range(4):
            now = at + (following[0] - at) * part / 4
            assert said(calendars.remaining(r, now)) == whole[whole.index(following) :]


@pytest.mark.slow
@pytest.mark.parametrize("zone", ZONES)
def test_what_remains_is_right_at_every_moment_of_a_plan_that_retreats(zone: str, calendars: Calendars) -> None:
    for plan in retreating(zone):
        start = datetime(2028, 10, 27, 3, tzinfo=UTC)
        play = Play(plan, calendars, start, waves=2, wake=timedelta(minutes=457), watched=True)
        play.run()
        assert play.happened == said(calendars.timetable(plan, start, waves=2))


# ------------------------------------------------------------------ checks that share nothing with the product


def at_work(plan: Plan, zone: str, at: datetime) -> bool:
    """By the clock on the wall, the holiday package itself and the dates of the freeze."""
    local = at.astimezone(ZoneInfo(zone))
    clock, weekday = local.strftime("%H:%M"), local.weekday()
    if plan.windows and plan.windows[0].opens == "22:30":
        evening = weekday in (2, 5, 6) and clock >= "22:30"
        return evening or (weekday in (3, 6, 0) and clock < "02:30")
    country, _, part = ZONES[zone].partition("-")
    if local.date() in package.country_holidays(country, subdiv=part or None, years=local.year):
        return False
    if plan.calendar:
        return weekday < 5 and "08:00" <= clock < ("15:00" if weekday == 4 else "20:00")
    frozen = FREEZE[0] <= local.date() <= FREEZE[1]
    return not frozen and weekday < 5 and "09:00" <= clock < "17:00"


def in_order(plan: Plan, zone: str, happened: list[Happened]) -> None:
    """Steps come while it is open, and each stands its hold before the next, in real time and at its own weight."""
    stood, since = timedelta(), happened[0][0]
    for (at, _, position), (later, what, _) in pairwise(happened):
        assert at <= later
        if what is Happens.RETREAT:
            assert not at_work(plan, zone, later), f"{later.astimezone(ZoneInfo(zone))} is open"
            stood += later - since
            continue
        assert at_work(plan, zone, later), f"{later.astimezone(ZoneInfo(zone))} is not open"
        if what is not Happens.RETURN:
            assert stood + (later - since) >= plan.hold(position.step).duration
            stood = timedelta()
        since = later
    assert at_work(plan, zone, happened[0][0])
