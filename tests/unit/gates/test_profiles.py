"""The gates of a plan as numbers: shares, margins and limits, exactly at their bounds and one step beside them."""

import pytest

from rollout.domain.errors import InputError
from rollout.domain.gates.profiles import from_plan, usual_margin


def shares(*given):
    names = ("success", "negative", "voicemail")
    metrics = [{"name": n} if s is None else {"name": n, "share": s} for n, s in zip(names, given, strict=False)]
    return [m.share for m in from_plan({"metrics": metrics}).metrics]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ((0.5, 0.5), [0.5, 0.5]),
        ((0.7, 0.1, 0.2), [0.7, 0.1, 0.2]),
        ((0.6, 0.3, 0.1000000001), [0.6, 0.3, 0.1000000001]),
        ((0.2, 0, 0.3), [0.2, 0, 0.3]),
        ((None, 0), [1.0, 0.0]),
        ((None, None, 0.1), [0.72, 0.18, 0.1]),
        ((0.4, None, None), [0.4, 0.3, 0.3]),
    ],
)
def test_shares_that_are_given_stay_and_the_others_divide_what_is_left(given, found):
    assert shares(*given) == pytest.approx(found)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((0.6, 0.5), r"the shares add up to 1\.1; write smaller ones"),
        ((0.5, 0.5, None), "the shares add up to 1, which leaves nothing for voicemail; write smaller ones"),
        ((0.7, 0.2999999999, None), "leaves nothing for voicemail"),
    ],
)
def test_shares_of_more_than_everything_are_refused(given, words):
    with pytest.raises(InputError, match=words):
        shares(*given)


@pytest.mark.parametrize("margin", [0, -0.1, 1, 1.5])
def test_a_margin_is_a_part_of_1(margin):
    with pytest.raises(InputError, match=r"gates\.metrics\[1\]\.margins: write numbers above 0 and below 1"):
        from_plan({"metrics": [{"name": "success"}, {"name": "negative", "margins": [0.2, margin]}]})


def test_a_metric_without_margins_of_its_own_has_those_of_the_profile_for_its_kind():
    found = from_plan({"metrics": [{"name": "success", "margins": []}, {"name": "hard_error"}, {"name": "slow"}]})
    assert [m.margins for m in found.metrics] == [(), (0.15, 0.05), ()]
    assert [m.name for m in found.critical] == ["hard_error"]


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ({"latency": {}}, {"detail": "e2e_p50", "quantile": 0.9}),
        ({"latency": {"part": "llm"}}, {"detail": "llm_p50", "quantile": 0.9}),
        ({"latency": {"quantile": "p95", "above": 1200}}, {"detail": "e2e_p95", "bad_above": 1200.0}),
        ({"cost": {"above": 40}}, {"bad_above": 40.0, "quantile": None}),
        ({"cost": {"above": "p99"}}, {"bad_above": None, "quantile": 0.99}),
        ({"duration": {"above": "10m"}}, {"bad_above": 600.0}),
        ({"early_hangup": {}}, {"bad_below": 15.0}),
        ({"early_hangup": {"within": "1m"}}, {"bad_below": 60.0}),
        ({"tool_failed": "book"}, {"detail": "book"}),
        ({"custom": "score", "bad_below": 0, "bad_above": 5}, {"custom": "score", "bad_below": 0.0, "bad_above": 5.0}),
        ({"custom": "mood", "bad_values": ["low", 0, True]}, {"bad_values": ("low", 0.0, True)}),
    ],
)
def test_what_is_bad_is_read_from_the_metric_and_the_rest_is_usual(written, found):
    rule = from_plan({"metrics": [{"name": "success"}, {"name": "x", **written}]}).metrics[1]
    assert repr({key: getattr(rule, key) for key in found}) == repr(found), (
        "a number of a plan is one of Retell's: a float"
    )


@pytest.mark.parametrize(
    ("source", "looks"), [({"max": 0}, 1), ({"min": 0}, 1), ({"max": 3, "for": 2}, 2), ({"max": 3, "looks": 4}, 4)]
)
def test_a_value_from_elsewhere_may_have_a_limit_of_0_and_fails_at_its_first_look_unless_told(source, looks):
    for where in ("http", "prometheus"):
        (rule,) = from_plan({"profile": "none", "metrics": [{"name": "x", where: {"url": "u", **source}}]}).metrics
        assert (rule.external, rule.looks) == (True, looks)
        assert (rule.maximum, rule.minimum) == (source.get("max"), source.get("min"))


def test_profile_none_asks_for_no_calls():
    source = {"url": "u", "field": "f", "max": 3}
    config = from_plan({"profile": "none", "metrics": [{"name": "x", "http": source}], "floors": [5, 9]})
    assert config.floors == (0,)
    assert from_plan({"metrics": [{"name": "x", "http": source}]}).floors == (30, 100), "of the usual profile"


# ------------------------------------------------------------------ margins and the baseline's own rate


@pytest.mark.parametrize(
    ("rate", "profile", "margin"),
    [
        (0.3, "standard", 0.2),
        (0.12, "standard", 0.08),
        (0.2, "standard", 0.13),
        (0.02, "standard", 0.05),
        (0.3, "strict", 0.2),
        (0.3, "low-traffic", 0.3),
        (0.02, "low-traffic", 0.08),
    ],
)
def test_the_widest_margin_follows_the_baselines_own_rate(rate, profile, margin):
    assert usual_margin(rate, profile) == margin
