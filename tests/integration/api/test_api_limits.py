"""Limits by a clock of the test's own, and JSON from strangers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.domain.errors import InputError
from rollout.interfaces.api.limits import Attempts, Buckets, Throttle
from rollout.interfaces.api.problems import TooMany
from rollout.interfaces.api.strict_json import MAX_DEPTH, read_json


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    def boot(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def test_a_bucket_refills_and_is_each_keys_own() -> None:
    clock = Hand()
    buckets = Buckets(clock, 2.0)
    for _ in range(4):
        buckets.take("a")
    with pytest.raises(TooMany) as full:
        buckets.take("a")
    assert full.value.details["retry_after"] >= 1
    buckets.take("b")
    clock.at += 0.5
    buckets.take("a")
    with pytest.raises(TooMany):
        buckets.take("a")


def test_whoever_is_refused_is_told_how_long_to_wait_and_loses_nothing_by_asking() -> None:
    clock = Hand()
    buckets = Buckets(clock, 0.1)
    buckets.take("a")
    clock.at += 2.5
    for _ in range(3):
        with pytest.raises(TooMany, match=r"more than 0.1 requests a second by one token; wait 7.5 s") as full:
            buckets.take("a")
        assert full.value.details["retry_after"] == 8
    clock.at += 7.5
    buckets.take("a")


def test_a_bucket_holds_no_more_than_two_seconds_of_requests() -> None:
    clock = Hand()
    buckets = Buckets(clock, 2.0)
    buckets.take("a")
    clock.at += 3_600
    for _ in range(4):
        buckets.take("a")
    with pytest.raises(TooMany):
        buckets.take("a")


def test_tables_do_not_grow_without_end() -> None:
    clock = Hand()
    buckets, attempts, throttle = Buckets(clock, 1.0), Attempts(clock), Throttle(clock, 60)
    for i in range(12_000):
        buckets.take(f"k{i}")
        attempts.count(f"s{i}")
        throttle(f"n{i}")
    assert max(len(buckets._level), len(attempts._sources), len(throttle._seen)) <= 5000


def test_failures_are_counted_then_refused_then_forgotten() -> None:
    clock = Hand()
    attempts = Attempts(clock)
    for _ in range(attempts.MOST):
        attempts.refuse("x")
    with pytest.raises(TooMany):
        attempts.refuse("x")
    attempts.refuse("y")
    clock.at += attempts.WINDOW + 1
    attempts.refuse("x")


def test_a_throttle_counts_what_it_left_out() -> None:
    clock = Hand()
    throttle = Throttle(clock, 60)
    assert [throttle("k") for _ in range(4)] == [1, 0, 0, 0]
    clock.at += 61
    assert throttle("k") == 4
    assert throttle("other") == 1
    clock.at += 59.9
    assert throttle("k") == 0
    clock.at += 0.1
    assert throttle("k") == 2, "due at the very end of its time"


def test_of_many_sources_the_longest_unheard_is_forgotten_first() -> None:
    clock = Hand()
    throttle, attempts = Throttle(clock, 60), Attempts(clock)
    for i in range(5_000):
        throttle(f"n{i}")
        attempts.count(f"n{i}")
    throttle("n0")
    attempts.count("n0")
    throttle("one more")
    attempts.count("one more")
    assert throttle("n0") == 0, "still known"
    assert throttle("n1") == 1, "forgotten"
    assert (attempts.count("n0"), attempts.count("n1")) == (3, 1)
    attempts.forget()
    assert attempts.count("n0") == 1


def test_failures_are_forgotten_after_their_window_and_not_before() -> None:
    clock = Hand()
    attempts = Attempts(clock)
    assert [attempts.count("x") for _ in range(2)] == [1, 2]
    clock.at += attempts.WINDOW
    assert attempts.count("x") == 3
    clock.at += 0.1
    assert attempts.count("x") == 1


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**9), 10**9)
        | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8),
        lambda c: (
            st.lists(c, max_size=3)
            | st.dictionaries(st.text(max_size=4).filter(lambda t: t.isprintable()), c, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_plain_json_is_read_as_it_is(document: Any) -> None:
    import json

    assert read_json(json.dumps(document).encode()) == document


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"NaN",
        b"-Infinity",
        b"1e400",
        b"9" * 31,
        b'{"a":1,"a":2}',
        b'"\\ud800"',
        b'"\\u0000"',
        b"\xff",
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b"[" * 200_000,
        b"'a'",
        b"{a:1}",
        b"[1,]",
        b"1" + b"0" * 5000,
    ],
)
def test_odd_json_is_an_input_error(raw: bytes) -> None:
    with pytest.raises(InputError):
        read_json(raw)
