"""The overview: every unfinished rollout as a row, those that need a person first, finished ones below."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rollout.domain.errors import InputError
from rollout.domain.gates.summary import meters
from rollout.domain.gates.verdict import GateOutcome, GateVerdict
from rollout.domain.lifecycle.machine import Phase
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.splits import splits
from rollout.engine.gate_check import config_of
from rollout.interfaces.auth.roles import Caller
from rollout.interfaces.dashboard import charts
from rollout.interfaces.dashboard.page_state import PageState
from rollout.interfaces.views import rollout as views

PER_PAGE = 50
# What a person has to answer comes first, then what is going back, then what goes on.
_ORDER = (
    Phase.HELD,
    Phase.ROLLING_BACK,
    Phase.PAUSED,
    Phase.PROGRESSING,
    Phase.PENDING,
    Phase.PROMOTED,
    Phase.ROLLED_BACK,
    Phase.STOPPED,
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """How far the gates have come, 0..1 each; `outcome` is the verdict's."""

    outcome: str
    rollback: float
    promotion: float
    label: str


@dataclass(frozen=True, slots=True)
class OverviewRow:
    """One rollout of a list."""

    id: str
    name: str
    phase: str
    reason: str | None
    position: str
    weight: float
    stairs: charts.Stairs
    evidence: Evidence | None
    next: str
    why: str
    due_at: datetime | None
    created_at: datetime
    updated_at: datetime
    numbers: int
    gated: bool
    needs_answer: bool


def page(page_state: PageState, caller: Caller, query: Mapping[str, str]) -> dict[str, Any]:
    """Everything the overview shows. `query`: q (text), phase, page (from 1), before (cursor of finished)."""
    text, phase = query.get("q", "").strip()[:100], query.get("phase", "")
    everything = page_state.service.live(caller)
    fitting = [r for r in everything if fits(r, text)]
    counts = Counter(str(r.phase) for r in fitting)
    chosen = [r for r in fitting if not phase or str(r.phase) == phase]
    chosen.sort(key=lambda r: (_ORDER.index(r.phase), not needs_answer(r), -r.updated_at.timestamp()))
    pages = max(1, -(-len(chosen) // PER_PAGE))
    number = min(pages, max(1, int(query["page"]) if query.get("page", "").isdecimal() else 1))
    shown = chosen[(number - 1) * PER_PAGE : number * PER_PAGE]
    finished, older = _finished(page_state, caller, text, query.get("before", ""))
    sizes = page_state.service.lookups.numbers([r.id for r in (*shown, *finished)])
    return {
        "rows": [row(r, len(sizes.get(r.id, ()))) for r in shown],
        "finished": [row(r, len(sizes.get(r.id, ()))) for r in finished],
        "older": older,
        "before": query.get("before", ""),
        "live_total": len(everything),
        "counts": [(str(p), counts[str(p)]) for p in _ORDER if p.is_live and counts[str(p)]],
        "waiting": sum(1 for r in everything if needs_answer(r)),
        "q": text,
        "phase": phase,
        "page": number,
        "pages": pages,
        "now": page_state.service.app.store.now(),
        "trouble": page_state.trouble(),
    }


def _finished(
    page_state: PageState, caller: Caller, text: str, cursor: str, most: int = 20
) -> tuple[list[Rollout], str | None]:
    """A page of finished rollouts that fit, newest first, and the cursor of the next."""
    before = read_cursor(cursor) if cursor else None
    found: list[Rollout] = []
    last: Rollout | None = None
    for _ in range(10):  # where most is not the caller's business
        store = page_state.service.app.store
        batch = store.summaries(live=False, before=before, limit=most + 1, containing=text)
        for r in page_state.service.visible(caller, batch):
            if len(found) == most:
                return found, write_cursor(found[-1])
            found.append(r)
        if len(batch) <= most:
            return found, None
        last = batch[-1]
        before = (last.created_at, last.id)
    return found, write_cursor(last) if last else None


def write_cursor(last: Rollout) -> str:
    """Where the next page begins: behind this rollout."""
    return f"{last.created_at.isoformat()} {last.id}"


def read_cursor(text: str) -> tuple[datetime, str]:
    """The place that `write_cursor` wrote; InputError for anything else."""
    moment, _, id_ = text.partition(" ")
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None or not id_.isalnum():
        raise InputError("before: follow the link `older` of a list, or leave it out")
    return at, id_


def fits(r: Rollout, text: str) -> bool:
    """True if a rollout's name, id, or one of the numbers it lists contains this text."""
    if not text:
        return True
    wanted = text.casefold()
    return (
        wanted in r.name.casefold() or wanted in r.id or any(isinstance(n, str) and wanted in n for n in r.plan.numbers)
    )


def needs_answer(r: Rollout) -> bool:
    """True if it waits for a person: held, or green at a step that a person must approve."""
    return r.phase is Phase.HELD or r.waiting_for is WaitingFor.APPROVAL


def row(r: Rollout, numbers: int) -> OverviewRow:
    """A rollout without its targets as a row."""
    confirmed = r.confirmed_at is not None or r.phase.is_final
    ended = str(r.phase) if r.phase in (Phase.PROMOTED, Phase.ROLLED_BACK) else ""
    weights = [sum(r.plan.weights(i).values()) / splits.TOTAL for i in range(1, r.plan.last_step + 1)]
    return OverviewRow(
        r.id,
        r.name,
        str(r.phase),
        r.reason,
        str(r.position),
        views.summary(r)["weight"],
        charts.stairs(weights, r.position.step, confirmed, ended),
        evidence_of(r.verdict),
        r.next,
        r.why,
        r.due_at,
        r.created_at,
        r.updated_at,
        numbers,
        config_of(r.plan) is not None,
        needs_answer(r),
    )


def evidence_of(verdict: GateVerdict | None) -> Evidence | None:
    """The furthest meter towards a rollback, and the last one towards promotion, over all arms."""
    if verdict is None or not verdict.arms:
        return None
    back, safe = [], []
    for kept in verdict.arms.values():
        harm, proofs = meters(kept)
        back.append(harm.part)
        if kept.outcome is GateOutcome.PASS:
            safe.append(1.0)
        elif proofs:
            safe.append(min(proof.part for proof in proofs))
    rollback, promotion = max(back), min(safe, default=0.0)
    label = f"{rollback:.0%} of the way to a rollback, {promotion:.0%} to the proof that it is not worse"
    return Evidence(str(verdict.outcome), rollback, promotion, label)
