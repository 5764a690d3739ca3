"""When to check again, and what must have been read before a step or a rollout counts as finished."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypeGuard

from rollout.domain.decide.actions import Read, Wait
from rollout.domain.decide.facts import Facts
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout, Target
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.phone_numbers import numbers_text
from rollout.domain.writes.drift import Blocked, NumberScan
from rollout.domain.writes.protocol import Finding


def seen_after(scan: NumberScan | None, r: Rollout, targets: Sequence[Target]) -> TypeGuard[NumberScan]:
    """P9: true if this scan covers all of these numbers and began after every write horizon had passed."""
    return scan is not None and scan.began >= last_horizon(r) and all(t.number in scan.findings for t in targets)


def last_horizon(r: Rollout) -> datetime:
    """The moment after which no write of ours on these numbers can take effect any more."""
    return max((w.horizon_until for w in (*r.writes, *r.foreign_open)), default=r.created_at)


def await_outcomes(r: Rollout, f: Facts, now: datetime, next_: str, why: str) -> Read | Wait | None:
    """Read while the outcome of a write is unknown, and wait between readings; None once all outcomes are known."""
    if not r.unresolved:
        return None
    if f.scan is None and f.trouble is None:
        numbers = tuple(dict.fromkeys(w.number for w in r.unresolved))
        return Read(numbers, "a write's outcome is not known yet")
    over = min(w.horizon_until for w in r.unresolved)
    return Wait(next_read(r, f, now, over), next_, f.trouble or why, f.held_up_by(WaitingFor.HORIZON))


def read_all_first(r: Rollout, f: Facts, now: datetime, next_: str) -> Read | Wait | None:
    """Read every number, once all write horizons have passed, before a step counts or an end is declared.

    None once this pass has read them all; `failures` has judged by then what they show.
    """
    if not seen_after(f.scan, r, r.targets):
        if f.trouble is not None:
            return Wait(now + retry_pause(r, f), next_, f.trouble, f.held_up_by())
        if now < (over := last_horizon(r)):
            why = "a write may still land; the step does not count until the write's horizon has passed"
            return Wait(over, next_, why, WaitingFor.HORIZON)
        return Read(tuple(t.number for t in r.targets), f"read every number before {next_}")
    return await_unreadable(r, f, f.scan, now, next_)


def await_unreadable(r: Rollout, f: Facts, scan: NumberScan, now: datetime, next_: str) -> Wait | None:
    """Wait while a number cannot be read: the last scan must cover them all."""
    blind = scan.numbers(Blocked.UNREACHABLE, Blocked.KEY, Finding.STALE)
    if not blind:
        return None
    why = f"{numbers_text(blind)} cannot be read: {f.trouble or 'no answer'}"
    return Wait(now + retry_pause(r, f), next_, why, f.held_up_by())


def next_read(r: Rollout, f: Facts, now: datetime, over: datetime) -> datetime:
    """The next reading of what may change until `over`: at that moment at the latest; after it, by growing pauses."""
    grown = retry_pause(r, f)
    return min(now + max(f.poll, grown), over) if over > now else now + grown


def retry_pause(r: Rollout, f: Facts) -> timedelta:
    """The pause between attempts: it grows, and is at least as long as Retell asks for, up to a limit."""
    grown: timedelta = f.poll * int(2 ** min(r.tries, 10))
    asked = timedelta(seconds=f.retry_after or 0)
    if r.phase is Phase.ROLLING_BACK:
        return min(max(grown, min(asked, f.longest_pause)), f.longest_pause)
    return max(min(grown, f.longest_pause), min(asked, timedelta(minutes=5)))


def next_check(until: datetime | None, now: datetime, f: Facts) -> datetime | None:
    """The earlier of two times: the wait's own end, and the next check of gates and baseline tags, if there are any."""
    if f.verdict is None and not f.tags:
        return until
    return now + f.watch if until is None else min(until, now + f.watch)


def next_opening_check(r: Rollout, f: Facts, now: datetime) -> datetime:
    """The next check for an opening or closing; a shared calendar may be edited meanwhile."""
    again = now + (timedelta(minutes=5) if r.plan.calendar else timedelta(days=1))
    return again if f.opening.until is None else min(f.opening.until, again)
