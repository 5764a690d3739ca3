"""What a person may ask. The command line, the HTTP API and the page call these and nothing else.

Each command is a pure decision about the rollout it finds, recorded with its actor, its reason and its
request id in one transaction. Nobody drives here: the rollout becomes due, and whoever drives takes it. Longer
than 300 lines because every command stands here, and each is a few lines of one shape.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from rollout.bounds import Bounds
from rollout.domain.changes import Change
from rollout.domain.errors import InputError, NotReachable, Refused, StaleExpectation, UnknownRollout
from rollout.domain.machine import Event, Phase, after, allows
from rollout.domain.plan import Plan
from rollout.domain.protocol import others_of
from rollout.domain.records import Entry, Request
from rollout.domain.state import Position, Rollout, Target, TargetState
from rollout.ports import Decision, PhoneNumbers, Reading, Rollouts
from rollout.preflight import Preflight, Versions, preflight

KEEP_BASELINE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class By:
    """Who asks, why, and under which request id."""

    actor: str
    reason: str = ""
    request_id: str | None = None

    def request(self, command: str, *asked: Any) -> Request | None:
        """The command's identity; None without a request id."""
        if self.request_id is None:
            return None
        if not 1 <= len(self.request_id) <= 120 or not self.request_id.isprintable():
            raise InputError("request_id: write 1 to 120 printable characters")
        text = json.dumps([command, *asked], sort_keys=True, default=str)
        return Request(self.actor, self.request_id, command, hashlib.sha256(text.encode()).hexdigest())


class Commands:
    """The commands, on one store and one Retell workspace."""

    def __init__(
        self,
        store: Rollouts,
        numbers: PhoneNumbers,
        versions: Versions,
        new_id: Callable[[], str],
        base_url: str,
        changed: Callable[[str, bool], None] = lambda _id, _urgent: None,
        bounds: Bounds | None = None,
    ) -> None:
        self.store = store
        self.numbers = numbers
        self.versions = versions
        self.new_id = new_id
        self.base_url = base_url
        self.changed = changed  # told of every change: wakes the scheduler, stops a fan-out under way
        self.bounds = bounds

    # -------------------------------------------------------------- before the first write

    def check(self, plan: Plan, volumes: Mapping[str, float] | None = None) -> Preflight:
        """Pre-flight against the live numbers; writes nothing."""
        listed = [n for n in plan.numbers if isinstance(n, str)]
        driven, bounds = self.store.drivers(listed), self.bounds
        found = preflight(plan, self.numbers, self.versions, driven, volumes=volumes, bounds=bounds)
        others = self.store.drivers([t.number for t in found.targets if t.number not in listed])
        if others:
            taken = tuple(f"{n} is already driven by {name} ({id_})" for n, (id_, name) in others.items())
            found = replace(found, problems=(*found.problems, *taken))
        return found

    def start(
        self, plan: Plan, by: By, *, at: datetime | None = None, strict: bool = False
    ) -> dict[str, Any]:
        """Records a rollout of this plan, after pre-flight; {"id", "warnings"}. Refused changes nothing."""
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
        id_ = self.new_id()

        def make(now: datetime) -> tuple[Rollout, Entry]:
            # A later start reads its numbers again when it begins: the baseline is what they serve then.
            rollout = Rollout(
                id=id_, name=plan.name, plan=plan, phase=Phase.PENDING, reason=None, position=Position(1, 1),
                epoch=0, created_at=now, updated_at=now, start_at=start_at, due_at=now,
                targets=() if later else found.targets, base_url=self.base_url, created_by=by.actor,
                seed=plan.seed or 0, why="waiting for the service", next="step 1.1",
            )  # fmt: skip
            return rollout, Entry("created", by.actor, by.reason, {"warnings": list(found.warnings)})

        answer = self.store.create(make, request, {"warnings": list(found.warnings)})
        self.changed(answer["id"], False)
        return answer

    # -------------------------------------------------------------- on the way

    def promote(
        self, id_: str, by: By, *, expect: Position | None = None, full: bool = False
    ) -> dict[str, Any]:
        """Go to the next step now, or with `full` to the last; in the last step, end its bake."""

        def decide(r: Rollout, now: datetime) -> Decision:
            phase = after(r.phase, Event.PROMOTE_ASKED)
            _expect(r, expect)
            goal = r.last_position if full else r.next_position
            values: dict[str, Any] = {"phase": phase}
            if r.plan.retreat is not None:
                values["raised_at"] = now  # a person is not turned back before the next opening
                if r.retreated is not None:
                    values |= {"retreated": None, "turning_since": now}
            if r.confirmed_at is None and r.retreated is not None and (not full or goal == r.position):
                # It was closed before its step was confirmed; to go on is to write that step now.
                goal = r.position
                what = f"step {r.position} is written now"
            elif r.confirmed_at is None and not full:
                raise Refused(
                    f"step {r.position} is still being written: wait until it is confirmed", **where(r)
                )
            elif goal is None or goal == r.position:
                if r.promote_asked or r.confirmed_at is None:
                    raise Refused(f"step {r.position} is the last one and is already being ended", **where(r))
                values["promote_asked"] = True
                what = f"the bake of step {r.position} is ended"
            else:
                values |= {"wave": goal.wave, "step": goal.step, "confirmed_at": None}
                values |= r.cleared("stood", "back_at")
                what = f"from {r.position} to {goal}"
            data = {"from": str(r.position), "to": str(goal or r.position), "full": full}
            return (
                Change(rollout=values),
                Entry("promote", by.actor, by.reason, data),
                f"promoted by a person: {what}",
            )

        return self._change(id_, decide, by.request("promote", id_, expect, full))

    def pause(self, id_: str, by: By, *, expect: Position | None = None) -> dict[str, Any]:
        """Hold where it stands. Gates go on watching."""

        def decide(r: Rollout, now: datetime) -> Decision | None:
            if r.phase is Phase.PAUSED and expect is None:
                return None
            phase = after(r.phase, Event.PAUSE_ASKED)
            _expect(r, expect)
            values = {"phase": phase, "reason": by.reason or None, "resume_phase": r.phase}
            return Change(rollout=values), Entry("pause", by.actor, by.reason, where(r)), "paused by a person"

        return self._change(id_, decide, by.request("pause", id_, expect))

    def resume(self, id_: str, by: By, *, expect: Position | None = None) -> dict[str, Any]:
        """Go on after a pause. After a failed gate this overrides that failure."""

        def decide(r: Rollout, now: datetime) -> Decision:
            unstarted = r.phase is Phase.PAUSED and r.started_at is None
            phase = after(r.phase, Event.RESUME_PENDING_ASKED if unstarted else Event.RESUME_ASKED)
            _expect(r, expect)
            if r.stop_asked:
                raise Refused("it is being stopped", **where(r))
            values: dict[str, Any] = {"phase": phase, "reason": None}
            if r.verdict is not None and r.verdict.get("outcome") == "fail":
                values["waived"] = True
            return (
                Change(rollout=values),
                Entry("resume", by.actor, by.reason, where(r)),
                "resumed by a person",
            )

        return self._change(id_, decide, by.request("resume", id_, expect))

    def stop(self, id_: str, by: By, *, expect: Position | None = None) -> dict[str, Any]:
        """End it and leave the split as it is."""

        def decide(r: Rollout, now: datetime) -> Decision | None:
            if r.phase is Phase.STOPPED:
                return None
            phase = after(r.phase, Event.STOP_ASKED)
            _expect(r, expect)
            why = by.reason or "stopped by a person"
            values: dict[str, Any] = {"phase": phase, "reason": why, "stop_asked": phase.is_live}
            if phase.is_live and not r.open_writes(now):
                # Nothing is in flight: it ends at once, and not at the next tick.
                values |= {"phase": after(phase, Event.ENDED), "stop_asked": False}
            return Change(rollout=values), Entry("stop", by.actor, by.reason, where(r)), why

        return self._change(id_, decide, by.request("stop", id_, expect))

    # -------------------------------------------------------------- answers to drift

    def adopt(self, id_: str, by: By, *, expect: Position | None = None) -> dict[str, Any]:
        """Take the live split of every number as ours, and go on."""
        live = self._live(id_, Event.ADOPT_ASKED)

        def decide(r: Rollout, now: datetime) -> Decision:
            phase = after(r.phase, Event.ADOPT_PAUSED_ASKED if _was_paused(r) else Event.ADOPT_ASKED)
            _expect(r, expect)
            targets: dict[str, dict[str, Any]] = {}
            for target in r.targets:
                reading = live[target.number]
                lists = {field: reading.lists.get(field) for field in target.baseline}
                empty = [field for field, entries in lists.items() if not entries]
                if empty:
                    raise Refused(
                        f"{target.number} has no {empty[0]} now: there is nothing to adopt", **where(r)
                    )
                targets[target.number] = {
                    "split": lists, "modified": reading.modified, "others": others_of(reading, lists), "live": lists,
                    "live_at": now, **(_adopted(r, target) if target.written else r.standing(target.step)),
                    "state": TargetState.CONFIRMED if target.written else TargetState.UNTOUCHED,
                }  # fmt: skip
            values: dict[str, Any] = {
                "phase": phase,
                "reason": None,
                "deadline_at": None,
            }
            if r.reason == "split":
                values["split_waived"] = True
            if r.reason != "deadline":
                values.pop("deadline_at")
            data = {**where(r), "lists": {n: t["split"] for n, t in targets.items()}}
            return (
                Change(rollout=values, targets=targets),
                Entry("adopt", by.actor, by.reason, data),
                "the live split was adopted by a person",
            )

        return self._change(id_, decide, by.request("adopt", id_, expect))

    def restore(self, id_: str, by: By, *, expect: Position | None = None) -> dict[str, Any]:
        """Write our split again over what the numbers show now, and go on."""
        live = self._live(id_, Event.RESTORE_ASKED)

        def decide(r: Rollout, now: datetime) -> Decision:
            paused = _was_paused(r)
            phase = after(r.phase, Event.RESTORE_PAUSED_ASKED if paused else Event.RESTORE_ASKED)
            _expect(r, expect)
            targets: dict[str, dict[str, Any]] = {}
            for target in r.targets:
                reading = live[target.number]
                lists = {field: reading.lists.get(field) for field in target.baseline}
                # What is live now is what the pre-read must find; the step below says that ours is missing.
                values = {"split": lists, "modified": reading.modified, "others": others_of(reading, lists)}
                if target.state in (TargetState.DRIFTED, TargetState.TOUCHED, TargetState.REJECTED):
                    targets[target.number] = {
                        **values, "step": -1, "state": TargetState.CONFIRMED if target.written else TargetState.UNTOUCHED,
                    }  # fmt: skip
            values = {"phase": phase, "reason": None, "confirmed_at": None}
            if r.retreated is not None:
                values["turning_since"] = now  # the retreat weight has to be read back anew
            return (
                Change(rollout=values, targets=targets),
                Entry("restore", by.actor, by.reason, where(r)),
                "a person asked to write our split again",
            )

        return self._change(id_, decide, by.request("restore", id_, expect))

    def _live(self, id_: str, event: Event) -> dict[str, Reading]:
        rollout, _ = self.store.load(id_)
        after(rollout.phase, event)
        numbers = [t.number for t in rollout.targets]
        with self.numbers.lane(numbers) as lane:
            got = lane.read(numbers)
        for number, reading in got.items():
            if not isinstance(reading, Reading):
                raise NotReachable(f"{number} cannot be read: {reading.detail}")
        return {n: r for n, r in got.items() if isinstance(r, Reading)}

    # -------------------------------------------------------------- rollback

    def rollback(self, id_: str, by: By) -> dict[str, Any]:
        """Commit the desired state: every baseline back. Always wins, needs no expected state."""

        def decide(r: Rollout, now: datetime) -> Decision | None:
            if r.phase is Phase.ROLLED_BACK:
                return None
            if r.phase in (Phase.PROMOTED, Phase.STOPPED) and now > r.updated_at + KEEP_BASELINE:
                raise Refused(
                    f"it ended as {r.phase} more than 30 days ago: its baseline is no longer kept", **where(r)
                )
            if r.phase is Phase.STOPPED and not r.written:
                return None
            phase = after(r.phase, Event.ROLLBACK_ASKED)
            values: dict[str, Any] = {"phase": phase, "stop_asked": False}
            if r.phase is not Phase.ROLLING_BACK:
                values |= {
                    "rollback_at": now,
                    "restored_at": None,
                    "reason": by.reason or "rolled back by a person",
                }
            targets = {
                t.number: {"state": TargetState.CONFIRMED}
                for t in r.written
                if r.phase.is_final
                and t.state in (TargetState.RESTORED, TargetState.FOREIGN, TargetState.SUPERSEDED)
            }
            return (
                Change(rollout=values, targets=targets),
                Entry("rollback", by.actor, by.reason, where(r)),
                "rollback ordered by a person",
            )

        return self._change(id_, decide, by.request("rollback", id_), urgent=True)

    # -------------------------------------------------------------- finding the rollout that is meant

    def resolve(self, text: str) -> str:
        """A rollout's id from an id or the name of its newest live (or newest) rollout."""
        try:
            self.store.load(text)
        except UnknownRollout:
            named = self.store.by_name(text)
            live = [r for r in named if r.phase.is_live] or named
            if not live:
                raise
            return live[0].id
        return text

    def on_number(self, number: str) -> str:
        """The rollout a rollback of this number means: the one that drives it, else the newest that wrote it."""
        driving = self.store.drivers([number])
        if number in driving:
            return driving[number][0]
        for id_ in self.store.on_number(number):
            rollout, _ = self.store.load(id_)
            target = rollout.by_number.get(number)
            if target is not None and target.written and allows(rollout.phase, Event.ROLLBACK_ASKED):
                return id_
        raise UnknownRollout(f"no rollout has written {number}", number=number)

    # -------------------------------------------------------------- plumbing

    def _change(
        self,
        id_: str,
        decide: Callable[[Rollout, datetime], Decision | None],
        request: Request | None,
        urgent: bool = False,
    ) -> dict[str, Any]:
        answer = self.store.change(id_, decide, where, request, urgent=urgent)
        self.changed(id_, urgent)
        return answer


def where(r: Rollout) -> dict[str, Any]:
    """Where a rollout stands, for answers and refusals."""
    return {
        "id": r.id,
        "phase": str(r.phase),
        "reason": r.reason,
        "position": {"wave": r.position.wave, "step": r.position.step},
        "epoch": r.epoch,
    }


def parse_position(text: str) -> Position:
    """WAVE.STEP as people write it; a plain STEP means the first wave."""
    wave, _, step = text.rpartition(".")
    if not step.isdigit() or (wave and not wave.isdigit()) or int(step) < 1 or (wave and int(wave) < 1):
        raise InputError(f"expect: {text} is not a position; write WAVE.STEP, for example 1.2")
    return Position(int(wave or 1), int(step))


def _adopted(r: Rollout, target: Target) -> dict[str, Any]:
    """Where a target stands whose live split was adopted: where it is wanted, and not behind where it was."""
    step, retreated = r.wanted(target)
    return r.standing(max(target.step, step), retreated)


def _was_paused(r: Rollout) -> bool:
    """Whether an answer leads back to paused: also before the start, which only `resume` goes on to."""
    return r.resume_phase is Phase.PAUSED or r.started_at is None


def _expect(r: Rollout, expect: Position | None) -> None:
    if expect is not None and expect != r.position:
        raise StaleExpectation(
            f"you expected it at {expect}, and it stands at {r.position} ({r.phase}); nothing was changed",
            **where(r),
        )
