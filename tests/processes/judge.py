"""Holds what the provider saw against the store and the journal: the invariants, checked from outside.

Every function returns sentences about what is wrong; empty means that nothing is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from rollout.adapters.store.audit import audit
from rollout.adapters.store.tables import writes as writes_table
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.writes.protocol import lists_at, shows
from tests.processes.stage import Stage

FINAL = ("promoted", "rolled_back", "stopped")
# The sandbox counts whole milliseconds, and its clock is read at another moment than the store's.
_TOLERANCE = timedelta(milliseconds=5)


def judge(stage: Stage, ids: Sequence[str], *, at_rest: bool = True, hold: float = 0.0) -> list[str]:
    """Everything that is wrong with these rollouts. `hold`: seconds that each step must have stood."""
    faults, _ = audit(stage.app.store.database)
    for id_ in ids:
        rollout = stage.load(id_)
        found = (
            _covered(stage, rollout)
            + _one_forward_in_flight(stage, rollout)
            + _in_order(stage, rollout)
            + _confirmed_once(stage, rollout)
            + _not_early(stage, rollout, hold)
            + _nothing_forward_after_rollback(stage, rollout)
            + (_rests(stage, rollout) if at_rest else [])
        )
        faults += [f"{id_}: {fault}" for fault in found]
    return faults


def judge_by_hand(stage: Stage, r: Rollout) -> list[str]:
    """As `judge`, of a rollout whose splits are not the plan's: what does not depend on the order of its steps."""
    faults, _ = audit(stage.app.store.database)
    return [*faults, *_covered(stage, r), *_one_forward_in_flight(stage, r), *_nothing_forward_after_rollback(stage, r)]


def changes(stage: Stage, r: Rollout, number: str) -> list[dict[str, Any]]:
    """The lists of the plan's channels that each PATCH made live, in order."""
    fields = r.by_number[number].baseline
    return [{f: state[f] for f in fields} for state in stage.sandbox.history(number) if state["by"] == "patch"]


def writes_of(stage: Stage, id_: str) -> list[Any]:
    """The intents of one rollout, oldest first."""
    w = writes_table
    with stage.app.database.read() as connection:
        query = select(w).where(w.c.rollout_id == id_).order_by(w.c.intent_at, w.c.id)
        return list(connection.execute(query))


def patches_of(stage: Stage, number: str) -> list[dict[str, Any]]:
    """The PATCHes of one number that the provider received, in order."""
    return [e for e in stage.sandbox.log(number=number, method="PATCH") if json.loads(e["body"] or "null")]


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _covered(stage: Stage, r: Rollout) -> list[str]:
    """I1 and I16: every PATCH has an intent of its own, recorded before, with the very same body."""
    faults = []
    intents = writes_of(stage, r.id)
    fields = {f"{channel}_agents" for channel in r.plan.channels}
    for target in r.targets:
        free = [w for w in intents if w.number == target.number]
        for patch in patches_of(stage, target.number):
            if set(json.loads(patch["body"])) != fields:
                faults.append(f"{target.number}: a PATCH wrote {sorted(json.loads(patch['body']))}")
            at = _moment(patch["wall"]) + _TOLERANCE
            mine = next((w for w in free if w.body == patch["body"] and w.intent_at <= at), None)
            if mine is None:
                faults.append(f"{target.number}: PATCH {patch['seq']} has no intent: {patch['body']}")
            else:
                free.remove(mine)
    return faults


def _one_forward_in_flight(stage: Stage, r: Rollout) -> list[str]:
    """I2: no forward intent while an earlier write on the number may still take effect."""
    faults = []
    for target in r.targets:
        mine = [w for w in writes_of(stage, r.id) if w.number == target.number]
        for i, write in enumerate(mine):
            if write.kind == "forward" and any(
                e.outcome is None or (e.outcome == "applied" and e.horizon_until > write.intent_at)
                for e in mine[:i]
                if e.kind == "forward"
            ):
                faults.append(f"{target.number}: forward intent {write.id} beside an open one")
    return faults


def _steps_seen(stage: Stage, r: Rollout, number: str) -> list[tuple[int, dict[str, Any]]]:
    """(step, state) for every split that a PATCH made live; 0 is the baseline, -1 is none of ours."""
    target = r.by_number[number]
    seen = []
    for state in stage.sandbox.history(number):
        if state["by"] != "patch":
            continue
        lists = {field: state[field] for field in target.baseline}
        steps = range(r.plan.last_step + 1)
        seen.append((next((s for s in steps if shows(lists, lists_at(r.plan, target.baseline, s))), -1), state))
    return seen


def _in_order(stage: Stage, r: Rollout) -> list[str]:
    """I7 as callers saw it: each step live once, in order; after a baseline at most one late one (I10)."""
    faults = []
    for target in r.targets:
        steps = [step for step, _ in _steps_seen(stage, r, target.number)]
        back = steps.index(0) if 0 in steps else len(steps)
        if steps[:back] != list(range(1, back + 1)):
            faults.append(f"{target.number}: the steps came as {steps}")
        if sum(1 for step in steps[back:] if step != 0) > 1:
            faults.append(f"{target.number}: the rollback was overtaken more than once: {steps}")
        if r.phase == "promoted" and steps != list(range(1, r.plan.last_step + 1)):
            faults.append(f"{target.number}: promoted, and the steps came as {steps}")
    return faults


def _confirmed_once(stage: Stage, r: Rollout) -> list[str]:
    """I7 as the journal has it: every position confirmed once, in order, each entry once.

    `restore` asks for the position to be written, and confirmed, again.
    """
    entries = stage.app.store.history(r.id)
    positions: list[str] = []
    for entry in entries:
        if entry.kind == "confirmed":
            positions.append(entry.data["position"])
        elif (
            entry.kind == "restore" and positions and positions[-1] == "{wave}.{step}".format(**entry.data["position"])
        ):
            positions.pop()
    faults = [] if positions == sorted(set(positions)) else [f"confirmed in the order {positions}"]
    for kind in ("created", "begun", "completed"):
        if sum(1 for e in entries if e.kind == kind) > 1:
            faults.append(f"the journal has {kind!r} more than once")
    return faults


def _not_early(stage: Stage, r: Rollout, hold: float) -> list[str]:
    """No step before the one before it stood its hold on every number."""
    faults = []
    applied: dict[int, list[int]] = {}
    received: dict[int, list[int]] = {}
    for target in r.targets:
        log = {e["seq"]: e for e in stage.sandbox.log(number=target.number, method="PATCH")}
        for step, state in _steps_seen(stage, r, target.number):
            applied.setdefault(step, []).append(state["from"])
            if state["seq"] in log:
                received.setdefault(step, []).append(log[state["seq"]]["at"])
    for step in range(2, r.plan.last_step + 1):
        if step in received and step - 1 in applied:
            stood = (min(received[step]) - max(applied[step - 1])) / 1000
            if stood < hold - 0.005:
                faults.append(f"step {step} came {stood:.3f} s after step {step - 1}, whose hold is {hold} s")
    return faults


def _nothing_forward_after_rollback(stage: Stage, r: Rollout) -> list[str]:
    """I6: once a rollback is recorded, no forward intent is."""
    ordered = False
    for entry in stage.app.store.history(r.id):
        if entry.kind == "rollback" or (entry.kind == "failed" and r.phase != "paused"):
            ordered = True
        new = entry.data.get("change", {}).get("new_writes", ()) if ordered else ()
        if any(w["kind"] == "forward" for w in new):
            return [f"entry {entry.seq} intends a forward write after the rollback was ordered"]
    return []


def _rests(stage: Stage, r: Rollout) -> list[str]:
    """I4 and I5: at its end the number serves what was last confirmed, and rolled back means the baseline."""
    if r.phase not in FINAL:
        tail = [(e.kind, e.reason) for e in stage.app.store.history(r.id)[-6:]]
        return [f"is {r.phase} ({r.reason}), {r.why!r}, epoch {r.epoch}, due {r.due_at}, after {tail}"]
    faults = []
    for target in r.targets:
        live = stage.sandbox.number(target.number).state.fields
        if r.phase == "rolled_back":
            wanted: Mapping[str, Any] = target.baseline
            right = all(live.get(field) == entries for field, entries in wanted.items())
        else:
            step = r.plan.last_step if r.phase == "promoted" else target.step
            wanted = lists_at(r.plan, target.baseline, step)
            right = shows(live, wanted)
        if not right:
            faults.append(f"{r.phase}, and {target.number} serves {live.get('inbound_agents')}, not {wanted}")
    return faults
