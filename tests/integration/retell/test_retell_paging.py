"""A walk through a list in pages: which pages are asked for, and that it ends."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.adapters.retell.paging import Page, walk
from rollout.adapters.retell.reader import Oversized
from rollout.adapters.retell.request import RequestSpec
from rollout.domain.writes.answers import Failure, Trouble
from tests.integration.retell.scripted_reader import Answers, ScriptedReader, failure

TOO_LARGE = Oversized(Trouble.UNREACHABLE, "the answer is too large")


def more(items: list[Any], key: str) -> dict[str, Any]:
    return {"items": items, "has_more": True, "pagination_key": key}


def ask(size: int, key: str | None) -> RequestSpec:
    return RequestSpec("list", "GET", f"/{size}/{key}")


def walked(reader: Any, **how: Any) -> list[Page | Failure]:
    return list(walk(reader, ask, within=3.0, **how))


def test_every_page_is_asked_for_by_the_key_of_the_one_before() -> None:
    reader = ScriptedReader({"/1000/None": more([1], "a"), "/1000/a": more([2], "b"), "/1000/b": {"items": [3]}})
    pages = walked(reader)
    assert [(page, page.key) for page in pages if isinstance(page, Page)] == [([1], None), ([2], "a"), ([3], "b")]
    assert (reader.within, reader.urgent) == ([3.0] * 3, [False] * 3)


def test_a_walk_may_begin_at_a_key_and_be_urgent() -> None:
    reader = ScriptedReader({"/1000/b": {"items": [3]}})
    (page,) = walked(reader, start="b", urgent=True)
    assert isinstance(page, Page)
    assert (page, page.key, reader.urgent) == ([3], "b", [True])


def test_a_page_that_is_too_large_is_asked_for_in_smaller_ones_down_to_fifty() -> None:
    answers = {f"/{size}/None": TOO_LARGE for size in (1000, 250, 62, 50)}
    reader = ScriptedReader(answers)
    assert walked(reader) == [TOO_LARGE]
    assert reader.paths == ["/1000/None", "/250/None", "/62/None", "/50/None"]


def test_a_smaller_size_is_kept_for_the_pages_that_follow() -> None:
    reader = ScriptedReader({"/1000/None": TOO_LARGE, "/250/None": more([1], "a"), "/250/a": {"items": [2]}})
    assert walked(reader) == [[1], [2]]


def test_a_failure_ends_the_walk() -> None:
    reader = ScriptedReader({"/1000/None": more([1], "a"), "/1000/a": Answers([failure(500), {"items": [2]}])})
    assert walked(reader) == [[1], failure(500)]


@pytest.mark.parametrize("again", ["a", "b"])
def test_a_list_that_gives_a_key_twice_ends(again: str) -> None:
    reader = ScriptedReader({"/1000/None": more([1], "a"), "/1000/a": more([2], "b"), "/1000/b": more([3], again)})
    *pages, last = walked(reader)
    assert pages == [[1], [2], [3]]
    assert last == Failure(Trouble.UNREACHABLE, "Retell's list never ends: its pages repeat", 200)


def test_a_list_of_ever_new_keys_ends() -> None:
    class Endless(ScriptedReader):
        def ask(self, ask: RequestSpec, parse: Any, *, within: float, urgent: bool = False) -> Any:
            self.asked.append(ask)
            return parse(more([], f"{len(self.asked)}"))

    reader = Endless({})
    assert isinstance(walked(reader)[-1], Failure)
    assert len(reader.asked) == 10_000
