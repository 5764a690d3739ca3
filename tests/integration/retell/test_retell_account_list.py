"""One walk through the account's list for everybody who asked before it began, and for nobody else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from rollout.adapters.retell import account_list
from rollout.adapters.retell.account_list import WORTH, AccountList
from rollout.adapters.retell.paging import Page
from rollout.domain.writes.answers import Failure, Trouble
from tests.support.service import wait_until

NUMBERS = [f"+1415777{i:04}" for i in range(100)]


def item(number: str, modified: int) -> dict[str, Any]:
    agents = [{"agent_id": "agent_a", "agent_version": 6, "weight": 1}]
    return {"phone_number": number, "last_modification_timestamp": modified, "inbound_agents": agents}


class Account:
    """Counts its walks and shows when each began; a walk waits at the gate before its first page."""

    def __init__(self) -> None:
        self.gate = threading.Semaphore(0)
        self.begun: list[bool] = []
        self.fails = False

    def pages(self, urgent: bool, start: str | None) -> Iterator[Page | Failure]:
        assert start is None
        self.begun.append(urgent)
        mine = len(self.begun)
        assert self.gate.acquire(timeout=10)
        if self.fails:
            yield Failure(Trouble.UNREACHABLE, "gone")
            return
        yield Page(item(n, mine) for n in NUMBERS[:60])
        yield Page(item(n, mine) for n in NUMBERS[60:])

    def open(self, times: int = 100) -> None:
        for _ in range(times):
            self.gate.release()


class Asking:
    """Somebody who reads in a thread of their own."""

    def __init__(self, listing: AccountList, numbers: list[str], *, urgent: bool = False) -> None:
        self.found: dict[str, Any] = {}
        self.thread = threading.Thread(
            target=lambda: self.found.update(listing.read(numbers, urgent=urgent)), daemon=True
        )
        self.thread.start()

    def walk(self) -> int:
        """Which walk answered; every number is of the same one."""
        self.thread.join(10)
        walks = {reading.modified for reading in self.found.values()}
        assert len(walks) == 1
        return walks.pop()


def test_who_asks_while_walks_are_under_way_shares_the_next_one() -> None:
    account = Account()
    listing = AccountList(account.pages)
    first = [Asking(listing, NUMBERS[:20])]
    wait_until(lambda: len(account.begun) == 1)
    first.append(Asking(listing, NUMBERS[20:40]))
    wait_until(lambda: len(account.begun) == 2)
    later = [Asking(listing, NUMBERS[i : i + 30]) for i in (0, 30, 70)]
    line = listing._lines[False]
    wait_until(lambda: line.next is not None and len(line.next.wanted) == 90)
    account.open(1)
    wait_until(lambda: len(account.begun) == 3)
    account.open()
    assert {asking.walk() for asking in first} == {1, 2}
    assert [asking.walk() for asking in later] == [3, 3, 3], "a walk that had begun answers nobody who came after"
    assert [len(asking.found) for asking in later] == [30, 30, 30]
    assert len(account.begun) == 3


def test_a_rollback_waits_for_no_walk_of_another() -> None:
    account = Account()
    listing = AccountList(account.pages)
    forward = [Asking(listing, NUMBERS[:20]) for _ in range(1)]
    wait_until(lambda: len(account.begun) == 1)
    forward.append(Asking(listing, NUMBERS[:20]))
    wait_until(lambda: len(account.begun) == 2)
    back = Asking(listing, NUMBERS, urgent=True)
    wait_until(lambda: account.begun == [False, False, True])
    account.open()
    assert back.walk() == 3
    assert {asking.walk() for asking in forward} == {1, 2}


def test_a_walk_that_fails_answers_nobody_and_keeps_nobody() -> None:
    account = Account()
    account.fails = True
    listing = AccountList(account.pages)
    account.open()
    assert listing.read(NUMBERS) == {}
    account.fails = False
    assert len(listing.read(NUMBERS)) == 100


def test_a_few_numbers_are_asked_for_alone() -> None:
    account = Account()
    account.open()
    listing = AccountList(account.pages)
    assert listing.read(NUMBERS[: WORTH - 1]) == {}
    assert account.begun == []
    assert len(listing.read(NUMBERS[:WORTH])) == WORTH


def test_what_breaks_off_in_the_walk_of_one_breaks_it_for_all() -> None:
    account = Account()
    listing = AccountList(account.pages)

    def broken(_urgent: bool, _start: str | None) -> Iterator[Page | Failure]:
        yield Page(item(n, 1) for n in NUMBERS[:60])
        raise RuntimeError("a bug")

    listing._pages = broken
    with pytest.raises(RuntimeError):
        listing.read(NUMBERS)
    listing._pages = account.pages
    account.open()
    assert len(listing.read(NUMBERS)) == 100, "the place that it had is free again"
    assert listing._lines[False].under_way == 0


class Shelf:
    """An account of six pages by keys; counts what was asked for."""

    def __init__(self) -> None:
        self.numbers = [f"+1415778{i:04}" for i in range(6000)]
        self.asked: list[str | None] = []
        self.fails = False

    def pages(self, urgent: bool, start: str | None) -> Iterator[Page | Failure]:
        for begin in range(int(start or 0), len(self.numbers), 1000):
            key = str(begin) if begin else None
            self.asked.append(key)
            if self.fails and start is not None:
                yield Failure(Trouble.REJECTED, "this key is not known any more", 400)
                return
            page = Page(item(n, len(self.asked)) for n in self.numbers[begin : begin + 1000])
            page.key = key
            yield page


def test_a_batch_of_a_large_account_is_read_by_its_own_pages() -> None:
    shelf = Shelf()
    listing = AccountList(shelf.pages)
    every = list(shelf.numbers)
    assert len(listing.read(every)) == 6000 and shelf.asked == [None, "1000", "2000", "3000", "4000", "5000"]
    for batch, keys in ((every[3000:4000], {"3000"}), (every[:400], {None}), (every[4500:5500], {"4000", "5000"})):
        shelf.asked.clear()
        found = listing.read(batch)
        assert list(found) == batch and set(shelf.asked) == keys
        assert {reading.modified for reading in found.values()} <= {1, 2}, "read anew"
    shelf.asked.clear()
    assert len(listing.read(every[500:5500])) == 5000
    assert len(shelf.asked) == 6, "most pages: one walk, which needs no key"


@pytest.mark.parametrize("how", ["moved", "key", "gone"])
def test_a_list_that_has_changed_is_walked_again(how: str) -> None:
    shelf = Shelf()
    listing = AccountList(shelf.pages)
    every = list(shelf.numbers)
    listing.read(every)
    if how == "moved":
        shelf.numbers = [f"+1415779{i:04}" for i in range(1200)] + shelf.numbers
    elif how == "key":
        shelf.fails = True
    else:
        shelf.numbers.remove(every[3500])
    shelf.asked.clear()
    wanted = every[3000:3900]
    found = listing.read(wanted)
    assert list(found) == [n for n in wanted if n in shelf.numbers]
    assert shelf.asked[:2] == ["3000", None], "the page it was on, then all"
    shelf.asked.clear()
    shelf.fails = False
    assert list(listing.read(wanted)) == list(found)
    assert None in shelf.asked or len(shelf.asked) <= 3


def test_a_walk_waits_for_one_of_the_others_to_end_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account()
    listing = AccountList(account.pages)
    monkeypatch.setattr(account_list, "_PATIENCE", 1000.0)
    asking = []
    for begun in (1, 2, 2):
        asking.append(Asking(listing, NUMBERS[:20]))
        wait_until(lambda begun=begun: len(account.begun) == begun)
    wait_until(lambda: listing._lines[False].next is not None)
    account.open(1)
    wait_until(lambda: len(account.begun) == 3)
    monkeypatch.setattr(account_list, "_PATIENCE", 0.01)
    asking.append(Asking(listing, NUMBERS[:20]))
    wait_until(lambda: len(account.begun) == 4)
    account.open()
    assert {one.walk() for one in asking} == {1, 2, 3, 4}
    assert listing._lines[False].under_way == 0


def test_what_is_no_number_in_the_list_is_passed_over() -> None:
    odd: list[Any] = ["x", None, {}, {"phone_number": None}, {"phone_number": [1]}, {"phone_number": NUMBERS[0]}]
    again = [item(NUMBERS[1], 7), item(NUMBERS[1], 8)]
    listing = AccountList(lambda _urgent, _start: iter([Page([*odd, *again])]))
    found = listing.read(NUMBERS[:WORTH])
    assert {number: reading.modified for number, reading in found.items()} == {NUMBERS[1]: 7}


def test_how_large_the_account_is_is_learned_from_a_walk_to_its_end() -> None:
    shelf = Shelf()
    listing = AccountList(shelf.pages)
    every = list(shelf.numbers)
    assert listing.pages == 1
    assert len(listing.read(every[:20])) == 20 and shelf.asked == [None], "no page more than needed"
    assert listing.pages == 1
    unknown = [f"+1415777{i:04}" for i in range(60)]
    for size, pages in ((6000, 6), (5001, 6), (5000, 5), (1, 1), (0, 1)):
        shelf.numbers = every[:size]
        assert listing.read(unknown) == {}
        assert listing.pages == pages
    shelf.numbers = every
    listing.read(unknown)
    listing.read(every[:1000])
    assert listing.pages == 6, "as far as known"


def test_a_list_costs_less_than_ten_reads_a_page() -> None:
    shelf = Shelf()
    listing = AccountList(shelf.pages)
    every = list(shelf.numbers)
    assert [listing.is_cheaper(every[:count]) for count in (0, 9, 10)] == [False, False, True]
    listing.read(every)
    assert [listing.is_cheaper(every[:count]) for count in (59, 60)] == [False, True]


@pytest.mark.parametrize(("last", "asked"), [(3000, {None, "1000", "2000"}), (3001, None)])
def test_half_of_the_pages_are_asked_for_by_their_keys_and_more_in_one_walk(last: int, asked: set[str | None]) -> None:
    shelf = Shelf()
    listing = AccountList(shelf.pages)
    every = list(shelf.numbers)
    listing.read(every)
    starts: list[str | None] = []
    pages = listing._pages
    listing._pages = lambda urgent, start: starts.append(start) or pages(urgent, start)
    assert len(listing.read(every[:last])) == last
    assert set(starts) == (asked or {None}) and len(starts) == (3 if asked else 1)


def test_pages_are_remembered_up_to_a_limit_and_what_was_forgotten_is_found_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(account_list, "_MOST_PLACES", 2000)
    shelf = Shelf()
    listing = AccountList(shelf.pages)
    every = list(shelf.numbers)
    listing.read(every)
    for batch, asked in ((every[5000:5500], ["5000"]), (every[:500], [None])):
        shelf.asked.clear()
        assert list(listing.read(batch)) == batch
        assert shelf.asked == asked
    assert len(listing._places) <= 3000
