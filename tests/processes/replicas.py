"""Several services on one PostgreSQL, one of them killed again and again."""

from __future__ import annotations

import random
import time

from tests.processes.campaign import HOLD, Tally
from tests.processes.judge import FINAL, judge
from tests.processes.stage import TESTER, WEIGHTS, Stage


def with_kills(
    stage: Stage,
    rng: random.Random,
    rollouts: int,
    every: tuple[float, float],
    *,
    replicas: int = 3,
    parts: int = 1,
    most: int | None = None,
) -> Tally:
    """`rollouts` driven by `replicas` processes, one killed every so many seconds, until all have ended.

    Every fifth rollout is rolled back on its way. The rollouts are started in `parts`, each part but the first
    after one more kill, so that there are `parts - 1` kills with work left however quick the machine is. `most`: kills
    in all; None: as many as there is time for.
    """
    tally = Tally()
    steps = [{"weight": weight, "hold": f"{HOLD:g}s"} for weight in WEIGHTS[-2:]]
    part = -(-rollouts // parts)
    ids = stage.start_many(part, "0s", steps=steps)
    pattern, back = stage.load(ids[0]), set(ids[::5])
    running = [stage.serve() for _ in range(replicas)]
    limit = time.monotonic() + 60 + 2 * rollouts
    next_kill = time.monotonic() + rng.uniform(*every)
    ordered: set[str] = set()
    while True:
        phases = {r.id: str(r.phase) for r in stage.app.store.summaries(limit=1000) if r.id in set(ids)}
        if len(ids) == rollouts and all(phase in FINAL for phase in phases.values()):
            break
        if time.monotonic() > limit:
            stuck = [f"{i} {p} {stage.load(i).why}" for i, p in phases.items() if p not in FINAL]
            tally.faults.append(f"not at rest: {stuck[:5]}")
            break
        for id_ in back - ordered:
            if phases[id_] == "progressing" and any(t.step for t in stage.load(id_).targets):
                stage.app.commands.rollback(id_, TESTER)
                ordered.add(id_)
        for id_, phase in phases.items():
            if phase == "held" and stage.load(id_).reason == "poison":
                tally.poisoned += 1
                stage.answer_poison(id_)
        if time.monotonic() >= next_kill and (most is None or tally.kills.total() < most):
            victim = rng.randrange(replicas)
            running[victim].kill()
            tally.kills["one of the replicas"] += 1
            if len(ids) < rollouts:
                more = stage.start_many(min(part, rollouts - len(ids)), "0s", pattern, steps=steps)
                ids += more
                back |= set(more[::5])
            running[victim] = stage.serve()
            next_kill = time.monotonic() + rng.uniform(*every)
        time.sleep(0.05)
    for service in running:
        if service.stop() != 0:
            tally.faults.append(f"a replica did not end well: {service.said()[-500:]}")
    for id_ in ids:
        phase = stage.phase(id_)
        tally.ends[phase] += 1
        if phase != ("rolled_back" if id_ in ordered else "promoted"):
            tally.faults.append(f"{id_} ended as {phase}: {stage.load(id_).reason}")
    tally.faults += judge(stage, ids, hold=HOLD)
    return tally
