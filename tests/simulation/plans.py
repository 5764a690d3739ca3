"""Random plans for histories, and gates and calendars that follow a script drawn from the seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from rollout.domain.decide.facts import Opening
from rollout.domain.gates.verdict import GateOutcome
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.plan.plan import Plan
from rollout.engine.ports import GateReport
from tests.support.values import said
from tests.support.verdicts import ENOUGH, ab_verdict

from .world import World

AGENT = "agent_a"
BASE, CANARY, OTHER, FOREIGN, SECOND = 6, 7, 8, 9, 11
WEIGHTS = ((1.0,), (0.5, 1.0), (0.1, 1.0), (0.1, 0.5, 1.0), (0.2, 0.3), (0.1, 0.1, 1.0))
HOLDS = (0, 1, 20, 60, 300, 900)
_WINNER = ab_verdict({"b": (ENOUGH, 0.2), "c": (ENOUGH, 0.1)})
_TIE = ab_verdict({"b": (ENOUGH, 0.2), "c": (ENOUGH, 0.2)})
CHANNELS = (["inbound"], ["inbound"], ["outbound"], ["inbound", "outbound"], ["inbound", "inbound_sms"])


RETREATS = (0.05, 0.05, 0.1, 0.25)


def closes(seed: int) -> bool:
    """Whether this history has a calendar that closes often, and plans that retreat then.

    Every third one from 99 on, with chances of their own, so that all others replay as they were noted down.
    """
    return seed >= 99 and seed % 3 == 0


def ships(seed: int) -> bool:
    """Whether people set weights by hand and ship versions in this history, and some plans have two variants.

    Every third one from 100 on, with chances of their own, so that all others replay as they were noted down.
    """
    return seed >= 100 and seed % 3 == 1


def decides(seed: int) -> bool:
    """Whether some plans of this history have two variants and decide between them at the end of the last step.

    Every third one from 3,002 on, with chances of their own, so that all others replay as they were noted down.
    """
    return seed >= 3_002 and seed % 3 == 2


def draw_nights(seed: int, span: float) -> list[tuple[float, float]]:
    """When it is closed in such a history: now and then, for seconds or for minutes."""
    rng, nights = Random(f"nights {seed}"), []
    since = rng.uniform(2, 200)
    while since < span:
        until = since + rng.choice((5, 30, 120, 400)) * rng.uniform(0.5, 1.5)
        nights.append((since, until))
        since = until + rng.choice((5, 30, 120, 400)) * rng.uniform(0.5, 1.5)
    return nights


def merged(spans: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Spans that meet or overlap put together, in order."""
    found: list[tuple[float, float]] = []
    for since, until in sorted(spans):
        if found and since <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], until))
        else:
            found.append((since, until))
    return tuple(found)


def draw_plan(rng: Random, numbers: list[str], name: str, seed: int = 0) -> Plan:
    """A plan of one to three steps and one or two waves for these numbers."""
    weights = rng.choice(WEIGHTS)
    steps: list[dict[str, Any]] = [
        {"weight": w, "hold": f"{rng.choice(HOLDS)}s", "approve": rng.random() < 0.12} for w in weights
    ]
    document: dict[str, Any] = {
        "version": 1,
        "name": name,
        "numbers": numbers,
        "channels": rng.choice(CHANNELS),
        "canary": {"agent_id": AGENT, "agent_version": CANARY},
        "steps": steps,
        "gates": [],
        "on_failure": rng.choice(("rollback", "rollback", "rollback", "pause")),
        "on_deadline": rng.choice(("rollback", "pause")),
    }
    if len(numbers) > 1 and rng.random() < 0.4:
        document["waves"] = [rng.randint(1, len(numbers) - 1)]
    if rng.random() < 0.2:
        document["deadline"] = f"{rng.choice((60, 600, 3000))}s"
    if closes(seed):
        # The hours are only there to be allowed to retreat: when it is open, the script says.
        document |= {"zone": "UTC", "windows": [{"from": "09:00", "to": "17:00"}]}
        document["closing"] = {"retreat": Random(f"retreat {seed} {name}").choice(RETREATS)}
    if ships(seed) and Random(f"variants {seed} {name}").random() < 0.5:
        del document["canary"]
        pairs = {"b": CANARY, "c": SECOND}
        document["variants"] = {arm: {"agent_id": AGENT, "agent_version": version} for arm, version in pairs.items()}
        for step in steps:
            step["weights"] = dict.fromkeys(pairs, step.pop("weight") / 2)
    if decides(seed) and (chance := Random(f"decides {seed} {name}")).random() < 0.7:
        document |= _decided(document, chance)
    return Plan.model_validate(document)


def _decided(document: dict[str, Any], chance: Random) -> dict[str, Any]:
    """What changes in a plan that ends by a decision between two variants."""
    pairs = {"b": CANARY, "c": SECOND}
    *before, last = document["steps"]
    steps = [{**step, "weights": dict.fromkeys(pairs, step["weight"] / 2), "weight": None} for step in before]
    steps.append({"weights": dict.fromkeys(pairs, 0.3), "hold": last["hold"]})
    after = max(int(last["hold"].removesuffix("s")), chance.choice((1, 20, 60, 300, 900)))
    ship, otherwise = chance.choice(
        [("best", "rollback"), ("best", "pause"), ("best", "keep"), ("none", "rollback"), ("none", "pause")]
    )
    return {
        "canary": None,
        "variants": {arm: {"agent_id": AGENT, "agent_version": version} for arm, version in pairs.items()},
        "steps": steps,
        "gates": {"profile": "standard"},
        "decide": {"after": f"{after}s", "ship": ship, "otherwise": otherwise},
        "deadline": None if document.get("deadline") is None else f"{4000 + after}s",
    }


def nearly_one() -> dict[str, list[dict[str, Any]]]:
    """Served before a rule came: weights that miss 1 by so little that they are taken as a baseline."""
    entries = [
        {"agent_id": AGENT, "agent_version": BASE, "weight": 0.6666},
        {"agent_id": AGENT, "agent_version": OTHER, "weight": 0.3333},
    ]
    return dict.fromkeys(("inbound_agents", "outbound_agents", "inbound_sms_agents"), entries)


def draw_lists(rng: Random) -> dict[str, list[dict[str, Any]]]:
    """What a number serves before: one version, or two."""
    entries = [{"agent_id": AGENT, "agent_version": BASE, "weight": 1}]
    if rng.random() < 0.3:
        entries = [
            {"agent_id": AGENT, "agent_version": BASE, "weight": 0.75},
            {"agent_id": AGENT, "agent_version": OTHER, "weight": 0.25},
        ]
    return dict.fromkeys(("inbound_agents", "outbound_agents", "inbound_sms_agents"), entries)


@dataclass
class ScriptedGates:
    """rollout.engine.ports.GateJudge: for each position one story, such as undecided for a while and then pass."""

    world: World
    rng: Random
    chance: float = 0.5
    stories: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict)
    watched: dict[str, bool] = field(default_factory=dict)

    def look(self, rollout: Rollout, now: datetime) -> GateReport:
        found, chance = self._story(rollout), Random(f"best {self.world.seed} {rollout.id}")
        if rollout.plan.decide is None:
            return found
        if found.verdict is not None and found.verdict.outcome is not GateOutcome.PASS and chance.random() < 0.3:
            return found  # mostly it comes to the decision
        return GateReport(_TIE if not self.world.calm and chance.random() < 0.4 else _WINNER, 100)

    def _story(self, rollout: Rollout) -> GateReport:
        if not self.watched.setdefault(rollout.id, self.rng.random() < self.chance):
            return GateReport()
        key = (rollout.id, str(rollout.position))
        if key not in self.stories:
            what = self.rng.choice(("pass", "pass", "undecided", "undecided", "unmeasurable", "fail"))
            self.stories[key] = what, self.world.now + self.rng.uniform(0, 400)
        what, turn = self.stories[key]
        over = self.world.calm or (what != "fail" and self.world.now > turn)
        if over and what != "fail":
            what = "pass"
        elif what == "fail" and self.world.now < turn and not self.world.calm:
            what = "undecided"
        if what != "pass":
            self.world.faults[f"gate: {what} (M1 to M3)"] += 1
        return GateReport(said(what, f"the gates say {what}"), 100)


@dataclass
class ScriptedCalendar:
    """rollout.engine.ports.OpeningHours: closed in some stretches of time."""

    world: World
    closed: tuple[tuple[float, float], ...] = ()

    def opening(self, rollout: Rollout, now: datetime) -> Opening:
        at = self.world.seconds(now)
        for since, until in self.closed:
            if since <= at < until and not self.world.calm:
                self.world.faults["window closed (T3, T4)"] += 1
                raised = None if rollout.raised_at is None else self.world.seconds(rollout.raised_at)
                stays = raised is not None and since <= raised
                retreat = None if stays else rollout.plan.retreat
                ends = now + timedelta(seconds=until - at)
                return Opening(False, ends, "closed until later", retreat, "until later")
        opens = [since for since, _ in self.closed if since > at]
        if opens and rollout.plan.retreat is not None and not self.world.calm:
            return Opening(True, now + timedelta(seconds=min(opens) - at))
        return Opening()

    def hold_until(self, rollout: Rollout) -> datetime | None:
        return None

    def stood(self, rollout: Rollout, now: datetime) -> timedelta | None:
        return None

    def is_closed(self, at: float, before: float) -> bool:
        return at < before and any(since <= at < until for since, until in self.closed)


def other_lists(rng: Random, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A split that no plan of ours writes, for these lists."""
    weight = rng.choice((0.33, 0.44, 0.61))
    entries = [
        {"agent_id": AGENT, "agent_version": FOREIGN, "weight": weight},
        {"agent_id": AGENT, "agent_version": BASE, "weight": round(1 - weight, 2)},
    ]
    return dict.fromkeys(fields, entries)
