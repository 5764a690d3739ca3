"""Lists that come in pages: one walk through them all, which always ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from rollout.adapters.retell.reader import Oversized, Reader
from rollout.adapters.retell.request import RequestSpec
from rollout.adapters.retell.wire import page
from rollout.domain.writes.answers import Failure, Trouble

LARGEST_PAGE = 1000  # Retell's maximum
_SMALLEST_PAGE = 50  # Retell's default
_MOST_PAGES = 10_000


class Page(list[Any]):
    """The items of one page; `key` is the pagination key that it was asked for by, None for the first."""

    key: str | None = None


def walk(
    reader: Reader,
    ask: Callable[[int, str | None], RequestSpec],
    *,
    within: float,
    urgent: bool = False,
    start: str | None = None,
) -> Iterator[Page | Failure]:
    """Every page from the one of the key `start` on; `ask` makes the request from a page size and a pagination key.

    A page takes at most `within` seconds. A page too large to take is asked for again in a smaller
    size. A Failure ends the walk, as does a server that gives one key twice or never comes to an end.
    """
    size, key, seen = LARGEST_PAGE, start, set[str]()
    for _ in range(_MOST_PAGES):
        answer = reader.ask(ask(size, key), page, within=within, urgent=urgent)
        if isinstance(answer, Oversized) and size > _SMALLEST_PAGE:
            size = max(_SMALLEST_PAGE, size // 4)
            continue
        if isinstance(answer, Failure):
            yield answer
            return
        found = Page(answer[0])
        found.key, key = key, answer[1]
        yield found
        if key is None:
            return
        if key in seen:
            break
        seen.add(key)
    yield Failure(Trouble.UNREACHABLE, "Retell's list never ends: its pages repeat", 200)
