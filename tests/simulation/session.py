"""The simulated adapter: rollout.engine.ports.PhoneNumbers and Agents of one process, on the modelled Retell.

It keeps the promises of the ports (connections first, one request per order, no byte after the window),
and behaves within them as badly as the weather allows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from rollout.domain.writes.answers import Answer, Failure, Order, Reading, Trouble
from rollout.engine.ports import AgentVersion

from .remote import Message, Remote, State
from .world import SimClock, World


class SimRetell:
    """One process's way to Retell."""

    def __init__(self, world: World, remote: Remote, clock: SimClock, source: str = "service") -> None:
        self.world, self.remote, self.clock, self.source = world, remote, clock, source

    def session(self, numbers: Sequence[str], *, urgent: bool = False) -> SimSession:
        return SimSession(self, numbers, urgent)

    def all(self) -> Iterator[Reading | Failure]:
        self.world.step("listing")
        if (failure := self.trouble()) is not None:
            yield failure
            return
        for number in list(self.remote.numbers.values()):
            if number.exists:
                yield self.stamped(reading(number.number, self.seen(number.number)))

    def version(self, agent_id: str, version: int | str | None) -> AgentVersion | Failure:
        self.world.step("version")
        if (failure := self.trouble()) is not None:
            return failure
        if (agent_id, version) not in self.remote.versions:
            return Failure(Trouble.REJECTED, f"there is no version {version} of {agent_id}", 422)
        assert isinstance(version, int)
        return AgentVersion(agent_id, version, is_published=True)

    # -------------------------------------------------------------- reading

    def trouble(self) -> Failure | None:
        """Why the current read gets no usable answer, if so."""
        world, rng = self.world, self.world.rng
        if self.remote.outage:
            world.hit("retell: outage met by a read")
            return Failure(Trouble.UNREACHABLE, "no answer")
        if self.remote.key_refused:
            world.hit("retell: 401 to a read")
            return Failure(Trouble.REJECTED, "the key is refused", 401)
        if not world.calm and rng.random() < world.weather.read_fails:
            if rng.random() < 0.4:
                world.hit("retell: 429 to a read (R1)")
                return Failure(Trouble.UNREACHABLE, "429", 429, rng.choice((1.0, 20.0, 400.0)))
            world.hit("retell: a read fails")
            world.sleep(rng.choice((0.1, 5.0, world.weather.bounds.deadline)))
            return Failure(Trouble.UNREACHABLE, "no answer")
        return None

    def seen(self, number: str) -> State:
        """A number's state as a read that Retell serves now shows it: up to R seconds old."""
        world, w = self.world, self.world.weather
        known = self.remote.numbers[number]
        if w.bounds.staleness and not world.calm and world.rng.random() < w.stale:
            state = known.at(world.now - world.rng.random() * w.bounds.staleness)
            if state is not known.live:
                world.hit("retell: stale read (N6)")
            return state
        return known.live

    def stamped(self, found: Reading) -> Reading:
        """What is read or answered, now and then with a time stamp that is far ahead."""
        world = self.world
        if not world.calm and world.weather.jumps and world.rng.random() < world.weather.jumps:
            world.hit("retell: a time stamp is shown far ahead (N6)")
            ahead = world.rng.choice((3_600_000, 30 * 86_400_000))
            return replace(found, modified=found.modified + ahead)
        return found

    def read_one(self, number: str) -> Reading | Failure:
        self.world.step("reading")
        if (failure := self.trouble()) is not None:
            return failure
        known = self.remote.numbers.get(number)
        if known is None or not known.exists:
            return Failure(Trouble.REJECTED, "there is no such number", 404)
        state = self.seen(number)
        found = replace(self.stamped(reading(number, state)), etag=self.remote.etag(number, state))
        world = self.world
        if not world.calm and world.rng.random() < world.weather.slow_reads:
            world.hit("network: a read's answer takes seconds")
            world.sleep(world.rng.uniform(1, world.weather.bounds.deadline))
        return found


class SimSession:
    """rollout.engine.ports.NumberSession. A connection lives K seconds after its last use; a write opens none."""

    reopens = False  # what a session without "connection first" would do
    resends = False  # what a hidden retry would do
    ignores_window = False

    def __init__(self, retell: SimRetell, numbers: Sequence[str], urgent: bool) -> None:
        self._retell, self._world, self._remote = retell, retell.world, retell.remote
        self._numbers, self._urgent = numbers, urgent
        self._used: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._world.step("connecting")
        self._connect(self._numbers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._used.clear()

    def _connect(self, numbers: Sequence[str]) -> None:
        world = self._world
        for number in numbers:
            if self._remote.outage or (not world.calm and world.rng.random() < world.weather.connect_fails):
                world.hit("network: connection refused (N2)")
                continue
            self._used[number] = world.now

    def read(self, numbers: Sequence[str], *, to_write: bool = False) -> dict[str, Reading | Failure]:
        found = {}
        for number in numbers:
            found[number] = self._retell.read_one(number)
            if isinstance(found[number], Reading) or getattr(found[number], "status", None):
                self._used[number] = self._world.now
        return found

    def write(
        self,
        orders: Sequence[Order],
        *,
        send_by: float,
        stop: Callable[[], bool],
        when_nearly_done: Callable[[], None] | None = None,
    ) -> dict[str, Answer]:
        world, clock = self._world, self._retell.clock
        answers: dict[str, Answer] = {}
        sent: list[Message] = []
        for order in orders:
            late = clock.boot() > send_by and not self.ignores_window
            if stop() or late:
                world.hit("send window closed" if late else "sender told to stop")
                why = "not sent: told to stop, or the send window has closed"
                answers[order.number] = Answer(None, failure=Failure(Trouble.UNREACHABLE, why))
                continue
            if order.number not in self._used:
                why = "not sent: no connection was open"
                answers[order.number] = Answer(None, failure=Failure(Trouble.UNREACHABLE, why))
                continue
            if not world.weather.idle_unbounded:
                world.step("sending")
                self._gap()
            idle = world.now - self._used[order.number]
            if idle > world.weather.bounds.idle and not world.weather.idle_unbounded:
                world.hit("network: Retell had closed the idle connection (N4)")
                if not self.reopens:
                    answers[order.number] = _unknown("the connection was reset")
                    continue
            sent.append(self._remote.send(order.number, order.body, self._retell.source, order.etag))
            world.step("sent", 0.1)
        for message in sent:
            answers[message.number] = self._wait(message, message.sent_at + world.weather.bounds.deadline)
        world.step("answers")
        return answers

    def _gap(self) -> None:
        """A sender that is stopped between the last check and the first byte."""
        world, w = self._world, self._world.weather
        if world.calm or (self._urgent and w.spares_rollbacks) or world.rng.random() >= w.gap:
            return
        world.hit("pause: between the check and the send (N4)")
        most = w.bounds.idle
        chance = world.rng.random()
        world.sleep(most - world.rng.random() if chance < w.extreme else world.rng.uniform(0, most + 150))

    def _wait(self, message: Message, until: float) -> Answer:
        world = self._world
        while message.answer_at is None and world.now < until:
            message.waiter = world.current
            world.sleep(until - world.now)
        message.waiter = None
        if message.answer_at is None:
            if self.resends:
                again = self._remote.send(message.number, message.body, self._retell.source)
                world.sleep(1)
                if again.answer_at is not None:
                    return self._judge(again)
            return _unknown("no answer within the deadline")
        return self._judge(message)

    def _judge(self, message: Message) -> Answer:
        status = message.status
        if status == 200 and message.shown is not None:
            shown = self._retell.stamped(reading(message.number, message.shown))
            if message.lists_left_out:
                self._world.hit("retell: answer without the lists (N7)")
                shown = Reading(message.number, {}, shown.modified, shown.others)
            return Answer(200, shown=shown)
        if status in (400, 401, 403, 404, 422):
            self._world.hit(f"retell: {status} to a write")
            return Answer(status, failure=Failure(Trouble.REJECTED, f"Retell answered {status}", status))
        if status == 412:
            return Answer(status, failure=Failure(Trouble.CHANGED, f"Retell answered {status}", status))
        wait = self._world.rng.choice((None, 2.0, 400.0)) if status == 429 else None
        return _unknown(f"Retell answered {status}", status, wait)


def _unknown(why: str, status: int | None = None, retry_after: float | None = None) -> Answer:
    return Answer(status, failure=Failure(Trouble.UNKNOWN, why, status, retry_after))


def reading(number: str, state: State) -> Reading:
    """A state as the adapter hands it to the core."""
    others = hashlib.sha256(state.nickname.encode()).hexdigest()
    return Reading(number, dict(state.lists), state.modified, others, nickname=state.nickname)
