"""Answers whose JSON says a thing twice are no answers; whatever says it once is read as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.retell.wire import AnswerError, parse_json

TWICE = [
    b'{"a":1,"a":2}', b'{"a":1,"a":1}', b'{"a" :1,"a":2}', b'{"a"\n:1,"a"\t: 2}', b'{"b":[{"a":1,"a":2}]}',
    b'{"x":"\\u0022\\u0022","a":1,"a":2}', b'{"x":"\\":\\":","a":"","a":""}', b'{"a":1,"\\u0061":2}',
    b'[{"a":{"b":"c","b":"c"}}]', b'{"":0,"":1}',
]  # fmt: skip


@pytest.mark.parametrize("body", TWICE)
def test_a_key_that_comes_twice_is_refused(body: bytes) -> None:
    with pytest.raises(AnswerError, match="a key twice"):
        parse_json(body)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    ['"', '":', "\\", '\\"', "\u2028"]
)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 1]))
def test_what_is_said_once_is_read_as_it_is(document: Any, ascii_only: bool, indent: int | None) -> None:
    assert parse_json(json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode()) == document


@given(st.dictionaries(TEXTS, DOCUMENTS, min_size=1, max_size=3), st.booleans(), st.data())
def test_a_key_that_is_written_once_more_is_refused(
    document: dict[str, Any], ascii_only: bool, data: st.DataObject
) -> None:
    again = data.draw(st.sampled_from(sorted(document)))
    pairs = [*document.items(), (again, data.draw(DOCUMENTS))]
    body = ",".join(f"{json.dumps(k, ensure_ascii=ascii_only)}:{json.dumps(v)}" for k, v in pairs)
    with pytest.raises(AnswerError, match="a key twice"):
        parse_json(f"{{{body}}}".encode())
