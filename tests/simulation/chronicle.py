"""One rollout's journal, walked from its beginning: what each entry claims is held against what happened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rollout.adapters.store.journal import RecordedEntry
from rollout.adapters.store.rebuild import Rebuilt
from rollout.domain.lifecycle.changes import Change
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Kind, Position, Rollout, TargetState, Write
from rollout.domain.writes.protocol import lists_with, shows, shows_baseline

from .processes import Simulation
from .remote import Message, State

FOREVER = float("inf")
_ANSWERS = frozenset({"adopt", "restore"})  # a person's answers to drift
_DECISIONS = frozenset({"decision_kept", "decision_paused"})
_BY_HAND = frozenset({"set", "shipped"})  # weights that a person wants in place of the position's


@dataclass
class Chronicle:
    """What the walk found. Times are seconds of the world."""

    rollout: Rollout
    faults: list[str] = field(default_factory=list)
    finals: list[tuple[Phase, float, float]] = field(default_factory=list)
    undoing: list[tuple[float, float]] = field(default_factory=list)
    driven: list[tuple[str, float, float]] = field(default_factory=list)
    states: dict[str, list[tuple[float, str]]] = field(default_factory=dict)

    def messages(self, sim: Simulation) -> Iterator[Message]:
        for message in sim.remote.messages:
            if message.intent is not None and message.intent["rollout_id"] == self.rollout.id:
                yield message

    def state_at(self, number: str, at: float) -> str:
        """The recorded state of a target at a moment."""
        found = ""
        for since, state in self.states.get(number, ()):
            if since <= at:
                found = state
        return found


def chronicle(sim: Simulation, rollout: Rollout, entries: Sequence[RecordedEntry]) -> Chronicle:
    """Walks the entries; see the module."""
    return _Walk(sim, rollout).all(entries)


class _Walk:
    def __init__(self, sim: Simulation, rollout: Rollout) -> None:
        self.sim, self.story = sim, Chronicle(rollout)
        self.table = Rebuilt()
        self.answered_at = -1.0  # when a person last answered drift, or set weights by hand
        self.shipped_at = -1.0  # when a person, or the plan, gave a version every call
        self.adopted = False  # the last such answer took the live split as ours
        self.confirmed: dict[Position, float] = {}
        self.stood = 0.0  # seconds that the position has stood at its own weights, before `up_since`
        self.up_since: float | None = None  # None: they are not what was read back last
        self.skipped = False
        self.again = 0.0  # when the time until the plan's decision last counted anew, after its step was confirmed
        self.since: dict[str, float] = {}
        self.final: tuple[Phase, float] | None = None
        self.undo: float | None = None

    def all(self, entries: Sequence[RecordedEntry]) -> Chronicle:
        for entry in entries:
            self.one(entry)
        self._phase(None, FOREVER)
        return self.story

    def fault(self, what: str) -> None:
        self.story.faults.append(what)

    def one(self, entry: RecordedEntry) -> None:
        at = self.sim.world.seconds(entry.at)
        data = entry.data
        name = f"{entry.rollout_id} entry {entry.seq} ({entry.kind})"
        if not entry.actor or not entry.kind:
            self.fault(f"I15: {name} has no actor")
        change = Change.from_json(data.get("change", {}))
        before = self.table.rollout.get("phase")
        position = Position(self.table.rollout.get("wave", 1), self.table.rollout.get("step", 1))
        for write in change.new_writes:
            self._intent(name, write, before, at)
        by_plan = entry.actor == "service"
        if entry.kind in (*_ANSWERS, *_BY_HAND) and not by_plan:
            self.answered_at, self.adopted = at, entry.kind == "adopt"
        if entry.kind in (*_BY_HAND, *_DECISIONS):
            self.sim.world.faults[f"{'by plan' if by_plan else 'by hand'}: {entry.kind}"] += 1
        if entry.kind == "shipped":
            self.skipped, self.shipped_at = True, at
        if by_plan and (entry.kind in (*_BY_HAND, *_DECISIONS) or entry.reason.startswith("decided by the plan")):
            self._decided(name, entry.kind, position, at)
        if entry.kind == "confirmed":
            self._confirmed(name, position, self.sim.world.seconds(change.rollout["confirmed_at"]))
        if entry.kind == "held":
            self._held(name, data)
        if entry.kind in ("advanced", "completed"):
            self._counted(name, at)
            self._hold(name, entry, position, at, data)
        if entry.kind == "retreated":
            self._down(at)
        if entry.kind == "reached" and data.get("retreated") is None:
            self.up_since = self.sim.world.seconds(change.rollout["back_at"])
        if entry.kind in ("retreated", "returned"):
            self._closing(name, entry.kind, at)
        if entry.kind == "promote":
            self.skipped = self.skipped or bool(data.get("full"))
        said = (data.get("verdict") or {}).get("outcome")
        if entry.kind == "failed" and said in ("undecided", "unmeasurable") and "gates say" in entry.reason:
            self.fault(f"M1: {name}: rolled back on a verdict that is {said}")
        if entry.kind == "confirmed":
            self._as_wanted(name, data)
        if change.rollout.get("back_at") is not None:
            self.again = self.sim.world.seconds(change.rollout["back_at"])
        if entry.kind not in _ANSWERS:
            for number, values in change.targets.items():
                self._observed(name, number, values, at)
                self._drift(number, values, change)
        self.table.take(entry)
        for number, target in self.table.targets.items():
            self.story.states.setdefault(number, []).append((at, str(target["state"])))
        if entry.kind == "created" or "phase" in change.rollout or data.get("targets"):
            if entry.actor == "service" and "phase" in change.rollout and not entry.reason:
                self.fault(f"I15: {name} changes the phase without a reason")
            self._phase(Phase(self.table.rollout["phase"]), at)

    # -------------------------------------------------------------- forward intents: I6, I9, I13

    def _intent(self, name: str, write: Write, phase: Any, at: float) -> None:
        if write.kind is not Kind.FORWARD:
            return
        remote = self.sim.remote
        if phase not in (Phase.PROGRESSING, Phase.PROMOTED):
            self.fault(f"I6: {name}: a forward intent while {phase}")
        self._weight(name, write)
        number, known = remote.numbers[write.number], self.table.targets[write.number]
        claimed = self.sim.claims[write.rollout_id, write.epoch]
        since = claimed - self.sim.world.weather.bounds.staleness
        # Another field's edit moves the stamp again, and Retell's clock may jump: the older of the two counts.
        hand = next(s for s in reversed(number.states) if s.edit != "other" and s.at <= max(since, 0.0))
        stamp = min(hand.modified, number.at(since).modified)
        if hand.author not in ("service", "start") and stamp > known["modified"]:
            self.fault(f"I9: {name}: a forward intent over an edit of {write.number} at {hand.at:.1f} s")
        edits = self._foreign(write.number, since, at)
        # The same lists as those that a person has answered are no new edit.
        if edits and not any(
            shows_baseline(s.lists, known["baseline"]) or shows(s.lists, known["split"]) for s in edits
        ):
            self.fault(f"I9: {name}: a forward intent over a split that is not ours on {write.number}")
        for entries in known["baseline"].values():
            for entry in entries:
                if remote.gone((entry["agent_id"], entry["agent_version"]), claimed - 60, at):
                    self.fault(f"I13: {name}: a forward step without a rollback target")

    def _foreign(self, number: str, since: float, until: float) -> list[State]:
        """The lists that a reading in this time can have shown, if all are another hand's and unanswered; else none."""
        states = [s for s in self.sim.remote.numbers[number].states if s.edit not in ("other", "touch")]
        seen = [s for s in states if s.at <= since][-1:] + [s for s in states if since < s.at <= until]
        answered = max(self.answered_at, 0.0)
        return seen if all(s.edit == "lists" and s.at > answered for s in seen) else []

    def _counted(self, name: str, at: float) -> None:
        """No step is counted over an edit that every reading since the claim shows."""
        id_ = self.story.rollout.id
        claimed = max(t for (of, _), t in self.sim.claims.items() if of == id_ and t <= at)
        since = claimed - self.sim.world.weather.bounds.staleness
        for number, known in self.table.targets.items():
            edits = self._foreign(number, since, at)
            if edits and not any(shows(s.lists, known["split"]) for s in edits):
                self.fault(f"I9: {name}: a step is counted over an edit of {number} at {edits[0].at:.1f} s")

    def _held(self, name: str, data: Mapping[str, Any]) -> None:
        """What another hand wrote is answered at a position that was in force, or was being written.

        In force without being confirmed is one whose weights every number has by writes of a later one: a promotion to
        the end that had got no further.
        """
        if data.get("reason") not in ("drift", "touched") or not self.confirmed:
            return
        wave, step = (int(part) for part in str(data["position"]).split("."))
        begun = any((w["wave"], self._plan_step(w["step"])) == (wave, step) for w in self.table.writes.values())
        again = any(t["step"] == -1 for t in self.table.targets.values())
        last = self.story.rollout.plan.last_step
        live = all(
            self._plan_step(t["step"]) == (last if t["wave"] < wave else step if t["wave"] == wave else 0)
            for t in self.table.targets.values()
        )
        if Position(wave, step) not in self.confirmed and not begun and not again and not live:
            self.fault(f"I7: {name}: held at {wave}.{step}, which was never in force")

    # -------------------------------------------------------------- closing time

    def _weight(self, name: str, write: Write) -> None:
        """What a forward intent writes is what closing or opening time wants: no more by night, no less by day."""
        wanted = self.table.rollout.get("retreated")
        points = sum(self._weights(write.step).values())
        above = wanted is not None and points > wanted
        if write.retreated != (wanted if above else None):
            self.fault(f"C1: {name}: an intent at {write.retreated} while {wanted} is wanted")

    # -------------------------------------------------------------- weights by hand

    def _by_hand(self, step: int) -> Mapping[str, Any] | None:
        """The split of a person that a step behind the plan's last one stands for."""
        number = step - self.story.rollout.plan.last_step
        found: Mapping[str, Any] | None = self.table.rollout["by_hand"][number - 1] if number > 0 else None
        return found

    def _step(self) -> int:
        """The step that is wanted now: the position's, or a person's split."""
        number = self.table.rollout.get("hand_split")
        return int(self.table.rollout.get("step", 1)) if number is None else self.story.rollout.plan.last_step + number

    def _plan_step(self, step: int) -> int:
        split = self._by_hand(step)
        return step if split is None else int(split["step"])

    def _weights(self, step: int) -> Mapping[str, int]:
        """Basis points by arm; none at step 0: `restore` of a later wave."""
        split = self._by_hand(step)
        if split is not None:
            return dict(split["weights"])
        return self.story.rollout.plan.weights(step) if step else {}

    def _as_wanted(self, name: str, data: Mapping[str, Any]) -> None:
        """What is confirmed is the last split that a person asked for, where one stands: on its wave, shipped on all."""
        number = self.table.rollout.get("hand_split")
        said = (data.get("by_hand") or {}).get("number")
        if number != said:
            self.fault(f"S1: {name}: confirms split {said} while {number} is wanted")
        if number is None or self.table.rollout.get("retreated") is not None:
            return
        split = self.table.rollout["by_hand"][number - 1]
        for number_, target in self.table.targets.items():
            if split.get("ships") is None and target["wave"] != self.table.rollout["wave"]:
                continue
            if target["step"] != self.story.rollout.plan.last_step + number:
                self.fault(f"S1: {name}: {number_} is at step {target['step']} and not at a person's split {number}")
            wanted = lists_with(self.story.rollout.plan, target["baseline"], split["weights"])
            if not self.adopted and not shows(target["split"], wanted):
                self.fault(f"S1: {name}: {number_} was confirmed at {target['split']}")

    def _closing(self, name: str, kind: str, at: float) -> None:
        """Nothing retreats while it is open all along, nor returns while it is closed all along."""
        self.sim.world.faults[f"closing time: {kind}"] += 1
        closed = [s for s in self.sim.calendar.closed if s[0] <= at + 600 and s[1] > at - 600]
        if kind == "retreated" and not closed:
            self.fault(f"C2: {name}: nothing is closed near {at:.1f} s")

    def _down(self, at: float) -> None:
        if self.up_since is not None:
            self.stood += at - self.up_since
        self.up_since = None

    # -------------------------------------------------------------- what was recorded as seen: I8

    def _observed(self, name: str, number: str, values: Mapping[str, Any], at: float) -> None:
        if values.get("state") not in (TargetState.CONFIRMED, TargetState.RESTORED) or "split" not in values:
            return
        if values.get("step", 0) < 0:
            return
        # A process that was stopped for long records what it read before later intents.
        read = self.sim.world.seconds(values["live_at"]) if values.get("live_at") else at
        writes = [
            w
            for w in self.table.writes.values()
            if w["number"] == number
            and w["kind"] == ("forward" if values.get("step") else "baseline")
            and self.sim.world.seconds(w["intent_at"]) <= read
        ]
        since = self.sim.world.seconds(writes[-1]["intent_at"]) if writes else 0.0
        if not writes and values.get("step"):
            self.fault(f"I8: {name}: {number} confirmed without any intent")
        known = self.sim.remote.numbers[number]
        seen = [s for s in known.states if since <= s.at <= at]
        # Without a change since the intent, what it showed at the intent is what was seen.
        if not any(shows(s.lists, values["split"]) for s in (*seen, known.at(since))):
            self.fault(f"I8: {name}: {number} never showed the split recorded as seen")

    def _drift(self, number: str, values: Mapping[str, Any], change: Change) -> None:
        """Counts what was found: before a write of ours was sent, instead of one (412), or after one."""
        if values.get("state") != TargetState.DRIFTED or self.table.targets[number]["state"] == TargetState.DRIFTED:
            return
        id_, last = next(((i, w) for i, w in reversed(self.table.writes.items()) if w["number"] == number), ("", {}))
        settled = last | (change.writes[id_].columns() if id_ in change.writes else {})
        under_way = bool(last) and last["outcome"] is None
        when = (
            "instead of a write (412)"
            if settled.get("answered") == 412
            else "after a write"
            if under_way
            else "before a write"
        )
        self.sim.world.faults[f"drift: found {when}"] += 1

    # -------------------------------------------------------------- steps: I7, holds, gates

    def _confirmed(self, name: str, position: Position, at: float) -> None:
        reached = max(self.confirmed, default=Position(1, 0))
        again = position in self.confirmed and self.confirmed[position] < max(self.answered_at, self.shipped_at)
        if position in self.confirmed and not again:
            self.fault(f"I7: {name}: {position} is confirmed twice")
        if position < reached:
            self.fault(f"I7: {name}: {position} is confirmed after {reached}")
        follows = (reached.wave, reached.step + 1), (reached.wave + 1, 1)
        if not again and not self.skipped and tuple(position) not in follows:
            self.fault(f"I7: {name}: {position} is confirmed after {reached}: a step is missing")
        self.skipped = False
        self.confirmed[position] = at
        self.stood, self.up_since = 0.0, at

    def _hold(self, name: str, entry: RecordedEntry, position: Position, at: float, data: Mapping[str, Any]) -> None:
        promoted = "was promoted" in entry.reason or self.table.rollout.get("promote_asked")
        confirmed = self.confirmed.get(position)
        if confirmed is None:
            self.fault(f"I7: {name}: goes on from {position}, which was never confirmed")
            return
        hold = self.story.rollout.plan.hold(position.step).seconds
        if self.up_since is None:
            self.fault(f"C3: {name}: goes on from {position} while its weights are not in force")
            return
        stood = self.stood + at - self.up_since
        if not promoted and stood < hold - 1e-6:
            self.fault(f"hold: {name}: {position} was stood for {stood:.1f} s, of {hold:g} s")
        if promoted:
            return
        split = self._by_hand(self._step())
        if entry.kind == "completed" and split is not None and split.get("ships") is None:
            self.fault(f"S2: {name}: weights by hand end the rollout without a person")
        verdict = data.get("verdict")
        if verdict is not None and verdict["outcome"] != "pass" and not self.table.rollout.get("waived"):
            self.fault(f"M1: {name}: goes on with a verdict that is {verdict['outcome']}")
        if self.story.rollout.plan.steps[position.step - 1].approve and (split is None or split.get("ships") is None):
            self.fault(f"approve: {name}: goes on without a person's approval")

    def _decided(self, name: str, kind: str, position: Position, at: float) -> None:
        """A plan decides in its last step, no sooner than it says, and ships nothing over another hand's edit."""
        plan = self.story.rollout.plan
        assert plan.decide is not None
        if position != self.story.rollout.last_position or position not in self.confirmed:
            self.fault(f"D1: {name}: decided at {position}")
            return
        tested = at - max(self.confirmed[position], self.again)
        if tested < plan.decide.after.total_seconds() - 1e-6:
            self.fault(f"D2: {name}: decided after {tested:.1f} s, of {plan.decide.after}")
        if kind == "shipped":
            self._counted(name, at)

    # -------------------------------------------------------------- phases

    def _phase(self, phase: Phase | None, at: float) -> None:
        if self.final is not None and phase is not self.final[0]:
            self.story.finals.append((self.final[0], self.final[1], at))
            self.final = None
        if self.undo is not None and phase is not Phase.ROLLING_BACK:
            self.story.undoing.append((self.undo, at))
            self.undo = None
        if phase is not None and phase.is_final and self.final is None:
            self.final = (phase, at)
        if phase is Phase.ROLLING_BACK and self.undo is None:
            self.undo = at
        driven = {n for n, t in self.table.targets.items() if t["driven"]} if phase is not None else set()
        for number in sorted(self.since.keys() - driven):
            self.story.driven.append((number, self.since.pop(number), at))
        for number in sorted(driven - self.since.keys()):
            self.since[number] = at
