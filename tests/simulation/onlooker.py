"""Watches a history while it runs: what only the moment itself can tell about intents and messages."""

from __future__ import annotations

import json
from typing import Any

from rollout.domain.lifecycle.machine import Phase

from .processes import Simulation
from .remote import Message

_WRITE = ("id", "rollout_id", "kind", "step", "epoch", "body", "intent_at", "horizon_until", "outcome")


class Onlooker:
    """Checks I1 to I4 and I16 at the moment a PATCH is sent or takes effect."""

    def __init__(self, sim: Simulation) -> None:
        self.sim, self.world, self.file = sim, sim.world, sim.file
        self.used: set[str] = set()
        self.kits: list[tuple[str, float, float]] = []  # number, first request, success
        sim.remote.on_send = self.sent
        sim.remote.on_apply = self.applied

    def kit_done(self, number: str, began: float, at: float) -> None:
        self.kits.append((number, began, at))

    def _break(self, what: str) -> None:
        self.world.broken.append(what)
        self.world.note(f"BROKEN {what}")

    def sent(self, message: Message) -> None:
        if message.source != "service":
            return
        claim = self.world.current.claim if self.world.current else None
        epoch = None if claim is None else claim.epoch
        query = f"SELECT {', '.join(_WRITE)} FROM writes WHERE number = ? AND body = ? AND epoch = ?"
        found: dict[str, Any] | None = None
        for row in self.file.all(query, message.number, message.body, epoch):
            intent = dict(zip(_WRITE, row, strict=True))
            if intent["id"] not in self.used:
                found = intent
        if found is None:
            self._break(f"I1: PATCH #{message.id} has no committed intent of its own, of epoch {epoch}")
            return
        self.used.add(found["id"])
        message.intent = found
        found["intent_at"] = self.sim.seconds(found["intent_at"])
        plan = json.loads(self.file.one("SELECT plan FROM rollouts WHERE id = ?", found["rollout_id"])[0])
        if set(json.loads(message.body)) != {f"{channel}_agents" for channel in plan["channels"]}:
            self._break(f"I16: PATCH #{message.id} has other fields than the plan's channels")
        if message.forward:
            others = [m for m in self.sim.remote.in_flight(message.number) if m.forward and m is not message]
            if others:
                self._break(f"I2: PATCH #{message.id} is in flight beside #{others[0].id}")

    def applied(self, message: Message) -> None:
        if message.intent is None:
            return
        row = self.file.one(
            "SELECT w.outcome, w.horizon_until, r.phase FROM writes w JOIN rollouts r ON r.id = w.rollout_id "
            "WHERE w.id = ?",
            message.intent["id"],
        )
        if row is None:
            self._break(f"I1: the intent of PATCH #{message.id} is gone")
            return
        outcome, horizon, phase = row
        if outcome is not None and self.sim.seconds(horizon) < self.world.now - 1e-3:
            self._break(f"I3: PATCH #{message.id} took effect after its horizon was closed ({outcome})")
        if outcome is None and self.sim.seconds(horizon) < self.world.now - 1e-3:
            self._break(f"I3: PATCH #{message.id} took effect after its horizon")
        if message.forward and phase == Phase.ROLLED_BACK:
            self._break(f"I4: forward PATCH #{message.id} took effect while rolled_back is recorded")
