"""What the baseline's own calls before a rollout say of it, and what they are too few to say."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rollout.domain.gates.counting import HARD_REASONS
from rollout.domain.gates.earlier_calls import baseline_history
from rollout.domain.gates.history import BaselineHistory
from rollout.domain.gates.profiles import gate_config
from rollout.domain.lifecycle.records import CallRecord

T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)
BASE = ("agent_a", 6)


def call(i, **more):
    at = T0 + timedelta(minutes=i)
    made = CallRecord(
        f"c{i}",
        *BASE,
        "+14157774444",
        "inbound",
        at,
        at + timedelta(minutes=1),
        "ended",
        "user_hangup",
        500.0 + i,
        i % 8 != 0,
        "Negative" if i % 5 == 0 else "Positive",
        False,
        {},
        True,
    )
    return replace(made, **more)


def read(calls):
    return baseline_history(calls, frozenset({BASE}), gate_config(), HARD_REASONS)


def test_the_baselines_rates_and_thresholds_are_those_of_its_own_calls():
    others = [call(i, call_id=f"x{i}", agent_version=7, successful=False) for i in range(300)]
    found = read([*(call(i) for i in range(200)), *others])
    assert (found.calls, found.edition) == (200, 2)
    assert found.rates == {"success": 0.125, "hard_error": 0.0, "slow:p50": 0.5, "slow:p90": 0.1, "negative": 0.2}
    assert found.limits == {"slow:p50": 599.0, "slow:p90": 679.0}


def test_fewer_than_a_hundred_judged_calls_say_nothing_of_a_rate():
    calls = [call(i, successful=None if i % 2 else True, sentiment=None) for i in range(150)]
    found = read(calls)
    assert set(found.rates) == {"hard_error", "slow:p50", "slow:p90"}
    assert read([]).rates == {}
    assert read([]).limits == {}


def test_calls_without_a_latency_leave_the_thresholds_as_they_are():
    slow = [call(i) for i in range(200)]
    without = [call(i, call_id=f"n{i}", e2e_p50_ms=None) for i in range(200)]
    assert read([*slow, *without]).limits == read(slow).limits == {"slow:p50": 599.0, "slow:p90": 679.0}


def test_a_history_comes_back_from_json():
    for found in (read([call(i) for i in range(200)]), BaselineHistory(), BaselineHistory(edition=1)):
        assert BaselineHistory.from_json(found.to_json()) == found
    assert BaselineHistory.from_json({"edition": 1}) == BaselineHistory(edition=1)
