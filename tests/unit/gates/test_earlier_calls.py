"""What the baseline's own calls before a rollout say of it, and what they are too few to say."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rollout.domain.calls import CallRecord
from rollout.domain.gates.counting import HARD_REASONS
from rollout.domain.gates.earlier_calls import baseline_history, margin_warnings
from rollout.domain.gates.history import BaselineHistory
from rollout.domain.gates.profiles import from_plan, gate_config

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
    assert "success" in read([*calls, *(call(i, call_id=f"x{i}") for i in range(25))]).rates, "75 and 25 are enough"
    assert "success" not in read([*calls, *(call(i, call_id=f"x{i}") for i in range(24))]).rates
    thirds = read([call(i, successful=i % 3 != 0) for i in range(150)])
    assert thirds.rates["success"] == 0.3333, "to four digits"
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


# ------------------------------------------------------------------ margins that are too wide for the baseline's rate


def warned(rate, **margins):
    metrics = [{"name": n, "margins": list(m)} for n, m in margins.items()]
    config = from_plan({"metrics": metrics})
    return margin_warnings(config, BaselineHistory(rates=dict.fromkeys(config.series, rate), calls=1234))


def test_a_last_margin_too_wide_for_the_baselines_rate_is_told_with_the_one_to_use():
    (told,) = warned(0.06, success=(0.25, 0.1))
    assert told == (
        "success: the last margin is 10 points, but 94 % of the baseline's last 1,234 calls were good, so a canary with "
        "only 84 % could be promoted; write margins: [0.25, 0.05]"
    )
    assert warned(0.18, success=(0.12, 0.13)) == [], "the least of them holds before weight 1"
    assert warned(0.06, success=(0.2, 0.05)) == []
    assert warned(0.06, success=(0.06,))[0].endswith("write margins: [0.05]")


def test_a_metric_of_two_series_is_told_once_and_one_without_a_rate_not_at_all():
    told = warned(0.06, success=(0.1,), slow=(0.2,))
    assert [t.split(":")[0] for t in told] == ["success", "slow"]
    assert margin_warnings(gate_config(), BaselineHistory()) == []
    config = from_plan({"metrics": [{"name": "slow", "margins": [0.2]}, {"name": "success"}]})
    assert len(margin_warnings(config, BaselineHistory(rates={"slow:p90": 0.1}, calls=1))) == 1
