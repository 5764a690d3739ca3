"""Rolling back: write the baseline back, read it back, and watch until no write of ours can land any more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from rollout.domain.decide.actions import Action, Read, Record, Restore, Wait
from rollout.domain.decide.facts import Facts
from rollout.domain.decide.timing import await_unreadable, last_horizon, next_read, retry_pause, seen_after
from rollout.domain.decide.wording import counted
from rollout.domain.lifecycle.machine import Event
from rollout.domain.lifecycle.state import CONTESTED, Rollout, Target, TargetState
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.phone_numbers import numbers_text
from rollout.domain.writes.outcomes import contested_text

LONGEST_PAUSE = timedelta(seconds=60)


_SETTLED = frozenset({TargetState.RESTORED, TargetState.MISSING, TargetState.FOREIGN})


def rolling_back(r: Rollout, f: Facts, now: datetime) -> Action:
    """Write every baseline back, record when all are read back, watch until the horizons have passed, then end.

    Nothing delays it: gates, holds, freezes and deadlines do not count.
    """
    if todo := tuple(t for t in r.owned_targets if t.state not in _SETTLED):
        return _write_back(r, f, now, todo)
    if r.restored_at is None:
        return _read_back(r, now)
    if not seen_after(f.scan, r, r.owned_targets):
        return _watch(r, f, now)
    return await_unreadable(r, f, f.scan, now, "rolled_back") or _end(r)


def _write_back(r: Rollout, f: Facts, now: datetime, todo: Sequence[Target]) -> Action:
    again = {t.number: _again_at(r, t, f) for t in todo}
    ready = sorted((t for t in todo if again[t.number] <= now), key=lambda t: t.number in r.baseline_writes)
    if f.trouble is None and ready:
        # Numbers that were not tried yet go first: a batch with a trouble is the last of its pass.
        return Restore(tuple(ready), f"{counted(len(ready), 'number')} to restore")
    until = min(again.values())
    if f.trouble is not None and not _all_taken(r, todo):
        until = max(until, now + retry_pause(r, f))
    if (contested := _contested(r, todo)) is not None:
        return Wait(until, "write the baseline again", contested, WaitingFor.PERSON)
    return Wait(until, "write the baseline again", f.trouble or _not_yet(todo), f.held_up_by())


def _read_back(r: Rollout, now: datetime) -> Action:
    took = (now - (r.rollback_at or now)).total_seconds()
    return Record(
        Event.READ_BACK,
        f"{counted(len(r.owned_targets), 'number')} read back at the baseline {took:.3f} s after the order",
        {"restored_at": now},
    )


def _watch(r: Rollout, f: Facts, now: datetime) -> Action:
    """P9: read until a reading has begun after the last horizon; only then may it end."""
    over = last_horizon(r)
    if now >= over and f.trouble is None:
        return Read(tuple(t.number for t in r.owned_targets), "read every number before declaring it rolled back")
    if f.scan is None and f.trouble is None:
        return Read(tuple(t.number for t in r.owned_targets), "watch for writes of ours that land late")
    return Wait(
        next_read(r, f, now, over),
        "rolled_back",
        f.trouble or "the baseline is back; a write whose outcome is unknown may still land",
        f.held_up_by(WaitingFor.HORIZON),
    )


def _end(r: Rollout) -> Action:
    edited = [t.number for t in r.owned_targets if t.state is TargetState.FOREIGN]
    gone = [t.number for t in r.owned_targets if t.state is TargetState.MISSING]
    why = "every number shows its baseline" if r.written else "nothing had been written"
    if edited:
        why += f"; changed by somebody since, and left as they are: {numbers_text(edited)}"
    if gone:
        why += f"; gone: {numbers_text(gone)}"
    return Record(Event.RESTORED, why)


def _again_at(r: Rollout, t: Target, f: Facts) -> datetime:
    """The next try to write this number's baseline: one poll after the last try, or after growing pauses (1, 2, 4 ...
    60 s) if Retell accepted it and the number shows something else."""
    back = r.baseline_writes.get(t.number)
    if back is None:
        return r.created_at
    if not back.taken:
        return back.last + f.poll
    return back.last + min(timedelta(seconds=2 ** min(back.times - 1, 6)), LONGEST_PAUSE)


def _all_taken(r: Rollout, todo: Sequence[Target]) -> bool:
    """True if Retell accepted every one of these baselines: then it works, and another program or person overwrites them."""
    return all(t.number in r.baseline_writes and r.baseline_writes[t.number].taken for t in todo)


def _contested(r: Rollout, todo: Sequence[Target]) -> str | None:
    """The warning, from the third time on, that another program or person overwrites the baselines; else None."""
    writes = r.baseline_writes
    fought = [t.number for t in todo if t.number in writes and writes[t.number].times >= CONTESTED]
    if not fought:
        return None
    return f"{contested_text(fought)} ({writes[fought[0]].times} times recently)"


def _not_yet(todo: Sequence[Target]) -> str:
    return f"{counted(len(todo), 'number')} not at the baseline yet"
