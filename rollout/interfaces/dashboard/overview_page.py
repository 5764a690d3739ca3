"""The overview: every unfinished rollout as a row, those that need a person first, and below them those that ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from rollout.adapters.store.interface_queries import EndedSearch
from rollout.domain.errors import InputError
from rollout.domain.gates.summary import meters
from rollout.domain.gates.verdict import GateOutcome, GateVerdict
from rollout.domain.lifecycle.machine import PausedBy, Phase
from rollout.domain.lifecycle.state import Rollout
from rollout.domain.lifecycle.waiting import WaitingFor
from rollout.domain.splits import splits
from rollout.engine.gate_check import config_of
from rollout.interfaces.auth.roles import Caller
from rollout.interfaces.dashboard import bulk, charts, formatting
from rollout.interfaces.dashboard.page_state import PageState
from rollout.interfaces.dashboard.paging import page_of
from rollout.interfaces.views import listing
from rollout.interfaces.views import rollout as views
from rollout.interfaces.views.listing import ListOrder

PER_PAGE = 50
ENDED_PER_PAGE = 20
ORDER_WORDS: Mapping[ListOrder, str] = {
    ListOrder.PHASE: "urgency",
    ListOrder.CREATED: "newest first",
    ListOrder.UPDATED: "last change",
    ListOrder.DUE: "next check",
    ListOrder.NAME: "name",
    ListOrder.WEIGHT: "weight",
}


@dataclass(frozen=True, slots=True)
class OverviewFilter:
    """A reader's choice. `phase`: "" for any; `agent`: ID, ID:VERSION, or "" for any."""

    text: str = ""
    phase: str = ""
    agent: str = ""
    sort: ListOrder = ListOrder.PHASE
    by_agent: bool = False

    @property
    def is_narrow(self) -> bool:
        """True if some rollouts may be left out."""
        return bool(self.text or self.phase or self.agent)

    @property
    def query(self) -> str:
        """The choice as the query of an address, without its empty parts."""
        chosen = {
            "q": self.text,
            "phase": self.phase,
            "agent": self.agent,
            "sort": "" if self.sort is ListOrder.PHASE else str(self.sort),
            "group": "agent" if self.by_agent else "",
        }
        return urlencode({name: value for name, value in chosen.items() if value})

    def live(self, page_state: PageState, caller: Caller) -> tuple[list[Rollout], list[Rollout]]:
        """(every unfinished rollout of this caller's, those of them that fit in the chosen order)."""
        everything = page_state.service.live(caller)
        pairs = [(r, views.summary(r)) for r in everything if fits_text(r, self.text)]
        phases = {self.phase} if self.phase else None
        chosen = [pair for pair in pairs if listing.fits(pair[1], phases, self.agent or None)]
        chosen.sort(key=lambda pair: listing.ORDERS[self.sort](pair[1]))
        if self.by_agent:
            chosen.sort(key=lambda pair: agent_of(pair[0]))
        return everything, [r for r, _ in chosen]


def read_filter(query: Mapping[str, str]) -> OverviewFilter:
    """The filter that an address names; an unknown value counts as not chosen."""
    phase, sort = query.get("phase", ""), query.get("sort", "")
    return OverviewFilter(
        query.get("q", "").strip()[:100],
        phase if phase in list(Phase) else "",
        query.get("agent", "").strip()[:100],
        ListOrder(sort) if sort in list(ListOrder) else ListOrder.PHASE,
        query.get("group", "") == "agent",
    )


@dataclass(frozen=True, slots=True)
class Evidence:
    """The progress of the gates, 0..1 each; `outcome` is the verdict's."""

    outcome: str
    rollback: float
    promotion: float
    label: str


@dataclass(frozen=True, slots=True)
class OverviewRow:
    """One rollout of a list."""

    id: str
    name: str
    agent: str
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


@dataclass(frozen=True, slots=True)
class RowGroup:
    """The rows of one agent on this page; `total` counts its rollouts on all pages. Ungrouped: one group without one."""

    agent: str
    total: int
    rows: Sequence[OverviewRow]


def page(page_state: PageState, caller: Caller, query: Mapping[str, str]) -> dict[str, Any]:
    """Everything the overview shows. `query`: as `read_filter`; page (from 1), before (cursor of ended ones)."""
    chosen = read_filter(query)
    everything, fitting = chosen.live(page_state, caller)
    shown, number, pages = page_of(fitting, PER_PAGE, query.get("page", ""))
    ended, older = _ended(page_state, caller, chosen, query.get("before", ""))
    sizes = page_state.service.queries.sizes([r.id for r in (*shown, *ended)])
    counts = Counter(r.phase for r in fitting)
    return {
        "groups": _groups(shown, fitting, sizes, chosen.by_agent),
        "ended": [row(r, sizes.get(r.id, 0)) for r in ended],
        "older": older,
        "before": query.get("before", ""),
        "live_total": len(everything),
        "fitting": len(fitting),
        "counts": [(str(p), counts[p]) for p in listing.PHASE_ORDER if counts[p]],
        "touched": {str(command): sum(bulk.touches(command, r) for r in fitting) for command in bulk.BulkCommand},
        "waiting": sum(1 for r in everything if needs_answer(r)),
        "agents": sorted({f"{a.agent_id}:{a.agent_version}" for r in everything for a in r.plan.arms.values()}),
        "chosen": chosen,
        "orders": ORDER_WORDS,
        "page": number,
        "pages": pages,
        "now": page_state.service.app.store.now(),
        "trouble": page_state.trouble(),
    }


def _groups(
    shown: Sequence[Rollout], fitting: Sequence[Rollout], sizes: Mapping[str, int], by_agent: bool
) -> list[RowGroup]:
    """The rows under their agents' names, or all of them under none."""
    totals = Counter(map(agent_of, fitting))
    grouped = groupby(shown, agent_of) if by_agent else [("", shown)]
    return [RowGroup(agent, totals[agent], [row(r, sizes.get(r.id, 0)) for r in rows]) for agent, rows in grouped]


def _ended(
    page_state: PageState, caller: Caller, chosen: OverviewFilter, cursor: str
) -> tuple[list[Rollout], str | None]:
    """A page of ended rollouts that fit, the latest end first, and the cursor of the next."""
    if chosen.phase and Phase(chosen.phase).is_live:
        return [], None
    before = read_cursor(cursor) if cursor else None
    search = EndedSearch(chosen.text, chosen.phase, chosen.agent.partition(":")[0])
    found: list[Rollout] = []
    last: Rollout | None = None
    for _ in range(10):  # where most is not the caller's business
        batch = page_state.service.queries.ended(search, before, ENDED_PER_PAGE + 1)
        for r in page_state.service.visible(caller, batch):
            if not listing.fits(views.summary(r), None, chosen.agent or None):
                continue
            if len(found) == ENDED_PER_PAGE:
                return found, write_cursor(found[-1])
            found.append(r)
        if len(batch) <= ENDED_PER_PAGE:
            return found, None
        last = batch[-1]
        before = (last.updated_at, last.id)
    return found, write_cursor(last) if last else None


def write_cursor(last: Rollout) -> str:
    """The cursor of the next page: behind this rollout."""
    return f"{last.updated_at.isoformat()} {last.id}"


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


def agent_of(r: Rollout) -> str:
    """The agent that a rollout tries; of several, all of them."""
    return ", ".join(sorted({a.agent_id for a in r.plan.arms.values()}))


def fits_text(r: Rollout, text: str) -> bool:
    """True if a rollout's name, id, or one of the numbers it lists contains this text."""
    if not text:
        return True
    wanted = text.casefold()
    return (
        wanted in r.name.casefold() or wanted in r.id or any(isinstance(n, str) and wanted in n for n in r.plan.numbers)
    )


def needs_answer(r: Rollout) -> bool:
    """True if it waits for a person: held, green at a step that a person must approve, or paused by its plan."""
    by_plan = r.phase is Phase.PAUSED and r.paused_by in (PausedBy.FAILURE, PausedBy.DECISION)
    return r.phase is Phase.HELD or r.waiting_for is WaitingFor.APPROVAL or by_plan


def row(r: Rollout, numbers: int) -> OverviewRow:
    """A rollout without its targets as a row."""
    confirmed = r.confirmed_at is not None or r.phase.is_final
    ended = str(r.phase) if r.phase in (Phase.PROMOTED, Phase.ROLLED_BACK) else ""
    weights = [sum(r.plan.weights(i).values()) / splits.TOTAL for i in range(1, r.plan.last_step + 1)]
    return OverviewRow(
        r.id,
        r.name,
        formatting.tried(r.plan),
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
    back_, safe_ = formatting.whole_percent(rollback), formatting.whole_percent(promotion)
    label = f"{back_} of the way to a rollback, {safe_} to the proof that it is not worse"
    return Evidence(str(verdict.outcome), rollback, promotion, label)
