"""Reads calls one by one, at a bounded rate, for the metrics that need more than the list of calls.

Where more calls end than the rate allows, the gates judge a sample: what was not read within `DETAILS_WAIT` of its end
is unknown to those metrics, on both sides alike, and the gates say so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

import structlog

from rollout.app import App
from rollout.domain.calls import CallDetails
from rollout.domain.gates import backup_models
from rollout.domain.gates.backup_models import SAMPLE
from rollout.domain.gates.counting import DETAILS_WAIT
from rollout.domain.gates.observations import baseline_pairs
from rollout.domain.gates.profiles import GateConfig
from rollout.domain.lifecycle.records import JournalEntry
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.writes.answers import Failure
from rollout.engine.gate_check import config_of
from rollout.engine.ports import Calls
from rollout.engine.write_protocol import SERVICE

log = structlog.get_logger(__name__)

_MOST_SAVED = 60.0  # seconds of unused rate that may be caught up


class CallDetailsReader:
    """The regular reading of calls that ended; `rate` in calls a minute, for all rollouts together."""

    def __init__(self, app: App, calls: Calls, rate: float) -> None:
        self.app = app
        self.calls = calls
        self.rate = rate
        self._used_until: datetime | None = None
        self._sampled: dict[str, int] = {}  # calls read, by rollout

    def read(self, rollouts: Sequence[Rollout], now: datetime) -> set[str]:
        """Read as many calls as the rate allows; return the ids of the rollouts that have news.

        For a rollout without such a metric a sample is read. It shows whether a backup model answers one version's
        calls more often, which a notice then says.
        """
        self._sampled = {r.id: self._sampled.get(r.id, 0) for r in rollouts}
        configs = [(r, config_of(r.plan)) for r in rollouts]
        needing = [r for r, config in configs if config is not None and _needs_details(config)]
        sampling = [
            r
            for r, config in configs
            if config is not None and r.phase.is_live and not _needs_details(config) and self._sampled[r.id] < SAMPLE
        ]
        asking = needing + sampling
        left = self._allowed(now) if asking else 0
        news = set()
        for i, rollout in enumerate(asking):
            needs = i < len(needing)
            sharing = len(needing if needs else asking) - i  # the sample gets what those leave
            most = math.ceil(left / sharing)
            used, failed = self._read(rollout, most if needs else min(most, SAMPLE - self._sampled[rollout.id]), now)
            left -= used
            if used and self._sampled[rollout.id] < SAMPLE:
                self._tell_of_backup_models(rollout)
            if used and needs:
                news.add(rollout.id)
            self._sampled[rollout.id] += used
            if failed:
                break
        return news

    def _allowed(self, now: datetime) -> int:
        most = max(1.0, self.rate * _MOST_SAVED / 60)  # a rate below one call a minute saves up for one
        since = self._used_until
        saved = most if since is None else max(0.0, (now - since).total_seconds()) * self.rate / 60
        count = int(min(saved, most))
        if count:
            self._used_until = now
        return count

    def _read(self, rollout: Rollout, most: int, now: datetime) -> tuple[int, bool]:
        """(calls read, whether reading failed)"""
        assert rollout.started_at is not None
        agents = sorted({ref.pair for ref in rollout.plan.arms.values()} | baseline_pairs(rollout.targets))
        since = max(rollout.started_at, now - DETAILS_WAIT)
        numbers = [t.number for t in rollout.targets if t.wave <= rollout.position.wave]
        found: dict[str, CallDetails] = {}
        failure: Failure | None = None
        for call_id in self.app.store.calls.without_details(numbers, agents, since, most) if most else ():
            read = self.calls.details(call_id)
            if isinstance(read, Failure):
                failure = read
                log.warning("a call was not read", rollout=rollout.id, error=read.detail)
                break
            found[call_id] = read
        if found:
            self.app.store.calls.keep_details(found)
        return len(found), failure is not None

    def _tell_of_backup_models(self, rollout: Rollout) -> None:
        """At most once a day."""
        assert rollout.started_at is not None
        numbers, channels = [t.number for t in rollout.targets], [str(c) for c in rollout.plan.channels]
        calls = self.app.store.calls.since(numbers, channels, rollout.started_at)
        tried = {ref.pair for ref in rollout.plan.arms.values()}
        sentence = backup_models.share_warning(calls, tried, baseline_pairs(rollout.targets))
        if sentence is not None:
            self.app.store.note_once_a_day(rollout.id, JournalEntry("backup_models", SERVICE, sentence))


def _needs_details(config: GateConfig) -> bool:
    return any(m.sampled for m in config.metrics)
