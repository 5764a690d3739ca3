"""The judgement on a history that has ended: the invariants of the design, on remote, store and journal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise

from rollout.adapters.store import journal
from rollout.adapters.store.queries import load
from rollout.adapters.store.rebuild import differences
from rollout.adapters.store.repository import Store
from rollout.domain.lifecycle.machine import HeldReason, Phase
from rollout.domain.lifecycle.state import Rollout, TargetState
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.writes.protocol import shows, shows_baseline

from .chronicle import Chronicle, chronicle
from .database import SimDatabase
from .onlooker import Onlooker
from .processes import Simulation
from .world import Process, SimClock

_GIVEN_UP = frozenset(
    {TargetState.DRIFTED, TargetState.TOUCHED, TargetState.MISSING, TargetState.FOREIGN, TargetState.SUPERSEDED}
)


MOST_IN_70_SECONDS = 9  # at 0, 1, 3, 7, 15, 31 and 63 s, and by two drivers that did not know of each other


def judge(sim: Simulation, onlooker: Onlooker) -> list[str]:
    """What is broken, one sentence each."""
    found: list[str] = []
    stories = list(_stories(sim))
    for story in stories:
        found += story.faults
        found += _at_rest(sim, story)
        found += _after_the_end(sim, story)
        found += _left_alone(sim, story)
        found += _overtaken(sim, story)
        found += _pace(sim, story)
    found += _conditional(sim)
    found += _one_driver(stories)
    found += _kit(sim, onlooker)
    found += _store(sim)
    return found


def _stories(sim: Simulation) -> Iterator[Chronicle]:
    process = Process("judge", can_crash=False)
    database = SimDatabase(sim.file, sim.world, SimClock(sim.world, process))
    for (id_,) in sim.file.all("SELECT id FROM rollouts ORDER BY created_at, id"):
        with database.read() as connection:
            rollout = load(connection, id_, sim.world.moment())
            entries = list(journal.read(connection, id_))
        yield chronicle(sim, rollout, entries)


# ------------------------------------------------------------------ I5 and I11: where it came to rest


def _at_rest(sim: Simulation, story: Chronicle) -> Iterator[str]:
    r = story.rollout
    where = f"{r.id} ({r.phase}: {r.why})"
    if r.phase in (Phase.PENDING, Phase.ROLLING_BACK):
        yield f"I11: {where} does not come to rest"
    if r.phase is Phase.PROGRESSING and r.waiting_for is not WaitingFor.APPROVAL:
        yield f"I11: {where} does not come to rest"
    if r.unresolved and r.reason != HeldReason.POISON:  # that one waits for a person without being driven
        yield f"I11: {where} has a write without an outcome"
    if r.phase is Phase.HELD:
        return
    for target in r.targets:
        number = sim.remote.numbers[target.number]
        driver = sim.file.one("SELECT rollout_id FROM targets WHERE number = ? AND driven", target.number)
        if (driver is not None and driver[0] != r.id) or _newer(sim, r, target.number):
            continue
        if not target.written or target.state in _GIVEN_UP or not number.exists:
            continue
        if r.phase is Phase.STOPPED and number.live.author != "service":
            continue  # it was stopped as it was, and nobody watches it any more
        if not shows(number.live.lists, target.split):
            yield f"I5: {where}: {target.number} shows {number.live.lists}, recorded is {target.split}"
        elif r.phase is Phase.PROMOTED and (target.step, target.retreated) != (r.wanted_step(target), None):
            yield f"I5: {where}: {target.number} is at step {target.step}, retreated to {target.retreated}"
        elif r.phase is Phase.PROGRESSING and r.is_down:
            yield f"I5: {where}: it is open, and {target.number} is still at the retreat weight"
        elif r.phase is Phase.ROLLED_BACK and not shows_baseline(number.live.lists, target.baseline):
            yield f"I5: {where}: {target.number} does not show its baseline"


def _newer(sim: Simulation, r: Rollout, number: str) -> bool:
    """Whether a later rollout has written this number."""
    return bool(
        sim.file.one(
            "SELECT 1 FROM targets t JOIN rollouts r ON r.id = t.rollout_id WHERE t.number = ? AND t.written "
            "AND r.id <> ? AND r.created_at > (SELECT created_at FROM rollouts WHERE id = ?)",
            number,
            r.id,
            r.id,
        )
    )


# ------------------------------------------------------------------ I4, I10: what came after the end


def _after_the_end(sim: Simulation, story: Chronicle) -> Iterator[str]:
    """No forward write that was sent before the end takes effect after it."""
    for message in story.messages(sim):
        if message.applied_at is None or not message.forward:
            continue
        for phase, since, until in story.finals:
            if since < message.applied_at < until and message.sent_at < since:
                yield f"I4: forward PATCH #{message.id} took effect after {story.rollout.id} ended as {phase}"
    for phase, since, _ in story.finals:
        if phase is not Phase.ROLLED_BACK:
            continue
        for target in story.rollout.targets:
            number = sim.remote.numbers[target.number]
            state = number.at(since)
            if state.author != "service" or not number.exists or shows_baseline(state.lists, target.baseline):
                continue
            wrote = any(m.number == target.number for m in story.messages(sim) if m.sent_at <= since)
            if wrote and "missing" not in (target.state, story.state_at(target.number, since)):
                yield f"I4: {story.rollout.id} is rolled_back while {target.number} shows our split"


def _left_alone(sim: Simulation, story: Chronicle) -> Iterator[str]:
    """What a rollback leaves alone as somebody's own edit is no split that this rollout wrote."""
    for target in story.rollout.targets:
        if target.state is not TargetState.FOREIGN or target.live is None:
            continue
        ours = (json.loads(m.body) for m in story.messages(sim) if m.number == target.number and m.forward)
        if any(shows(target.live, lists) for lists in ours):
            yield f"I4: {story.rollout.id} leaves its own split on {target.number}, as if it were somebody's"


def _overtaken(sim: Simulation, story: Chronicle) -> Iterator[str]:
    for ordered, until in story.undoing:
        counts: dict[str, int] = {}
        for message in story.messages(sim):
            if message.forward and message.applied_at and ordered < message.applied_at < until:
                counts[message.number] = counts.get(message.number, 0) + 1
        for number, count in counts.items():
            if count > 1:
                yield f"I10: the rollback of {story.rollout.id} was overtaken {count} times on {number}"


def _pace(sim: Simulation, story: Chronicle) -> Iterator[str]:
    """A rollback that another hand writes over is tried at growing pauses: 1, 2, 4 ... 60 s."""
    rows = sim.file.all(
        "SELECT number, intent_at FROM writes WHERE rollout_id = ? AND kind = 'baseline' AND answered = 200",
        story.rollout.id,
    )
    by_number: dict[str, list[float]] = {}
    for number, at in rows:
        by_number.setdefault(number, []).append(sim.seconds(at))
    for number, times in by_number.items():
        times.sort()
        most = max(sum(since <= at < since + 70 for at in times) for since in times)
        if most > MOST_IN_70_SECONDS:
            yield f"pace: the baseline of {number} was taken {most} times in 70 s"


def _conditional(sim: Simulation) -> Iterator[str]:
    """Where If-Match is honoured every forward write has one, but for that after a 412; and no other write has."""
    last: dict[str, int | None] = {}
    for message in sim.remote.messages:
        if message.source != "service" or message.intent is None:
            continue
        if not message.forward and message.etag is not None:
            yield f"U2: PATCH #{message.id} of a rollback carries If-Match"
        honoured = sim.world.weather.preconditions == "honoured"
        if honoured and message.forward and message.etag is None and last.get(message.number) != 412:
            yield f"U2: PATCH #{message.id} carries no If-Match"
        last[message.number] = message.status


# ------------------------------------------------------------------ I12, I14, I15


def _one_driver(stories: list[Chronicle]) -> Iterator[str]:
    spans: dict[str, list[tuple[float, float, str]]] = {}
    for story in stories:
        for number, since, until in story.driven:
            spans.setdefault(number, []).append((since, until, story.rollout.id))
    for number, taken in spans.items():
        taken.sort()
        for (_, until, one), (since, _, two) in pairwise(taken):
            if since < until and one != two:
                yield f"I14: {number} is driven by {one} and {two} at the same time"


def _kit(sim: Simulation, onlooker: Onlooker) -> Iterator[str]:
    """Nothing that was decided before the kit's success takes effect after it.

    What a person orders after the kit has begun is a new wish: a start, or `restore`, which says in so many words
    that what the kit has written is to be written over.
    """
    created = {id_: sim.seconds(at) for id_, at in sim.file.all("SELECT id, created_at FROM rollouts")}
    orders = sim.file.all("SELECT rollout_id, at FROM journal WHERE kind = 'restore'")
    restored = [(id_, sim.seconds(at)) for id_, at in orders]
    for number, began, done in onlooker.kits:
        for message in sim.remote.messages:
            if message.number != number or not message.forward or (message.applied_at or 0.0) <= done:
                continue
            assert message.intent is not None
            id_, intended = message.intent["rollout_id"], message.intent["intent_at"]
            ordered = created[id_] >= began or any(of == id_ and began <= at <= intended for of, at in restored)
            if intended <= done and not ordered:
                yield f"I12: PATCH #{message.id} took effect on {number} after the kit's success"


def _store(sim: Simulation) -> Iterator[str]:
    process = Process("judge", can_crash=False)
    store = Store(SimDatabase(sim.file, sim.world, SimClock(sim.world, process)))
    with store.database.read() as connection:
        for id_, seq, last in list(journal.heads(connection)):
            entries = list(journal.read(connection, id_))
            yield from (f"I15: {fault}" for fault in journal.check(entries, (seq, last)))
            yield from (f"rebuilding: {fault}" for fault in differences(connection, id_))


def rollback_seconds(sim: Simulation) -> list[float]:
    """Seconds from each order of a rollback to its read-back."""
    rows = sim.file.all("SELECT rollback_at, restored_at FROM rollouts WHERE restored_at > rollback_at")
    return [sim.seconds(back) - sim.seconds(ordered) for ordered, back in rows]
