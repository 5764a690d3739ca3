"""Many numbers in a few requests: the account's list instead of a GET for each.

Retell lists 1,000 numbers a page with the same fields that a GET shows. A number that the list leaves out, or a
list that breaks off, is no answer: the caller then asks for that number alone. Callers that ask at the same time
share one walk through the list, as long as it begins after each of them has asked.

It remembers which page a number was on, so that a batch in a large account reads only its own pages. The pages are read
again each time; if a number has left its page, the whole list is walked again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rollout.adapters.retell.paging import Page
from rollout.adapters.retell.wire import AnswerError, reading
from rollout.domain.writes.answers import Failure, Reading

PAGE = 1000
WORTH = 10  # single reads that cost as much as a page: a page is larger, but each read takes one of the few connections
_AT_ONCE = 2  # walks of the same urgency; callers who come meanwhile share the next
_PATIENCE = 2.0  # seconds to wait for one of them to end
_MOST_PLACES = 50_000  # numbers whose page is remembered


@dataclass
class _ListWalk:
    """One walk through the list, for everybody who asked before it began."""

    wanted: set[str] = field(default_factory=set)
    items: dict[str, Any] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)


class _WalkQueue:
    """Walks of one urgency: those under way, and the one that is about to begin."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.under_way = 0
        self.next: _ListWalk | None = None


class AccountList:
    """A reader that takes numbers from the list when that is cheaper. Safe for threads.

    `pages` gives the list's pages, urgent or not, from a pagination key on.
    """

    def __init__(self, pages: Callable[[bool, str | None], Iterator[Page | Failure]]) -> None:
        self._pages = pages
        self._places: dict[str, str | None] = {}  # number -> the key of the page it was on
        self._size = PAGE  # numbers of the account, as far as known
        self._lines = {False: _WalkQueue(), True: _WalkQueue()}

    @property
    def pages(self) -> int:
        """Pages of the account's list, as far as known."""
        return -(-self._size // PAGE)

    def is_cheaper(self, numbers: Sequence[str]) -> bool:
        """True if the list costs less than a GET for each of these numbers."""
        return len(numbers) >= WORTH * self.pages

    def read(self, numbers: Sequence[str], *, urgent: bool = False) -> dict[str, Reading]:
        """Those of the numbers that the list showed; empty when single reads are cheaper, or the list failed."""
        if not self.is_cheaper(numbers):
            return {}
        found = {}
        items = self._shared(numbers, urgent)
        for number in numbers:
            if number in items:
                try:
                    found[number] = reading(items[number], number)
                except AnswerError:
                    continue  # a GET of its own may show it better, or say what is wrong
        return found

    def _shared(self, numbers: Sequence[str], urgent: bool) -> dict[str, Any]:
        line = self._lines[urgent]
        with line.changed:
            walk, leads = line.next, line.next is None
            if walk is None:
                walk = line.next = _ListWalk()
            walk.wanted.update(numbers)
            if leads:
                line.changed.wait_for(lambda: line.under_way < _AT_ONCE, _PATIENCE)
                line.next = None
                line.under_way += 1
        if not leads:
            walk.done.wait()
            return walk.items
        try:
            self._go(walk, urgent)
        finally:
            walk.done.set()
            with line.changed:
                line.under_way -= 1
                line.changed.notify_all()
        return walk.items

    def _go(self, walk: _ListWalk, urgent: bool) -> None:
        if self._by_places(walk, urgent):
            return
        size = 0
        for items in self._pages(urgent, None):
            if isinstance(items, Failure):
                return
            size += len(items)
            self._take(walk, items)
            if len(walk.items) == len(walk.wanted):
                size = max(size, self._size)  # what comes after is not asked for, and was not counted
                break
        self._size = max(size, 1)

    def _by_places(self, walk: _ListWalk, urgent: bool) -> bool:
        """Only the pages that the numbers were on; False: a walk through all is needed, or costs no more."""
        places = self._places
        known = [places[number] for number in walk.wanted if number in places]
        keys = set(known)
        if len(known) < len(walk.wanted) or 2 * len(keys) > self.pages:
            return False
        for key in keys:
            items = next(self._pages(urgent, key))
            if isinstance(items, Failure):
                break
            self._take(walk, items)
        if len(walk.items) < len(walk.wanted):
            self._places = {}
            return False
        return True

    def _take(self, walk: _ListWalk, items: Page) -> None:
        places = self._places if len(self._places) < _MOST_PLACES else {}
        for item in items:
            number = item.get("phone_number") if isinstance(item, dict) else None
            if isinstance(number, str):
                places[number] = items.key
                if number in walk.wanted:
                    walk.items.setdefault(number, item)
        self._places = places
