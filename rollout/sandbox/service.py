"""State that the connections and the control share: world, clock, faults and log under one lock.

One object, so that a reset is one assignment of fresh parts and nothing keeps an old one.
"""

import threading
from collections.abc import Callable

from rollout.sandbox.clock import SandboxClock
from rollout.sandbox.faults import FaultList
from rollout.sandbox.messages import Answer, Request
from rollout.sandbox.request_log import Entry, RequestLog
from rollout.sandbox.route_request import BEFORE_LAST, RouteRequest
from rollout.sandbox.routes import Preconditions, Routes
from rollout.sandbox.webhooks import Webhooks
from rollout.sandbox.world import World


class Service:
    """Every use holds `lock`; nothing in here waits."""

    def __init__(
        self,
        *,
        key: str | None,
        seed: int,
        speed: float,
        epoch: float | None,
        strict: bool = False,
        preconditions: Preconditions | None = None,
    ) -> None:
        self.lock = threading.RLock()
        self.key = key
        self.strict = strict
        self.preconditions = preconditions
        self.seed = seed
        self.clock = SandboxClock(speed, epoch)
        self.webhooks = Webhooks(self.lock, self._look)
        self.on_reset: Callable[[], object] | None = None
        """Builds the world that a reset goes back to; nothing for an empty one."""
        self.reset()

    def reset(self) -> None:
        """Forget numbers, agents, calls, faults, log and webhooks; the clock keeps running."""
        with self.lock:
            self.world = World(self.seed)
            self.routes = Routes(self.world, self.key, self.strict, self.preconditions)
            self.faults = FaultList()
            self.log = RequestLog()
            self.webhooks.clear()
            self.world.listener = self.webhooks.expect
            if self.on_reset is not None:
                self.on_reset()

    def handle(self, request: Request, entry: Entry) -> Answer:
        """Serve a request properly, and note what it changed."""
        with self.lock:
            now = self.clock.now()
            answer = self.routes.handle(RouteRequest(request, now, seq=entry.seq))
            self.log.took_effect(entry, answer, now)
            return answer

    def pretend(self, request: Request, variant: str) -> Answer:
        """The answer of a lying server: as if applied, or (variant `old`) the number as it is."""
        with self.lock:
            answer = self.routes.handle(RouteRequest(request, self.clock.now(), pretend=True))
            if variant == "old" and answer.status == 200 and request.number is not None:
                number = self.world.number(request.number)
                answer = Answer(200, number.state.to_bytes(number))
            return answer

    def look_back(self, request: Request, seconds: float | None) -> Answer:
        """The answer to a read as it would have been `seconds` (real ones) ago, or before the last change."""
        with self.lock:
            now = self.clock.now()
            as_of = BEFORE_LAST if seconds is None else now - seconds * (self.clock.speed or 1.0)
            return self.routes.handle(RouteRequest(request, now, as_of=as_of))

    def _look(self) -> float:
        """The time, after letting everybody call who should have; the webhooks ask this."""
        now = self.clock.now()
        self.world.catch_up(now)
        return now
