"""One history from one seed: draw it, play it, heal everything, let it come to rest, and judge it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.waiting import WaitingFor

from . import judge
from .actors import Nature, OtherHands, draw_operators
from .database import shared_file
from .kit import Kit
from .onlooker import Onlooker
from .plans import (
    AGENT,
    BASE,
    CANARY,
    FOREIGN,
    OTHER,
    SECOND,
    ScriptedCalendar,
    ScriptedGates,
    closes,
    draw_lists,
    draw_nights,
    merged,
    nearly_one,
)
from .processes import Simulation
from .remote import Remote
from .weather import Weather, draw, draw_other_hands, draw_preconditions, draw_rare
from .world import Restless, World

SPAN = 900.0  # seconds in which things happen
REST = 30_000.0  # seconds, after everything is healed, in which it must come to rest


draw_weather: Callable[[Random], Weather] = draw  # what a mutant needs of the weather is put in here


@dataclass
class Result:
    """What came of a history. `broken` names invariants, one sentence each."""

    seed: int
    broken: list[str]
    faults: Counter[str]
    digest: str
    events: int
    log: list[tuple[float, str, str]] = field(repr=False, default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    rollback_seconds: list[float] = field(default_factory=list)


def play(
    seed: int, replicas: int | None = None, weather: Weather | None = None, preconditions: str | None = None
) -> Result:
    """Plays the history of this seed; the same seed gives the same history, event for event.

    `preconditions`: If-Match is "honoured" or "ignored" instead of what is drawn.
    """
    rng = Random(f"history {seed}")
    drawn = draw_weather(rng)
    rare = Random(f"rare {seed}")
    draw_rare(rare, drawn)
    hands = Random(f"other hands {seed}")
    draw_other_hands(hands, drawn)
    chance = Random(f"preconditions {seed}")
    draw_preconditions(chance, drawn)
    drawn.preconditions = preconditions or drawn.preconditions
    world = World(seed, weather or drawn)
    file = shared_file()
    file.renew()
    remote = Remote(world)
    remote.versions = {(AGENT, v) for v in (BASE, CANARY, OTHER, FOREIGN, SECOND)}
    numbers = [f"+1415777{4000 + i}" for i in range(rng.choice((1, 1, 2, 3, 6)))]
    baselines = {number: draw_lists(rng) for number in numbers}
    for number in numbers:
        if hands.random() < world.weather.nearly_one:
            baselines[number] = nearly_one()
    for number, lists in baselines.items():
        remote.add(number, lists)
    closed: tuple[tuple[float, float], ...] = ()
    if rng.random() < 0.2:
        since = rng.uniform(0, 300)
        closed = ((since, since + rng.uniform(10, 600)),)
    if closes(seed):
        closed = merged([*closed, *draw_nights(seed, SPAN)])
    calendar = ScriptedCalendar(world, closed)
    sim = Simulation(world, remote, file, ScriptedGates(world, Random(f"gates {seed}")), calendar)
    onlooker = Onlooker(sim)
    for _ in range(replicas or rng.choice((1, 2, 2, 3, 4))):
        sim.start_replica()
    operator = draw_operators(sim, rng, numbers, SPAN)
    started = operator.started
    if rare.random() < 0.12:
        operator.again(rare, rare.uniform(30, SPAN / 2), SPAN)
    Nature(sim, rng, SPAN).plan(baselines)
    others = OtherHands(sim, hands, SPAN)
    others.plan(baselines)
    others.meet(chance)
    if world.weather.no_op_moves and rng.random() < 0.12:
        _kit_later(sim, rng, onlooker, started)
    broken: list[str] = []
    try:
        world.run(SPAN)
        _heal(sim)
        world.run(world.now + REST, lambda: world.events % 10 == 0 and _at_rest(sim))
        _scan(sim)  # drift that nobody had looked at yet
        world.run(world.now + REST, lambda: world.events % 10 == 0 and _at_rest(sim))
        broken += judge.judge(sim, onlooker)
    except Restless as error:
        broken.append(f"I11: {error}")
    finally:
        world.close()
    broken = list(dict.fromkeys([*world.broken, *broken]))
    superseded = file.one("SELECT count(*) FROM targets WHERE state = 'superseded'")[0]
    world.faults["later rollout: a number taken over from one that had ended"] += superseded
    ends = Counter(str(row[0]) for row in file.all("SELECT phase FROM rollouts"))
    return Result(
        seed, broken, world.faults, world.digest(), world.events, world.log, ends, judge.rollback_seconds(sim)
    )


def _kit_later(sim: Simulation, rng: Random, onlooker: Onlooker, started: list[str]) -> None:
    def run() -> None:
        if not started or sim.world.calm:
            return
        rows = sim.file.all("SELECT number, baseline FROM targets WHERE rollout_id = ?", started[0])
        if rows:
            sim.world.hit("kit: run beside the service")
            Kit(sim, rng, onlooker.kit_done).run({n: json.loads(b) for n, b in rows}, 0.1)

    sim.world.at(rng.uniform(5, SPAN), run)


def _heal(sim: Simulation) -> None:
    """No new trouble from here on; what is under way stays under way."""
    world, remote = sim.world, sim.remote
    world.calm = True
    remote.key_refused = remote.outage = False
    remote.ahead = 0
    for version in (BASE, CANARY, OTHER, FOREIGN):
        if (AGENT, version) not in remote.versions:
            remote.restore_version((AGENT, version))
    for replica in sim.replicas:
        replica.process.suspended_until = min(replica.process.suspended_until, world.now + 30)
    if not sim.replicas:
        sim.start_replica()


def _scan(sim: Simulation) -> None:
    """One scan for drift by one replica."""
    replica, world = sim.replicas[0], sim.world
    replica.next_scan = world.now
    replica.wakes_at = world.now
    world.wake(replica.task, 0.0)
    world.run(world.now + 600, lambda: replica.next_scan > world.now and replica.task.stage != "listing")


def _at_rest(sim: Simulation) -> bool:
    """Whether nothing is left to do without a person: no write open, nothing in flight, nothing due."""
    if any(task.name.startswith(("cli", "kit")) for task in sim.world.tasks) or sim.remote.in_flight():
        return False
    now = str(sim.world.moment().replace(tzinfo=None))
    if sim.file.one("SELECT 1 FROM writes WHERE outcome IS NULL OR horizon_until > ? LIMIT 1", now):
        return False
    for phase, waiting_for, look_asked in sim.file.all("SELECT phase, waiting_for, look_asked FROM rollouts"):
        if phase in (Phase.PENDING, Phase.ROLLING_BACK) or look_asked:
            return False
        if phase == Phase.PROGRESSING and waiting_for != WaitingFor.APPROVAL:
            return False
    return not sim.file.one("SELECT 1 FROM rollouts WHERE lease_until > ? LIMIT 1", now)
