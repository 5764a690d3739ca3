"""The page's state, once per process: the service, templates and files."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rollout.adapters.store.heartbeats import ServiceHeartbeat
from rollout.adapters.store.journal import RecordedEntry
from rollout.domain.lifecycle.entries import (
    CommandGiven,
    IntendedBatch,
    PreflightSummary,
    ServiceEvent,
    SettledBatch,
    parse,
)
from rollout.domain.lifecycle.hand_split import HandSplit
from rollout.domain.lifecycle.state import Kind
from rollout.domain.versions.difference import difference_lines
from rollout.interfaces.api.service import ApiService
from rollout.interfaces.dashboard.account_page import AccountSnapshot
from rollout.interfaces.dashboard.assets import Assets
from rollout.interfaces.dashboard.render import environment
from rollout.interfaces.views.journal import wording

MOST_LINES = 50_000  # kept of all journals together


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One journal entry as the page shows it; `position` is WAVE.STEP where the entry names one."""

    seq: int
    at: datetime
    actor: str
    kind: str
    text: str
    position: str | None
    baseline: bool  # whether it is about writing baselines back
    retreated: int | None = None  # basis points, when it is about the weight of closing time
    by_hand: HandSplit | None = None  # what a person set, where that is what is written or read back
    differences: tuple[str, ...] = ()  # between the versions, where pre-flight compared them


class PageState:
    """One per process; safe to use from any thread."""

    def __init__(self, service: ApiService) -> None:
        self.service = service
        self.account = AccountSnapshot(lambda: service.app.numbers, service.app.clock)
        self.assets = Assets()
        self.templates = environment(self.assets)
        self._lock = threading.Lock()
        self._lines: OrderedDict[str, list[HistoryLine]] = OrderedDict()

    def history(self, id_: str) -> list[HistoryLine]:
        """The whole journal of a rollout, oldest first.

        Its lines are kept, for a fleet's entries are long: entries never change, so only new ones are read.
        """
        with self._lock:
            known = self._lines.get(id_, [])
        added = self.service.app.store.history(id_, known[-1].seq if known else 0)
        lines = [*known, *(line_of(e) for e in added)]
        with self._lock:
            self._lines[id_] = lines
            self._lines.move_to_end(id_)
            while len(self._lines) > 1 and sum(map(len, self._lines.values())) > MOST_LINES:
                self._lines.popitem(last=False)
        return lines

    def trouble(self) -> str:
        """The reason that nothing moves at the moment, if so: no process of the service ticks, or one says what it lacks."""
        return _trouble(self.service.app.store.heartbeats.services())


def _trouble(services: Sequence[ServiceHeartbeat]) -> str:
    if not services:
        return "No service is driving rollouts at the moment: nothing moves until `rollout serve` runs."
    return next((s.trouble for s in services if s.trouble), "")


def line_of(entry: RecordedEntry) -> HistoryLine:
    """A journal entry, reduced to what people read."""
    data = entry.data
    said = parse(entry.kind, data)
    position = said.position if isinstance(said, IntendedBatch | ServiceEvent | CommandGiven) else None
    is_baseline = isinstance(said, IntendedBatch | SettledBatch) and said.kind is Kind.BASELINE
    return HistoryLine(
        entry.seq,
        entry.at,
        entry.actor,
        entry.kind,
        wording(entry.kind, entry.reason, data),
        None if position is None else str(position),
        is_baseline or entry.kind in ("read_back", "restored", "restored_outside"),
        said.retreated if isinstance(said, IntendedBatch | ServiceEvent) else None,
        said.by_hand if isinstance(said, IntendedBatch | ServiceEvent) else None,
        tuple(difference_lines(said.differences)) if isinstance(said, PreflightSummary) else (),
    )
