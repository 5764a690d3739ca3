"""Everybody else in a history: operators at any moment, a foreign hand, and what befalls machines and Retell."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from rollout.domain.errors import NotReachable, RolloutError
from rollout.domain.lifecycle.commands import By
from rollout.domain.lifecycle.entries import CommandGiven
from rollout.domain.lifecycle.state import Position, Rollout
from rollout.domain.plan.plan import Plan
from rollout.domain.writes.protocol import shows

from .plans import AGENT, BASE, CANARY, draw_plan, other_lists, ships
from .processes import Node, Simulation
from .remote import Message
from .world import Process

COMMANDS = ("promote", "promote full", "pause", "resume", "stop", "adopt", "restore", "rollback", "cli rollback")
ODDS = (4, 1, 3, 4, 1, 3, 3, 2, 2)
_FITTING = {
    "held": ("adopt", "restore", "adopt", "restore", "rollback"),
    "paused": ("resume", "resume", "resume", "cli rollback", "stop"),
    "progressing": ("promote", "promote full", "pause", "pause", "cli rollback"),
    "promoted": ("rollback", "cli rollback"),
}


class Operator:
    """A person who starts rollouts and gives commands; without an answer, asks again with the same id."""

    def __init__(self, sim: Simulation, rng: Random, started: list[str]) -> None:
        self.sim, self.rng, self.started = sim, rng, started
        self.world = sim.world

    def start(self, plan: Plan, after: float) -> None:
        name = self.sim.name("cli")

        def work() -> None:
            node = Node(self.sim, name, can_crash=False)
            self._ask(name, lambda by: self.started.append(node.app.commands.start(plan, by).id))
            self.started[:] = dict.fromkeys(self.started)

        self.world.spawn(Process(name, can_crash=False), name, work, after)

    def again(self, rng: Random, after: float, until: float) -> None:
        """Starts another rollout on the numbers of the first one, once that has ended; asks every few seconds."""
        name = self.sim.name("cli")
        plan: list[Plan] = []

        def work() -> None:
            while not plan and self.world.now < until:
                self.world.sleep(rng.uniform(2, 30))
                if not self.started:
                    continue
                file, first = self.sim.file, self.started[0]
                if file.one("SELECT 1 FROM targets WHERE rollout_id = ? AND driven", first) is None:
                    rows = file.all("SELECT number FROM targets WHERE rollout_id = ? ORDER BY ord", first)
                    if rows:
                        plan.append(draw_plan(rng, [row[0] for row in rows], "plan-3"))
            if plan:
                self.start(plan[0], 0.0)

        self.world.spawn(Process(name, can_crash=False), name, work, after)

    def command(self, what: str, after: float) -> None:
        """Gives this command for one of the rollouts, after so many seconds."""
        rng, name = self.rng, self.sim.name("cli")
        chance, guess = rng.random(), Position(rng.randint(1, 2), rng.randint(1, 3))
        twice, fitting, asked = rng.random() < 0.15, rng.random() < 0.5, what

        def work() -> None:
            if not self.started:
                return
            id_ = self.started[rng.randrange(len(self.started))]
            what = self._fitting(id_) if fitting else asked
            node = Node(self.sim, name, can_crash=False)

            def do(by: By) -> None:
                commands, expect = node.app.commands, None
                if chance < 0.3:
                    expect = node.app.store.load(id_)[0].position
                elif chance < 0.45:
                    expect = guess
                given = self._give(commands, what, id_, by, expect)
                self.world.note(f"{what} {id_} (expects {expect}): {given}")
                if twice:
                    self.world.faults["command: repeated request id"] += 1
                    again = self._give(commands, what, id_, by, expect)
                    if again != given:
                        self.world.broken.append(f"a repeated request id got {again}, first {given}")

            if self._ask(name, do, what) and what == "cli rollback":
                self._follow(node, id_)

        self.world.spawn(Process(name, can_crash=False), name, work, after)

    def by_hand(self, rng: Random, after: float) -> None:
        """Sets weights or ships a version once a rollout stands where that may be; often with a rollback behind it."""
        name, what = self.sim.name("cli"), rng.choice(("set", "set", "ship"))

        def work() -> None:
            if self.started and self._waited(id_ := self.started[rng.randrange(len(self.started))], rng):
                node = Node(self.sim, name, can_crash=False)

                def do(by: By) -> None:
                    arms, commands = list(node.app.store.load(id_)[0].plan.arms), node.app.commands
                    chosen = rng.sample(arms, rng.randint(1, len(arms)))
                    if what == "set":
                        given = commands.set_weights(
                            id_, by, weights=dict.fromkeys(chosen, rng.choice((0.05, 0.15, 0.3)))
                        )
                    else:
                        given = commands.ship(id_, by, variant=chosen[0], anyway=rng.random() < 0.9)
                    self.world.note(f"{what} {id_}: {given}")

                if self._ask(name, do, what) and rng.random() < 0.4:
                    self.world.sleep(rng.choice((0.0, 0.5, 5.0, 60.0)) * rng.random())
                    again = self.sim.name("cli")
                    if self._ask(
                        again, lambda by: self.world.note(str(node.app.commands.rollback(id_, by))), "rollback"
                    ):
                        self._follow(node, id_)

        self.world.spawn(Process(name, can_crash=False), name, work, after)

    def _waited(self, id_: str, rng: Random) -> bool:
        """Looks every few seconds until a step of this rollout is confirmed and it goes on, or for a while in vain."""
        for _ in range(30):
            row = self.sim.file.one("SELECT phase, confirmed_at FROM rollouts WHERE id = ?", id_)
            if (row[0] == "progressing" and row[1] is not None) or (row[0] == "paused" and rng.random() < 0.2):
                return True
            self.world.sleep(rng.uniform(0.5, 20))
        return False

    def _fitting(self, id_: str) -> str:
        """A command that this rollout would not refuse, most likely."""
        row = self.sim.file.one("SELECT phase FROM rollouts WHERE id = ?", id_)
        return self.rng.choice(_FITTING.get(row[0], COMMANDS))

    @staticmethod
    def _give(commands: Any, what: str, id_: str, by: By, expect: Position | None) -> CommandGiven:
        if what.endswith("rollback"):
            return commands.rollback(id_, by)
        if what == "promote full":
            return commands.promote(id_, by, expect=expect, full=True)
        return getattr(commands, what)(id_, by, expect=expect)

    def _ask(self, name: str, do: Callable[[By], None], what: str = "start") -> bool:
        by = By(name, f"{name} wants it", f"request-{name}")
        for _ in range(3):
            try:
                do(by)
                self.world.faults[f"command: {what}"] += 1
                return True
            except NotReachable as error:
                self.world.note(f"{what}: {error.message}")
                self.world.sleep(self.rng.uniform(0.5, 30))
            except RolloutError as error:
                self.world.faults[f"command refused: {type(error).__name__}"] += 1
                self.world.note(f"{what} refused: {error.message}")
                return False
        return False

    def _follow(self, node: Node, id_: str) -> None:
        """What `rollout rollback` does after its command: drives until every number is read back."""

        def back(r: Rollout) -> bool:
            return r.restored_at is not None or r.phase.is_final

        for _ in range(3):
            try:
                rollout = node.app.drive(id_, back)
                if rollout is not None and back(rollout):
                    return
            except RolloutError as error:
                self.world.note(f"cli: {error.message}")
            self.world.sleep(self.rng.uniform(1, 10))


class Nature:
    """A foreign hand, Retell's own changes, and what befalls whole processes, at random times."""

    def __init__(self, sim: Simulation, rng: Random, span: float) -> None:
        self.sim, self.rng, self.span, self.world = sim, rng, span, sim.world

    def plan(self, baselines: dict[str, Any]) -> None:
        """Spreads what happens over the history."""
        rng, w = self.rng, self.world.weather
        if w.foreign_edits:
            for _ in range(rng.randint(1, 3)):
                kind = rng.choice(("lists", "lists", "other", "touch", "baseline"))
                self._later(partial(self._edit, kind, baselines))
        if rng.random() < 0.12:
            self._later(lambda: self._vanish(CANARY, rng.random() < 0.5))
        if rng.random() < 0.12:
            self._later(lambda: self._vanish(BASE, rng.random() < 0.5))
        if rng.random() < 0.1:
            self._later(self._number_vanishes)
        if rng.random() < 0.06:
            self._later(self._number_anew)
        if rng.random() < 0.06:
            self._later(self._crash_loop)
        if rng.random() < 0.15:
            self._later(self._clock_set)
        if rng.random() < 0.12:
            self._later(self._key_refused)
        if rng.random() < 0.12:
            self._later(self._outage)
        if rng.random() < 0.25:
            self._later(self._suspend)
        if rng.random() < 0.15:
            self._later(self._downtime)
        if rng.random() < 0.3:
            self._later(self._kill)

    def _later(self, do: Callable[[], None]) -> None:
        def unless_calm() -> None:
            if not self.world.calm:
                do()

        self.world.at(self.rng.uniform(0, self.span), unless_calm)

    def _edit(self, kind: str, baselines: dict[str, Any]) -> None:
        number = self.rng.choice(sorted(self.sim.remote.numbers))
        named = {"lists": "lists (D1)", "other": "another field (D2)", "touch": "touch (D3)"}
        self.world.hit(f"foreign hand: {named.get(kind, 'the baseline, by hand')}")
        lists = baselines[number]
        match kind:
            case "lists":
                self.sim.remote.edit(number, "foreign", "lists", lists=other_lists(self.rng, lists))
            case "baseline":
                self.sim.remote.edit(number, "foreign", "lists", lists=lists)
            case "other":
                self.sim.remote.edit(number, "foreign", "other", nickname=f"Desk {self.rng.randint(1, 99)}")
            case _:
                self.sim.remote.edit(number, "foreign", "touch")

    def _vanish(self, version: int, comes_back: bool) -> None:
        self.world.hit(f"retell: {'the canary' if version == CANARY else 'the baseline'} version vanishes (R4)")
        self.sim.remote.remove_version((AGENT, version))
        if comes_back:
            self.world.at(self.rng.uniform(10, 300), lambda: self.sim.remote.restore_version((AGENT, version)))

    def _number_vanishes(self) -> None:
        self.sim.remote.vanish(self.rng.choice(sorted(self.sim.remote.numbers)), self.rng)

    def _key_refused(self) -> None:
        self.world.hit("retell: the key is refused for a while (R3)")
        self.sim.remote.key_refused = True
        self.world.at(self.rng.uniform(5, 600), lambda: setattr(self.sim.remote, "key_refused", False))

    def _outage(self) -> None:
        self.world.hit("retell: outage (R6)")
        self.sim.remote.outage = True
        self.world.at(self.rng.uniform(5, 3600), lambda: setattr(self.sim.remote, "outage", False))

    def _suspend(self) -> None:
        if self.sim.replicas:
            self.world.hit("machine: suspended and woken (T2)")
            process = self.rng.choice(self.sim.replicas).process
            process.suspended_until = self.world.now + self.rng.choice((10, 50, 130, 250, 4000))

    def _downtime(self) -> None:
        self.world.hit("machine: every replica down for long (T4)")
        for replica in list(self.sim.replicas):
            replica.process.alive = False
            self.sim.replicas.remove(replica)
        self.world.at(self.rng.uniform(600, 40_000), self.sim.start_replica)

    def _kill(self) -> None:
        if self.sim.replicas:
            self.world.hit("machine: killed at any moment (H5)")
            self.world.crash(self.rng.choice(self.sim.replicas).process)

    def _crash_loop(self) -> None:
        """Whoever touches a rollout dies: its row, so to speak, is poison."""
        self.world.hit("machine: a crash loop (C9)")
        self.world.weather.poison = 0.3
        self.world.at(900, lambda: setattr(self.world.weather, "poison", 0.0))

    def _clock_set(self) -> None:
        if self.sim.replicas:
            self.world.hit("machine: wall clock set (T1)")
            self.rng.choice(self.sim.replicas).process.skew += self.rng.choice((-7200, -60, 60, 7200))

    def _number_anew(self) -> None:
        self.world.hit("retell: a number is deleted and made anew (G2)")
        number = self.rng.choice(sorted(self.sim.remote.numbers))
        empty = dict.fromkeys(self.sim.remote.numbers[number].live.lists)
        self.sim.remote.edit(number, "foreign", "lists", lists=empty, nickname="")


class OtherHands:
    """Programs that write our numbers again and again, edits while a hold runs, and a Retell whose clock jumps."""

    def __init__(self, sim: Simulation, rng: Random, span: float) -> None:
        self.sim, self.rng, self.span, self.world = sim, rng, span, sim.world

    def plan(self, baselines: dict[str, Any]) -> None:
        rng, w = self.rng, self.world.weather
        if rng.random() < w.reasserts:
            begins = rng.choice((1.0, 1.0, rng.uniform(20, self.span * 0.7)))
            self.world.at(begins, lambda: self._reassert(baselines))
        if rng.random() < w.holds_drift:
            for _ in range(rng.randint(1, 3)):
                self.world.at(rng.uniform(5, self.span), lambda: self._in_a_hold(baselines, 40))
        if w.jumps and rng.random() < 0.5:
            self.world.at(rng.uniform(5, self.span), self._clock_jumps)

    def meet(self, rng: Random) -> None:
        """Somebody writes a number after we have read it and before our write takes effect, now and then."""
        remote, world = self.sim.remote, self.world
        heard = remote.on_send

        def sent(message: Message) -> None:
            heard(message)
            if not message.forward or world.calm or rng.random() >= world.weather.meets:
                return
            kind = rng.choice(("lists", "lists", "other", "touch"))
            world.hit(f"foreign hand: {kind} between our reading and our write (U2)")
            lists = other_lists(rng, json.loads(message.body)) if kind == "lists" else {}
            remote.edit(message.number, "foreign", kind, lists=lists, nickname=f"Desk {rng.randint(1, 99)}")

        if world.weather.meets:
            remote.on_send = sent

    def _reassert(self, baselines: dict[str, Any]) -> None:
        """A program that wants one number to show a split, until somebody stops it, minutes after it first wrote.

        It wants what is live now, or what was live when a rollback began (both may be a step of ours, and then look
        like late writes of ours), or a split of its own.
        """
        rng, remote, world = self.rng, self.sim.remote, self.world
        number = rng.choice(sorted(remote.numbers))
        fields, kind = (baselines[number], rng.choice(("now", "against a rollback", "against a rollback", "its own")))
        delay, lasts, ends = rng.choice((0.01, 0.01, 1.0, 5.0, 30.0)), rng.uniform(20, 400), float("inf")
        mine = other_lists(rng, fields) if kind == "its own" else self._live(number, fields)
        heard = remote.on_apply

        def look() -> None:
            nonlocal ends
            if not (world.calm or world.now > ends or shows(remote.numbers[number].live.lists, mine)):
                world.hit("foreign hand: writes its split again (D5)")
                ends = min(ends, world.now + lasts)
                remote.edit(number, "foreign", "lists", lists=mine)

        def applied(message: Message) -> None:
            nonlocal mine
            heard(message)
            if message.number != number:
                return
            if kind == "against a rollback" and message.forward:
                mine = self._live(number, fields)
            elif not world.calm and world.now <= ends:
                world.at(delay * rng.uniform(0.5, 1.5), look)

        remote.on_apply = applied
        if kind != "against a rollback":
            look()

    def _live(self, number: str, fields: dict[str, Any]) -> dict[str, Any]:
        return {name: self.sim.remote.numbers[number].live.lists[name] for name in fields}

    def _in_a_hold(self, baselines: dict[str, Any], tries: int) -> None:
        if self.world.calm or not tries:
            return
        standing = self.sim.file.all(
            "SELECT t.number FROM targets t JOIN rollouts r ON r.id = t.rollout_id WHERE t.driven "
            "AND r.phase = 'progressing' AND r.confirmed_at IS NOT NULL ORDER BY t.number"
        )
        if not standing:
            self.world.at(self.rng.uniform(2, 20), lambda: self._in_a_hold(baselines, tries - 1))
            return
        number = self.rng.choice(standing)[0]
        self.world.hit("foreign hand: while a hold runs (D1)")
        if self.rng.random() < 0.7:
            self.sim.remote.edit(number, "foreign", "lists", lists=other_lists(self.rng, baselines[number]))
        else:
            self.sim.remote.edit(number, "foreign", "touch")

    def _clock_jumps(self) -> None:
        """For a while Retell stamps what it writes hours or days ahead, and then as before."""
        self.world.hit("retell: its clock jumps ahead and back (N6)")
        self.sim.remote.ahead = self.rng.choice((3_600_000, 30 * 86_400_000))
        self.world.at(self.rng.uniform(5, 300), lambda: setattr(self.sim.remote, "ahead", 0))


def draw_operators(sim: Simulation, rng: Random, numbers: list[str], span: float) -> Operator:
    """One or two rollouts are started, sometimes one twice or on taken numbers; commands come at any moment."""
    operator = Operator(sim, rng, [])
    operator.start(draw_plan(rng, numbers, "plan-1", sim.world.seed), 0.5)
    if rng.random() < 0.3:
        again = rng.sample(numbers, rng.randint(1, len(numbers)))
        operator.start(draw_plan(rng, again, "plan-2", sim.world.seed), rng.choice((0.5, rng.uniform(0, span))))
    if rng.random() < sim.world.weather.hasty:
        operator.command("rollback", rng.uniform(2, 60))
    for _ in range(rng.choice((0, 1, 1, 2, 3, 5))):
        what = rng.choices(COMMANDS, ODDS)[0]
        at = rng.uniform(1, span) if rng.random() < 0.6 else rng.uniform(1, 30)
        operator.command(what, at)
        if rng.random() < 0.2:
            operator.command(rng.choices(COMMANDS, ODDS)[0], at)  # two people at once
    if ships(sim.world.seed):
        own = Random(f"by hand {sim.world.seed}")
        for _ in range(own.randint(2, 6)):
            operator.by_hand(Random(own.random()), own.uniform(1, span) if own.random() < 0.5 else own.uniform(1, 90))
    return operator
