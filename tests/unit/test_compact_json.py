"""The quick JSON is the slow one's text, byte for byte, or says that it is not."""

from __future__ import annotations

import json
import math
import struct
from types import MappingProxyType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rollout.adapters.store.journal import canonical
from rollout.domain import compact_json
from rollout.domain.lifecycle.changes import Change

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
documents = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def slow(document: object) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


@given(documents)
@example(1e-9)
@example([1e-5, 1e-7, 0.00002, 1e16, 1e21, 123456789012345680.0])
@example({"b": 1, "a": {"é": 2, "e\u0301": 3, "\U0001f600": 4, "\uffff": 5}})
@example('\x00\x1f\x7f\u2028\\"/')
def test_sorted_bytes_are_what_json_writes(document: object) -> None:
    quick = compact_json.sorted_bytes(document)
    assert quick is None or quick.decode() == slow(document)


@given(st.integers(0, 2**64 - 1))
def test_every_double_is_written_the_same_or_not_quickly(bits: int) -> None:
    (value,) = struct.unpack("d", struct.pack("Q", bits))
    if math.isfinite(value):
        quick = compact_json.sorted_bytes({"weight": value})
        assert quick is None or quick.decode() == slow({"weight": value})


@given(documents)
def test_dumps_and_loads_are_inverse(document: object) -> None:
    assert compact_json.loads(compact_json.dumps(document)) == document


@pytest.mark.parametrize("value", [math.nan, math.inf, [1, {"a": -math.inf}]])
def test_what_is_no_number_has_no_text(value: object) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        compact_json.dumps(value)


@pytest.mark.parametrize("value", [{1, 2}, {"a": object()}])
def test_what_has_no_json_form_is_refused_by_its_type(value: object) -> None:
    with pytest.raises(TypeError, match=r"(set|object) has no JSON form"):
        compact_json.dumps(value)


def test_texts_are_compact_and_in_the_order_of_their_keys() -> None:
    assert compact_json.dumps({"b": [None, "é"], "a": 1.5}) == '{"b":[null,"é"],"a":1.5}'
    assert compact_json.dumps(MappingProxyType({"b": 1})) == '{"b":1}'
    assert compact_json.sorted_bytes({"b": [1, "é"], "a": 0.5}) == '{"a":0.5,"b":[1,"é"]}'.encode()
    for slow_ in ({"a": 1e-7}, [0.00002], -1e-9, {"a": {1}}):
        assert compact_json.sorted_bytes(slow_) is None


@pytest.mark.parametrize("number", [10**17, 10**18, 2**63, 2**64, 10**30, -(10**30)])
def test_a_large_integer_stays_exact(number: int) -> None:
    assert compact_json.dumps([number]) == f"[{number}]"
    assert compact_json.loads(f"[{number}]") == [number]


def test_a_fleets_change_is_hashed_as_every_other_entry() -> None:
    lists = {"inbound_agents": [{"agent_id": "agent_é", "agent_version": 7, "weight": 0.1}]}
    targets = {f"+1415777{i:04}": {"split": lists, "modified": 1_700_000_000_000 + i} for i in range(50)}
    document = {"kind": "forward", "change": Change(targets=targets).to_json()}
    assert canonical(document) == slow(document)
