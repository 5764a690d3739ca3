"""The commands. The command line, the HTTP API and the page call these and nothing else.

Each command is a pure function of the rollout it finds (rollout.domain.lifecycle.commands), recorded with its actor,
its reason and its request id in one transaction. Nothing is driven here: the rollout becomes due, and a driver takes
it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial

from rollout.domain.agent_tests.state import AgentTests
from rollout.domain.errors import NotReachable, Refused, UnknownRollout
from rollout.domain.gates.shipping import missing_evidence
from rollout.domain.lifecycle import commands, hand_commands
from rollout.domain.lifecycle.columns import RolloutColumns
from rollout.domain.lifecycle.commands import By
from rollout.domain.lifecycle.entries import CommandGiven
from rollout.domain.lifecycle.machine import KEEP_BASELINE, Event, Phase, after, allows
from rollout.domain.lifecycle.records import CommandEffect, JournalEntry, Request
from rollout.domain.lifecycle.started import StartedRollout
from rollout.domain.lifecycle.state import Position, Rollout
from rollout.domain.phone_numbers import plus_advice
from rollout.domain.plan.plan import Plan
from rollout.domain.writes.answers import Reading
from rollout.engine.agent_tests import run_by_hand
from rollout.engine.ports import Clock, Rollouts
from rollout.engine.preflight import Preflight, Workspace, preflight


class Commands:
    """The commands, on one store and one Retell workspace."""

    def __init__(
        self,
        store: Rollouts,
        workspace: Workspace,
        new_id: Callable[[], str],
        base_url: str,
        changed: Callable[[str, bool], None] = lambda _id, _urgent: None,
        calendar: Callable[[Plan], object] = lambda _plan: None,
        baseline_kept: timedelta = KEEP_BASELINE,
    ) -> None:
        self.store = store
        self.workspace = workspace
        self.new_id = new_id
        self.base_url = base_url
        self.changed = changed  # told of every change: wakes the scheduler, stops a fan-out under way
        self.calendar = calendar  # InputError for a plan whose calendar cannot be used here
        self.baseline_kept = baseline_kept  # after the end of a rollout

    # -------------------------------------------------------------- before the first write

    def check(self, plan: Plan) -> Preflight:
        """Pre-flight against the live numbers; writes nothing. InputError for a calendar that is not known here."""
        self.calendar(plan)
        return preflight(plan, self.workspace, name_taken_by=self.store.live_named(plan.name))

    def run_tests(self, found: Preflight, clock: Clock, told: Callable[[str], None]) -> AgentTests:
        """Run the tests of a plan that passed pre-flight, and wait for their end. Records nothing."""
        assert found.tests is not None
        assert found.plan.tests is not None
        assert self.workspace.batch_tests is not None
        return run_by_hand(self.workspace.batch_tests, found.plan.tests, found.tests, clock, told)

    def start(self, plan: Plan, by: By, *, at: datetime | None = None, strict: bool = False) -> StartedRollout:
        """Record a rollout of this plan, after pre-flight. Refused changes nothing."""
        request = by.request("start", plan.canonical(), at)
        start_at = at or plan.start
        if request is not None and (given := self.store.answered(request)) is not None:
            return given
        found = self.check(plan)
        try:
            found.refuse(strict=strict)
        except Refused:
            # The same request may have come twice at once: then it is the first one that has the numbers.
            if request is not None and (given := self.store.answered(request)) is not None:
                return given
            raise
        now = self.store.now()
        later = plan.after is not None or (start_at is not None and start_at > now)
        begins_with: RolloutColumns = {} if later else found.columns()
        id_ = self.new_id()

        summary = found.summary()

        def make(now: datetime) -> tuple[Rollout, JournalEntry]:
            # A later start reads its numbers again when it begins: the baseline is what they serve then.
            rollout = Rollout(
                id=id_,
                name=plan.name,
                plan=plan,
                phase=Phase.PENDING,
                reason=None,
                position=Position(1, 1),
                epoch=0,
                created_at=now,
                updated_at=now,
                start_at=start_at,
                due_at=now,
                targets=() if later else found.targets,
                tags=begins_with.get("tags"),
                tests=begins_with.get("tests"),
                base_url=self.base_url,
                created_by=by.actor,
                seed=plan.seed or 0,
                why="waiting for the service",
                next="step 1.1",
            )
            return rollout, JournalEntry("created", by.actor, by.reason, summary.to_json())

        answer = self.store.create(make, request, summary)
        self.changed(answer.id, False)
        return answer

    # -------------------------------------------------------------- on the way

    def promote(self, id_: str, by: By, *, expect: Position | None = None, full: bool = False) -> CommandGiven:
        """Go to the next step now, or with `full` to the last; in the last step, end its bake."""
        return self._change(
            id_, partial(commands.promote, by=by, expect=expect, full=full), by.request("promote", id_, expect, full)
        )

    def set_weights(
        self, id_: str, by: By, *, weights: Mapping[str, object], expect: Position | None = None
    ) -> CommandGiven:
        """Write these weights (0..1, by version) in place of the step's; its hold starts again."""
        return self._change(
            id_,
            partial(hand_commands.set_weights, by=by, expect=expect, weights=weights),
            by.request("set", id_, expect, weights),
        )

    def ship(
        self, id_: str, by: By, *, variant: str, anyway: bool = False, expect: Position | None = None
    ) -> CommandGiven:
        """Give a version every call; it bakes like the last step. Refused without enough evidence, but for `anyway`."""

        def effect(r: Rollout, now: datetime) -> CommandEffect:
            missing = missing_evidence(r.verdict, variant)
            return hand_commands.ship(r, now, by, expect, variant=variant, missing=missing, anyway=anyway)

        return self._change(id_, effect, by.request("ship", id_, expect, variant, anyway))

    def pause(self, id_: str, by: By, *, expect: Position | None = None) -> CommandGiven:
        """Hold at the current position. Gates keep watching."""
        return self._change(id_, partial(commands.pause, by=by, expect=expect), by.request("pause", id_, expect))

    def resume(self, id_: str, by: By, *, expect: Position | None = None) -> CommandGiven:
        """Continue after a pause. After a failed gate this overrides that failure."""
        return self._change(id_, partial(commands.resume, by=by, expect=expect), by.request("resume", id_, expect))

    def stop(self, id_: str, by: By, *, expect: Position | None = None) -> CommandGiven:
        """End it and leave the split as it is."""
        return self._change(id_, partial(commands.stop, by=by, expect=expect), by.request("stop", id_, expect))

    # -------------------------------------------------------------- answers to drift

    def adopt(self, id_: str, by: By, *, expect: Position | None = None) -> CommandGiven:
        """Accept the live split of every number, and continue."""
        live = self._live(id_, Event.ADOPT_ASKED)
        return self._change(
            id_, partial(commands.adopt, by=by, expect=expect, live=live), by.request("adopt", id_, expect)
        )

    def restore(self, id_: str, by: By, *, expect: Position | None = None) -> CommandGiven:
        """Write the rollout's split over what the numbers show now, and continue."""
        live = self._live(id_, Event.RESTORE_ASKED)
        return self._change(
            id_, partial(commands.restore, by=by, expect=expect, live=live), by.request("restore", id_, expect)
        )

    def _live(self, id_: str, event: Event) -> dict[str, Reading]:
        rollout, _ = self.store.load(id_)
        after(rollout.phase, event)
        numbers = [t.number for t in rollout.targets]
        with self.workspace.numbers.session(numbers) as session:
            got = session.read(numbers)
        for number, reading in got.items():
            if not isinstance(reading, Reading):
                raise NotReachable(f"{number} cannot be read: {reading.detail}")
        return {n: r for n, r in got.items() if isinstance(r, Reading)}

    # -------------------------------------------------------------- rollback

    def rollback(self, id_: str, by: By) -> CommandGiven:
        """Commit the desired state: every baseline back. Always wins, needs no expected state."""
        return self._change(
            id_, partial(commands.rollback, by=by, kept=self.baseline_kept), by.request("rollback", id_), urgent=True
        )

    # -------------------------------------------------------------- finding the rollout that is meant

    def on_number(self, number: str) -> str:
        """The rollout a rollback of this number means: the one that drives it, else the newest that wrote it.

        Rolled-back ones come last: to order their rollback again changes nothing.
        """
        driving = self.store.drivers([number])
        if number in driving:
            return driving[number].rollout_id
        wrote = self.store.writers(number)
        for id_, phase in wrote:
            if allows(phase, Event.ROLLBACK_ASKED):
                return id_
        for id_, _ in wrote:
            return id_
        raise UnknownRollout(f"no rollout has written {number}{plus_advice(number)}", number=number)

    # -------------------------------------------------------------- plumbing

    def _change(
        self,
        id_: str,
        command: Callable[[Rollout, datetime], CommandEffect | None],
        request: Request | None,
        urgent: bool = False,
    ) -> CommandGiven:
        answer = self.store.change(id_, command, request, urgent=urgent)
        self.changed(id_, urgent)
        return answer
