"""The account: every phone number, what it serves, who drives it, when it last changed, and whether it drifted.

Retell's list is kept for a few seconds, so that searching and sorting ask Retell nothing (docs/adr/0012-caches.md).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rollout.adapters.store.interface_queries import LeftLists
from rollout.domain.patterns import fits
from rollout.domain.splits import splits
from rollout.domain.writes.answers import Failure, Reading
from rollout.engine.ports import Clock, NumberOwner, PhoneNumbers
from rollout.interfaces.api.service import ApiService
from rollout.interfaces.auth.roles import Caller
from rollout.interfaces.dashboard import formatting
from rollout.interfaces.dashboard.paging import page_of

FRESH_SECONDS = 20.0
PER_PAGE = 50


@dataclass(frozen=True, slots=True)
class AccountNumber:
    """One phone number of the account as a row. `drift`: channels that show something else than was left there."""

    number: str
    nickname: str
    lists: Mapping[str, Any]
    modified: int  # milliseconds since 1970
    driver: NumberOwner | None
    drift: tuple[str, ...]

    @property
    def serves(self) -> str:
        """Its lists in words; only the rows that are shown, searched or sorted by them need these."""
        return formatting.lists_text(self.lists) if self.lists else "nothing"

    @property
    def _serves_typed(self) -> str:
        return self.serves.replace(formatting.NO_BREAK, " ").casefold()

    @property
    def changed(self) -> datetime:
        """The moment of its last change."""
        return datetime.fromtimestamp(self.modified / 1000, UTC)

    def matches(self, text: str) -> bool:
        """True if number, nickname, what it serves or its driver contains this text, or the nickname fits it."""
        if "*" in text or "?" in text:
            return fits(self.nickname, text)
        wanted = text.casefold()
        driver = "" if self.driver is None else self.driver.name
        parts = (self.number, self.nickname, driver)
        return any(wanted in part.casefold() for part in parts) or wanted in self._serves_typed


class AccountSnapshot:
    """The numbers of the account as Retell listed them last. Safe to use from any thread."""

    def __init__(self, numbers: Callable[[], PhoneNumbers], clock: Clock) -> None:
        self._numbers, self._clock = numbers, clock
        self._lock = threading.Lock()
        self._kept: tuple[Reading, ...] = ()
        self._at: datetime | None = None
        self._read_at = 0.0

    def read(self, fresh: bool = False) -> tuple[tuple[Reading, ...], datetime | None, str]:
        """The numbers, when they were read, and why they could not be read now, if so. `fresh`: ask Retell anyway."""
        with self._lock:  # readers that come meanwhile share the answer
            if fresh or self._at is None or self._clock.boot() - self._read_at > FRESH_SECONDS:
                found = list(self._numbers().all())
                trouble = next((item.detail for item in found if isinstance(item, Failure)), "")
                if trouble:
                    return self._kept, self._at, trouble
                self._kept = tuple(item for item in found if isinstance(item, Reading))
                self._at, self._read_at = self._clock.now(), self._clock.boot()
            return self._kept, self._at, ""


def account_numbers(service: ApiService, caller: Caller, readings: Sequence[Reading]) -> list[AccountNumber]:
    """The rows of the numbers that are this caller's business."""
    drivers, left = service.queries.owners(), service.queries.left_lists()
    if caller.numbers is not None:
        readings = [reading for reading in readings if reading.number in caller.numbers]
        mine = service.business_of(caller, {o.rollout_id for owners in (drivers, left) for o in owners.values()})
        drivers = {number: owner for number, owner in drivers.items() if owner.rollout_id in mine}
        left = {number: lists for number, lists in left.items() if lists.rollout_id in mine}
    return [account_number(r, drivers.get(r.number), left.get(r.number)) for r in readings]


def account_number(reading: Reading, driver: NumberOwner | None, left: LeftLists | None) -> AccountNumber:
    """One number as a row; `left`: by the newest rollout that wrote it."""
    shown = {field: entries for field, entries in reading.lists.items() if entries}
    return AccountNumber(
        reading.number,
        reading.nickname or "",
        shown,
        reading.modified,
        driver,
        drifted(reading.lists, {} if left is None else left.lists),
    )


def drifted(shows: Mapping[str, Any], left: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields in which a number shows something else than was left there."""
    return tuple(field for field, entries in left.items() if not splits.same(shows.get(field), entries))


def in_order(rows: Sequence[AccountNumber], sort: str) -> list[AccountNumber]:
    """Rows by a column, with `-` before it the other way round; by number within that. Blanks come last."""
    key = sort.removeprefix("-")
    values: dict[str, Callable[[AccountNumber], Any]] = {
        "number": lambda row: row.number,
        "nickname": lambda row: row.nickname.casefold(),
        "serves": lambda row: row.serves if row.lists else "",
        "driver": lambda row: "" if row.driver is None else row.driver.name.casefold(),
        "changed": lambda row: row.modified,
        "drift": lambda row: "drift" if row.drift else "",
    }
    found = sorted(rows, key=lambda row: row.number)
    value = values.get(key, values["number"])
    blank = [row for row in found if value(row) == ""]
    found = sorted((row for row in found if value(row) != ""), key=value, reverse=sort.startswith("-"))
    return [*found, *blank]


def page(service: ApiService, snapshot: AccountSnapshot, caller: Caller, query: Mapping[str, str]) -> dict[str, Any]:
    """Everything the account page shows. `query`: q (text or pattern), sort, page (from 1), fresh."""
    text, sort = query.get("q", "").strip()[:100], query.get("sort", "number")
    readings, at, trouble = snapshot.read(query.get("fresh") == "1")
    everything = account_numbers(service, caller, readings)
    found = in_order([row for row in everything if row.matches(text)] if text else everything, sort)
    rows, number, pages = page_of(found, PER_PAGE, query.get("page", ""))
    return {
        "rows": rows,
        "total": len(everything),
        "found": len(found),
        "drifting": sum(1 for row in everything if row.drift),
        "driven": sum(1 for row in everything if row.driver is not None),
        "read_at": at,
        "now": service.app.store.now(),
        "trouble": trouble,
        "q": text,
        "sort": sort,
        "page": number,
        "pages": pages,
    }
