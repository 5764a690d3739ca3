"""Compares every live split with the one we know, by the list of the whole account.

One request per 1,000 numbers. It only finds suspects: a suspect's rollout becomes due, and its driver
reads the number again and decides.
"""

from __future__ import annotations

import structlog

from rollout.app import App
from rollout.domain.lifecycle.state import TargetState
from rollout.domain.writes.answers import Failure
from rollout.domain.writes.drift import believes_equal_readings
from rollout.domain.writes.protocol import Finding, examine_reading, shows

log = structlog.get_logger(__name__)

_SETTLED = frozenset({TargetState.DRIFTED, TargetState.TOUCHED, TargetState.FOREIGN, TargetState.MISSING})


class Drift:
    """The regular scan for drift."""

    def __init__(self, app: App) -> None:
        self.app = app

    def tick(self) -> int:
        """Scan the account once; return how many rollouts have differences to check."""
        store = self.app.store
        began = store.now()
        watched = store.watched(began)
        if not watched:
            return 0
        shown = {}
        for item in self.app.numbers.all():
            if isinstance(item, Failure):
                log.warning("scan not finished", error=item.detail)
                return 0
            shown[item.number] = item
        suspects: dict[str, None] = {}
        for w in watched:
            reading = shown.get(w.target.number)
            if reading is None:
                if w.target.state is not TargetState.MISSING:
                    suspects[w.rollout_id] = None
                continue
            finding = examine_reading(w.target, reading, (), began, w.plan).finding
            if w.target.state is TargetState.MISSING and w.target.written:
                suspects[w.rollout_id] = None  # it is back
            elif finding is Finding.AS_EXPECTED:
                continue
            elif (
                finding is Finding.STALE
                and not believes_equal_readings(w.phase)
                and shows(reading.lists, w.target.split)
            ):
                continue  # an older state that is as confirmed; an edit behind a wrong time stamp is not
            if w.target.state in _SETTLED and w.target.live == {f: reading.lists.get(f) for f in w.target.baseline}:
                continue  # known already, and a person is to answer
            suspects[w.rollout_id] = None
        if suspects:
            store.wake(list(suspects))
            log.info("scan found differences", rollouts=list(suspects))
        return len(suspects)
