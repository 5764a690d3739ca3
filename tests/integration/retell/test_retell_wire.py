"""Answers whose JSON says a thing twice, or an integer that cannot be kept, are no answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.adapters.retell.calls import moment
from rollout.adapters.retell.wire import AnswerError, agent_version, parse_json, reading

ONE = "+14157774444"

TWICE = [
    b'{"a":1,"a":2}',
    b'{"a":1,"a":1}',
    b'{"a" :1,"a":2}',
    b'{"a"\n:1,"a"\t: 2}',
    b'{"b":[{"a":1,"a":2}]}',
    b'{"x":"\\u0022\\u0022","a":1,"a":2}',
    b'{"x":"\\":\\":","a":"","a":""}',
    b'{"a":1,"\\u0061":2}',
    b'[{"a":{"b":"c","b":"c"}}]',
    b'{"":0,"":1}',
]


@pytest.mark.parametrize("body", TWICE)
def test_a_key_that_comes_twice_is_refused(body: bytes) -> None:
    with pytest.raises(AnswerError, match="a key twice"):
        parse_json(body)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(['"', '":', "\\", '\\"', "\u2028"])
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


# ------------------------------------------------------------------ integers that no database column and no clock takes

ABSURD = [2**63, 2**63 - 1, 2**31 * 10**9, -1, -(2**63), 10**400]


def number(**changes: Any) -> bytes:
    entry = {"agent_id": "a", "agent_version": 6, "weight": 1, **changes.pop("entry", {})}
    document = {"phone_number": ONE, "last_modification_timestamp": 1_703_413_636_133, "inbound_agents": [entry]}
    return json.dumps({**document, **changes}).encode()


@pytest.mark.parametrize("absurd", ABSURD, ids=["2^63", "2^63-1", "late", "-1", "-2^63", "huge"])
@pytest.mark.parametrize(
    ("read", "made"),
    [
        (reading, lambda n: number(last_modification_timestamp=n)),
        (reading, lambda n: number(entry={"agent_version": n})),
        (lambda d: agent_version(d, "a", None), lambda n: json.dumps({"agent_id": "a", "version": n}).encode()),
    ],
    ids=["time-stamp", "version-in-a-list", "version-of-an-agent"],
)
def test_an_absurd_integer_is_an_answer_that_cannot_be_used(
    read: Callable[[Any], object], made: Callable[[int], bytes], absurd: int
) -> None:
    with pytest.raises(AnswerError, match=r"is not from 0 to|no finite"):
        read(parse_json(made(absurd)))


@pytest.mark.parametrize(
    "absurd",
    [*ABSURD, 1e300, -1e300, 253_402_300_799_999],
    ids=["2^63", "2^63-1", "late", "-1", "-2^63", "huge", "1e300", "-1e300", "9999"],
)
def test_an_absurd_time_of_a_call_is_no_time(absurd: float) -> None:
    assert moment(absurd) is None


@pytest.mark.parametrize("fine", [0, 1_000, 1_703_413_636_133, 4_102_444_800_000])
def test_a_time_stamp_that_may_be_is_read(fine: int) -> None:
    assert reading(parse_json(number(last_modification_timestamp=fine))).modified == fine
