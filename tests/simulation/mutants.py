"""The protocol with one guard taken out, each by patching from outside: the proof that the harness can see.

A mutant that no history catches would mean that the guard protects nothing, or that nobody looks. `MUTANTS`
names them; docs/reliability.md lists the seed that catches each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from rollout.adapters.store import rollouts
from rollout.adapters.store.repository import Store
from rollout.domain.decide import failures, rollback, steps, timing
from rollout.domain.decide.actions import Action
from rollout.domain.decide.facts import Facts
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.records import Claim, JournalEntry
from rollout.domain.lifecycle.state import Rollout, Target
from rollout.domain.writes import drift, outcomes, protocol
from rollout.domain.writes.answers import Failure, Order, Reading
from rollout.domain.writes.protocol import Examined, Finding, examine_reading
from rollout.engine import driver, write_protocol

from . import history
from .session import SimSession
from .weather import Weather, draw

Patches = list[tuple[Any, str, Any]]


@dataclass(frozen=True)
class Mutant:
    """A guard that is taken out, and where that shows.

    `weather` changes what the histories are like, also without the mutant.
    """

    guard: str
    seed: int  # the first that catches it
    breaks: Set[str]  # the codes of all that is found broken in that history
    patches: Callable[[], Patches]
    weather: Callable[[Weather], Weather] = lambda weather: weather

    @contextmanager
    def applied(self, *, guarded: bool = False) -> Iterator[None]:
        """Takes the guard out for the block; `guarded` leaves it in, with the same weather."""
        kept: Patches = []
        patches: Patches = [(history, "draw_weather", lambda rng: self.weather(draw(rng)))]
        try:
            for where, name, what in patches + ([] if guarded else self.patches()):
                kept.append((where, name, where.__dict__[name]))
                setattr(where, name, what)
            yield
        finally:
            for where, name, what in reversed(kept):
                setattr(where, name, what)


# ------------------------------------------------------------------ epochs and intents


def _no_epoch_check() -> Patches:
    """P3 and P7 without the comparison of epochs: whoever had the claim once may record for ever."""
    commit = rollouts.commit

    def anybody(connection: Any, claim: Claim, *args: Any, **kwargs: Any) -> Any:
        row = rollouts.head_row(connection, claim.rollout_id)
        return commit(connection, replace(claim, epoch=row.epoch), *args, **kwargs)

    return [(rollouts, "commit", anybody)]


def _intent_after_send() -> Patches:
    """P3 after P4: the intent is committed together with what came of it."""
    commit = Store.commit
    waiting: dict[str, tuple[Change, list[JournalEntry]]] = {}

    def later(
        self: Store, claim: Claim, change: Change, entries: Sequence[JournalEntry], lease: timedelta | None = None
    ) -> datetime:
        if change.new_writes:
            waiting[claim.rollout_id] = change, list(entries)
            return self.now()
        if claim.rollout_id in waiting:
            first, before = waiting.pop(claim.rollout_id)
            commit(self, claim, first, before, lease)
        return commit(self, claim, change, entries, lease)

    return [(Store, "commit", later)]


# ------------------------------------------------------------------ the session


def _window() -> Patches:
    return [(SimSession, "ignores_window", True)]


def _connection_first() -> Patches:
    return [(SimSession, "reopens", True)]


def _hidden_resend() -> Patches:
    return [(SimSession, "resends", True)]


def _no_read_back() -> Patches:
    """P6 answered from P5: what a 200 said is taken for what the number shows."""
    write, read = SimSession.write, SimSession.read

    def noted(self: SimSession, orders: Sequence[Order], **how: Any) -> Any:
        answers = write(self, orders, **how)
        vars(self)["echo"] = {n: a.shown for n, a in answers.items() if a.shown is not None}
        return answers

    def echoed(self: SimSession, numbers: Sequence[str], **how: bool) -> dict[str, Reading | Failure]:
        echo = vars(self).get("echo", {})
        found = {n: echo[n] for n in numbers if n in echo}
        return {**found, **read(self, [n for n in numbers if n not in echo], **how)}

    return [(SimSession, "write", noted), (SimSession, "read", echoed)]


# ------------------------------------------------------------------ horizons


def _no_horizon_before_forward() -> Patches:
    """A write whose outcome is unknown is taken for not applied as soon as it is not seen."""
    over = drift._over

    def at_once(writes: Sequence[Any], began: datetime) -> Any:
        return over(writes, began + timedelta(days=1))

    return [
        (drift, "_over", at_once),
        (rollouts, "_refuse_open", lambda *_args, **_kwargs: None),
        (Rollout, "open_writes", lambda _self, _now, _number=None: ()),
        (drift, "examine_reading", _examined_without_horizon),
    ]


def _examined_without_horizon(target: Any, shown: Any, writes: Any, began: datetime, *args: Any) -> Examined:
    return examine_reading(target, shown, [w for w in writes if w.outcome is None], began + timedelta(days=1), *args)


def _no_horizon_before_the_end() -> Patches:
    return [(module, "last_horizon", lambda r: r.created_at) for module in (timing, rollback)]


def _any_look_at_the_end() -> Patches:
    """P9 from a reading that began before the horizons closed, if only the decision comes after."""

    def decide(r: Rollout, f: Facts, now: datetime) -> Action:
        if f.scan is not None and now >= timing.last_horizon(r):
            f = replace(f, scan=replace(f.scan, began=now))
        return real(r, f, now)

    real = driver.decide
    return [(driver, "decide", decide)]


# ------------------------------------------------------------------ readings


def _no_time_stamps() -> Patches:
    """Nothing is compared but lists: a number that was touched looks untouched, an old reading new."""

    def blind(target: Any, shown: Any, *args: Any) -> Examined:
        same = reading_with(shown, target.modified)
        return examine_reading(target, same, *args)

    return [(drift, "examine_reading", blind)]


def reading_with(shown: Any, modified: int) -> Any:
    return replace(shown, modified=modified) if isinstance(shown, Reading) else shown


def _no_pre_read() -> Patches:
    """P2 without a comparison: every number is written, whatever it shows."""
    scan = write_protocol.WriteProtocol._scan

    def trusting(self: Any, rollout: Rollout, claim: Claim, session: Any, numbers: Sequence[str], **how: bool) -> Any:
        seen = scan(self, rollout, claim, session, numbers, **how)
        assert seen.scan is not None
        if all(t.number in numbers for t in rollout.outstanding) and rollout.phase == "progressing":
            as_expected = dict.fromkeys(numbers, Finding.AS_EXPECTED)
            return replace(seen, rollout=rollout, scan=replace(seen.scan, findings=as_expected))
        return seen

    return [(write_protocol.WriteProtocol, "_scan", trusting)]


# ------------------------------------------------------------------ other hands


def _no_look_before_a_step_is_counted() -> Patches:
    real = steps.read_all_first

    def only_the_last(r: Rollout, f: Facts, now: datetime, next_: str) -> Any:
        return real(r, f, now, next_) if r.next_position is None else None

    return [(steps, "read_all_first", only_the_last)]


def _held_where_it_is_wanted() -> Patches:
    return [(failures, "live_position", lambda r: (r.position, r.hand_split))]


def _no_growing_pauses() -> Patches:
    def a_poll_later(r: Rollout, t: Target, f: Facts) -> datetime:
        back = r.baseline_writes.get(t.number)
        return r.created_at if back is None else back.last + f.poll

    return [(rollback, "_again_at", a_poll_later)]


def _time_stamps_are_never_doubted() -> Patches:
    return [
        (write_protocol, "believes_equal_readings", lambda _phase: False),
        (write_protocol, "_doubted", lambda *_args: {}),
    ]


def _no_if_match() -> Patches:
    return [(write_protocol, "Order", lambda number, body, _etag=None: Order(number, body))]


def _plan_alone_is_ours() -> Patches:
    ours = protocol.is_ours
    return [(protocol, "is_ours", lambda target, lists, plan, _by_hand=(): ours(target, lists, plan))]


def _baselines_in_one_form_only() -> Patches:
    return [(outcomes, "_has_other_form", lambda *_args: False)]


# ------------------------------------------------------------------ weathers that make a guard matter


def _slow(w: Weather) -> Weather:
    """Senders that stop, and messages that live as long as they may."""
    bounds = replace(w.bounds, idle=20.0, apply=20.0, margin=1.0)
    return Weather(gap=0.8, late=0.9, extreme=0.9, slow_reads=0.6, hasty=0.9, spares_rollbacks=True, bounds=bounds)


def _contested(w: Weather) -> Weather:
    """A program that writes over every rollback, and nothing else that goes wrong."""
    return Weather(reasserts=1.0, hasty=1.0, bounds=w.bounds)


def _written_over(w: Weather) -> Weather:
    """The same, once people have had the time to set weights."""
    return replace(_contested(w), hasty=0.0)


def _kept_open(w: Weather) -> Weather:
    """A Retell that keeps idle connections open for longer than K."""
    return replace(
        w, idle_unbounded=True, long_pause=max(w.long_pause, 0.01), late=0.4, bounds=replace(w.bounds, margin=1.0)
    )


def _hands(**chances: float) -> Callable[[Weather], Weather]:
    return lambda w: replace(w, **chances)


MUTANTS: dict[str, Mutant] = {
    "epoch check": Mutant("P3, P7: the epoch is compared", 77, {"I7"}, _no_epoch_check),
    "send window": Mutant("P4: nothing is sent after the window", 103, {"I3"}, _window, _kept_open),
    "connection first": Mutant("P2: no connection is opened by a write", 15, {"I3"}, _connection_first, _slow),
    "read-back": Mutant("P6: a number is read after its answer", 6, {"I8"}, _no_read_back),
    "horizon before forward": Mutant(
        "P3: nothing forward beside an open horizon", 4, {"I2"}, _no_horizon_before_forward
    ),
    "horizon before final": Mutant(
        "P9: nothing final beside an open horizon", 4, {"I4"}, _no_horizon_before_the_end, _slow
    ),
    "later second look": Mutant("P9: the deciding read begins after it", 170, {"I4"}, _any_look_at_the_end, _slow),
    "no hidden resend": Mutant("P4: exactly one request", 1, {"I1"}, _hidden_resend),
    "time stamps": Mutant("P2, P6: time stamps are compared", 42, {"I9"}, _no_time_stamps),
    "intent before send": Mutant("P3: the intent is committed first", 1, {"I1"}, _intent_after_send),
    "pre-read": Mutant("P2: what is live is compared", 9, {"I9"}, _no_pre_read),
    "look before counting": Mutant(
        "P2: every number is looked at before a step is counted",
        4,
        {"I9"},
        _no_look_before_a_step_is_counted,
        _hands(holds_drift=1.0),
    ),
    "live position": Mutant(
        "held where the numbers stand, not where they are wanted",
        2,
        {"I7"},
        _held_where_it_is_wanted,
        _hands(holds_drift=1.0),
    ),
    "growing pauses": Mutant(
        "a rollback that is written over is tried at growing pauses", 40, {"pace"}, _no_growing_pauses, _contested
    ),
    "equal readings": Mutant(
        "equal readings settle what a time stamp denies", 6, {"I11"}, _time_stamps_are_never_doubted, _hands(jumps=0.2)
    ),
    "second form": Mutant(
        "a baseline that is refused as it was read has another form",
        2,
        {"I11"},
        _baselines_in_one_form_only,
        _hands(nearly_one=1.0),
    ),
    "splits by hand": Mutant(
        "a split that people set is ours when it comes back", 112, {"I4"}, _plan_alone_is_ours, _written_over
    ),
    "precondition": Mutant(
        "P4: a number that has changed since it was read is not written, where Retell offers that",
        1,
        {"U2"},
        _no_if_match,
        _hands(meets=0.5, preconditions="honoured"),
    ),
}
