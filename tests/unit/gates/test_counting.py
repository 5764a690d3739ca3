"""From calls to counts: what a call says, what is missing, and which calls are counted yet."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.domain.calls import CallRecord
from rollout.domain.gates.counting import (
    QUARTERS,
    CallRules,
    WeightSpan,
    longest_wait,
    outcomes,
    quantile_of,
    quarter,
    settled,
    tabulate,
)
from rollout.domain.gates.judge import judge
from rollout.domain.gates.profiles import from_plan, gate_config
from rollout.domain.gates.tally import Tally
from rollout.domain.gates.verdict import GateOutcome

T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)
CANARY, BASE = ("agent_a", 7), ("agent_a", 6)
CONFIG = from_plan(
    {
        "metrics": [{"name": n} for n in ("success", "hard_error", "slow", "negative", "voicemail")]
        + [{"name": "booked", "custom": "booked"}, {"name": "angry", "custom": "angry", "bad": True}]
    }
)
RULES = CallRules(CANARY, frozenset({BASE}), CONFIG.metrics, {"slow:p50": 900.0, "slow:p90": 1500.0})
SPANS = [WeightSpan(T0, None, 0.1, 1)]


def call(minute=0.0, who=BASE, call_id=None, **more):
    start = T0 + timedelta(minutes=minute)
    base = CallRecord(
        call_id or f"call_{minute}_{who[1]}",
        *who,
        "+14157774444",
        "inbound",
        start,
        start + timedelta(minutes=2),
        "ended",
        "user_hangup",
        700.0,
        True,
        "Positive",
        False,
        {"booked": True, "angry": False},
        True,
    )
    return replace(base, **more)


def going(minute=0.0, who=BASE, **more):
    return call(
        minute,
        who,
        ended_at=None,
        status="ongoing",
        disconnection_reason=None,
        e2e_p50_ms=None,
        successful=None,
        sentiment=None,
        in_voicemail=None,
        custom={},
        analyzed=False,
        **more,
    )


def unjudged(minute=0.0, who=BASE, **more):
    """Ended, its analysis still to come."""
    kept = {"successful": None, "sentiment": None, "in_voicemail": None, "custom": {}, "analyzed": False}
    return call(minute, who, **{**kept, **more})


def table(calls, now=60.0, spans=SPANS, rules=RULES):
    return tabulate(calls, spans, T0 + timedelta(minutes=now), rules)


# ------------------------------------------------------------------ one call


def test_a_good_call_is_fine_in_everything():
    assert set(outcomes(call(), RULES).values()) == {False}


@pytest.mark.parametrize(
    ("change", "series"),
    [
        ({"successful": False}, {"success"}),
        ({"disconnection_reason": "error_asr"}, {"hard_error"}),
        ({"disconnection_reason": "error_asr", "successful": None}, {"hard_error", "success"}),
        ({"disconnection_reason": None, "status": "error"}, {"hard_error"}),
        ({"e2e_p50_ms": 901.0}, {"slow:p50"}),
        ({"e2e_p50_ms": 1501.0}, {"slow:p50", "slow:p90"}),
        ({"sentiment": "Negative"}, {"negative"}),
        ({"in_voicemail": True}, {"voicemail"}),
        ({"custom": {"booked": False, "angry": True}}, {"booked", "angry"}),
        ({"disconnection_reason": "a_reason_of_next_year"}, set()),
        ({"disconnection_reason": None}, set()),
    ],
)
def test_what_is_bad(change, series):
    assert {s for s, bad in outcomes(call(**change), RULES).items() if bad} == series


@pytest.mark.parametrize(
    ("change", "series"),
    [
        ({"successful": None}, {"success"}),
        ({"sentiment": "Unknown"}, {"negative"}),
        ({"sentiment": None}, {"negative"}),
        ({"e2e_p50_ms": None}, {"slow:p50", "slow:p90"}),
        ({"custom": {"booked": True}}, {"angry"}),
        ({"in_voicemail": None}, {"voicemail"}),
        ({"status": "not_connected", "disconnection_reason": "dial_busy"}, set(outcomes(call(), RULES))),
        ({"disconnection_reason": "no_valid_payment"}, set(outcomes(call(), RULES))),
    ],
)
def test_what_is_missing_is_neither_good_nor_bad(change, series):
    assert {s for s, bad in outcomes(call(**change), RULES).items() if bad is None} == series


def test_the_list_of_hard_reasons_can_be_replaced():
    dialling = replace(RULES, hard_reasons=frozenset({"dial_failed"}))
    unborn = call(status="not_connected", disconnection_reason="dial_failed", successful=None)
    assert outcomes(unborn, dialling)["hard_error"] is True and outcomes(unborn, RULES)["hard_error"] is None
    own = replace(RULES, hard_reasons=frozenset({"inactivity"}))
    assert outcomes(call(disconnection_reason="inactivity"), own)["hard_error"] is True
    assert outcomes(call(disconnection_reason="error_asr"), own)["hard_error"] is False


def test_slow_is_missing_without_thresholds():
    assert outcomes(call(), replace(RULES, limits={}))["slow:p50"] is None


def test_thresholds_need_enough_calls_and_are_values_that_were_seen():
    assert quantile_of(range(29), 0.5) is None
    assert quantile_of(range(30), 0.5) == 14
    assert [quantile_of([float(x) for x in range(101)], q) for q in (0.5, 0.9)] == [50.0, 90.0]


# ------------------------------------------------------------------ when a result is final


def test_a_call_without_an_end_is_closed_as_not_successful():
    assert settled(going(), RULES, T0 + timedelta(minutes=59)) == {}
    final = settled(going(), RULES, T0 + timedelta(minutes=60))
    assert final["success"] is True
    assert {v for s, v in final.items() if s != "success"} == {None}


def test_the_end_settles_what_it_tells_and_the_analysis_the_rest():
    soon = settled(unjudged(), RULES, T0 + timedelta(minutes=5))
    assert soon == {"hard_error": False, "slow:p50": False, "slow:p90": False}
    late = settled(unjudged(), RULES, T0 + timedelta(hours=2))
    assert late["success"] is None and late["negative"] is None and late["hard_error"] is False


def test_a_call_that_broke_down_is_settled_without_analysis():
    assert settled(unjudged(disconnection_reason="error_retell"), RULES, T0)["success"] is True


# ------------------------------------------------------------------ tables


def test_cells_by_position_weight_and_utc_day_in_order_of_opening():
    spans = [WeightSpan(T0, T0 + timedelta(hours=13), 0.1, 1), WeightSpan(T0 + timedelta(hours=13), None, 0.5, 2)]
    calls = [call(m, who) for m in (1, 700, 725, 790, 2300) for who in (CANARY, BASE)]
    cells = table(calls, now=5000, spans=spans).cells
    assert [(c.position, c.weight, c.day, c.started) for c in cells] == [
        (1, 0.1, "2026-03-02", (2, 2)),
        (1, 0.1, "2026-03-03", (1, 1)),
        (2, 0.5, "2026-03-03", (1, 1)),
        (2, 0.5, "2026-03-04", (1, 1)),
    ]


def test_days_are_utc_whatever_the_zone_of_the_records():
    from zoneinfo import ZoneInfo

    local = call(719).started_at.astimezone(ZoneInfo("Asia/Tokyo"))
    assert table([call(719, started_at=local)], now=900).cells[0].day == "2026-03-02"


def test_calls_between_an_order_and_its_read_back_belong_to_no_step():
    spans = [WeightSpan(T0, T0 + timedelta(minutes=10), 0.1, 1), WeightSpan(T0 + timedelta(minutes=12), None, 0.5, 2)]
    found = table([call(m) for m in (9, 10, 11, 11.99, 12)], spans=spans)
    assert [c.started for c in found.cells] == [(0, 1), (0, 1)]


def test_calls_of_other_agents_and_without_a_start_are_not_counted():
    found = table([call(1), call(2, ("agent_b", 1)), call(3, ("agent_a", 5)), call(4, started_at=None)])
    assert [c.started for c in found.cells] == [(0, 1)]


def test_spans_of_several_numbers():
    spans = [
        WeightSpan(T0, None, 0.1, 1, "+14157774444"),
        WeightSpan(T0 + timedelta(minutes=5), None, 0.1, 1, "+14157774445"),
    ]
    other = {"number": "+14157774445"}
    found = table([call(1), call(2, call_id="x", **other), call(6, **other)], spans=spans)
    assert [c.started for c in found.cells] == [(0, 2)]


def test_each_metric_waits_for_its_own_results_only():
    calls = [call(1, CANARY), unjudged(2), call(3, CANARY, successful=False), call(4)]
    found = table(calls, now=10)
    counts = found.cells[0].counts
    assert counts["success"] == (0, 1, 0, 0)
    assert counts["hard_error"] == (0, 2, 0, 2)
    assert found.open["success"] == 3 and found.open["hard_error"] == 0
    assert (found.cells[0].started, found.cells[0].closed) == ((2, 2), (1, 0))


def test_an_open_call_holds_back_those_after_it_until_it_is_closed():
    calls = [call(1), going(2, CANARY), call(3)]
    assert table(calls, now=61).cells[0].counts["success"] == (0, 0, 0, 1)
    assert table(calls, now=62).cells[0].counts["success"] == (1, 0, 0, 2)


def test_late_and_repeated_results_are_corrected_in_place():
    early = [call(1, CANARY, call_id="x", successful=False), call(2)]
    assert table(early).cells[0].counts["success"] == (1, 0, 0, 1)
    assert table([*early, call(1, CANARY, call_id="x")]).cells[0].counts["success"] == (0, 1, 0, 1)


def test_calls_that_are_never_judged_are_counted_and_those_that_never_reached_the_agent_are_not():
    dialled = {"status": "not_connected", "disconnection_reason": "dial_busy"}
    calls = [call(1, CANARY), unjudged(2, CANARY), unjudged(3), unjudged(4, CANARY, **dialled), call(5)]
    cell = table(calls, now=600).cells[0]
    assert cell.lost == {"success": (1, 1), "hard_error": (0, 0)}, "of the critical metrics"
    assert cell.counts["success"] == (0, 1, 0, 1)
    assert table(calls, now=60).cells[0].lost["success"] == (0, 0), "they may still be judged"


def test_a_stratum_counts_what_its_calls_say():
    other = {"number": "+14157774445"}
    calls = [call(1, CANARY), call(2, **other), call(3, CANARY, successful=None, sentiment="Unknown"), call(4)]
    found = tabulate(calls, SPANS, T0 + timedelta(hours=9), RULES, stratum=lambda c: c.number, wave=3)
    cell = found.cells[0]
    assert cell.wave == 3
    assert cell.strata["+14157774444"][""] == (2, 1)
    assert cell.strata["+14157774444"]["success"] == (1, 1)
    assert cell.strata["+14157774445"]["success"] == (0, 1)
    for name in ("success", "hard_error", "slow:p50"):
        arms = [part[name] for part in cell.strata.values()]
        n = cell.counts[name]
        assert tuple(map(sum, zip(*arms, strict=True))) == (n[0] + n[1], n[2] + n[3])


@pytest.mark.parametrize(("hour", "name"), [(0, "00-06"), (5.99, "00-06"), (6, "06-12"), (23.5, "18-24")])
def test_quarters_of_the_utc_day(hour, name):
    at = call((hour - 12) * 60)
    assert quarter(at) == name
    assert name in QUARTERS


def test_a_call_without_a_start_belongs_to_the_first_quarter():
    assert quarter(replace(call(0), started_at=None)) == QUARTERS[0]


@pytest.mark.parametrize(
    ("delays", "wait"),
    [
        ([], timedelta(hours=2)),
        ([30.0] * 49, timedelta(hours=2)),
        ([30.0] * 1000, timedelta(minutes=10)),
        ([30.0] * 995 + [1800.0] * 5, timedelta(minutes=10)),
        ([30.0] * 994 + [1800.0] * 6, timedelta(minutes=30)),
        ([10.0**7] * 60, timedelta(hours=24)),
    ],
)
def test_the_wait_for_late_results_follows_the_delays_that_were_seen(delays, wait):
    assert longest_wait(delays) == wait
    assert longest_wait(delays[::-1]) == wait


steady = settings(deadline=None, derandomize=True, max_examples=60)
kinds = st.sampled_from([call, going, unjudged])
who = st.sampled_from([CANARY, BASE, ("agent_z", 1)])
fleet = st.lists(st.tuples(kinds, st.integers(0, 3000), who), max_size=25, unique_by=lambda t: (t[1], t[2]))


@steady
@given(fleet, st.randoms(use_true_random=False), st.integers(0, 3200))
def test_the_order_of_calls_is_irrelevant(described, shuffle, now):
    calls = [make(minute, arm) for make, minute, arm in described]
    mixed = list(calls)
    shuffle.shuffle(mixed)
    assert table(calls, now) == table(mixed, now)


@steady
@given(fleet, st.integers(0, 3200))
def test_no_more_results_than_calls(described, now):
    found = table([make(minute, arm) for make, minute, arm in described], now)
    for c in found.cells:
        for n in c.counts.values():
            assert n[0] + n[1] <= c.started[0] and n[2] + n[3] <= c.started[1]
            assert c.closed[0] <= c.started[0] and c.closed[1] <= c.started[1]


# ------------------------------------------------------------------ results that come late on one side


@dataclass
class Slow:
    """A harmless canary at 50/50, a call a minute; its good calls are judged 55 minutes after the bad ones."""

    seed: int
    calls: list[tuple[CallRecord, float]] = field(default_factory=list)

    def __post_init__(self):
        rng = random.Random(self.seed)
        for minute in range(200):
            arm = CANARY if rng.random() < 0.5 else BASE
            good = rng.random() >= 0.15
            ready = minute + (57 if arm == CANARY and good else 3)
            self.calls.append((call(minute, arm, successful=good), ready))

    def at(self, now: float) -> list[CallRecord]:
        waiting = {"successful": None, "sentiment": None, "in_voicemail": None, "custom": {}, "analyzed": False}
        return [
            c if ready <= now else replace(c, **waiting)
            for c, ready in self.calls
            if c.started_at <= T0 + timedelta(minutes=now)
        ]


def failures(hold_back: bool) -> int:
    config = from_plan({"metrics": [{"name": "success"}]})
    rules = replace(RULES, metrics=config.metrics)
    failed = 0
    for seed in range(25):
        stream, memory = Slow(seed), None
        for now in range(10, 200, 10):
            calls = stream.at(now) if hold_back else [c for c in stream.at(now) if c.successful is not None]
            cells = table(calls, now, [WeightSpan(T0, None, 0.5, 1)], rules).cells
            found = judge(config, Tally(cells, 1, 1, 0.5), memory)
            memory = found.memory
            if found.outcome is GateOutcome.FAIL:
                failed += 1
                break
    return failed


def test_good_news_that_travels_slowly_is_no_bad_news():
    """Counting calls as they come in rolls back most of these harmless canaries; counting in order does not."""
    assert failures(hold_back=True) <= 2
    assert failures(hold_back=False) >= 10


def test_hour_long_silence_of_one_arm_neither_fails_nor_passes():
    calls = [call(m, BASE) if m % 10 else unjudged(m, CANARY) for m in range(100)]
    cells = table(calls, now=101).cells
    found = judge(gate_config(), Tally(cells, 1, 1, 0.1))
    assert found.outcome is GateOutcome.UNDECIDED


def test_a_record_of_the_ports_is_a_call():
    assert isinstance(outcomes(call(), RULES), Mapping)
