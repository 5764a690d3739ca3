"""The table of metrics: which calls are bad, and what is unknown, over the shapes in which Retell's calls come."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.domain.calls import CallDetails, CallRecord
from rollout.domain.gates.counting import CallRules, outcomes, settled
from rollout.domain.gates.earlier_calls import limits_of
from rollout.domain.gates.metrics import KINDS, NAMED, MetricRule, bad_calls_text, sample
from rollout.domain.gates.profiles import from_plan
from rollout.domain.incoming import call_documents

T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)
BASE = ("agent_a", 6)
METRICS: list[dict[str, Any]] = [
    {"name": "success"},
    {"name": "early_hangup"},
    {"name": "hangup_5", "early_hangup": {"within": "5s"}},
    {"name": "transferred"},
    {"name": "booking", "tool_failed": "book"},
    {"name": "cost"},
    {"name": "costly", "cost": {"above": 40}},
    {"name": "duration", "duration": {"above": "10m"}},
    {"name": "latency", "latency": {"above": 1500}},
    {"name": "slow_llm", "latency": {"part": "llm", "quantile": "p90", "above": "p95"}},
    {"name": "backup_model"},
    {"name": "mood", "custom": "mood", "bad_values": ["angry", "furious", 0]},
    {"name": "score", "custom": "score", "bad_below": 3},
    {"name": "tries", "custom": "tries", "bad_above": 2.5},
    {"name": "booked", "custom": "booked"},
]
CONFIG = from_plan({"metrics": METRICS})
LIMITS = {"cost": 30.0, "slow_llm": 900.0}
RULES = CallRules(("agent_a", 7), frozenset({BASE}), CONFIG.metrics, LIMITS)
KNOWN = CallDetails(False, {"book": False})


def call(**changes: Any) -> CallRecord:
    made = CallRecord(
        "call_1",
        *BASE,
        "+14157774444",
        "inbound",
        T0,
        T0 + timedelta(minutes=2),
        "ended",
        "user_hangup",
        700.0,
        True,
        "Positive",
        False,
        {"mood": "calm", "score": 5.0, "tries": 1.0, "booked": True},
        True,
        figures={"cost": 12.0, "llm_p90": 400.0},
        details=KNOWN,
    )
    return replace(made, **changes)


def after(seconds: float, **changes: Any) -> CallRecord:
    return call(ended_at=T0 + timedelta(seconds=seconds), **changes)


def test_a_good_call_is_fine_in_every_metric():
    assert set(outcomes(call(), RULES).values()) == {False}


@pytest.mark.parametrize(
    ("bad", "series"),
    [
        (after(10), {"early_hangup"}),
        (after(4.9), {"early_hangup", "hangup_5"}),
        (after(0), {"early_hangup", "hangup_5"}),
        (after(5), {"early_hangup"}),
        (after(15), set()),
        (after(600), set()),
        (call(figures={"cost": 30.0, "llm_p90": 900.0}, e2e_p50_ms=1500.0), set()),
        (call(figures={"cost": 40.0, "llm_p90": 400.0}), {"cost"}),
        (call(custom={**call().custom, "score": 3.0, "tries": 2.5}), set()),
        (after(3, disconnection_reason="agent_hangup"), set()),
        (call(disconnection_reason="call_transfer"), {"transferred"}),
        (call(disconnection_reason="transfer_bridged"), {"transferred"}),
        (call(disconnection_reason="transfer_cancelled"), set()),
        (call(details=CallDetails(True, {"book": True})), {"backup_model", "booking"}),
        (call(details=CallDetails(False, {"other": True})), set()),
        (call(figures={"cost": 30.5, "llm_p90": 400.0}), {"cost"}),
        (call(figures={"cost": 41.0, "llm_p90": 901.0}), {"cost", "costly", "slow_llm"}),
        (after(601), {"duration"}),
        (call(e2e_p50_ms=1501.0), {"latency"}),
        (call(custom={**call().custom, "mood": "angry", "score": 2.9, "tries": 3.0}), {"mood", "score", "tries"}),
        (call(custom={**call().custom, "mood": 0.0}), {"mood"}),
    ],
)
def test_bad_calls(bad, series):
    said = outcomes(bad, RULES)
    assert {s for s, found in said.items() if found} == series
    assert None not in said.values(), "what is not bad is known to be fine"


@pytest.mark.parametrize(
    ("odd", "series"),
    [
        (call(ended_at=None), {"early_hangup", "hangup_5", "duration"}),
        (after(-5), {"early_hangup", "hangup_5", "duration"}),
        (call(disconnection_reason=None), {"early_hangup", "hangup_5", "transferred"}),
        (call(details=None), {"backup_model", "booking"}),
        (call(details=CallDetails()), {"backup_model", "booking"}),
        (call(details=CallDetails(None, {"book": None})), {"backup_model", "booking"}),
        (call(figures={}), {"cost", "costly", "slow_llm"}),
        (call(e2e_p50_ms=None), {"latency"}),
        (call(custom={}), {"mood", "score", "tries", "booked"}),
        (call(custom={"mood": True, "score": "5", "tries": True, "booked": 1.0}), {"mood", "score", "tries", "booked"}),
    ],
)
def test_what_is_missing_or_of_another_kind_is_unknown(odd, series):
    assert {s for s, found in outcomes(odd, RULES).items() if found is None} == series


def test_a_value_from_elsewhere_says_nothing_of_a_call():
    rules = replace(RULES, metrics=(*RULES.metrics, MetricRule("outside", external=True, maximum=3.0)))
    assert outcomes(call(), rules) == outcomes(call(), RULES)
    assert settled(call(), rules, T0 + timedelta(minutes=3)) == settled(call(), RULES, T0 + timedelta(minutes=3))


def test_a_limit_of_the_baseline_that_is_not_known_leaves_its_metric_unknown():
    found = outcomes(call(), replace(RULES, limits={}))
    assert found["cost"] is None and found["slow_llm"] is None and found["costly"] is False


def test_limits_are_the_quantiles_of_the_baselines_own_earlier_calls():
    before = [call(figures={"cost": float(i), "llm_p90": 10.0 * i}, custom={}, call_id=f"c{i}") for i in range(101)]
    assert limits_of(CONFIG, before) == {"cost": 90.0, "slow_llm": 950.0}
    assert limits_of(CONFIG, before[:29]) == {}
    assert limits_of(CONFIG, [call(figures={}, call_id=str(i)) for i in range(50)]) == {}


def test_a_call_waits_for_its_details_ten_minutes_from_its_end():
    unread = after(30 * 60, details=None)
    waiting = settled(unread, RULES, T0 + timedelta(minutes=39))
    assert "booking" not in waiting and "backup_model" not in waiting and waiting["transferred"] is False
    given_up = settled(unread, RULES, T0 + timedelta(minutes=40))
    assert given_up["booking"] is None and given_up["backup_model"] is None


def test_of_a_call_whose_end_is_not_told_details_are_waited_for_from_its_start():
    unread = call(ended_at=None, details=None)
    assert "booking" not in settled(unread, RULES, T0 + timedelta(minutes=9.9))
    assert settled(unread, RULES, T0 + timedelta(minutes=10))["booking"] is None


@pytest.mark.parametrize("odd", [{"status": "not_connected"}, {"disconnection_reason": "dial_busy"}])
def test_a_call_that_never_reached_the_agent_waits_for_nothing(odd):
    unborn = call(details=None, analyzed=False, successful=None, **odd)
    assert settled(unborn, RULES, T0 + timedelta(minutes=2)) == dict.fromkeys(CONFIG.series)


# ------------------------------------------------------------------ calls as Retell shows them

RECORDED: dict[str, Any] = {
    "call_id": "call_1",
    "latency": {
        "e2e": {"p50": 812.5, "p90": 1400, "p95": 1500, "values": [1, 2]},
        "llm": {"p50": 500, "p90": 900, "p95": 950},
        "tts": {"p50": 200},
        "knowledge_base": {"p50": 5},
    },
    "call_cost": {"combined_cost": 12.25, "total_duration_seconds": 61, "product_costs": []},
    "call_analysis": {"custom_analysis_data": {"booked": True, "score": 4, "mood": "calm", "list": [1], "none": None}},
    "transcript_with_tool_calls": [
        {"role": "agent", "content": "Hello", "words": []},
        {"role": "tool_call_invocation", "tool_call_id": "t1", "name": "book", "arguments": "{}"},
        {"role": "tool_call_result", "tool_call_id": "t1", "content": "no", "successful": False},
        {"role": "tool_call_invocation", "tool_call_id": "t2", "name": "look up", "arguments": "{}"},
        {"role": "tool_call_result", "tool_call_id": "t2", "content": "{}", "successful": True},
        {"role": "tool_call_invocation", "tool_call_id": "t3", "name": "pay", "arguments": "{}"},
        {"role": "agent", "content": "Done", "metadata": {"backup_model_used": {"backup_model": "gpt-4.1"}}},
    ],
}


def test_a_recorded_call_gives_its_figures_and_no_word_that_was_said():
    assert call_documents.figures(RECORDED) == {
        "cost": 12.25,
        "e2e_p90": 1400.0,
        "e2e_p95": 1500.0,
        "llm_p50": 500.0,
        "llm_p90": 900.0,
        "llm_p95": 950.0,
        "tts_p50": 200.0,
    }
    assert call_documents.custom(RECORDED["call_analysis"]) == {"booked": True, "score": 4.0, "mood": "calm"}
    assert call_documents.details(RECORDED) == CallDetails(True, {"book": True, "look up": False, "pay": None})
    assert call_documents.figures({"chat_cost": {"combined_cost": 1}}) == {"cost": 1.0}


def test_a_tool_that_failed_once_has_failed_whatever_came_before_and_after():
    def tools(*results: object) -> object:
        said = [{"role": "tool_call_invocation", "tool_call_id": str(i), "name": "x"} for i in range(len(results))]
        said += [{"role": "tool_call_result", "tool_call_id": str(i), "successful": r} for i, r in enumerate(results)]
        found = call_documents.details({"transcript_with_tool_calls": said})
        assert found is not None and found.tools is not None
        return found.tools["x"]

    assert [tools(True, False, None), tools(None, True), tools(True, True)] == [True, None, False]
    assert tools("yes") is None


KEYS = (
    *("e2e", "llm", "p50", "p90", "combined_cost", "custom_analysis_data", "mood", "score", "role", "name"),
    "tool_call_id",
    "metadata",
    "backup_model_used",
    "successful",
)
ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers(-(10**400), 10**400)
    | st.text(max_size=120)
    | st.sampled_from(["book", "x\0", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys([*RECORDED, "chat_cost"], ODD)))
def test_no_shape_of_a_call_crashes_a_metric_or_reaches_the_database_as_no_number(document):
    analysis = document.get("call_analysis")
    found = call(
        figures=call_documents.figures(document),
        custom=call_documents.custom(analysis if isinstance(analysis, dict) else {}),
        details=call_documents.details(document),
    )
    assert set(outcomes(found, RULES).values()) <= {True, False, None}
    kept = [dict(found.figures), dict(found.custom), found.details and [found.details.tools]]
    json.dumps(kept, allow_nan=False, ensure_ascii=False).encode()


# ------------------------------------------------------------------ words


def test_every_kind_has_its_meaning_and_words_for_bad_calls():
    rules = [*CONFIG.metrics, *from_plan({"metrics": [{"name": n} for n in KINDS if n not in NAMED]}).metrics]
    assert {rule.kind for rule in rules} == set(KINDS)
    words = {rule.name: [bad_calls_text(rule, series) for series in rule.series] for rule in rules}
    assert words["hangup_5"] == ["hung up by the caller within 5 s"]
    assert words["booking"] == ["with a failed call of book"]
    assert words["costly"] == ["more expensive than 40 cents"]
    assert words["duration"] == ["longer than the baseline's usual 90 %"]
    assert words["slow"] == ["slower than the baseline's usual half", "slower than the baseline's usual 90 %"]
    assert words["mood"] == ["with mood = angry or furious or 0"]
    assert words["score"] == ["with score below 3"]
    assert words["booked"] == ["with booked = false"]
    assert all(kind.meaning for kind in KINDS.values())


def test_rules_kept_by_an_earlier_version_are_read():
    kept = {"name": "booked", "share": 0.1, "margins": [0.1], "custom": "booked", "bad": False, "external": False}
    rule = MetricRule.from_json({**kept, "maximum": None, "minimum": None, "looks": 1})
    assert rule.row is KINDS["custom"] and rule.series == ("booked",)
    slow = MetricRule.from_json({**kept, "name": "slow", "custom": None, "margins": []})
    assert slow.series == ("slow:p50", "slow:p90")


def test_a_sample_counts_what_was_not_read():
    rule = MetricRule("booking", kind="tool_failed", detail="book")
    cells = [({"booking": (1, 2, 3, 4)}, {"booking": (5, 0)}), ({"booking": (0, 1, 0, 1)}, {})]
    assert sample(rule, cells) == (12, 17)
    assert sample(MetricRule("success"), [({"success": (1, 2, 3, 4)}, {"success": (5, 0)})]) == (0, 0)
