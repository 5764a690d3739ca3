"""The page's state, once per process: the service, templates and files."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rollout.adapters.store import housekeeping
from rollout.adapters.store.journal import RecordedEntry
from rollout.interfaces.api.service import ApiService
from rollout.interfaces.dashboard.assets import Assets
from rollout.interfaces.dashboard.render import environment

MOST_JOURNALS = 100  # of which the lines are kept


@dataclass(frozen=True, slots=True)
class Line:
    """One journal entry as the page shows it; `position` is WAVE.STEP where the entry names one."""

    seq: int
    at: datetime
    actor: str
    kind: str
    text: str
    position: str | None
    baseline: bool  # whether it is about writing baselines back
    retreated: int | None = None  # basis points, when it is about the weight of closing time


class PageState:
    """One per process; safe to use from any thread."""

    def __init__(self, service: ApiService) -> None:
        self.service = service
        self.assets = Assets()
        self.templates = environment(self.assets)
        self._lock = threading.Lock()
        self._lines: OrderedDict[str, list[Line]] = OrderedDict()

    def history(self, id_: str) -> list[Line]:
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
            if len(self._lines) > MOST_JOURNALS:
                self._lines.popitem(last=False)
        return lines

    def trouble(self) -> str:
        """Why nothing moves at the moment, if so: no process of the service ticks, or one says what it lacks."""
        return _trouble(self.service.app.store.services())


def _trouble(services: Sequence[housekeeping.ServiceHeartbeat]) -> str:
    if not services:
        return "No service is driving rollouts at the moment: nothing moves until `rollout serve` runs."
    return next((s.trouble for s in services if s.trouble), "")


def line_of(entry: RecordedEntry) -> Line:
    """A journal entry, reduced to what people read."""
    data = entry.data
    position = data.get("position")
    if isinstance(position, Mapping):
        position = f"{position.get('wave')}.{position.get('step')}"
    return Line(
        entry.seq,
        entry.at,
        entry.actor,
        entry.kind,
        _text(entry, data),
        position,
        data.get("kind") == "baseline" or entry.kind in ("read_back", "restored", "restored_outside"),
        data.get("retreated"),
    )


def _text(entry: RecordedEntry, data: Mapping[str, Any]) -> str:
    outcomes = data.get("outcomes")
    if entry.kind == "settled" and isinstance(outcomes, Mapping):
        counts: dict[str, int] = {}
        for outcome in outcomes.values():
            word = outcome["outcome"] if isinstance(outcome, Mapping) else str(outcome)
            counts[word] = counts.get(word, 0) + 1
        return ", ".join(f"{n} {word.replace('_', ' ')}" for word, n in counts.items())
    if entry.kind == "intended":
        what = "the baseline" if data.get("kind") == "baseline" else f"step {data.get('position')}"
        if data.get("retreated") is not None:
            what = f"the retreat weight, {data['retreated'] / 100:g} %,"
        writes = data.get("change", {}).get("new_writes", ())
        return f"to write {what} to {len(writes)} number{'' if len(writes) == 1 else 's'}"
    findings = data.get("findings")
    if entry.kind == "observed" and not entry.reason and isinstance(findings, Mapping):
        return ", ".join(f"{number}: {str(found).replace('_', ' ')}" for number, found in list(findings.items())[:5])
    if entry.kind == "promote" and data.get("to"):
        step = f"from {data.get('from')} to {data['to']}"
        return f"{step}: {entry.reason}" if entry.reason else step
    return entry.reason
