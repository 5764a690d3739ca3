"""The earliest moment of each step of a plan.

Pure. It walks the rules of `decide` with writes that take no time and gates that pass at once: what then really
happens is this or later, and exactly this when nothing else is waited for.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from rollout.domain.calendar.windows import (
    SEARCH,
    add_open_time,
    is_open,
    next_opening,
    open_time_between,
    spans,
    stays_up,
)
from rollout.domain.lifecycle.hand_split import HandSplit
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Position, Rollout
from rollout.domain.plan.calendar import Calendar
from rollout.domain.plan.decide import Decide
from rollout.domain.plan.fields import shown
from rollout.domain.plan.plan import Plan
from rollout.domain.plan.steps import Step

_FIRST = Position(1, 1)
_LAST_YEAR = 9000  # later starts count as never


class Happens(StrEnum):
    """The events that a timetable names."""

    STEP = "step"  # the position's weights are written
    RETREAT = "retreat"  # closing time: the retreat weight is written
    RETURN = "return"  # opening time: the position's weights are written again
    DECISION = "decision"  # the plan decides its A/B test; the result depends on the calls
    PROMOTED = "promoted"  # the last step finished its bake
    DEADLINE = "deadline"  # the plan's deadline comes before the next step can


@dataclass(frozen=True, slots=True)
class TimetableRow:
    """One line of a timetable. `at` is UTC, to be shown in `zone`; None: not within two years.

    `position` is the step that is written, or at the end the last one that was; `weights` are its arms' basis
    points. `needs` says what else is waited for, in words: then `at` is only the earliest moment.
    """

    at: datetime | None
    zone: str
    happens: Happens
    position: Position
    weights: Mapping[str, int] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


def timetable(
    plan: Plan, calendar: Calendar | None, holidays: Container[date], now: datetime, *, waves: int = 1
) -> list[TimetableRow]:
    """The rows of a plan that is handed in at `now`, to its end; `waves` as counted on the live numbers.

    The list ends early with a row without a time when the calendar does not open in time, or with the deadline.
    """
    return list(_StepWalk(plan, calendar, holidays, waves, now).from_start(plan.start))


def remaining(
    rollout: Rollout, calendar: Calendar | None, holidays: Container[date], now: datetime
) -> list[TimetableRow]:
    """The rows still to come for a rollout, as if it were released now; [] once it ended."""
    r = rollout
    if r.phase.is_final or r.phase is Phase.ROLLING_BACK:
        return []
    walk = _StepWalk(r.plan, calendar, holidays, r.waves, now)
    if r.started_at is None:
        return list(walk.from_start(r.start_at))
    walk.deadline, walk.raised_at, walk.hand = r.deadline_at, r.raised_at, r.hand
    if r.promote_asked:
        return list(walk.after_step(r.position, now, asked=True))
    return list(walk.from_standing(r))


class _StepWalk:
    """One walk through the steps. `deadline` is set when the walk passes its start."""

    def __init__(
        self, plan: Plan, calendar: Calendar | None, holidays: Container[date], waves: int, now: datetime
    ) -> None:
        self.plan, self.calendar, self.holidays, self.waves = plan, calendar or Calendar(), holidays, waves
        self.now = now.astimezone(UTC)
        self.zone = self.calendar.zone or "UTC"
        self.deadline: datetime | None = None
        self.raised_at: datetime | None = None
        self.hand: HandSplit | None = None  # what a person set at the position that the walk begins at

    def from_start(self, start: datetime | None) -> Iterator[TimetableRow]:
        begins = self.now if start is None else max(start, self.now)
        opens = self._opening(begins)
        if opens is None:
            yield self._row(None, Happens.STEP, _FIRST)
            return
        if self.plan.deadline is not None:
            self.deadline = opens + self.plan.deadline
        needs = (f"{shown(self.plan.after)} promoted",) if self.plan.after is not None else ()
        yield from self.from_step(_FIRST, opens, needs)

    def from_step(self, position: Position, at: datetime, needs: tuple[str, ...] = ()) -> Iterator[TimetableRow]:
        """The rows from the writing of the position at `at` on."""
        yield self._row(at, Happens.STEP, position, needs)
        yield from self.after_step(position, at)

    def from_standing(self, r: Rollout) -> Iterator[TimetableRow]:
        """The rows that follow for a rollout in its current state, its step confirmed or not."""
        closed = self._retreats(r.position) and not self._kept_up(self.now)
        opens = self._opening(self.now) if closed or r.retreated is not None else self.now
        if r.confirmed_at is None:
            yield self._row(opens, Happens.STEP, r.position)
            if opens is not None:
                yield from self.after_step(r.position, opens)
            return
        since, left = r.counts_since, r.hold_left
        if since is None:  # it is at the retreat weight, or moving to it or back
            if r.retreated is not None:
                yield self._row(opens, Happens.RETURN, r.position)
            if opens is not None:
                yield from self.after_step(r.position, opens, left=left)
            return
        if self._retreats(r.position):
            stood = self.now - since.astimezone(UTC)
            if self.plan.hold(r.position.step).open:
                stood = open_time_between(self.calendar, self.holidays, since, self.now)
            since, left = self.now, left - stood
        yield from self.after_step(r.position, since, left=left)

    def after_step(
        self, position: Position, confirmed: datetime, *, asked: bool = False, left: timedelta | None = None
    ) -> Iterator[TimetableRow]:
        """The rows that follow a position confirmed at `confirmed`; `asked`: a person has ended its wait.

        `left`: what of its hold still has to be stood from then on, if not all of it.
        """
        while True:
            step, after = self.plan.step(position.step), self._next(position)
            left = step.hold.duration if left is None else left
            at = self.now if asked else self._leaves(step, confirmed, left)
            decides = None if asked or after is not None or self._ships else self.plan.decide
            if decides is not None and at is not None:
                at = self._opening(max(at, confirmed.astimezone(UTC) + decides.after))
            if not asked and self._retreats(position):
                nights, at = self._nights(position, confirmed, left)
                for row in nights:
                    if self.deadline is None or row.at is None or row.at < self.deadline:
                        yield row
            if self.deadline is not None and (at is None or at >= self.deadline):
                yield self._row(max(self.deadline, self.now), Happens.DEADLINE, position)
                return
            happens = Happens.PROMOTED if after is None else Happens.STEP
            needs = () if asked else _needs(step)
            if decides is not None:
                happens, needs = Happens.DECISION, _decision_needs(decides)
            elif after is None and not asked and self._set_at(position) is not None:
                needs = (*needs, "a person to say how it ends")
            yield self._row(at, happens, after or position, needs)
            if after is None or at is None:
                return
            position, confirmed, asked, left = after, at, False, None

    def _leaves(self, step: Step, confirmed: datetime, left: timedelta) -> datetime | None:
        """The moment at which a step confirmed at `confirmed` may be left: its hold is over, and the calendar is open."""
        until = self._held_until(step, confirmed, left)
        return None if until is None else self._opening(max(until, self.now))

    def _held_until(self, step: Step, confirmed: datetime, left: timedelta) -> datetime | None:
        if step.hold.open:
            return add_open_time(self.calendar, self.holidays, confirmed, left)
        return confirmed.astimezone(UTC) + left

    def _retreats(self, position: Position) -> bool:
        """True if closing time lowers a number at this position: see `Rollout.retreats`."""
        if (retreat := self.plan.retreat) is None:
            return False
        earlier = position.wave > 1 and self.plan.last_step in self.plan.steps_above
        return earlier or sum(self._weights(position).values()) > retreat

    @property
    def _ships(self) -> bool:
        return self.hand is not None and self.hand.ships is not None

    def _set_at(self, position: Position) -> HandSplit | None:
        return self.hand if self.hand is not None and position == (self.hand.wave, self.hand.step) else None

    def _weights(self, position: Position) -> Mapping[str, int]:
        set_ = self._set_at(position)
        return self.plan.weights(position.step) if set_ is None else set_.weights

    def _opening(self, at: datetime) -> datetime | None:
        return next_opening(self.calendar, self.holidays, at) if at.year < _LAST_YEAR else None

    def _next(self, position: Position) -> Position | None:
        if position.step < self.plan.last_step:
            return Position(position.wave, position.step + 1)
        return Position(position.wave + 1, 1) if position.wave < self.waves else None

    def _nights(
        self, position: Position, since: datetime, left: timedelta
    ) -> tuple[list[TimetableRow], datetime | None]:
        """Every closing and opening while `left` of a hold is stood from `since` on, and when it may be left.

        Time at the retreat weight counts for no hold.
        """
        rows: list[TimetableRow] = []
        down, end = {"canary": self.plan.retreat or 0}, since + SEARCH
        for span in spans(self.calendar, self.holidays, since, end):
            length = span.end - span.start
            if span.is_open:
                if left < length:
                    return rows, span.start + max(left, timedelta())
                left -= length
            elif self._kept_up(span.start):
                left -= timedelta() if self.plan.hold(position.step).open else length
            else:
                rows.append(TimetableRow(span.start, self.zone, Happens.RETREAT, position, down))
                if span.end < end:
                    rows.append(self._row(span.end, Happens.RETURN, position))
        return rows, None

    def _kept_up(self, at: datetime) -> bool:
        """True if the weights stay at `at`: it is open, or a person promoted it while it was closed."""
        return stays_up(self.calendar, self.holidays, self.raised_at, at) or is_open(self.calendar, self.holidays, at)

    def _row(
        self, at: datetime | None, happens: Happens, position: Position, needs: tuple[str, ...] = ()
    ) -> TimetableRow:
        return TimetableRow(at, self.zone, happens, position, self._weights(position), needs)


def _decision_needs(decide: Decide) -> tuple[str, ...]:
    return (f"{decide.min_calls} calls of every variant",) if decide.min_calls else ()


def _needs(step: Step) -> tuple[str, ...]:
    calls = (f"{step.min_calls} canary calls",) if step.min_calls else ()
    return (*calls, *(("a person to promote it",) if step.approve else ()))
