"""The kit as an actor: by its rule it sends until a 200 of its own, watches lease + H, and ends on a read.

It talks to Retell itself and knows neither the database nor the service.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Any

from rollout.domain.splits.baselines import exact_lists
from rollout.domain.writes.answers import Reading
from rollout.domain.writes.protocol import shows_baseline

from .processes import Simulation
from .session import SimRetell
from .world import Process, SimClock, World


class Kit:
    """One run of a kit on the numbers of one rollout."""

    def __init__(self, sim: Simulation, rng: Random, done: Callable[[str, float, float], None]) -> None:
        self.sim, self.rng, self.done = sim, rng, done

    def run(self, baselines: Mapping[str, Mapping[str, Any]], after: float) -> None:
        world = self.sim.world
        for number, baseline in baselines.items():
            name = self.sim.name("kit")
            process = Process(name, can_crash=False)
            retell = SimRetell(world, self.sim.remote, SimClock(world, process), "kit")
            world.spawn(process, name, partial(self._number, world, retell, number, baseline), after)

    def _number(self, world: World, retell: SimRetell, number: str, baseline: Mapping[str, Any]) -> None:
        began = world.now
        watch = world.weather.bounds.lease + world.weather.bounds.horizon
        body, exact = json.dumps(dict(baseline)), json.dumps(exact_lists(baseline))
        acknowledged = None
        for _ in range(2000):
            if acknowledged is None:
                message = self.sim.remote.send(number, body, "kit")
                world.sleep(self.rng.uniform(0.3, 15))
                if message.answer_at is not None and message.status == 400:
                    body = exact
                if message.answer_at is None or message.status != 200:
                    continue
                acknowledged = world.now
            read_at = world.now
            seen = retell.read_one(number)
            if not isinstance(seen, Reading):
                world.sleep(5)
            elif not shows_baseline(seen.lists, baseline):
                acknowledged = None
            elif read_at >= acknowledged + watch:
                world.note(f"kit: {number} is restored")
                self.done(number, began, world.now)
                return
            else:
                world.sleep(min(5.0, max(0.1, acknowledged + watch - world.now)))
