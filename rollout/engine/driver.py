"""One rollout, one pass: load, gather facts, decide, act, record, and release.

The only place where decisions and effects meet. Everything it knows comes from the store, from
readings and from the gates; everything it does is one of decide's actions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from rollout.domain.agent_tests.runs import BatchProgress
from rollout.domain.decide.actions import Apply, Begin, BeginBatch, Read, Record, Restore, Wait
from rollout.domain.decide.decide import decide
from rollout.domain.errors import InputError, KeyRefused, NotReachable, Refused
from rollout.domain.gates.verdict import GateVerdict
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.columns import RolloutColumns
from rollout.domain.lifecycle.entries import ServiceEvent
from rollout.domain.lifecycle.machine import WATCH_AFTER_END, Event, after
from rollout.domain.lifecycle.records import Claim, JournalEntry
from rollout.domain.lifecycle.state import Position, Rollout, Target
from rollout.domain.lifecycle.waiting import at_rest
from rollout.domain.writes.answers import Trouble
from rollout.engine.batches import Batches, BatchWriter
from rollout.engine.facts import FactFinder, Pass
from rollout.engine.ports import Rollouts
from rollout.engine.preflight import Preflight
from rollout.engine.write_protocol import SERVICE, BatchWrite, WriteProtocol

# More actions than any sound pass needs for one batch each of 20,000 numbers; a safety net, not a limit.
_MOST_ACTIONS = 5_000
FIRST_RESTORED = 16


class Driver:
    """The loop that takes claimed rollouts as far as they may go now."""

    def __init__(
        self,
        store: Rollouts,
        protocol: WriteProtocol,
        facts: FactFinder,
        batches: Batches,
        begin: Callable[[Rollout], Preflight],
        on_step: Callable[[Rollout], None] = lambda _rollout: None,
    ) -> None:
        """`begin` is the pre-flight of a rollout that starts later; `on_step` is called for each step that begins."""
        self.store = store
        self.protocol = protocol
        self.facts = facts
        self.batches = batches
        self.begin = begin
        self.on_step = on_step

    def drive(self, claim: Claim, until: Callable[[Rollout], bool] = lambda _rollout: False) -> Rollout:
        """One pass over the rollout of this claim; returns it as it is when released.

        `until` ends the pass early (a rollback command returns once every number is read back).
        Raises ClaimLost when another driver took over: then nothing more was recorded.
        """
        rollout, _ = self.store.load(claim.rollout_id)
        state = Pass(rollout)
        for _ in range(_MOST_ACTIONS):
            now = self.store.now()
            if until(state.rollout):
                r = state.rollout
                self.store.release(claim, Wait(now, r.next, r.why, r.waiting_for))
                return r
            facts = self.facts.find(state)
            action = decide(state.rollout, facts, now)
            match action:
                case Wait():
                    tries = state.rollout.tries + 1 if facts.trouble else 0
                    self.store.release(claim, action, tries)
                    r = replace(state.rollout, due_at=action.until, next=action.next)
                    return replace(r, why=action.why, waiting_for=action.waiting_for)
                case Read():
                    state.take(self.protocol.read(state.rollout, claim, action.numbers))
                case Apply():
                    self._write_batches(state, claim, action.targets, self.protocol.apply)
                    state.stepped = True
                case Restore():
                    # The first PATCH of a rollback leaves at once: it does not wait for a thousand intents.
                    few = None if state.restored else FIRST_RESTORED
                    state.restored = True
                    self._write_batches(state, claim, action.targets, self.protocol.restore, few)
                case Begin():
                    self._begin(state, claim)
                case BeginBatch():
                    self._begin_batch(state, claim, action)
                case Record():
                    self._record(state, claim, action, facts.verdict)
        raise RuntimeError(f"{claim.rollout_id}: no rest after {_MOST_ACTIONS} actions")

    # -------------------------------------------------------------- acting

    def _write_batches(
        self, state: Pass, claim: Claim, targets: tuple[Target, ...], write_batch: BatchWriter, first: int | None = None
    ) -> None:
        def took(done: BatchWrite) -> None:
            if done.rejected:
                self.facts.versions.forget()  # a refusal may mean that a version has just vanished: look again
            state.take(done)

        self.batches.run(state.rollout, claim, targets, write_batch, took, first)

    def _begin(self, state: Pass, claim: Claim) -> None:
        r = state.rollout
        try:
            found = self.begin(r)
        except NotReachable as error:
            state.trouble, state.key_refused = error.message, isinstance(error, KeyRefused)
            return
        except (Refused, InputError) as error:
            self._record(state, claim, Record(Event.REFUSED, error.message, {"reason": error.message}), None)
            return
        columns = found.columns()
        columns["look_asked"] = False
        change = Change(rollout=columns)
        entry = JournalEntry("baselines", SERVICE, f"{len(found.targets)} numbers read", found.summary().to_json())
        now = self.store.add_targets(claim, found.targets, change, entry)
        state.rollout = change.applied_to(replace(r, targets=found.targets), now)

    def _begin_batch(self, state: Pass, claim: Claim, action: BeginBatch) -> None:
        """Ask for one batch and record it at once: a process that dies in between leaves a batch that is not counted."""
        r, order = state.rollout, action.order
        assert self.facts.batch_tests is not None
        assert r.tests is not None
        tests = r.tests
        begun = self.facts.batch_tests.begin(order.cases, order.engine)
        if isinstance(begun, BatchProgress):
            tests = replace(tests, asked_at=None).with_batches([*tests.batches, begun])
            why = f"batch {begun.batch_id} of {order.arm}: {len(order.cases)} runs"
        elif begun.trouble is Trouble.UNKNOWN:
            tests = replace(tests, unsure=tests.unsure + 1, asked_at=self.store.now())
            why = f"a batch of {order.arm} may have begun: {begun.detail}"
        elif begun.trouble is Trouble.REJECTED and not begun.key_refused:
            state.tests_refused = begun.detail
            return
        else:
            state.take_failure(begun)
            return
        change = Change(rollout={"tests": tests})
        lease = timedelta(seconds=self.facts.timing.lease)
        now = self.store.commit(claim, change, [JournalEntry(str(Event.TESTS_PROGRESSED), SERVICE, why)], lease)
        state.rollout = change.applied_to(r, now)

    def _record(self, state: Pass, claim: Claim, action: Record, verdict: GateVerdict | None) -> None:
        r = state.rollout
        phase = after(r.phase, action.event)
        values: RolloutColumns = {**action.values, "phase": phase}
        if phase.is_final:
            values.setdefault("watch_until", self.store.now() + WATCH_AFTER_END)
        data = ServiceEvent(r.position)
        if action.event is Event.HELD:
            held_at = Position(values.get("wave", r.position.wave), values.get("step", r.position.step))
            data = replace(data, position=held_at, reason=values.get("reason"))
        if action.event in _WITH_RETREAT:
            data = replace(data, retreated=values.get("retreated", r.retreated))
        if verdict is not None and action.event in _WITH_VERDICT:
            data, values["verdict"] = replace(data, verdict=verdict), verdict
        change = Change(rollout=values, targets=action.targets)
        if action.event in _WITH_HAND_SPLIT:
            data = replace(data, by_hand=change.applied_to(r, r.updated_at).hand)
        now = self.store.commit(claim, change, [JournalEntry(str(action.event), SERVICE, action.why, data.to_json())])
        state.rollout = replace(change.applied_to(r, now), why=action.why, waiting_for=at_rest(phase))
        if action.event in (Event.BEGUN, Event.ADVANCED, Event.SHIPPED):
            self.on_step(state.rollout)
        if action.event in _FORGET_SCAN_AFTER:
            state.scan = None  # earlier readings say nothing about the numbers after a write


_WITH_RETREAT = frozenset({Event.RETREATED, Event.RETURNED, Event.REACHED})
_WITH_HAND_SPLIT = frozenset({Event.CONFIRMED, Event.REACHED, Event.SHIPPED, Event.COMPLETED})
_FORGET_SCAN_AFTER = frozenset(
    {Event.ADVANCED, Event.BEGUN, Event.SHIPPED, Event.FAILED, Event.REOPENED, Event.RETREATED, Event.RETURNED}
)
_WITH_VERDICT = frozenset(
    {
        Event.ADVANCED,
        Event.SHIPPED,
        Event.DECISION_KEPT,
        Event.DECISION_PAUSED,
        Event.COMPLETED,
        Event.FAILED,
        Event.FAILURE_PAUSED,
        Event.HELD,
    }
)
