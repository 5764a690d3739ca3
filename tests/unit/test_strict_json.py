"""JSON from others: what is taken, and which fault everything else has."""

from __future__ import annotations

import pytest

from rollout.domain.strict_json import Fault, JsonFault, parse


def test_a_document_is_read_as_it_is() -> None:
    assert parse(b'{"a": [1, -2.5, "\xc3\xa4", null, true], "b": {"a": 12345678901234567890123}}') == {
        "a": [1, -2.5, "ä", None, True],
        "b": {"a": 12345678901234567890123},
    }
    assert parse("[]") == []


@pytest.mark.parametrize(
    ("raw", "fault", "what"),
    [
        (b'"\xff"', Fault.ENCODING, "at byte 1"),
        (b'{"a":\n 1,}', Fault.SYNTAX, "at line 2, column 4"),
        (b"[] []", Fault.SYNTAX, "at line 1, column 4"),
        (b"", Fault.SYNTAX, "at line 1, column 1"),
        (b"[" * 100_000, Fault.DEPTH, ""),
        (b'[{"b": 2, "a": 1, "\\u0061": 1}]', Fault.TWICE, "a"),
        (b"[NaN]", Fault.CONSTANT, "NaN"),
        (b"[-Infinity]", Fault.CONSTANT, "-Infinity"),
    ],
    ids=["encoding", "comma", "two documents", "empty", "depth", "a key twice", "NaN", "infinity"],
)
def test_everything_else_has_a_fault(raw: bytes, fault: Fault, what: str) -> None:
    with pytest.raises(JsonFault) as refused:
        parse(raw)
    assert refused.value.fault is fault and refused.value.what.startswith(what)
    assert str(refused.value) == f"{fault}: {refused.value.what}"
