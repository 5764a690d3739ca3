"""Rolling back: write the baseline back, read it back, and watch until no write of ours can land any more."""

from __future__ import annotations

from datetime import datetime

from rollout.domain.actions import Action, Read, Record, Restore, Wait
from rollout.domain.deciding.looking import horizons_over, look_again, pause, seen_after, unread
from rollout.domain.deciding.words import count, name
from rollout.domain.facts import Facts
from rollout.domain.machine import Event
from rollout.domain.state import Kind, Rollout, TargetState


def rolling_back(r: Rollout, f: Facts, now: datetime) -> Action:
    """Everything before it waits: no gate, hold, freeze or deadline is asked."""
    settled = {TargetState.RESTORED, TargetState.MISSING, TargetState.FOREIGN}
    todo = tuple(t for t in r.its_own if t.state not in settled)
    if todo:
        numbers = {t.number for t in todo}
        last = max(
            (w.intent_at for w in r.writes if w.kind is Kind.BASELINE and w.number in numbers), default=None
        )
        if f.trouble is not None or (last is not None and now < last + f.poll):
            until = now + pause(r, f) if f.trouble is not None else (last or now) + f.poll
            return Wait(
                until,
                "write the baseline again",
                f.trouble or f"{count(len(todo), 'number')} not at the baseline yet",
            )
        return Restore(todo, f"{count(len(todo), 'number')} to restore")
    if r.restored_at is None:
        took = (now - (r.rollback_at or now)).total_seconds()
        return Record(
            Event.READ_BACK,
            f"{count(len(r.its_own), 'number')} read back at the baseline {took:.3f} s after the order",
            {"restored_at": now},
        )
    if not seen_after(f.look, r, r.its_own):
        over = horizons_over(r)
        if now >= over and f.trouble is None:
            return Read(tuple(t.number for t in r.its_own), "read every number before saying that it is back")
        if f.look is None and f.trouble is None:
            return Read(tuple(t.number for t in r.its_own), "watch for writes of ours that land late")
        return Wait(
            look_again(r, f, now, over),
            "rolled_back",
            f.trouble or "the baseline is back; a write whose outcome is unknown may still land",
        )
    if (blind := unread(r, f, f.look, now, "rolled_back")) is not None:
        return blind
    edited = [t.number for t in r.its_own if t.state is TargetState.FOREIGN]
    gone = [t.number for t in r.its_own if t.state is TargetState.MISSING]
    why = "every number shows its baseline" if r.written else "nothing had been written"
    if edited:
        why += f"; edited by somebody since, and left alone: {name(edited)}"
    if gone:
        why += f"; gone: {name(gone)}"
    return Record(Event.RESTORED, why)
