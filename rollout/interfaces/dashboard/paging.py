"""Long lists in pages: the one that an address asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

_Row = TypeVar("_Row")


def page_of(rows: Sequence[_Row], per_page: int, asked: str) -> tuple[Sequence[_Row], int, int]:
    """(the rows of the page that is asked for, its number from 1, how many pages there are).

    A number beyond the end asks for the last page, and what is no number for the first.
    """
    pages = max(1, -(-len(rows) // per_page))
    number = min(pages, max(1, int(asked[:9]))) if asked.isdecimal() else 1
    return rows[(number - 1) * per_page : number * per_page], number, pages
