"""When it looks again: the moments themselves, one before them and one after them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from rollout.domain.decide.actions import Read, Wait
from rollout.domain.decide.facts import Facts, Opening
from rollout.domain.decide.timing import (
    await_outcomes,
    last_horizon,
    next_check,
    next_opening_check,
    next_read,
    read_all_first,
    retry_pause,
    seen_after,
)
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.writes.drift import Blocked, NumberScan
from rollout.domain.writes.protocol import Finding
from tests.support.clock import START
from tests.support.values import ONE, TWO, applied, confirmed, plan, rollout, said, write

SECOND = timedelta(seconds=1)
LATER = START + timedelta(minutes=10)


def scan(*findings: Finding | Blocked, began: datetime = START) -> NumberScan:
    return NumberScan(began, dict(zip((ONE, TWO), findings, strict=False)), Change())


FINE = Finding.AS_EXPECTED
BOTH = (confirmed(), confirmed(TWO, ord=1))


def test_a_look_counts_from_the_moment_at_which_the_last_horizon_closes() -> None:
    closing = (applied(write(id="a"), LATER), applied(write(TWO, id="b"), START))
    r = rollout(targets=BOTH, writes=closing)
    assert last_horizon(r) == LATER
    assert seen_after(scan(FINE, FINE, began=LATER), r, r.targets)
    assert not seen_after(scan(FINE, FINE, began=LATER - SECOND), r, r.targets)
    assert not seen_after(scan(FINE, began=LATER), r, r.targets), "a number is missing"
    assert not seen_after(None, r, r.targets)
    theirs = rollout(foreign_open=(applied(write(id="c"), LATER),), writes=(applied(write(), START),))
    assert last_horizon(theirs) == LATER, "what another rollout has sent may still land, too"
    assert last_horizon(rollout()) == START, "nothing was ever sent"


def test_before_a_step_is_counted_every_number_is_read_once_nothing_can_land() -> None:
    r = rollout(targets=BOTH, writes=(applied(write(), LATER),))
    early = read_all_first(r, Facts(), LATER - SECOND, "step 1.2")
    assert isinstance(early, Wait)
    assert (early.until, early.next) == (LATER, "step 1.2")
    read = read_all_first(r, Facts(), LATER, "step 1.2")
    assert isinstance(read, Read)
    assert (read.numbers, read.why) == ((ONE, TWO), "read every number before step 1.2")
    away = read_all_first(r, Facts(trouble="503"), LATER, "step 1.2")
    assert isinstance(away, Wait)
    assert (away.until, away.why) == (LATER + Facts().poll, "503")
    assert read_all_first(r, Facts(scan=scan(FINE, FINE, began=LATER)), LATER, "step 1.2") is None


@pytest.mark.parametrize("blocked", [Blocked.UNREACHABLE, Blocked.KEY, Finding.STALE])
def test_a_number_that_cannot_be_read_is_waited_for_and_named(blocked: Finding | Blocked) -> None:
    r = rollout(targets=BOTH)
    seen = read_all_first(r, Facts(scan=scan(FINE, blocked, began=LATER)), LATER, "promoted")
    assert isinstance(seen, Wait)
    assert (seen.until, seen.why) == (LATER + Facts().poll, f"{TWO} cannot be read: no answer")
    told = read_all_first(r, Facts(scan=scan(FINE, blocked, began=LATER), trouble="503"), LATER, "promoted")
    assert isinstance(told, Wait)
    assert told.why == f"{TWO} cannot be read: 503"


def test_an_unknown_write_is_looked_for_until_the_first_of_the_horizons() -> None:
    first = write(id="a", horizon_until=START + 3 * SECOND)
    r = rollout(targets=BOTH, writes=(first, write(TWO, id="b"), write(TWO, id="c")))
    read = await_outcomes(r, Facts(), START, "next", "why")
    assert isinstance(read, Read)
    assert read.numbers == (ONE, TWO), "each number once"
    again = await_outcomes(r, Facts(scan=scan(Finding.PENDING)), START, "next", "why")
    assert isinstance(again, Wait)
    assert (again.until, again.next, again.why) == (START + 3 * SECOND, "next", "why")
    away = await_outcomes(r, Facts(trouble="503"), START, "next", "why")
    assert isinstance(away, Wait)
    assert away.why == "503"
    assert await_outcomes(rollout(writes=(applied(write(), LATER),)), Facts(), START, "next", "why") is None


@pytest.mark.parametrize(
    ("over", "tries", "seconds"),
    [(200, 0, 5), (3, 0, 3), (200, 2, 20), (15, 2, 15), (0, 0, 5), (0, 2, 20), (-9, 1, 10)],
)
def test_looks_go_on_past_the_horizon_by_growing_pauses(over: int, tries: int, seconds: int) -> None:
    found = next_read(rollout(tries=tries), Facts(poll=5 * SECOND), START, START + over * SECOND)
    assert found == START + seconds * SECOND


@pytest.mark.parametrize(
    ("phase", "tries", "asked", "seconds"),
    [
        (Phase.PROGRESSING, 0, None, 5),
        (Phase.PROGRESSING, 1, None, 10),
        (Phase.PROGRESSING, 30, None, 30),
        (Phase.PROGRESSING, 0, 3, 5),
        (Phase.PROGRESSING, 0, 299, 299),
        (Phase.PROGRESSING, 0, 301, 300),
        (Phase.ROLLING_BACK, 0, None, 5),
        (Phase.ROLLING_BACK, 0, 12, 12),
        (Phase.ROLLING_BACK, 0, 301, 30),
        (Phase.ROLLING_BACK, 10, None, 30),
        (Phase.ROLLING_BACK, 10, 12, 30),
    ],
)
def test_pauses_grow_and_heed_retell_within_reason(phase: Phase, tries: int, asked: int | None, seconds: int) -> None:
    facts = Facts(poll=5 * SECOND, longest_pause=30 * SECOND, retry_after=asked)
    assert retry_pause(rollout(phase=phase, tries=tries), facts) == seconds * SECOND


def test_where_there_are_gates_it_comes_back_to_look_at_them() -> None:
    seen = Facts(verdict=said("undecided"), watch=30 * SECOND)
    assert next_check(None, START, Facts()) is None
    assert next_check(LATER, START, Facts()) == LATER
    assert next_check(None, START, seen) == START + 30 * SECOND
    assert next_check(LATER, START, seen) == START + 30 * SECOND
    assert next_check(START + SECOND, START, seen) == START + SECOND


@pytest.mark.parametrize(
    ("calendar", "until", "after"),
    [
        (None, None, timedelta(days=1)),
        ("office", None, timedelta(minutes=5)),
        (None, timedelta(hours=2), timedelta(hours=2)),
        (None, timedelta(days=3), timedelta(days=1)),
        ("office", timedelta(hours=2), timedelta(minutes=5)),
        ("office", timedelta(minutes=2), timedelta(minutes=2)),
    ],
)
def test_a_shared_calendar_is_looked_at_every_five_minutes(
    calendar: str | None, until: timedelta | None, after: timedelta
) -> None:
    opening = Opening(False, None if until is None else START + until, "closed")
    r = rollout(plan=plan(calendar=calendar))
    assert next_opening_check(r, Facts(opening=opening), START) == START + after
