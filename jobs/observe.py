"""Fetches and stores the calls of every number in a rollout; news makes the rollout due.

By high-water mark: each fetch asks from the oldest call that may still get a result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice

import structlog

from jobs.call_details import CallDetailsReader
from rollout.app import App
from rollout.domain.calls import CallRecord, FetchMark
from rollout.domain.gates.counting import MOST_WAIT
from rollout.domain.gates.earlier_calls import BEFORE as HISTORY
from rollout.domain.gates.earlier_calls import LEAST_CALLS
from rollout.domain.gates.observations import baseline_pairs
from rollout.domain.gates.verdict import Alarm, GateOutcome
from rollout.domain.lifecycle.records import JournalEntry
from rollout.domain.lifecycle.state import Rollout, TargetState
from rollout.domain.writes.answers import Failure
from rollout.engine.gate_check import config_of
from rollout.engine.ports import Calls
from rollout.engine.write_protocol import SERVICE

log = structlog.get_logger(__name__)

OVERLAP = timedelta(seconds=60)  # calls that Retell lists late
BEFORE = timedelta(days=1)  # the baseline's own earlier calls, in every first fetch of a number
LEAST_LOOK_BACK = timedelta(hours=2)  # so that late analyses are seen even when the usual wait is short
# Further back, where a day has too few calls: at most so many calls, of at most so many numbers of the first wave.
HISTORY_CALLS, HISTORY_NUMBERS = 2_000, 25
FURTHER_BACK_EVERY = timedelta(hours=1)
AFTER_END_EVERY = timedelta(minutes=1)  # calls of promoted rollouts, which are watched for a week


@dataclass(frozen=True, slots=True)
class _Ask:
    rollout_id: str
    number: str
    channel: str
    agents: tuple[tuple[str, int], ...]
    since: datetime
    longest: timedelta
    failed: bool  # the last look
    started_at: datetime
    baseline: tuple[tuple[str, int], ...]
    fields: frozenset[str] = frozenset()  # custom analysis fields that the plan names
    further_back: int = 0  # calls of the baseline to read from before, where a day has too few


@dataclass(frozen=True, slots=True)
class _Got:
    calls: int  # new or corrected
    failed: bool


class Observe:
    """The regular fetch of calls."""

    def __init__(self, app: App, calls: Calls) -> None:
        self.app = app
        self.calls = calls
        self._details = CallDetailsReader(app, calls, app.settings.call_details_per_minute)
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="observe")
        self._looked_back: dict[tuple[str, str], datetime] = {}  # of numbers asked for lately
        self._after_end_at: datetime | None = None

    def tick(self) -> int:
        """One round; returns how many calls were new or corrected."""
        store = self.app.store
        now = store.now()
        ended = {r.id: r for r in self._promoted(now)}
        watched = [*store.in_flight(), *ended.values()]
        asks = [a for r in watched for a in self._asks(r, now)]
        self._looked_back = {of: at for of, at in self._looked_back.items() if now - at < 2 * FURTHER_BACK_EVERY}
        changed, news = 0, set[str]()
        for ask, got in zip(asks, self._pool.map(lambda a: self._fetch(a, now), asks), strict=True):
            changed += got.calls
            if got.calls or got.failed != ask.failed:  # so that an outage and its end show at once
                news.add(ask.rollout_id)
        self._pass_on(news, ended, now)  # before details are read: a gate that fails without them need not wait
        self._pass_on(self._details.read(watched, now), ended, now)
        return changed

    def _pass_on(self, news: set[str], ended: Mapping[str, Rollout], now: datetime) -> None:
        """Wake the live rollouts that have news, and send notices about ended ones."""
        if live := sorted(news - ended.keys()):
            self.app.store.wake(live, read_numbers=False)
        for id_ in sorted(news & ended.keys()):
            self._tell(ended[id_], now)

    def _promoted(self, now: datetime) -> list[Rollout]:
        if self._after_end_at is not None and now - self._after_end_at < AFTER_END_EVERY:
            return []
        self._after_end_at = now
        return self.app.store.promoted_lately()

    def _tell(self, rollout: Rollout, now: datetime) -> None:
        """Record, at most once a day, that the calls got worse after the end; a notice follows, and nothing else is done."""
        found = self.app.driver.facts.gates.look(rollout, now)
        said = found.verdict
        if said is None or not (said.alarm is Alarm.WATCH or said.outcome is GateOutcome.FAIL):
            return
        data = {"position": str(rollout.position), "verdict": said.to_json()}
        self.app.store.note_once_a_day(rollout.id, JournalEntry("watched", SERVICE, said.reason, data))

    def _asks(self, rollout: Rollout, now: datetime) -> list[_Ask]:
        marks = self.app.store.calls.marks([t.number for t in rollout.targets])
        if config_of(rollout.plan) is None and not any(s.min_calls for s in rollout.plan.steps):
            self._forget(m for m in marks.values() if _is_past(m, rollout, False))
            return []
        arms = {ref.pair for ref in rollout.plan.arms.values()}
        agents = tuple(sorted(arms | baseline_pairs(rollout.targets)))
        assert rollout.started_at is not None
        asks: list[_Ask] = []
        first = [t.number for t in rollout.targets if t.wave == 1][:HISTORY_NUMBERS]
        for target in rollout.targets:
            if target.wave > rollout.position.wave or target.state is TargetState.SUPERSEDED:
                continue
            for channel in rollout.plan.channels:
                mark = marks.get((target.number, str(channel)))
                # A mark of an earlier rollout on this number does not cover this one's agents.
                known = mark is not None and mark.polled_at >= rollout.started_at
                since = mark.since if mark is not None and known else rollout.started_at - BEFORE
                if known:
                    since = self._far_enough(target.number, str(channel), since, now)
                unread = rollout.history is None and not known and target.number in first
                asks.append(
                    _Ask(
                        rollout.id,
                        target.number,
                        str(channel),
                        agents,
                        since,
                        rollout.plan.gates.max_call_time,
                        mark is not None and (mark.trouble_since or rollout.started_at) > rollout.started_at,
                        rollout.started_at,
                        tuple(sorted(baseline_pairs(rollout.targets))),
                        frozenset(m.custom for m in rollout.plan.gates.metrics or () if m.custom),
                        HISTORY_CALLS // len(first) if unread else 0,
                    )
                )
        asked = {(a.number, a.channel) for a in asks}
        self._forget(m for key, m in marks.items() if _is_past(m, rollout, key in asked))
        return asks

    def _forget(self, past: Iterable[FetchMark]) -> None:
        """Clear the troubles that earlier rollouts left on marks: those calls are no longer fetched."""
        for mark in past:
            self.app.store.calls.mark(replace(mark, trouble="", trouble_since=None))

    def _far_enough(self, number: str, channel: str, since: datetime, now: datetime) -> datetime:
        """Where to fetch from: once an hour a day back, so that late analyses are seen, however late they are."""
        last = self._looked_back.setdefault((number, channel), now)
        if now - last < FURTHER_BACK_EVERY:
            return since
        self._looked_back[number, channel] = now
        return min(since, now - MOST_WAIT)

    def _fetch(self, ask: _Ask, now: datetime) -> _Got:
        store = self.app.store
        records: list[CallRecord] = []
        failure: Failure | None = None
        for item in self.calls.since(ask.number, ask.channel, ask.agents, ask.since):
            if isinstance(item, Failure):
                failure = item
                break
            records.append(_kept(item, ask.fields))
        changed = store.calls.observe(records)
        if failure is None and ask.further_back:
            changed += self._read_history(ask, records)
        if failure is not None:
            store.calls.mark_trouble(ask.number, ask.channel, ask.since, failure.detail)
            log.warning("calls not fetched", rollout=ask.rollout_id, number=ask.number[:5] + "…", error=failure.detail)
            return _Got(changed, True)
        waiting = [c.started_at for c in records if c.started_at is not None and not _settled(c, now, ask.longest)]
        newest = max((c.started_at for c in records if c.started_at is not None), default=ask.since)
        since = max(ask.since, min([*waiting, newest]) - OVERLAP)
        store.calls.mark(FetchMark(ask.number, ask.channel, since, now))
        return _Got(changed, False)

    def _read_history(self, ask: _Ask, records: list[CallRecord]) -> int:
        """Read the baseline's calls of earlier weeks if its last day has too few to show its usual rates."""
        before = [c for c in records if (c.agent_id, c.agent_version) in ask.baseline and c.analyzed]
        if len(before) >= LEAST_CALLS:
            return 0
        found: list[CallRecord] = []
        listed = self.calls.since(ask.number, ask.channel, ask.baseline, ask.started_at - HISTORY)
        for item in islice(listed, ask.further_back):
            if isinstance(item, Failure):
                log.warning("earlier calls not fetched", rollout=ask.rollout_id, error=item.detail)
                break
            if item.started_at is not None and item.started_at >= ask.since:
                break
            found.append(_kept(item, ask.fields))
        return self.app.store.calls.observe(found)

    def stop(self) -> None:
        """Wait for the fetch under way."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _is_past(mark: FetchMark, rollout: Rollout, asked: bool) -> bool:
    """True if a mark's trouble does not concern this rollout: another channel, or from before it began."""
    if mark.trouble_since is None or rollout.started_at is None:
        return False
    return not asked or mark.trouble_since < rollout.started_at


def _kept(call: CallRecord, fields: frozenset[str]) -> CallRecord:
    """The call without the text fields that no gate uses, because text may identify the caller."""
    custom = {k: v for k, v in call.custom.items() if k in fields or not isinstance(v, str)}
    return call if len(custom) == len(call.custom) else replace(call, custom=custom)


def _settled(call: CallRecord, now: datetime, longest: timedelta) -> bool:
    assert call.started_at is not None
    if call.status == "not_connected" or call.analyzed:
        return True
    return now - call.started_at > max(longest, LEAST_LOOK_BACK)
