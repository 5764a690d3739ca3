"""The modelled Retell: numbers, agent versions, and PATCHes as messages that live at most D seconds.

It keeps what a judge needs: every message that was sent, when it took effect, and every state a number
ever showed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from rollout.domain.splits.summation import add

from .world import EPOCH, Task, World

FIELDS = ("inbound_agents", "outbound_agents", "inbound_sms_agents", "outbound_sms_agents")
_START_MS = int(EPOCH.timestamp() * 1000)


@dataclass(frozen=True)
class State:
    """What a number showed from `at` on, and who made it so."""

    at: float
    lists: Mapping[str, Any]
    nickname: str
    modified: int
    author: str  # "service", "kit", "foreign" or "start"
    edit: str = ""  # of a foreign hand: "lists", "other" or "touch"


@dataclass
class Number:
    """One phone number; `states` oldest first."""

    number: str
    states: list[State]
    exists: bool = True

    @property
    def live(self) -> State:
        return self.states[-1]

    def at(self, moment: float) -> State:
        """What it showed at a moment."""
        for state in reversed(self.states):
            if state.at <= moment:
                return state
        return self.states[0]


@dataclass
class Message:
    """One PATCH under way. `intent` is the write it belongs to, if there is one."""

    id: int
    number: str
    body: str
    source: str
    sent_at: float
    intent: dict[str, Any] | None = None
    applied_at: float | None = None
    etag: str | None = None  # its If-Match
    landing_at: float | None = None  # when it will take effect, unless it is lost
    status: int | None = None
    shown: State | None = None
    answer_at: float | None = None
    lists_left_out: bool = False
    waiter: Task | None = None
    sender: Task | None = None

    @property
    def forward(self) -> bool:
        return self.intent is not None and self.intent["kind"] == "forward"


@dataclass
class Remote:
    """The whole workspace."""

    world: World
    numbers: dict[str, Number] = field(default_factory=dict)
    versions: set[tuple[str, int]] = field(default_factory=set)
    vanished: list[tuple[float, float | None, tuple[str, int]]] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    key_refused: bool = False
    outage: bool = False
    ahead: int = 0  # milliseconds by which its clock is ahead
    on_send: Callable[[Message], None] = lambda _message: None
    on_apply: Callable[[Message], None] = lambda _message: None

    # -------------------------------------------------------------- the world as it is

    def add(self, number: str, lists: Mapping[str, Any]) -> None:
        whole = {name: lists.get(name) for name in FIELDS}
        self.numbers[number] = Number(number, [State(0.0, whole, "Front", _START_MS, "start")])

    def _stamp(self, number: Number) -> int:
        stamp = _START_MS + int(self.world.now * 1000) + self.ahead
        return stamp if self.world.weather.jumps else max(number.live.modified + 1, stamp)

    def edit(self, number: str, author: str, edit: str, **changes: Any) -> None:
        """Somebody else's change: lists, another field, or nothing visible."""
        n = self.numbers[number]
        before = n.live
        lists = {**before.lists, **changes.get("lists", {})}
        nickname = changes.get("nickname", before.nickname)
        n.states.append(State(self.world.now, lists, nickname, self._stamp(n), author, edit))

    def vanish(self, number: str, rng: Random) -> None:
        """A number is deleted, and perhaps comes back."""
        n = self.numbers[number]
        self.world.hit("retell: a number vanishes (G1)")
        n.exists = False
        if rng.random() < 0.5:

            def back() -> None:
                n.exists = True
                self.world.hit("retell: a vanished number is back")

            self.world.at(rng.uniform(1, 200), back)

    def remove_version(self, version: tuple[str, int]) -> None:
        self.versions.discard(version)
        self.vanished.append((self.world.now, None, version))

    def restore_version(self, version: tuple[str, int]) -> None:
        self.versions.add(version)
        self.vanished = [
            (since, self.world.now if until is None and v == version else until, v) for since, until, v in self.vanished
        ]

    def gone(self, version: tuple[str, int], since: float, until: float) -> bool:
        """Whether this version did not exist during all of that time."""
        return any(v == version and a <= since and (b is None or b >= until) for a, b, v in self.vanished)

    # -------------------------------------------------------------- a PATCH

    def etag(self, number: str, state: State) -> str | None:
        """The ETag with which a number is shown in this state; None where Retell has none."""
        if self.world.weather.preconditions is None:
            return None
        return f'"{next(i for i, s in enumerate(self.numbers[number].states) if s is state)}"'

    def send(self, number: str, body: str, source: str, etag: str | None = None) -> Message:
        """The bytes of a PATCH leave now. What becomes of them is drawn here and happens later."""
        world, w = self.world, self.world.weather
        rng = world.rng
        message = Message(len(self.messages), number, body, source, world.now, etag=etag)
        message.sender = world.current
        self.messages.append(message)
        self.on_send(message)
        world.note(f"PATCH #{message.id} {source} {number} {_short(body)}")
        calm = world.calm
        if source == "service" and not calm and w.vanishes and rng.random() < w.vanishes:
            w.vanishes = 0.0
            self.vanish(number, rng)
        if not calm and rng.random() < w.request_lost:
            world.hit("network: request lost (N1)")
            return message
        takes = 0.01 + rng.random() * 0.2
        if not calm and (message.forward or not w.spares_rollbacks) and rng.random() < w.late:
            world.hit("network: applied late (N3)")
            most = w.bounds.apply
            takes = most - rng.random() * 0.5 if rng.random() < w.extreme else rng.uniform(1, most)
        lost = not calm and rng.random() < w.answer_lost
        early, works, lies = 0, True, False
        if not calm and rng.random() < w.broken:
            # Sometimes the gateway gives up and the request goes on behind it.
            early, works = rng.choice((500, 502, 503, 504)), rng.random() < 0.5
            world.hit(f"retell: 5xx to a write, which {'works' if works else 'does not work'} (R2)")
        elif not calm and rng.random() < w.throttled:
            early, works = 429, False
            world.hit("retell: 429 to a write (R1)")
        elif not calm and rng.random() < w.lies:
            lies = True
            world.hit("retell: 200 without effect (N5)")
        elif not calm and rng.random() < w.half_answers:
            message.lists_left_out = True
        if works:
            message.landing_at = world.now + takes
            world.at(takes, lambda: self._process(message, lies))
        if early:
            message.status = early
        if lost:
            world.hit("network: answer lost (N1)")
        else:
            world.at(0.01 if early else takes, lambda: self._answer(message))
        return message

    def _answer(self, message: Message) -> None:
        message.answer_at = self.world.now
        if message.waiter is not None:
            self.world.wake(message.waiter, 0.0)

    def _process(self, message: Message, lies: bool) -> None:
        n = self.numbers.get(message.number)
        refused = 0
        lists = json.loads(message.body)
        if self.key_refused:
            refused = 401
        elif n is None or not n.exists:
            refused = 404
        elif any(
            (e["agent_id"], e["agent_version"]) not in self.versions for entries in lists.values() for e in entries
        ):
            refused = 422
        elif any(add([e["weight"] for e in entries]) != 1.0 for entries in lists.values()):
            self.world.hit("retell: 400 to weights that do not add up to exactly 1")
            refused = 400
        elif message.etag is not None and message.etag != self.etag(message.number, n.live):
            honoured = self.world.weather.preconditions == "honoured"
            self.world.hit(
                f"retell: a number changed after it was read, If-Match {'honoured' if honoured else 'ignored'}"
            )
            refused = 412 if honoured else 0
        if message.status is None:
            message.status = refused or 200
        if refused or n is None:
            message.landing_at = None
            self.world.note(f"PATCH #{message.id} refused {refused}")
            return
        before = n.live
        same = all(before.lists[name] == entries for name, entries in lists.items())
        stamp = self._stamp(n) if self.world.weather.no_op_moves or not same else before.modified
        state = State(self.world.now, {**before.lists, **lists}, before.nickname, stamp, message.source.split(":")[0])
        message.shown = state
        if lies:
            message.landing_at = None
            self.world.note(f"PATCH #{message.id} answered, not applied")
            return
        n.states.append(state)
        message.applied_at = self.world.now
        self.world.note(f"PATCH #{message.id} applied")
        self.on_apply(message)
        sender, world = message.sender, self.world
        may_die = sender is not None and sender.process.can_crash and sender.process.alive and not world.calm
        if may_die and world.weather.dies_waiting and world.rng.random() < world.weather.dies_waiting:
            assert sender is not None
            world.crash(sender.process)

    def in_flight(self, number: str | None = None) -> list[Message]:
        """Messages that will still take effect."""
        return [
            m
            for m in self.messages
            if m.landing_at is not None and m.applied_at is None and (number is None or m.number == number)
        ]


def _short(body: str) -> str:
    return "; ".join(
        name.split("_")[0] + " " + ", ".join(f"{e['weight']} {e['agent_id']}@{e['agent_version']}" for e in entries)
        for name, entries in json.loads(body).items()
    )
