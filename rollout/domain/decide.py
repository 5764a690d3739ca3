"""decide(rollout, facts, now): the one next thing to do with a rollout, and why.

Pure. The driver fetches facts, asks, carries out what it is told and asks again until it is told to
wait. The order of the rules below is the order of their precedence: undoing before everything, then
what is wrong, then what is unfinished, then waiting, then the next step. Longer than 300 lines on purpose: the
whole order has to be seen in one place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeGuard

from rollout.domain.drift import Blocked, Look
from rollout.domain.durations import render
from rollout.domain.machine import Event, HeldReason, Phase
from rollout.domain.protocol import Finding
from rollout.domain.state import Kind, Rollout, Target, TargetState

MOST_STALE = 5  # looks in a row that show an older state before it is no longer taken for a stale read

# ------------------------------------------------------------------ facts


class Opinion(Protocol):
    """What the gates say (rollout.domain.gates.Verdict)."""

    @property
    def outcome(self) -> str: ...
    @property
    def alarm(self) -> str | None: ...
    @property
    def reason(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Opening:
    """Whether steps may advance now; `until` is when that changes, if it ever does."""

    is_open: bool = True
    until: datetime | None = None
    why: str = ""
    retreat_to: int | None = None  # basis points to hold while closed, if the plan retreats
    retreat_why: str = ""  # until when and why, for people: "until Mon 09:00 (outside the plan's hours)"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the driver found out before asking. None always means: not known."""

    look: Look | None = None
    verdict: Opinion | None = None
    canary_calls: int | None = None
    opening: Opening = field(default_factory=Opening)
    hold_until: datetime | None = None  # of the position, by the plan's calendar
    stood: timedelta | None = None  # open time of a hold in open hours since it counts; None: elapsed time
    canary_gone: str | None = None  # a sentence, when a version the plan tries is known to be gone
    baseline_gone: str | None = None
    trouble: str | None = None  # what went wrong with Retell in this pass
    retry_after: float | None = None
    after_promoted: bool | None = None  # the rollout this one waits for
    poll: timedelta = timedelta(seconds=5)
    watch: timedelta = timedelta(seconds=30)
    longest_pause: timedelta = timedelta(seconds=30)


# ------------------------------------------------------------------ actions


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until `until` (None: until something changes)."""

    until: datetime | None
    next: str
    why: str


@dataclass(frozen=True, slots=True)
class Read:
    """Read these numbers and see what they say."""

    numbers: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Apply:
    """Write the position's split to these targets."""

    targets: tuple[Target, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Restore:
    """Write the baseline back to these targets."""

    targets: tuple[Target, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Begin:
    """Check a scheduled plan against the live numbers and record their baselines."""

    why: str


@dataclass(frozen=True, slots=True)
class Record:
    """Record an event; `values` are columns of the rollout that change with it."""

    event: Event
    why: str
    values: Mapping[str, Any] = field(default_factory=dict)
    targets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


Action = Wait | Read | Apply | Restore | Begin | Record


def decide(rollout: Rollout, facts: Facts, now: datetime) -> Action:
    """Exactly one action with a one-line reason."""
    match rollout.phase:
        case Phase.ROLLING_BACK:
            return _rolling_back(rollout, facts, now)
        case Phase.PENDING:
            return _pending(rollout, facts, now)
        case Phase.PROGRESSING:
            return _by_calendar(rollout, facts, now, _by_deadline(rollout, _progressing(rollout, facts, now)))
        case Phase.PAUSED | Phase.HELD:
            return _waiting(rollout, facts, now)
        case Phase.PROMOTED | Phase.ROLLED_BACK | Phase.STOPPED:
            return _watched(rollout, facts, now)


def _by_deadline(r: Rollout, action: Action) -> Action:
    """No wait goes past the plan's deadline: somebody has to be there when it strikes."""
    if not isinstance(action, Wait) or r.deadline_at is None:
        return action
    until = r.deadline_at if action.until is None else min(action.until, r.deadline_at)
    return replace(action, until=until)


def _by_calendar(r: Rollout, f: Facts, now: datetime, action: Action) -> Action:
    """No wait of a plan that retreats goes past the moment at which its calendar closes or opens."""
    if not isinstance(action, Wait) or r.plan.retreat is None:
        return action
    turn = _reopens(r, f, now)
    return replace(action, until=turn if action.until is None else min(action.until, turn))


# ------------------------------------------------------------------ undoing


def _rolling_back(r: Rollout, f: Facts, now: datetime) -> Action:
    settled = {TargetState.RESTORED, TargetState.MISSING, TargetState.FOREIGN}
    todo = tuple(t for t in r.its_own if t.state not in settled)
    if todo:
        numbers = {t.number for t in todo}
        last = max(
            (w.intent_at for w in r.writes if w.kind is Kind.BASELINE and w.number in numbers), default=None
        )
        pause = _pause(r, f)
        if f.trouble is not None or (last is not None and now < last + f.poll):
            until = now + pause if f.trouble is not None else (last or now) + f.poll
            return Wait(
                until,
                "write the baseline again",
                f.trouble or f"{_count(len(todo), 'number')} not at the baseline yet",
            )
        return Restore(todo, f"{_count(len(todo), 'number')} to restore")
    if r.restored_at is None:
        took = (now - (r.rollback_at or now)).total_seconds()
        return Record(
            Event.READ_BACK,
            f"{_count(len(r.its_own), 'number')} read back at the baseline {took:.3f} s after the order",
            {"restored_at": now},
        )
    if not _seen_after(f.look, r, r.its_own):
        over = _horizons_over(r)
        if now >= over and f.trouble is None:
            return Read(tuple(t.number for t in r.its_own), "read every number before saying that it is back")
        if f.look is None and f.trouble is None:
            return Read(tuple(t.number for t in r.its_own), "watch for writes of ours that land late")
        until = min(now + max(f.poll, _pause(r, f)), over) if over > now else now + _pause(r, f)
        return Wait(
            until,
            "rolled_back",
            f.trouble or "the baseline is back; a write whose outcome is unknown may still land",
        )
    blind = f.look.numbers(Blocked.UNREACHABLE, Blocked.KEY, Finding.STALE)
    if blind:
        return Wait(
            now + _pause(r, f), "rolled_back", f"{_name(blind)} cannot be read: {f.trouble or 'no answer'}"
        )
    edited = [t.number for t in r.its_own if t.state is TargetState.FOREIGN]
    gone = [t.number for t in r.its_own if t.state is TargetState.MISSING]
    why = "every number shows its baseline" if r.written else "nothing had been written"
    if edited:
        why += f"; edited by somebody since, and left alone: {_name(edited)}"
    if gone:
        why += f"; gone: {_name(gone)}"
    return Record(Event.RESTORED, why)


def _seen_after(look: Look | None, r: Rollout, targets: Sequence[Target]) -> TypeGuard[Look]:
    """P9: whether this look covers all of these and began after every horizon had closed."""
    return (
        look is not None
        and look.began >= _horizons_over(r)
        and all(t.number in look.findings for t in targets)
    )


def _horizons_over(r: Rollout) -> datetime:
    """The moment after which no write of ours on these numbers can take effect any more."""
    return max((w.horizon_until for w in (*r.writes, *r.foreign_open)), default=r.created_at)


# ------------------------------------------------------------------ before the first step


def _pending(r: Rollout, f: Facts, now: datetime) -> Action:
    first = "check the numbers and begin" if not r.targets else f"step 1.1: {_weight(r, 1)}"
    if r.start_at is not None and now < r.start_at:
        return Wait(r.start_at, first, "waiting for its start")
    if r.plan.after is not None and not f.after_promoted:
        return Wait(now + f.watch, first, f"waiting for {r.plan.after} to be promoted")
    if not f.opening.is_open:
        return Wait(_reopens(r, f, now), first, f.opening.why)
    if f.trouble is not None:
        return Wait(now + _pause(r, f), first, f.trouble)
    if not r.targets:
        return Begin("it is due")
    values: dict[str, Any] = {"started_at": now, "confirmed_at": None}
    if r.plan.deadline is not None:
        values["deadline_at"] = now + r.plan.deadline
    return Record(Event.BEGUN, "pre-flight passed", values)


# ------------------------------------------------------------------ going through the steps


def _progressing(r: Rollout, f: Facts, now: datetime) -> Action:
    return (
        _what_is_wrong(r, f, now)
        or _what_is_unfinished(r, f, now)
        or _what_to_wait_for(r, f, now)
        or _next_step(r, f, now)
    )


def _what_is_wrong(r: Rollout, f: Facts, now: datetime) -> Action | None:
    if f.look is not None and (wrong := _wrong_numbers(r, f.look)):
        return wrong
    if r.deadline_at is not None and now >= r.deadline_at:
        why = "the plan's deadline passed"
        if r.plan.on_deadline == "rollback":
            return Record(Event.FAILED, why, {"reason": why, "rollback_at": now})
        return Record(Event.HELD, why, {"reason": HeldReason.DEADLINE.value, "resume_phase": r.phase})
    if f.baseline_gone:
        return _hold(r, HeldReason.ROLLBACK_IMPOSSIBLE, f.baseline_gone)
    if f.canary_gone and (r.outstanding or any(t.state is TargetState.REJECTED for t in r.targets)):
        return _fail(r, f.canary_gone, now)
    rejected = [t.number for t in r.targets if t.state is TargetState.REJECTED]
    if rejected:
        return _hold(r, HeldReason.REJECTED, f"Retell refuses the split for {_name(rejected)}")
    if f.verdict is not None and f.verdict.outcome == "fail" and not r.waived:
        return _fail(r, f.verdict.reason, now)
    if f.verdict is not None and f.verdict.alarm == "split" and not r.split_waived:
        return _hold(r, HeldReason.SPLIT, f.verdict.reason)
    return None


def _wrong_numbers(r: Rollout, look: Look) -> Record | None:
    gone = look.numbers(Blocked.MISSING)
    if gone:
        why = f"{_name(gone)} {'is' if len(gone) == 1 else 'are'} gone: Retell does not know the number"
        return _fail(r, why, look.began)
    back = set(look.numbers(Finding.AT_BASELINE))
    if back and all(t.number in back or t.state is TargetState.RESTORED for t in r.written):
        # A write of ours that may still land keeps it from being over: then it is watched as a rollback.
        landing = bool(r.open_writes(look.began))
        return Record(
            Event.FAILED if landing else Event.RESTORED_OUTSIDE,
            "rolled back outside: every number shows its baseline again, and it was not this service",
            {
                "reason": "rolled back outside",
                "rollback_at": look.began,
                "restored_at": look.began,
            },
            {
                t.number: {"state": TargetState.RESTORED, **r.standing(0), "split": dict(t.baseline)}
                for t in r.written
            },
        )
    edited = look.numbers(Finding.DRIFT, Finding.AT_BASELINE, Finding.LATE_OWN)
    if edited:
        return _hold(r, HeldReason.DRIFT, f"{_name(edited)} shows a split that is not ours")
    older = look.numbers(Finding.STALE)
    if older and r.tries >= MOST_STALE:
        return _hold(
            r, HeldReason.IDENTITY, f"{_name(older)} keeps showing an older state: it may have been made anew"
        )
    touched = look.numbers(Finding.TOUCHED)
    if touched:
        return _hold(
            r, HeldReason.TOUCHED, f"{_name(touched)} was written by somebody, and nothing visible changed"
        )
    return None


def _what_is_unfinished(r: Rollout, f: Facts, now: datetime) -> Action | None:
    if r.unresolved:
        over = min(w.horizon_until for w in r.unresolved)
        if f.look is None and f.trouble is None:
            return Read(
                tuple(dict.fromkeys(w.number for w in r.unresolved)), "a write's outcome is not known yet"
            )
        until = min(now + max(f.poll, _pause(r, f)), over) if over > now else now + _pause(r, f)
        return Wait(
            until, "find out what the write did", f.trouble or "a write may still land; nothing is sent"
        )
    if r.look_asked and f.look is None and f.trouble is None:
        return Read(tuple(t.number for t in r.targets), "the scan saw a difference")
    if (turn := _turn(r, f, now)) is not None:
        return turn
    if not r.outstanding:
        return _read_back(r, now)
    waiting = {w.number for w in r.open_writes(now)}
    ready = tuple(t for t in r.outstanding if t.number not in waiting)
    next_ = f"step {r.position}: {_weight(r, r.position.step)}"
    if r.retreated is not None:
        next_ = f"retreat to {_percent(r.retreated)}"
    elif r.is_down:
        next_ = f"{next_}, again"
    if f.trouble is not None:
        return Wait(now + _pause(r, f), next_, f.trouble)
    if not ready:
        over = min(w.horizon_until for w in r.open_writes(now))
        return Wait(over, next_, "a write may still land; nothing is sent until its horizon has passed")
    return Apply(ready, next_)


def _turn(r: Rollout, f: Facts, now: datetime) -> Record | None:
    """Closing time, if the plan retreats, and the opening after it. A person's promotion is not turned back."""
    if r.retreated is None and f.opening.retreat_to is not None and r.retreats and not r.promote_asked:
        values: dict[str, Any] = {"retreated": f.opening.retreat_to, "turning_since": now}
        if (since := r.counts_since) is not None:
            stood = max(timedelta(), now - since) if f.stood is None else f.stood
            values["stood"] = (r.stood or 0) + stood.total_seconds()
        return Record(
            Event.RETREATED, f"retreat to {_percent(f.opening.retreat_to)} {f.opening.retreat_why}", values
        )
    if r.retreated is not None and f.opening.is_open:
        why = f"open again: back to {_weight(r, r.position.step)}"
        return Record(Event.RETURNED, why, {"retreated": None, "turning_since": now})
    return None


def _read_back(r: Rollout, now: datetime) -> Record | None:
    """Nothing is outstanding: what was wanted is recorded as read back, once."""
    where = f"on {_count(_reached(r), 'number')}, read back"
    if r.retreated is None and r.confirmed_at is None:
        values = {"confirmed_at": now, **r.cleared("turning_since", "stood", "back_at")}
        return Record(Event.CONFIRMED, f"{_weight(r, r.position.step)} {where}", values)
    if r.turning_since is None:
        return None
    if r.retreated is not None:
        return Record(Event.REACHED, f"{_percent(r.retreated)} {where}", {"turning_since": None})
    why = f"{_weight(r, r.position.step)} again {where}; its hold goes on"
    return Record(Event.REACHED, why, {"turning_since": None, "back_at": now})


def _until_opening(r: Rollout, f: Facts, now: datetime) -> Wait:
    assert r.retreated is not None
    weight = _weight(r, r.position.step)
    next_ = f"step {r.position}: {weight}" if r.confirmed_at is None else f"back to {weight}"
    tail = f.opening.retreat_why or f"while closed: {f.opening.why}"
    return Wait(_sooner(_reopens(r, f, now), now, f), next_, f"retreated to {_percent(r.retreated)} {tail}")


def _what_to_wait_for(r: Rollout, f: Facts, now: datetime) -> Wait | None:
    if r.retreated is not None:
        return _until_opening(r, f, now)
    assert r.confirmed_at is not None
    step = r.plan.steps[r.position.step - 1]
    after = r.next_position
    next_ = "promoted" if after is None else f"step {after}: {_weight(r, after.step)}"
    if r.promote_asked:
        return None
    until = f.hold_until or (r.back_at or r.confirmed_at) + r.hold_left
    word = "bake" if after is None else "hold"
    if now < until:
        return Wait(
            _sooner(until, now, f),
            next_,
            f"the {word} of {render(r.plan.hold(r.position.step).duration)} is running",
        )
    if step.min_calls and (f.canary_calls is None or f.canary_calls < step.min_calls):
        seen = 0 if f.canary_calls is None else f.canary_calls
        return Wait(now + f.watch, next_, f"{seen} of {step.min_calls} canary calls seen")
    if f.verdict is not None and f.verdict.outcome in {"undecided", "unmeasurable"} and not r.waived:
        return Wait(now + f.watch, next_, f.verdict.reason)
    if not f.opening.is_open:
        return Wait(_sooner(_reopens(r, f, now), now, f), next_, f.opening.why)
    if step.approve:
        return Wait(_sooner(None, now, f), next_, "all is green; a person must promote it")
    return None


def _next_step(r: Rollout, f: Facts, now: datetime) -> Action:
    after = r.next_position
    if after is not None:
        return Record(
            Event.ADVANCED,
            f"step {r.position} stood its hold" if not r.promote_asked else f"step {r.position} was promoted",
            {
                "wave": after.wave,
                "step": after.step,
                "confirmed_at": None,
                "promote_asked": False,
                **r.cleared("stood", "back_at"),
            },
        )
    if not _seen_after(f.look, r, r.targets):
        if f.trouble is not None:
            return Wait(now + _pause(r, f), "promoted", f.trouble)
        if now < (over := _horizons_over(r)):
            return Wait(
                over, "promoted", "a write may still land; nothing is final until its horizon has passed"
            )
        return Read(tuple(t.number for t in r.targets), "read every number before saying that it is promoted")
    blind = f.look.numbers(Blocked.UNREACHABLE, Blocked.KEY, Finding.STALE)
    if blind:
        return Wait(
            now + _pause(r, f), "promoted", f"{_name(blind)} cannot be read: {f.trouble or 'no answer'}"
        )
    return Record(Event.COMPLETED, "the last step stood its bake", {"reason": None})


# ------------------------------------------------------------------ while people think


def _waiting(r: Rollout, f: Facts, now: datetime) -> Action:
    if f.look is not None:
        wrong = _wrong_numbers(r, f.look)
        if wrong is not None and (wrong.event is not Event.HELD or r.phase is Phase.PAUSED):
            return wrong
    if r.unresolved:
        over = min(w.horizon_until for w in r.unresolved)
        if f.look is None and f.trouble is None:
            return Read(
                tuple(dict.fromkeys(w.number for w in r.unresolved)), "a write's outcome is not known yet"
            )
        until = min(now + max(f.poll, _pause(r, f)), over) if over > now else now + _pause(r, f)
        return Wait(until, _answer(r), f.trouble or "a write may still land")
    if r.stop_asked:
        still = r.open_writes(now)
        if still:
            return Wait(max(w.horizon_until for w in still), "stopped", "a write may still land")
        return Record(Event.ENDED, r.reason or "stopped by a person", {"stop_asked": False})
    if r.look_asked and f.look is None and f.trouble is None and r.targets:
        return Read(tuple(t.number for t in r.targets), "the scan saw a difference")
    impossible = r.phase is Phase.HELD and r.reason == HeldReason.ROLLBACK_IMPOSSIBLE
    if (
        f.verdict is not None
        and f.verdict.outcome == "fail"
        and not r.waived
        and not impossible
        and r.written
    ):
        failed = _fail(r, f.verdict.reason, now)
        if failed.event is Event.FAILED:
            return failed
    started = r.phase is Phase.PAUSED and r.targets and r.started_at
    if started and not r.outstanding and (back := _read_back(r, now)) is not None:
        return back
    return Wait(_sooner(None, now, f), _answer(r), _waiting_for(r))


def _answer(r: Rollout) -> str:
    return "resume" if r.phase is Phase.PAUSED else "adopt, restore, rollback or stop"


def _waiting_for(r: Rollout) -> str:
    if r.phase is Phase.PAUSED:
        low = f"; it stays at the retreat weight, {_percent(r.plan.retreat or 0)}" if r.is_down else ""
        return f"paused by a person{': ' + r.reason if r.reason else ''}{low}"
    return r.why or f"held: {r.reason}"


# ------------------------------------------------------------------ after the end


def _watched(r: Rollout, f: Facts, now: datetime) -> Action:
    if r.phase is Phase.PROMOTED and r.outstanding and f.trouble is None:
        waiting = {w.number for w in r.open_writes(now)}
        late = tuple(
            t
            for t in r.outstanding
            if t.step == -1 and t.number not in waiting and t.state is not TargetState.SUPERSEDED
        )
        if late:
            return Apply(late, "a late write of ours came back after the end: write the last step again")
    if r.unresolved or (r.look_asked and f.look is None):
        watched = tuple(t.number for t in r.its_own)
        if f.look is None and f.trouble is None and watched:
            return Read(watched, "watch after the end")
    if r.phase is Phase.ROLLED_BACK:
        # By what is recorded, not by this pass's look: whoever saw it may have died before saying so.
        back = [t.number for t in r.written if t.state is TargetState.CONFIRMED]
        if back:
            return Record(Event.REOPENED, f"a late write of ours came back on {_name(back)}")
    if r.unresolved:
        return Wait(now + max(f.poll, _pause(r, f)), "", f.trouble or "a write may still land")
    return Wait(None, "", r.why)


# ------------------------------------------------------------------ words and times


def _fail(r: Rollout, why: str, now: datetime) -> Record:
    if r.plan.on_failure == "pause" and r.phase is Phase.PROGRESSING:
        return Record(Event.FAILURE_PAUSED, why, {"reason": why})
    if r.plan.on_failure == "pause":
        return Record(Event.HELD, why, {"reason": why})
    return Record(Event.FAILED, why, {"reason": why, "rollback_at": now})


def _hold(r: Rollout, reason: HeldReason, why: str) -> Record:
    resume = r.phase if r.phase is not Phase.HELD else r.resume_phase
    return Record(Event.HELD, why, {"reason": reason.value, "resume_phase": resume})


def _pause(r: Rollout, f: Facts) -> timedelta:
    """The growing pause between attempts; as long as Retell asks for, within reason."""
    grown: timedelta = f.poll * int(2 ** min(r.tries, 10))
    asked = timedelta(seconds=f.retry_after or 0)
    if r.phase is Phase.ROLLING_BACK:
        return min(max(grown, min(asked, f.longest_pause)), f.longest_pause)
    return max(min(grown, f.longest_pause), min(asked, timedelta(minutes=5)))


def _sooner(until: datetime | None, now: datetime, f: Facts) -> datetime | None:
    """Gates are watched while anything waits: come back earlier when there are some."""
    if f.verdict is None:
        return until
    return now + f.watch if until is None else min(until, now + f.watch)


def _reopens(r: Rollout, f: Facts, now: datetime) -> datetime:
    """When to look again for an opening or closing; a shared calendar may be edited meanwhile."""
    again = now + (timedelta(minutes=5) if r.plan.calendar else timedelta(days=1))
    return again if f.opening.until is None else min(f.opening.until, again)


def _reached(r: Rollout) -> int:
    return sum(1 for t in r.targets if t.wave <= r.position.wave)


def _weight(r: Rollout, step: int) -> str:
    weights = r.plan.weights(step)
    if len(weights) == 1:
        return f"{_percent(next(iter(weights.values())))} canary"
    return ", ".join(f"{_percent(points)} {name}" for name, points in weights.items())


def _percent(points: int) -> str:
    return f"{points / 100:g} %"


def _count(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}s"


def _name(numbers: Sequence[str]) -> str:
    shown = ", ".join(numbers[:3])
    return shown if len(numbers) <= 3 else f"{shown} and {len(numbers) - 3} more"
