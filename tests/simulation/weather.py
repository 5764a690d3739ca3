"""What goes wrong in one history, and how often: each history draws its own few kinds of trouble.

Swarm testing: a history in which everything fails at once rarely gets anywhere, so most kinds of trouble
are switched off in most histories, and those that are on come often.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from random import Random

from rollout.settings import Settings


@dataclass(frozen=True)
class Bounds:
    """What is true of the modelled Retell, in seconds; the settings are made of the same figures."""

    idle: float = 120.0  # K
    apply: float = 60.0  # D
    staleness: float = 0.0  # R
    margin: float = 15.0
    lease: float = 45.0
    deadline: float = 15.0
    window: float = 2.0

    @property
    def horizon(self) -> float:
        return self.idle + self.apply + self.staleness + self.margin

    def settings(self, url: str) -> Settings:
        return Settings(
            database_url=url,
            retell_base_url="http://127.0.0.1:1",
            send_window=self.window,
            request_deadline=self.deadline,
            lease=self.lease,
            provider_idle=self.idle,
            provider_apply=self.apply,
            read_staleness=self.staleness,
            horizon_margin=self.margin,
            workers=2,
            poll_seconds=5,
            watch_seconds=30,
        )


_UNDER_WAY = frozenset({"sending", "sent", "answers"})


@dataclass
class Weather:
    """Chances per effect, per request or per history; 0 switches a kind of trouble off."""

    short_pause: float = 0.0
    long_pause: float = 0.0  # longer than the lease, sometimes longer than K
    crash: float = 0.0
    database_refuses: float = 0.0
    database_ack_lost: float = 0.0
    connect_fails: float = 0.0
    request_lost: float = 0.0
    answer_lost: float = 0.0
    late: float = 0.0  # applied much later, up to D
    throttled: float = 0.0
    broken: float = 0.0  # 5xx, applied or not
    lies: float = 0.0  # 200 without effect
    half_answers: float = 0.0  # 200 without the lists
    read_fails: float = 0.0
    slow_reads: float = 0.0  # answered at once, received seconds later
    stale: float = 0.0
    gap: float = 0.0  # a pause between the last check and the first byte
    foreign_edits: float = 0.0
    poison: float = 0.0  # whoever drives a rollout dies: per effect
    dies_waiting: float = 0.0  # the sender dies when its request has been applied, before the answer
    vanishes: float = 0.0  # a number is deleted while a request for it is under way; once in a history
    reasserts: float = 0.0  # a foreign hand writes its split again and again; in so many histories
    holds_drift: float = 0.0  # an edit comes while a hold runs; in so many histories
    nearly_one: float = 0.0  # a baseline's weights miss 1 by a little; per number
    jumps: float = 0.0  # a time stamp is shown hours or days ahead: per reading and answer
    meets: float = 0.0  # a foreign hand writes a number between our reading and our write; per forward write
    preconditions: str | None = None  # numbers are shown with an ETag, and If-Match is "honoured" or "ignored"
    extreme: float = 0.5  # late writes and gaps last as long as they may
    spares_rollbacks: bool = False  # they are neither stopped in a gap nor late
    hasty: float = 0.1  # a rollback is ordered in the first minute
    no_op_moves: bool = True
    idle_unbounded: bool = False  # Retell keeps idle connections open much longer than K
    bounds: Bounds = Bounds()

    def kinds(self) -> list[str]:
        """The kinds of trouble that are on."""
        return [f.name for f in fields(self) if f.name in MOST and getattr(self, f.name)]

    def delay(self, rng: Random, calm: bool) -> tuple[float, str]:
        """How long the current effect takes, and the fault in that, if it is one."""
        if calm:
            return 0.001, ""
        chance = rng.random()
        if chance < self.long_pause:
            if rng.random() < 0.5:
                return self.bounds.lease * rng.uniform(1, 1.5), "pause: longer than the lease (N4)"
            return self.bounds.idle + rng.uniform(0, 200), "pause: longer than K (N4)"
        if chance < self.long_pause + self.short_pause:
            return rng.uniform(1, 20), "pause: seconds"
        return rng.random() * (0.02 if chance < 0.9 else 0.3), ""

    def crashes(self, rng: Random, stage: str = "") -> bool:
        """Whether the process dies at this effect: more often where a write is under way."""
        return self.crash > 0 and rng.random() < self.crash * (8 if stage in _UNDER_WAY else 1)


# The likeliest chance of each kind where it is on.
MOST = {
    "short_pause": 0.03,
    "long_pause": 0.006,
    "crash": 0.006,
    "database_refuses": 0.02,
    "database_ack_lost": 0.02,
    "connect_fails": 0.15,
    "request_lost": 0.2,
    "answer_lost": 0.25,
    "late": 0.35,
    "throttled": 0.25,
    "broken": 0.25,
    "lies": 0.25,
    "half_answers": 0.3,
    "read_fails": 0.15,
    "slow_reads": 0.15,
    "stale": 0.4,
    "gap": 0.25,
    "foreign_edits": 0.6,
}


def draw_rare(rng: Random, weather: Weather) -> None:
    """Trouble that only comes about when two things meet; left to chance it would hardly ever happen.

    It has a source of chance of its own: a history without it is played as if it did not exist.
    """
    if rng.random() < 0.15:
        weather.dies_waiting = 0.4
    if rng.random() < 0.1:
        weather.vanishes = 0.4


def draw_other_hands(rng: Random, weather: Weather) -> None:
    """Other programs on our numbers, and a Retell whose clock is not steady; with a source of chance of its own."""
    if not weather.reasserts and rng.random() < 0.15:
        weather.reasserts = 1.0
    if not weather.holds_drift and rng.random() < 0.15:
        weather.holds_drift = 1.0
    if not weather.nearly_one and rng.random() < 0.15:
        weather.nearly_one = 0.7
    if not weather.jumps and rng.random() < 0.15:
        weather.jumps = 0.08


def draw_preconditions(rng: Random, weather: Weather) -> None:
    """Whether Retell offers preconditions, and hands that meet our writes; with a source of chance of its own."""
    weather.preconditions = weather.preconditions or rng.choice((None, "honoured", "ignored"))
    if not weather.meets and rng.random() < 0.15:
        weather.meets = 0.4


def draw(rng: Random) -> Weather:
    """The weather of one history."""
    weather = Weather()
    for name, most in MOST.items():
        if rng.random() < 0.4:
            setattr(weather, name, most * rng.uniform(0.3, 1))
    weather.bounds = Bounds(
        idle=rng.choice((20.0, 60.0, 120.0)),
        apply=rng.choice((20.0, 60.0)),
        staleness=rng.choice((0.0, 0.0, 1.0, 5.0)),
        margin=rng.choice((1.0, 15.0)),
    )
    weather.no_op_moves = rng.random() < 0.7
    return weather
