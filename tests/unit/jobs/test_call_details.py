"""Reading calls one by one: how many, of which rollouts, and what is told of backup models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobs import call_details
from jobs.call_details import CallDetailsReader
from rollout.domain.calls import CallDetails, CallRecord
from rollout.domain.gates import backup_models
from rollout.domain.gates.counting import DETAILS_WAIT
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.records import JournalEntry
from rollout.domain.lifecycle.state import Position, Rollout
from rollout.domain.writes.answers import Failure, Trouble
from tests.support.clock import START
from tests.support.values import AGENT, ONE, TWO, plan, rollout, target

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
NEEDS = {"metrics": [{"name": "success"}, {"name": "backup_model"}]}


@dataclass
class Store:
    """What the reader asks of a store: each rollout's number has so many calls that were not read."""

    waiting: dict[str, int]
    asked: list[dict[str, Any]] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    noted: list[tuple[str, JournalEntry]] = field(default_factory=list)

    def without_details(
        self, numbers: Sequence[str], agents: Sequence[tuple[str, int]], since: datetime, limit: int
    ) -> list[str]:
        self.asked.append({"numbers": list(numbers), "agents": list(agents), "since": since, "limit": limit})
        count = min(limit, self.waiting[numbers[0]])
        self.waiting[numbers[0]] -= count
        return [f"{numbers[0]}-{self.waiting[numbers[0]] + i}" for i in range(count)]

    def keep_details(self, found: dict[str, CallDetails]) -> None:
        self.kept += found

    def since(self, numbers: Sequence[str], channels: Sequence[str], since: datetime) -> list[CallRecord]:
        self.told_of = (list(numbers), list(channels), since)
        return []

    def note_once_a_day(self, rollout_id: str, entry: JournalEntry) -> None:
        self.noted.append((rollout_id, entry))

    @property
    def calls(self) -> Store:
        return self


class Calls:
    """Implements what is needed of rollout.engine.ports.Calls; fails from the call on that `broken_at` counts."""

    def __init__(self, broken_at: int | None = None) -> None:
        self.read, self.broken_at = 0, broken_at

    def details(self, call_id: str) -> CallDetails | Failure:
        if self.read == self.broken_at:
            return Failure(Trouble.UNREACHABLE, "down")
        self.read += 1
        return CallDetails(False, {})


def reader(store: Store, rate: float = 60, calls: Calls | None = None) -> CallDetailsReader:
    return CallDetailsReader(cast(Any, SimpleNamespace(store=store)), cast(Any, calls or Calls()), rate)


def judged(id_: str, number: str = ONE, gates: Any = None, **changes: Any) -> Rollout:
    of = plan([number], gates=gates)
    return rollout(**{"id": id_, "plan": of, "targets": (target(number),), "started_at": START, **changes})


def test_the_rate_is_caught_up_for_a_minute_and_what_was_not_used_is_kept() -> None:
    store = Store({ONE: 1_000})
    read, needing = reader(store, rate=30), [judged("r1", gates=NEEDS)]
    found = []
    now = START
    for seconds in (0, 0, 1, 1, 2, 600, 60):
        now += seconds * SECOND
        before = len(store.kept)
        read.read(needing, now)
        found.append(len(store.kept) - before)
    assert found == [30, 0, 0, 1, 1, 30, 30]


def test_a_rate_below_one_a_minute_saves_up_for_one() -> None:
    store = Store({ONE: 9})
    read, needing = reader(store, rate=0.5), [judged("r1", gates=NEEDS)]
    for minutes, kept in ((0, 1), (1, 1), (2, 2), (9, 3), (10, 3)):
        read.read(needing, START + minutes * MINUTE)
        assert len(store.kept) == kept


def test_rollouts_share_the_rate_and_what_one_leaves_the_next_one_gets() -> None:
    store = Store({ONE: 5, TWO: 1_000})
    both = [judged("r1", ONE, NEEDS), judged("r2", TWO, NEEDS)]
    assert reader(store).read(both, START) == {"r1", "r2"}
    assert [asked["limit"] for asked in store.asked] == [30, 55]
    quiet = Store({ONE: 0, TWO: 1})
    assert reader(quiet).read(both, START) == {"r2"}, "only what was read is news"


def test_a_sample_is_read_of_what_the_metrics_that_need_calls_leave() -> None:
    store = Store({ONE: 40, TWO: 1_000})
    both = [judged("r1", TWO), judged("r2", ONE, NEEDS)]
    assert reader(store).read(both, START) == {"r2"}, "a sample moves no gate"
    assert [(asked["numbers"], asked["limit"]) for asked in store.asked] == [([ONE], 60), ([TWO], 20)]


def test_samples_are_as_large_as_they_need_to_be_and_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_details, "SAMPLE", 4)
    store = Store({ONE: 100})
    read, sampled = reader(store), [judged("r1")]
    for _ in range(2):
        read.read(sampled, START)
    assert (len(store.kept), [asked["limit"] for asked in store.asked]) == (4, [4])
    read.read([], START + MINUTE)
    read.read(sampled, START + 2 * MINUTE)
    assert len(store.kept) == 8, "one that had ended and is live again"


def test_what_a_metric_needs_is_read_beyond_the_size_of_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_details, "SAMPLE", 4)
    store = Store({ONE: 100})
    reader(store).read([judged("r1", gates=NEEDS)], START)
    assert len(store.kept) == 60


def test_two_samples_are_read_at_the_same_time() -> None:
    store = Store({ONE: 1_000, TWO: 1_000})
    reader(store).read([judged("r1", ONE), judged("r2", TWO)], START)
    assert [asked["limit"] for asked in store.asked] == [30, 30]


@pytest.mark.parametrize(
    ("gates", "phase", "read"),
    [
        (None, Phase.PROGRESSING, True),
        (None, Phase.PROMOTED, False),
        (NEEDS, Phase.PROMOTED, True),
        ([], Phase.PROGRESSING, False),
    ],
    ids=["sample", "ended", "ended and needed", "no gates"],
)
def test_calls_are_read_where_a_gate_asks_for_them_or_a_live_rollout_has_one(
    gates: Any, phase: Phase, read: bool
) -> None:
    store = Store({ONE: 10})
    reader(store).read([judged("r1", gates=gates, phase=phase)], START)
    assert bool(store.kept) is read


def test_the_calls_that_are_read_are_those_that_the_gates_may_still_use() -> None:
    """Of both sides, of the waves under way, of this rollout, and not given up yet."""
    store = Store({ONE: 10})
    of = plan([ONE, TWO], gates=NEEDS, waves=[1, "100%"])
    targets = (target(ONE), target(TWO, ord=1, wave=2))
    for minutes, wave, numbers, since in (
        (5, 1, [ONE], START),
        (25, 2, [ONE, TWO], START + 25 * MINUTE - DETAILS_WAIT),
    ):
        under_way = judged("r1", plan=of, targets=targets, position=Position(wave, 1))
        reader(store).read([under_way], START + minutes * MINUTE)
        asked = store.asked[-1]
        assert (asked["numbers"], asked["since"]) == (numbers, since)
        assert asked["agents"] == [(AGENT, 6), (AGENT, 7)]


def test_what_was_read_before_a_failure_is_kept_and_nothing_is_asked_for_after_it() -> None:
    store = Store({ONE: 50, TWO: 50})
    both = [judged("r1", ONE, NEEDS), judged("r2", TWO, NEEDS)]
    assert reader(store, calls=Calls(broken_at=3)).read(both, START) == {"r1"}
    assert len(store.kept) == 3
    assert [asked["numbers"] for asked in store.asked] == [[ONE]]


def test_what_differs_between_the_models_is_told_while_the_sample_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_details, "SAMPLE", 2)
    said: list[str | None] = ["a backup model answered more often"]
    monkeypatch.setattr(backup_models, "share_warning", lambda *_asked: said[0])
    store = Store({ONE: 1})
    read, needing = reader(store), [judged("r1", gates=NEEDS)]
    read.read(needing, START)
    ((id_, entry),) = store.noted
    assert (id_, entry.kind, entry.actor, entry.reason) == ("r1", "backup_models", "service", said[0])
    assert store.told_of == ([ONE], ["inbound"], START)
    read.read(needing, START + MINUTE)
    assert len(store.noted) == 1, "nothing was read"
    said[0] = None
    store.waiting[ONE] = 1
    read.read(needing, START + 2 * MINUTE)
    assert len(store.noted) == 1, "they do not differ"
    said[0] = "again"
    store.waiting[ONE] = 1
    read.read(needing, START + 3 * MINUTE)
    assert len(store.noted) == 1, "the sample is complete"
