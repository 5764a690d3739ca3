"""The journal of all rollouts and of the service: who did what, when and why; filtered, and as a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from rollout.adapters.store.journal_search import FoundEntry, JournalSearch, Place, search_journal
from rollout.domain.errors import InputError
from rollout.interfaces.api.service import service_of
from rollout.interfaces.auth.roles import Caller, Right
from rollout.interfaces.dashboard.page_route import render, shown, visitor
from rollout.interfaces.dashboard.page_state import PageState
from rollout.interfaces.views.journal import wording
from rollout.interfaces.views.rollout import when

PER_PAGE = 100
MOST_EXPORTED = 10_000
# What people look for; any other kind can be written as well.
KINDS = (
    "created",
    "promote",
    "pause",
    "resume",
    "stop",
    "adopt",
    "restore",
    "rollback",
    "advanced",
    "shipped",
    "completed",
    "failed",
    "held",
    "restored",
    "refused",
    "signed_in",
    "token_created",
    "token_revoked",
)
_WHO = {"people": True, "service": False}
_COLUMNS = ("at", "actor", "kind", "rollout_id", "rollout", "seq", "text", "hash")


@dataclass(frozen=True, slots=True)
class JournalLine:
    """An entry with its sentence."""

    entry: FoundEntry
    text: str


def read_search(query: Mapping[str, str], caller: Caller) -> JournalSearch:
    """The search of an address, within what the caller may see; InputError names a day that is none.

    What concerns no rollout (sign-ins, tokens, refusals) is for admins of all numbers.
    """
    return JournalSearch(
        actor=query.get("actor", "").strip()[:100],
        by_people=_WHO.get(query.get("by", "")),
        kind=query.get("kind", "").strip()[:40],
        rollout=query.get("rollout", "").strip()[:100],
        since=_day("from", query.get("from", "")),
        until=_day("to", query.get("to", ""), timedelta(days=1)),
        system=caller.may(Right.ADMIN) and caller.numbers is None,
        within=caller.numbers,
    )


def _day(name: str, text: str, more: timedelta = timedelta()) -> datetime | None:
    if not text.strip():
        return None
    try:
        return datetime.combine(date.fromisoformat(text.strip()), time(), UTC) + more
    except (ValueError, OverflowError):
        raise InputError(f"{name}: {text[:20]} is not a day; write for example 2026-12-01") from None


def page(page_state: PageState, caller: Caller, query: Mapping[str, str]) -> dict[str, Any]:
    """Everything the page shows. `query`: as `read_search`, and before (a place)."""
    search = read_search(query, caller)
    before = _read_place(query["before"]) if query.get("before") else None
    found, following = search_journal(page_state.service.app.database, search, before, PER_PAGE)
    chosen = {name: query.get(name, "") for name in ("actor", "by", "kind", "rollout", "from", "to")}
    return {
        "lines": [JournalLine(e, _text(e)) for e in found],
        "older": None if following is None else _write_place(following),
        "before": query.get("before", ""),
        "chosen": chosen,
        "query": urlencode({name: value for name, value in chosen.items() if value}),
        "kinds": KINDS,
        "system": search.system,
        "most": MOST_EXPORTED,
        "now": page_state.service.app.store.now(),
    }


def as_csv(page_state: PageState, caller: Caller, query: Mapping[str, str]) -> str:
    """The newest `MOST_EXPORTED` entries that fit, with a header; times in UTC."""
    search = read_search(query, caller)
    text, before, left = io.StringIO(), None, MOST_EXPORTED
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    while left > 0:
        found, before = search_journal(page_state.service.app.database, search, before, min(left, 1_000))
        for e in found:
            cells = (e.actor, e.kind, e.rollout_id, e.name, str(e.seq), _text(e), e.hash)
            writer.writerow([when(e.at), *map(_cell, cells)])
        left -= len(found)
        if before is None:
            break
    return text.getvalue()


def _cell(text: str) -> str:
    """Text that a spreadsheet takes for text, and not for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _text(e: FoundEntry) -> str:
    return wording(e.kind, e.reason, e.data)


def _write_place(place: Place) -> str:
    at, id_, seq = place
    return f"{at.isoformat()} {id_} {seq}"


def _read_place(text: str) -> Place:
    moment, _, rest = text.partition(" ")
    id_, _, seq = rest.partition(" ")
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None or not (seq.isascii() and seq.isdigit() and len(seq) < 16):
        raise InputError("before: follow the link `Older entries` of the journal, or leave it out")
    return at, id_, int(seq)


def add(router: APIRouter) -> None:
    """Add the journal and its export."""

    @router.get("/journal", **shown(Right.READ))
    async def journal_page(request: Request) -> Response:
        """Entries of every rollout that the reader may see, the newest first."""
        page_state: PageState = request.state.page_state
        caller, query = visitor(request).caller, dict(request.query_params)
        return await page_state.service.pools.run(
            "read", lambda: render(request, "journal.html", **page(page_state, caller, query))
        )

    @router.get("/journal/export", **shown(Right.READ))
    async def export(request: Request) -> Response:
        """The same as CSV."""
        page_state: PageState = request.state.page_state
        caller, query = visitor(request).caller, dict(request.query_params)
        text = await service_of(request).pools.run("read", lambda: as_csv(page_state, caller, query))
        head = {"Content-Disposition": 'attachment; filename="journal.csv"'}
        return Response(text, media_type="text/csv; charset=utf-8", headers=head)
