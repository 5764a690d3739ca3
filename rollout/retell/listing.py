"""Many numbers at the price of a few requests: the account's list instead of a GET for each.

Retell lists 1,000 numbers a page with the same fields that a GET shows. A number that the list leaves out, or a
list that breaks off, is no answer: the caller then asks for that number alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rollout.ports import Failure, Reading
from rollout.retell.wire import AnswerError, reading

PAGE = 1000
WORTH = 40  # single reads that a page costs, about: it is larger to send, to parse and to wait for


class Listing:
    """Reads numbers by the list when that is cheaper. Safe for threads."""

    def __init__(self, pages: Callable[[], Iterator[list[Any] | Failure]]) -> None:
        self._pages = pages
        self._size = PAGE  # numbers of the account, as far as known

    def read(self, numbers: Sequence[str]) -> dict[str, Reading]:
        """Those of the numbers that the list showed; empty when single reads are cheaper, or the list failed."""
        if len(numbers) < WORTH * -(-self._size // PAGE):
            return {}
        wanted, found, size = set(numbers), dict[str, Reading](), 0
        for items in self._pages():
            if isinstance(items, Failure):
                return found
            size += len(items)
            for item in items:
                number = item.get("phone_number") if isinstance(item, dict) else None
                if number in wanted and number not in found:
                    try:
                        found[number] = reading(item, number)
                    except AnswerError:
                        continue  # a GET of its own may show it better, or say what is wrong
            if len(found) == len(wanted):
                size = max(size, self._size)  # what comes after is not asked for, and was not counted
                break
        self._size = max(size, 1)
        return found
